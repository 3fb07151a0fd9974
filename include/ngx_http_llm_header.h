/*
 * ngx_http_llm_header.h: what travels, and what every answer carries.
 */

#ifndef _NGX_HTTP_LLM_HEADER_H_INCLUDED_
#define _NGX_HTTP_LLM_HEADER_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Builds the hash of client headers that travel on: ours and those of
 * llm_pass_header.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_header_travel(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);

/* NULL, or why a header of this name must not be set or passed */
const char *ngx_http_llm_header_refused(ngx_str_t *name, ngx_uint_t set);

/* $request_id, the same at any time; NULL: out of memory */
ngx_http_variable_value_t *ngx_http_llm_header_request_id(
    ngx_http_request_t *r);

ngx_int_t ngx_http_llm_header_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_HEADER_H_INCLUDED_ */
