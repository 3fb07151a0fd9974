/*
 * llm_ping: a comment line (":" and one LF) into a stream that has been silent
 * for so long, at an event's boundary only.  The first one may have to go out
 * before the provider has answered: then the 200 is ours, there is no other
 * attempt any more, the provider's header is swallowed when it comes, and a
 * failure becomes an error event.
 */


#include <ngx_http_llm_filter.h>


static void ngx_http_llm_ping_cleanup(void *data);
static void ngx_http_llm_ping_timer(ngx_event_t *ev);
static ngx_int_t ngx_http_llm_ping_header(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_ping_boundary(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_ping_comment(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_ping_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_ping_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);


static u_char  ngx_http_llm_ping_line[] = ":\n";

static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_llm_next_body_filter;


void
ngx_http_llm_ping_start(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t       *cln;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->ping == 0 || !ctx->charge->facts.stream
        || !ngx_http_llm_is_client(r) || ctx->ping.timer.timer_set)
    {
        return;
    }

    /* a client may leave before there is an upstream to tell */

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return;
    }

    cln->handler = ngx_http_llm_ping_cleanup;
    cln->data = &ctx->ping.timer;

    ctx->ping.last = ngx_current_msec;
    ctx->ping.timer.handler = ngx_http_llm_ping_timer;
    ctx->ping.timer.data = r;
    ctx->ping.timer.log = r->connection->log;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm ping after %M ms of silence", llcf->ping);

    ngx_add_timer(&ctx->ping.timer, llcf->ping);
}


void
ngx_http_llm_ping_done(ngx_http_request_t *r)
{
    ngx_http_llm_ping_stop(ngx_http_get_module_ctx(r, ngx_http_llm_module));
}


void
ngx_http_llm_ping_stop(ngx_http_llm_ctx_t *ctx)
{
    if (ctx->ping.timer.timer_set) {
        ngx_del_timer(&ctx->ping.timer);
    }
}


static void
ngx_http_llm_ping_cleanup(void *data)
{
    ngx_event_t  *timer = data;

    if (timer->timer_set) {
        ngx_del_timer(timer);
    }
}


static void
ngx_http_llm_ping_timer(ngx_event_t *ev)
{
    ngx_http_request_t  *r = ev->data;

    ngx_msec_t                last;
    ngx_msec_int_t            left;
    ngx_connection_t         *c;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    c = r->connection;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    ngx_http_set_log_request(c->log, r);

    last = ctx->ping.last;

    if (ctx->upstream.committed
        && (ngx_msec_int_t) (ctx->timeouts.last_read - last) > 0)
    {
        last = ctx->timeouts.last_read;
    }

    left = (ngx_msec_int_t) (last + llcf->ping - ngx_current_msec);

    if (left > 0) {
        ngx_add_timer(ev, (ngx_msec_t) left);
        return;
    }

    ctx->ping.last = ngx_current_msec;
    ngx_add_timer(ev, llcf->ping);

    if ((!ctx->upstream.committed && !ctx->ping.sent
         && ngx_http_llm_ping_header(r, ctx) != NGX_OK)
        || (ngx_http_llm_ping_boundary(r, ctx)
            && ngx_http_llm_ping_comment(r, ctx) != NGX_OK))
    {
        /* the client is gone: nginx finds it by its own */

        c->error = 1;
        ngx_post_event(c->read, &ngx_posted_events);
    }
}


/* Sends the header with status 200 before the provider's response. */

static ngx_int_t
ngx_http_llm_ping_header(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t  rc;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = -1;
    ngx_str_set(&r->headers_out.content_type, "text/event-stream");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    ctx->ping.sending = 1;
    rc = ngx_http_send_header(r);
    ctx->ping.sending = 0;

    if (rc == NGX_ERROR || rc > NGX_OK) {
        return NGX_ERROR;
    }

    ctx->ping.sent = 1;

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm ping sent status 200, no failover any more");

    /* nginx will send a header again, ours or an error page's */

    r->header_sent = 0;
    r->error_page = 1;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_ping_boundary(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (!ctx->upstream.committed) {
        return ctx->ping.sent;
    }

    if (!ctx->response.stream || ctx->charge->answer == NULL
        || ctx->charge->answer->kind != NGX_LLM_ANSWER_STREAM
        || u->busy_bufs || u->out_bufs || r->connection->buffered)
    {
        return 0;
    }

    /* half an event that is held has not been seen by the client */

    return ctx->relay.tail != NULL
           || ngx_llm_answer_boundary(ctx->charge->answer);
}


static ngx_int_t
ngx_http_llm_ping_comment(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_buf_t    *b;
    ngx_int_t     rc;
    ngx_chain_t   out;

    b = ctx->ping.buf;

    if (b == NULL) {
        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_ERROR;
        }

        ctx->ping.buf = b;

    } else if (b->pos != b->last) {
        /* the last one is still on its way */
        return NGX_OK;
    }

    b->pos = ngx_http_llm_ping_line;
    b->last = b->pos + sizeof(ngx_http_llm_ping_line) - 1;
    b->start = b->pos;
    b->end = b->last;
    b->memory = 1;
    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_output_filter(r, &out);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_http_llm_ping_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_ping_header_filter;

    ngx_http_llm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_llm_ping_body_filter;

    return NGX_OK;
}


/* Drops the provider's header if ours was sent already. */

static ngx_int_t
ngx_http_llm_ping_header_filter(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx == NULL || !ctx->ping.sent) {
        return ngx_http_llm_next_header_filter(r);
    }

    r->header_sent = 1;

    if (ctx->charge->cache.replayed) {

        /* an old answer in place of a failure is none */
        r->err_status = NGX_HTTP_OK;
    }

    if (!ctx->upstream.committed
        && (!ctx->charge->cache.replayed || ctx->ping.error.len))
    {
        ctx->ping.failed = 1;
        r->keepalive = 0;
    }

    return NGX_OK;
}


/* nginx's page for a failure: the error event, or an old answer, takes its
   place */

static ngx_int_t
ngx_http_llm_ping_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx == NULL || !ctx->ping.failed || in == NULL) {
        return ngx_http_llm_next_body_filter(r, in);
    }

    if (ctx->ping.ended) {
        return NGX_OK;
    }

    ctx->ping.ended = 1;

    b = ngx_create_temp_buf(r->pool, ctx->ping.error.len
                                     + sizeof("data: \n\n"));
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->last = ctx->charge->cache.replayed
              ? ngx_cpymem(b->last, ctx->ping.error.data,
                           ctx->ping.error.len)
              : ngx_sprintf(b->last, "data: %V\n\n", &ctx->ping.error);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_llm_next_body_filter(r, &out);
}
