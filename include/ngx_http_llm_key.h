/*
 * ngx_http_llm_key.h: what makes two requests the same question.
 */

#ifndef _NGX_HTTP_LLM_KEY_H_INCLUDED_
#define _NGX_HTTP_LLM_KEY_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Computes the key of the request and what its entry can be purged by: who
 * asks (scope), which targets might answer, and the canonical body; a fixed
 * order, each length-prefixed, under a key of the scope's.  consumer: name of
 * who asks, or NULL.
 *
 * NGX_OK: charge->cache is keyed.  NGX_DECLINED: no answer to it is cached.
 * NGX_ERROR: no memory.
 */
ngx_int_t ngx_http_llm_key(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_str_t *consumer, ngx_str_t *credential);

/* the tag that entries are purged by; kind is one of the letters below */
uint32_t ngx_http_llm_key_tag(u_char kind, ngx_str_t *name);

#define NGX_HTTP_LLM_TAG_MODEL  'm'
#define NGX_HTTP_LLM_TAG_SCOPE  's'
#define NGX_HTTP_LLM_TAG_KEY    'k'

/* unlike all others: of a request whose cache is bypassed; 32 bytes */
void ngx_http_llm_key_unique(ngx_http_request_t *r, ngx_str_t *id,
    u_char *key);


#endif /* _NGX_HTTP_LLM_KEY_H_INCLUDED_ */
