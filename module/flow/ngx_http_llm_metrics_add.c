/*
 * What a client request that has ended adds to the metrics: one sample, and
 * one for each of its attempts.  Called once for each charge, when it is
 * settled.  Every label is a word of the configuration or of the tables here,
 * never the client's or the provider's: the number of series is bounded.
 */


#include <ngx_http_llm_flow.h>


static void ngx_http_llm_metrics_add_tokens(ngx_llm_sample_t *sample,
    ngx_http_llm_charge_t *charge);
static void ngx_http_llm_metrics_add_cache(ngx_http_request_t *r,
    ngx_llm_metrics_t *metrics, ngx_http_llm_cache_charge_t *cache);
static void ngx_http_llm_metrics_add_class(ngx_uint_t status, ngx_str_t *label);
static void ngx_http_llm_metrics_add_outcome(ngx_http_llm_attempt_t *attempt,
    ngx_str_t *label);


#define ngx_http_llm_metrics_add_code(code)  { code, ngx_string(#code) }


/* answers that tell an operator something by themselves */

static const struct {
    ngx_uint_t   code;
    ngx_str_t    label;
} ngx_http_llm_metrics_add_codes[] = {
    ngx_http_llm_metrics_add_code(200),
    ngx_http_llm_metrics_add_code(400),
    ngx_http_llm_metrics_add_code(401),
    ngx_http_llm_metrics_add_code(402),
    ngx_http_llm_metrics_add_code(403),
    ngx_http_llm_metrics_add_code(404),
    ngx_http_llm_metrics_add_code(408),
    ngx_http_llm_metrics_add_code(409),
    ngx_http_llm_metrics_add_code(413),
    ngx_http_llm_metrics_add_code(422),
    ngx_http_llm_metrics_add_code(429),
    ngx_http_llm_metrics_add_code(500),
    ngx_http_llm_metrics_add_code(502),
    ngx_http_llm_metrics_add_code(503),
    ngx_http_llm_metrics_add_code(504),
    ngx_http_llm_metrics_add_code(529),
    { 0, ngx_null_string }
};


void
ngx_http_llm_metrics_add(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_str_t                  outcome;
    ngx_uint_t                 i;
    ngx_llm_sample_t           sample;
    ngx_http_llm_usage_e       usage;
    ngx_http_llm_attempt_t    *attempt;
    ngx_http_llm_main_conf_t  *lmcf;

    static ngx_str_t  other = ngx_string("other");
    static ngx_str_t  none = ngx_string("none");

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    if (lmcf->metrics == NULL) {
        return;
    }

    sample.operation = charge->operation ? charge->operation->name : other;
    sample.model = charge->model ? charge->model->pattern : other;
    sample.provider = none;

    attempt = charge->attempts.elts;

    for (i = 0; i < charge->attempts.nelts; i++) {
        sample.provider = attempt[i].provider->name;

        ngx_http_llm_metrics_add_outcome(&attempt[i], &outcome);
        ngx_llm_metrics_add(lmcf->metrics, NGX_LLM_SERIES_ATTEMPTS,
                            &sample.provider, &outcome, r->connection->log);
    }

    /* as $status has it */
    ngx_http_llm_metrics_add_class(r->err_status ? r->err_status
                                           : r->headers_out.status,
                                   &sample.status);

    ngx_http_llm_metrics_add_tokens(&sample, charge);

    usage = ngx_http_llm_cost_usage(charge);

    sample.duration = ngx_current_msec - charge->start;
    sample.ttft = charge->ttft;
    sample.timed = charge->timed;
    sample.unknown = (usage == NGX_HTTP_LLM_USAGE_UNKNOWN);
    sample.cost = ngx_http_llm_cost(charge);

    /* under llm_meter alone the model is unknown and can have no price */

    sample.unpriced = (lmcf->priced
                       && sample.cost == NGX_LLM_PRICE_UNKNOWN
                       && usage == NGX_HTTP_LLM_USAGE_PROVIDER
                       && (charge->requested.len || charge->attempts.nelts));

    ngx_llm_metrics_request(lmcf->metrics, &sample, r->connection->log);

    ngx_http_llm_metrics_add_cache(r, lmcf->metrics, &charge->cache);
}


static void
ngx_http_llm_metrics_add_cache(ngx_http_request_t *r,
    ngx_llm_metrics_t *metrics, ngx_http_llm_cache_charge_t *cache)
{
    ngx_str_t   reason;
    ngx_log_t  *log;

    static ngx_str_t  stored = ngx_string("stored");
    static ngx_str_t  refused = ngx_string("refused");

    static ngx_str_t  results[] = {
        ngx_null_string,
        ngx_string("hit"),
        ngx_string("miss"),
        ngx_string("bypass"),
        ngx_string("stale"),
        ngx_string("expired")
    };

    log = r->connection->log;

    if (cache->status == NGX_HTTP_LLM_CACHE_NONE) {
        return;
    }

    ngx_llm_metrics_add(metrics, NGX_LLM_SERIES_CACHE,
                        &results[cache->status], NULL, log);

    if (cache->stored) {
        ngx_llm_metrics_add(metrics, NGX_LLM_SERIES_CACHE, &stored, NULL,
                            log);
    }

    if (cache->refused) {
        reason.data = (u_char *) cache->refused;
        reason.len = ngx_strlen(cache->refused);

        ngx_llm_metrics_add(metrics, NGX_LLM_SERIES_CACHE, &refused, NULL,
                            log);
        ngx_llm_metrics_add(metrics, NGX_LLM_SERIES_UNCACHED, &reason, NULL,
                            log);
    }
}


static void
ngx_http_llm_metrics_add_tokens(ngx_llm_sample_t *sample,
    ngx_http_llm_charge_t *charge)
{
    ngx_llm_usage_t  *usage;

    if (charge->cache.replayed || charge->answer == NULL
        || !charge->answer->usage_seen)
    {
        ngx_memzero(sample->tokens, sizeof(sample->tokens));
        return;
    }

    usage = &charge->answer->usage;

    sample->tokens[0] = usage->prompt;
    sample->tokens[1] = usage->cached;
    sample->tokens[2] = usage->completion;
    sample->tokens[3] = usage->reasoning;
}


static void
ngx_http_llm_metrics_add_class(ngx_uint_t status, ngx_str_t *label)
{
    static ngx_str_t  classes[] = {
        ngx_string("other"),
        ngx_string("1xx"),
        ngx_string("2xx"),
        ngx_string("3xx"),
        ngx_string("4xx"),
        ngx_string("5xx")
    };

    status /= 100;

    *label = classes[status < 6 ? status : 0];
}


/* as $llm_attempts, its status a well-known one or a class */

static void
ngx_http_llm_metrics_add_outcome(ngx_http_llm_attempt_t *attempt,
    ngx_str_t *label)
{
    ngx_uint_t  i;

    if (attempt->outcome.len) {
        *label = attempt->outcome;
        return;
    }

    if (attempt->status == 0) {

        /* the client went first */

        ngx_str_set(label, "none");
        return;
    }

    for (i = 0; ngx_http_llm_metrics_add_codes[i].code; i++) {

        if (ngx_http_llm_metrics_add_codes[i].code == attempt->status) {
            *label = ngx_http_llm_metrics_add_codes[i].label;
            return;
        }
    }

    ngx_http_llm_metrics_add_class(attempt->status, label);
}
