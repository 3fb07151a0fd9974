/*
 * ngx_http_llm_require.h: which targets carry the labels that are required.
 */

#ifndef _NGX_HTTP_LLM_REQUIRE_H_INCLUDED_
#define _NGX_HTTP_LLM_REQUIRE_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Sets a bit of *allowed for each target of the model that meets what the
 * location requires.  NGX_OK; NGX_DECLINED: a value is empty or no list, or
 * nobody is left (*label is the requirement's); NGX_ERROR.
 */
ngx_int_t ngx_http_llm_require(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t *allowed, ngx_str_t *label);

/* 1: VALUE or VALUE,VALUE... or a single "*" */
ngx_uint_t ngx_http_llm_require_valid(ngx_str_t *value);

/* 1: the provider has the label, with one of the values (a valid list) */
ngx_uint_t ngx_http_llm_require_met(ngx_http_llm_provider_t *provider,
    ngx_str_t *label, ngx_str_t *values);


#endif /* _NGX_HTTP_LLM_REQUIRE_H_INCLUDED_ */
