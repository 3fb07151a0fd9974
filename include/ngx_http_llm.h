/*
 * ngx_http_llm.h: configuration and request context.
 *
 * The configuration is read-only once it is read.  The ctx is one pass of a
 * request through a location.  Each sub-struct is written only by the service
 * that it is named after; other services read it.
 */

#ifndef _NGX_HTTP_LLM_H_INCLUDED_
#define _NGX_HTTP_LLM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_llm_conf.h>
#include <ngx_http_llm_charge.h>
#include <ngx_http_llm_exchange.h>
#include <ngx_http_llm_reading.h>
#include <ngx_llm_quote.h>


#define NGX_HTTP_LLM_VERSION          "0.1.0"

/* bytes of an answer that are held back before it is judged */
#define NGX_HTTP_LLM_HOLD             65536

/* service/client/ngx_http_llm_body.c: the request body as one contiguous
   view */

typedef struct {
    u_char                        *data;
    size_t                         len;
} ngx_http_llm_view_t;


/* service/attempt/ngx_http_llm_balance.c: the target chosen for an attempt */

typedef struct {
    uint64_t                       allowed;      /* targets, by llm_require */
    ngx_http_llm_target_t         *target;       /* chosen last */
    ngx_http_llm_credential_t     *credential;
    uint64_t                       owner;        /* of the state, or 0 */
    uint64_t                       affinity;     /* hash of a key, or 0 */
    unsigned                       held:1;       /* in flight there */
    unsigned                       forced:1;     /* although it rests */
} ngx_http_llm_balance_ctx_t;


/* service/attempt/ngx_http_llm_upstream.c: the attempts of one pass */

typedef struct {
    const ngx_http_llm_exchange_t *exchange;
    ngx_http_llm_target_t         *target;       /* being tried */
    ngx_int_t                      tries;        /* attempts so far */
    ngx_msec_t                     started;      /* this pass */
    ngx_uint_t                     raised;       /* instead of 502, 504 */

    /* the balancer methods of the provider's own block */

    void                          *data;
    ngx_event_get_peer_pt          get;
    ngx_event_free_peer_pt         free;
    ngx_event_notify_peer_pt       notify;
#if (NGX_SSL)
    ngx_event_set_peer_session_pt  set_session;
    ngx_event_save_peer_session_pt save_session;
#endif
    ngx_uint_t                     inner_tries;

    unsigned                       stale:1;      /* a kept one has died */
    unsigned                       chosen:1;     /* next: balance.target */
    unsigned                       again:1;      /* next: the same target */
    unsigned                       fresh:1;      /* again, from its start */
    unsigned                       live:1;       /* inner.free is owed */
    unsigned                       committed:1;  /* header goes to client */
    unsigned                       woken:1;      /* without a byte */
    ngx_recv_pt                    recv;         /* of the connection */
} ngx_http_llm_upstream_ctx_t;


/* service/attempt/ngx_http_llm_timeouts.c: the timeouts, one timer */

typedef struct {
    ngx_event_t                    timer;
    ngx_msec_t                     last_read;    /* of the answer's body */
    ngx_msec_t                     keep_since;   /* an error's body is read */
    ngx_msec_t                     drain_end;    /* ngx_current_msec */
    ngx_msec_t                     hold_end;     /* of the first output */
    ngx_msec_t                     end;          /* of a complete stream */
    void                         (*release)(ngx_http_request_t *r);
    unsigned                       keeping:1;
    unsigned                       last:1;       /* no candidate is left */
    unsigned                       timedout:1;   /* a limit has ended it */
    unsigned                       expired:1;    /* llm_timeout has */
    unsigned                       draining:1;   /* until drain_end */
    unsigned                       drained:1;    /* that has come */
    unsigned                       heard:1;      /* a stream has begun */
    unsigned                       holding:1;    /* until hold_end */
    unsigned                       ending:1;     /* until end */
} ngx_http_llm_timeouts_ctx_t;


/* service/attempt/ngx_http_llm_response.c: status line and headers */

typedef struct {
    ngx_int_t                    (*step)(ngx_http_request_t *r);
    ngx_http_status_t              status;
    ngx_uint_t                     interim;      /* 1xx seen */
    ngx_str_t                      content_type;
    ngx_str_t                      request_id;
    const char                    *reason;       /* why it is no answer */
    unsigned                       parsed:1;     /* header is complete */
    unsigned                       stream:1;     /* text/event-stream */
    unsigned                       json:1;
    unsigned                       coded:1;      /* Content-Encoding */
    unsigned                       connection_close:1;
} ngx_http_llm_response_ctx_t;


/* service/attempt/ngx_http_llm_peer.c: the wait for a name's first address */

typedef struct {
    ngx_llm_waiter_t               waiter;
    ngx_event_t                    timer;
    void                         (*resume)(ngx_http_request_t *r);
    unsigned                       timedout:1;
} ngx_http_llm_wait_ctx_t;


/* service/client/ngx_http_llm_ping.c: comment lines into a silent stream */

typedef struct {
    ngx_event_t                    timer;
    ngx_msec_t                     last;         /* ping, or the start */
    ngx_buf_t                     *buf;
    ngx_str_t                      error;        /* object, or old answer */
    unsigned                       sending:1;    /* the header, right now */
    unsigned                       sent:1;       /* our 200 is out */
    unsigned                       failed:1;     /* an event has to say it */
    unsigned                       ended:1;
} ngx_http_llm_ping_ctx_t;


/* service/client/ngx_http_llm_drain.c: reads on after the client has closed */

typedef struct {
    void                         (*started)(ngx_http_request_t *r);
    ngx_http_event_handler_pt      read;         /* upstream's own */
    ngx_http_event_handler_pt      write;
    unsigned                       active:1;     /* the client is gone */
    unsigned                       reported:1;   /* it had a header */
} ngx_http_llm_drain_ctx_t;


/* service/client/ngx_http_llm_error.c: our page instead of nginx's */

typedef struct {
    ngx_str_t                      body;
    unsigned                       found:1;      /* nginx made one up */
    unsigned                       deferred:1;   /* header waits for body */
    unsigned                       sent:1;       /* ours is on its way */
} ngx_http_llm_page_ctx_t;


typedef struct ngx_http_llm_cache_wait_s  ngx_http_llm_cache_wait_t;


typedef struct {
    ngx_http_llm_charge_t         *charge;       /* NULL: an early error */
    ngx_http_llm_page_ctx_t        page;
    ngx_http_llm_meter_ctx_t       meter;
    ngx_http_llm_ping_ctx_t        ping;
    ngx_http_llm_drain_ctx_t       drain;
    ngx_http_llm_view_t            view;
    ngx_buf_t                     *header_in;    /* while another is lent */
    ngx_str_t                      name;         /* model to route by */
    ngx_str_t                      rest;         /* what its * matched */
    ngx_http_llm_wait_ctx_t        wait;
    ngx_http_llm_balance_ctx_t     balance;
    ngx_http_llm_upstream_ctx_t    upstream;
    ngx_http_llm_timeouts_ctx_t    timeouts;
    ngx_http_llm_response_ctx_t    response;
    ngx_llm_quote_t                quote;        /* of this attempt */
    ngx_http_llm_framing_ctx_t     framing;
    ngx_http_llm_judge_ctx_t       judge;
    ngx_http_llm_relay_ctx_t       relay;
    ngx_http_llm_copy_ctx_t        copy;
    ngx_http_llm_cache_wait_t     *cache_wait;   /* while it waits for one */
    ngx_http_llm_state_wait_t     *state_wait;   /* Redis was asked */
    ngx_uint_t                     step;         /* of admit, the next */
    unsigned                       read:1;       /* the body is there */
    unsigned                       reserving:1;  /* the store was asked */
    unsigned                       include_usage:1;  /* was put in by us */
    unsigned                       stateful:1;   /* no failover */
} ngx_http_llm_ctx_t;


/* the model that a target is asked for */

static ngx_inline ngx_str_t *
ngx_http_llm_model_for(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target)
{
    return target->wildcard ? &ctx->rest
                            : target->model.len ? &target->model : &ctx->name;
}


extern ngx_module_t  ngx_http_llm_module;


#endif /* _NGX_HTTP_LLM_H_INCLUDED_ */
