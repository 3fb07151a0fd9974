/*
 * Framing of a response body: Content-Length, chunks, or the close of the
 * connection.  Before the header is sent, the body is decoded in place and
 * held.  Afterwards each span is passed on when it is received.
 */


#include <ngx_http_llm_response.h>


/* bytes of a chunk: moving these is cheaper than another buffer */
#define NGX_HTTP_LLM_FRAMING_SMALL  512


static ngx_int_t ngx_http_llm_framing_append(ngx_http_request_t *r,
    u_char *pos, u_char *last);
static ngx_int_t ngx_http_llm_framing_length(ngx_http_request_t *r,
    ngx_http_llm_framing_ctx_t *framing, size_t bytes, ngx_uint_t more);
static ngx_int_t ngx_http_llm_framing_chunks(ngx_http_request_t *r,
    ngx_buf_t *b, ngx_http_llm_span_pt span);
static void ngx_http_llm_framing_whole(ngx_http_request_t *r,
    ngx_uint_t more);


#if (nginx_version >= 1027002)
#define ngx_http_llm_parse_chunked(r, b, ctx)                                 \
    ngx_http_parse_chunked(r, b, ctx, 0)
#else
#define ngx_http_llm_parse_chunked(r, b, ctx)                                 \
    ngx_http_parse_chunked(r, b, ctx)
#endif


void
ngx_http_llm_framing_init(ngx_http_request_t *r)
{
    ngx_uint_t                   status;
    ngx_http_llm_ctx_t          *ctx;
    ngx_http_upstream_t         *u;
    ngx_http_llm_framing_ctx_t  *framing;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    framing = &ctx->framing;

    ngx_memzero(framing, sizeof(ngx_http_llm_framing_ctx_t));

    status = ctx->response.status.code;

    if (status == NGX_HTTP_NO_CONTENT || status == NGX_HTTP_NOT_MODIFIED) {

        /* an announced body would be read as the next response */

        framing->distrust = (u->headers_in.chunked
                             || u->headers_in.content_length_n > 0);

        u->headers_in.chunked = 0;
        u->headers_in.content_length_n = 0;
    }

    if (u->headers_in.chunked) {
        u->headers_in.content_length_n = -1;
    }

    framing->rest = u->headers_in.content_length_n;
    framing->complete = (framing->rest == 0);
}


ngx_int_t
ngx_http_llm_framing_hold(ngx_http_request_t *r)
{
    size_t                       n;
    ngx_buf_t                   *b, raw;
    ngx_int_t                    rc;
    ngx_http_llm_ctx_t          *ctx;
    ngx_http_llm_framing_ctx_t  *framing;

    b = &r->upstream->buffer;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    framing = &ctx->framing;

    raw = *b;
    raw.pos = b->pos + framing->held;
    n = raw.last - raw.pos;

    rc = NGX_OK;

    if (framing->complete) {
        ngx_http_llm_framing_whole(r, n > 0);

    } else if (r->upstream->headers_in.chunked) {
        rc = ngx_http_llm_framing_chunks(r, &raw,
                                         ngx_http_llm_framing_append);

    } else {
        framing->held += ngx_http_llm_framing_length(r, framing, n, 0);
    }

    b->last = b->pos + framing->held;

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


/* Moves a chunk's data to the end of the held data. */

static ngx_int_t
ngx_http_llm_framing_append(ngx_http_request_t *r, u_char *pos, u_char *last)
{
    u_char              *p;
    ngx_buf_t           *b;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    b = &r->upstream->buffer;

    if (ctx->framing.held == 0) {
        b->pos = pos;

    } else {
        p = b->pos + ctx->framing.held;

        if (p != pos) {
            ngx_memmove(p, pos, last - pos);
        }
    }

    ctx->framing.held += last - pos;

    return NGX_OK;
}


void
ngx_http_llm_framing_start(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->framing.complete) {
        u->length = 0;

    } else if (u->headers_in.chunked) {
        u->length = 1;

    } else {
        u->length = ctx->framing.rest;
    }

    ctx->framing.begun = (ctx->framing.held == 0);
}


ngx_int_t
ngx_http_llm_framing_filter(ngx_http_request_t *r, ssize_t bytes,
    ngx_http_llm_span_pt span)
{
    ngx_buf_t                   *b;
    ngx_int_t                    rc;
    ngx_http_llm_ctx_t          *ctx;
    ngx_http_llm_framing_ctx_t  *framing;

    b = &r->upstream->buffer;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    framing = &ctx->framing;

    b->pos = b->last;
    b->last += bytes;

    if (!framing->begun) {

        /* held data is decoded already */

        framing->begun = 1;
        return span(r, b->pos, b->last);
    }

    if (framing->complete) {
        ngx_http_llm_framing_whole(r, 1);
        return NGX_OK;
    }

    if (!r->upstream->headers_in.chunked) {
        bytes = ngx_http_llm_framing_length(r, framing, bytes, 1);
        return span(r, b->pos, b->pos + bytes);
    }

    rc = ngx_http_llm_framing_chunks(r, b, span);

    if (rc == NGX_DECLINED) {
        framing->broken = 1;
        rc = NGX_ERROR;

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "llm_provider \"%V\" sent an invalid chunk",
                      &ctx->upstream.target->provider->name);
    }

    return rc;
}


/* Returns the number of bytes that belong to the body. */

static ngx_int_t
ngx_http_llm_framing_length(ngx_http_request_t *r,
    ngx_http_llm_framing_ctx_t *framing, size_t bytes, ngx_uint_t sending)
{
    ngx_int_t  n;

    if (framing->rest < 0) {
        return bytes;
    }

    n = (ngx_int_t) ngx_min((off_t) bytes, framing->rest);

    framing->rest -= n;

    if (framing->rest == 0) {
        ngx_http_llm_framing_whole(r, bytes > (size_t) n);

    } else if (sending && r->upstream->length != -1) {
        r->upstream->length = framing->rest;
    }

    return n;
}


/*
 * Passes the data of chunks to span().  The data of a small chunk is moved to
 * the end of the previous data, over the framing between: a provider may send
 * a chunk for each byte.  Returns NGX_OK, NGX_ERROR if span() has failed, or
 * NGX_DECLINED if a chunk is invalid, after the data before it.
 */

static ngx_int_t
ngx_http_llm_framing_chunks(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_http_llm_span_pt span)
{
    size_t               len;
    u_char              *start, *last;
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;
    ngx_http_chunked_t  *chunked;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    chunked = &ctx->framing.chunked;

    start = b->pos;
    last = b->pos;

    for ( ;; ) {

        rc = ngx_http_llm_parse_chunked(r, b, chunked);

        if (rc != NGX_OK) {
            break;
        }

        /* a chunk, or its received part */

        len = (size_t) ngx_min((off_t) (b->last - b->pos), chunked->size);

        if (last > start && len <= NGX_HTTP_LLM_FRAMING_SMALL) {
            last = ngx_movemem(last, b->pos, len);

        } else {

            if (last > start && span(r, start, last) != NGX_OK) {
                return NGX_ERROR;
            }

            start = b->pos;
            last = b->pos + len;
        }

        b->pos += len;
        chunked->size -= len;
    }

    if (last > start && span(r, start, last) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rc == NGX_DONE) {
        ngx_http_llm_framing_whole(r, b->last > b->pos);
        return NGX_OK;
    }

    return (rc == NGX_AGAIN) ? NGX_OK : NGX_DECLINED;
}


/* The body is complete; a connection with more bytes is not cached. */

static void
ngx_http_llm_framing_whole(ngx_http_request_t *r, ngx_uint_t more)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->framing.complete = 1;
    r->upstream->length = 0;
    r->upstream->keepalive = !ctx->response.connection_close && !more
                             && !ctx->framing.distrust;
}
