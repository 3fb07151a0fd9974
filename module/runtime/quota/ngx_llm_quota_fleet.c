/*
 * Quotas in Redis, for all nodes that share the server: one script reserves,
 * another settles (module/lua).  A reservation without a reply is cancelled by
 * its id, in a later command.  A settlement is repeated until it arrives, and
 * its hold stays in the state zone until then.
 */


#include "ngx_llm_reservation.h"
#include <ngx_llm_lua.h>


#define NGX_LLM_QUOTA_FLEET_KEYS   3   /* of a zone, in the scripts */
#define NGX_LLM_QUOTA_FLEET_ASKS   10  /* numbers about it in a call */
#define NGX_LLM_QUOTA_FLEET_TELLS  8   /* the same in the answer */

#define NGX_LLM_QUOTA_FLEET_NO_SLOT  (-2)  /* as n of concurrency */

#define NGX_LLM_QUOTA_FLEET_PACKED  8  /* bytes of a number among others */

/* prefix{zone:hash}:z, of any length of prefix that the surface lets pass */
#define NGX_LLM_QUOTA_FLEET_KEY  256

#define NGX_LLM_QUOTA_FLEET_NUMBER  NGX_INT64_LEN


typedef struct {                     /* a call that has not been answered */
    ngx_llm_quota_t        *quota;
    ngx_llm_reserve_t      *res;
    ngx_llm_reservation_t  *hold;
    ngx_llm_redis_call_t   *call;
} ngx_llm_quota_fleet_call_t;


typedef struct {                     /* of a script, while it is called */
    ngx_str_t              args[NGX_LLM_REDIS_ARGS];
    ngx_uint_t             nargs;
    u_char                *last;     /* of buf */
    u_char                 buf[NGX_LLM_QUOTA_CLAIMS
                               * (NGX_LLM_QUOTA_FLEET_KEYS
                                  * NGX_LLM_QUOTA_FLEET_KEY
                                  + NGX_LLM_QUOTA_FLEET_ASKS
                                    * NGX_LLM_QUOTA_FLEET_PACKED)
                               + NGX_LLM_QUOTA_FLEET_KEY
                               + 8 * NGX_LLM_QUOTA_FLEET_NUMBER];
} ngx_llm_quota_fleet_args_t;


static ngx_int_t ngx_llm_quota_fleet_reserve(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res);
static ngx_llm_reservation_t *ngx_llm_quota_fleet_hold(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res);
static void ngx_llm_quota_fleet_ask(ngx_llm_quota_fleet_args_t *args,
    ngx_llm_claim_t *claim, ngx_uint_t no_slot);
static void ngx_llm_quota_fleet_reserved(void *data, ngx_int_t rc,
    redisReply *reply);
static ngx_int_t ngx_llm_quota_fleet_answer(ngx_llm_quota_fleet_call_t *ctx,
    redisReply *reply);
static ngx_int_t ngx_llm_quota_fleet_reported(ngx_llm_claim_t *claim,
    redisReply *reply);
static void ngx_llm_quota_fleet_cancel(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res);
static void ngx_llm_quota_fleet_undo(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold);
static void ngx_llm_quota_fleet_settle(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold, int64_t *actual);
static ngx_int_t ngx_llm_quota_fleet_deliver(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold, int64_t *actual,
    ngx_llm_redis_handler_pt handler, void *data);
static void ngx_llm_quota_fleet_settled(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_llm_quota_fleet_alerts(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold, redisReply *reply, size_t from);
static void ngx_llm_quota_fleet_keys(ngx_llm_quota_t *quota,
    ngx_llm_quota_fleet_args_t *args, ngx_llm_reservation_t *hold);
static void ngx_llm_quota_fleet_text(ngx_llm_quota_fleet_args_t *args,
    u_char *data, size_t len);
static void ngx_llm_quota_fleet_number(ngx_llm_quota_fleet_args_t *args,
    int64_t n);
static u_char *ngx_llm_quota_fleet_pack(u_char *p, int64_t n);
static ngx_int_t ngx_llm_quota_fleet_unpack(u_char *p, int64_t *n);
static ngx_uint_t ngx_llm_quota_fleet_integers(redisReply *reply, size_t from);


const ngx_llm_quota_store_t  ngx_llm_quota_fleet = {
    ngx_llm_quota_fleet_reserve,
    ngx_llm_quota_fleet_cancel,
    ngx_llm_quota_fleet_settle
};


static ngx_llm_redis_script_t  ngx_llm_quota_fleet_reserve_script = {
    ngx_string(ngx_llm_lua_reserve), ngx_null_string, "", 1
};

static ngx_llm_redis_script_t  ngx_llm_quota_fleet_settle_script = {
    ngx_string(ngx_llm_lua_settle), ngx_null_string, "", 1
};


static ngx_int_t
ngx_llm_quota_fleet_reserve(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res)
{
    ngx_uint_t                   i;
    ngx_llm_reservation_t       *hold;
    ngx_llm_quota_fleet_args_t   args;
    ngx_llm_quota_fleet_call_t  *ctx;

    hold = ngx_llm_quota_fleet_hold(quota, res);
    if (hold == NULL) {
        return NGX_ERROR;
    }

    ctx = ngx_alloc(sizeof(ngx_llm_quota_fleet_call_t), quota->log);
    if (ctx == NULL) {
        goto failed;
    }

    ngx_llm_quota_fleet_keys(quota, &args, hold);

    ngx_llm_quota_fleet_text(&args, hold->id, hold->id_len);
    ngx_llm_quota_fleet_number(&args, res->lifetime);
    ngx_llm_quota_fleet_number(&args, res->shadow);
    ngx_llm_quota_fleet_number(&args, res->nclaims);

    for (i = 0; i < res->nclaims; i++) {
        ngx_llm_quota_fleet_ask(&args, &res->claims[i], res->no_slot);
    }

    ctx->quota = quota;
    ctx->res = res;
    ctx->hold = hold;

    ctx->call = ngx_llm_redis_call(quota->redis,
                                   &ngx_llm_quota_fleet_reserve_script,
                                   res->nclaims * NGX_LLM_QUOTA_FLEET_KEYS + 1,
                                   args.args, args.nargs,
                                   ngx_llm_quota_fleet_reserved, ctx);
    if (ctx->call == NULL) {
        ngx_free(ctx);
        goto failed;
    }

    res->waiting = ctx;

    return NGX_AGAIN;

failed:

    ngx_llm_reservation_free(quota, hold);

    return NGX_ERROR;
}


static ngx_llm_reservation_t *
ngx_llm_quota_fleet_hold(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res)
{
    ngx_llm_reservation_t  *hold;
    ngx_slab_pool_t        *pool;

    pool = quota->zone->pool;

    ngx_shmtx_lock(&pool->mutex);

    /* rows are in Redis: which identities are new is not known here */

    hold = ngx_llm_reservation_alloc(quota, res, 0);

    ngx_shmtx_unlock(&pool->mutex);

    if (hold == NULL) {
        ngx_log_error(NGX_LOG_ERR, quota->log, 0,
                      "llm_zone is full, too many requests are in flight, "
                      "a request is rejected");
    }

    return hold;
}


static void
ngx_llm_quota_fleet_ask(ngx_llm_quota_fleet_args_t *args,
    ngx_llm_claim_t *claim, ngx_uint_t no_slot)
{
    u_char      *p;
    int64_t      slots;
    ngx_uint_t   i;
    u_char       packed[NGX_LLM_QUOTA_FLEET_ASKS * NGX_LLM_QUOTA_FLEET_PACKED];

    p = packed;

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {
        p = ngx_llm_quota_fleet_pack(p, claim->limits[i].n);
        p = ngx_llm_quota_fleet_pack(p, claim->limits[i].period);
        p = ngx_llm_quota_fleet_pack(p, claim->need[i]);
    }

    slots = no_slot ? NGX_LLM_QUOTA_FLEET_NO_SLOT
                    : claim->limits[NGX_LLM_QUOTA_CONCURRENCY].n;
    p = ngx_llm_quota_fleet_pack(p, slots);

    ngx_llm_quota_fleet_text(args, packed, p - packed);
}


static void
ngx_llm_quota_fleet_reserved(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_llm_quota_fleet_call_t  *ctx = data;

    ngx_llm_quota_t    *quota;
    ngx_llm_reserve_t  *res;

    quota = ctx->quota;
    res = ctx->res;

    if (rc == NGX_OK) {
        rc = ngx_llm_quota_fleet_answer(ctx, reply);

    } else {

        /*
         * no reply, or an error: Redis may have run the script before, and a
         * proxy may have replaced its reply
         */

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, quota->log, 0,
                       "llm quota: no decision of redis, rc:%i, the "
                       "reservation is released", rc);

        rc = NGX_ERROR;
        ngx_llm_quota_fleet_undo(quota, ctx->hold);
    }

    ngx_free(ctx);

    ngx_llm_reservation_debug(quota, res, "in redis", rc);

    res->waiting = NULL;
    res->rc = rc;
    res->handler(res->data);
}


/* the contract is on top of module/lua/reserve.lua */

static ngx_int_t
ngx_llm_quota_fleet_answer(ngx_llm_quota_fleet_call_t *ctx, redisReply *reply)
{
    ngx_uint_t          i;
    ngx_llm_quota_t    *quota;
    ngx_llm_reserve_t  *res;

    quota = ctx->quota;
    res = ctx->res;

    if (!ngx_llm_quota_fleet_integers(reply, 1 + res->nclaims)
        || reply->element[0]->type != REDIS_REPLY_INTEGER)
    {
        goto failed;
    }

    for (i = 0; i < res->nclaims; i++) {

        if (ngx_llm_quota_fleet_reported(&res->claims[i], reply->element[1 + i])
            != NGX_OK)
        {
            goto failed;
        }
    }

    ngx_llm_quota_fleet_alerts(quota, ctx->hold, reply, 1 + res->nclaims);

    if (reply->element[0]->integer == 0) {
        ngx_llm_reservation_free(quota, ctx->hold);
        return NGX_DECLINED;
    }

    res->hold = ctx->hold;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_ERR, quota->log, 0,
                  "unexpected reply to the quota script from redis, its "
                  "reservation is released");

    ngx_llm_quota_fleet_undo(quota, ctx->hold);

    return NGX_ERROR;
}


static ngx_int_t
ngx_llm_quota_fleet_reported(ngx_llm_claim_t *claim, redisReply *reply)
{
    u_char      *p;
    int64_t      n[NGX_LLM_QUOTA_FLEET_TELLS];
    ngx_uint_t   i;

    if (reply->type != REDIS_REPLY_STRING
        || reply->len != NGX_LLM_QUOTA_FLEET_TELLS * NGX_LLM_QUOTA_FLEET_PACKED)
    {
        return NGX_ERROR;
    }

    p = (u_char *) reply->str;

    for (i = 0; i < NGX_LLM_QUOTA_FLEET_TELLS; i++) {

        if (ngx_llm_quota_fleet_unpack(p, &n[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        p += NGX_LLM_QUOTA_FLEET_PACKED;
    }

    claim->refuses = (n[0] >= 1 && n[0] <= NGX_LLM_QUOTA_LIMITS)
                     ? (ngx_llm_quota_limit_e) (n[0] - 1)
                     : NGX_LLM_QUOTA_NONE;
    claim->wait = n[1];

    for (i = 0; i < NGX_LLM_QUOTA_REPORTED; i++) {
        claim->left[i] = n[2 + 2 * i];
        claim->reset[i] = n[3 + 2 * i];
    }

    return NGX_OK;
}


static void
ngx_llm_quota_fleet_cancel(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res)
{
    ngx_llm_quota_fleet_call_t  *ctx;

    ctx = res->waiting;

    if (ctx == NULL) {
        return;
    }

    res->waiting = NULL;

    ngx_llm_redis_detach(ctx->call);
    ngx_llm_quota_fleet_undo(quota, ctx->hold);
    ngx_free(ctx);
}


/*
 * Releases a reservation that Redis may have made or not.  The script finds it
 * by its id, and does nothing if there is none.
 */

static void
ngx_llm_quota_fleet_undo(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold)
{
    static int64_t  nothing[] = { 0, 0, 0 };

    (void) ngx_llm_quota_fleet_deliver(quota, hold, nothing, NULL, NULL);

    ngx_llm_reservation_free(quota, hold);
}


static void
ngx_llm_quota_fleet_settle(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold,
    int64_t *actual)
{
    /* if this worker dies before it is delivered, the next one says the same */

    ngx_memcpy(hold->spent, actual, sizeof(hold->spent));

    if (ngx_llm_quota_fleet_deliver(quota, hold, actual,
                                    ngx_llm_quota_fleet_settled, hold)
        != NGX_OK)
    {
        ngx_llm_reservation_free(quota, hold);
    }
}


static ngx_int_t
ngx_llm_quota_fleet_deliver(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold,
    int64_t *actual, ngx_llm_redis_handler_pt handler, void *data)
{
    ngx_uint_t                  i;
    ngx_llm_quota_fleet_args_t  args;

    hold->quota = quota;

    ngx_llm_quota_fleet_keys(quota, &args, hold);

    ngx_llm_quota_fleet_text(&args, hold->id, hold->id_len);
    ngx_llm_quota_fleet_number(&args, hold->nparts);

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {
        ngx_llm_quota_fleet_number(&args, actual[i]);
    }

    return ngx_llm_redis_deliver(quota->redis,
                                 &ngx_llm_quota_fleet_settle_script,
                                 hold->nparts * NGX_LLM_QUOTA_FLEET_KEYS + 1,
                                 args.args, args.nargs, handler, data);
}


static void
ngx_llm_quota_fleet_settled(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_llm_reservation_t  *hold = data;

    if (rc == NGX_OK && ngx_llm_quota_fleet_integers(reply, 0)) {
        ngx_llm_quota_fleet_alerts(hold->quota, hold, reply, 1);
    }

    ngx_llm_reservation_free(hold->quota, hold);
}


/* what stands before the id at its end: zone, limit, percent, and so on */

static void
ngx_llm_quota_fleet_alerts(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold,
    redisReply *reply, size_t from)
{
    size_t       i;
    ngx_uint_t   bits;
    long long    zone, limit, percent;

    for (i = from; i + 3 < reply->elements; i += 3) {
        zone = reply->element[i]->integer;
        limit = reply->element[i + 1]->integer;
        percent = reply->element[i + 2]->integer;

        if (zone < 1 || zone > (long long) hold->nparts
            || limit < 1 || limit > NGX_LLM_QUOTA_AMOUNTS)
        {
            continue;
        }

        bits = percent == 50 ? NGX_LLM_ALERT_50
                             : percent == 80 ? NGX_LLM_ALERT_80
                                             : NGX_LLM_ALERT_100;

        ngx_llm_reservation_alert(quota, &hold->parts[zone - 1], limit - 1,
                                  bits);
    }
}


/* PREFIX{ZONE:HASH}, the same with :z and :x; PREFIXalerts at the end */

static void
ngx_llm_quota_fleet_keys(ngx_llm_quota_t *quota,
    ngx_llm_quota_fleet_args_t *args, ngx_llm_reservation_t *hold)
{
    u_char          *p, key[NGX_LLM_QUOTA_FLEET_KEY];
    size_t           len;
    ngx_uint_t       i;
    ngx_llm_part_t  *part;

    args->nargs = 0;
    args->last = args->buf;

    for (i = 0; i < hold->nparts; i++) {
        part = &hold->parts[i];

        p = ngx_cpymem(key, quota->prefix.data, quota->prefix.len);
        *p++ = '{';
        p = ngx_cpymem(p, part->name, part->name_len);
        *p++ = ':';
        p = ngx_hex_dump(p, part->key, NGX_LLM_QUOTA_KEY);
        *p++ = '}';

        len = p - key;
        ngx_llm_quota_fleet_text(args, key, len);

        *p++ = ':';
        *p = 'z';
        ngx_llm_quota_fleet_text(args, key, len + 2);

        *p = 'x';
        ngx_llm_quota_fleet_text(args, key, len + 2);
    }

    p = ngx_cpymem(key, quota->prefix.data, quota->prefix.len);
    p = ngx_cpymem(p, "alerts", sizeof("alerts") - 1);

    ngx_llm_quota_fleet_text(args, key, p - key);
}


static void
ngx_llm_quota_fleet_text(ngx_llm_quota_fleet_args_t *args, u_char *data,
    size_t len)
{
    ngx_str_t  *arg;

    arg = &args->args[args->nargs++];

    arg->data = args->last;
    arg->len = len;

    args->last = ngx_cpymem(args->last, data, len);
}


static void
ngx_llm_quota_fleet_number(ngx_llm_quota_fleet_args_t *args, int64_t n)
{
    ngx_str_t  *arg;

    arg = &args->args[args->nargs++];

    arg->data = args->last;

    if (n < 0) {
        *args->last++ = '-';
        n = -n;
    }

    args->last = ngx_llm_limit_print(args->last, n);
    arg->len = args->last - arg->data;
}


/* a double, as struct has it in Lua, the least byte first */

static u_char *
ngx_llm_quota_fleet_pack(u_char *p, int64_t n)
{
    double      d;
    uint64_t    bits;
    ngx_uint_t  i;

    d = (double) n;
    ngx_memcpy(&bits, &d, sizeof(uint64_t));

    for (i = 0; i < NGX_LLM_QUOTA_FLEET_PACKED; i++) {
        *p++ = (u_char) (bits >> (8 * i));
    }

    return p;
}


/* from -1 to what a double has exactly, or it was no number of ours */

static ngx_int_t
ngx_llm_quota_fleet_unpack(u_char *p, int64_t *n)
{
    double      d;
    uint64_t    bits;
    ngx_uint_t  i;

    bits = 0;

    for (i = 0; i < NGX_LLM_QUOTA_FLEET_PACKED; i++) {
        bits |= (uint64_t) p[i] << (8 * i);
    }

    ngx_memcpy(&d, &bits, sizeof(double));

    if (!(d >= -1 && d <= (double) (2 * NGX_LLM_BUCKET_MAX))) {
        return NGX_ERROR;
    }

    *n = (int64_t) d;

    return NGX_OK;
}


/* those from there to the id, which the client has seen; it ends the reply */

static ngx_uint_t
ngx_llm_quota_fleet_integers(redisReply *reply, size_t from)
{
    size_t  i;

    if (reply->type != REDIS_REPLY_ARRAY || reply->elements <= from) {
        return 0;
    }

    for (i = from; i < reply->elements - 1; i++) {

        if (reply->element[i]->type != REDIS_REPLY_INTEGER) {
            return 0;
        }
    }

    return 1;
}
