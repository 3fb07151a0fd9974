/*
 * ngx_http_llm_provider_conf.h: llm_provider and its directives, for the
 * command table and the provider_*.c files.
 */

#ifndef _NGX_HTTP_LLM_PROVIDER_CONF_H_INCLUDED_
#define _NGX_HTTP_LLM_PROVIDER_CONF_H_INCLUDED_


#include <ngx_http_llm.h>


/* provider_conf: the block; endpoint, headers, labels */

char *ngx_http_llm_provider_conf_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_conf_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_conf_label(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_conf_set_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* provider_type: the dialect, and what follows from it */

char *ngx_http_llm_provider_type(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_provider_type_api(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* post handler of region, project and api_version */
char *ngx_http_llm_provider_type_word(ngx_conf_t *cf, void *post, void *data);

/*
 * Sets provider->dialect at the closing brace, and checks that the dialect uses
 * the parameters that are set.  Returns NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_provider_type_done(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);

/*
 * Then: the endpoint where none is configured, from cf->pool.  NGX_OK or
 * NGX_ERROR: there is none, or not without a region (logged).
 */
ngx_int_t ngx_http_llm_provider_type_endpoint(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_str_t *endpoint);

/*
 * Sets provider->quirks from the directive, or else by the host of
 * provider->url.  Returns NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_provider_type_quirks(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);

/*
 * With all targets known: no model of a target may mean something else in a
 * URL of its provider.  NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_provider_type_check(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);

/* Returns 1 if the response header of a provider never reaches a client. */
ngx_uint_t ngx_http_llm_provider_conf_hidden(ngx_str_t *name);


/* provider_key: credentials */

char *ngx_http_llm_provider_credential(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * At the closing brace: the head of each key, from cf->pool; without any
 * credential there is one that sends none.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_provider_credential_done(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);


/* provider_tls */

#if (NGX_HTTP_SSL)

/*
 * Creates the TLS context of an https endpoint in provider->conf, which lives
 * as long as cf->pool.  Returns NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_provider_tls(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);

/*
 * A TLS context for connections of ours, without certificates; it lives as
 * long as cf->pool.  NULL: logged.
 */
ngx_ssl_t *ngx_http_llm_provider_tls_create(ngx_conf_t *cf);

/*
 * What ssl trusts: the file, or "" for the system's bundle, lmcf->trusted,
 * which is set by the first one that needs it.  NGX_OK, NGX_ERROR (logged) or
 * NGX_DECLINED: no such bundle is installed.
 */
ngx_int_t ngx_http_llm_provider_tls_trust(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_ssl_t *ssl, ngx_str_t *certificate);

#endif


#endif /* _NGX_HTTP_LLM_PROVIDER_CONF_H_INCLUDED_ */
