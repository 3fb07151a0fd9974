/*
 * ngx_http_llm_flow_cache.h: a request and the cache, from the look-up to the
 * store; part of the flow.
 */

#ifndef _NGX_HTTP_LLM_FLOW_CACHE_H_INCLUDED_
#define _NGX_HTTP_LLM_FLOW_CACHE_H_INCLUDED_


#include <ngx_http_llm.h>


/* a request that waits for an answer which is not its own */

struct ngx_http_llm_cache_wait_s {
    ngx_llm_flight_wait_t      wait;       /* for a leader */
    ngx_event_t                timer;      /* llm_cache_lock_timeout */
    ngx_atomic_uint_t          stamp;      /* of the entry that was looked at */
    ngx_http_request_t        *request;
    ngx_llm_cache_fleet_ask_t  ask;
    unsigned                   waiting:1;  /* for Redis, or a leader */
    unsigned                   timedout:1;
    unsigned                   requested:1;  /* Redis was */
    unsigned                   followed:1;  /* a leader was */
};


/*
 * The step that looks for a cached answer, before anything is charged: finds
 * one, and r->content_handler replays it, or notes what is to be stored.
 * NGX_OK always: trouble is a miss.
 */
ngx_int_t ngx_http_llm_cache_lookup(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* looks in shared memory; NGX_OK: it is a hit, as after recall() */
ngx_int_t ngx_http_llm_cache_lookup_local(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* the same with an entry's bytes, which must last as long as the request */
ngx_int_t ngx_http_llm_cache_lookup_value(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_str_t *value);

/* the entry is the answer: notes that in the charge */
void ngx_http_llm_cache_lookup_found(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry,
    ngx_http_llm_cache_e status);

/*
 * The step that may wait for another request's answer to the same question:
 * NGX_OK, NGX_AGAIN (the phases run again), or an HTTP status.
 */
ngx_int_t ngx_http_llm_cache_wait(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* ends the wait; safe to call again */
void ngx_http_llm_cache_wait_done(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* whoever waits for this request need not wait any longer; the same */
void ngx_http_llm_cache_release(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);


/* 1: the client would get that status, and gets an old answer instead */
ngx_uint_t ngx_http_llm_stale_wanted(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_uint_t status);

/* a content handler's return code */
ngx_int_t ngx_http_llm_stale_replay(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/*
 * The same where nginx is about to make a page for a failure: the old answer
 * takes its place.  NGX_OK, or NGX_ERROR: no memory, the page is made.
 */
ngx_int_t ngx_http_llm_stale_keep(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


/* an answer's header is known: from here on it is kept, if it may be */
void ngx_http_llm_cache_store_begin(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* body is all of it */
void ngx_http_llm_cache_store_whole(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, u_char *body, size_t len);

/* it has ended, charge->end says how */
void ngx_http_llm_cache_store_end(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_FLOW_CACHE_H_INCLUDED_ */
