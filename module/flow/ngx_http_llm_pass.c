/*
 * The content handler of llm_pass: lists the models, and passes all other
 * requests to providers.  This file connects the parts of one attempt (dialect,
 * request, response, relay), decides which failures are retried with the next
 * candidate, and chooses the client's error if no candidate is left.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include "ngx_http_llm_flow_state.h"
#include "ngx_http_llm_finish.h"
#include <ngx_http_llm_attempt.h>
#include <ngx_http_llm_request.h>
#include <ngx_http_llm_endpoint.h>
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_response.h>
#include <ngx_http_llm_relay.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_http_llm_copy.h>


static void ngx_http_llm_pass_resume(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_start(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_nobody(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_fault(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_fault_e fault);
static ngx_int_t ngx_http_llm_pass_choose(ngx_http_request_t *r,
    ngx_uint_t same);
static ngx_int_t ngx_http_llm_pass_create(ngx_http_request_t *r);
static void ngx_http_llm_pass_drain(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_reinit(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_process_header(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_head(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_body(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_pass_quotes(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_pass_quoted(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_pass_filter_init(void *data);
static ngx_int_t ngx_http_llm_pass_filter(void *data, ssize_t bytes);
static void ngx_http_llm_pass_release(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_pass_span(ngx_http_request_t *r, u_char *pos,
    u_char *last);
static void ngx_http_llm_pass_attempted(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);
static ngx_uint_t ngx_http_llm_pass_judge(ngx_http_request_t *r,
    ngx_uint_t failure);
static ngx_uint_t ngx_http_llm_pass_over(ngx_http_request_t *r);
static ngx_uint_t ngx_http_llm_pass_next(ngx_http_request_t *r,
    ngx_uint_t failure);
static ngx_uint_t ngx_http_llm_pass_moves_on(ngx_http_request_t *r,
    ngx_uint_t failure);
static void ngx_http_llm_pass_finalize(ngx_http_request_t *r, ngx_int_t rc);
static void ngx_http_llm_pass_failed(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_int_t rc);


static const ngx_http_llm_exchange_t  ngx_http_llm_pass_exchange = {
    ngx_http_llm_pass_choose,
    ngx_http_llm_pass_create,
    ngx_http_llm_pass_reinit,
    ngx_http_llm_pass_process_header,
    ngx_http_llm_pass_filter_init,
    ngx_http_llm_pass_filter,
    ngx_http_llm_pass_finalize,
    ngx_http_llm_pass_attempted,
    ngx_http_llm_pass_judge,
    ngx_http_llm_pass_over,
    ngx_http_llm_pass_next,
    ngx_http_llm_condition
};


ngx_int_t
ngx_http_llm_pass_handler(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    if (!ngx_http_llm_is_client(r)) {
        rc = ngx_http_llm_admit_subrequest(r);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->charge->operation->methods & NGX_HTTP_GET) {
        return ngx_http_llm_models(r);
    }

    if (ngx_http_llm_peer_wait(r, ngx_http_llm_pass_resume) == NGX_AGAIN) {

        /* post_action goes on without the client */

        if (!r->post_action) {
            r->read_event_handler = ngx_http_test_reading;
        }

        r->main->count++;

        return NGX_DONE;
    }

    return ngx_http_llm_pass_start(r);
}


static void
ngx_http_llm_pass_resume(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_llm_pass_start(r));
}


static ngx_int_t
ngx_http_llm_pass_start(ngx_http_request_t *r)
{
    ngx_int_t                  rc;
    ngx_http_llm_ctx_t        *ctx;
    ngx_http_llm_main_conf_t  *lmcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ctx->charge->passes++;
    ngx_llm_health_earn(lmcf->health);

    if (ngx_http_llm_balance_next(r) != NGX_OK) {
        return ngx_http_llm_pass_nobody(r);
    }

    ngx_http_llm_ping_start(r);

    rc = ngx_http_llm_upstream_start(r, &ngx_http_llm_pass_exchange);

    if (rc != NGX_DONE) {
        ngx_http_llm_ping_done(r);
        ngx_http_llm_balance_release(r);
    }

    return rc;
}


/* drained, or as much in flight as there may be */

static ngx_int_t
ngx_http_llm_pass_nobody(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    /* it may have begun while the request waited for another one's answer */

    ngx_http_llm_ping_done(r);

    if (ngx_http_llm_stale_wanted(r, ctx, NGX_HTTP_SERVICE_UNAVAILABLE)) {
        return ngx_http_llm_stale_replay(r, ctx);
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "no provider of llm_model \"%V\" may be asked now",
                  &ctx->charge->model->pattern);

    return ngx_http_llm_pass_fault(r, ctx, NGX_HTTP_LLM_NO_PROVIDER);
}


/* Returns the status of a fault; after a ping an error event carries it. */

static ngx_int_t
ngx_http_llm_pass_fault(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_fault_e fault)
{
    ngx_int_t  rc;

    rc = ngx_http_llm_fault(&ctx->charge->error, fault, NULL, NULL);

    if (ctx->ping.sent
        && ngx_http_llm_error_body(r->pool, &ctx->charge->error, rc,
                                   &ctx->ping.error)
           != NGX_OK)
    {
        ngx_str_set(&ctx->ping.error, "{\"error\":{}}");
    }

    return rc;
}


static ngx_int_t
ngx_http_llm_pass_choose(ngx_http_request_t *r, ngx_uint_t same)
{
    if (same) {
        ngx_http_llm_balance_again(r);
        return NGX_OK;
    }

    return ngx_http_llm_balance_next(r);
}


/* Creates the request of one attempt for the chosen provider. */

static ngx_int_t
ngx_http_llm_pass_create(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t      *ctx;
    ngx_http_llm_call_t      call;
    ngx_http_llm_target_t   *target;
    ngx_http_llm_attempt_t  *attempt;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    target = ctx->upstream.target;

    attempt = ngx_http_llm_pass_attempt(ctx);

    call.credential = attempt->credential;
    call.operation = ctx->charge->operation->suffix;
    call.model = *ngx_http_llm_model_for(ctx, target);

    attempt->model = call.model;

    if (ngx_http_llm_splice(r, ctx, target->provider, &call) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_llm_timeouts_arm(r, ctx->upstream.tries > 1
                                 && !(ngx_http_llm_upstream_more(r)
                                      && ngx_http_llm_balance_more(r)));

    ngx_http_llm_drain_watch(r, ngx_http_llm_pass_drain);

    return ngx_http_llm_request_create(r, target->provider, &call, &ctx->view,
                                       &r->upstream->request_bufs);
}


/* the client is gone: the answer is read on, but not for ever */

static void
ngx_http_llm_pass_drain(ngx_http_request_t *r)
{
    ngx_http_llm_ping_done(r);
    ngx_http_llm_timeouts_drain(r);
}


/* before each attempt: nothing of the one before may colour it */

static ngx_int_t
ngx_http_llm_pass_reinit(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_memzero(&ctx->judge, sizeof(ngx_http_llm_judge_ctx_t));
    ngx_memzero(&ctx->relay, sizeof(ngx_http_llm_relay_ctx_t));

    ctx->charge->answer = NULL;
    ngx_str_null(&ctx->charge->upstream_request_id);

    ngx_http_llm_response_reinit(r);

    return NGX_OK;
}


/* NGX_OK is the point of no return: the header goes to the client */

static ngx_int_t
ngx_http_llm_pass_process_header(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_upstream_woken(r);

    rc = ctx->response.parsed ? NGX_OK : ngx_http_llm_pass_head(r);

    if (rc == NGX_OK) {
        rc = ngx_http_llm_pass_body(r, ctx);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->ping.sent
        && !(ctx->response.stream
             && (ctx->charge->answer == NULL
                 || ctx->charge->answer->kind == NGX_LLM_ANSWER_STREAM)))
    {

        /* a 200 and a comment are out: only events may follow */

        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       "no stream after a ping");
    }

    if (r->upstream->headers_in.status_n >= 400
        && ngx_http_llm_stale_wanted(r, ctx,
                                     r->upstream->headers_in.status_n))
    {
        return ngx_http_llm_judge_fail(r, ctx->judge.substitute.data
                                          ? NGX_HTTP_LLM_NEXT_BAD_ANSWER
                                          : ctx->judge.verdict, NULL);
    }

    ctx->upstream.committed = 1;
    ctx->charge->bad_answer = (ctx->judge.substitute.data != NULL);
    ngx_http_llm_timeouts_arm(r, 0);

    ngx_http_llm_health_report_answered(r, ngx_http_llm_pass_attempt(ctx));

    ngx_http_llm_state_made(r, ctx, r->upstream->buffer.pos,
                            ctx->framing.held);

    ngx_http_llm_cache_store_begin(r, ctx);

    if (ctx->response.json && ctx->framing.complete) {
        ngx_http_llm_cache_store_whole(r, ctx, r->upstream->buffer.pos,
                                       ctx->framing.held);
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->intercept_errors && !ctx->drain.active
        && r->upstream->headers_in.status_n >= 400)
    {
        r->upstream->conf = &ctx->upstream.target->provider->intercept;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_pass_head(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    rc = ngx_http_llm_response_read(r);

    if (rc == NGX_DECLINED) {
        ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       ctx->response.reason);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_llm_framing_init(r);

    return ngx_http_llm_judge_status(r);
}


/* Judges the held bytes of the body. */

static ngx_int_t
ngx_http_llm_pass_body(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_http_llm_loc_conf_t  *llcf;

    if (ngx_http_llm_framing_hold(r) != NGX_OK) {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       "an invalid chunk");
    }

    rc = ngx_http_llm_judge_body(r);

    if (rc == NGX_OK) {
        return ngx_http_llm_pass_quoted(r, ctx);
    }

    if (rc != NGX_AGAIN) {
        return rc;
    }

    rc = ngx_http_llm_response_room(r);

    if (rc == NGX_OK) {
        /* more is not kept */
        rc = ngx_http_llm_judge_full(r);

        return (rc == NGX_OK) ? ngx_http_llm_pass_quoted(r, ctx) : rc;
    }

    if (!ctx->judge.keeping) {

        if (ctx->framing.held && ctx->response.stream) {
            llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

            ngx_http_llm_timeouts_hold(r, llcf->hold_timeout,
                                       ngx_http_llm_pass_release);
        }

        return rc;
    }

    if (ngx_http_llm_pass_next(r, ctx->judge.verdict)) {
        ngx_http_llm_timeouts_keep(r);
    }

    return rc;
}


/* Returns 1 if the held body quotes the credential of the attempt. */

static ngx_uint_t
ngx_http_llm_pass_quotes(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char  *pos;

    pos = r->upstream->buffer.pos;

    return ctx->response.parsed
           && ngx_llm_quote_found(&ctx->quote, pos, pos + ctx->framing.held);
}


/* A response that quotes the credential is replaced, whatever its status. */

static ngx_int_t
ngx_http_llm_pass_quoted(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    if (!ngx_http_llm_pass_quotes(r, ctx)) {
        return NGX_OK;
    }

    return ngx_http_llm_judge_fail(r, (ctx->response.status.code < 300)
                                      ? NGX_HTTP_LLM_NEXT_BAD_ANSWER
                                      : ctx->judge.verdict,
                                   "a response that quotes its credential");
}


/* llm_hold_timeout: a stream without output is sent, and ends failover */

static void
ngx_http_llm_pass_release(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm pass: llm_hold_timeout, stream is sent as it is");

    ctx->judge.expired = 1;

    ngx_http_llm_upstream_wake(r);
}


static ngx_int_t
ngx_http_llm_pass_filter_init(void *data)
{
    ngx_http_request_t  *r = data;

    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->charge->stream = ctx->response.stream;
    ctx->charge->answered = (ctx->response.status.code < 300
                             && ctx->judge.substitute.data == NULL);
    ctx->relay.strip = (ctx->include_usage && ctx->response.stream);

    ngx_http_llm_framing_start(r);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_pass_filter(void *data, ssize_t bytes)
{
    ngx_http_request_t  *r = data;

    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->timeouts.last_read = ngx_current_msec;

    rc = ngx_http_llm_framing_filter(r, bytes, ngx_http_llm_pass_span);

    if (rc == NGX_OK && r->upstream->length != 0 && !ctx->relay.closed) {
        return ngx_http_llm_finish_rest(r, ctx);
    }

    return rc;
}


static ngx_int_t
ngx_http_llm_pass_span(ngx_http_request_t *r, u_char *pos, u_char *last)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ngx_llm_quote_feed(&ctx->quote, pos, last)) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "llm_provider \"%V\" sent a response that quotes its "
                      "credential, response is cut",
                      &ctx->upstream.target->provider->name);

        ctx->framing.broken = 1;
        return NGX_ERROR;
    }

    if (ngx_http_llm_relay_span(r, pos, &last) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ctx->copy.active) {
        ngx_http_llm_copy_feed(r, ctx, pos, last);
    }

    return NGX_OK;
}


static void
ngx_http_llm_pass_attempted(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt)
{
    if (attempt->failure) {
        ngx_http_llm_health_report_failed(r, attempt);
    }

    ngx_http_llm_balance_release(r);
}


static ngx_uint_t
ngx_http_llm_pass_judge(ngx_http_request_t *r, ngx_uint_t failure)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->charge->kept.body.data && ctx->charge->kept.status < 300) {

        /* a response that met a condition is better than a later error */

    } else if (failure == NGX_HTTP_LLM_NEXT_CREDENTIAL) {
        ctx->charge->kept.status = ctx->response.status.code;
        ngx_str_null(&ctx->charge->kept.body);

    } else if (!ngx_http_llm_pass_quotes(r, ctx)
               && ngx_http_llm_judge_keep(r, &ctx->charge->kept) == NGX_OK)
    {
        ctx->charge->kept_answer = ctx->charge->answer;
    }

    return ngx_http_llm_pass_moves_on(r, failure);
}


/* llm_intercept_errors: error_page of the kept response's status is used. */

static ngx_uint_t
ngx_http_llm_pass_over(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_kept_t      *kept;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    kept = &ctx->charge->kept;

    if (!llcf->intercept_errors || kept->status == 0
        || kept->body.data == NULL || ctx->ping.sent || ctx->drain.active
        || ngx_http_llm_stale_wanted(r, ctx, kept->status)
        || !ngx_http_llm_error_paged(r, kept->status))
    {
        return 0;
    }

    return kept->status;
}


static ngx_uint_t
ngx_http_llm_pass_next(ngx_http_request_t *r, ngx_uint_t failure)
{
    return ngx_http_llm_pass_moves_on(r, failure)
           && ngx_http_llm_upstream_more(r)
           && ngx_http_llm_balance_more(r);
}


/* llm_next_provider: by class, or by the status itself */

static ngx_uint_t
ngx_http_llm_pass_moves_on(ngx_http_request_t *r, ngx_uint_t failure)
{
    ngx_uint_t                i, *status;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->next & failure) {
        return 1;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (llcf->next_statuses == NULL || !ctx->response.parsed) {
        return 0;
    }

    status = llcf->next_statuses->elts;

    for (i = 0; i < llcf->next_statuses->nelts; i++) {
        if (status[i] == ctx->response.status.code) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_llm_pass_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_timeouts_done(r);
    ngx_http_llm_ping_done(r);

    if (r->upstream->header_sent && r->header_only) {

        /*
         * ngx_http_upstream_send_response() has closed the upstream after the
         * header, as for a mirror: the body is neither cut nor complete, and
         * output of a background subrequest would never be sent
         */

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm response without a body, not judged");

    } else if (r->upstream->header_sent) {
        ngx_http_llm_finish(r, ctx, rc);

    } else if (!ctx->upstream.committed
               && (rc == NGX_HTTP_BAD_GATEWAY
                   || rc == NGX_HTTP_GATEWAY_TIME_OUT))
    {
        ngx_http_llm_pass_failed(r, ctx, rc);
    }

    ngx_http_llm_cache_release(r, ctx->charge);
    ngx_http_llm_drain_done(r);
    ngx_http_llm_balance_release(r);
}


/* nothing was sent yet, and nothing is left to try */

static void
ngx_http_llm_pass_failed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_int_t rc)
{
    ngx_http_llm_fault_e    fault;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;

    /* an error that was kept is what the client would get */

    if (ngx_http_llm_stale_wanted(r, ctx, (charge->kept.body.data
                                           && charge->kept.status
                                           && !ctx->ping.sent)
                                          ? charge->kept.status
                                          : (ngx_uint_t) rc)
        && ngx_http_llm_stale_keep(r, ctx) == NGX_OK)
    {
        return;
    }

    if (charge->kept.status && !ctx->ping.sent) {

        /* 401, 402, 403 are about our key: kept without a body */

        if (charge->kept.body.data && charge->kept.status < 300) {
            charge->kept.use = 1;
            charge->answer = charge->kept_answer;
            charge->answered = 1;
            charge->bad_answer = 0;
            charge->end = NGX_HTTP_LLM_END_COMPLETE;
            return;
        }

        if (charge->kept.body.data) {
            charge->kept.use = 1;
            return;
        }

        fault = NGX_HTTP_LLM_UPSTREAM_AUTH;

    } else if (ctx->judge.verdict == NGX_HTTP_LLM_NEXT_CREDENTIAL) {
        fault = NGX_HTTP_LLM_UPSTREAM_AUTH;

    } else if (rc == NGX_HTTP_GATEWAY_TIME_OUT) {
        fault = NGX_HTTP_LLM_UPSTREAM_TIMEOUT;

    } else if (ctx->judge.failed || ctx->response.parsed) {
        fault = NGX_HTTP_LLM_BAD_ANSWER;
        charge->bad_answer = 1;

    } else {
        fault = NGX_HTTP_LLM_UPSTREAM_ERROR;
    }

    (void) ngx_http_llm_pass_fault(r, ctx, fault);
}
