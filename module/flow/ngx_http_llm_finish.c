/*
 * The end of a response of llm_pass: its last event, the end of its body, or a
 * failure.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include "ngx_http_llm_finish.h"
#include <ngx_http_llm_attempt.h>
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_relay.h>


/* wait for the last chunk of a complete stream, milliseconds */

#define NGX_HTTP_LLM_FINISH_WAIT  1000
#define NGX_HTTP_LLM_FINISH_NEXT  50      /* if the next request waits */


static ngx_int_t ngx_http_llm_finish_close(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_finish_read(ngx_http_request_t *r);
static void ngx_http_llm_finish_settle(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_finish_body(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_int_t rc);
static void ngx_http_llm_finish_cut(ngx_http_request_t *r, ngx_int_t rc);
static void ngx_http_llm_finish_break(ngx_http_request_t *r);


/*
 * Called while the body continues.  A stream is complete after its last event.
 * A stream that has all finish reasons waits a limited time for [DONE] and for
 * usage, which some providers do not send.
 */

ngx_int_t
ngx_http_llm_finish_rest(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_llm_answer_t  *answer;

    if (ctx->relay.over) {
        return ngx_http_llm_finish_close(r, ctx);
    }

    answer = ctx->charge->answer;

    if (answer == NULL || !ctx->response.stream
        || (answer->api->ends != NGX_LLM_ENDS_CHOICES && !answer->over)
        || answer->events == ctx->relay.events
        || r->headers_out.content_length_n != -1
        || !ngx_llm_answer_complete(answer))
    {
        return NGX_OK;
    }

    ctx->relay.events = answer->events;

    ngx_http_llm_timeouts_finish(r, answer->usage_seen
                                    ? NGX_HTTP_LLM_FINISH_WAIT
                                    : 2 * NGX_HTTP_LLM_FINISH_WAIT);
    return NGX_OK;
}


/*
 * Ends the response to the client.  The provider's connection is read on for
 * its last chunk, and is cached if that chunk comes in time.
 */

static ngx_int_t
ngx_http_llm_finish_close(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_uint_t  framed;

    framed = r->chunked;

#if (NGX_HTTP_V2)
    framed |= (r->stream != NULL);
#endif

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm finish: last event of the stream, response ends");

    if (ctx->drain.active) {

        /* no client waits */

        ngx_http_llm_timeouts_finish(r, NGX_HTTP_LLM_FINISH_WAIT);
        return NGX_OK;
    }

    if (!framed || r != r->main) {

        /* the close ends the response, or a parent request waits for it */

        r->upstream->length = 0;
        return NGX_OK;
    }

    if (ngx_http_llm_relay_close(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_llm_ping_done(r);
    ngx_http_llm_finish_settle(r, ctx);

    ngx_http_llm_timeouts_finish(r, NGX_HTTP_LLM_FINISH_WAIT);

    r->read_event_handler = ngx_http_llm_finish_read;

    return NGX_OK;
}


/* Shortens the wait if the client has sent its next request. */

static void
ngx_http_llm_finish_read(ngx_http_request_t *r)
{
    u_char             buf[1];
    ngx_connection_t  *c;

    c = r->connection;

#if (NGX_HTTP_V2)

    if (r->stream) {
        return;
    }

#endif

    r->read_event_handler = ngx_http_block_reading;

    if (recv(c->fd, buf, 1, MSG_PEEK) > 0) {
        ngx_http_llm_timeouts_finish(r, NGX_HTTP_LLM_FINISH_NEXT);
    }

    ngx_http_block_reading(r);
}


/* Settles cache entry, health and concurrency of a response that ended. */

static void
ngx_http_llm_finish_settle(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_cache_store_end(r, ctx);
    ngx_http_llm_health_report_ended(r, ngx_http_llm_pass_attempt(ctx));
    ngx_http_llm_balance_release(r);
}


void
ngx_http_llm_finish(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_int_t rc)
{
    if (ctx->relay.closed) {

        /* ngx_http_llm_finish_close() has settled this response */

        return;
    }

    ngx_http_llm_finish_body(r, ctx, rc);
    ngx_http_llm_finish_settle(r, ctx);
}


/*
 * The body of the response has ended.  After a failure nginx closes the
 * client's connection at once, so the error event of a stream is sent here.  A
 * failure that is unknown to nginx closes the connection here, too.
 */

static void
ngx_http_llm_finish_body(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_int_t rc)
{
    ngx_int_t  end;

    end = ngx_http_llm_relay_end(r, rc);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm finish: rc %i, end %d, verdict %i", rc,
                   (int) ctx->charge->end, end);

    if (ctx->charge->end == NGX_HTTP_LLM_END_ABORTED
        || ctx->charge->end == NGX_HTTP_LLM_END_DRAINED)
    {
        return;
    }

    if (ctx->charge->end != NGX_HTTP_LLM_END_COMPLETE) {
        /* the rest of this response may still come on the connection */
        r->upstream->keepalive = 0;
    }

    if (end == NGX_ERROR) {
        ngx_http_llm_finish_break(r);
        return;
    }

    if (end == NGX_DECLINED) {
        ngx_http_llm_finish_cut(r, rc);
    }

    if (rc != 0 && ctx->response.stream) {
        r->keepalive = 0;
        (void) ngx_http_send_special(r, NGX_HTTP_LAST);
    }
}


static void
ngx_http_llm_finish_cut(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_int_t             status;
    ngx_str_t             body;
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_llm_error_t  err;

    static ngx_str_t  cut = ngx_string("The provider's answer was cut short.");
    static ngx_str_t  size = ngx_string("The answer is too long.");

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_memzero(&err, sizeof(ngx_http_llm_error_t));

    status = ngx_http_llm_fault(&err, (rc == NGX_HTTP_GATEWAY_TIME_OUT)
                                      ? NGX_HTTP_LLM_UPSTREAM_TIMEOUT
                                      : NGX_HTTP_LLM_UPSTREAM_ERROR,
                                NULL, ctx->relay.oversize ? &size : &cut);

    if (ngx_http_llm_error_body(r->pool, &err, status, &body) == NGX_OK) {
        ngx_http_llm_relay_error(r, &body);
    }
}


/* Breaks the connection, so that the client sees a truncated response. */

static void
ngx_http_llm_finish_break(ngx_http_request_t *r)
{
    struct linger      linger;
    ngx_connection_t  *c;

    c = r->connection;

    if (r->http_version < NGX_HTTP_VERSION_11
        && r->headers_out.content_length_n == -1)
    {
        /* a plain close would look like the end of the body */

        linger.l_onoff = 1;
        linger.l_linger = 0;

        if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER, (const void *) &linger,
                       sizeof(struct linger))
            == -1)
        {
            ngx_log_error(NGX_LOG_INFO, c->log, ngx_socket_errno,
                          "setsockopt(SO_LINGER) failed");
        }
    }

    r->keepalive = 0;
    c->error = 1;
}
