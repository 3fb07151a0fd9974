/*
 * ngx_http_llm_replay.h: a cached answer, to whoever asks for it.
 */

#ifndef _NGX_HTTP_LLM_REPLAY_H_INCLUDED_
#define _NGX_HTTP_LLM_REPLAY_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Renders the entry in the form that the client has asked for, a stream or a
 * document, if it is the other one; then its body, type and stream change.
 * NGX_OK; NGX_DECLINED: that form cannot say what it says; NGX_ERROR: memory.
 */
ngx_int_t ngx_http_llm_replay_fit(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry);

/*
 * What of the entry this client gets: one or two buffers, the last one marked.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_replay_body(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_chain_t **out, off_t *size);

/* a content handler: charge->cache.entry is the answer */
ngx_int_t ngx_http_llm_replay(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_REPLAY_H_INCLUDED_ */
