/*
 * A call is one block of memory with its arguments in wire format.  It is in
 * the queue of expected replies, or in the backlog while there is no
 * connection, and in the queue of deadlines if a request waits for it.  This
 * file also counts calls, and keeps an exiting worker alive for deliveries.
 */


#include "ngx_llm_redis_call.h"
#include <ngx_sha1.h>


static void ngx_llm_redis_call_sign(ngx_llm_redis_script_t *script);
static ngx_int_t ngx_llm_redis_call_write(ngx_llm_redis_call_t *call);
static void ngx_llm_redis_call_count(ngx_llm_redis_call_t *call,
    ngx_int_t add);


ngx_llm_redis_call_t *
ngx_llm_redis_call_make(ngx_llm_redis_t *redis, ngx_llm_redis_script_t *script,
    ngx_uint_t nkeys, ngx_str_t *args, ngx_uint_t nargs)
{
    u_char                *p;
    size_t                 len;
    ngx_uint_t             i;
    ngx_llm_redis_call_t  *call;
    u_char                 keys[NGX_INT_T_LEN];

    if (nargs > NGX_LLM_REDIS_ARGS) {
        return NULL;
    }

    if (script) {
        ngx_llm_redis_call_sign(script);
    }

    len = ngx_llm_redis_wire_size(NGX_INT_T_LEN);

    for (i = 0; i < nargs; i++) {
        len += ngx_llm_redis_wire_size(args[i].len);
    }

    if (len > NGX_LLM_REDIS_BYTES) {
        return NULL;
    }

    call = ngx_alloc(sizeof(ngx_llm_redis_call_t) + len, &redis->link.log);
    if (call == NULL) {
        return NULL;
    }

    ngx_memzero(call, sizeof(ngx_llm_redis_call_t));

    call->redis = redis;
    call->script = script;
    call->start = ngx_current_msec;
    call->words = 1 + nargs;

    p = ngx_sprintf(keys, "%ui", nkeys);
    p = ngx_llm_redis_wire_word(call->args, keys, p - keys);

    for (i = 0; i < nargs; i++) {
        p = ngx_llm_redis_wire_word(p, args[i].data, args[i].len);

        if (i == nkeys) {
            call->id_len = args[i].len;
            call->id = p - call->args - (sizeof(CRLF) - 1) - call->id_len;
        }
    }

    call->len = p - call->args;

    return call;
}


static void
ngx_llm_redis_call_sign(ngx_llm_redis_script_t *script)
{
    u_char      digest[20];
    ngx_sha1_t  sha1;

    if (script->sha1.len) {
        return;
    }

    ngx_sha1_init(&sha1);
    ngx_sha1_update(&sha1, script->text.data, script->text.len);
    ngx_sha1_final(digest, &sha1);

    (void) ngx_hex_dump(script->hex, digest, sizeof(digest));

    script->sha1.data = script->hex;
    script->sha1.len = sizeof(script->hex);
}


ngx_int_t
ngx_llm_redis_call_send(ngx_llm_redis_call_t *call)
{
    ngx_int_t         rc;
    ngx_llm_redis_t  *redis;

    static ngx_str_t  ping = ngx_string("PING");

    redis = call->redis;

    rc = call->script ? ngx_llm_redis_call_write(call)
                      : ngx_llm_redis_wire_command(&redis->link.wire, &ping,
                                                   1, &redis->link.log);
    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    call->sent = ngx_current_msec;
    call->clock = ngx_llm_redis_call_clock();
    ngx_queue_insert_tail(&redis->sent, &call->queue);

    ngx_llm_redis_link_post(&redis->link);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_redis_call_write(ngx_llm_redis_call_t *call)
{
    u_char                *p;
    ngx_str_t             *script;
    ngx_llm_redis_link_t  *link;

    link = &call->redis->link;
    script = call->eval ? &call->script->text : &call->script->sha1;

    p = ngx_llm_redis_wire_room(&link->wire,
                                sizeof("*" CRLF "$7" CRLF "EVALSHA" CRLF)
                                + NGX_INT_T_LEN
                                + ngx_llm_redis_wire_size(script->len)
                                + call->len,
                                &link->log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "*%ui" CRLF "%s" CRLF, call->words + 2,
                    call->eval ? "$4" CRLF "EVAL" : "$7" CRLF "EVALSHA");
    p = ngx_llm_redis_wire_word(p, script->data, script->len);

    link->wire.last = ngx_cpymem(p, call->args, call->len);

    return NGX_OK;
}


uint64_t
ngx_llm_redis_call_clock(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}


ngx_uint_t
ngx_llm_redis_call_answers(ngx_llm_redis_call_t *call, redisReply *reply)
{
    redisReply  *last;

    if (call->script == NULL) {
        return reply->type == REDIS_REPLY_STATUS;
    }

    if (!call->script->echo) {
        return 1;
    }

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0) {
        return 0;
    }

    last = reply->element[reply->elements - 1];

    return last->type == REDIS_REPLY_STRING
           && (size_t) last->len == call->id_len
           && ngx_memcmp(last->str, call->args + call->id, call->id_len) == 0;
}


void
ngx_llm_redis_call_begin(ngx_llm_redis_call_t *call)
{
    ngx_llm_redis_call_count(call, 1);
    ngx_llm_redis_call_watch(call->redis);
}


static void
ngx_llm_redis_call_count(ngx_llm_redis_call_t *call, ngx_int_t add)
{
    ngx_llm_redis_t  *redis;

    redis = call->redis;

    if (call->deliver) {
        redis->deliveries += add;
        redis->deliveries_size += add * (ngx_int_t) call->len;

    } else {
        redis->calls += add;
        redis->calls_size += add * (ngx_int_t) call->len;
    }
}


void
ngx_llm_redis_call_watch(ngx_llm_redis_t *redis)
{
    redis->timer.cancelable = redis->deliveries == 0
                              && ngx_queue_empty(&redis->order);

    if (!redis->timer.timer_set
        && (redis->deliveries || !ngx_queue_empty(&redis->sent)
            || !ngx_queue_empty(&redis->order)))
    {
        ngx_add_timer(&redis->timer,
                      ngx_min(redis->conf->timeout, NGX_LLM_REDIS_TICK));
    }
}


void
ngx_llm_redis_call_forget(ngx_llm_redis_call_t *call)
{
    call->handler = NULL;

    if (call->waiting) {
        call->waiting = 0;
        ngx_queue_remove(&call->order);
        ngx_llm_redis_call_watch(call->redis);
    }
}


void
ngx_llm_redis_call_leave(ngx_llm_redis_call_t *call)
{
    ngx_llm_redis_call_forget(call);

    if (call->parked) {
        ngx_queue_remove(&call->queue);
        ngx_llm_redis_call_count(call, -1);
        ngx_free(call);
    }
}


void
ngx_llm_redis_call_end(ngx_llm_redis_call_t *call, ngx_int_t rc,
    redisReply *reply)
{
    ngx_llm_redis_handler_pt  handler;

    handler = call->handler;

    ngx_llm_redis_call_count(call, -1);
    ngx_llm_redis_call_forget(call);
    ngx_llm_redis_call_watch(call->redis);

    if (handler) {
        handler(call->data, rc, reply);
    }

    ngx_free(call);
}


void
ngx_llm_redis_call_drop(ngx_llm_redis_t *redis, ngx_queue_t *queue)
{
    ngx_queue_t           *q;
    ngx_llm_redis_call_t  *call;

    while (!ngx_queue_empty(queue)) {
        q = ngx_queue_head(queue);
        ngx_queue_remove(q);

        call = ngx_queue_data(q, ngx_llm_redis_call_t, queue);
        call->handler = NULL;

        ngx_llm_redis_call_end(call, NGX_ERROR, NULL);
    }
}
