/*
 * ngx_http_llm_flow_cache.h: the cache of responses, from the look-up to the
 * store; part of the flow.
 */

#ifndef _NGX_HTTP_LLM_FLOW_CACHE_H_INCLUDED_
#define _NGX_HTTP_LLM_FLOW_CACHE_H_INCLUDED_


#include <ngx_http_llm.h>


/* a request that waits for Redis or for the response of another request */

struct ngx_http_llm_cache_wait_s {
    ngx_llm_flight_wait_t      wait;       /* for a leader */
    ngx_event_t                timer;      /* llm_cache_lock_timeout */
    ngx_atomic_uint_t          stamp;      /* of the entry that was looked at */
    ngx_http_request_t        *request;
    ngx_llm_cache_fleet_ask_t  ask;
    unsigned                   waiting:1;  /* for Redis, or a leader */
    unsigned                   timedout:1;
    unsigned                   requested:1;  /* Redis was called */
    unsigned                   followed:1;  /* it has waited for a leader */
};


/*
 * Looks up the response, as a step of admission before any charge.  After a hit
 * r->content_handler sends the entry.  Returns NGX_OK always: an error of the
 * cache is a miss.
 */
ngx_int_t ngx_http_llm_cache_lookup(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* Looks up shared memory; returns NGX_OK after a hit, or NGX_DECLINED. */
ngx_int_t ngx_http_llm_cache_lookup_local(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* Does the same for the bytes of an entry, valid as long as the request. */
ngx_int_t ngx_http_llm_cache_lookup_value(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_str_t *value);

/* Makes the entry the response of the request, in its charge. */
void ngx_http_llm_cache_lookup_found(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry,
    ngx_http_llm_cache_e status);

/*
 * Waits for the response of a request with an equal key, as a step of
 * admission.  Returns NGX_OK, NGX_AGAIN (suspended, the phases run again) or an
 * HTTP status.
 */
ngx_int_t ngx_http_llm_cache_wait(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* Cancels the wait; may be called again. */
void ngx_http_llm_cache_wait_done(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* Releases requests that wait for this one; may be called again. */
void ngx_http_llm_cache_release(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);


/* Returns 1 if a stale entry is sent in place of an error with this status. */
ngx_uint_t ngx_http_llm_stale_wanted(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_uint_t status);

/* Sends the stale entry; returns the result of a content handler. */
ngx_int_t ngx_http_llm_stale_replay(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/*
 * Puts the stale entry in place of the error page that nginx is about to send.
 * Returns NGX_OK, or NGX_ERROR if memory is short and the page is sent.
 */
ngx_int_t ngx_http_llm_stale_keep(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


/* Starts the copy if the response, whose header is known, may be stored. */
void ngx_http_llm_cache_store_begin(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* Stores a response; body is complete. */
void ngx_http_llm_cache_store_whole(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, u_char *body, size_t len);

/* Stores the copy at the end of the response, if charge->end permits it. */
void ngx_http_llm_cache_store_end(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_FLOW_CACHE_H_INCLUDED_ */
