/*
 * A Redis server of a service: dispatches replies to calls, decides from errors
 * and timeouts whether the server is down, and keeps deliveries until they
 * arrive.  ngx_llm_redis_call.c has calls, ngx_llm_redis_link.c the connection.
 */


#include "ngx_llm_redis_call.h"
#include <hiredis/hiredis.h>


#define NGX_LLM_REDIS_CALLS       4096   /* without an answer */
#define NGX_LLM_REDIS_DELIVERIES  8192
#define NGX_LLM_REDIS_BEHIND      1024   /* of them, before a call */

#define NGX_LLM_REDIS_FAULTS      3      /* in a row: it is down */
#define NGX_LLM_REDIS_TEXT        100    /* of an error in the log, bytes */
#define NGX_LLM_REDIS_PING        1000   /* silence before it is asked, ms */
#define NGX_LLM_REDIS_AGAIN       400    /* before another attempt, or */
#define NGX_LLM_REDIS_JITTER      200    /*  up to that longer */
#define NGX_LLM_REDIS_SOON        10     /* after a connection was lost */
#define NGX_LLM_REDIS_LEAVE       5000   /* an exiting worker waits */


static void ngx_llm_redis_ready(void *data);
static void ngx_llm_redis_resend(ngx_llm_redis_t *redis);
static void ngx_llm_redis_reply(void *data, redisReply *reply);
static void ngx_llm_redis_good(ngx_llm_redis_call_t *call,
    redisReply *reply);
static void ngx_llm_redis_bad(ngx_llm_redis_call_t *call, redisReply *reply);
static void ngx_llm_redis_complain(ngx_llm_redis_t *redis,
    redisReply *reply);
static void ngx_llm_redis_fault(ngx_llm_redis_t *redis, ngx_uint_t drop);
static void ngx_llm_redis_lost(void *data);
static void ngx_llm_redis_closed(ngx_llm_redis_t *redis);
static void ngx_llm_redis_down(ngx_llm_redis_t *redis);
static void ngx_llm_redis_abandon(ngx_llm_redis_t *redis);
static void ngx_llm_redis_tick(ngx_event_t *ev);
static void ngx_llm_redis_expire(ngx_llm_redis_t *redis);
static ngx_uint_t ngx_llm_redis_stalled(ngx_llm_redis_t *redis);
static void ngx_llm_redis_leave(ngx_llm_redis_t *redis);
static void ngx_llm_redis_ping(ngx_event_t *ev);


static const ngx_llm_redis_link_handlers_t  ngx_llm_redis_handlers = {
    ngx_llm_redis_ready,
    ngx_llm_redis_reply,
    ngx_llm_redis_lost
};


ngx_llm_redis_t *
ngx_llm_redis_create(ngx_conf_t *cf, ngx_llm_redis_conf_t *conf)
{
    ngx_llm_redis_t  *redis;

    redis = ngx_pcalloc(cf->pool, sizeof(ngx_llm_redis_t));
    if (redis == NULL) {
        return NULL;
    }

    redis->conf = conf;

    ngx_queue_init(&redis->sent);
    ngx_queue_init(&redis->order);
    ngx_queue_init(&redis->backlog);

    return redis;
}


ngx_int_t
ngx_llm_redis_worker(ngx_llm_redis_t *redis, ngx_cycle_t *cycle)
{
    redis->pool = cycle->pool;

    ngx_llm_redis_link_init(&redis->link, redis->conf,
                            &ngx_llm_redis_handlers, redis, cycle->log);

    redis->timer.handler = ngx_llm_redis_tick;
    redis->timer.data = redis;
    redis->timer.log = &redis->link.log;

    redis->ping.handler = ngx_llm_redis_ping;
    redis->ping.data = redis;
    redis->ping.log = &redis->link.log;
    redis->ping.cancelable = 1;

    /* a millisecond: no handler is called before the event loop runs */

    ngx_llm_redis_link_retry(&redis->link, 1);

    return NGX_OK;
}


void
ngx_llm_redis_exit(ngx_llm_redis_t *redis)
{
    if (redis->pool == NULL) {
        return;
    }

    if (redis->deliveries) {
        ngx_log_error(NGX_LOG_WARN, &redis->link.log, 0,
                      "%ui deliveries to redis are lost with the process",
                      redis->deliveries);
    }

    ngx_llm_redis_link_close(&redis->link);

    ngx_llm_redis_call_drop(redis, &redis->sent);
    ngx_llm_redis_call_drop(redis, &redis->backlog);

    redis->open = 0;
    redis->pool = NULL;
}


ngx_llm_redis_call_t *
ngx_llm_redis_call(ngx_llm_redis_t *redis, ngx_llm_redis_script_t *script,
    ngx_uint_t nkeys, ngx_str_t *args, ngx_uint_t nargs,
    ngx_llm_redis_handler_pt handler, void *data)
{
    ngx_llm_redis_call_t  *call;

    if (redis->down || redis->pool == NULL
        || redis->behind >= NGX_LLM_REDIS_BEHIND
        || redis->calls >= NGX_LLM_REDIS_CALLS
        || redis->calls_size >= NGX_LLM_REDIS_BYTES)
    {
        ngx_log_debug3(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                       "llm redis call not sent, down:%ui calls:%ui behind:%ui",
                       (ngx_uint_t) redis->down, redis->calls, redis->behind);
        return NULL;
    }

    call = ngx_llm_redis_call_make(redis, script, nkeys, args, nargs);
    if (call == NULL) {
        return NULL;
    }

    call->handler = handler;
    call->data = data;
    call->waiting = 1;

    /* a worker that has just started, or lost a connection, has one soon */

    if (!redis->open) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                       "llm redis call waits for the connection");
        call->parked = 1;
        ngx_queue_insert_tail(&redis->backlog, &call->queue);

    } else if (ngx_llm_redis_call_send(call) != NGX_OK) {
        ngx_free(call);
        return NULL;
    }

    ngx_queue_insert_tail(&redis->order, &call->order);
    ngx_llm_redis_call_begin(call);

    return call;
}


void
ngx_llm_redis_detach(ngx_llm_redis_call_t *call)
{
    ngx_llm_redis_call_leave(call);
}


ngx_int_t
ngx_llm_redis_deliver(ngx_llm_redis_t *redis, ngx_llm_redis_script_t *script,
    ngx_uint_t nkeys, ngx_str_t *args, ngx_uint_t nargs,
    ngx_llm_redis_handler_pt handler, void *data)
{
    ngx_llm_redis_call_t  *call;

    if (redis->pool == NULL) {
        return NGX_ERROR;
    }

    call = NULL;

    if (redis->deliveries < NGX_LLM_REDIS_DELIVERIES
        && redis->deliveries_size < NGX_LLM_REDIS_BYTES)
    {
        call = ngx_llm_redis_call_make(redis, script, nkeys, args, nargs);
    }

    if (call == NULL) {
        if (redis->refused != ngx_time()) {
            redis->refused = ngx_time();
            ngx_log_error(NGX_LOG_ERR, &redis->link.log, 0,
                          "%ui deliveries wait for redis already, another is "
                          "dropped", redis->deliveries);
        }

        return NGX_ERROR;
    }

    call->handler = handler;
    call->data = data;
    call->deliver = 1;

    if (!redis->open || ngx_llm_redis_call_send(call) != NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                       "llm redis delivery is kept, %ui before it",
                       redis->deliveries);
        ngx_queue_insert_tail(&redis->backlog, &call->queue);
    }

    ngx_llm_redis_call_begin(call);

    return NGX_OK;
}


void
ngx_llm_redis_state(ngx_llm_redis_t *redis, ngx_llm_redis_state_t *state)
{
    state->up = redis->open;
    state->last_ok = redis->last_ok;
    state->waiting = redis->calls + redis->deliveries;
    state->bytes = redis->calls_size;
    state->latency = redis->latency;
}


static void
ngx_llm_redis_ready(void *data)
{
    ngx_llm_redis_t *redis = data;

    redis->open = 1;
    redis->heard = ngx_current_msec;
    redis->last_ok = ngx_max(ngx_current_msec, 1);

    /* after a lost connection it goes on counting: it may be lost again */

    if (redis->down) {
        redis->faults = 0;
    }

    if (!redis->up) {
        redis->up = 1;
        redis->down = 0;

        ngx_log_error(NGX_LOG_NOTICE, &redis->link.log, 0, "redis is up");
    }

    if (redis->timer.timer_set) {
        ngx_del_timer(&redis->timer);
    }

    ngx_llm_redis_resend(redis);
    ngx_llm_redis_call_watch(redis);

    if (!redis->ping.timer_set) {
        ngx_add_timer(&redis->ping, NGX_LLM_REDIS_PING);
    }
}


static void
ngx_llm_redis_resend(ngx_llm_redis_t *redis)
{
    ngx_queue_t           *q;
    ngx_llm_redis_call_t  *call;

    while (!ngx_queue_empty(&redis->backlog)) {

        q = ngx_queue_head(&redis->backlog);
        call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);

        ngx_queue_remove(q);

        if (ngx_llm_redis_call_send(call) != NGX_OK) {
            ngx_queue_insert_head(&redis->backlog, q);
            return;
        }

        if (call->parked) {
            call->parked = 0;
            continue;
        }

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                       "llm redis delivery is sent again");

        call->again = 1;
        redis->behind++;
    }
}


static void
ngx_llm_redis_reply(void *data, redisReply *reply)
{
    ngx_llm_redis_t *redis = data;

    ngx_queue_t           *q;
    ngx_llm_redis_call_t  *call;

    if (ngx_queue_empty(&redis->sent)) {
        ngx_llm_redis_wire_failure(&redis->link.failure, 0,
                                   "it answers what nobody has asked", NULL);
        redis->faults = NGX_LLM_REDIS_FAULTS;
        ngx_llm_redis_fault(redis, 1);
        return;
    }

    redis->heard = ngx_current_msec;

    q = ngx_queue_head(&redis->sent);
    call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);

    if (reply->type != REDIS_REPLY_ERROR
        && !ngx_llm_redis_call_answers(call, reply))
    {
        /* a reply was lost, so later replies cannot be assigned to calls */

        ngx_llm_redis_wire_failure(&redis->link.failure, 0,
                                   "it answers something else", NULL);
        redis->faults++;
        ngx_llm_redis_fault(redis, 1);
        return;
    }

    ngx_queue_remove(q);

    if (call->again) {
        call->again = 0;
        redis->behind--;
    }

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_llm_redis_bad(call, reply);
        return;
    }

    ngx_llm_redis_good(call, reply);
}


static void
ngx_llm_redis_good(ngx_llm_redis_call_t *call, redisReply *reply)
{
    uint64_t          latency;
    ngx_llm_redis_t  *redis;

    redis = call->redis;
    redis->last_ok = ngx_max(ngx_current_msec, 1);

    /* an eighth of each new one */

    latency = ngx_llm_redis_call_clock() - call->clock;
    redis->latency = redis->latency ? (7 * redis->latency + latency) / 8
                                    : latency;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                   "llm redis reply after %uL us, faults:%ui", latency,
                   redis->faults);

    /*
     * a late reply ends no doubt, nor does a PONG, nor the release of a
     * reservation that Redis has rejected: its script finds nothing to write
     */

    if (ngx_current_msec - call->sent <= redis->conf->timeout
        && (redis->link.doubt == 0
            || (call->script && (call->handler || !call->deliver))))
    {
        redis->faults = 0;
        redis->link.doubt = 0;
    }

    ngx_llm_redis_call_end(call, NGX_OK, reply);
}


static void
ngx_llm_redis_bad(ngx_llm_redis_call_t *call, redisReply *reply)
{
    ngx_str_t         code, text;
    ngx_uint_t        fault;
    ngx_llm_redis_t  *redis;

    redis = call->redis;

    ngx_llm_redis_wire_code(reply, &code);

    if (call->script && !call->eval
        && code.len == 8 && ngx_memcmp(code.data, "NOSCRIPT", 8) == 0
        && (call->handler || call->deliver))
    {
        call->eval = 1;

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                       "llm redis does not know the script, sends its text");

        if (ngx_llm_redis_call_send(call) == NGX_OK) {
            return;
        }
    }

    fault = ngx_llm_redis_wire_fault(&code);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                   "llm redis error reply \"%V\", fault:%ui", &code, fault);

    if (code.len == 8 && ngx_memcmp(code.data, "NOSCRIPT", 8) == 0
        && !call->eval)
    {
        /* the client of a detached call is gone, the script is not sent */
        fault = 0;

    } else if (fault == 0) {
        ngx_llm_redis_complain(redis, reply);
    }

    if (fault == 0) {
        ngx_llm_redis_call_end(call, NGX_DECLINED, reply);
        return;
    }

    /* the text names the command that is missing */

    text.data = (u_char *) reply->str;
    text.len = ngx_min((size_t) reply->len, NGX_LLM_REDIS_TEXT);

    ngx_llm_redis_wire_failure(&redis->link.failure, 0, "it answers",
                               fault & NGX_LLM_REDIS_SCRIPT ? &text : &code);
    redis->link.doubt |= fault & (NGX_LLM_REDIS_WRITE|NGX_LLM_REDIS_CLUSTER
                                  |NGX_LLM_REDIS_SCRIPT);

    if (call->deliver) {
        ngx_queue_insert_tail(&redis->backlog, &call->queue);

    } else {
        ngx_llm_redis_call_end(call, NGX_DECLINED, reply);
    }

    redis->faults++;
    ngx_llm_redis_fault(redis, fault & NGX_LLM_REDIS_DROP);
}


static void
ngx_llm_redis_complain(ngx_llm_redis_t *redis, redisReply *reply)
{
    ngx_str_t  text;

    if (redis->logged == ngx_time()) {
        return;
    }

    redis->logged = ngx_time();

    text.data = (u_char *) reply->str;
    text.len = reply->len;

    ngx_llm_redis_wire_failure(&redis->link.failure, 0,
                               "redis refuses a script", &text);

    ngx_log_error(NGX_LOG_ERR, &redis->link.log, 0, "%V",
                  &redis->link.failure.why);
}


/* link.failure has the cause. */

static void
ngx_llm_redis_fault(ngx_llm_redis_t *redis, ngx_uint_t drop)
{
    if (!redis->open) {
        return;
    }

    if (drop || redis->faults >= NGX_LLM_REDIS_FAULTS) {
        ngx_llm_redis_link_close(&redis->link);
        ngx_llm_redis_closed(redis);
    }
}


static void
ngx_llm_redis_lost(void *data)
{
    ngx_llm_redis_t *redis = data;

    redis->faults++;

    ngx_llm_redis_closed(redis);
}


static void
ngx_llm_redis_closed(ngx_llm_redis_t *redis)
{
    ngx_uint_t  soon;

    /* a connection may end; that no other can be made is bad news */

    soon = redis->open && redis->faults < NGX_LLM_REDIS_FAULTS;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                   "llm redis connection closed, faults:%ui, reconnects %s",
                   redis->faults, soon ? "at once" : "later");
    redis->open = 0;

    if (!soon) {
        ngx_llm_redis_down(redis);
    }

    ngx_llm_redis_link_retry(&redis->link,
                             soon ? 1 + ngx_random() % NGX_LLM_REDIS_SOON
                                  : NGX_LLM_REDIS_AGAIN
                                    + ngx_random() % NGX_LLM_REDIS_JITTER);

    ngx_llm_redis_abandon(redis);
}


/* Until the server is up again no request waits for it. */

static void
ngx_llm_redis_down(ngx_llm_redis_t *redis)
{
    ngx_uint_t             level;
    ngx_queue_t            parked, *q;
    ngx_llm_redis_call_t  *call;

    if (redis->down) {
        return;
    }

    redis->down = 1;
    redis->up = 0;

    /* an operator has to act if Redis rejects scripts */

    level = (redis->link.doubt & NGX_LLM_REDIS_SCRIPT) ? NGX_LOG_ERR
                                                       : NGX_LOG_WARN;

    ngx_log_error(level, &redis->link.log, redis->link.failure.err,
                  "redis is down: %V", &redis->link.failure.why);

    ngx_queue_init(&parked);

    for (q = ngx_queue_head(&redis->backlog);
         q != ngx_queue_sentinel(&redis->backlog);
         /* void */)
    {
        call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);
        q = ngx_queue_next(q);

        if (call->parked) {
            ngx_queue_remove(&call->queue);
            ngx_queue_insert_tail(&parked, &call->queue);
        }
    }

    /* a handler may leave another one, and bring deliveries */

    while (!ngx_queue_empty(&parked)) {
        q = ngx_queue_head(&parked);
        ngx_queue_remove(q);

        call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);
        call->parked = 0;

        ngx_llm_redis_call_end(call, NGX_ERROR, NULL);
    }
}


/* Deliveries wait for the next connection, other calls fail. */

static void
ngx_llm_redis_abandon(ngx_llm_redis_t *redis)
{
    ngx_queue_t            sent, *q;
    ngx_llm_redis_call_t  *call;

    redis->behind = 0;

    if (ngx_queue_empty(&redis->sent)) {
        return;
    }

    ngx_queue_init(&sent);
    ngx_queue_add(&sent, &redis->sent);
    ngx_queue_init(&redis->sent);

    for (q = ngx_queue_head(&sent); q != ngx_queue_sentinel(&sent); /* void */)
    {
        call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);
        q = ngx_queue_next(q);

        if (call->deliver) {
            ngx_queue_remove(&call->queue);
            ngx_queue_insert_tail(&redis->backlog, &call->queue);

            call->again = 0;
            call->eval = 0;
        }
    }

    /* no handler before: it may bring the next delivery */

    while (!ngx_queue_empty(&sent)) {
        q = ngx_queue_head(&sent);
        ngx_queue_remove(q);

        call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);
        ngx_llm_redis_call_end(call, NGX_ERROR, NULL);
    }
}


static void
ngx_llm_redis_tick(ngx_event_t *ev)
{
    ngx_msec_t             delay;
    ngx_llm_redis_t       *redis;
    ngx_llm_redis_call_t  *call;

    redis = ev->data;

    ngx_llm_redis_expire(redis);

    if (redis->open && ngx_llm_redis_stalled(redis)) {
        redis->faults = NGX_LLM_REDIS_FAULTS;
        ngx_llm_redis_wire_failure(&redis->link.failure, 0, "no answer in time",
                                   NULL);
        ngx_llm_redis_fault(redis, 1);
    }

    if (redis->open) {
        ngx_llm_redis_resend(redis);
    }

    ngx_llm_redis_leave(redis);
    ngx_llm_redis_call_watch(redis);

    /* the next deadline may be sooner than a whole turn */

    if (redis->timer.timer_set && !ngx_queue_empty(&redis->order)) {

        call = ngx_queue_data(ngx_queue_head(&redis->order),
                              ngx_llm_redis_call_t, order);

        delay = ngx_current_msec - call->start;
        delay = (delay < redis->conf->timeout) ? redis->conf->timeout - delay
                                               : 1;

        ngx_del_timer(&redis->timer);
        ngx_add_timer(&redis->timer, ngx_min(delay, NGX_LLM_REDIS_TICK));
    }
}


static void
ngx_llm_redis_expire(ngx_llm_redis_t *redis)
{
    void                      *data;
    ngx_llm_redis_call_t      *call;
    ngx_llm_redis_handler_pt   handler;

    while (!ngx_queue_empty(&redis->order)) {

        call = ngx_queue_data(ngx_queue_head(&redis->order),
                              ngx_llm_redis_call_t, order);

        if (ngx_current_msec - call->start < redis->conf->timeout) {
            break;
        }

        redis->faults++;

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, &redis->link.log, 0,
                       "llm redis call timed out after %M ms, faults:%ui",
                       redis->conf->timeout, redis->faults);

        handler = call->handler;
        data = call->data;
        ngx_llm_redis_call_leave(call);

        if (handler) {
            handler(data, NGX_AGAIN, NULL);
        }
    }

    if (redis->faults >= NGX_LLM_REDIS_FAULTS) {
        ngx_llm_redis_wire_failure(&redis->link.failure, 0, "no answer in time",
                                   NULL);

        if (redis->open) {
            ngx_llm_redis_fault(redis, 1);

        } else {
            ngx_llm_redis_down(redis);
        }
    }
}


/* it is not that the oldest one waits long, but that nothing comes at all */

static ngx_uint_t
ngx_llm_redis_stalled(ngx_llm_redis_t *redis)
{
    ngx_msec_t             limit;
    ngx_llm_redis_call_t  *call;

    if (ngx_queue_empty(&redis->sent)) {
        return 0;
    }

    call = ngx_queue_data(ngx_queue_head(&redis->sent), ngx_llm_redis_call_t,
                          queue);

    limit = 2 * redis->conf->timeout;

    return ngx_current_msec - call->sent >= limit
           && ngx_current_msec - redis->heard >= limit;
}


/* an exiting worker has been kept long enough */

static void
ngx_llm_redis_leave(ngx_llm_redis_t *redis)
{
    if (!ngx_exiting || redis->deliveries == 0) {
        redis->leaving = 0;
        return;
    }

    if (redis->leaving == 0) {
        redis->leaving = ngx_max(ngx_current_msec, 1);
        return;
    }

    if (ngx_current_msec - redis->leaving < NGX_LLM_REDIS_LEAVE) {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, &redis->link.log, 0,
                  "%ui deliveries to redis are lost, the worker process has "
                  "waited %d ms for it", redis->deliveries,
                  NGX_LLM_REDIS_LEAVE);

    if (redis->open) {
        ngx_llm_redis_link_close(&redis->link);
        ngx_llm_redis_closed(redis);
    }

    ngx_llm_redis_call_drop(redis, &redis->backlog);
}


/* a server that is gone, or does not answer, is known before it is needed */

static void
ngx_llm_redis_ping(ngx_event_t *ev)
{
    ngx_llm_redis_t       *redis;
    ngx_llm_redis_call_t  *call;

    redis = ev->data;

    ngx_add_timer(&redis->ping, NGX_LLM_REDIS_PING);

    if (!redis->open || !ngx_queue_empty(&redis->sent)
        || ngx_current_msec - redis->heard < NGX_LLM_REDIS_PING / 2)
    {
        return;
    }

    call = ngx_llm_redis_call_make(redis, NULL, 0, NULL, 0);
    if (call == NULL) {
        return;
    }

    if (ngx_llm_redis_call_send(call) != NGX_OK) {
        ngx_free(call);
        return;
    }

    ngx_llm_redis_call_begin(call);
}
