/*
 * ngx_http_llm_endpoint.h: a provider's upstream block, and its addresses.
 */

#ifndef _NGX_HTTP_LLM_ENDPOINT_H_INCLUDED_
#define _NGX_HTTP_LLM_ENDPOINT_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_endpoint.c */

/*
 * While http {} is being parsed: makes the block, balanced by init.  NGX_OK or
 * NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_endpoint_create(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_http_upstream_init_peer_pt init);

/*
 * After http {} is parsed: two providers of different TLS identity must not
 * share a block.  NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_endpoint_check(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/*
 * Sets the resolver for a name, after http {} is parsed: the resolver of the
 * http level, or the name servers of the system.  Returns NGX_OK, also if url
 * has an address, and NGX_DECLINED if there is no resolver.
 */
ngx_int_t ngx_http_llm_endpoint_ask(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_url_t *url, ngx_llm_name_t *name);


/* ngx_http_llm_peer.c */

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


#endif /* _NGX_HTTP_LLM_ENDPOINT_H_INCLUDED_ */
