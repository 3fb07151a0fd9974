/*
 * ngx_http_llm_copy.h: the copy of a response for the cache, and its replay.
 */

#ifndef _NGX_HTTP_LLM_COPY_H_INCLUDED_
#define _NGX_HTTP_LLM_COPY_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_copy.c */

/*
 * May an answer with these headers be kept?  NULL: it may; else why not, a
 * static word.  headers: as they came from upstream.
 */
const char *ngx_http_llm_copy_refused(ngx_list_t *headers);

/* Starts the copy of a response. */
void ngx_http_llm_copy_start(ngx_http_llm_ctx_t *ctx);

/* Drops the copy; why is a static string.  The memory stays in r->pool. */
void ngx_http_llm_copy_drop(ngx_http_llm_ctx_t *ctx, const char *why);

/* copies; an answer longer than llm_cache_max_size is dropped */
void ngx_http_llm_copy_feed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *pos, u_char *last);

/* the same of all that is in memory of a chain */
void ngx_http_llm_copy_chain(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_chain_t *in);

/*
 * Returns 1 if the body is longer than llm_max_response_size of this location,
 * which limits llm_pass only.
 */
ngx_uint_t ngx_http_llm_copy_oversize(const ngx_http_llm_loc_conf_t *llcf,
    const ngx_llm_entry_t *entry);

/*
 * body is all of the answer, and stream says in which form: is it whole?
 * Then usage, its place and finish are set, the last in the buffer of
 * NGX_LLM_FINISH_REASON bytes.  NGX_OK, or NGX_DECLINED: it is dropped.
 */
ngx_int_t ngx_http_llm_copy_prove(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry, u_char *finish);

/* keeps it, with the names and the cost that are in entry; NGX_OK, or
   NGX_DECLINED: dropped */
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
 * What of the entry this client gets: one or two buffers, the last one marked.
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_replay_body(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_chain_t **out, off_t *size);

/* a content handler: charge->cache.entry is the answer */
ngx_int_t ngx_http_llm_replay(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_COPY_H_INCLUDED_ */
