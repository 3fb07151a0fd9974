/*
 * llm_on_abort drain T: after the client has closed its connection, the
 * response is read on for its usage.  Neither a header nor a body is sent.
 * nginx checks the client's connection, and does not close an upstream
 * connection while a response is cached: u->cacheable is set for the check.
 */


#include <ngx_http_llm_filter.h>


static void ngx_http_llm_drain_read(ngx_http_request_t *r);
static void ngx_http_llm_drain_write(ngx_http_request_t *r);
static void ngx_http_llm_drain_look(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_event_handler_pt check);
static ngx_int_t ngx_http_llm_drain_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_drain_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_llm_drain_start(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_drain_requested(ngx_http_upstream_t *u);
static ngx_int_t ngx_http_llm_drain_forget(ngx_http_request_t *r);
static void ngx_http_llm_drain_deafen(ngx_http_request_t *r);


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_llm_next_body_filter;


void
ngx_http_llm_drain_watch(ngx_http_request_t *r,
    void (*started)(ngx_http_request_t *r))
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->drain == 0 || !ngx_http_llm_is_client(r) || ctx->drain.read) {
        return;
    }

    ctx->drain.started = started;
    ctx->drain.read = r->read_event_handler;
    ctx->drain.write = r->write_event_handler;

    r->read_event_handler = ngx_http_llm_drain_read;
    r->write_event_handler = ngx_http_llm_drain_write;
}


void
ngx_http_llm_drain_done(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (r->write_event_handler == ngx_http_llm_drain_write) {
        r->write_event_handler = ctx->drain.write;
    }

    if (!ctx->drain.active) {
        return;
    }

    if (ctx->charge->end == NGX_HTTP_LLM_END_NONE) {
        ctx->charge->end = NGX_HTTP_LLM_END_ABORTED;
    }

    if (!ctx->drain.reported) {
        r->headers_out.status = NGX_HTTP_CLIENT_CLOSED_REQUEST;
    }
}


static void
ngx_http_llm_drain_read(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_drain_look(r, ctx, ctx->drain.read);
}


/* until the header is sent: then upstream puts in another one */

static void
ngx_http_llm_drain_write(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_drain_look(r, ctx, ctx->drain.write);
}


static void
ngx_http_llm_drain_look(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_event_handler_pt check)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (ctx->timeouts.drained || !ngx_http_llm_drain_requested(u)) {

        /* it ends with the client, if that is gone */

        check(r);
        return;
    }

    u->cacheable = 1;
    check(r);
    u->cacheable = 0;

    if (ngx_http_llm_drain_start(r, ctx) == NGX_ERROR) {
        check(r);
    }
}


ngx_int_t
ngx_http_llm_drain_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_drain_header_filter;

    ngx_http_llm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_llm_drain_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_drain_header_filter(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx && ctx->drain.active) {
        r->header_sent = 1;
        return NGX_OK;
    }

    rc = ngx_http_llm_next_header_filter(r);

    if (rc == NGX_ERROR && ctx && ctx->drain.read
        && ngx_http_llm_drain_start(r, ctx) == NGX_OK)
    {
        return NGX_OK;
    }

    return rc;
}


static ngx_int_t
ngx_http_llm_drain_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx && ctx->drain.active) {
        return NGX_OK;
    }

    rc = ngx_http_llm_next_body_filter(r, in);

    if (rc == NGX_ERROR && ctx && ctx->drain.read
        && ngx_http_llm_drain_start(r, ctx) == NGX_OK)
    {
        return NGX_OK;
    }

    return rc;
}


/* NGX_DECLINED: no reason to, or no use any more */

static ngx_int_t
ngx_http_llm_drain_start(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (ctx->drain.active || !r->connection->error || u->cleanup == NULL
        || !ngx_http_llm_drain_requested(u))
    {
        return NGX_DECLINED;
    }

    if (ngx_http_llm_drain_forget(r) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm drain: the client is gone, the answer is read on");

    ctx->drain.active = 1;
    ctx->drain.reported = (u->header_sent || ctx->ping.sent);

    ngx_http_llm_drain_deafen(r);

    ctx->drain.started(r);

    if (u->header_sent) {

        /* the provider may have waited for a client that was slow */

        ngx_post_event(r->connection->write, &ngx_posted_events);
    }

    return NGX_OK;
}


/* has a byte of the request gone to a provider? */

static ngx_uint_t
ngx_http_llm_drain_requested(ngx_http_upstream_t *u)
{
    return u->peer.connection && u->peer.connection->sent;
}


/*
 * Drops the output that was not sent yet.  Frames of an HTTP/2 connection may
 * still point into the buffer, so that the buffer is not used again.
 */

static ngx_int_t
ngx_http_llm_drain_forget(ngx_http_request_t *r)
{
    size_t                size;
    u_char               *p;
    ngx_buf_t            *b;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u->out_bufs == NULL && u->busy_bufs == NULL) {
        return NGX_OK;
    }

    b = &u->buffer;
    size = b->end - b->start;

    p = ngx_palloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    b->start = p;
    b->pos = p;
    b->last = p;
    b->end = p + size;

    u->out_bufs = NULL;
    u->busy_bufs = NULL;
    u->free_bufs = NULL;

    return NGX_OK;
}


/* Stops send_timeout, as the client has closed the connection. */

static void
ngx_http_llm_drain_deafen(ngx_http_request_t *r)
{
    ngx_event_t  *wev;

    wev = r->connection->write;

    if (wev->timer_set) {
        ngx_del_timer(wev);
    }

    wev->timedout = 0;
    wev->ready = 1;

#if (NGX_HTTP_V2)

    if (r->stream) {
        /* it may wait for a window, in no event mechanism */
        wev->active = 0;
    }

#endif
}
