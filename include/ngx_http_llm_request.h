/*
 * ngx_http_llm_request.h: one attempt's request, written for one provider.
 */

#ifndef _NGX_HTTP_LLM_REQUEST_H_INCLUDED_
#define _NGX_HTTP_LLM_REQUEST_H_INCLUDED_


#include <ngx_http_llm.h>
#include <ngx_http_llm_dialect.h>


/*
 * NGX_OK: *out is the chain to send, head first, the body spliced around
 * call->edits; it points into the view.  NGX_ERROR: out of memory, or a
 * header value that must not be sent (logged).
 */
ngx_int_t ngx_http_llm_request_create(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_http_llm_view_t *view, ngx_chain_t **out);


#endif /* _NGX_HTTP_LLM_REQUEST_H_INCLUDED_ */
