/*
 * Is it an answer?  By its status, then by the first event or the complete
 * JSON, which are held back until they are judged: an error inside a 200 can
 * still become another attempt.  A failure that moves on may be kept for the
 * case that nobody else answers.
 */


#include <ngx_http_llm_judge.h>


static ngx_uint_t ngx_http_llm_judge_class(ngx_uint_t status);
static ngx_int_t ngx_http_llm_judge_refusal(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_judge_verdict(ngx_llm_blame_e blame,
    ngx_uint_t status);
static ngx_int_t ngx_http_llm_judge_json(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_judge_stream(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_judge_error(ngx_http_request_t *r,
    u_char *start, u_char *last);
static size_t ngx_http_llm_judge_data(u_char *start, u_char *last);


/* what the status alone decides */

ngx_int_t
ngx_http_llm_judge_status(ngx_http_request_t *r)
{
    ngx_uint_t           status;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    status = ctx->response.status.code;
    ctx->judge.hint = -1;

    if (status >= 300 && status < 400) {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       "a redirect");
    }

    if (status >= 400) {

        /* whom it concerns, its body may know better */

        ctx->judge.verdict = ngx_http_llm_judge_class(status);
        ctx->judge.keeping = 1;

        return NGX_OK;
    }

    if (ctx->response.coded
        || !(ctx->response.stream || ctx->response.json))
    {
        return NGX_OK;
    }

    /* beside the pool: it would open another block of it for itself */

    ctx->charge->answer = ngx_pmemalign(r->pool, sizeof(ngx_llm_answer_t),
                                        NGX_POOL_ALIGNMENT);
    if (ctx->charge->answer == NULL) {
        return NGX_ERROR;
    }

    ngx_llm_answer_init(ctx->charge->answer, ctx->response.stream
                                             ? NGX_LLM_ANSWER_STREAM
                                             : NGX_LLM_ANSWER_JSON);

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_judge_class(ngx_uint_t status)
{
    switch (status) {

    case 401:
    case 402:
    case 403:
        return NGX_HTTP_LLM_NEXT_CREDENTIAL;

    case 404:
    case 405:
        return NGX_HTTP_LLM_NEXT_NOT_FOUND;

    case 408:
        return NGX_HTTP_LLM_NEXT_408;

    case 429:
        return NGX_HTTP_LLM_NEXT_429;

    default:
        return (status >= 500) ? NGX_HTTP_LLM_NEXT_5XX
                               : NGX_HTTP_LLM_NEXT_OTHER;
    }
}


ngx_int_t
ngx_http_llm_judge_body(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->judge.keeping) {

        if (ctx->framing.complete) {
            return ngx_http_llm_judge_refusal(r, ctx);
        }

        /* where the close is the end, only what moves on is waited for */

        return (ctx->framing.rest == -1 && !r->upstream->headers_in.chunked
                && ctx->framing.held
                && !ctx->upstream.exchange->next(r, ctx->judge.verdict))
               ? ngx_http_llm_judge_refusal(r, ctx) : NGX_AGAIN;
    }

    if (ctx->response.status.code != NGX_HTTP_OK) {
        return NGX_OK;
    }

    if (ctx->framing.complete && ctx->framing.held == 0) {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       "an empty answer");
    }

    if (ctx->charge->answer == NULL) {

        /* audio, coded, unknown: the first bytes are all there is to see */

        return ctx->framing.held ? NGX_OK : NGX_AGAIN;
    }

    return ctx->response.stream ? ngx_http_llm_judge_stream(r, ctx)
                                : ngx_http_llm_judge_json(r, ctx);
}


ngx_int_t
ngx_http_llm_judge_full(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    return ctx->judge.keeping ? ngx_http_llm_judge_refusal(r, ctx) : NGX_OK;
}


/* an error, all of it or as much as is held: it moves on, or is passed */

static ngx_int_t
ngx_http_llm_judge_refusal(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_uint_t  status;

    status = ctx->response.status.code;

    ctx->judge.blame = ngx_llm_blame(status, r->upstream->buffer.pos,
                                     ctx->framing.held, &ctx->judge.hint);
    ctx->judge.verdict = ngx_http_llm_judge_verdict(ctx->judge.blame, status);

    /* what concerns our key may quote it */

    if (ctx->judge.verdict == NGX_HTTP_LLM_NEXT_CREDENTIAL
        || ctx->upstream.exchange->next(r, ctx->judge.verdict))
    {
        return ngx_http_llm_judge_fail(r, ctx->judge.verdict, NULL);
    }

    ctx->judge.keeping = 0;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_judge_verdict(ngx_llm_blame_e blame, ngx_uint_t status)
{
    switch (blame) {

    case NGX_LLM_BLAME_REQUEST:
        return NGX_HTTP_LLM_NEXT_OTHER;

    case NGX_LLM_BLAME_CREDENTIAL:
        return NGX_HTTP_LLM_NEXT_CREDENTIAL;

    case NGX_LLM_BLAME_QUOTA:
        return (status == NGX_HTTP_TOO_MANY_REQUESTS)
               ? NGX_HTTP_LLM_NEXT_429 : NGX_HTTP_LLM_NEXT_CREDENTIAL;

    case NGX_LLM_BLAME_NOT_FOUND:
        return NGX_HTTP_LLM_NEXT_NOT_FOUND;

    case NGX_LLM_BLAME_RATE:
        return NGX_HTTP_LLM_NEXT_429;

    case NGX_LLM_BLAME_OVERLOAD:
        return NGX_HTTP_LLM_NEXT_5XX;

    case NGX_LLM_BLAME_TIMEOUT:
        return (status < 500) ? NGX_HTTP_LLM_NEXT_408
                              : NGX_HTTP_LLM_NEXT_5XX;

    default:
        return ngx_http_llm_judge_class(status);
    }
}


static ngx_int_t
ngx_http_llm_judge_json(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char            *pos, *start, *last;
    ngx_llm_answer_t  *answer;

    answer = ctx->charge->answer;

    start = r->upstream->buffer.pos;
    pos = start + ctx->judge.read;
    last = start + ctx->framing.held;

    (void) ngx_llm_answer_feed(answer, &pos, last);

    ctx->judge.read = ctx->framing.held;

    if (!ctx->framing.complete) {

        /* where the close is the end, a cut cannot be waited for */

        return (ctx->framing.rest == -1 && !r->upstream->headers_in.chunked
                && ctx->framing.held)
               ? NGX_OK : NGX_AGAIN;
    }

    ngx_llm_answer_eof(answer);

    return answer->event.error ? ngx_http_llm_judge_error(r, start, last)
                               : NGX_OK;
}


static ngx_int_t
ngx_http_llm_judge_stream(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char            *pos, *start, *last;
    ngx_llm_answer_t  *answer;

    answer = ctx->charge->answer;

    start = r->upstream->buffer.pos;
    pos = start + ctx->judge.read;
    last = start + ctx->framing.held;

    while (pos < last) {

        if (ngx_llm_answer_feed(answer, &pos, last) == NGX_OK
            && answer->event.data)
        {
            break;
        }
    }

    ctx->judge.read = pos - start;

    if (answer->events == 0) {

        if (!ctx->framing.complete) {
            return NGX_AGAIN;
        }

        ngx_llm_answer_eof(answer);

        if (answer->events == 0) {
            return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                           "a stream without an event");
        }
    }

    return answer->event.error ? ngx_http_llm_judge_error(r, start, pos)
                               : NGX_OK;
}


/*
 * An error inside a 200.  With nothing left to try, the provider's error
 * becomes the answer, under the status it names.
 */

static ngx_int_t
ngx_http_llm_judge_error(ngx_http_request_t *r, u_char *start, u_char *last)
{
    ngx_uint_t            status;
    ngx_llm_event_t      *event;
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    event = &ctx->charge->answer->event;
    status = event->error_status ? event->error_status
                                 : NGX_HTTP_BAD_GATEWAY;

    ctx->judge.substitute.data = start;
    ctx->judge.substitute.len = ctx->response.stream
                                ? ngx_http_llm_judge_data(start, last)
                                : (size_t) (last - start);

    ctx->judge.blame = ngx_llm_blame(ctx->response.status.code,
                                     ctx->judge.substitute.data,
                                     ctx->judge.substitute.len,
                                     &ctx->judge.hint);

    if (ctx->upstream.exchange->next(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER)
        || !event->error_object)
    {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       "an error inside a 200");
    }

    if (ctx->judge.blame == NGX_LLM_BLAME_CREDENTIAL
        || ngx_http_llm_judge_class(status) == NGX_HTTP_LLM_NEXT_CREDENTIAL)
    {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_CREDENTIAL, NULL);
    }

    if (u->headers_in.content_type) {
        ngx_str_set(&u->headers_in.content_type->value, "application/json");
    }

    u->headers_in.status_n = status;
    ngx_str_null(&u->headers_in.status_line);
    u->headers_in.content_length_n = ctx->judge.substitute.len;

    return NGX_OK;
}


/* joins the data of the event in [start, last) at start: its length */

static size_t
ngx_http_llm_judge_data(u_char *start, u_char *last)
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
            p = ngx_movemem(p, data.data, data.len);
        }

    } while (rc == NGX_DECLINED || (rc == NGX_OK && p == start));

    return p - start;
}


ngx_int_t
ngx_http_llm_judge_fail(ngx_http_request_t *r, ngx_uint_t verdict,
    const char *reason)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->judge.verdict = verdict;
    ctx->judge.failed = 1;
    ngx_str_null(&ctx->judge.substitute);

    if (reason) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm_provider \"%V\" sent %s",
                      &ctx->upstream.target->provider->name, reason);
    }

    return NGX_HTTP_UPSTREAM_INVALID_HEADER;
}


ngx_int_t
ngx_http_llm_judge_keep(ngx_http_request_t *r, ngx_http_llm_kept_t *kept)
{
    ngx_connection_t    *c;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    c = r->upstream->peer.connection;

    if (!ctx->judge.keeping) {
        return NGX_DECLINED;
    }

    if (!ctx->framing.complete
        && !(ctx->framing.rest == -1 && !r->upstream->headers_in.chunked
             && c && c->read->eof))
    {
        return NGX_DECLINED;
    }

    kept->body.len = ctx->framing.held;
    kept->body.data = ngx_pnalloc(r->pool, ctx->framing.held + 1);
    if (kept->body.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(kept->body.data, r->upstream->buffer.pos, ctx->framing.held);

    kept->status = ctx->response.status.code;
    kept->content_type = ctx->response.content_type;
    kept->headers = r->upstream->headers_in.headers;

    return NGX_OK;
}
