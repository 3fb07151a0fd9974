/*
 * llm_status: what an operator asks first, as JSON below the location's
 * prefix: the versions, the providers with what runs on them and how their
 * attempts have ended, the models with their targets.  No endpoint, no
 * header, no key is in it.
 */


#include "../ngx_http_llm_surface.h"
#include "ngx_http_llm_provider_state.h"


/* bytes of a provider, model or target without names */
#define NGX_HTTP_LLM_STATUS_ITEM      128

/* attempts of a provider: each outcome and its count */
#define NGX_HTTP_LLM_STATUS_ATTEMPTS  2048


static ngx_uint_t ngx_http_llm_status_path(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_status_body(ngx_http_request_t *r,
    ngx_str_t *body);
static size_t ngx_http_llm_status_size(ngx_http_llm_main_conf_t *lmcf);
static u_char *ngx_http_llm_status_provider(u_char *p,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_status_credentials(u_char *p,
    ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_status_targets(u_char *p,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_status_state(u_char *p,
    ngx_llm_health_record_t *record);
static u_char *ngx_http_llm_status_attempts(u_char *p,
    ngx_llm_metrics_t *metrics, ngx_str_t *provider);
static ngx_uint_t ngx_http_llm_status_is(ngx_llm_series_t *series,
    ngx_str_t *provider);
static u_char *ngx_http_llm_status_model(u_char *p,
    ngx_http_llm_model_t *model);
static u_char *ngx_http_llm_status_cache(u_char *p, ngx_llm_cache_t *cache);
static u_char *ngx_http_llm_status_redis(u_char *p, const char *name,
    ngx_llm_redis_t *redis);
static u_char *ngx_http_llm_status_string(u_char *p, ngx_str_t *value);
static u_char *ngx_http_llm_status_close(u_char *p, const char *end);


ngx_int_t
ngx_http_llm_status_handler(ngx_http_request_t *r)
{
    ngx_str_t                 body;
    ngx_http_complex_value_t  cv;

    static ngx_str_t  json = ngx_string("application/json");

    if (!ngx_http_llm_status_path(r)) {
        return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_UNKNOWN_OPERATION,
                                        NULL, "There is no such page.");
    }

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_METHOD_NOT_ALLOWED,
                                        "GET, HEAD", NULL);
    }

    if (ngx_http_llm_status_body(r, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value = body;

    return ngx_http_send_response(r, NGX_HTTP_OK, &json, &cv);
}


/* status.json right below a prefix, or at the end of any other location */

static ngx_uint_t
ngx_http_llm_status_path(ngx_http_request_t *r)
{
    size_t                     len;
    u_char                    *p;
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  page = ngx_string("/status.json");

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r->uri.len < page.len) {
        return 0;
    }

    len = r->uri.len - page.len;
    p = r->uri.data + len;

    if (ngx_memcmp(p, page.data, page.len) != 0) {
        return 0;
    }

    if (clcf->exact_match || clcf->named
#if (NGX_PCRE)
        || clcf->regex
#endif
       )
    {
        return 1;
    }

    return clcf->name.len == len || clcf->name.len == len + 1;
}


static ngx_int_t
ngx_http_llm_status_body(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char                     *p;
    ngx_uint_t                  i;
    ngx_http_llm_model_t      **model;
    ngx_http_llm_provider_t   **provider;
    ngx_http_llm_main_conf_t   *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    p = ngx_pnalloc(r->pool, ngx_http_llm_status_size(lmcf));
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = ngx_sprintf(p, "{\"version\":\"" NGX_HTTP_LLM_VERSION "\","
                       "\"nginx\":\"" NGINX_VERSION "\",\"providers\":[");

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {
        p = ngx_http_llm_status_provider(p, lmcf, provider[i]);
    }

    p = ngx_http_llm_status_close(p, "],\"models\":[");

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {
        p = ngx_http_llm_status_model(p, model[i]);
    }

    p = ngx_http_llm_status_close(p, "]");

    if (lmcf->redis) {
        p = ngx_http_llm_status_redis(p, "redis", lmcf->redis);
    }

    if (lmcf->cache.store) {
        p = ngx_http_llm_status_cache(p, lmcf->cache.store);
    }

    if (lmcf->cache.redis) {
        p = ngx_http_llm_status_redis(p, "cache_redis", lmcf->cache.redis);
    }

    p = ngx_sprintf(p, "}\n");

    body->len = p - body->data;

    return NGX_OK;
}


/* an upper bound; a byte of a name is six in JSON at most */

static size_t
ngx_http_llm_status_size(ngx_http_llm_main_conf_t *lmcf)
{
    size_t                     size;
    ngx_str_t                 *alias;
    ngx_uint_t                 i, n;
    ngx_http_llm_model_t     **model;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_provider_t  **provider;

    size = 8 * NGX_HTTP_LLM_STATUS_ITEM;
    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {
        size += 2 * NGX_HTTP_LLM_STATUS_ITEM + NGX_HTTP_LLM_STATUS_ATTEMPTS
                + 6 * provider[i]->name.len
                + NGX_HTTP_LLM_STATUS_ITEM * provider[i]->credentials.nelts;
    }

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {
        size += NGX_HTTP_LLM_STATUS_ITEM + 6 * model[i]->pattern.len;

        alias = model[i]->aliases.elts;

        for (n = 0; n < model[i]->aliases.nelts; n++) {
            size += sizeof("\"\",") + 6 * alias[n].len;
        }

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {
            /* below its model, and below its provider */

            size += 2 * NGX_HTTP_LLM_STATUS_ITEM
                    + 6 * (target[n].name.len + target[n].model.len)
                    + 6 * (target[n].model.len + model[i]->pattern.len);
        }
    }

    return size;
}


static u_char *
ngx_http_llm_status_provider(u_char *p, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    uint64_t  ttft;

    ttft = provider->health
           ? ngx_llm_health_record_measured(provider->health,
                                            NGX_LLM_HEALTH_TTFT)
           : 0;

    p = ngx_sprintf(p, "{\"name\":");
    p = ngx_http_llm_status_string(p, &provider->name);
    p = ngx_sprintf(p, ",\"state\":\"%s\",\"inflight\":%ui,\"ttft_ms\":",
                    ngx_http_llm_provider_state_name(
                                       ngx_http_llm_provider_state(provider)),
                    ngx_http_llm_provider_state_inflight(provider));

    p = ttft ? ngx_sprintf(p, "%uL", ttft / 1000) : ngx_sprintf(p, "null");

    p = ngx_sprintf(p, ",\"cooldown_ms\":%M,\"keys\":[",
                    ngx_http_llm_provider_state_left(provider));
    p = ngx_http_llm_status_credentials(p, provider);

    p = ngx_http_llm_status_close(p, "],\"targets\":[");
    p = ngx_http_llm_status_targets(p, lmcf, provider);

    p = ngx_http_llm_status_close(p, "],\"attempts\":{");
    p = ngx_http_llm_status_attempts(p, lmcf->metrics, &provider->name);

    return ngx_http_llm_status_close(p, "}},");
}


/* by index: nothing of a key is shown */

static u_char *
ngx_http_llm_status_credentials(u_char *p, ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;

    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {
        p = ngx_sprintf(p, "{\"index\":%ui,", i);
        p = ngx_http_llm_status_state(p, credential[i].health);
    }

    return p;
}


/* Writes the targets of all models, by pattern if there is no name. */

static u_char *
ngx_http_llm_status_targets(u_char *p, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t              i, n;
    ngx_http_llm_model_t  **model;
    ngx_http_llm_target_t  *target;

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {

            if (target[n].provider != provider) {
                continue;
            }

            p = ngx_sprintf(p, "{\"model\":");
            p = ngx_http_llm_status_string(p, (target[n].model.len
                                               && !target[n].wildcard)
                                              ? &target[n].model
                                              : &model[i]->pattern);
            *p++ = ',';
            p = ngx_http_llm_status_state(p, target[n].health);
        }
    }

    return p;
}


static u_char *
ngx_http_llm_status_state(u_char *p, ngx_llm_health_record_t *record)
{
    ngx_llm_health_state_e  state;

    state = record ? ngx_llm_health_record_state(record, ngx_current_msec)
                  : NGX_LLM_HEALTH_UP;

    return ngx_sprintf(p, "\"state\":\"%s\"},",
                       ngx_http_llm_provider_state_name(state));
}


static u_char *
ngx_http_llm_status_attempts(u_char *p, ngx_llm_metrics_t *metrics,
    ngx_str_t *provider)
{
    u_char                  *outcome, *last;
    ngx_llm_series_t        *series;
    ngx_llm_series_count_t  *cells;

    last = p + NGX_HTTP_LLM_STATUS_ATTEMPTS;
    series = NULL;

    for ( ;; ) {
        series = ngx_llm_metrics_next(metrics, NGX_LLM_SERIES_ATTEMPTS,
                                      series);
        if (series == NULL) {
            return p;
        }

        if (ngx_http_llm_status_is(series, provider)) {
            cells = series->cells;
            outcome = series->labels + provider->len + 1;

            p = ngx_slprintf(p, last, "\"%s\":%uA,", outcome, cells->count);
        }
    }
}


/* is the first label of the series this provider? */

static ngx_uint_t
ngx_http_llm_status_is(ngx_llm_series_t *series, ngx_str_t *provider)
{
    return series->len > provider->len
           && series->labels[provider->len] == '\0'
           && ngx_memcmp(series->labels, provider->data, provider->len) == 0;
}


static u_char *
ngx_http_llm_status_model(u_char *p, ngx_http_llm_model_t *model)
{
    ngx_str_t              *alias;
    ngx_uint_t              i;
    ngx_http_llm_target_t  *target;

    p = ngx_sprintf(p, "{\"model\":");
    p = ngx_http_llm_status_string(p, &model->pattern);
    p = ngx_sprintf(p, ",\"aliases\":[");

    alias = model->aliases.elts;

    for (i = 0; i < model->aliases.nelts; i++) {
        p = ngx_http_llm_status_string(p, &alias[i]);
        *p++ = ',';
    }

    p = ngx_http_llm_status_close(p, "],\"targets\":[");

    target = model->targets.elts;

    for (i = 0; i < model->targets.nelts; i++) {
        p = ngx_sprintf(p, "{\"provider\":");
        p = ngx_http_llm_status_string(p, &target[i].name);

        if (target[i].model.len) {
            p = ngx_sprintf(p, ",\"model\":");
            p = ngx_http_llm_status_string(p, &target[i].model);
        }

        p = ngx_sprintf(p, "},");
    }

    return ngx_http_llm_status_close(p, "]},");
}


static u_char *
ngx_http_llm_status_cache(u_char *p, ngx_llm_cache_t *cache)
{
    ngx_llm_cache_state_t  state;

    ngx_llm_cache_state(cache, &state);

    return ngx_sprintf(p, ",\"cache\":{\"entries\":%uA,\"bytes\":%uA,"
                          "\"size\":%uA,\"evicted\":%uA,\"emptied\":%uA}",
                       state.entries, state.bytes, state.size, state.evicted,
                       state.emptied);
}


/* as this worker sees it; the others have connections of their own */

static u_char *
ngx_http_llm_status_redis(u_char *p, const char *name, ngx_llm_redis_t *redis)
{
    ngx_llm_redis_state_t  state;

    ngx_llm_redis_state(redis, &state);

    p = ngx_sprintf(p, ",\"%s\":{\"state\":\"%s\",\"last_ok_ms\":", name,
                    state.up ? "up" : "down");

    p = state.last_ok ? ngx_sprintf(p, "%M",
                                    ngx_current_msec - state.last_ok)
                      : ngx_sprintf(p, "null");

    *p++ = '}';

    return p;
}


static u_char *
ngx_http_llm_status_string(u_char *p, ngx_str_t *value)
{
    *p++ = '"';
    p += ngx_llm_json_escape(p, value->data, value->len);
    *p++ = '"';

    return p;
}


/* without the comma behind the last member */

static u_char *
ngx_http_llm_status_close(u_char *p, const char *end)
{
    if (p[-1] == ',') {
        p--;
    }

    return ngx_sprintf(p, "%s", end);
}
