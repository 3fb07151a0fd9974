
/*
 * Sends an answer: the delay, the header, then one buffer again and again -
 * made when the one before has left, so that neither a long answer nor a slow
 * client takes memory.  Never blocks and never keeps the worker to itself.
 */


#include "ngx_http_llm_sim.h"


#define NGX_HTTP_LLM_SIM_BUFFER  16384
#define NGX_HTTP_LLM_SIM_TURNS   16       /* buffers, then others' turn */


static ngx_int_t ngx_http_llm_sim_output_wait(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx, ngx_msec_t delay);
static ngx_int_t ngx_http_llm_sim_output_watch(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static void ngx_http_llm_sim_output_cleanup(void *data);
static void ngx_http_llm_sim_output_event(ngx_event_t *ev);
static void ngx_http_llm_sim_output_begin(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_sim_output_buffer(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static off_t ngx_http_llm_sim_output_length(ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_sim_output_header(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_sim_output_edge(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_sim_output_add(ngx_http_request_t *r, char *key,
    char *lowcase, char *fmt, ...);
static void ngx_http_llm_sim_output_fill(ngx_http_llm_sim_ctx_t *ctx);
static void ngx_http_llm_sim_output_run(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_sim_output_send(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx, ngx_chain_t *in);
static ngx_int_t ngx_http_llm_sim_output_block(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static void ngx_http_llm_sim_output_writer(ngx_http_request_t *r);


void
ngx_http_llm_sim_output_start(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    if (ctx->settings.delay == 0) {
        ngx_http_llm_sim_output_begin(r, ctx);
        return;
    }

    if (ngx_http_llm_sim_output_wait(r, ctx, ctx->settings.delay) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
    }
}


/* delay 0: go on in the next turn of the event loop */

static ngx_int_t
ngx_http_llm_sim_output_wait(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx, ngx_msec_t delay)
{
    if (ngx_http_llm_sim_output_watch(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    r->write_event_handler = ngx_http_request_empty_handler;

    if (delay) {
        ngx_add_timer(&ctx->event, delay);

    } else {
        ngx_post_event(&ctx->event, &ngx_posted_next_events);
    }

    return NGX_OK;
}


/* before the first wait: a client which goes away then ends the request */

static ngx_int_t
ngx_http_llm_sim_output_watch(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_event_t         *rev;
    ngx_http_cleanup_t  *cln;

    if (ctx->watched) {
        return NGX_OK;
    }

    cln = ngx_http_cleanup_add(r, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_llm_sim_output_cleanup;
    cln->data = ctx;

    ctx->event.handler = ngx_http_llm_sim_output_event;
    ctx->event.data = ctx;
    ctx->event.log = r->connection->log;

    ctx->watched = 1;

    rev = r->connection->read;

    r->read_event_handler = ngx_http_test_reading;

    if (rev->ready) {
        /* an edge may have come with the end of the body */
        ngx_post_event(rev, &ngx_posted_events);
        return NGX_OK;
    }

#if (NGX_HTTP_V2)
    if (r->stream) {
        return NGX_OK;
    }
#endif

    return ngx_handle_read_event(rev, 0);
}


static void
ngx_http_llm_sim_output_cleanup(void *data)
{
    ngx_http_llm_sim_ctx_t *ctx = data;

    if (ctx->event.timer_set) {
        ngx_del_timer(&ctx->event);
    }

    if (ctx->event.posted) {
        ngx_delete_posted_event(&ctx->event);
    }
}


static void
ngx_http_llm_sim_output_event(ngx_event_t *ev)
{
    ngx_connection_t        *c;
    ngx_http_request_t      *r;
    ngx_http_llm_sim_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, c->log, 0, "llm simulator goes on");

    if (ctx->started) {
        ngx_http_llm_sim_output_run(r, ctx);

    } else {
        ngx_http_llm_sim_output_begin(r, ctx);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_llm_sim_output_begin(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_int_t     rc;
    ngx_chain_t   out;

    if (ngx_http_llm_sim_output_buffer(r, ctx) != NGX_OK
        || ngx_http_llm_sim_output_header(r, ctx) != NGX_OK)
    {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ngx_http_finalize_request(r, rc);
        return;
    }

    ctx->started = 1;

    out.buf = &ctx->buf;
    out.next = NULL;

    if (ngx_http_llm_sim_output_send(r, ctx, &out) == NGX_OK) {
        ngx_http_llm_sim_output_run(r, ctx);
    }
}


static ngx_int_t
ngx_http_llm_sim_output_buffer(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    size_t                     size, word, count;
    ngx_buf_t                 *b;
    ngx_http_core_loc_conf_t  *clcf;

    /* 3 for what surrounds an item, 64 for what surrounds a token */

    count = (ngx_max(ctx->tokens, ctx->dimensions) + 3) * ctx->items;

    word = ngx_max(ctx->settings.size, NGX_HTTP_LLM_SIM_WORD) + 64
           + ctx->head.len + ctx->tail.len;

    if (ctx->stream && (ctx->settings.pace || ctx->settings.flush)) {
        ctx->limit = ctx->settings.burst;
        count = ngx_min(count, ctx->limit);
    }

    /* a short answer or burst as a whole, or what is worth a system call */

    size = 2 * ctx->piece + ngx_min(count * word, NGX_HTTP_LLM_SIM_BUFFER);

    b = &ctx->buf;

    b->start = ngx_palloc(r->pool, size);
    if (b->start == NULL) {
        return NGX_ERROR;
    }

    b->end = b->start + size;
    b->temporary = 1;

    ngx_http_llm_sim_output_fill(ctx);

    if (ctx->stream) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        if (clcf->tcp_nodelay && ngx_tcp_nodelay(r->connection) != NGX_OK) {
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    r->headers_out.content_length_n = b->last - b->pos;

    if (!ctx->done) {
        r->headers_out.content_length_n =
                                         ngx_http_llm_sim_output_length(ctx);
    }

    return NGX_OK;
}


/* a long answer is made twice, first to be measured */

static off_t
ngx_http_llm_sim_output_length(ngx_http_llm_sim_ctx_t *ctx)
{
    off_t  length;

    length = ctx->buf.last - ctx->buf.pos;

    while (!ctx->done) {
        ngx_http_llm_sim_output_fill(ctx);
        length += ctx->buf.last - ctx->buf.pos;
    }

    ngx_http_llm_sim_answer_rewind(ctx);
    ngx_http_llm_sim_output_fill(ctx);

    return length;
}


static ngx_int_t
ngx_http_llm_sim_output_header(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    time_t           sec;
    ngx_int_t        ms;
    ngx_uint_t       status;
    ngx_time_t      *tp;

    tp = ngx_timeofday();
    sec = tp->sec - r->start_sec;
    ms = (ngx_int_t) (sec * 1000) + (ngx_int_t) tp->msec
         - (ngx_int_t) r->start_msec;

    status = ctx->settings.status ? ctx->settings.status : NGX_HTTP_OK;

    r->headers_out.status = status;

    if (ctx->fake) {
        r->headers_out.content_type.data = (u_char *) ctx->fake->type;
        r->headers_out.content_type.len = ngx_strlen(ctx->fake->type);

    } else if (ctx->stream) {
        ngx_str_set(&r->headers_out.content_type, "text/event-stream");

    } else {
        ngx_str_set(&r->headers_out.content_type, "application/json");
    }

    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (status == NGX_HTTP_TOO_MANY_REQUESTS
        && ngx_http_llm_sim_output_add(r, "Retry-After", "retry-after", "1")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (status == NGX_HTTP_NOT_ALLOWED && ctx->op
        && ngx_http_llm_sim_output_add(r, "Allow", "allow",
                                       ctx->op->method == NGX_HTTP_POST
                                       ? "POST" : "GET, HEAD")
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_llm_sim_output_edge(r) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_llm_sim_output_add(r, "openai-processing-ms",
                                    "openai-processing-ms", "%i",
                                    ngx_max(ms, 0))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_sim_output_add(r, "x-request-id", "x-request-id",
                                       "req_sim_%*s", sizeof(ctx->id),
                                       ctx->id);
}


/* the headers that the provider and the CDN before it put on any answer */

static ngx_int_t
ngx_http_llm_sim_output_edge(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    static const struct {
        ngx_str_t  key;
        char      *lowcase;
        ngx_str_t  value;
    } headers[] = {
        { ngx_string("Set-Cookie"), "set-cookie",
          ngx_string("__cf_bm=sim; path=/; domain=.api.test; HttpOnly; Secure; "
                     "SameSite=None") },
        { ngx_string("Strict-Transport-Security"), "strict-transport-security",
          ngx_string("max-age=31536000; includeSubDomains; preload") },
        { ngx_string("Cache-Control"), "cache-control",
          ngx_string("private, no-store") },
        { ngx_string("alt-svc"), "alt-svc",
          ngx_string("h3=\":443\"; ma=86400") },
        { ngx_string("Via"), "via", ngx_string("1.1 sim") },
        { ngx_string("CF-RAY"), "cf-ray", ngx_string("0123456789abcdef-SIM") },
        { ngx_string("Access-Control-Expose-Headers"),
          "access-control-expose-headers", ngx_string("X-Request-ID") },
        { ngx_string("X-Content-Type-Options"), "x-content-type-options",
          ngx_string("nosniff") },
        { ngx_string("openai-organization"), "openai-organization",
          ngx_string("org-simulator") },
        { ngx_string("openai-version"), "openai-version",
          ngx_string("2020-10-01") },
        { ngx_string("x-ratelimit-limit-requests"),
          "x-ratelimit-limit-requests", ngx_string("10000") },
        { ngx_string("x-ratelimit-remaining-requests"),
          "x-ratelimit-remaining-requests", ngx_string("9999") },
        { ngx_string("x-ratelimit-limit-tokens"), "x-ratelimit-limit-tokens",
          ngx_string("2000000") },
        { ngx_string("x-ratelimit-remaining-tokens"),
          "x-ratelimit-remaining-tokens", ngx_string("1999984") }
    };

    for (i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        h->key = headers[i].key;
        h->lowcase_key = (u_char *) headers[i].lowcase;
        h->value = headers[i].value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_sim_output_add(ngx_http_request_t *r, char *key, char *lowcase,
    char *fmt, ...)
{
    u_char           *p, value[64];
    va_list           args;
    ngx_table_elt_t  *h;

    va_start(args, fmt);
    p = ngx_vslprintf(value, value + sizeof(value), fmt, args);
    va_end(args);

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 0;
    h->value.len = p - value;
    h->value.data = ngx_pnalloc(r->pool, h->value.len);
    if (h->value.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(h->value.data, value, h->value.len);

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->lowcase_key = (u_char *) lowcase;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return NGX_OK;
}


static void
ngx_http_llm_sim_output_fill(ngx_http_llm_sim_ctx_t *ctx)
{
    u_char                         *p, *last;
    ngx_buf_t                      *b;
    const ngx_http_llm_sim_step_t  *step;

    b = &ctx->buf;
    p = b->start;

    ctx->pause = 0;

    while (ctx->step->write && (size_t) (b->end - p) >= ctx->piece) {
        step = ctx->step;
        last = ngx_http_llm_sim_answer_next(ctx, p);

        if (last == p || step->part) {
            p = last;
            continue;
        }

        p = last;

        if (ctx->limit && ++ctx->sent == ctx->limit) {
            ctx->sent = 0;
            ctx->pause = 1;
            break;
        }
    }

    b->pos = b->start;
    b->last = p;

    ctx->done = (ctx->step->write == NULL);

    b->last_buf = (ctx->done && ctx->request == ctx->request->main);
    b->last_in_chain = ctx->done;
    b->flush = !ctx->done;
}


static void
ngx_http_llm_sim_output_run(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_uint_t    turn;
    ngx_chain_t   out;

    for (turn = 0; turn < NGX_HTTP_LLM_SIM_TURNS; turn++) {

        ngx_http_llm_sim_output_fill(ctx);

        out.buf = &ctx->buf;
        out.next = NULL;

        if (ngx_http_llm_sim_output_send(r, ctx, &out) != NGX_OK) {
            return;
        }
    }

    if (ngx_http_llm_sim_output_wait(r, ctx, 0) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }
}


/*
 * NGX_OK: the buffer has left, the next one may be made.  NGX_DONE: somebody
 * else goes on, or the request is finalized and must not be touched.
 */

static ngx_int_t
ngx_http_llm_sim_output_send(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx, ngx_chain_t *in)
{
    ngx_int_t     rc;
    ngx_event_t  *wev;

    rc = ngx_http_output_filter(r, in);

    if (rc == NGX_ERROR || ctx->done) {
        ngx_http_finalize_request(r, rc);
        return NGX_DONE;
    }

    wev = r->connection->write;

    if (rc == NGX_AGAIN || ngx_buf_size(&ctx->buf)) {
        rc = ngx_http_llm_sim_output_block(r, ctx);

    } else {

        if (wev->timer_set && !wev->delayed) {
            ngx_del_timer(wev);
        }

        if (!ctx->pause || ctx->settings.pace == 0) {
            return NGX_OK;
        }

        rc = ngx_http_llm_sim_output_wait(r, ctx, ctx->settings.pace);
    }

    if (rc != NGX_OK) {
        ngx_http_finalize_request(r, NGX_ERROR);
    }

    return NGX_DONE;
}


/* the client does not take more now */

static ngx_int_t
ngx_http_llm_sim_output_block(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    if (ngx_http_llm_sim_output_watch(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    r->write_event_handler = ngx_http_llm_sim_output_writer;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    return ngx_handle_write_event(wev, clcf->send_lowat);
}


static void
ngx_http_llm_sim_output_writer(ngx_http_request_t *r)
{
    ngx_event_t             *wev;
    ngx_connection_t        *c;
    ngx_http_llm_sim_ctx_t  *ctx;

    c = r->connection;
    wev = c->write;

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                      "client timed out");
        c->timedout = 1;
        ngx_http_finalize_request(r, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_simulator_module);

    if (ngx_http_llm_sim_output_send(r, ctx, NULL) == NGX_OK) {
        ngx_http_llm_sim_output_run(r, ctx);
    }
}
