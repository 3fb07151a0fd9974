/*
 * ngx_http_llm_travel.h: which of a client's headers travel on to a provider.
 * Built by ngx_http_llm_header_travel().
 */

#ifndef _NGX_HTTP_LLM_TRAVEL_H_INCLUDED_
#define _NGX_HTTP_LLM_TRAVEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* how one travels; 0: not at all */
#define NGX_HTTP_LLM_TRAVELS_ALIKE  1    /* it tells the same of each request */
#define NGX_HTTP_LLM_TRAVELS_KEYED  2    /* it may change the answer */


typedef struct {
    ngx_hash_t  names;                   /* to NGX_HTTP_LLM_TRAVELS_... */
    uint64_t    marks;                   /* a bit for the hash of each */
} ngx_http_llm_travel_t;


/* x-stainless-*: what an SDK says of itself, and it says much */

static ngx_inline ngx_uint_t
ngx_http_llm_travel_sdk(ngx_table_elt_t *h)
{
    return h->key.len > sizeof("x-stainless-") - 1
           && ngx_memcmp(h->lowcase_key, "x-stainless-",
                         sizeof("x-stainless-") - 1)
              == 0;
}


/* most headers do not: the marks tell that without a search */

static ngx_inline ngx_uint_t
ngx_http_llm_travels(ngx_http_llm_travel_t *travel, ngx_table_elt_t *h)
{
    void  *how;

    if (ngx_http_llm_travel_sdk(h)) {
        return NGX_HTTP_LLM_TRAVELS_ALIKE;
    }

    if (!(travel->marks >> (h->hash % 64) & 1)) {
        return 0;
    }

    how = ngx_hash_find(&travel->names, h->hash, h->lowcase_key, h->key.len);

    return (ngx_uint_t) (uintptr_t) how;
}


#endif /* _NGX_HTTP_LLM_TRAVEL_H_INCLUDED_ */
