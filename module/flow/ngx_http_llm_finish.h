/*
 * ngx_http_llm_finish.h: the end of an answer of llm_pass.
 */

#ifndef _NGX_HTTP_LLM_FINISH_H_INCLUDED_
#define _NGX_HTTP_LLM_FINISH_H_INCLUDED_


#include <ngx_http_llm.h>


/* the last attempt of the request */

#define ngx_http_llm_pass_attempt(ctx)                                        \
    ((ngx_http_llm_attempt_t *) (ctx)->charge->attempts.elts                  \
     + (ctx)->charge->attempts.nelts - 1)


/*
 * A piece of a body that goes on has been relayed: ends the response if the
 * answer is complete.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_finish_rest(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* the body has ended with rc, as u->finalize_request() has it */
void ngx_http_llm_finish(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_int_t rc);


#endif /* _NGX_HTTP_LLM_FINISH_H_INCLUDED_ */
