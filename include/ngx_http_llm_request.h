/*
 * ngx_http_llm_request.h: the request of an attempt, and its edits.
 */

#ifndef _NGX_HTTP_LLM_REQUEST_H_INCLUDED_
#define _NGX_HTTP_LLM_REQUEST_H_INCLUDED_


#include <ngx_http_llm.h>
#include <ngx_http_llm_dialect.h>


/* ngx_http_llm_request.c */

/*
 * NGX_OK: *out is the chain to send, head first, the body spliced around
 * call->edits; it points into the view.  NGX_ERROR: out of memory, or a
 * header value that must not be sent (logged).
 */
ngx_int_t ngx_http_llm_request_create(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_http_llm_view_t *view, ngx_chain_t **out);


/* ngx_http_llm_splice.c */

/*
 * Sets call->edits and call->nedits for one attempt: call->model takes the
 * place of the client's, and what else of the body this provider needs to be
 * otherwise.  Sets ctx->include_usage: 1 if usage is asked for on our own
 * account.  Texts are constant or the pool's.  NGX_OK, or NGX_ERROR: out of
 * memory.
 */
ngx_int_t ngx_http_llm_splice(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call);


#endif /* _NGX_HTTP_LLM_REQUEST_H_INCLUDED_ */
