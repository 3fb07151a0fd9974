/*
 * ngx_http_llm_splice.h: which bytes of the body change for one provider.
 */

#ifndef _NGX_HTTP_LLM_SPLICE_H_INCLUDED_
#define _NGX_HTTP_LLM_SPLICE_H_INCLUDED_


#include <ngx_http_llm.h>
#include <ngx_http_llm_dialect.h>


/*
 * Sets call->edits and call->nedits for one attempt: call->model takes the
 * place of the client's, and what else of the body this provider needs to be
 * otherwise.  Sets ctx->include_usage: 1 if usage is asked for on our own
 * account.  Texts are constant or the pool's.  NGX_OK, or NGX_ERROR: out of
 * memory.
 */
ngx_int_t ngx_http_llm_splice(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call);


#endif /* _NGX_HTTP_LLM_SPLICE_H_INCLUDED_ */
