/*
 * ngx_http_llm_auth.h: who asks.
 */

#ifndef _NGX_HTTP_LLM_AUTH_H_INCLUDED_
#define _NGX_HTTP_LLM_AUTH_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Whose key the client's request has, at any time from its header on.  NULL:
 * nobody's, there are two different ones, or there is no llm_keys.
 */
ngx_llm_consumer_t *ngx_http_llm_auth_consumer(ngx_http_request_t *r);

/*
 * The key itself, into the request's header.  NGX_OK, or NGX_DECLINED: there is
 * none, or two different ones.
 */
ngx_int_t ngx_http_llm_auth_key(ngx_http_request_t *r, ngx_str_t *key);

/*
 * 1: who asks may use the model, by the name asked and, where that is an
 * alias, by the model it leads to.  Always where llm_auth is off.
 */
ngx_uint_t ngx_http_llm_auth_allowed(ngx_http_request_t *r, ngx_str_t *asked,
    ngx_http_llm_model_t *model);

/* WWW-Authenticate, as nginx's own modules set it: "satisfy any" drops it */
ngx_int_t ngx_http_llm_auth_challenge(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_AUTH_H_INCLUDED_ */
