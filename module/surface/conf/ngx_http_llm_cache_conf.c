/*
 * llm_cache and what belongs to it: which answers are kept, for whom, how
 * long; and the zone they are kept in.
 */


#include "../ngx_http_llm_surface.h"
#include "../ngx_http_llm_cache_conf.h"


/* SIZE of llm_cache_zone, if it is not set */
#define NGX_HTTP_LLM_CACHE_ZONE   (64 * 1024 * 1024)

#define NGX_HTTP_LLM_CACHE_LEAST  (1024 * 1024)


static void ngx_http_llm_cache_conf_counter(void *data, ngx_uint_t tag,
    uint32_t generation);
static void ngx_http_llm_cache_conf_lost(void *data);
static void ngx_http_llm_cache_conf_synced(void *data);


/* llm_cache on | off */

char *
ngx_http_llm_cache_conf_flag(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                      *rv;
    ngx_http_llm_loc_conf_t   *llcf = conf;
    ngx_http_llm_main_conf_t  *lmcf;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv == NGX_CONF_OK && llcf->cache.on) {
        lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
        lmcf->cache.used = 1;
    }

    return rv;
}


/* llm_cache_scope VALUE | shared */

char *
ngx_http_llm_cache_conf_scope(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_str_t  *value;

    if (llcf->cache.shared != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "shared") == 0) {
        llcf->cache.shared = 1;
        return NGX_CONF_OK;
    }

    if (value[1].len == 0) {
        return "takes a value, or \"shared\"";
    }

    llcf->cache.shared = 0;

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


char *
ngx_http_llm_cache_conf_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t  *size = data;

    if (*size < NGX_HTTP_LLM_CACHE_LEAST) {
        return "is too small, it takes 1m at least";
    }

    return NGX_CONF_OK;
}


void
ngx_http_llm_cache_conf_create(ngx_http_llm_cache_conf_t *conf)
{
    conf->on = NGX_CONF_UNSET;
    conf->ttl = NGX_CONF_UNSET_MSEC;
    conf->max_size = NGX_CONF_UNSET_SIZE;
    conf->shared = NGX_CONF_UNSET;
    conf->sampling = NGX_CONF_UNSET_UINT;
    conf->bypass = NGX_CONF_UNSET_PTR;
    conf->honor = NGX_CONF_UNSET;
    conf->stale = NGX_CONF_UNSET_MSEC;
    conf->lock = NGX_CONF_UNSET_MSEC;
}


void
ngx_http_llm_cache_conf_merge(ngx_http_llm_cache_conf_t *prev,
    ngx_http_llm_cache_conf_t *conf)
{
    ngx_conf_merge_value(conf->on, prev->on, 0);
    ngx_conf_merge_msec_value(conf->ttl, prev->ttl, 3600000);
    ngx_conf_merge_size_value(conf->max_size, prev->max_size, 256 * 1024);
    ngx_conf_merge_uint_value(conf->sampling, prev->sampling,
                              NGX_HTTP_LLM_CACHE_DETERMINISTIC);
    ngx_conf_merge_ptr_value(conf->bypass, prev->bypass, NULL);
    ngx_conf_merge_value(conf->honor, prev->honor, 0);
    ngx_conf_merge_msec_value(conf->stale, prev->stale, 0);
    ngx_conf_merge_msec_value(conf->lock, prev->lock, 60000);

    if (conf->shared == NGX_CONF_UNSET) {
        conf->shared = prev->shared;
        conf->scope = prev->scope;
    }

    if (conf->shared == NGX_CONF_UNSET) {
        conf->shared = 0;
    }
}


/* the zone is allocated only if somebody needs it */

ngx_int_t
ngx_http_llm_cache_conf_init(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_llm_zone_t             *zone;
    ngx_http_llm_cache_main_t  *cache;

    static ngx_str_t  name = ngx_string("llm_cache_zone");

    cache = &lmcf->cache;

    if (!cache->used) {
        return NGX_OK;
    }

    ngx_conf_init_size_value(cache->size, NGX_HTTP_LLM_CACHE_ZONE);

    if (cache->secret.data == NULL) {
        ngx_str_set(&cache->secret, "");
    }

    zone = ngx_llm_zone_add(cf, &name, cache->size, &ngx_http_llm_module);
    if (zone == NULL) {
        return NGX_ERROR;
    }

    cache->digest = ngx_llm_digest_create(cf);
    cache->flight = ngx_llm_flight_create(cf, zone);
    cache->store = ngx_llm_cache_create(cf, zone);

    cache->scopes = ngx_pcalloc(cf->pool, NGX_HTTP_LLM_CACHE_SCOPES
                                          * sizeof(ngx_http_llm_cache_scope_t));

    return (cache->digest && cache->flight && cache->store && cache->scopes)
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_llm_cache_conf_worker(ngx_cycle_t *cycle,
    ngx_http_llm_main_conf_t *lmcf)
{
    ngx_http_llm_cache_main_t  *cache;

    cache = &lmcf->cache;

    if (cache->redis == NULL) {
        return NGX_OK;
    }

    if (ngx_llm_redis_worker(cache->redis, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    if (cache->store) {
        cache->sync.counter = ngx_http_llm_cache_conf_counter;
        cache->sync.synced = ngx_http_llm_cache_conf_synced;
        cache->sync.lost = ngx_http_llm_cache_conf_lost;
        cache->sync.data = cache;

        ngx_llm_cache_fleet_sync(cache->fleet, &cache->sync, cycle);
    }

    return NGX_OK;
}


static void
ngx_http_llm_cache_conf_counter(void *data, ngx_uint_t tag, uint32_t generation)
{
    ngx_http_llm_cache_main_t  *cache = data;

    ngx_llm_cache_purged(cache->store, tag, generation);
}


/* or another node would take what was purged for fresh */

static void
ngx_http_llm_cache_conf_lost(void *data)
{
    ngx_http_llm_cache_main_t  *cache = data;

    uint32_t    generation;
    ngx_uint_t  tag;

    for (tag = 0; tag <= NGX_LLM_CACHE_TAGS; tag++) {
        generation = ngx_llm_cache_generation(cache->store, tag);

        if (generation
            && ngx_llm_cache_fleet_purge(cache->fleet, tag, generation, 0)
               != NGX_OK)
        {
            return;
        }
    }
}


static void
ngx_http_llm_cache_conf_synced(void *data)
{
    ngx_http_llm_cache_main_t  *cache = data;

    ngx_llm_cache_synced(cache->store);
}
