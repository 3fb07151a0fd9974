/*
 * ngx_http_llm_surface.h: directives, as the command table names them.
 */

#ifndef _NGX_HTTP_LLM_SURFACE_H_INCLUDED_
#define _NGX_HTTP_LLM_SURFACE_H_INCLUDED_


#include <ngx_http_llm.h>
#include "ngx_http_llm_block.h"
#include "ngx_http_llm_quota_conf.h"


/* conf: main and location configuration */

void *ngx_http_llm_conf_create_main(ngx_conf_t *cf);
char *ngx_http_llm_conf_init_main(ngx_conf_t *cf, void *conf);
void *ngx_http_llm_conf_create_loc(ngx_conf_t *cf);
char *ngx_http_llm_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child);

char *ngx_http_llm_conf_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_llm_conf_pass_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* hide_conf: the merged lists of a location; NGX_OK or NGX_ERROR */
char *ngx_http_llm_hide_conf_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
ngx_int_t ngx_http_llm_hide_conf_merge(ngx_conf_t *cf,
    ngx_http_llm_hide_t *prev, ngx_http_llm_hide_t *conf);

char *ngx_http_llm_conf_ping(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_llm_conf_on_abort(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_conf_next(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

char *ngx_http_llm_redis_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_auth_conf_keys(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_require_conf_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* Logs a warning if a model has no target for a constant requirement. */
void ngx_http_llm_require_conf_check(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);

/* page: llm_metrics, llm_status: cmd->post points to the content handler */
char *ngx_http_llm_page_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

char *ngx_http_llm_conf_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* post handler of llm_zone */
char *ngx_http_llm_conf_zone_size(ngx_conf_t *cf, void *post, void *data);


/* health_conf: records for providers, keys and targets; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_llm_health_conf_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/* state_conf: the table of llm_zone, and Redis's; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_llm_state_conf_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/* redis_conf: after http {} is parsed, checks that llm_cache_redis has a secret
   and sets the resolver of both servers.  Returns NGX_OK or NGX_ERROR. */
ngx_int_t ngx_http_llm_redis_conf_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/* price_conf: llm_prices and price= */

char *ngx_http_llm_price_conf_file(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* value is what stands behind price= */
char *ngx_http_llm_price_conf_param(ngx_conf_t *cf,
    ngx_http_llm_target_t *target, ngx_str_t *value);

/* after model_init: the prices that no request can change */
void ngx_http_llm_price_conf_init(ngx_http_llm_main_conf_t *lmcf);


/* metrics_page, status, admin, purge: content handlers */

ngx_int_t ngx_http_llm_metrics_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_llm_status_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_llm_admin_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_llm_purge_handler(ngx_http_request_t *r);

/*
 * page: sends the error object of the fault.  allow is the value of Allow, text
 * replaces the message; both may be NULL.  Returns as a content handler.
 */
ngx_int_t ngx_http_llm_page_refuse(ngx_http_request_t *r,
    ngx_http_llm_fault_e fault, const char *allow, const char *text);


/* variables */

ngx_int_t ngx_http_llm_variables_add(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_SURFACE_H_INCLUDED_ */
