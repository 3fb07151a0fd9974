/*
 * ngx_http_llm_blame.h: what the end of an attempt means for the health of
 * provider, key and target.
 */

#ifndef _NGX_HTTP_LLM_BLAME_H_INCLUDED_
#define _NGX_HTTP_LLM_BLAME_H_INCLUDED_


#include <ngx_http_llm.h>


/* the answer goes to the client: it was one, or an error that is passed */
void ngx_http_llm_blame_answered(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);

/* the attempt gave no answer; attempt->failure says why */
void ngx_http_llm_blame_failed(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);

/* an answer that had begun has ended; whole, or cut by the provider */
void ngx_http_llm_blame_ended(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);


#endif /* _NGX_HTTP_LLM_BLAME_H_INCLUDED_ */
