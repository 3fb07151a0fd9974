/*
 * ngx_http_llm_provider_conf.h: llm_provider and what is in it, for the
 * command table and for the files that share the work.
 */

#ifndef _NGX_HTTP_LLM_PROVIDER_CONF_H_INCLUDED_
#define _NGX_HTTP_LLM_PROVIDER_CONF_H_INCLUDED_


#include <ngx_http_llm.h>


/* provider_conf: the block; endpoint, credentials, headers, labels */

char *ngx_http_llm_provider_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_type(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_key(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_label(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_set_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* provider_tls */

#if (NGX_HTTP_SSL)

/*
 * The TLS context of a provider whose endpoint is https, into provider->conf;
 * it lives as long as cf->pool.  lmcf->trusted, the system's bundle, is set
 * by the first one that needs it.  NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_provider_tls(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);

#endif


#endif /* _NGX_HTTP_LLM_PROVIDER_CONF_H_INCLUDED_ */
