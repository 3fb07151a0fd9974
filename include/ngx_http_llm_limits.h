/*
 * ngx_http_llm_limits.h: the five timeouts.
 */

#ifndef _NGX_HTTP_LLM_LIMITS_H_INCLUDED_
#define _NGX_HTTP_LLM_LIMITS_H_INCLUDED_


#include <ngx_http_llm.h>


/* (re)starts the timer for what is awaited now; last: nobody comes after */
void ngx_http_llm_limits_arm(ngx_http_request_t *r, ngx_uint_t last);
void ngx_http_llm_limits_keep(ngx_http_request_t *r);

/* from now on T of llm_on_abort counts, too; its end is a read event */
void ngx_http_llm_limits_drain(ngx_http_request_t *r);

void ngx_http_llm_limits_done(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_LIMITS_H_INCLUDED_ */
