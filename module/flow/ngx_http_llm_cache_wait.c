/*
 * The step of admission that waits for another request's answer.  First for
 * one that another node has stored in Redis; then, of requests with the same
 * key, one leads, the others look for the answer that it has stored, and go on
 * their own if there is none for them, or it takes too long.  They are woken
 * when there is something to look at.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include <ngx_http_llm_filter.h>


static ngx_int_t ngx_http_llm_fetch_alone(ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_fetch_create(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_fetch_ask(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_fetch_answered(void *data, ngx_int_t rc,
    ngx_str_t *value);
static ngx_int_t ngx_http_llm_fetch_open(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_str_t *value);
static ngx_int_t ngx_http_llm_fetch_lead(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_fetch_follow(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_fetch_timeout(ngx_event_t *ev);
static void ngx_http_llm_fetch_look(void *data);
static void ngx_http_llm_fetch_resume(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


ngx_int_t
ngx_http_llm_fetch(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_http_llm_cache_charge_t  *cache;

    cache = &ctx->charge->cache;

    if (cache->replayed || !cache->keyed || !ngx_http_llm_is_client(r)) {
        return NGX_OK;
    }

    if (!cache->read) {
        return ngx_http_llm_fetch_alone(ctx);
    }

    if (ctx->fetch == NULL && ngx_http_llm_fetch_create(r, ctx) != NGX_OK) {
        return NGX_OK;
    }

    rc = ngx_http_llm_fetch_ask(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    return cache->only ? ngx_http_llm_fetch_alone(ctx)
                       : ngx_http_llm_fetch_lead(r, ctx);
}


/* nobody has it: may a provider be asked? */

static ngx_int_t
ngx_http_llm_fetch_alone(ngx_http_llm_ctx_t *ctx)
{
    if (!ctx->charge->cache.only) {
        return NGX_OK;
    }

    return ngx_http_llm_fault(&ctx->charge->error, NGX_HTTP_LLM_NOT_CACHED,
                              NULL, NULL);
}


static ngx_int_t
ngx_http_llm_fetch_create(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_fetch_t  *fetch;

    fetch = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_fetch_t));
    if (fetch == NULL) {
        return NGX_ERROR;
    }

    fetch->request = r;

    fetch->timer.handler = ngx_http_llm_fetch_timeout;
    fetch->timer.data = fetch;
    fetch->timer.log = r->connection->log;

    fetch->wait.key = ctx->charge->cache.key;
    fetch->wait.handler = ngx_http_llm_fetch_look;
    fetch->wait.data = fetch;

    fetch->ask.handler = ngx_http_llm_fetch_answered;
    fetch->ask.data = fetch;

    ctx->fetch = fetch;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_fetch_ask(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_fetch_t       *fetch;
    ngx_http_llm_main_conf_t   *lmcf;
    ngx_http_llm_cache_main_t  *cache;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    fetch = ctx->fetch;
    cache = &lmcf->cache;

    if (fetch->asked || cache->fleet == NULL
        || !ngx_llm_cache_is_synced(cache->store))
    {
        return NGX_OK;
    }

    fetch->asked = 1;

    if (ngx_llm_cache_fleet_get(cache->fleet, ctx->charge->cache.key,
                                &fetch->ask)
        != NGX_AGAIN)
    {
        return NGX_OK;
    }

    fetch->waiting = 1;
    ngx_http_llm_suspend(r);

    return NGX_AGAIN;
}


static void
ngx_http_llm_fetch_answered(void *data, ngx_int_t rc, ngx_str_t *value)
{
    ngx_http_llm_fetch_t *fetch = data;

    ngx_http_llm_ctx_t  *ctx;
    ngx_http_request_t  *r;

    r = fetch->request;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_set_log_request(r->connection->log, r);

    if (rc == NGX_OK) {
        (void) ngx_http_llm_fetch_open(r, ctx, value);
    }

    ngx_http_llm_fetch_resume(r, ctx);
}


/* what does not open was not stored by us, for this question and this scope */

static ngx_int_t
ngx_http_llm_fetch_open(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
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
                      "llm_cache_redis: an entry does not open, it is "
                      "deleted");

        ngx_llm_cache_fleet_forget(lmcf->cache.fleet, cache->key);
        cache->refused = "seal";
    }

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_llm_recall_value(r, ctx, &plain);

    if (rc == NGX_OK) {
        (void) ngx_llm_cache_put(lmcf->cache.store, cache->key, &plain, 1,
                                 r->connection->log);
    }

    return rc;
}


static ngx_int_t
ngx_http_llm_fetch_lead(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    cache = &ctx->charge->cache;

    if (!cache->write || llcf->cache.lock == 0 || ctx->fetch->followed) {
        return NGX_OK;
    }

    switch (ngx_llm_flight_lead(lmcf->cache.flight, &ctx->fetch->wait,
                                llcf->cache.lock))
    {
    case NGX_OK:
        cache->leading = 1;

        /* the one before may have landed since we have looked */

        if (cache->status == NGX_HTTP_LLM_CACHE_MISS
            && ngx_http_llm_recall_local(r, ctx) == NGX_OK)
        {
            ngx_http_llm_land(r, ctx->charge);
        }

        return NGX_OK;

    case NGX_AGAIN:
        return ngx_http_llm_fetch_follow(r, ctx);

    default:
        return NGX_OK;
    }
}


static ngx_int_t
ngx_http_llm_fetch_follow(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_fetch_t     *fetch;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    fetch = ctx->fetch;
    fetch->followed = 1;

    ngx_add_timer(&fetch->timer, llcf->cache.lock);

    if (llcf->pass) {
        ngx_http_llm_ping_start(r);
    }

    fetch->waiting = 1;
    ngx_http_llm_suspend(r);

    return NGX_AGAIN;
}


static void
ngx_http_llm_fetch_timeout(ngx_event_t *ev)
{
    ngx_http_llm_fetch_t *fetch = ev->data;

    fetch->timedout = 1;

    ngx_http_llm_fetch_look(fetch);
}


static void
ngx_http_llm_fetch_look(void *data)
{
    ngx_http_llm_fetch_t *fetch = data;

    ngx_uint_t                    led;
    ngx_atomic_uint_t             stamp;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_request_t           *r;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    r = fetch->request;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    ngx_http_set_log_request(r->connection->log, r);

    /* in this order: a leader stores, then lands */

    led = (ngx_llm_flight_led(lmcf->cache.flight, cache->key)
           && !fetch->timedout);
    stamp = ngx_llm_cache_stamp(lmcf->cache.store, cache->key);

    /* a recall copies the entry: once for each that there is */

    if (stamp != fetch->stamp && ngx_http_llm_recall_local(r, ctx) == NGX_OK) {
        cache->collapsed = 1;
        cache->status = NGX_HTTP_LLM_CACHE_HIT;

    } else if (led) {
        fetch->stamp = stamp;
        ngx_llm_flight_wait(lmcf->cache.flight, &fetch->wait);
        return;
    }

    ngx_http_llm_fetch_resume(r, ctx);
}


static void
ngx_http_llm_fetch_resume(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_fetch_done(r, ctx);

    if (ctx->charge->cache.replayed) {
        ngx_http_llm_ping_done(r);
    }

    ngx_http_llm_resume(r);
}


void
ngx_http_llm_fetch_done(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_fetch_t      *fetch;
    ngx_http_llm_main_conf_t  *lmcf;

    fetch = ctx->fetch;

    if (fetch == NULL || !fetch->waiting) {
        return;
    }

    fetch->waiting = 0;

    ngx_llm_cache_fleet_cancel(&fetch->ask);

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    ngx_llm_flight_cancel(lmcf->cache.flight, &fetch->wait);

    if (fetch->timer.timer_set) {
        ngx_del_timer(&fetch->timer);
    }
}
