/*
 * ngx_http_llm_cache_key.h: the key of a cached response, and Cache-Control.
 */

#ifndef _NGX_HTTP_LLM_CACHE_KEY_H_INCLUDED_
#define _NGX_HTTP_LLM_CACHE_KEY_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_cache_key.c */

/*
 * Computes the key of the request and what its entry can be purged by: who
 * asks (scope), which targets might answer, and the canonical body; a fixed
 * order, each length-prefixed, under a key of the scope's.  consumer: name of
 * who asks, or NULL.
 *
 * NGX_OK: charge->cache is keyed.  NGX_DECLINED: no answer to it is cached.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_llm_cache_key_make(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_str_t *consumer, ngx_str_t *credential);

/* the tag that entries are purged by; kind is one of the letters below */
uint32_t ngx_http_llm_cache_key_tag(u_char kind, ngx_str_t *name);

#define NGX_HTTP_LLM_TAG_MODEL  'm'
#define NGX_HTTP_LLM_TAG_SCOPE  's'
#define NGX_HTTP_LLM_TAG_KEY    'k'

/* unlike all others: of a request whose cache is bypassed; 32 bytes */
void ngx_http_llm_cache_key_unique(ngx_http_request_t *r, ngx_str_t *id,
    u_char *key);


/* ngx_http_llm_control.c */

/* the directives of Cache-Control in a request (RFC 9111, 5.2.1) */

typedef struct {
    int64_t       max_age;           /* s; -1: not given */
    unsigned      no_cache:1;
    unsigned      no_store:1;
    unsigned      only_if_cached:1;
} ngx_http_llm_control_t;

/* of all its lines; what is not understood is passed over */
void ngx_http_llm_control(ngx_http_request_t *r,
    ngx_http_llm_control_t *control);

/* ms since 1970, as entries have it */
int64_t ngx_http_llm_control_now(void);

/* ms the entry has been there, 0 at least */
int64_t ngx_http_llm_control_age(const ngx_llm_entry_t *entry);

/* puts the filter that adds Cache-Status (RFC 9211) and Age into the chain */
ngx_int_t ngx_http_llm_control_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_CACHE_KEY_H_INCLUDED_ */
