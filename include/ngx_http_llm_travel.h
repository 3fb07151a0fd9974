/*
 * ngx_http_llm_travel.h: client headers that are passed to a provider.
 * ngx_http_llm_header_travel() builds the table.
 */

#ifndef _NGX_HTTP_LLM_TRAVEL_H_INCLUDED_
#define _NGX_HTTP_LLM_TRAVEL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* kinds of passed headers; 0: the header is not passed */
#define NGX_HTTP_LLM_TRAVELS_ALIKE  1    /* the answer does not depend on it */
#define NGX_HTTP_LLM_TRAVELS_KEYED  2    /* the answer may depend on it */


#define NGX_HTTP_LLM_TRAVEL_SLOTS   64


typedef struct {
    ngx_str_t                      name;       /* in lower case */
    ngx_uint_t                     hash;       /* ngx_hash_key() of the name */
    ngx_uint_t                     how;        /* NGX_HTTP_LLM_TRAVELS_... */
    ngx_uint_t                     next;       /* the next of its slot, or 0 */
} ngx_http_llm_travel_name_t;


typedef struct {
    ngx_http_llm_travel_name_t    *names;      /* NULL: not built yet */
    u_short                        slots[NGX_HTTP_LLM_TRAVEL_SLOTS];
                                               /* an index of names, from 1 */
} ngx_http_llm_travel_t;


/* Returns 1 for x-stainless-*, the headers that describe an SDK. */

static ngx_inline ngx_uint_t
ngx_http_llm_travel_sdk(ngx_table_elt_t *h)
{
    return h->key.len > sizeof("x-stainless-") - 1
           && ngx_memcmp(h->lowcase_key, "x-stainless-",
                         sizeof("x-stainless-") - 1)
              == 0;
}


static ngx_inline ngx_uint_t
ngx_http_llm_travels(const ngx_http_llm_travel_t *travel, ngx_table_elt_t *h)
{
    ngx_uint_t                         i;
    const ngx_http_llm_travel_name_t  *name;

    if (ngx_http_llm_travel_sdk(h)) {
        return NGX_HTTP_LLM_TRAVELS_ALIKE;
    }

    for (i = travel->slots[h->hash % NGX_HTTP_LLM_TRAVEL_SLOTS];
         i;
         i = name->next)
    {
        name = &travel->names[i - 1];

        if (name->hash == h->hash && name->name.len == h->key.len
            && ngx_memcmp(name->name.data, h->lowcase_key, h->key.len) == 0)
        {
            return name->how;
        }
    }

    return 0;
}


#endif /* _NGX_HTTP_LLM_TRAVEL_H_INCLUDED_ */
