/*
 * ngx_http_llm_upstream.h: attempt after attempt, one ngx_http_upstream_t.
 */

#ifndef _NGX_HTTP_LLM_UPSTREAM_H_INCLUDED_
#define _NGX_HTTP_LLM_UPSTREAM_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Makes r->upstream and starts the first attempt; the exchange must be
 * static.  Returns NGX_DONE (the request is held, r->main->count is one
 * more) or an HTTP status.
 */
ngx_int_t ngx_http_llm_upstream_start(ngx_http_request_t *r,
    const ngx_http_llm_exchange_t *exchange);

/* 1: another target could be tried after the present one */
ngx_uint_t ngx_http_llm_upstream_more(ngx_http_request_t *r);

/* peer.init of llmcf->outer */
ngx_int_t ngx_http_llm_upstream_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);


/* has process_header called although the provider sends nothing */
void ngx_http_llm_upstream_wake(ngx_http_request_t *r);

/* the first step of process_header: takes back the byte that woke it */
void ngx_http_llm_upstream_woken(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_UPSTREAM_H_INCLUDED_ */
