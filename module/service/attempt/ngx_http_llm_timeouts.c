/*
 * The timeouts of a request, held by one timer.  nginx's own timers stand
 * at a day; the limits are looked at when ours fires, so that nothing is
 * re-armed for an event of a stream.  Firing takes nginx's ordinary way: the
 * peer's event is marked as timed out and posted.
 */


#include <ngx_http_llm_attempt.h>


#define NGX_HTTP_LLM_TOTAL          600000  /* llm_timeout where none is set */
#define NGX_HTTP_LLM_TIMEOUTS_KEEP  1000    /* for the body of a kept error */


static void ngx_http_llm_timeouts_sooner(ngx_event_t *ev, ngx_msec_t wait);
static void ngx_http_llm_timeouts_end(ngx_http_request_t *r);
static void ngx_http_llm_timeouts_timer(ngx_event_t *ev);
static ngx_msec_int_t ngx_http_llm_timeouts_held(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_msec_int_t left);
static ngx_msec_int_t ngx_http_llm_timeouts_left(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_msec_t ngx_http_llm_timeouts_answer(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


/* a provider's own limit wins over the location's */

#define ngx_http_llm_timeout(ctx, llcf, name)                                 \
    ((ctx)->upstream.target->provider->timeouts.name != NGX_CONF_UNSET_MSEC   \
     ? (ctx)->upstream.target->provider->timeouts.name                        \
     : (llcf)->timeouts.name)


void
ngx_http_llm_timeouts_arm(ngx_http_request_t *r, ngx_uint_t last)
{
    ngx_event_t         *ev;
    ngx_msec_int_t       left, answer;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    ev = &ctx->timeouts.timer;

    ctx->timeouts.last = last;
    ctx->timeouts.keeping = 0;
    ctx->timeouts.timedout = 0;
    ctx->timeouts.heard = 0;
    ctx->timeouts.holding = 0;
    ctx->timeouts.ending = 0;
    ctx->timeouts.last_read = ngx_current_msec;

    ev->handler = ngx_http_llm_timeouts_timer;
    ev->data = r;
    ev->log = r->connection->log;

    left = ngx_http_llm_timeouts_left(r, ctx);

    if (!ctx->upstream.committed) {

        /* this one starts when connected, and may be the shorter one */

        answer = (ngx_msec_int_t) ngx_http_llm_timeouts_answer(r, ctx);
        left = ngx_min(left, answer);
    }

    left = ngx_max(left, 1);

    if (ev->timer_set) {

        if ((ngx_msec_int_t) (ngx_current_msec + left - ev->timer.key) >= 0) {
            /* fires sooner, and is set for the rest then */
            return;
        }

        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, (ngx_msec_t) left);
}


void
ngx_http_llm_timeouts_keep(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (!ctx->timeouts.keeping) {
        ctx->timeouts.keeping = 1;
        ctx->timeouts.keep_since = ngx_current_msec;

        ngx_del_timer(&ctx->timeouts.timer);
        ngx_add_timer(&ctx->timeouts.timer, NGX_HTTP_LLM_TIMEOUTS_KEEP);
    }
}


void
ngx_http_llm_timeouts_drain(ngx_http_request_t *r)
{
    ngx_event_t              *ev;
    ngx_msec_int_t            left;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    ev = &ctx->timeouts.timer;

    ctx->timeouts.draining = 1;
    ctx->timeouts.drain_end = ngx_current_msec + llcf->drain;

    if (!ev->timer_set) {
        /* a limit has been reached just now */
        return;
    }

    left = (ngx_msec_int_t) (ev->timer.key - ctx->timeouts.drain_end);

    if (left > 0) {
        ngx_del_timer(ev);
        ngx_add_timer(ev, llcf->drain);
    }
}


void
ngx_http_llm_timeouts_hold(ngx_http_request_t *r, ngx_msec_t hold,
    void (*release)(ngx_http_request_t *r))
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    /* each byte is a sign of life: the first token has its time again */

    ctx->timeouts.last_read = ngx_current_msec;

    if (ctx->timeouts.heard) {
        return;
    }

    ctx->timeouts.heard = 1;
    ctx->timeouts.holding = 1;
    ctx->timeouts.hold_end = ngx_current_msec + hold;
    ctx->timeouts.release = release;

    ngx_http_llm_timeouts_sooner(&ctx->timeouts.timer, hold);
}


void
ngx_http_llm_timeouts_finish(ngx_http_request_t *r, ngx_msec_t wait)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->timeouts.ending = 1;
    ctx->timeouts.end = ngx_current_msec + wait;

    ngx_http_llm_timeouts_sooner(&ctx->timeouts.timer, wait);
}


/* the timer is set for the rest when it fires */

static void
ngx_http_llm_timeouts_sooner(ngx_event_t *ev, ngx_msec_t wait)
{
    if (ev->timer_set) {

        if ((ngx_msec_int_t) (ngx_current_msec + wait - ev->timer.key) >= 0) {
            return;
        }

        ngx_del_timer(ev);
    }

    ngx_add_timer(ev, wait);
}


/* ends the wait for the last chunk: the upstream connection is not kept */

static void
ngx_http_llm_timeouts_end(ngx_http_request_t *r)
{
    r->upstream->length = 0;
    r->upstream->keepalive = 0;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm limits: end of the upstream response not awaited");

    ngx_post_event(r->connection->write, &ngx_posted_events);
}


void
ngx_http_llm_timeouts_done(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->timeouts.timer.timer_set) {
        ngx_del_timer(&ctx->timeouts.timer);
    }
}


static void
ngx_http_llm_timeouts_timer(ngx_event_t *ev)
{
    ngx_event_t          *peer;
    ngx_msec_int_t        left;
    ngx_connection_t     *c;
    ngx_http_request_t   *r;
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    r = ev->data;
    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_set_log_request(r->connection->log, r);

    if (ctx->upstream.committed && (u->busy_bufs || u->out_bufs)) {

        /* it is the client who is slow; send_timeout is for him */

        ctx->timeouts.last_read = ngx_current_msec;
    }

    left = ngx_http_llm_timeouts_left(r, ctx);
    left = ngx_http_llm_timeouts_held(r, ctx, left);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    if (ctx->timeouts.ending) {
        ngx_http_llm_timeouts_end(r);
        return;
    }

    if (ctx->timeouts.drained) {

        /* no fault of the provider: it ends as the client has */

        ngx_post_event(r->connection->read, &ngx_posted_events);
        return;
    }

    c = u->peer.connection;

    if (c == NULL) {
        return;
    }

    ctx->timeouts.timedout = 1;

    if (u->state->connect_time == (ngx_msec_t) -1
        || (!u->request_body_sent && !ctx->upstream.committed))
    {
        peer = c->write;

    } else {
        peer = c->read;
    }

    peer->timedout = 1;
    ngx_post_event(peer, &ngx_posted_events);
}


/* the waits that are no faults of the provider; returns the shortest one */

static ngx_msec_int_t
ngx_http_llm_timeouts_held(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_msec_int_t left)
{
    ngx_msec_int_t  rest;

    if (ctx->timeouts.ending) {
        rest = (ngx_msec_int_t) (ctx->timeouts.end - ngx_current_msec);
        return ngx_min(left, rest);
    }

    if (!ctx->timeouts.holding || left <= 0) {
        return left;
    }

    rest = (ngx_msec_int_t) (ctx->timeouts.hold_end - ngx_current_msec);

    if (rest > 0) {
        return ngx_min(left, rest);
    }

    ctx->timeouts.holding = 0;
    ctx->timeouts.release(r);

    return left;
}


/* milliseconds until the first of the limits that apply now */

static ngx_msec_int_t
ngx_http_llm_timeouts_left(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_msec_t                end, own, total;
    ngx_msec_int_t            left, rest;
    ngx_http_upstream_t      *u;
    ngx_http_llm_loc_conf_t  *llcf;

    u = r->upstream;
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (ctx->upstream.committed) {
        end = ctx->timeouts.last_read + ngx_http_llm_timeout(ctx, llcf, idle);

    } else if (ctx->timeouts.keeping) {
        end = ctx->timeouts.keep_since + NGX_HTTP_LLM_TIMEOUTS_KEEP;

    } else if (u->state->connect_time == (ngx_msec_t) -1) {
        end = u->start_time + ngx_http_llm_timeout(ctx, llcf, connect);

    } else {
        end = ctx->timeouts.heard ? ctx->timeouts.last_read
                                : u->start_time + u->state->connect_time;
        end += ngx_http_llm_timeouts_answer(r, ctx);
    }

    left = (ngx_msec_int_t) (end - ngx_current_msec);

    if (ctx->timeouts.draining) {
        rest = (ngx_msec_int_t) (ctx->timeouts.drain_end - ngx_current_msec);
        left = ngx_min(left, rest);

        ctx->timeouts.drained = (rest <= 0);
    }

    own = ctx->upstream.target->provider->timeouts.total;

    if (own != NGX_CONF_UNSET_MSEC) {
        rest = (ngx_msec_int_t) (u->start_time + own - ngx_current_msec);
        left = ngx_min(left, rest);
    }

    total = llcf->timeouts.total;

    if (total == NGX_CONF_UNSET_MSEC) {

        if (ctx->charge->facts.stream) {
            return left;
        }

        total = NGX_HTTP_LLM_TOTAL;
    }

    rest = (ngx_msec_int_t) (ctx->upstream.started + total
                             - ngx_current_msec);

    if (rest <= 0) {
        ctx->timeouts.expired = 1;
    }

    return ngx_min(left, rest);
}


/*
 * How long the answer may be awaited.  The last candidate after others gets
 * all that is left of llm_timeout: a slow valid answer is better than none.
 */

static ngx_msec_t
ngx_http_llm_timeouts_answer(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_msec_t                spent, total;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (ctx->upstream.tries > 1 && ctx->timeouts.last) {

        total = llcf->timeouts.total;

        if (total == NGX_CONF_UNSET_MSEC) {
            total = NGX_HTTP_LLM_TOTAL;
        }

        spent = r->upstream->start_time - ctx->upstream.started;

        return (total > spent) ? total - spent : 1;
    }

    if (ctx->charge->facts.stream) {
        return ngx_http_llm_timeout(ctx, llcf, first_token);
    }

    return ngx_http_llm_timeout(ctx, llcf, header);
}
