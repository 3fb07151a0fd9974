/*
 * ngx_http_llm_flow_state.h: a request and the state that a provider keeps;
 * part of the flow.
 */

#ifndef _NGX_HTTP_LLM_FLOW_STATE_H_INCLUDED_
#define _NGX_HTTP_LLM_FLOW_STATE_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Runs as a step of admission, after the candidates are known: sets
 * balance.owner if the provider and the key are known that made the state the
 * request refers to.  Returns NGX_OK, NGX_AGAIN (suspended, the phases run
 * again) or an HTTP status.
 */
ngx_int_t ngx_http_llm_state(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx);

/* Cancels the wait for Redis; may be called again. */
void ngx_http_llm_state_done(ngx_http_llm_ctx_t *ctx);

/*
 * Stores the owner of the ids in a successful response.  body: the bytes that
 * have come before the header is sent, decoded; the rest is not needed.
 */
void ngx_http_llm_state_made(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *body, size_t len);


#endif /* _NGX_HTTP_LLM_FLOW_STATE_H_INCLUDED_ */
