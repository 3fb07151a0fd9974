/*
 * The second tier of the cache: entries of all nodes in Redis, by scripts of
 * module/lua, and the counters of what was purged, which one worker of each
 * node reads twice a second.  What an entry is, and whether it may be served,
 * is known above.
 */


#include <ngx_llm_cache_fleet.h>
#include <ngx_llm_lua.h>


/* prefixc:key, of any length of prefix that the surface lets pass */
#define NGX_LLM_CACHE_FLEET_NAME     128

#define NGX_LLM_CACHE_FLEET_ARGS     5
#define NGX_LLM_CACHE_FLEET_LONGEST  (30 * 24 * 3600 * 1000ULL)  /* ms */
#define NGX_LLM_CACHE_FLEET_SYNC     500    /* ms */
#define NGX_LLM_CACHE_FLEET_SOON     100    /* after Redis has not answered */


struct ngx_llm_cache_fleet_s {
    ngx_llm_redis_t       *redis;
    ngx_str_t             *prefix;
    u_char                 kind;     /* of its keys: PREFIXkind:KEY */
    uint64_t               calls;    /* the id of the next one */
};


typedef struct {                     /* of a script, while it is called */
    ngx_str_t              args[NGX_LLM_CACHE_FLEET_ARGS];
    ngx_uint_t             nargs;
    u_char                *last;     /* of buf */
    u_char                 buf[NGX_LLM_CACHE_FLEET_NAME
                               + NGX_LLM_CACHE_FLEET_ARGS * NGX_INT64_LEN];
} ngx_llm_cache_fleet_args_t;


static void ngx_llm_cache_fleet_got(void *data, ngx_int_t rc,
    redisReply *reply);
static ngx_int_t ngx_llm_cache_fleet_value(redisReply *reply,
    ngx_str_t *value);
static void ngx_llm_cache_fleet_reported(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_llm_cache_fleet_tick(ngx_event_t *ev);
static ngx_msec_t ngx_llm_cache_fleet_look(ngx_llm_cache_fleet_sync_t *sync);
static void ngx_llm_cache_fleet_seen(void *data, ngx_int_t rc,
    redisReply *reply);
static ngx_uint_t ngx_llm_cache_fleet_strings(redisReply *reply);
static void ngx_llm_cache_fleet_counters(ngx_llm_cache_fleet_sync_t *sync,
    u_char *p, u_char *last);
static ngx_int_t ngx_llm_cache_fleet_word(u_char **p, u_char *last);
static void ngx_llm_cache_fleet_entry(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_args_t *args, const u_char *key);
static void ngx_llm_cache_fleet_hash(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_args_t *args);
static void ngx_llm_cache_fleet_begin(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_args_t *args, u_char *p);
static void ngx_llm_cache_fleet_number(ngx_llm_cache_fleet_args_t *args,
    uint64_t n);
static void ngx_llm_cache_fleet_text(ngx_llm_cache_fleet_args_t *args,
    u_char *data, size_t len);


static ngx_llm_redis_script_t  ngx_llm_cache_fleet_get_script = {
    ngx_string(ngx_llm_lua_cache_get), ngx_null_string, "", 1
};

static ngx_llm_redis_script_t  ngx_llm_cache_fleet_put_script = {
    ngx_string(ngx_llm_lua_cache_put), ngx_null_string, "", 1
};

static ngx_llm_redis_script_t  ngx_llm_cache_fleet_forget_script = {
    ngx_string(ngx_llm_lua_cache_forget), ngx_null_string, "", 1
};

static ngx_llm_redis_script_t  ngx_llm_cache_fleet_purge_script = {
    ngx_string(ngx_llm_lua_cache_purge), ngx_null_string, "", 1
};

static ngx_llm_redis_script_t  ngx_llm_cache_fleet_sync_script = {
    ngx_string(ngx_llm_lua_cache_sync), ngx_null_string, "", 1
};


ngx_llm_cache_fleet_t *
ngx_llm_cache_fleet_create(ngx_conf_t *cf, ngx_llm_redis_t *redis,
    ngx_str_t *prefix, u_char kind)
{
    ngx_llm_cache_fleet_t  *fleet;

    fleet = ngx_pcalloc(cf->pool, sizeof(ngx_llm_cache_fleet_t));
    if (fleet == NULL) {
        return NULL;
    }

    fleet->redis = redis;
    fleet->prefix = prefix;
    fleet->kind = kind;

    return fleet;
}


ngx_int_t
ngx_llm_cache_fleet_get(ngx_llm_cache_fleet_t *fleet, const u_char *key,
    ngx_llm_cache_fleet_ask_t *ask)
{
    ngx_llm_cache_fleet_args_t  args;

    ngx_llm_cache_fleet_entry(fleet, &args, key);
    ngx_llm_cache_fleet_number(&args, NGX_LLM_CACHE_FLEET_VALUE);

    ask->call = ngx_llm_redis_call(fleet->redis,
                                   &ngx_llm_cache_fleet_get_script, 1,
                                   args.args, args.nargs,
                                   ngx_llm_cache_fleet_got, ask);

    return ask->call ? NGX_AGAIN : NGX_ERROR;
}


static void
ngx_llm_cache_fleet_got(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_llm_cache_fleet_ask_t *ask = data;

    ngx_str_t  value;

    ask->call = NULL;

    rc = (rc == NGX_OK) ? ngx_llm_cache_fleet_value(reply, &value) : NGX_ERROR;

    ask->handler(ask->data, rc, rc == NGX_OK ? &value : NULL);
}


/* that the id ends it the client has seen */

static ngx_int_t
ngx_llm_cache_fleet_value(redisReply *reply, ngx_str_t *value)
{
    redisReply  *first;

    if (reply->elements != 2) {
        return NGX_ERROR;
    }

    first = reply->element[0];

    if (first->type == REDIS_REPLY_NIL) {
        return NGX_DECLINED;
    }

    if (first->type != REDIS_REPLY_STRING
        || (size_t) first->len > NGX_LLM_CACHE_FLEET_VALUE)
    {
        return NGX_ERROR;
    }

    value->data = (u_char *) first->str;
    value->len = first->len;

    return NGX_OK;
}


void
ngx_llm_cache_fleet_cancel(ngx_llm_cache_fleet_ask_t *ask)
{
    if (ask->call) {
        ngx_llm_redis_detach(ask->call);
        ask->call = NULL;
    }
}


void
ngx_llm_cache_fleet_put(ngx_llm_cache_fleet_t *fleet, const u_char *key,
    ngx_str_t *value, ngx_msec_t ttl)
{
    ngx_llm_redis_state_t       state;
    ngx_llm_cache_fleet_args_t  args;

    if (value->len > NGX_LLM_CACHE_FLEET_VALUE || ttl == 0) {
        return;
    }

    /* one connection for all: what is read waits behind what is written */

    ngx_llm_redis_state(fleet->redis, &state);

    if (!state.up || state.bytes > NGX_LLM_CACHE_FLEET_VALUE) {
        return;
    }

    ngx_llm_cache_fleet_entry(fleet, &args, key);

    args.args[args.nargs++] = *value;
    ngx_llm_cache_fleet_number(&args,
                               ngx_min(ttl, NGX_LLM_CACHE_FLEET_LONGEST));

    (void) ngx_llm_redis_call(fleet->redis, &ngx_llm_cache_fleet_put_script, 1,
                              args.args, args.nargs,
                              ngx_llm_cache_fleet_reported, NULL);
}


void
ngx_llm_cache_fleet_forget(ngx_llm_cache_fleet_t *fleet, const u_char *key)
{
    ngx_llm_cache_fleet_args_t  args;

    ngx_llm_cache_fleet_entry(fleet, &args, key);

    (void) ngx_llm_redis_call(fleet->redis, &ngx_llm_cache_fleet_forget_script,
                              1, args.args, args.nargs,
                              ngx_llm_cache_fleet_reported, NULL);
}


/* without a handler nobody waits, and a script is not sent after NOSCRIPT */

static void
ngx_llm_cache_fleet_reported(void *data, ngx_int_t rc, redisReply *reply)
{
}


ngx_int_t
ngx_llm_cache_fleet_purge(ngx_llm_cache_fleet_t *fleet, ngx_uint_t index,
    uint32_t value, ngx_uint_t more)
{
    ngx_llm_cache_fleet_args_t  args;

    ngx_llm_cache_fleet_hash(fleet, &args);
    ngx_llm_cache_fleet_number(&args, index);
    ngx_llm_cache_fleet_number(&args, value);
    ngx_llm_cache_fleet_number(&args, more);

    return ngx_llm_redis_deliver(fleet->redis,
                                 &ngx_llm_cache_fleet_purge_script, 1,
                                 args.args, args.nargs, NULL, NULL);
}


void
ngx_llm_cache_fleet_sync(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_sync_t *sync, ngx_cycle_t *cycle)
{
    if (ngx_worker) {
        return;
    }

    sync->fleet = fleet;

    sync->timer.handler = ngx_llm_cache_fleet_tick;
    sync->timer.data = sync;
    sync->timer.log = cycle->log;
    sync->timer.cancelable = 1;

    ngx_add_timer(&sync->timer, 1);
}


static void
ngx_llm_cache_fleet_tick(ngx_event_t *ev)
{
    ngx_llm_cache_fleet_sync_t  *sync;

    sync = ev->data;

    if (ngx_exiting) {
        return;
    }

    ngx_add_timer(ev, ngx_llm_cache_fleet_look(sync));
}


/* when to look again */

static ngx_msec_t
ngx_llm_cache_fleet_look(ngx_llm_cache_fleet_sync_t *sync)
{
    ngx_llm_cache_fleet_args_t  args;

    if (sync->call) {
        return NGX_LLM_CACHE_FLEET_SOON;
    }

    ngx_llm_cache_fleet_hash(sync->fleet, &args);
    ngx_llm_cache_fleet_text(&args, sync->version, sync->len);

    sync->call = ngx_llm_redis_call(sync->fleet->redis,
                                    &ngx_llm_cache_fleet_sync_script, 1,
                                    args.args, args.nargs,
                                    ngx_llm_cache_fleet_seen, sync);

    return sync->call ? NGX_LLM_CACHE_FLEET_SYNC : NGX_LLM_CACHE_FLEET_SOON;
}


static void
ngx_llm_cache_fleet_seen(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_llm_cache_fleet_sync_t *sync = data;

    u_char      *all;
    redisReply  *version;

    sync->call = NULL;

    if (rc != NGX_OK || !ngx_llm_cache_fleet_strings(reply)) {

        if (sync->timer.timer_set) {
            ngx_del_timer(&sync->timer);
            ngx_add_timer(&sync->timer, NGX_LLM_CACHE_FLEET_SOON);
        }

        return;
    }

    if (reply->elements == 3) {
        all = (u_char *) reply->element[1]->str;
        ngx_llm_cache_fleet_counters(sync, all, all + reply->element[1]->len);

        version = reply->element[0];
        sync->len = version->len;
        ngx_memcpy(sync->version, version->str, sync->len);
    }

    if (sync->len == 0) {
        sync->lost(sync->data);
    }

    sync->synced(sync->data);
}


/* the contract is on top of module/lua/cache_sync.lua */

static ngx_uint_t
ngx_llm_cache_fleet_strings(redisReply *reply)
{
    size_t  i;

    if (reply->elements != 2 && reply->elements != 3) {
        return 0;
    }

    for (i = 0; i < reply->elements - 1; i++) {

        if (reply->element[i]->type != REDIS_REPLY_STRING) {
            return 0;
        }
    }

    return (size_t) reply->element[0]->len <= NGX_INT64_LEN;
}


/* "index value index value ..." */

static void
ngx_llm_cache_fleet_counters(ngx_llm_cache_fleet_sync_t *sync, u_char *p,
    u_char *last)
{
    ngx_int_t  index, value;

    while (p < last) {
        index = ngx_llm_cache_fleet_word(&p, last);
        value = ngx_llm_cache_fleet_word(&p, last);

        if (index >= 0 && index < NGX_LLM_CACHE_FLEET_COUNTERS
            && value >= 0 && (uint64_t) value <= 0xffffffff)
        {
            sync->counter(sync->data, index, value);
        }
    }
}


/* NGX_ERROR: it is no number */

static ngx_int_t
ngx_llm_cache_fleet_word(u_char **p, u_char *last)
{
    u_char  *start, *end;

    start = *p;
    end = ngx_strlchr(start, last, ' ');

    if (end == NULL) {
        end = last;
    }

    *p = (end < last) ? end + 1 : last;

    return ngx_atoi(start, end - start);
}


/* Begins args with the name PREFIXkind:KEY and the id of the call. */

static void
ngx_llm_cache_fleet_entry(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_args_t *args, const u_char *key)
{
    u_char     *p;
    ngx_str_t   from, to;

    p = ngx_cpymem(args->buf, fleet->prefix->data, fleet->prefix->len);
    *p++ = fleet->kind;
    *p++ = ':';

    from.data = (u_char *) key;
    from.len = NGX_LLM_CACHE_FLEET_KEY;
    to.data = p;

    ngx_encode_base64url(&to, &from);

    ngx_llm_cache_fleet_begin(fleet, args, p + to.len);
}


/* PREFIXpurge; the id of the call */

static void
ngx_llm_cache_fleet_hash(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_args_t *args)
{
    u_char  *p;

    p = ngx_cpymem(args->buf, fleet->prefix->data, fleet->prefix->len);
    p = ngx_cpymem(p, "purge", sizeof("purge") - 1);

    ngx_llm_cache_fleet_begin(fleet, args, p);
}


/* p: behind the key in buf */

static void
ngx_llm_cache_fleet_begin(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_args_t *args, u_char *p)
{
    args->args[0].data = args->buf;
    args->args[0].len = p - args->buf;
    args->nargs = 1;
    args->last = p;

    ngx_llm_cache_fleet_number(args, fleet->calls++);
}


static void
ngx_llm_cache_fleet_number(ngx_llm_cache_fleet_args_t *args, uint64_t n)
{
    u_char  *p;

    p = args->last;
    args->last = ngx_sprintf(p, "%uL", n);

    ngx_llm_cache_fleet_text(args, p, args->last - p);
}


/* it stays where it is until the script is called */

static void
ngx_llm_cache_fleet_text(ngx_llm_cache_fleet_args_t *args, u_char *data,
    size_t len)
{
    ngx_str_t  *arg;

    arg = &args->args[args->nargs++];

    arg->data = data;
    arg->len = len;
}
