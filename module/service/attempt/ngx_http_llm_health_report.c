/*
 * What the end of an attempt means for the health of its provider, key and
 * target: a table of the kinds of failure.  A request that is wrong itself
 * says nothing about anybody.
 */


#include <ngx_http_llm_attempt.h>
#include <ngx_http_llm_list.h>


static void ngx_http_llm_health_report_succeeded(
    ngx_http_llm_attempt_t *attempt);
static void ngx_http_llm_health_report_kind(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt, ngx_llm_error_class_e error_class);
static ngx_llm_error_class_e ngx_http_llm_health_report_class(
    ngx_uint_t failure);
static void ngx_http_llm_health_report_rate(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_attempt_t *attempt);
static void ngx_http_llm_health_report_overload(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_attempt_t *attempt);
static void ngx_http_llm_health_report_not_found(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_attempt_t *attempt);
static void ngx_http_llm_health_report_alive(ngx_http_llm_attempt_t *attempt);
static ngx_msec_int_t ngx_http_llm_health_report_hint(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_msec_int_t ngx_http_llm_health_report_header(ngx_http_request_t *r,
    const char *name, size_t len, ngx_msec_int_t unit);


void
ngx_http_llm_health_report_answered(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt)
{
    ngx_msec_t           now;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    now = ngx_current_msec;

    if (ctx->response.status.code >= NGX_HTTP_BAD_REQUEST
        || ctx->judge.substitute.data)
    {
        /* an error that is passed */

        ngx_http_llm_health_report_kind(r, attempt,
            ctx->judge.error_class
            ? ctx->judge.error_class
            : ngx_http_llm_health_report_class(ctx->judge.verdict));
        return;
    }

    if (ctx->judge.unproven) {

        /* the end of the stream shows whether it is an answer */

        return;
    }

    ngx_http_llm_health_report_succeeded(attempt);

    if (ctx->response.stream) {
        ngx_llm_health_record_sample(attempt->target->health,
                                     NGX_LLM_HEALTH_TTFT,
                                     (now - attempt->start) * 1000, now);
        ngx_llm_health_record_sample(attempt->provider->health,
                                     NGX_LLM_HEALTH_TTFT,
                                     (now - attempt->start) * 1000, now);
    }
}


void
ngx_http_llm_health_report_failed(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt)
{
    ngx_llm_error_class_e  error_class;
    ngx_http_llm_ctx_t    *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    error_class = ctx->judge.error_class;

    if (error_class == NGX_LLM_ERROR_CLASS_NOBODY) {
        error_class = ngx_http_llm_health_report_class(attempt->failure);
    }

    if (attempt->failure == NGX_HTTP_LLM_NEXT_TIMEOUT
        && ctx->charge->facts.stream)
    {
        /* as long as that, at least */

        ngx_llm_health_record_sample(attempt->target->health,
                                     NGX_LLM_HEALTH_TTFT,
                                     (ngx_current_msec - attempt->start) * 1000,
                                     ngx_current_msec);
    }

    ngx_http_llm_health_report_kind(r, attempt, error_class);
}


void
ngx_http_llm_health_report_ended(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt)
{
    int64_t              tokens;
    ngx_msec_t           now;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    now = ngx_current_msec;

    if (!ctx->charge->answered || ctx->relay.oversize) {
        return;
    }

    if (ctx->charge->bad_answer) {
        (void) ngx_llm_health_record_failed(attempt->provider->health, now);
        return;
    }

    if (ctx->charge->end == NGX_HTTP_LLM_END_TRUNCATED
        || ctx->charge->end == NGX_HTTP_LLM_END_ERROR)
    {
        (void) ngx_llm_health_record_failed(attempt->provider->health, now);
        return;
    }

    if (ctx->charge->end != NGX_HTTP_LLM_END_COMPLETE
        && ctx->charge->end != NGX_HTTP_LLM_END_DRAINED)
    {
        return;
    }

    if (ctx->judge.unproven) {
        ngx_http_llm_health_report_succeeded(attempt);
    }

    if (ctx->response.stream) {
        return;
    }

    tokens = 1;

    if (ctx->charge->operation->usage) {

        if (ctx->charge->answer == NULL || !ctx->charge->answer->usage_seen) {
            return;
        }

        tokens = ctx->charge->answer->usage.completion;
        tokens = ngx_max(tokens, 1);
    }

    ngx_llm_health_record_sample(attempt->target->health, NGX_LLM_HEALTH_PACE,
                                 (now - attempt->start) * 1000 / tokens, now);
}


static void
ngx_http_llm_health_report_succeeded(ngx_http_llm_attempt_t *attempt)
{
    ngx_llm_health_record_succeeded(attempt->provider->health,
                                    ngx_current_msec);
    ngx_llm_health_record_succeeded(attempt->target->health, ngx_current_msec);
    ngx_llm_health_record_succeeded(attempt->credential->health,
                                    ngx_current_msec);
}


static void
ngx_http_llm_health_report_kind(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt, ngx_llm_error_class_e error_class)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    switch (error_class) {

    case NGX_LLM_ERROR_CLASS_CREDENTIAL:
    case NGX_LLM_ERROR_CLASS_QUOTA:
        ngx_http_llm_health_report_alive(attempt);
        ngx_llm_health_record_mark(attempt->credential->health,
                                   ngx_current_msec);

        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "key %ui of llm_provider \"%V\" was refused, it is "
                      "left alone for a minute",
                      (ngx_uint_t) (attempt->credential
                                    - (ngx_http_llm_credential_t *)
                                      attempt->provider->credentials.elts),
                      &attempt->provider->name);
        break;

    case NGX_LLM_ERROR_CLASS_NOT_FOUND:
        ngx_http_llm_health_report_alive(attempt);
        ngx_http_llm_health_report_not_found(ctx, attempt);
        break;

    case NGX_LLM_ERROR_CLASS_RATE:
        ngx_http_llm_health_report_rate(r, ctx, attempt);
        break;

    case NGX_LLM_ERROR_CLASS_OVERLOAD:
    case NGX_LLM_ERROR_CLASS_TIMEOUT:
        ngx_http_llm_health_report_overload(r, ctx, attempt);
        break;

    default:
        ngx_http_llm_health_report_alive(attempt);
    }
}


/* where the body has said nothing */

static ngx_llm_error_class_e
ngx_http_llm_health_report_class(ngx_uint_t failure)
{
    switch (failure) {

    case NGX_HTTP_LLM_NEXT_CREDENTIAL:
        return NGX_LLM_ERROR_CLASS_CREDENTIAL;

    case NGX_HTTP_LLM_NEXT_NOT_FOUND:
        return NGX_LLM_ERROR_CLASS_NOT_FOUND;

    case NGX_HTTP_LLM_NEXT_429:
        return NGX_LLM_ERROR_CLASS_RATE;

    case NGX_HTTP_LLM_NEXT_OTHER:
        return NGX_LLM_ERROR_CLASS_REQUEST;

    case NGX_HTTP_LLM_NEXT_TIMEOUT:
    case NGX_HTTP_LLM_NEXT_408:
        return NGX_LLM_ERROR_CLASS_TIMEOUT;

    default:
        return NGX_LLM_ERROR_CLASS_OVERLOAD;
    }
}


/* of several keys only this one has to wait */

static void
ngx_http_llm_health_report_rate(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_attempt_t *attempt)
{
    ngx_msec_int_t            hint;
    ngx_llm_health_record_t  *record;

    hint = ngx_http_llm_health_report_hint(r, ctx);
    record = (attempt->provider->credentials.nelts > 1)
             ? attempt->credential->health : attempt->provider->health;

    ngx_llm_health_record_cool(record, ngx_current_msec, hint);

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "llm_provider \"%V\" wants less: %s rests for %M ms",
                  &attempt->provider->name,
                  (attempt->provider->credentials.nelts > 1) ? "its key" : "it",
                  ngx_llm_health_record_left(record, ngx_current_msec));
}


static void
ngx_http_llm_health_report_overload(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_attempt_t *attempt)
{
    ngx_msec_int_t  hint;

    if (ngx_llm_health_record_failed(attempt->provider->health,
                                     ngx_current_msec))
    {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm_provider \"%V\" has failed too often, it is "
                      "probed every %d s from now on",
                      &attempt->provider->name,
                      (int) (NGX_LLM_HEALTH_PROBE / 1000));
    }

    if (ctx->response.status.code != NGX_HTTP_SERVICE_UNAVAILABLE
        && ctx->response.status.code != 529)
    {
        return;
    }

    hint = ngx_http_llm_health_report_hint(r, ctx);

    if (hint > 0) {
        ngx_llm_health_record_cool(attempt->provider->health, ngx_current_msec,
                                   hint);
    }
}


/*
 * A name that the client has chosen says nothing about the target, and neither
 * does an id of a response or a conversation that this provider does not have.
 */

static void
ngx_http_llm_health_report_not_found(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_attempt_t *attempt)
{
    ngx_http_llm_target_t  *target;

    target = attempt->target;

    if (!ctx->stateful && !target->wildcard
        && (target->model.len || ctx->charge->model->exact))
    {
        ngx_llm_health_record_mark(target->health, ngx_current_msec);
    }
}


/* whatever it said, it said something */

static void
ngx_http_llm_health_report_alive(ngx_http_llm_attempt_t *attempt)
{
    ngx_llm_health_record_succeeded(attempt->provider->health,
                                    ngx_current_msec);
}


/* milliseconds the provider wants to be left alone; -1: it does not say */

static ngx_msec_int_t
ngx_http_llm_health_report_hint(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_msec_int_t  hint;

    if (!ctx->response.parsed) {
        return -1;
    }

    hint = ngx_http_llm_health_report_header(r, "retry-after-ms",
                                             sizeof("retry-after-ms") - 1, 1);

    if (hint < 0) {
        hint = ngx_http_llm_health_report_header(r, "Retry-After",
                                                 sizeof("Retry-After") - 1,
                                                 1000);
    }

    return (hint < 0) ? (ngx_msec_int_t) ctx->judge.hint : hint;
}


/* a number of units, perhaps with a fraction, or a date */

static ngx_msec_int_t
ngx_http_llm_health_report_header(ngx_http_request_t *r, const char *name,
    size_t len, ngx_msec_int_t unit)
{
    time_t                  time;
    ngx_int_t               value;
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                     ngx_http_llm_list_start(&r->upstream->headers_in.headers);

    h = ngx_http_llm_list_find(&cursor, name, len);

    if (h == NULL || h->value.len == 0) {
        return -1;
    }

    value = ngx_atofp(h->value.data, h->value.len, 3);

    if (value != NGX_ERROR) {
        return ngx_min(value, NGX_LLM_HEALTH_COOL_MAX) * unit / 1000;
    }

    time = (unit == 1000) ? ngx_parse_http_time(h->value.data, h->value.len)
                          : NGX_ERROR;

    if (time == NGX_ERROR) {
        return -1;
    }

    time -= ngx_time();
    time = ngx_max(time, 0);
    time = ngx_min(time, NGX_LLM_HEALTH_COOL_MAX / 1000);

    return time * 1000;
}
