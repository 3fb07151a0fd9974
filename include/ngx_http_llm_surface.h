/*
 * ngx_http_llm_surface.h: directives, as the command table names them.
 */

#ifndef _NGX_HTTP_LLM_SURFACE_H_INCLUDED_
#define _NGX_HTTP_LLM_SURFACE_H_INCLUDED_


#include <ngx_http_llm.h>


/* where the directives of our own blocks may stand; bits nginx does not use */

#define NGX_HTTP_LLM_PROVIDER_CONF  0x00100000
#define NGX_HTTP_LLM_MODEL_CONF     0x00200000


/* conf: main and location configuration */

void *ngx_http_llm_create_main_conf(ngx_conf_t *cf);
char *ngx_http_llm_init_main_conf(ngx_conf_t *cf, void *conf);
void *ngx_http_llm_create_loc_conf(ngx_conf_t *cf);
char *ngx_http_llm_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child);

char *ngx_http_llm_conf_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_llm_conf_pass_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_conf_ping(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_llm_conf_next(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* llm_metrics and llm_status: cmd->post points to the content handler */
char *ngx_http_llm_conf_page(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* post handler of llm_zone */
char *ngx_http_llm_conf_zone_size(ngx_conf_t *cf, void *post, void *data);


/* block: what llm_provider and llm_model have in common */

/*
 * Parses the block { } whose directives are of cmd_type; their conf pointer
 * is conf.
 */
char *ngx_http_llm_block_parse(ngx_conf_t *cf, ngx_uint_t cmd_type,
    void *conf);

/* NGX_OK, or NGX_ERROR: not a name that may be given (logged) */
ngx_int_t ngx_http_llm_block_name(ngx_conf_t *cf, const char *what,
    ngx_str_t *name);


/* provider_conf: llm_provider and what is in it */

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


/* model_conf: llm_model and what is in it */

char *ngx_http_llm_model_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_model_target(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_model_balance(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_model_alias(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* resolves targets, sorts names, writes the list; NGX_OK or NGX_ERROR */
ngx_int_t ngx_http_llm_model_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/* health_conf: records for providers, keys and targets; NGX_OK or NGX_ERROR */

ngx_int_t ngx_http_llm_health_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/* price_conf: llm_prices and price= */

char *ngx_http_llm_price_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* value is what stands behind price= */
char *ngx_http_llm_price_param(ngx_conf_t *cf, ngx_http_llm_target_t *target,
    ngx_str_t *value);

/* after model_init: the prices that no request can change */
void ngx_http_llm_price_init(ngx_http_llm_main_conf_t *lmcf);


/* metrics_page, status: content handlers */

ngx_int_t ngx_http_llm_metrics_handler(ngx_http_request_t *r);
ngx_int_t ngx_http_llm_status_handler(ngx_http_request_t *r);


/* variables */

ngx_int_t ngx_http_llm_variables_add(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_SURFACE_H_INCLUDED_ */
