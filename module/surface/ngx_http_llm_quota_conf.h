/*
 * ngx_http_llm_quota_conf.h: llm_quota_zone and llm_quota, as the command table
 * and the configuration of the http level use them.
 */

#ifndef _NGX_HTTP_LLM_QUOTA_CONF_H_INCLUDED_
#define _NGX_HTTP_LLM_QUOTA_CONF_H_INCLUDED_


#include <ngx_http_llm.h>


/* quota_conf: llm_quota_zone and llm_quota */

char *ngx_http_llm_quota_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_quota_conf_apply(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* all that is named is defined; then the store, if one is needed */
char *ngx_http_llm_quota_conf_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);
ngx_int_t ngx_http_llm_quota_conf_store(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);

/* Checks that the zones of a location have an identity and prices. */
char *ngx_http_llm_quota_conf_check(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);


/* quota_vars: variables in the key and the limits of llm_quota_zone */

/* by the index of a limit: "requests=", ... */
extern ngx_str_t  ngx_http_llm_quota_params[];

/* Returns 1 if the text has "$" before a digit: a capture, not an amount. */
ngx_uint_t ngx_http_llm_quota_vars_capture(ngx_str_t *text);

/* Returns 1 if the text has $llm_consumer, 0 for $llm_consumer_NAME alone. */
ngx_uint_t ngx_http_llm_quota_vars_consumer(ngx_str_t *text);

/*
 * Checks that consumers have the vars that the zone uses.  Returns NGX_ERROR
 * after logging if no consumer has a var; logs a warning if only some have it.
 */
ngx_int_t ngx_http_llm_quota_vars_check(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_quota_zone_t *zone);


#endif /* _NGX_HTTP_LLM_QUOTA_CONF_H_INCLUDED_ */
