/*
 * ngx_http_llm_route.h: operation and model.
 */

#ifndef _NGX_HTTP_LLM_ROUTE_H_INCLUDED_
#define _NGX_HTTP_LLM_ROUTE_H_INCLUDED_


#include <ngx_http_llm.h>


/* the operation whose suffix ends r->uri, or NULL */
ngx_http_llm_operation_t *ngx_http_llm_route_operation(ngx_http_request_t *r);

/*
 * Resolves the name of a model: exact names and aliases first, then the longest
 * prefix, then the first regular expression that matches, then default.  Sets
 * model, or NULL if none matches, and rest to the part that "*" matched.
 * Returns NGX_OK, NGX_DECLINED if no model matches, or NGX_ERROR if a regular
 * expression could not be evaluated, after logging the error.
 */
ngx_int_t ngx_http_llm_route_model(ngx_http_llm_main_conf_t *lmcf,
    ngx_log_t *log, ngx_str_t *name, ngx_http_llm_model_t **model,
    ngx_str_t *rest);

/* the order of lmcf->exact: shorter names first, as lengths compare fastest */
ngx_int_t ngx_http_llm_route_compare(ngx_str_t *one, ngx_str_t *two);

/* NAME of GET .../models/NAME; empty for the list itself */
void ngx_http_llm_route_models_name(ngx_http_request_t *r, ngx_str_t *name);


#endif /* _NGX_HTTP_LLM_ROUTE_H_INCLUDED_ */
