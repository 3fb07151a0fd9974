/*
 * Decides whether a response is an answer: by its status, then by its body,
 * which is held back until it has proved to be one (see ngx_llm_api.h): a
 * document until it is complete, a stream until its first output.  Until then
 * a failure can still become another attempt.  A failure that moves on may be
 * kept for the case that no other provider answers.
 */


#include <ngx_http_llm_relay.h>
#include <ngx_llm_inner_error.h>
#include <ngx_llm_kind.h>


static ngx_uint_t ngx_http_llm_judge_class(ngx_uint_t status);
static ngx_int_t ngx_http_llm_judge_refusal(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_judge_verdict(ngx_llm_error_class_e error_class,
    ngx_uint_t status);
static ngx_int_t ngx_http_llm_judge_kind(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_judge_json(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_judge_stream(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_judge_error(ngx_http_request_t *r,
    u_char *start, u_char *last);
static size_t ngx_http_llm_judge_data(u_char *start, u_char *last);
static ngx_int_t ngx_http_llm_judge_inner(ngx_http_request_t *r,
    ngx_str_t *body);
static ngx_int_t ngx_http_llm_judge_condition(ngx_http_request_t *r,
    ngx_http_llm_condition_e part, u_char *start, u_char *last);
static ngx_int_t ngx_http_llm_judge_none(ngx_http_request_t *r,
    const char *reason);


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

        /* the body of the error may name another health scope */

        ctx->judge.verdict = ngx_http_llm_judge_class(status);
        ctx->judge.keeping = 1;

        return NGX_OK;
    }

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
    ngx_int_t            rc;
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

    if (ctx->framing.complete && ctx->framing.held == 0) {
        return ngx_http_llm_judge_none(r, "an empty answer");
    }

    if (ctx->response.coded) {

        /* compressed: the first bytes are all there is to see */

        return ctx->framing.held ? NGX_OK : NGX_AGAIN;
    }

    if (!ctx->judge.known) {
        rc = ngx_http_llm_judge_kind(r, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    if (ctx->charge->answer == NULL) {

        /* audio or text, as the api has it */

        return NGX_OK;
    }

    return ctx->response.stream ? ngx_http_llm_judge_stream(r, ctx)
                                : ngx_http_llm_judge_json(r, ctx);
}


/* the kind of the body, by the first bytes that are not blank */

static ngx_int_t
ngx_http_llm_judge_kind(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_uint_t              kind;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;

    kind = ngx_llm_kind(charge->operation->api, &ctx->response.content_type,
                        charge->facts.stream, r->upstream->buffer.pos,
                        ctx->framing.held);

    if (kind == NGX_LLM_KIND_BLANK) {
        return ctx->framing.complete
               ? ngx_http_llm_judge_none(r, "an empty answer") : NGX_AGAIN;
    }

    if (kind == NGX_LLM_KIND_NONE) {
        return ngx_http_llm_judge_none(r, "neither JSON nor an event stream");
    }

    ctx->judge.known = 1;
    ctx->response.stream = (kind == NGX_LLM_ANSWER_STREAM
                            || kind == NGX_LLM_ANSWER_LINES);
    ctx->response.json = (kind == NGX_LLM_ANSWER_JSON);

    if (kind == NGX_LLM_KIND_PLAIN) {
        return NGX_OK;
    }

    /* ngx_palloc() would open another block of the pool for it */

    charge->answer = ngx_pmemalign(r->pool, sizeof(ngx_llm_answer_t),
                                   NGX_POOL_ALIGNMENT);
    if (charge->answer == NULL) {
        return NGX_ERROR;
    }

    ngx_llm_answer_init(charge->answer, kind, charge->operation->api,
                        ngx_max(charge->facts.n, 0));

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_judge_full(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->judge.keeping) {
        return ngx_http_llm_judge_refusal(r, ctx);
    }

    if (!ctx->judge.known) {
        return ngx_http_llm_judge_none(r, "nothing but white space");
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm judge: %uz bytes are no answer yet, they are sent",
                   ctx->framing.held);

    ctx->judge.unproven = 1;

    return NGX_OK;
}


/* Judges an error response, complete or up to the limit of held bytes. */

static ngx_int_t
ngx_http_llm_judge_refusal(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char      *start;
    ngx_int_t    rc;
    ngx_uint_t   status;

    status = ctx->response.status.code;

    start = r->upstream->buffer.pos;

    rc = ngx_http_llm_judge_condition(r, NGX_HTTP_LLM_CONDITION_ERROR, start,
                                      start + ctx->framing.held);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx->judge.error_class = ngx_llm_error_class(status,
                                                 r->upstream->buffer.pos,
                                                 ctx->framing.held,
                                                 &ctx->judge.hint);
    ctx->judge.verdict = ngx_http_llm_judge_verdict(ctx->judge.error_class,
                                                    status);

    /*
     * An error that concerns the gateway's key may quote the key; a kept
     * response that met a condition precedes any error
     */

    if (ctx->judge.verdict == NGX_HTTP_LLM_NEXT_CREDENTIAL
        || ctx->upstream.exchange->next(r, ctx->judge.verdict)
        || (ctx->charge->kept.body.data
            && ctx->charge->kept.status < NGX_HTTP_SPECIAL_RESPONSE))
    {
        return ngx_http_llm_judge_fail(r, ctx->judge.verdict, NULL);
    }

    ctx->judge.keeping = 0;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_judge_verdict(ngx_llm_error_class_e error_class, ngx_uint_t status)
{
    switch (error_class) {

    case NGX_LLM_ERROR_CLASS_REQUEST:
        return NGX_HTTP_LLM_NEXT_OTHER;

    case NGX_LLM_ERROR_CLASS_CREDENTIAL:
        return NGX_HTTP_LLM_NEXT_CREDENTIAL;

    case NGX_LLM_ERROR_CLASS_QUOTA:
        return (status == NGX_HTTP_TOO_MANY_REQUESTS)
               ? NGX_HTTP_LLM_NEXT_429 : NGX_HTTP_LLM_NEXT_CREDENTIAL;

    case NGX_LLM_ERROR_CLASS_NOT_FOUND:
        return NGX_HTTP_LLM_NEXT_NOT_FOUND;

    case NGX_LLM_ERROR_CLASS_RATE:
        return NGX_HTTP_LLM_NEXT_429;

    case NGX_LLM_ERROR_CLASS_OVERLOAD:
        return NGX_HTTP_LLM_NEXT_5XX;

    case NGX_LLM_ERROR_CLASS_TIMEOUT:
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
    ngx_uint_t         complete;
    ngx_llm_answer_t  *answer;

    answer = ctx->charge->answer;

    start = r->upstream->buffer.pos;
    pos = start + ctx->judge.read;
    last = start + ctx->framing.held;

    (void) ngx_llm_answer_feed(answer, &pos, last);

    ctx->judge.read = pos - start;

    if (answer->kind == NGX_LLM_ANSWER_LINES) {

        /* a second document has followed the first */

        ctx->response.stream = 1;
        ctx->response.json = 0;
        ctx->judge.event = ctx->judge.read;

        return ngx_http_llm_judge_stream(r, ctx);
    }

    /* where the close is the end, the last brace is */

    complete = (ctx->framing.complete
                || (ctx->framing.rest == -1 && !r->upstream->headers_in.chunked
                    && answer->closed));

    if (!complete && !answer->malformed) {
        return NGX_AGAIN;
    }

    ngx_llm_answer_eof(answer);

    if (answer->malformed) {
        return ngx_http_llm_judge_none(r, "broken JSON");
    }

    if (answer->event.error) {
        return ngx_http_llm_judge_error(r, start, last);
    }

    if (!answer->shown) {
        return ngx_http_llm_judge_none(r, "JSON that is no answer");
    }

    return ngx_http_llm_judge_condition(r, NGX_HTTP_LLM_CONDITION_DOCUMENT,
                                        start, last);
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

    while (pos < last && !answer->shown) {

        if (ngx_llm_answer_feed(answer, &pos, last) != NGX_OK) {
            break;
        }

        if (answer->event.error && answer->event.data) {
            return ngx_http_llm_judge_error(r, start + ctx->judge.event, pos);
        }

        if (answer->over && !answer->shown) {
            return ngx_http_llm_judge_none(r, "a stream without output");
        }

        ctx->judge.event = pos - start;
    }

    ctx->judge.read = pos - start;

    if (answer->shown) {
        return ngx_http_llm_judge_condition(r, NGX_HTTP_LLM_CONDITION_STREAM,
                                            start, pos);
    }

    if (!ctx->framing.complete) {
        return ctx->judge.expired ? ngx_http_llm_judge_full(r) : NGX_AGAIN;
    }

    ngx_llm_answer_eof(answer);

    if (answer->cut && answer->event.error) {
        return ngx_http_llm_judge_error(r, start + ctx->judge.event, last);
    }

    if (answer->shown) {
        return ngx_http_llm_judge_condition(r, NGX_HTTP_LLM_CONDITION_STREAM,
                                            start, pos);
    }

    return ngx_http_llm_judge_none(r, "a stream without output");
}


/*
 * An error inside a 200.  With nothing left to try, the provider's error
 * becomes the answer, under the status it names.
 */

static ngx_int_t
ngx_http_llm_judge_error(ngx_http_request_t *r, u_char *start, u_char *last)
{
    ngx_int_t             rc;
    ngx_str_t             body;
    ngx_uint_t            status;
    ngx_llm_event_t      *event;
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    u = r->upstream;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    event = &ctx->charge->answer->event;
    status = event->error_status ? event->error_status
                                 : (ngx_uint_t) NGX_HTTP_BAD_GATEWAY;

    body.data = start;
    body.len = (ctx->charge->answer->kind == NGX_LLM_ANSWER_STREAM)
               ? ngx_http_llm_judge_data(start, last)
               : (size_t) (last - start);

    rc = ngx_http_llm_judge_inner(r, &body);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (ngx_http_llm_judge_condition(r, NGX_HTTP_LLM_CONDITION_ERROR,
                                     body.data, body.data + body.len)
        != NGX_OK)
    {
        return NGX_HTTP_UPSTREAM_INVALID_HEADER;
    }

    ctx->judge.error_class = ngx_llm_error_class(ctx->response.status.code,
                                                 body.data,
                                                 body.len, &ctx->judge.hint);

    if (ctx->upstream.exchange->next(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER)
        || rc != NGX_OK)
    {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER,
                                       "an error inside a 200");
    }

    if (ctx->judge.error_class == NGX_LLM_ERROR_CLASS_CREDENTIAL
        || ngx_http_llm_judge_class(status) == NGX_HTTP_LLM_NEXT_CREDENTIAL)
    {
        return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_CREDENTIAL, NULL);
    }

    ctx->judge.substitute = body;

    if (u->headers_in.content_type) {
        ngx_str_set(&u->headers_in.content_type->value, "application/json");
    }

    u->headers_in.status_n = status;
    ngx_str_null(&u->headers_in.status_line);
    u->headers_in.content_length_n = body.len;

    return NGX_OK;
}


/* the error in OpenAI's shape; NGX_DECLINED: there is nothing to tell */

static ngx_int_t
ngx_http_llm_judge_inner(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_int_t  rc;
    ngx_str_t  out;

    out.data = ngx_pnalloc(r->pool, body->len + NGX_LLM_INNER_ERROR_EXTRA);
    if (out.data == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_llm_inner_error(body->data, body->len, &out);

    if (rc == NGX_OK) {
        *body = out;
    }

    return (rc == NGX_DECLINED) ? NGX_DECLINED : NGX_OK;
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


/*
 * Gives the response up for the next target, or returns NGX_OK if it meets no
 * condition.  The response depends on the request, so no health record is
 * changed.
 */

static ngx_int_t
ngx_http_llm_judge_condition(ngx_http_request_t *r,
    ngx_http_llm_condition_e part, u_char *start, u_char *last)
{
    ngx_http_llm_ctx_t              *ctx;
    const ngx_http_llm_condition_t  *condition;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    condition = ctx->upstream.exchange->condition(r, part, start, last);

    if (condition == NULL) {
        return NGX_OK;
    }

    ctx->judge.condition = &condition->name;
    ctx->judge.error_class = NGX_LLM_ERROR_CLASS_REQUEST;

    return ngx_http_llm_judge_fail(r, condition->bit, NULL);
}


static ngx_int_t
ngx_http_llm_judge_none(ngx_http_request_t *r, const char *reason)
{
    return ngx_http_llm_judge_fail(r, NGX_HTTP_LLM_NEXT_BAD_ANSWER, reason);
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

    if (!ctx->judge.keeping
        && (!(ctx->judge.verdict & NGX_HTTP_LLM_NEXT_CONDITIONS)
            || !ctx->response.json || ctx->charge->answer->failed))
    {
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
