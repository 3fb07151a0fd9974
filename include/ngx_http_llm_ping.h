/*
 * ngx_http_llm_ping.h: comment lines into a silent stream.
 */

#ifndef _NGX_HTTP_LLM_PING_H_INCLUDED_
#define _NGX_HTTP_LLM_PING_H_INCLUDED_


#include <ngx_http_llm.h>


/* puts the filters into the chain that follow a header sent early; NGX_OK */
ngx_int_t ngx_http_llm_ping_init(ngx_conf_t *cf);

/* from now on, every llm_ping of silence, until done; done is idempotent */
void ngx_http_llm_ping_start(ngx_http_request_t *r);
void ngx_http_llm_ping_done(ngx_http_request_t *r);

/* is done() of a ctx that an internal redirect may have detached from r */
void ngx_http_llm_ping_stop(ngx_http_llm_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_PING_H_INCLUDED_ */
