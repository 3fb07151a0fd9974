/*
 * ngx_http_llm_drain.h: an answer is read on although its client is gone.
 */

#ifndef _NGX_HTTP_LLM_DRAIN_H_INCLUDED_
#define _NGX_HTTP_LLM_DRAIN_H_INCLUDED_


#include <ngx_http_llm.h>


/* puts the filters into the chain that see a write fail; NGX_OK */
ngx_int_t ngx_http_llm_drain_init(ngx_conf_t *cf);

/*
 * Once upstream looks after the client, for each attempt: with llm_on_abort
 * drain, the client's leaving starts a drain.  started is called then, later
 * than this call and once; it may neither end the request nor write.
 */
void ngx_http_llm_drain_watch(ngx_http_request_t *r,
    void (*started)(ngx_http_request_t *r));

/* the answer has ended, drained or not: says how in the log; idempotent */
void ngx_http_llm_drain_done(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_DRAIN_H_INCLUDED_ */
