/*
 * ngx_http_llm_block.h: setters of llm_provider and llm_model and of the
 * directives inside, for the command table.
 */

#ifndef _NGX_HTTP_LLM_BLOCK_H_INCLUDED_
#define _NGX_HTTP_LLM_BLOCK_H_INCLUDED_


#include <ngx_http_llm.h>


/* where the directives of our own blocks may stand; bits nginx does not use */

#define NGX_HTTP_LLM_PROVIDER_CONF  0x00100000
#define NGX_HTTP_LLM_MODEL_CONF     0x00200000


/* block: what llm_provider and llm_model have in common */

/*
 * Parses a block with directives of type cmd_type, which get the pointer conf.
 */
char *ngx_http_llm_block_parse(ngx_conf_t *cf, ngx_uint_t cmd_type,
    void *conf);

/*
 * Checks a model's name, or, if ascii is 1, a name of printable ASCII without
 * spaces.  Returns NGX_ERROR after logging the error if the name is not valid.
 */
ngx_int_t ngx_http_llm_block_name(ngx_conf_t *cf, const char *what,
    ngx_str_t *name, ngx_uint_t ascii);


/* model_conf: llm_model and its directives */

char *ngx_http_llm_model_conf_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_target_conf_target(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_target_conf_balance(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_model_conf_alias(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_http_llm_model_conf_list(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/*
 * Resolves targets, sorts names and collects the names for GET models, after
 * http {} is parsed.  Returns NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_model_conf_init(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


#endif /* _NGX_HTTP_LLM_BLOCK_H_INCLUDED_ */
