/*
 * ngx_http_llm_copy.h: the copy of a response for the cache, and its replay.
 */

#ifndef _NGX_HTTP_LLM_COPY_H_INCLUDED_
#define _NGX_HTTP_LLM_COPY_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_copy.c */

/*
 * Returns NULL if a response with these headers may be stored, otherwise the
 * reason, a static word.  headers: those of the upstream's response.
 */
const char *ngx_http_llm_copy_refused(ngx_list_t *headers);

/* Starts the copy of a response. */
void ngx_http_llm_copy_start(ngx_http_llm_ctx_t *ctx);

/* Drops the copy; why is a static string.  The memory stays in r->pool. */
void ngx_http_llm_copy_drop(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    const char *why);

/* Copies bytes; drops a response longer than llm_cache_max_size. */
void ngx_http_llm_copy_feed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *pos, u_char *last);

/* Copies the buffers of a chain; a buffer in a file drops the response. */
void ngx_http_llm_copy_chain(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_chain_t *in);

/*
 * Returns 1 if the body is longer than llm_max_response_size of this location,
 * which limits llm_pass only.
 */
ngx_uint_t ngx_http_llm_copy_oversize(const ngx_http_llm_loc_conf_t *llcf,
    const ngx_llm_entry_t *entry);

/*
 * Returns NGX_OK if entry->body is a complete response, and sets the usage, its
 * position and the finish reason; finish is a buffer of NGX_LLM_FINISH_REASON
 * bytes.  Returns NGX_DECLINED otherwise, and drops the copy.
 */
ngx_int_t ngx_http_llm_copy_prove(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry, u_char *finish);

/*
 * Stores the entry, with the names and the cost the caller has set.  Returns
 * NGX_OK, or NGX_DECLINED if the copy is dropped.
 */
ngx_int_t ngx_http_llm_copy_store(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry);


/* ngx_http_llm_replay.c */

/*
 * Renders the entry in the form that the client requested, a stream or a
 * document, and changes its body, type and stream flag.  Returns NGX_DECLINED
 * if the requested form cannot express the response, NGX_ERROR if there is no
 * memory.
 */
ngx_int_t ngx_http_llm_replay_fit(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry);

/*
 * Creates the buffers of the entry for this client, without the usage chunk
 * unless the client requested it; the last buffer is marked.  Returns NGX_OK or
 * NGX_ERROR.
 */
ngx_int_t ngx_http_llm_replay_body(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_chain_t **out, off_t *size);

/* Content handler: sends charge->cache.entry. */
ngx_int_t ngx_http_llm_replay(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_COPY_H_INCLUDED_ */
