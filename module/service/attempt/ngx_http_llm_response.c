/*
 * The header of a provider's response: the status line, the header fields, and
 * the buffer for them and for the first bytes of the body.
 * ngx_http_llm_judge.c decides if the response is an answer.
 */


#include <ngx_http_llm_response.h>
#include <ngx_http_llm_list.h>
#include <ngx_llm_field.h>
#include "../ngx_http_llm_type.h"


#define NGX_HTTP_LLM_INTERIM_MAX  8

#define ngx_http_llm_name(name)  name, sizeof(name) - 1


static ngx_int_t ngx_http_llm_response_status_line(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_headers(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_header_line(ngx_http_request_t *r,
    ngx_http_llm_response_ctx_t *response);
static void ngx_http_llm_response_note(ngx_http_llm_response_ctx_t *response,
    ngx_table_elt_t *h);
static ngx_int_t ngx_http_llm_response_framed(ngx_http_request_t *r,
    ngx_table_elt_t *h);
static ngx_uint_t ngx_http_llm_response_is(ngx_table_elt_t *h,
    const char *name, size_t len);
static ngx_int_t ngx_http_llm_response_header_done(ngx_http_request_t *r);
static void ngx_http_llm_response_clean(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_response_clean_text(ngx_llm_quote_t *quote,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_llm_response_interim(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_none(ngx_http_request_t *r,
    const char *reason);
static ngx_int_t ngx_http_llm_response_resize(ngx_http_request_t *r,
    size_t size);


void
ngx_http_llm_response_reinit(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_memzero(&ctx->response, sizeof(ngx_http_llm_response_ctx_t));

    ctx->response.step = ngx_http_llm_response_status_line;

    r->state = 0;
}


ngx_int_t
ngx_http_llm_response_read(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

#if (NGX_HTTP_SSL)

    if (r->upstream->ssl && r->upstream->peer.connection->ssl == NULL) {

        /* bytes before the TLS handshake are not a response */

        return ngx_http_llm_response_none(r, "plain text before TLS");
    }

#endif

    return ctx->response.step(r);
}


static ngx_int_t
ngx_http_llm_response_status_line(ngx_http_request_t *r)
{
    size_t                        len;
    ngx_int_t                     rc;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_upstream_t          *u;
    ngx_http_llm_response_ctx_t  *response;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    rc = ngx_http_parse_status_line(r, &u->buffer, &response->status);

    if (rc == NGX_AGAIN) {
        return ngx_http_llm_response_room(r);
    }

    if (rc == NGX_ERROR) {
        return ngx_http_llm_response_none(r, "no valid HTTP/1.x header");
    }

    if (response->status.code < NGX_HTTP_CONTINUE
        || response->status.code > 599)
    {
        return ngx_http_llm_response_none(r, "an unknown status");
    }

    u->headers_in.status_n = response->status.code;

    len = response->status.end - response->status.start;

    u->headers_in.status_line.len = len;
    u->headers_in.status_line.data = ngx_pnalloc(r->pool, len);
    if (u->headers_in.status_line.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(u->headers_in.status_line.data, response->status.start, len);

    if (response->status.http_version < NGX_HTTP_VERSION_11) {
        response->connection_close = 1;
    }

    if (u->state && u->state->status == 0) {
        u->state->status = response->status.code;
    }

    response->step = ngx_http_llm_response_headers;

    return ngx_http_llm_response_headers(r);
}


static ngx_int_t
ngx_http_llm_response_headers(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    for ( ;; ) {

        rc = ngx_http_parse_header_line(r, &r->upstream->buffer, 1);

        if (rc == NGX_OK) {

            rc = ngx_http_llm_response_header_line(r, &ctx->response);

            if (rc == NGX_OK) {
                continue;
            }

            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }

            if (ctx->response.reason) {
                return NGX_DECLINED;
            }
        }

        if (rc == NGX_AGAIN) {
            return ngx_http_llm_response_room(r);
        }

        if (rc == NGX_HTTP_PARSE_HEADER_DONE) {
            return ngx_http_llm_response_header_done(r);
        }

        return ngx_http_llm_response_none(r, "an invalid header");
    }
}


/* Copies the header field: its buffer is reused for the body. */

static ngx_int_t
ngx_http_llm_response_header_line(ngx_http_request_t *r,
    ngx_http_llm_response_ctx_t *response)
{
    ngx_table_elt_t                *h;
    ngx_http_upstream_header_t     *hh;
    ngx_http_upstream_main_conf_t  *umcf;

    h = ngx_list_push(&r->upstream->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif
    h->hash = r->header_hash;

    h->key.len = r->header_name_end - r->header_name_start;
    h->value.len = r->header_end - r->header_start;

    h->key.data = ngx_pnalloc(r->pool,
                              h->key.len + 1 + h->value.len + 1 + h->key.len);
    if (h->key.data == NULL) {
        h->hash = 0;
        return NGX_ERROR;
    }

    h->value.data = h->key.data + h->key.len + 1;
    h->lowcase_key = h->key.data + h->key.len + 1 + h->value.len + 1;

    ngx_memcpy(h->key.data, r->header_name_start, h->key.len);
    h->key.data[h->key.len] = '\0';
    ngx_memcpy(h->value.data, r->header_start, h->value.len);
    h->value.data[h->value.len] = '\0';

    if (h->key.len == r->lowcase_index) {
        ngx_memcpy(h->lowcase_key, r->lowcase_header, h->key.len);

    } else {
        ngx_strlow(h->lowcase_key, h->key.data, h->key.len);
    }

    ngx_http_llm_response_note(response, h);

    if (ngx_http_llm_response_framed(r, h) != NGX_OK) {
        return NGX_DECLINED;
    }

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    hh = ngx_hash_find(&umcf->headers_in_hash, h->hash, h->lowcase_key,
                       h->key.len);

    return hh ? hh->handler(r, h, hh->offset) : NGX_OK;
}


/* Notes the headers that this module reads. */

static void
ngx_http_llm_response_note(ngx_http_llm_response_ctx_t *response,
    ngx_table_elt_t *h)
{
    ngx_uint_t  i;

    static struct {
        ngx_str_t  name;
        size_t     offset;
    } known[] = {
        { ngx_string("content-type"),
          offsetof(ngx_http_llm_response_ctx_t, content_type) },
        { ngx_string("x-request-id"),
          offsetof(ngx_http_llm_response_ctx_t, request_id) }
    };

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {

        if (h->key.len == known[i].name.len
            && ngx_memcmp(h->lowcase_key, known[i].name.data, h->key.len)
               == 0)
        {
            *(ngx_str_t *) ((char *) response + known[i].offset) = h->value;
            return;
        }
    }

    if (ngx_http_llm_response_is(h, ngx_http_llm_name("content-encoding"))
        && h->value.len
        && ngx_strcasecmp(h->value.data, (u_char *) "identity") != 0)
    {
        response->coded = 1;
    }
}


/*
 * Returns NGX_DECLINED if the header makes the end of the body ambiguous.
 * nginx before 1.23 ignores an invalid length, uses the last of two lengths,
 * and accepts any list of transfer codings that contains "chunked".
 */

static ngx_int_t
ngx_http_llm_response_framed(ngx_http_request_t *r, ngx_table_elt_t *h)
{
    ngx_http_upstream_headers_in_t  *in;

    in = &r->upstream->headers_in;

    if (ngx_http_llm_response_is(h, ngx_http_llm_name("content-length"))) {

        if (in->content_length) {
            return ngx_http_llm_response_none(r, "two Content-Length headers");
        }

        if (in->transfer_encoding) {
            return ngx_http_llm_response_none(r, "both Content-Length and "
                                                 "Transfer-Encoding");
        }

        if (ngx_atoof(h->value.data, h->value.len) == NGX_ERROR) {
            return ngx_http_llm_response_none(r, "an invalid Content-Length");
        }

        return NGX_OK;
    }

    if (!ngx_http_llm_response_is(h, ngx_http_llm_name("transfer-encoding"))) {
        return NGX_OK;
    }

    if (in->transfer_encoding) {
        return ngx_http_llm_response_none(r, "two Transfer-Encoding headers");
    }

    if (in->content_length) {
        return ngx_http_llm_response_none(r, "both Content-Length and "
                                             "Transfer-Encoding");
    }

    if (h->value.len != sizeof("chunked") - 1
        || ngx_strncasecmp(h->value.data, (u_char *) "chunked", h->value.len)
           != 0)
    {
        return ngx_http_llm_response_none(r, "an unknown Transfer-Encoding");
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_response_is(ngx_table_elt_t *h, const char *name, size_t len)
{
    return h->key.len == len && ngx_memcmp(h->lowcase_key, name, len) == 0;
}


static ngx_int_t
ngx_http_llm_response_header_done(ngx_http_request_t *r)
{
    off_t                         length;
    size_t                        wanted;
    ngx_str_t                    *type;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_upstream_t          *u;
    ngx_http_llm_response_ctx_t  *response;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm response: status %ui, length %O, chunked %d, "
                   "compressed %d", response->status.code,
                   u->headers_in.content_length_n,
                   (int) u->headers_in.chunked, (int) response->coded);

    if (response->status.code < NGX_HTTP_OK) {
        return ngx_http_llm_response_interim(r);
    }

    ngx_http_llm_response_clean(r, ctx);

    type = &response->content_type;

    response->stream = ngx_http_llm_type_stream(type);
    response->json = (!response->stream && ngx_http_llm_type_json(type));

    if (u->headers_in.connection_close) {
        response->connection_close = 1;
    }

    response->parsed = 1;
    ctx->charge->upstream_request_id = response->request_id;

    if (response->stream) {

        /* thousands of streams may be idle, so the buffer stays small */

        return NGX_OK;
    }

    length = u->headers_in.chunked ? -1 : u->headers_in.content_length_n;

    wanted = (length > 0) ? (size_t) ngx_min(length, NGX_HTTP_LLM_HOLD)
                          : 4 * ngx_pagesize;

    return ngx_http_llm_response_resize(r, wanted);
}


/*
 * Credentials in the header of a response are overwritten, so that neither the
 * client nor a log gets them.  Control bytes become spaces: the parser of nginx
 * rejects only CR, LF and NUL.
 */

static void
ngx_http_llm_response_clean(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char                          *p;
    ngx_buf_t                       *b;
    ngx_uint_t                       cleaned;
    ngx_table_elt_t                 *h;
    ngx_http_llm_cursor_t            cursor =
                     ngx_http_llm_list_start(&r->upstream->headers_in.headers);
    ngx_http_upstream_headers_in_t  *in;

    b = &r->upstream->buffer;
    in = &r->upstream->headers_in;

    for (p = b->start; p < b->pos; p++) {

        p = ngx_llm_field_invalid(p, b->pos);

        if (p == NULL || (*p != CR && *p != LF)) {
            break;
        }
    }

    if ((p == NULL || p == b->pos)
        && !ngx_llm_quote_found(&ctx->quote, b->start, b->pos))
    {
        return;
    }

    cleaned = ngx_http_llm_response_clean_text(&ctx->quote,
                                               in->status_line.data,
                                               in->status_line.data
                                               + in->status_line.len);

    while ((h = ngx_http_llm_list_next(&cursor)) != NULL) {

        cleaned |= ngx_http_llm_response_clean_text(&ctx->quote, h->key.data,
                                                    h->value.data
                                                    + h->value.len);

        (void) ngx_http_llm_response_clean_text(&ctx->quote, h->lowcase_key,
                                                h->lowcase_key + h->key.len);
    }

    if (cleaned) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "llm_provider \"%V\" sent a control byte or its "
                      "credential in a response header, it is overwritten",
                      &ctx->upstream.target->provider->name);
    }
}


/* Cleans a text that the NUL between name and value may divide. */

static ngx_uint_t
ngx_http_llm_response_clean_text(ngx_llm_quote_t *quote, u_char *p,
    u_char *last)
{
    ngx_uint_t  cleaned;

    cleaned = ngx_llm_quote_found(quote, p, last);

    ngx_llm_quote_mask(quote, p, last);

    for ( /* void */ ; p < last; p++) {

        if (*p != '\0' && ngx_llm_field_control(*p)) {
            *p = ' ';
            cleaned = 1;
        }
    }

    return cleaned;
}


/* Skips a 1xx response and reads the next one. */

static ngx_int_t
ngx_http_llm_response_interim(ngx_http_request_t *r)
{
    ngx_uint_t            interim;
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    interim = ctx->response.interim + 1;

    if (ctx->response.status.code == NGX_HTTP_SWITCHING_PROTOCOLS
        || interim > NGX_HTTP_LLM_INTERIM_MAX)
    {
        return ngx_http_llm_response_none(r, "an interim answer too many");
    }

    ngx_http_llm_response_reinit(r);
    ctx->response.interim = interim;

    ngx_memzero(&u->headers_in, sizeof(ngx_http_upstream_headers_in_t));
    u->headers_in.content_length_n = -1;
    u->headers_in.last_modified_time = -1;

    if (ngx_list_init(&u->headers_in.headers, r->pool, 8,
                      sizeof(ngx_table_elt_t))
        != NGX_OK
        || ngx_list_init(&u->headers_in.trailers, r->pool, 2,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    u->state->status = 0;

    return ngx_http_llm_response_status_line(r);
}


static ngx_int_t
ngx_http_llm_response_none(ngx_http_request_t *r, const char *reason)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->response.reason = reason;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm response: rejected, %s", reason);

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_llm_response_room(ngx_http_request_t *r)
{
    size_t               size;
    ngx_buf_t           *b;
    ngx_http_llm_ctx_t  *ctx;

    b = &r->upstream->buffer;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    /* bytes of the header, or of the held body */

    size = ctx->response.parsed ? b->last - b->pos : b->end - b->start;

    if (ctx->response.parsed && size >= NGX_HTTP_LLM_HOLD) {
        return NGX_OK;
    }

    if (b->last < b->end) {
        return NGX_AGAIN;
    }

    if (size >= NGX_HTTP_LLM_HOLD) {
        return ngx_http_llm_response_none(r, "too big a header");
    }

    size = ngx_max(2 * size, (size_t) ngx_pagesize);

    if (ngx_http_llm_response_resize(r, ngx_min(size, NGX_HTTP_LLM_HOLD))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


#define ngx_http_llm_rebase(p, delta)                                         \
    if (p) {                                                                  \
        p += delta;                                                           \
    }


/* Makes the buffer large enough for the header, or for a body of that size. */

static ngx_int_t
ngx_http_llm_response_resize(ngx_http_request_t *r, size_t size)
{
    size_t               used;
    u_char              *p, *from;
    ptrdiff_t            delta;
    ngx_buf_t           *b;
    ngx_http_llm_ctx_t  *ctx;

    b = &r->upstream->buffer;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    from = ctx->response.parsed ? b->pos : b->start;
    used = b->last - from;

    if (size < used) {
        size = used;
    }

    if ((size_t) (b->end - b->start) >= size) {
        p = b->start;
        size = b->end - b->start;

    } else {
        p = ngx_palloc(r->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_memmove(p, from, used);

    delta = p - from;

    if (!ctx->response.parsed) {
        ngx_http_llm_rebase(r->header_name_start, delta);
        ngx_http_llm_rebase(r->header_name_end, delta);
        ngx_http_llm_rebase(r->header_start, delta);
        ngx_http_llm_rebase(r->header_end, delta);
        ngx_http_llm_rebase(ctx->response.status.start, delta);
        ngx_http_llm_rebase(ctx->response.status.end, delta);
    }

    b->pos += delta;
    b->last += delta;
    b->start = p;
    b->end = p + size;

    return NGX_OK;
}
