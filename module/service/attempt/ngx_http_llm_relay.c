/*
 * The answer's way to the client: each span goes out at once, as a buffer
 * that points into the provider's.  On its way the answer is read (usage,
 * finish reasons), the usage chunk that we asked for is left out, and the end
 * is judged: a cut answer must never look complete.
 */


#include <ngx_http_llm_relay.h>


static ngx_int_t ngx_http_llm_relay_events(ngx_http_request_t *r, u_char *pos,
    u_char **end);
static ngx_inline ngx_uint_t ngx_http_llm_relay_over(ngx_http_request_t *r,
    ngx_llm_answer_t *answer);
static ngx_int_t ngx_http_llm_relay_event(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, u_char **start, u_char *event, u_char *end);
static ngx_int_t ngx_http_llm_relay_hold(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, u_char *pos, u_char *last);
static ngx_buf_t *ngx_http_llm_relay_tail(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_relay_release(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_relay_emit(ngx_http_request_t *r, u_char *pos,
    u_char *last);
static void ngx_http_llm_relay_link(ngx_http_request_t *r, ngx_chain_t *cl);
static ngx_int_t ngx_http_llm_relay_judge(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_int_t rc);
static ngx_uint_t ngx_http_llm_relay_whole(ngx_http_llm_ctx_t *ctx,
    ngx_int_t rc);
static ngx_uint_t ngx_http_llm_relay_ends(ngx_http_llm_charge_t *charge);


ngx_int_t
ngx_http_llm_relay_span(ngx_http_request_t *r, u_char *pos, u_char **end)
{
    u_char                   *last;
    size_t                    read;
    ngx_llm_answer_t         *answer;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    charge = ctx->charge;
    answer = charge->answer;

    if (ctx->relay.ending) {

        /* behind the last event only the LF of its CRLF belongs to it */

        ctx->relay.ending = 0;
        ctx->relay.over = 1;
        *end = pos + (*pos == LF);

        return ngx_http_llm_relay_emit(r, pos, *end);
    }

    if (ctx->relay.over) {
        *end = pos;
        return NGX_OK;
    }

    last = *end;
    ctx->relay.size += last - pos;

    if (llcf->max_size && ctx->relay.size > llcf->max_size) {
        ctx->relay.oversize = 1;
        return NGX_ERROR;
    }

    if (!charge->timed
        && (answer == NULL || answer->shown || !ctx->judge.unproven))
    {
        charge->timed = 1;
        charge->ttft = ngx_current_msec - charge->start;
    }

    if (ctx->judge.substitute.data) {

        /* the provider's error, taken out of its event */

        r->upstream->length = 0;
        r->upstream->keepalive = 0;

        return ngx_http_llm_relay_emit(r, ctx->judge.substitute.data,
                                       ctx->judge.substitute.data
                                       + ctx->judge.substitute.len);
    }

    if (answer == NULL) {
        return ngx_http_llm_relay_emit(r, pos, last);
    }

    if (ctx->response.stream) {
        return ngx_http_llm_relay_events(r, pos, end);
    }

    read = ctx->relay.begun ? 0 : ctx->judge.read;
    ctx->relay.begun = 1;

    if (ngx_http_llm_relay_emit(r, pos, last) != NGX_OK) {
        return NGX_ERROR;
    }

    pos += read;

    while (pos < last) {
        (void) ngx_llm_answer_feed(answer, &pos, last);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_relay_events(ngx_http_request_t *r, u_char *pos, u_char **end)
{
    u_char              *start, *event, *last;
    ngx_llm_answer_t    *answer;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    answer = ctx->charge->answer;
    last = *end;

    /* [start, pos) has been read and not sent yet */

    start = pos;

    if (ctx->relay.lf) {
        ctx->relay.lf = 0;
        start += (*pos == LF);
    }

    if (!ctx->relay.begun) {
        ctx->relay.begun = 1;

        /* the judge has read the events that were held, but left none out */

        ngx_llm_answer_init(answer, answer->kind, answer->api, answer->n);
    }

    while (pos < last && !ngx_http_llm_relay_over(r, answer)) {

        event = pos;

        if (ngx_llm_answer_feed(answer, &pos, last) == NGX_OK) {

            if (answer->sse.start) {
                event = answer->sse.start;
            }

            if (ngx_http_llm_relay_event(r, ctx, &start, event, pos)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        ctx->relay.pending += last - event;

        if (answer->sse.start) {
            event = answer->sse.start;

        } else if (ctx->relay.tail == NULL) {
            /* comments, or the rest of what passes anyway */
            break;
        }

        if (ctx->relay.passing || ctx->drain.active) {
            break;
        }

        /* it may have to be left out, or never be completed: half an event
           before an error event would hide it from the client */

        if (ngx_http_llm_relay_hold(r, ctx, event, last) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ctx->relay.tail) {
            last = event;
        }

        break;
    }

    if (start != pos) {
        /* bytes follow the dropped event */
        ctx->relay.lf = 0;
    }

    if (ngx_http_llm_relay_over(r, answer)) {

        /* it ends here, whatever comes behind it, but for a CR's LF */

        ctx->relay.ending = (pos == last && answer->sse.cr);
        ctx->relay.over = !ctx->relay.ending;
        last = pos;
        *end = pos;
    }

    if (r->upstream->length > 0 && ngx_http_llm_relay_ends(ctx->charge)) {

        /* all was said: a close is as good an end as the last chunk */

        r->upstream->length = -1;
    }

    return (start < last) ? ngx_http_llm_relay_emit(r, start, last) : NGX_OK;
}


/* A response with Content-Length is passed to its last byte. */

static ngx_inline ngx_uint_t
ngx_http_llm_relay_over(ngx_http_request_t *r, ngx_llm_answer_t *answer)
{
    return answer->over && r->headers_out.content_length_n == -1;
}


/* an event has ended at end; [*start, end) has not been sent yet */

static ngx_int_t
ngx_http_llm_relay_event(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char **start, u_char *event, u_char *end)
{
    ngx_uint_t  drop;

    drop = (ctx->relay.strip && !ctx->relay.passing
            && ctx->charge->answer->event.usage_only);

    ctx->relay.passing = 0;
    ctx->relay.pending = 0;

    if (!drop) {
        return ctx->relay.tail ? ngx_http_llm_relay_release(r, ctx) : NGX_OK;
    }

    if (ctx->relay.tail) {
        ctx->relay.tail->last = ctx->relay.tail->pos;
        ctx->relay.tail = NULL;
    }

    if (*start < event && ngx_http_llm_relay_emit(r, *start, event) != NGX_OK)
    {
        return NGX_ERROR;
    }

    *start = end;

    /* its LF may still be to come */
    ctx->relay.lf = (end[-1] == CR);

    return NGX_OK;
}


/*
 * The provider's buffer is used again before the event is complete, so its
 * start is copied; one too long to be a usage chunk is sent after all.
 */

static ngx_int_t
ngx_http_llm_relay_hold(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *pos, u_char *last)
{
    size_t      len, used, size;
    u_char     *p;
    ngx_buf_t  *b;

    len = last - pos;
    b = ctx->relay.tail;
    used = b ? (size_t) (b->last - b->pos) : 0;

    if (used + len > NGX_HTTP_LLM_HOLD) {
        ctx->relay.passing = 1;
        return b ? ngx_http_llm_relay_release(r, ctx) : NGX_OK;
    }

    if (b == NULL) {
        b = ngx_http_llm_relay_tail(r, ctx);
        if (b == NULL) {
            return NGX_ERROR;
        }
    }

    if ((size_t) (b->end - b->start) < used + len) {
        size = ngx_max(2 * (used + len), 1024);

        p = ngx_palloc(r->pool, size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (used) {
            ngx_memcpy(p, b->pos, used);
        }

        b->start = p;
        b->pos = p;
        b->last = p + used;
        b->end = p + size;
    }

    b->last = ngx_cpymem(b->last, pos, len);
    ctx->relay.tail = b;

    return NGX_OK;
}


/*
 * Returns an empty buffer.  Buffers are sent in the order of the list, so the
 * first one alone tells if there is one to reuse.
 */

static ngx_buf_t *
ngx_http_llm_relay_tail(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ctx->relay.tails;

    if (cl && cl->buf->pos == cl->buf->last) {
        b = cl->buf;
        b->pos = b->start;
        b->last = b->start;

        ctx->relay.tails = cl->next;

    } else {
        cl = ngx_alloc_chain_link(r->pool);
        b = ngx_calloc_buf(r->pool);

        if (cl == NULL || b == NULL) {
            return NULL;
        }

        cl->buf = b;
    }

    cl->next = NULL;

    if (ctx->relay.tails) {
        ctx->relay.tails_last->next = cl;

    } else {
        ctx->relay.tails = cl;
    }

    ctx->relay.tails_last = cl;

    return b;
}


static ngx_int_t
ngx_http_llm_relay_release(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = ctx->relay.tail;
    ctx->relay.tail = NULL;

    if (ctx->drain.active) {
        return NGX_OK;
    }

    cl = ngx_alloc_chain_link(r->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b->memory = 1;
    b->flush = 1;

    /* the tag keeps it out of u->free_bufs */
    b->tag = (ngx_buf_tag_t) &ngx_http_llm_relay_release;

    cl->buf = b;
    cl->next = NULL;

    ngx_http_llm_relay_link(r, cl);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_relay_emit(ngx_http_request_t *r, u_char *pos, u_char *last)
{
    ngx_buf_t            *b;
    ngx_chain_t          *cl;
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (pos == last || ctx->drain.active) {
        return NGX_OK;
    }

    u = r->upstream;

    cl = ngx_chain_get_free_buf(r->pool, &u->free_bufs);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    b = cl->buf;

    b->pos = pos;
    b->last = last;
    b->start = pos;
    b->memory = 1;
    b->flush = 1;
    b->tag = u->output.tag;

    cl->next = NULL;

    ngx_http_llm_relay_link(r, cl);

    return NGX_OK;
}


/* nothing else appends to u->out_bufs, and nginx empties it as a whole */

static void
ngx_http_llm_relay_link(ngx_http_request_t *r, ngx_chain_t *cl)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (r->upstream->out_bufs) {
        ctx->relay.out_last->next = cl;

    } else {
        r->upstream->out_bufs = cl;
    }

    ctx->relay.out_last = cl;
}


ngx_int_t
ngx_http_llm_relay_end(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_llm_answer_t    *answer;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    answer = ctx->charge->answer;

    if (ctx->drain.active) {

        if (answer && rc == 0) {
            ngx_llm_answer_eof(answer);
        }

        ctx->charge->end = ngx_http_llm_relay_whole(ctx, rc)
                           ? NGX_HTTP_LLM_END_DRAINED
                           : NGX_HTTP_LLM_END_ABORTED;
        return NGX_OK;
    }

    if ((rc == NGX_ERROR && !ctx->framing.broken && !ctx->relay.oversize)
        || rc == NGX_DONE
        || rc == NGX_HTTP_CLIENT_CLOSED_REQUEST
        || rc == NGX_HTTP_REQUEST_TIME_OUT || r->connection->error)
    {
        ctx->charge->end = NGX_HTTP_LLM_END_ABORTED;
        return NGX_OK;
    }

    if (answer && rc == 0) {
        ngx_llm_answer_eof(answer);
    }

    /* a part of an event is none */

    if (ctx->relay.tail && rc == 0 && answer->cut
        && !(ctx->relay.strip && answer->event.usage_only)
        && ngx_http_llm_relay_release(r, ctx) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (r->upstream->out_bufs
        && ngx_http_output_filter(r, r->upstream->out_bufs) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_relay_judge(r, ctx, rc);
}


static ngx_int_t
ngx_http_llm_relay_judge(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_int_t rc)
{
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;

    if (ctx->judge.substitute.data && rc == 0) {
        charge->end = NGX_HTTP_LLM_END_ERROR;
        return NGX_OK;
    }

    if (charge->answer && !charge->answer->shown
        && (ctx->response.stream || charge->answer->closed))
    {
        charge->bad_answer = 1;
    }

    if (ctx->response.stream && charge->answer && charge->answer->failed) {

        /* the stream has an error event of the provider */

        charge->end = NGX_HTTP_LLM_END_ERROR;
        return NGX_OK;
    }

    if (ngx_http_llm_relay_whole(ctx, rc)) {
        charge->end = NGX_HTTP_LLM_END_COMPLETE;
        return NGX_OK;
    }

    charge->end = NGX_HTTP_LLM_END_TRUNCATED;
    charge->unread = (ctx->relay.pending > NGX_HTTP_LLM_HOLD);

    if (ctx->relay.oversize) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "llm_provider \"%V\" sent more than "
                      "llm_max_response_size",
                      &ctx->upstream.target->provider->name);

    } else {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "llm_provider \"%V\" cut its answer short",
                      &ctx->upstream.target->provider->name);
    }

    return (ctx->response.stream && !ctx->response.coded) ? NGX_DECLINED
                                                          : NGX_ERROR;
}


/* was it all of the answer? */

static ngx_uint_t
ngx_http_llm_relay_whole(ngx_http_llm_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;

    if (charge->answer == NULL || ctx->judge.substitute.data) {
        return rc == 0;
    }

    if (ctx->response.stream) {
        return !charge->answer->failed
               && ngx_llm_answer_complete(charge->answer)
               && (rc == 0 || ngx_http_llm_relay_ends(charge));
    }

    return rc == 0
           && (ctx->framing.complete
               || ngx_llm_answer_complete(charge->answer));
}


/* Returns 1 if the events of the stream show that it is complete. */

static ngx_uint_t
ngx_http_llm_relay_ends(ngx_http_llm_charge_t *charge)
{
    return charge->operation->api->ends != NGX_LLM_ENDS_BODY
           && ngx_llm_answer_complete(charge->answer);
}


ngx_int_t
ngx_http_llm_relay_close(ngx_http_request_t *r)
{
    ngx_buf_t           *b;
    ngx_chain_t         *cl;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    cl = ngx_alloc_chain_link(r->pool);
    b = ngx_calloc_buf(r->pool);

    if (cl == NULL || b == NULL) {
        return NGX_ERROR;
    }

    b->last_buf = 1;
    b->tag = (ngx_buf_tag_t) &ngx_http_llm_relay_close;

    cl->buf = b;
    cl->next = NULL;

    (void) ngx_http_llm_relay_judge(r, ctx, 0);

    ctx->relay.closed = 1;

    ngx_http_llm_relay_link(r, cl);

    return NGX_OK;
}


void
ngx_http_llm_relay_error(ngx_http_request_t *r, ngx_str_t *body)
{
    u_char              *p;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_llm_answer_t    *answer;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    b = ngx_create_temp_buf(r->pool, body->len + sizeof("\n\ndata: \n\n"));
    if (b == NULL) {
        return;
    }

    p = b->pos;
    answer = ctx->charge->answer;

    if (answer && answer->kind == NGX_LLM_ANSWER_LINES) {
        b->last = ngx_sprintf(p, "\n%V\n", body);

    } else {

        if (ctx->relay.tail == NULL && answer
            && !ngx_llm_answer_boundary(answer))
        {
            /* a part of an event is out: the client must not join ours to it */
            p = ngx_cpymem(p, "\n\n", 2);
        }

        b->last = ngx_sprintf(p, "data: %V\n\n", body);
    }

    b->flush = 1;

    out.buf = b;
    out.next = NULL;

    (void) ngx_http_output_filter(r, &out);
}
