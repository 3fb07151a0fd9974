/*
 * ngx_http_llm_peer.h: the balancer of a provider's own block.
 */

#ifndef _NGX_HTTP_LLM_PEER_H_INCLUDED_
#define _NGX_HTTP_LLM_PEER_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * peer.init of a provider's own block: the addresses its name has now, in
 * turns.  NGX_OK; NGX_ERROR: out of memory.  The provider is in the block's
 * srv_conf.
 */
ngx_int_t ngx_http_llm_peer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);


/*
 * Waits until the name of a target that is to be asked has an address, at
 * most llm_connect_timeout.  NGX_OK: nothing to wait for; NGX_AGAIN: resume
 * is called later, once, unless the request ends before.
 */
ngx_int_t ngx_http_llm_peer_wait(ngx_http_request_t *r,
    void (*resume)(ngx_http_request_t *r));

/* ends the wait without a call of resume; is idempotent */
void ngx_http_llm_peer_done(ngx_http_llm_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_PEER_H_INCLUDED_ */
