/*
 * The provider's answer up to the point of no return: status line, headers,
 * framing, and the hold - nothing goes to the client before the first event
 * or the complete JSON has been judged, so that an error inside a 200 can
 * still become another attempt.  After that only the framing is left.
 */


#include <ngx_http_llm_service.h>


#define NGX_HTTP_LLM_INTERIM_MAX  8


static ngx_int_t ngx_http_llm_response_status_line(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_headers(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_header_line(ngx_http_request_t *r,
    ngx_http_llm_response_ctx_t *rc);
static void ngx_http_llm_response_note(ngx_http_llm_response_ctx_t *rc,
    ngx_table_elt_t *h);
static ngx_int_t ngx_http_llm_response_interim(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_header_done(ngx_http_request_t *r);
static void ngx_http_llm_response_framing(ngx_http_request_t *r,
    ngx_http_llm_response_ctx_t *rc);
static ngx_int_t ngx_http_llm_response_classify(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_hold(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_hold_any(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_hold_kept(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_hold_json(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_hold_stream(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_error(ngx_http_request_t *r,
    u_char *start, u_char *last);
static size_t ngx_http_llm_response_data(u_char *start, u_char *last);
static ngx_int_t ngx_http_llm_response_fail(ngx_http_request_t *r,
    ngx_uint_t verdict, const char *reason);
static ngx_int_t ngx_http_llm_response_decode(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_response_wait(ngx_http_request_t *r,
    ngx_int_t full);
static ngx_int_t ngx_http_llm_response_resize(ngx_http_request_t *r,
    size_t size);
static ngx_int_t ngx_http_llm_response_chunks(ngx_http_request_t *r,
    ngx_buf_t *b, ngx_http_llm_span_pt span);
static void ngx_http_llm_response_whole(ngx_http_request_t *r,
    ngx_uint_t more);
static ngx_int_t ngx_http_llm_response_append(ngx_http_request_t *r,
    u_char *pos, u_char *last);


#if (nginx_version >= 1027002)
#define ngx_http_llm_parse_chunked(r, b, ctx)                                 \
    ngx_http_parse_chunked(r, b, ctx, 0)
#else
#define ngx_http_llm_parse_chunked(r, b, ctx)                                 \
    ngx_http_parse_chunked(r, b, ctx)
#endif


ngx_int_t
ngx_http_llm_response_reinit(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_memzero(&ctx->response, sizeof(ngx_http_llm_response_ctx_t));

    ctx->response.step = ngx_http_llm_response_status_line;
    ctx->charge->answer = NULL;
    ngx_str_null(&ctx->charge->upstream_request_id);

    r->state = 0;

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_response_read(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

#if (NGX_HTTP_SSL)

    if (r->upstream->ssl && r->upstream->peer.connection->ssl == NULL) {

        /* bytes before the handshake are nobody's answer */

        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "plain text before TLS");
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
        return ngx_http_llm_response_wait(r, NGX_ERROR);
    }

    if (rc == NGX_ERROR) {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "no valid HTTP/1.x header");
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
        }

        if (rc == NGX_AGAIN) {
            return ngx_http_llm_response_wait(r, NGX_ERROR);
        }

        if (rc == NGX_HTTP_PARSE_HEADER_DONE) {
            return ngx_http_llm_response_header_done(r);
        }

        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "an invalid header");
    }
}


/* copied: the buffer is used again for the body */

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

    umcf = ngx_http_get_module_main_conf(r, ngx_http_upstream_module);

    hh = ngx_hash_find(&umcf->headers_in_hash, h->hash, h->lowcase_key,
                       h->key.len);

    return hh ? hh->handler(r, h, hh->offset) : NGX_OK;
}


/* the headers that we ourselves look at */

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
          offsetof(ngx_http_llm_response_ctx_t, request_id) },
        { ngx_string("retry-after"),
          offsetof(ngx_http_llm_response_ctx_t, retry_after) },
        { ngx_string("retry-after-ms"),
          offsetof(ngx_http_llm_response_ctx_t, retry_after_ms) }
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

    if (h->key.len == sizeof("content-encoding") - 1
        && ngx_memcmp(h->lowcase_key, "content-encoding", h->key.len) == 0
        && h->value.len
        && ngx_strcasecmp(h->value.data, (u_char *) "identity") != 0)
    {
        response->coded = 1;
    }
}


static ngx_int_t
ngx_http_llm_response_header_done(ngx_http_request_t *r)
{
    size_t                        wanted;
    ngx_int_t                     rc;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_upstream_t          *u;
    ngx_http_llm_response_ctx_t  *response;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    if (response->status.code < NGX_HTTP_OK) {
        return ngx_http_llm_response_interim(r);
    }

    response->parsed = 1;
    ctx->charge->upstream_request_id = response->request_id;

    ngx_http_llm_response_framing(r, response);

    /* a stream stays in its small buffer: thousands of them may idle */

    if (!response->stream && !response->complete) {
        wanted = (response->rest > 0)
                 ? (size_t) ngx_min(response->rest, NGX_HTTP_LLM_HOLD)
                 : 4 * ngx_pagesize;

        if (ngx_http_llm_response_resize(r, wanted) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    rc = ngx_http_llm_response_classify(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!response->coded && u->headers_in.status_n < NGX_HTTP_SPECIAL_RESPONSE
        && (response->stream || response->json))
    {
        ctx->charge->answer = ngx_palloc(r->pool, sizeof(ngx_llm_answer_t));
        if (ctx->charge->answer == NULL) {
            return NGX_ERROR;
        }

        ngx_llm_answer_init(ctx->charge->answer, response->stream
                                                 ? NGX_LLM_ANSWER_STREAM
                                                 : NGX_LLM_ANSWER_JSON);
    }

    response->step = ngx_http_llm_response_hold;

    return ngx_http_llm_response_hold(r);
}


/* 1xx: forget it, the answer is still to come */

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
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "an interim answer too many");
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


static void
ngx_http_llm_response_framing(ngx_http_request_t *r,
    ngx_http_llm_response_ctx_t *response)
{
    ngx_str_t            *type;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    type = &response->content_type;

    response->stream = (type->len >= sizeof("text/event-stream") - 1
                        && ngx_strncasecmp(type->data,
                                           (u_char *) "text/event-stream",
                                           sizeof("text/event-stream") - 1)
                           == 0);

    response->json = (!response->stream && type->len
                      && ngx_strlcasestrn(type->data, type->data + type->len,
                                          (u_char *) "json", 4 - 1)
                         != NULL);

    if (u->headers_in.connection_close) {
        response->connection_close = 1;
    }

    if (u->headers_in.chunked) {
        u->headers_in.content_length_n = -1;
    }

    response->rest = u->headers_in.content_length_n;

    if (response->status.code == NGX_HTTP_NO_CONTENT
        || response->status.code == NGX_HTTP_NOT_MODIFIED)
    {
        response->rest = 0;
        u->headers_in.chunked = 0;
    }

    if (response->rest == 0) {
        response->complete = 1;
    }
}


/* what the status alone decides; NGX_OK: read on */

static ngx_int_t
ngx_http_llm_response_classify(ngx_http_request_t *r)
{
    ngx_uint_t                    status, verdict;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_response_ctx_t  *response;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;
    status = response->status.code;

    if (status < NGX_HTTP_SPECIAL_RESPONSE) {

        if (status == NGX_HTTP_OK && response->complete) {
            return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                              "an empty answer");
        }

        return NGX_OK;
    }

    switch (status) {

    case 401:
    case 402:
    case 403:
        verdict = NGX_HTTP_LLM_NEXT_CREDENTIAL;
        break;

    case 404:
    case 405:
        verdict = NGX_HTTP_LLM_NEXT_NOT_FOUND;
        break;

    case 408:
        verdict = NGX_HTTP_LLM_NEXT_408;
        break;

    case 429:
        verdict = NGX_HTTP_LLM_NEXT_429;
        break;

    default:
        verdict = (status >= 500) ? NGX_HTTP_LLM_NEXT_5XX : 0;
    }

    response->verdict = verdict;

    if (status < 400) {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "a redirect");
    }

    if (verdict && ctx->upstream.exchange->next(r, verdict)) {
        response->keeping = 1;
        response->keep_since = ngx_current_msec;
        return NGX_OK;
    }

    if (verdict == NGX_HTTP_LLM_NEXT_CREDENTIAL) {

        /* it concerns our key, and may quote it */

        return ngx_http_llm_response_fail(r, verdict, NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_response_hold(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_response_ctx_t  *response;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    if (ngx_http_llm_response_decode(r) != NGX_OK) {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "an invalid chunk");
    }

    if (response->keeping) {
        return ngx_http_llm_response_hold_kept(r);
    }

    if (response->status.code != NGX_HTTP_OK) {
        return NGX_OK;
    }

    if (response->complete && response->held == 0) {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "an empty answer");
    }

    if (ctx->charge->answer == NULL) {
        return ngx_http_llm_response_hold_any(r);
    }

    if (response->stream) {
        return ngx_http_llm_response_hold_stream(r);
    }

    return ngx_http_llm_response_hold_json(r);
}


/* audio, coded, unknown: the first bytes are all there is to judge */

static ngx_int_t
ngx_http_llm_response_hold_any(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    return ctx->response.held ? NGX_OK
                              : ngx_http_llm_response_wait(r, NGX_OK);
}


/* an error that will be followed by another attempt: keep it if it is short */

static ngx_int_t
ngx_http_llm_response_hold_kept(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (!ctx->response.complete) {

        rc = ngx_http_llm_response_wait(r, NGX_OK);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_http_llm_response_fail(r, ctx->response.verdict, NULL);
}


static ngx_int_t
ngx_http_llm_response_hold_json(ngx_http_request_t *r)
{
    u_char                       *pos, *last;
    ngx_llm_answer_t             *answer;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_response_ctx_t  *response;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;
    answer = ctx->charge->answer;

    pos = r->upstream->buffer.pos + response->read;
    last = r->upstream->buffer.pos + response->held;

    (void) ngx_llm_answer_feed(answer, &pos, last);

    response->read = response->held;

    if (response->complete) {
        ngx_llm_answer_eof(answer);

        if (answer->event.error) {
            return ngx_http_llm_response_error(r, r->upstream->buffer.pos,
                                               last);
        }

        return NGX_OK;
    }

    if (response->rest == -1 && !r->upstream->headers_in.chunked
        && response->held)
    {
        /* its end cannot be told from a cut: no use in waiting for it */
        return NGX_OK;
    }

    return ngx_http_llm_response_wait(r, NGX_OK);
}


static ngx_int_t
ngx_http_llm_response_hold_stream(ngx_http_request_t *r)
{
    u_char                       *pos, *start, *last;
    ngx_llm_answer_t             *answer;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_response_ctx_t  *response;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;
    answer = ctx->charge->answer;

    start = r->upstream->buffer.pos;
    pos = start + response->read;
    last = start + response->held;

    while (pos < last) {

        if (ngx_llm_answer_feed(answer, &pos, last) == NGX_OK
            && answer->event.data)
        {
            response->read = pos - start;
            goto event;
        }
    }

    response->read = response->held;

    if (!response->complete) {
        return ngx_http_llm_response_wait(r, NGX_OK);
    }

    ngx_llm_answer_eof(answer);

    if (!answer->event.data) {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "a stream without an event");
    }

event:

    if (answer->event.error) {
        return ngx_http_llm_response_error(r, start, start + response->read);
    }

    return NGX_OK;
}


/*
 * An error inside a 200.  With nothing left to try, the provider's error
 * becomes the answer, under the status it names.
 */

static ngx_int_t
ngx_http_llm_response_error(ngx_http_request_t *r, u_char *start,
    u_char *last)
{
    ngx_uint_t                    status;
    ngx_llm_event_t              *event;
    ngx_table_elt_t              *h;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_upstream_t          *u;
    ngx_http_llm_response_ctx_t  *response;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;
    event = &ctx->charge->answer->event;
    status = event->error_status ? event->error_status
                                 : NGX_HTTP_BAD_GATEWAY;

    if (ctx->upstream.exchange->next(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER)
        || !event->error_object)
    {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "an error inside a 200");
    }

    if (status == 401 || status == 402 || status == 403) {
        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_CREDENTIAL,
                                          NULL);
    }

    response->substitute.data = start;
    response->substitute.len = last - start;

    if (response->stream) {
        response->substitute.len = ngx_http_llm_response_data(start, last);
        response->stream = 0;
    }

    h = u->headers_in.content_type;

    if (h != NULL) {
        ngx_str_set(&h->value, "application/json");
    }

    u->headers_in.status_n = status;
    ngx_str_null(&u->headers_in.status_line);
    u->headers_in.content_length_n = response->substitute.len;

    return NGX_OK;
}


/* joins the data of the event in [start, last) at start: its length */

static size_t
ngx_http_llm_response_data(u_char *start, u_char *last)
{
    u_char         *p, *pos;
    ngx_str_t       data;
    ngx_int_t       rc;
    ngx_llm_sse_t   sse;

    ngx_llm_sse_init(&sse);

    p = start;
    pos = start;

    do {
        rc = ngx_llm_sse_next(&sse, &pos, last, &data);

        if (rc == NGX_DECLINED) {
            ngx_memmove(p, data.data, data.len);
            p += data.len;
        }

    } while (rc == NGX_DECLINED || (rc == NGX_OK && p == start));

    return p - start;
}


/* this attempt has failed; reason is told to the operator */

static ngx_int_t
ngx_http_llm_response_fail(ngx_http_request_t *r, ngx_uint_t verdict,
    const char *reason)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->response.verdict = verdict;
    ctx->response.soft = 1;

    if (reason) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm_provider \"%V\" sent %s",
                      &ctx->upstream.target->provider->name, reason);
    }

    return NGX_HTTP_UPSTREAM_INVALID_HEADER;
}


/* u->buffer: [pos, pos + held) is decoded body, what follows is raw */

static ngx_int_t
ngx_http_llm_response_decode(ngx_http_request_t *r)
{
    size_t                        n;
    ngx_buf_t                    *b, raw;
    ngx_int_t                     rc;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_upstream_t          *u;
    ngx_http_llm_response_ctx_t  *response;

    u = r->upstream;
    b = &u->buffer;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    raw = *b;
    raw.pos = b->pos + response->held;
    n = raw.last - raw.pos;

    rc = NGX_OK;

    if (response->complete) {
        ngx_http_llm_response_whole(r, n > 0);

    } else if (u->headers_in.chunked) {

        rc = ngx_http_llm_response_chunks(r, &raw,
                                          ngx_http_llm_response_append);

    } else if (response->rest >= 0) {

        if ((off_t) n >= response->rest) {
            response->held += (size_t) response->rest;
            ngx_http_llm_response_whole(r, (off_t) n > response->rest);
            response->rest = 0;

        } else {
            response->held += n;
            response->rest -= n;
        }

    } else {
        response->held += n;
    }

    b->last = b->pos + response->held;

    return rc;
}


static ngx_int_t
ngx_http_llm_response_append(ngx_http_request_t *r, u_char *pos, u_char *last)
{
    u_char              *p;
    ngx_buf_t           *b;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    b = &r->upstream->buffer;

    if (ctx->response.held == 0) {
        b->pos = pos;

    } else {
        p = b->pos + ctx->response.held;

        if (p != pos) {
            ngx_memmove(p, pos, last - pos);
        }
    }

    ctx->response.held += last - pos;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_response_chunks(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_http_llm_span_pt span)
{
    u_char                       *pos;
    ngx_int_t                     rc;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_response_ctx_t  *response;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    for ( ;; ) {

        rc = ngx_http_llm_parse_chunked(r, b, &response->chunked);

        if (rc == NGX_OK) {

            /* a chunk, or the part of it that has come */

            pos = b->pos;

            if ((off_t) (b->last - b->pos) >= response->chunked.size) {
                b->pos += (size_t) response->chunked.size;
                response->chunked.size = 0;

            } else {
                response->chunked.size -= b->last - b->pos;
                b->pos = b->last;
            }

            if (b->pos > pos && span(r, pos, b->pos) != NGX_OK) {
                return NGX_ERROR;
            }

            continue;
        }

        if (rc == NGX_DONE) {
            ngx_http_llm_response_whole(r, b->last > b->pos);
            return NGX_OK;
        }

        return (rc == NGX_AGAIN) ? NGX_OK : NGX_ERROR;
    }
}


/* the body is complete; bytes behind it make the connection useless */

static void
ngx_http_llm_response_whole(ngx_http_request_t *r, ngx_uint_t more)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->response.complete = 1;
    r->upstream->length = 0;
    r->upstream->keepalive = !ctx->response.connection_close && !more;
}


/* more is wanted: NGX_AGAIN; full if the buffer must not grow any further */

static ngx_int_t
ngx_http_llm_response_wait(ngx_http_request_t *r, ngx_int_t full)
{
    size_t      size;
    ngx_buf_t  *b;

    b = &r->upstream->buffer;

    if (b->last < b->end) {
        return NGX_AGAIN;
    }

    size = b->last - b->pos;

    if (full != NGX_OK) {
        /* the header is being parsed: all of it counts */
        size = b->end - b->start;
    }

    if (size >= NGX_HTTP_LLM_HOLD) {

        if (full == NGX_OK) {
            return NGX_OK;
        }

        return ngx_http_llm_response_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                          "too big a header");
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


/* room for size bytes from pos on, or from start while the header is read */

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


ngx_int_t
ngx_http_llm_response_filter(ngx_http_request_t *r, ssize_t bytes,
    ngx_http_llm_span_pt span)
{
    ngx_buf_t                    *b;
    ngx_int_t                     rc;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_upstream_t          *u;
    ngx_http_llm_response_ctx_t  *response;

    u = r->upstream;
    b = &u->buffer;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    b->pos = b->last;
    b->last += bytes;

    if (!response->begun) {
        response->begun = 1;

        if (response->substitute.data) {
            u->length = 0;
            u->keepalive = 0;
            return span(r, response->substitute.data,
                        response->substitute.data + response->substitute.len);
        }

        /* held, so decoded already */

        return span(r, b->pos, b->last);
    }

    if (response->complete) {
        ngx_http_llm_response_whole(r, 1);
        return NGX_OK;
    }

    if (u->headers_in.chunked) {
        rc = ngx_http_llm_response_chunks(r, b, span);
        b->pos = b->last;

        if (rc != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "llm_provider \"%V\" sent an invalid chunk",
                          &ctx->upstream.target->provider->name);
        }

        return rc;
    }

    if (response->rest >= 0) {

        if ((off_t) bytes >= response->rest) {
            bytes = (ssize_t) response->rest;
            ngx_http_llm_response_whole(r, b->last - b->pos > bytes);
        }

        response->rest -= bytes;

        if (!response->complete && u->length != -1) {
            u->length = response->rest;
        }
    }

    return span(r, b->pos, b->pos + bytes);
}


ngx_int_t
ngx_http_llm_response_filter_init(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->response.complete) {
        u->length = 0;

    } else if (u->headers_in.chunked) {
        u->length = 1;

    } else {
        u->length = ctx->response.rest;
    }

    if (ctx->response.held == 0) {
        ctx->response.begun = 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_response_keep(ngx_http_request_t *r, ngx_http_llm_kept_t *kept)
{
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_response_ctx_t  *response;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    response = &ctx->response;

    if (!response->keeping
        || !(response->complete
             || (response->rest == -1 && !r->upstream->headers_in.chunked
                 && r->upstream->peer.connection
                 && r->upstream->peer.connection->read->eof)))
    {
        return NGX_DECLINED;
    }

    kept->body.len = response->held;
    kept->body.data = ngx_pnalloc(r->pool, response->held + 1);
    if (kept->body.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(kept->body.data, r->upstream->buffer.pos, response->held);

    kept->status = response->status.code;
    kept->content_type = response->content_type;
    kept->retry_after = response->retry_after;
    kept->retry_after_ms = response->retry_after_ms;

    return NGX_OK;
}
