/*
 * ngx_http_llm_cache_conf.h: the directives of the cache.
 */

#ifndef _NGX_HTTP_LLM_CACHE_CONF_H_INCLUDED_
#define _NGX_HTTP_LLM_CACHE_CONF_H_INCLUDED_


#include <ngx_http_llm.h>


char *ngx_http_llm_cache_conf_flag(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_cache_conf_scope(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* post handler of llm_cache_zone */
char *ngx_http_llm_cache_conf_size(ngx_conf_t *cf, void *post, void *data);

/* of a location: before its directives, and after them */
void ngx_http_llm_cache_conf_create(ngx_http_llm_cache_conf_t *conf);
void ngx_http_llm_cache_conf_merge(ngx_http_llm_cache_conf_t *prev,
    ngx_http_llm_cache_conf_t *conf);

/* the zone, if there is an llm_cache; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_llm_cache_conf_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);

/* Starts the second tier and its purges in a worker.  NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_llm_cache_conf_worker(ngx_cycle_t *cycle,
    ngx_http_llm_main_conf_t *lmcf);


/* redis_conf: the second tier */

char *ngx_http_llm_redis_conf_cache_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_redis_conf_cache_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


#endif /* _NGX_HTTP_LLM_CACHE_CONF_H_INCLUDED_ */
