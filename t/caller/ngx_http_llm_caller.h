/*
 * ngx_http_llm_caller.h: what the callers of t/caller share.
 */

#ifndef _NGX_HTTP_LLM_CALLER_H_INCLUDED_
#define _NGX_HTTP_LLM_CALLER_H_INCLUDED_


#include <ngx_http_llm.h>


/* an argument of the query, decoded, in r->pool; "" if it is not there */
void ngx_http_llm_caller_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value);


#endif /* _NGX_HTTP_LLM_CALLER_H_INCLUDED_ */
