/*
 * The step of admission that waits for the response of another request.  First
 * it looks up Redis, where another node may have stored the response.  Then one
 * request of those with an equal key leads and goes to its provider; the others
 * wait until the leader has stored its response, has none that can be stored,
 * or llm_cache_lock_timeout is over, and go to a provider if there is no entry.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include <ngx_http_llm_filter.h>


static ngx_int_t ngx_http_llm_cache_wait_alone(ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_cache_wait_create(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_cache_wait_ask(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_cache_wait_answered(void *data, ngx_int_t rc,
    ngx_str_t *value);
static ngx_int_t ngx_http_llm_cache_wait_open(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_llm_cache_wait_lead(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_cache_wait_follow(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_cache_wait_timeout(ngx_event_t *ev);
static void ngx_http_llm_cache_wait_look(void *data);
static void ngx_http_llm_cache_wait_resume(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


ngx_int_t
ngx_http_llm_cache_wait(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_http_llm_cache_charge_t  *cache;

    cache = &ctx->charge->cache;

    if (cache->replayed || !cache->keyed || !ngx_http_llm_is_client(r)) {
        return NGX_OK;
    }

    if (!cache->read) {
        return ngx_http_llm_cache_wait_alone(ctx);
    }

    if (ctx->cache_wait == NULL
        && ngx_http_llm_cache_wait_create(r, ctx) != NGX_OK)
    {
        return NGX_OK;
    }

    rc = ngx_http_llm_cache_wait_ask(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    return cache->only ? ngx_http_llm_cache_wait_alone(ctx)
                       : ngx_http_llm_cache_wait_lead(r, ctx);
}


/* Refuses a request with only-if-cached that has no entry. */

static ngx_int_t
ngx_http_llm_cache_wait_alone(ngx_http_llm_ctx_t *ctx)
{
    if (!ctx->charge->cache.only) {
        return NGX_OK;
    }

    return ngx_http_llm_fault(&ctx->charge->error, NGX_HTTP_LLM_NOT_CACHED,
                              NULL, NULL);
}


static ngx_int_t
ngx_http_llm_cache_wait_create(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_cache_wait_t  *wait;

    wait = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_cache_wait_t));
    if (wait == NULL) {
        return NGX_ERROR;
    }

    wait->request = r;

    wait->timer.handler = ngx_http_llm_cache_wait_timeout;
    wait->timer.data = wait;
    wait->timer.log = r->connection->log;

    wait->wait.key = ctx->charge->cache.key;
    wait->wait.handler = ngx_http_llm_cache_wait_look;
    wait->wait.data = wait;

    wait->ask.handler = ngx_http_llm_cache_wait_answered;
    wait->ask.data = wait;

    ctx->cache_wait = wait;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_cache_wait_ask(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_cache_wait_t  *wait;
    ngx_http_llm_main_conf_t   *lmcf;
    ngx_http_llm_cache_main_t  *cache;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    wait = ctx->cache_wait;
    cache = &lmcf->cache;

    if (wait->requested || cache->fleet == NULL
        || !ngx_llm_cache_is_synced(cache->store))
    {
        return NGX_OK;
    }

    wait->requested = 1;

    if (ngx_llm_cache_fleet_get(cache->fleet, ctx->charge->cache.key,
                                &wait->ask)
        != NGX_AGAIN)
    {
        return NGX_OK;
    }

    wait->waiting = 1;
    ngx_http_llm_suspend(r);

    return NGX_AGAIN;
}


static void
ngx_http_llm_cache_wait_answered(void *data, ngx_int_t rc, ngx_str_t *value)
{
    ngx_http_llm_cache_wait_t  *wait = data;

    ngx_http_llm_ctx_t  *ctx;
    ngx_http_request_t  *r;

    r = wait->request;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_set_log_request(r->connection->log, r);

    if (rc == NGX_OK) {
        (void) ngx_http_llm_cache_wait_open(r, ctx, value);
    }

    ngx_http_llm_cache_wait_resume(r, ctx);
}


/*
 * Decrypts an entry of Redis.  An entry that was stored under another key, in
 * another scope or by another secret does not decrypt, and is deleted.
 */

static ngx_int_t
ngx_http_llm_cache_wait_open(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_str_t *value)
{
    ngx_int_t                     rc;
    ngx_str_t                     plain;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    rc = NGX_DECLINED;

    if (value->len > NGX_LLM_SEAL_EXTRA) {

        plain.len = value->len - NGX_LLM_SEAL_EXTRA;
        plain.data = ngx_pnalloc(r->pool, plain.len);
        if (plain.data == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_llm_unseal(lmcf->cache.seal, &cache->scope, cache->key,
                            value, plain.data);
    }

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm_cache_redis: an entry cannot be decrypted, it is "
                      "deleted");

        ngx_llm_cache_fleet_forget(lmcf->cache.fleet, cache->key);
        cache->refused = "seal";
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_llm_cache_lookup_value(r, ctx, &plain);

    if (rc == NGX_OK) {
        (void) ngx_llm_cache_put(lmcf->cache.store, cache->key, &plain, 1,
                                 r->connection->log);
    }

    return rc;
}


static ngx_int_t
ngx_http_llm_cache_wait_lead(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    cache = &ctx->charge->cache;

    if (!cache->write || llcf->cache.lock == 0 || ctx->cache_wait->followed) {
        return NGX_OK;
    }

    switch (ngx_llm_flight_lead(lmcf->cache.flight, &ctx->cache_wait->wait,
                                llcf->cache.lock))
    {
    case NGX_OK:
        cache->leading = 1;

        /* the leader before may have stored its response meanwhile */

        if (cache->status == NGX_HTTP_LLM_CACHE_MISS
            && ngx_http_llm_cache_lookup_local(r, ctx) == NGX_OK)
        {
            ngx_http_llm_cache_release(r, ctx->charge);
        }

        return NGX_OK;

    case NGX_AGAIN:
        return ngx_http_llm_cache_wait_follow(r, ctx);

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_llm_cache_wait_follow(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_cache_wait_t  *wait;
    ngx_http_llm_loc_conf_t    *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache: waits for the response of an equal request, "
                   "at most %M ms", llcf->cache.lock);

    wait = ctx->cache_wait;
    wait->followed = 1;

    ngx_add_timer(&wait->timer, llcf->cache.lock);

    if (llcf->pass) {
        ngx_http_llm_ping_start(r);
    }

    wait->waiting = 1;
    ngx_http_llm_suspend(r);

    return NGX_AGAIN;
}


static void
ngx_http_llm_cache_wait_timeout(ngx_event_t *ev)
{
    ngx_http_llm_cache_wait_t  *wait = ev->data;

    wait->timedout = 1;

    ngx_http_llm_cache_wait_look(wait);
}


static void
ngx_http_llm_cache_wait_look(void *data)
{
    ngx_http_llm_cache_wait_t  *wait = data;

    ngx_uint_t                    led;
    ngx_atomic_uint_t             stamp;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_request_t           *r;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    r = wait->request;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    ngx_http_set_log_request(r->connection->log, r);

    /* in this order: a leader stores its entry before it ends the lead */

    led = (ngx_llm_flight_led(lmcf->cache.flight, cache->key)
           && !wait->timedout);
    stamp = ngx_llm_cache_stamp(lmcf->cache.store, cache->key);

    /* a look-up copies the entry, so each entry is looked up once */

    if (stamp != wait->stamp
        && ngx_http_llm_cache_lookup_local(r, ctx) == NGX_OK)
    {
        cache->collapsed = 1;
        cache->status = NGX_HTTP_LLM_CACHE_HIT;

    } else if (led) {
        wait->stamp = stamp;
        ngx_llm_flight_wait(lmcf->cache.flight, &wait->wait);
        return;
    }

    ngx_http_llm_cache_wait_resume(r, ctx);
}


static void
ngx_http_llm_cache_wait_resume(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache: wait is over, %s",
                   ctx->charge->cache.replayed ? "entry was found"
                   : ctx->cache_wait->timedout ? "llm_cache_lock_timeout"
                                               : "no entry");

    ngx_http_llm_cache_wait_done(r, ctx);

    if (ctx->charge->cache.replayed) {
        ngx_http_llm_ping_done(r);
    }

    ngx_http_llm_resume(r);
}


void
ngx_http_llm_cache_wait_done(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_cache_wait_t  *wait;
    ngx_http_llm_main_conf_t   *lmcf;

    wait = ctx->cache_wait;

    if (wait == NULL || !wait->waiting) {
        return;
    }

    wait->waiting = 0;

    ngx_llm_cache_fleet_cancel(&wait->ask);

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    ngx_llm_flight_cancel(lmcf->cache.flight, &wait->wait);

    if (wait->timer.timer_set) {
        ngx_del_timer(&wait->timer);
    }
}
