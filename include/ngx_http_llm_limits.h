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

/* bytes of a stream without output have come; release is called if it is not
   committed within hold milliseconds */
void ngx_http_llm_limits_hold(ngx_http_request_t *r, ngx_msec_t hold,
    void (*release)(ngx_http_request_t *r));

/* the stream is complete: waits so long for its last chunk, at most */
void ngx_http_llm_limits_finish(ngx_http_request_t *r, ngx_msec_t wait);

void ngx_http_llm_limits_done(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_LIMITS_H_INCLUDED_ */
