/*
 * Counters and histograms of all workers, in the state zone.
 *
 * Series hang in a hash that only grows: a new one is written whole, then
 * published at the head of its chain, so readers need no lock.  What changes
 * afterwards are the numbers, by atomic additions; they are integers, times
 * are milliseconds.  One request touches a handful of series, so numbers that
 * have the same labels share one.
 */


#include <ngx_llm_metrics.h>


#define NGX_LLM_METRICS_KEY      1024  /* bytes of labels, NULs included */
#define NGX_LLM_METRICS_BUCKETS  240   /* of the hash: fits a slab of 2048 */

#define ngx_llm_metrics_load(p)      __atomic_load_n(&(p), __ATOMIC_ACQUIRE)
#define ngx_llm_metrics_publish(p, series)                                    \
    __atomic_store_n(&(p), series, __ATOMIC_RELEASE)


struct ngx_llm_metrics_sh_s {
    ngx_atomic_t       dropped;      /* samples */
    ngx_atomic_t       full;         /* when it was last seen, seconds */
    ngx_llm_series_t  *newest[NGX_LLM_SERIES_KINDS];
    ngx_llm_series_t  *buckets[NGX_LLM_METRICS_BUCKETS];
};


static ngx_int_t ngx_llm_metrics_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static void ngx_llm_metrics_time(ngx_llm_histogram_t *histogram,
    ngx_msec_t time);
static void *ngx_llm_metrics_cells(ngx_llm_metrics_t *metrics,
    ngx_llm_series_e kind, ngx_str_t **labels, ngx_log_t *log);
static ngx_llm_series_t *ngx_llm_metrics_find(ngx_llm_metrics_sh_t *sh,
    ngx_llm_series_e kind, u_char *key, size_t len, uint32_t hash);
static ngx_llm_series_t *ngx_llm_metrics_make(ngx_llm_metrics_t *metrics,
    ngx_llm_series_e kind, u_char *key, size_t len, uint32_t hash,
    ngx_log_t *log);
static ngx_llm_series_t *ngx_llm_metrics_alloc(ngx_llm_metrics_t *metrics,
    ngx_llm_series_e kind, u_char *key, size_t len, uint32_t hash);


const ngx_msec_t  ngx_llm_metrics_bounds[NGX_LLM_METRICS_BOUNDS] = {
    25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000, 120000,
    300000
};


static const size_t  ngx_llm_metrics_sizes[NGX_LLM_SERIES_KINDS] = {
    sizeof(ngx_llm_series_count_t),
    sizeof(ngx_llm_series_answers_t),
    sizeof(ngx_llm_series_count_t),
    sizeof(ngx_llm_series_providers_t),
    sizeof(ngx_llm_series_count_t),
    sizeof(ngx_llm_series_count_t),
    sizeof(ngx_llm_series_amounts_t),
    sizeof(ngx_llm_series_count_t),
    sizeof(ngx_llm_series_count_t),
    sizeof(ngx_llm_series_count_t)
};


ngx_llm_metrics_t *
ngx_llm_metrics_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_llm_metrics_t  *metrics;

    metrics = ngx_pcalloc(cf->pool, sizeof(ngx_llm_metrics_t));
    if (metrics == NULL) {
        return NULL;
    }

    metrics->zone = zone;

    if (ngx_llm_zone_use(zone, NGX_LLM_ZONE_METRICS, ngx_llm_metrics_init,
                         metrics)
        != NGX_OK)
    {
        return NULL;
    }

    return metrics;
}


static ngx_int_t
ngx_llm_metrics_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_metrics_t  *metrics = data;

    if (*root == NULL) {

        *root = ngx_slab_calloc(zone->pool, sizeof(ngx_llm_metrics_sh_t));
        if (*root == NULL) {
            return NGX_ERROR;
        }
    }

    metrics->sh = *root;

    return NGX_OK;
}


void
ngx_llm_metrics_request(ngx_llm_metrics_t *metrics, ngx_llm_sample_t *sample,
    ngx_log_t *log)
{
    ngx_uint_t                   i;
    ngx_llm_series_count_t      *requests;
    ngx_llm_series_answers_t    *answers;
    ngx_llm_series_providers_t  *providers;

    ngx_str_t  *labels[] = { &sample->operation, &sample->model,
                             &sample->provider, &sample->status, NULL };
    ngx_str_t  *pair[] = { &sample->model, &sample->provider, NULL };
    ngx_str_t  *single[] = { &sample->provider, NULL };

    requests = ngx_llm_metrics_cells(metrics, NGX_LLM_SERIES_REQUESTS, labels,
                                     log);
    if (requests) {
        (void) ngx_atomic_fetch_add(&requests->count, 1);
    }

    answers = ngx_llm_metrics_cells(metrics, NGX_LLM_SERIES_ANSWERS, pair,
                                    log);
    if (answers) {

        for (i = 0; i < 4; i++) {
            if (sample->tokens[i] > 0) {
                (void) ngx_atomic_fetch_add(&answers->tokens[i],
                                            sample->tokens[i]);
            }
        }

        if (sample->cost > 0) {
            (void) ngx_atomic_fetch_add(&answers->cost, sample->cost);
        }

        if (sample->unpriced) {
            (void) ngx_atomic_fetch_add(&answers->unpriced, 1);
        }

        ngx_llm_metrics_time(&answers->duration, sample->duration);

        if (sample->timed) {
            ngx_llm_metrics_time(&answers->ttft, sample->ttft);
        }
    }

    if (!sample->unknown) {
        return;
    }

    providers = ngx_llm_metrics_cells(metrics, NGX_LLM_SERIES_PROVIDERS,
                                      single, log);
    if (providers) {
        (void) ngx_atomic_fetch_add(&providers->unknown, 1);
    }
}


static void
ngx_llm_metrics_time(ngx_llm_histogram_t *histogram, ngx_msec_t time)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_LLM_METRICS_BOUNDS; i++) {
        if (time <= ngx_llm_metrics_bounds[i]) {
            break;
        }
    }

    (void) ngx_atomic_fetch_add(&histogram->counts[i], 1);
    (void) ngx_atomic_fetch_add(&histogram->sum, time);
}


void
ngx_llm_metrics_add(ngx_llm_metrics_t *metrics, ngx_llm_series_e kind,
    ngx_str_t *first, ngx_str_t *second, ngx_log_t *log)
{
    ngx_llm_series_count_t  *series;

    ngx_str_t  *labels[] = { first, second, NULL };

    series = ngx_llm_metrics_cells(metrics, kind, labels, log);

    if (series) {
        (void) ngx_atomic_fetch_add(&series->count, 1);
    }
}


void
ngx_llm_metrics_amounts(ngx_llm_metrics_t *metrics, ngx_str_t *zone,
    ngx_str_t *limit, int64_t reserved, int64_t settled, ngx_log_t *log)
{
    ngx_llm_series_amounts_t  *amounts;

    ngx_str_t  *labels[] = { zone, limit, NULL };

    amounts = ngx_llm_metrics_cells(metrics, NGX_LLM_SERIES_AMOUNTS, labels,
                                    log);
    if (amounts) {
        (void) ngx_atomic_fetch_add(&amounts->reserved, reserved);
        (void) ngx_atomic_fetch_add(&amounts->settled, settled);
    }
}


ngx_llm_series_t *
ngx_llm_metrics_next(ngx_llm_metrics_t *metrics, ngx_llm_series_e kind,
    ngx_llm_series_t *before)
{
    return before ? before->older
                  : ngx_llm_metrics_load(metrics->sh->newest[kind]);
}


ngx_atomic_uint_t
ngx_llm_metrics_dropped(ngx_llm_metrics_t *metrics)
{
    return metrics->sh->dropped;
}


/* the numbers under these labels; NULL: no room, the sample is dropped */

static void *
ngx_llm_metrics_cells(ngx_llm_metrics_t *metrics, ngx_llm_series_e kind,
    ngx_str_t **labels, ngx_log_t *log)
{
    u_char            *p, key[NGX_LLM_METRICS_KEY];
    uint32_t           hash;
    ngx_llm_series_t  *series;

    series = NULL;

    for (p = key; *labels; labels++) {

        if ((*labels)->len >= (size_t) (key + NGX_LLM_METRICS_KEY - p)) {
            goto dropped;
        }

        p = ngx_cpymem(p, (*labels)->data, (*labels)->len);
        *p++ = '\0';
    }

    hash = ngx_murmur_hash2(key, p - key) + kind;

    series = ngx_llm_metrics_find(metrics->sh, kind, key, p - key, hash);

    if (series == NULL) {
        series = ngx_llm_metrics_make(metrics, kind, key, p - key, hash, log);
    }

dropped:

    if (series == NULL) {
        (void) ngx_atomic_fetch_add(&metrics->sh->dropped, 1);
        return NULL;
    }

    return series->cells;
}


static ngx_llm_series_t *
ngx_llm_metrics_find(ngx_llm_metrics_sh_t *sh, ngx_llm_series_e kind,
    u_char *key, size_t len, uint32_t hash)
{
    ngx_llm_series_t  *series;

    series = ngx_llm_metrics_load(sh->buckets[hash % NGX_LLM_METRICS_BUCKETS]);

    for ( /* void */ ; series; series = series->next) {

        if (series->hash == hash && series->kind == kind
            && series->len == len
            && ngx_memcmp(series->labels, key, len) == 0)
        {
            return series;
        }
    }

    return NULL;
}


/* a full zone is tried again in the next second, not for every sample */

static ngx_llm_series_t *
ngx_llm_metrics_make(ngx_llm_metrics_t *metrics, ngx_llm_series_e kind,
    u_char *key, size_t len, uint32_t hash, ngx_log_t *log)
{
    time_t             full;
    ngx_slab_pool_t   *pool;
    ngx_llm_series_t  *series;

    pool = metrics->zone->pool;
    full = metrics->sh->full;

    if (full == ngx_time()) {
        return NULL;
    }

    ngx_shmtx_lock(&pool->mutex);

    series = ngx_llm_metrics_find(metrics->sh, kind, key, len, hash);

    if (series == NULL) {
        series = ngx_llm_metrics_alloc(metrics, kind, key, len, hash);
    }

    full = metrics->sh->full;

    if (series == NULL) {
        metrics->sh->full = ngx_time();
    }

    ngx_shmtx_unlock(&pool->mutex);

    if (series == NULL && full == 0) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "llm_zone is full, samples of metrics are dropped");
    }

    return series;
}


/* with the mutex held */

static ngx_llm_series_t *
ngx_llm_metrics_alloc(ngx_llm_metrics_t *metrics, ngx_llm_series_e kind,
    u_char *key, size_t len, uint32_t hash)
{
    ngx_llm_series_t      *series, **bucket;
    ngx_llm_metrics_sh_t  *sh;

    series = ngx_slab_calloc_locked(metrics->zone->pool,
                                    sizeof(ngx_llm_series_t)
                                    + ngx_llm_metrics_sizes[kind] + len);
    if (series == NULL) {
        return NULL;
    }

    sh = metrics->sh;
    bucket = &sh->buckets[hash % NGX_LLM_METRICS_BUCKETS];

    series->next = *bucket;
    series->older = sh->newest[kind];
    series->cells = series + 1;
    series->labels = (u_char *) series->cells + ngx_llm_metrics_sizes[kind];
    series->hash = hash;
    series->kind = kind;
    series->len = len;

    ngx_memcpy(series->labels, key, len);

    ngx_llm_metrics_publish(*bucket, series);
    ngx_llm_metrics_publish(sh->newest[kind], series);

    return series;
}
