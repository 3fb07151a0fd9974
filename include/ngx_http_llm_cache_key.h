/*
 * ngx_http_llm_cache_key.h: the key of a cached response, and Cache-Control.
 */

#ifndef _NGX_HTTP_LLM_CACHE_KEY_H_INCLUDED_
#define _NGX_HTTP_LLM_CACHE_KEY_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_cache_key.c */

/*
 * Computes the cache key of the request and the tags of its entry.  The key is
 * an HMAC, under a key of the scope, of the operation, the targets, the headers
 * and the canonical body, each with its length.  consumer: its name, or NULL.
 *
 * Returns NGX_OK if charge->cache is set, NGX_DECLINED if the request bypasses
 * the cache, NGX_ERROR if memory is short.
 */
ngx_int_t ngx_http_llm_cache_key_make(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_str_t *consumer, ngx_str_t *credential);

/* Returns the tag of a name; kind is one of the letters below. */
uint32_t ngx_http_llm_cache_key_tag(u_char kind, ngx_str_t *name);

#define NGX_HTTP_LLM_TAG_MODEL  'm'
#define NGX_HTTP_LLM_TAG_SCOPE  's'
#define NGX_HTTP_LLM_TAG_KEY    'k'

/* Computes a key unlike any other, for a request that bypasses the cache. */
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

/* Reads all lines of the header; unknown directives are ignored. */
void ngx_http_llm_control(ngx_http_request_t *r,
    ngx_http_llm_control_t *control);

/* Returns milliseconds since 1970, the clock of entries. */
int64_t ngx_http_llm_control_now(void);

/* Returns the age of the entry in milliseconds, 0 or more. */
int64_t ngx_http_llm_control_age(const ngx_llm_entry_t *entry);

/* Installs the header filter that adds Cache-Status (RFC 9211) and Age. */
ngx_int_t ngx_http_llm_control_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_CACHE_KEY_H_INCLUDED_ */
