/*
 * ngx_http_llm_client.h: the consumer, the operation and the model of a
 * request.
 */

#ifndef _NGX_HTTP_LLM_CLIENT_H_INCLUDED_
#define _NGX_HTTP_LLM_CLIENT_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_auth.c */

/*
 * Finds the consumer of the client request by its key.  The first call, in any
 * phase, looks the key up; later calls have the same result until the request
 * has been logged, also after an internal redirect.  The consumer belongs to
 * the configuration of the request.  Sets it to NULL if no consumer has the
 * key, if the key has expired, if the request has two different keys, or if
 * there is no llm_keys.  Returns NGX_OK, or NGX_ERROR if memory is short.
 */
ngx_int_t ngx_http_llm_auth_consumer(ngx_http_request_t *r,
    ngx_llm_consumer_t **consumer);

/*
 * The key itself, into the request's header.  NGX_OK, or NGX_DECLINED: there is
 * none, or two different ones.
 */
ngx_int_t ngx_http_llm_auth_key(ngx_http_request_t *r, ngx_str_t *key);

/*
 * Returns 1 if the consumer may use the model, by the name in the request and,
 * if that name is an alias, by the name of the model as well.  Returns 1 where
 * llm_auth is off.  A request without a consumer may use each model if the
 * location has "satisfy any", else none.
 */
ngx_uint_t ngx_http_llm_auth_allowed(ngx_http_request_t *r,
    ngx_str_t *requested, ngx_http_llm_model_t *model);

/* WWW-Authenticate, as nginx's own modules set it: "satisfy any" drops it */
ngx_int_t ngx_http_llm_auth_challenge(ngx_http_request_t *r);


/* ngx_http_llm_route.c */

/*
 * Returns the operation with a path suffix that ends r->uri, or NULL.  Trailing
 * slashes are ignored, several slashes in a row count as one.
 */
ngx_http_llm_operation_t *ngx_http_llm_route_operation(ngx_http_request_t *r);

/* Returns the operation at the end of the path, or NULL. */
ngx_http_llm_operation_t *ngx_http_llm_route_suffix(ngx_str_t *path);

/*
 * Sets *name to NAME of a path ".../openai/deployments/NAME/OPERATION", or to
 * an empty string.  It points into r->uri and may be no valid model name.
 */
void ngx_http_llm_route_deployment(ngx_http_request_t *r,
    ngx_http_llm_operation_t *operation, ngx_str_t *name);

/*
 * Writes the message for a path without an operation: the path and the
 * operations that exist.  Allocates from r->pool.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_route_unknown(ngx_http_request_t *r,
    ngx_str_t *message);

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

/* Sets *name to NAME of .../models/NAME, or to "" for the list of models. */
void ngx_http_llm_route_models_name(ngx_http_request_t *r, ngx_str_t *name);


/* ngx_http_llm_require.c */

/*
 * Sets a bit of *allowed for each target of the model that meets what the
 * location requires.  Returns NGX_DECLINED if a value is empty or is not a
 * list, or if no target meets the requirement with the label *label.
 */
ngx_int_t ngx_http_llm_require(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t *allowed, ngx_str_t *label);

/* 1: VALUE or VALUE,VALUE... or a single "*" */
ngx_uint_t ngx_http_llm_require_valid(ngx_str_t *value);

/* 1: the provider has the label, with one of the values (a valid list) */
ngx_uint_t ngx_http_llm_require_met(ngx_http_llm_provider_t *provider,
    ngx_str_t *label, ngx_str_t *values);


#endif /* _NGX_HTTP_LLM_CLIENT_H_INCLUDED_ */
