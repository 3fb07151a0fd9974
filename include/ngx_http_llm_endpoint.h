/*
 * ngx_http_llm_endpoint.h: the upstream block made for a provider.
 */

#ifndef _NGX_HTTP_LLM_ENDPOINT_H_INCLUDED_
#define _NGX_HTTP_LLM_ENDPOINT_H_INCLUDED_


#include <ngx_http_llm.h>


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
 * After http {} is parsed: who is asked for a name at run time, the resolver
 * of the http level or the system's.  NGX_OK: set, or an address, of url, that
 * needs none; NGX_DECLINED: there is nobody to ask.
 */
ngx_int_t ngx_http_llm_endpoint_ask(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_url_t *url, ngx_llm_name_t *name);


#endif /* _NGX_HTTP_LLM_ENDPOINT_H_INCLUDED_ */
