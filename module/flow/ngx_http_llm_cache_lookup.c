/*
 * The step of admission that computes the cache key and looks up the response
 * in shared memory.  An error of the cache is a miss, never a failed request.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_cache_key.h>
#include <ngx_http_llm_copy.h>


static const char *ngx_http_llm_cache_lookup_bypass(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_control_t *control);
static ngx_int_t ngx_http_llm_cache_lookup_key(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_http_llm_cache_e ngx_http_llm_cache_lookup_age(
    ngx_http_llm_cache_charge_t *cache, ngx_llm_entry_t *entry);
static ngx_uint_t ngx_http_llm_cache_lookup_purged(ngx_http_request_t *r,
    ngx_http_llm_cache_charge_t *cache, ngx_llm_entry_t *entry);


ngx_int_t
ngx_http_llm_cache_lookup(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    const char                   *why;
    ngx_http_llm_charge_t        *charge;
    ngx_http_llm_control_t        control;
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_cache_charge_t  *cache;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    charge = ctx->charge;
    cache = &charge->cache;

    if (!ngx_http_llm_is_client(r)) {
        return NGX_OK;
    }

    /* only stored entries outlive the pass before an internal redirect */

    ngx_http_llm_cache_release(r, charge);
    ngx_memzero(cache, sizeof(ngx_http_llm_cache_charge_t));

    if (!llcf->cache.on || charge->operation == NULL
        || !(charge->operation->methods & NGX_HTTP_POST))
    {
        return NGX_OK;
    }

    cache->status = NGX_HTTP_LLM_CACHE_BYPASS;
    cache->max_age = -1;

    why = ngx_http_llm_cache_lookup_bypass(r, ctx, &control);

    if (why) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache bypass: %s", why);
        return NGX_OK;
    }

    if (ngx_http_llm_cache_lookup_key(r, ctx) != NGX_OK) {
        return NGX_OK;
    }

    cache->write = (llcf->cache.max_size > 0);
    cache->only = control.only_if_cached;
    cache->max_age = control.max_age;

    if (control.no_cache) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache bypass: Cache-Control is no-cache, the "
                       "response may be stored");
        return NGX_OK;
    }

    cache->read = 1;
    cache->status = NGX_HTTP_LLM_CACHE_MISS;

    if (ngx_http_llm_cache_lookup_local(r, ctx) != NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache %s",
                       cache->status == NGX_HTTP_LLM_CACHE_EXPIRED
                       ? "entry is expired" : "miss");
    }

    return NGX_OK;
}


/* Returns NULL if the cache may be used, otherwise the reason. */

static const char *
ngx_http_llm_cache_lookup_bypass(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_control_t *control)
{
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    charge = ctx->charge;

    ngx_http_llm_control(r, control);

    if (!charge->parsed || charge->facts.form) {
        return "request body is not JSON";
    }

    if (ctx->stateful) {
        return "request refers to state of the provider";
    }

    if (charge->operation->cached == NGX_HTTP_LLM_CACHED_NEVER) {
        return "operation is not cached";
    }

    if (control->no_store) {
        return "Cache-Control is no-store";
    }

    if (ngx_http_test_predicates(r, llcf->cache.bypass) != NGX_OK) {
        return "llm_cache_bypass";
    }

    return NULL;
}


static ngx_int_t
ngx_http_llm_cache_lookup_key(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_str_t            credential;
    ngx_llm_consumer_t  *consumer;

    if (ngx_http_llm_auth_consumer(r, &consumer) != NGX_OK) {
        return NGX_ERROR;
    }

    if (consumer || ngx_http_llm_auth_key(r, &credential) != NGX_OK) {
        ngx_str_null(&credential);
    }

    return ngx_http_llm_cache_key_make(r, ctx,
                                       consumer ? &consumer->name : NULL,
                                       &credential);
}


ngx_int_t
ngx_http_llm_cache_lookup_local(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_str_t                  value;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    if (ngx_llm_cache_get(lmcf->cache.store, ctx->charge->cache.key, r->pool,
                          &value)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    return ngx_http_llm_cache_lookup_value(r, ctx, &value);
}


ngx_int_t
ngx_http_llm_cache_lookup_value(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_str_t *value)
{
    ngx_llm_entry_t              *entry;
    ngx_http_llm_cache_e          found;
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_cache_charge_t  *cache;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    entry = ngx_palloc(r->pool, sizeof(ngx_llm_entry_t));

    if (entry == NULL
        || ngx_llm_entry_read(entry, value->data, value->len) != NGX_OK
        || ngx_http_llm_cache_lookup_purged(r, cache, entry))
    {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache entry is purged or of another version");
        return NGX_DECLINED;
    }

    found = ngx_http_llm_cache_lookup_age(cache, entry);

    if (ngx_http_llm_replay_fit(r, ctx, entry) != NGX_OK
        || ngx_http_llm_copy_oversize(llcf, entry))
    {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache entry of %uz bytes is not used: another "
                       "form, or llm_max_response_size", entry->body.len);
        return NGX_DECLINED;
    }

    if (found == NGX_HTTP_LLM_CACHE_STALE) {
        cache->entry = entry;
    }

    if (found != NGX_HTTP_LLM_CACHE_HIT) {
        cache->status = NGX_HTTP_LLM_CACHE_EXPIRED;
        return NGX_DECLINED;
    }

    ngx_http_llm_cache_lookup_found(r, ctx, entry, NGX_HTTP_LLM_CACHE_HIT);
    r->content_handler = ngx_http_llm_replay;

    return NGX_OK;
}


/*
 * Returns HIT for a fresh entry, STALE for one that llm_cache_stale_if_error
 * may use, and EXPIRED.
 */

static ngx_http_llm_cache_e
ngx_http_llm_cache_lookup_age(ngx_http_llm_cache_charge_t *cache,
    ngx_llm_entry_t *entry)
{
    int64_t  age;

    age = ngx_http_llm_control_age(entry);

    if (age >= entry->ttl + entry->stale) {
        return NGX_HTTP_LLM_CACHE_EXPIRED;
    }

    if (age >= entry->ttl
        || (cache->max_age >= 0 && age > cache->max_age * 1000))
    {
        return entry->stale ? NGX_HTTP_LLM_CACHE_STALE
                            : NGX_HTTP_LLM_CACHE_EXPIRED;
    }

    return NGX_HTTP_LLM_CACHE_HIT;
}


/* Returns 1 if a tag of the entry was purged after the entry's request. */

static ngx_uint_t
ngx_http_llm_cache_lookup_purged(ngx_http_request_t *r,
    ngx_http_llm_cache_charge_t *cache, ngx_llm_entry_t *entry)
{
    ngx_uint_t                 i;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    for (i = 0; i < NGX_LLM_ENTRY_TAGS; i++) {

        if (entry->tags[i] != cache->tags[i]
            || entry->generations[i]
               != ngx_llm_cache_generation(lmcf->cache.store, cache->tags[i]))
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_llm_cache_lookup_found(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_entry_t *entry, ngx_http_llm_cache_e status)
{
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_main_conf_t  *lmcf;

    charge = ctx->charge;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache %s, entry of %uz bytes",
                   status == NGX_HTTP_LLM_CACHE_STALE ? "stale" : "hit",
                   entry->body.len);

    charge->cache.entry = entry;
    charge->cache.status = status;
    charge->cache.replayed = 1;
    charge->cache.write = 0;

    charge->stream = entry->stream;
    charge->end = NGX_HTTP_LLM_END_COMPLETE;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ngx_llm_cache_saved(lmcf->cache.store,
                        ngx_http_llm_cost_total(&entry->usage),
                        entry->cost);

    if (!charge->timed) {
        charge->timed = 1;
        charge->ttft = ngx_current_msec - charge->start;
    }
}
