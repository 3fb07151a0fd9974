/*
 * ngx_http_llm_auth.h: the consumer of a client request.
 */

#ifndef _NGX_HTTP_LLM_AUTH_H_INCLUDED_
#define _NGX_HTTP_LLM_AUTH_H_INCLUDED_


#include <ngx_http_llm.h>


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
ngx_uint_t ngx_http_llm_auth_allowed(ngx_http_request_t *r, ngx_str_t *asked,
    ngx_http_llm_model_t *model);

/* WWW-Authenticate, as nginx's own modules set it: "satisfy any" drops it */
ngx_int_t ngx_http_llm_auth_challenge(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_AUTH_H_INCLUDED_ */
