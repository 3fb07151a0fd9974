/*
 * llm_metrics: the numbers of all workers in Prometheus' text format.  A
 * family is a row of a table; its lines are written from the series that the
 * state zone holds, each into a buffer that has room for it.
 */


#include "../ngx_http_llm_surface.h"
#include "ngx_http_llm_provider_state.h"


#define NGX_HTTP_LLM_METRICS_PAGE    16384

/* bytes of a line without labels: name, suffix, le or kind, number */
#define NGX_HTTP_LLM_METRICS_LINE    256


typedef struct {
    ngx_pool_t    *pool;
    ngx_chain_t   *out;
    ngx_chain_t  **last;
    ngx_buf_t     *buf;              /* NULL before the first one */
    size_t         size;             /* of all that is full */
} ngx_http_llm_metrics_page_t;


/* bytes of a line without its name */
#define NGX_HTTP_LLM_GAUGE_LINE  128


typedef struct {
    const char                    *name;
    const char                    *type;
    const char                    *help;
    u_char                      *(*value)(u_char *p,
                                          ngx_http_llm_provider_t *provider);
} ngx_http_llm_gauge_t;


typedef struct ngx_http_llm_family_s  ngx_http_llm_family_t;

struct ngx_http_llm_family_s {
    const char        *name;
    const char        *type;
    const char        *help;
    ngx_llm_series_e   kind;
    size_t             offset;       /* of the counter, in a cell */
    ngx_int_t        (*write)(ngx_http_llm_metrics_page_t *page,
                              const ngx_http_llm_family_t *family,
                              ngx_llm_series_t *series);
};


static ngx_int_t ngx_http_llm_metrics_write(ngx_http_request_t *r,
    ngx_http_llm_metrics_page_t *page);
static ngx_int_t ngx_http_llm_metrics_providers(
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_metrics_page_t *page);
static u_char *ngx_http_llm_metrics_inflight(u_char *p,
    ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_metrics_state(u_char *p,
    ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_metrics_cooldowns(u_char *p,
    ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_metrics_opens(u_char *p,
    ngx_http_llm_provider_t *provider);
static u_char *ngx_http_llm_metrics_ttft(u_char *p,
    ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_metrics_number(
    ngx_http_llm_metrics_page_t *page, const ngx_http_llm_family_t *family,
    ngx_llm_series_t *series);
static ngx_int_t ngx_http_llm_metrics_tokens(
    ngx_http_llm_metrics_page_t *page, const ngx_http_llm_family_t *family,
    ngx_llm_series_t *series);
static ngx_int_t ngx_http_llm_metrics_cost(
    ngx_http_llm_metrics_page_t *page, const ngx_http_llm_family_t *family,
    ngx_llm_series_t *series);
static ngx_int_t ngx_http_llm_metrics_some(
    ngx_http_llm_metrics_page_t *page, const ngx_http_llm_family_t *family,
    ngx_llm_series_t *series);
static ngx_int_t ngx_http_llm_metrics_histogram(
    ngx_http_llm_metrics_page_t *page, const ngx_http_llm_family_t *family,
    ngx_llm_series_t *series);
static u_char *ngx_http_llm_metrics_bound(u_char *p, ngx_msec_t bound);
static ngx_int_t ngx_http_llm_metrics_dropped(
    ngx_http_llm_metrics_page_t *page, ngx_atomic_uint_t dropped);
static ngx_int_t ngx_http_llm_metrics_cache(ngx_llm_cache_t *cache,
    ngx_http_llm_metrics_page_t *page);
static ngx_int_t ngx_http_llm_metrics_redis(ngx_llm_redis_t *redis,
    ngx_http_llm_metrics_page_t *page);
static ngx_int_t ngx_http_llm_metrics_head(ngx_http_llm_metrics_page_t *page,
    const char *name, const char *type, const char *help);
static ngx_int_t ngx_http_llm_metrics_begin(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, const char *suffix,
    ngx_llm_series_t *series);
static ngx_int_t ngx_http_llm_metrics_room(ngx_http_llm_metrics_page_t *page,
    size_t len);
static u_char *ngx_http_llm_metrics_escape(u_char *p, u_char *value);
static ngx_int_t ngx_http_llm_metrics_send(ngx_http_request_t *r,
    ngx_http_llm_metrics_page_t *page);


#define ngx_http_llm_family(name, type, help, kind, cells, member, write)     \
    { "nginx_llm_" name, type, help, NGX_LLM_SERIES_ ## kind,                 \
      offsetof(ngx_llm_series_ ## cells ## _t, member),                       \
      ngx_http_llm_metrics_ ## write }


static const ngx_http_llm_family_t  ngx_http_llm_families[] = {

    ngx_http_llm_family("requests_total", "counter",
                        "Client requests that have ended.",
                        REQUESTS, count, count, number),
    ngx_http_llm_family("tokens_total", "counter",
                        "Tokens as the provider counts them.",
                        ANSWERS, answers, tokens, tokens),
    ngx_http_llm_family("cost_usd_total", "counter",
                        "What answers with usage and a known price cost.",
                        ANSWERS, answers, cost, cost),
    ngx_http_llm_family("cost_unknown_total", "counter",
                        "Answers with usage whose price is not known.",
                        ANSWERS, answers, unpriced, some),
    ngx_http_llm_family("usage_unknown_total", "counter",
                        "Answers whose usage could not be read.",
                        PROVIDERS, providers, unknown, number),
    ngx_http_llm_family("attempts_total", "counter",
                        "Attempts that have ended.",
                        ATTEMPTS, count, count, number),
    ngx_http_llm_family("ttft_seconds", "histogram",
                        "Time to the first byte of the answer's body.",
                        ANSWERS, answers, ttft, histogram),
    ngx_http_llm_family("duration_seconds", "histogram",
                        "Time from admission to the end of the request.",
                        ANSWERS, answers, duration, histogram),
    ngx_http_llm_family("quota_total", "counter",
                        "What quotas have said to requests.",
                        QUOTA, count, count, number),
    ngx_http_llm_family("quota_refused_total", "counter",
                        "Requests that a limit has refused.",
                        REFUSED, count, count, number),
    ngx_http_llm_family("quota_reserved_total", "counter",
                        "Reserved by requests that have ended; cost: nano-USD.",
                        AMOUNTS, amounts, reserved, number),
    ngx_http_llm_family("quota_settled_total", "counter",
                        "What they have used of it.",
                        AMOUNTS, amounts, settled, number),
    ngx_http_llm_family("quota_alerts_total", "counter",
                        "Times a part of a budget was found spent.",
                        ALERTS, count, count, number),
    ngx_http_llm_family("cache_total", "counter",
                        "What the cache was to requests.",
                        CACHE, count, count, number),
    ngx_http_llm_family("cache_refused_total", "counter",
                        "Answers that were not stored, and why.",
                        UNCACHED, count, count, number),
    { NULL, NULL, NULL, 0, 0, NULL }
};


/* of each provider there is, read when they are asked for */

static const ngx_http_llm_gauge_t  ngx_http_llm_gauges[] = {
    { "nginx_llm_provider_inflight", "gauge", "Attempts that run now.",
      ngx_http_llm_metrics_inflight },
    { "nginx_llm_provider_state", "gauge",
      "1 up, 0.5 probing, 0 cooling or drained.",
      ngx_http_llm_metrics_state },
    { "nginx_llm_provider_cooldowns_total", "counter",
      "Times it, or a key of it, was told to rest.",
      ngx_http_llm_metrics_cooldowns },
    { "nginx_llm_provider_breaker_opens_total", "counter",
      "Times it had failed too often.",
      ngx_http_llm_metrics_opens },
    { "nginx_llm_provider_ttft_ewma_seconds", "gauge",
      "Time to the first event of a stream, averaged.",
      ngx_http_llm_metrics_ttft },
    { NULL, NULL, NULL, NULL }
};


/* by kind of series, in the order of their values */

static const char  *ngx_http_llm_metrics_labels[NGX_LLM_SERIES_KINDS][5] = {
    { "operation", "model", "provider", "status", NULL },
    { "model", "provider", NULL },
    { "provider", "outcome", NULL },
    { "provider", NULL },
    { "zone", "result", NULL },
    { "zone", "threshold", NULL },
    { "zone", "limit", NULL },
    { "zone", "limit", NULL },
    { "result", NULL },
    { "reason", NULL }
};


ngx_int_t
ngx_http_llm_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t                     rc;
    ngx_http_llm_metrics_page_t   page;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&page, sizeof(ngx_http_llm_metrics_page_t));

    page.pool = r->pool;
    page.last = &page.out;

    if (ngx_http_llm_metrics_write(r, &page) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_llm_metrics_send(r, &page);
}


static ngx_int_t
ngx_http_llm_metrics_write(ngx_http_request_t *r,
    ngx_http_llm_metrics_page_t *page)
{
    ngx_llm_series_t             *series;
    ngx_llm_metrics_t            *metrics;
    ngx_http_llm_main_conf_t     *lmcf;
    const ngx_http_llm_family_t  *family;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    metrics = lmcf->metrics;

    for (family = ngx_http_llm_families; family->name; family++) {

        if (ngx_http_llm_metrics_head(page, family->name, family->type,
                                      family->help)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        series = ngx_llm_metrics_next(metrics, family->kind, NULL);

        while (series) {

            if (family->write(page, family, series) != NGX_OK) {
                return NGX_ERROR;
            }

            series = ngx_llm_metrics_next(metrics, family->kind, series);
        }
    }

    if (ngx_http_llm_metrics_providers(lmcf, page) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lmcf->cache.store
        && ngx_http_llm_metrics_cache(lmcf->cache.store, page) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (lmcf->redis
        && ngx_http_llm_metrics_redis(lmcf->redis, page) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_metrics_dropped(page,
                                        ngx_llm_metrics_dropped(metrics));
}


static ngx_int_t
ngx_http_llm_metrics_providers(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_metrics_page_t *page)
{
    ngx_uint_t                   i;
    ngx_http_llm_provider_t    **provider;
    const ngx_http_llm_gauge_t  *gauge;

    provider = lmcf->providers.elts;

    for (gauge = ngx_http_llm_gauges; gauge->name; gauge++) {

        if (ngx_http_llm_metrics_head(page, gauge->name, gauge->type,
                                      gauge->help)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        for (i = 0; i < lmcf->providers.nelts; i++) {

            if (ngx_http_llm_metrics_room(page, NGX_HTTP_LLM_GAUGE_LINE
                                                + provider[i]->name.len)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            page->buf->last = ngx_sprintf(page->buf->last,
                                          "%s{provider=\"%V\"} ",
                                          gauge->name, &provider[i]->name);
            page->buf->last = gauge->value(page->buf->last, provider[i]);
            *page->buf->last++ = LF;
        }
    }

    return NGX_OK;
}


static u_char *
ngx_http_llm_metrics_inflight(u_char *p, ngx_http_llm_provider_t *provider)
{
    return ngx_sprintf(p, "%ui",
                       ngx_http_llm_provider_state_inflight(provider));
}


static u_char *
ngx_http_llm_metrics_state(u_char *p, ngx_http_llm_provider_t *provider)
{
    static const char  *values[] = { "1", "0.5", "0", "0" };

    return ngx_sprintf(p, "%s",
                       values[ngx_http_llm_provider_state(provider)]);
}


static u_char *
ngx_http_llm_metrics_cooldowns(u_char *p, ngx_http_llm_provider_t *provider)
{
    return ngx_sprintf(p, "%ui",
                       ngx_http_llm_provider_state_cooldowns(provider));
}


static u_char *
ngx_http_llm_metrics_opens(u_char *p, ngx_http_llm_provider_t *provider)
{
    return ngx_sprintf(p, "%ui", provider->health
                              ? ngx_llm_health_record_openings(provider->health)
                              : 0);
}


static u_char *
ngx_http_llm_metrics_ttft(u_char *p, ngx_http_llm_provider_t *provider)
{
    uint64_t  usec;

    usec = provider->health
           ? ngx_llm_health_record_measured(provider->health,
                                            NGX_LLM_HEALTH_TTFT)
           : 0;

    return ngx_sprintf(p, "%uL.%06uL", usec / 1000000, usec % 1000000);
}


/* the lines of one series: a single number */

static ngx_int_t
ngx_http_llm_metrics_number(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, ngx_llm_series_t *series)
{
    ngx_buf_t     *b;
    ngx_atomic_t  *cell;

    if (ngx_http_llm_metrics_begin(page, family, "", series) != NGX_OK) {
        return NGX_ERROR;
    }

    b = page->buf;
    cell = (ngx_atomic_t *) ((u_char *) series->cells + family->offset);

    /* the comma of the last label */
    b->last = ngx_sprintf(b->last - 1, "} %A\n", (ngx_atomic_int_t) *cell);

    return NGX_OK;
}


/* a number for each kind, once there were any tokens */

static ngx_int_t
ngx_http_llm_metrics_tokens(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, ngx_llm_series_t *series)
{
    ngx_buf_t     *b;
    ngx_uint_t     i;
    ngx_atomic_t  *cell;

    static const char  *kinds[] = {
        "prompt", "cached", "completion", "reasoning", NULL
    };

    cell = (ngx_atomic_t *) ((u_char *) series->cells + family->offset);

    if (cell[0] + cell[1] + cell[2] + cell[3] == 0) {
        return NGX_OK;
    }

    for (i = 0; kinds[i]; i++) {

        if (ngx_http_llm_metrics_begin(page, family, "", series) != NGX_OK) {
            return NGX_ERROR;
        }

        b = page->buf;
        b->last = ngx_sprintf(b->last, "kind=\"%s\"} %uA\n", kinds[i],
                              cell[i]);
    }

    return NGX_OK;
}


/* Writes a cost in USD unless it is 0.  The counter wraps at its limit. */

static ngx_int_t
ngx_http_llm_metrics_cost(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, ngx_llm_series_t *series)
{
    int64_t     nano;
    ngx_buf_t  *b;

    nano = *(ngx_atomic_t *) ((u_char *) series->cells + family->offset)
           & INT64_MAX;

    if (nano == 0) {
        return NGX_OK;
    }

    if (ngx_http_llm_metrics_begin(page, family, "", series) != NGX_OK) {
        return NGX_ERROR;
    }

    b = page->buf;
    b->last = ngx_sprintf(b->last - 1, "} ");
    b->last = ngx_llm_price_print(b->last, nano);
    *b->last++ = LF;

    return NGX_OK;
}


/* a number that most will never see */

static ngx_int_t
ngx_http_llm_metrics_some(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, ngx_llm_series_t *series)
{
    ngx_atomic_t  *cell;

    cell = (ngx_atomic_t *) ((u_char *) series->cells + family->offset);

    return *cell ? ngx_http_llm_metrics_number(page, family, series) : NGX_OK;
}


/* buckets count upwards in the format; _count is what the last one says */

static ngx_int_t
ngx_http_llm_metrics_histogram(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, ngx_llm_series_t *series)
{
    ngx_buf_t            *b;
    ngx_msec_t            sum;
    ngx_uint_t            i, count;
    ngx_llm_histogram_t  *histogram;

    histogram = (ngx_llm_histogram_t *)
                    ((u_char *) series->cells + family->offset);

    sum = histogram->sum;
    count = 0;

    for (i = 0; i <= NGX_LLM_METRICS_BOUNDS; i++) {

        if (ngx_http_llm_metrics_begin(page, family, "_bucket", series)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        b = page->buf;
        count += histogram->counts[i];

        if (i == NGX_LLM_METRICS_BOUNDS) {
            b->last = ngx_sprintf(b->last, "le=\"+Inf\"} %ui\n", count);
            break;
        }

        b->last = ngx_http_llm_metrics_bound(b->last,
                                             ngx_llm_metrics_bounds[i]);
        b->last = ngx_sprintf(b->last, "\"} %ui\n", count);
    }

    if (ngx_http_llm_metrics_begin(page, family, "_sum", series) != NGX_OK) {
        return NGX_ERROR;
    }

    b = page->buf;
    b->last = ngx_sprintf(b->last - 1, "} %M.%03M\n", sum / 1000, sum % 1000);

    if (ngx_http_llm_metrics_begin(page, family, "_count", series)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    b = page->buf;
    b->last = ngx_sprintf(b->last - 1, "} %ui\n", count);

    return NGX_OK;
}


/* in seconds, without zeros at its end */

static u_char *
ngx_http_llm_metrics_bound(u_char *p, ngx_msec_t bound)
{
    p = ngx_sprintf(p, "le=\"%M.%03M", bound / 1000, bound % 1000);

    while (p[-1] == '0') {
        p--;
    }

    return (p[-1] == '.') ? p - 1 : p;
}


/* as this worker sees it; the others have connections of their own */

static ngx_int_t
ngx_http_llm_metrics_cache(ngx_llm_cache_t *cache,
    ngx_http_llm_metrics_page_t *page)
{
    ngx_llm_cache_state_t  state;

    ngx_llm_cache_state(cache, &state);

    if (ngx_http_llm_metrics_head(page, "nginx_llm_cache_saved_tokens_total",
                                  "counter", "Tokens of answers replayed.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    page->buf->last = ngx_sprintf(page->buf->last,
                                  "nginx_llm_cache_saved_tokens_total %uA\n",
                                  state.tokens);

    if (ngx_http_llm_metrics_head(page, "nginx_llm_cache_saved_usd_total",
                                  "counter", "What they had cost.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    page->buf->last = ngx_sprintf(page->buf->last,
                                  "nginx_llm_cache_saved_usd_total ");
    page->buf->last = ngx_llm_price_print(page->buf->last, state.cost);
    *page->buf->last++ = LF;

    if (ngx_http_llm_metrics_head(page, "nginx_llm_cache_bytes", "gauge",
                                  "Bytes of cached answers.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    page->buf->last = ngx_sprintf(page->buf->last,
                                  "nginx_llm_cache_bytes %uA\n",
                                  state.bytes);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_metrics_redis(ngx_llm_redis_t *redis,
    ngx_http_llm_metrics_page_t *page)
{
    ngx_llm_redis_state_t  state;

    static const char  *name = "nginx_llm_redis_up";
    static const char  *latency = "nginx_llm_redis_latency_seconds";

    if (ngx_http_llm_metrics_head(page, name, "gauge",
                                  "1 if Redis answers this worker.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_llm_redis_state(redis, &state);

    page->buf->last = ngx_sprintf(page->buf->last, "%s %d\n", name,
                                  (int) state.up);

    if (ngx_http_llm_metrics_head(page, latency, "gauge",
                                  "Time to its answers, averaged.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    page->buf->last = ngx_sprintf(page->buf->last, "%s %uL.%06uL\n", latency,
                                  state.latency / 1000000,
                                  state.latency % 1000000);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_metrics_dropped(ngx_http_llm_metrics_page_t *page,
    ngx_atomic_uint_t dropped)
{
    static const char  *name = "nginx_llm_metrics_dropped_total";

    if (ngx_http_llm_metrics_head(page, name, "counter",
                                  "Samples that llm_zone had no room for.")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    page->buf->last = ngx_sprintf(page->buf->last, "%s %uA\n", name, dropped);

    return NGX_OK;
}


/* leaves room for a line without labels behind it */

static ngx_int_t
ngx_http_llm_metrics_head(ngx_http_llm_metrics_page_t *page, const char *name,
    const char *type, const char *help)
{
    ngx_buf_t  *b;

    if (ngx_http_llm_metrics_room(page, 2 * NGX_HTTP_LLM_METRICS_LINE)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    b = page->buf;
    b->last = ngx_sprintf(b->last, "# HELP %s %s\n# TYPE %s %s\n", name, help,
                          name, type);

    return NGX_OK;
}


/* NAME{label="value",...,label="value", with room for the rest of the line */

static ngx_int_t
ngx_http_llm_metrics_begin(ngx_http_llm_metrics_page_t *page,
    const ngx_http_llm_family_t *family, const char *suffix,
    ngx_llm_series_t *series)
{
    u_char       *p, *value;
    const char  **label;

    if (ngx_http_llm_metrics_room(page, NGX_HTTP_LLM_METRICS_LINE
                                        + 2 * series->len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_sprintf(page->buf->last, "%s%s{", family->name, suffix);

    value = series->labels;

    for (label = ngx_http_llm_metrics_labels[series->kind]; *label; label++) {
        p = ngx_sprintf(p, "%s=\"", *label);
        p = ngx_http_llm_metrics_escape(p, value);
        *p++ = '"';
        *p++ = ',';

        value += ngx_strlen(value) + 1;
    }

    page->buf->last = p;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_metrics_room(ngx_http_llm_metrics_page_t *page, size_t len)
{
    ngx_chain_t  *cl;

    if (page->buf && (size_t) (page->buf->end - page->buf->last) >= len) {
        return NGX_OK;
    }

    if (page->buf) {
        page->size += page->buf->last - page->buf->pos;
    }

    cl = ngx_alloc_chain_link(page->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = ngx_create_temp_buf(page->pool,
                                  ngx_max(len, NGX_HTTP_LLM_METRICS_PAGE));
    if (cl->buf == NULL) {
        return NGX_ERROR;
    }

    cl->next = NULL;

    *page->last = cl;
    page->last = &cl->next;
    page->buf = cl->buf;

    return NGX_OK;
}


/* at most twice as long */

static u_char *
ngx_http_llm_metrics_escape(u_char *p, u_char *value)
{
    for ( /* void */ ; *value; value++) {

        switch (*value) {

        case '\n':
            *p++ = '\\';
            *p++ = 'n';
            break;

        case '\\':
        case '"':
            *p++ = '\\';
            *p++ = *value;
            break;

        default:
            *p++ = *value;
        }
    }

    return p;
}


static ngx_int_t
ngx_http_llm_metrics_send(ngx_http_request_t *r,
    ngx_http_llm_metrics_page_t *page)
{
    ngx_int_t  rc;

    ngx_str_set(&r->headers_out.content_type, "text/plain; version=0.0.4");
    r->headers_out.content_type_len = sizeof("text/plain") - 1;
    r->headers_out.content_type_lowcase = NULL;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = page->size + (page->buf->last
                                                    - page->buf->pos);

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    page->buf->last_buf = (r == r->main);
    page->buf->last_in_chain = 1;

    return ngx_http_output_filter(r, page->out);
}
