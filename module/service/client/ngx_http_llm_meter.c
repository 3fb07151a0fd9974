/*
 * The meter of plain locations (llm_meter on): reads an answer of proxy_pass
 * or any other handler as it passes, from memory, file or cache, and notes
 * usage, finish reason and completeness in the charge.  It changes nothing,
 * copies nothing and rejects nothing.  The relay reads the responses of
 * llm_pass, before events are dropped.
 */


#include <ngx_http_llm_filter.h>
#include "../ngx_http_llm_type.h"
#include <ngx_llm_kind.h>


static ngx_int_t ngx_http_llm_meter_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_meter_start(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_meter_answer(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_uint_t kind);
static ngx_int_t ngx_http_llm_meter_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_llm_meter_read(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, u_char *pos, u_char *last);
static ngx_int_t ngx_http_llm_meter_kind(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_meter_feed(ngx_llm_answer_t *answer, u_char *pos,
    u_char *last);
static void ngx_http_llm_meter_end(ngx_http_llm_ctx_t *ctx);


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_llm_next_body_filter;


ngx_int_t
ngx_http_llm_meter_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_meter_header_filter;

    ngx_http_llm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_llm_meter_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_meter_header_filter(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (r == r->main && ctx && ctx->charge && ctx->charge->operation
        && llcf->meter && !llcf->pass && !ctx->meter.active
        && !ctx->charge->cache.replayed
        && r->headers_out.status >= NGX_HTTP_OK
        && r->headers_out.status < NGX_HTTP_SPECIAL_RESPONSE
        && r->headers_out.status != NGX_HTTP_PARTIAL_CONTENT
        && !r->header_only
        && r->method != NGX_HTTP_HEAD)
    {
        ctx->meter.active = 1;

        if (ngx_http_llm_meter_start(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_llm_next_header_filter(r);
}


/*
 * A compressed answer stays unread.  The Content-Type gives the kind of the
 * body until its first bytes show another one.
 */

static ngx_int_t
ngx_http_llm_meter_start(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_str_t              *type;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;
    charge->answer = NULL;

    if (!(charge->operation->methods & NGX_HTTP_POST)) {

        /* a list of models uses no tokens */

        return NGX_OK;
    }

    charge->answered = 1;

    type = &r->headers_out.content_type;

    if ((r->headers_out.content_encoding
         && r->headers_out.content_encoding->value.len)
        || ngx_llm_kind_octets(charge->operation->api, type))
    {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm meter does not read a response of type \"%V\", its "
                       "usage is unknown", type);
        return NGX_OK;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm meter reads a response of type \"%V\"", type);

    ctx->meter.reading = 1;
    r->filter_need_in_memory = 1;

    if (ngx_http_llm_type_stream(type)) {
        return ngx_http_llm_meter_answer(r, charge, NGX_LLM_ANSWER_STREAM);
    }

    if (ngx_http_llm_type_json(type)) {
        return ngx_http_llm_meter_answer(r, charge, NGX_LLM_ANSWER_JSON);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_meter_answer(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_uint_t kind)
{
    if (charge->answer == NULL) {
        charge->answer = ngx_pmemalign(r->pool, sizeof(ngx_llm_answer_t),
                                       NGX_POOL_ALIGNMENT);
        if (charge->answer == NULL) {
            return NGX_ERROR;
        }
    }

    charge->stream = (kind != NGX_LLM_ANSWER_JSON);

    ngx_llm_answer_init(charge->answer, kind, charge->operation->api,
                        ngx_max(charge->facts.n, 0));

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_meter_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_chain_t            *cl;
    ngx_http_llm_ctx_t     *ctx;
    ngx_http_llm_charge_t  *charge;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx == NULL || !ctx->meter.active || r != r->main) {
        return ngx_http_llm_next_body_filter(r, in);
    }

    charge = ctx->charge;

    for (cl = in; cl; cl = cl->next) {

        /* a body that is not read may be a part of a file */

        if (!charge->timed && ngx_buf_size(cl->buf)) {
            charge->timed = 1;
            charge->ttft = ngx_current_msec - charge->start;
        }

        if (ctx->meter.reading && ngx_buf_in_memory(cl->buf)
            && ngx_http_llm_meter_read(r, ctx, cl->buf->pos, cl->buf->last)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (cl->buf->last_buf) {
            ngx_http_llm_meter_end(ctx);
        }
    }

    return ngx_http_llm_next_body_filter(r, in);
}


/* the kind of a body is known by its first bytes that are not blank */

static ngx_int_t
ngx_http_llm_meter_read(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *pos, u_char *last)
{
    u_char                    ch;
    ngx_http_llm_meter_ctx_t  *meter;

    meter = &ctx->meter;

    while (pos < last && !meter->known) {

        ch = *pos++;

        if (meter->len == 0
            && (ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t'))
        {
            continue;
        }

        meter->head[meter->len++] = ch;

        if (ngx_http_llm_meter_kind(r, ctx) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ctx->charge->answer && meter->known) {
        ngx_http_llm_meter_feed(ctx->charge->answer, pos, last);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_meter_kind(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_uint_t                 kind;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_meter_ctx_t  *meter;

    charge = ctx->charge;
    meter = &ctx->meter;

    kind = ngx_llm_kind(charge->operation->api, &r->headers_out.content_type,
                        charge->facts.stream, meter->head, meter->len);

    if (kind == NGX_LLM_KIND_BLANK && meter->len < NGX_HTTP_LLM_METER_HEAD) {
        return NGX_OK;
    }

    meter->known = 1;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm meter: kind of body: %ui", kind);

    if (kind == NGX_LLM_KIND_PLAIN) {
        charge->answer = NULL;
        charge->stream = 0;
        return NGX_OK;
    }

    if (kind == NGX_LLM_KIND_NONE || kind == NGX_LLM_KIND_BLANK) {
        charge->answer = NULL;
        charge->stream = 0;
        charge->bad_answer = 1;
        return NGX_OK;
    }

    if (ngx_http_llm_meter_answer(r, charge, kind) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_http_llm_meter_feed(charge->answer, meter->head,
                            meter->head + meter->len);
    return NGX_OK;
}


/* bytes behind the last event are not part of the answer */

static void
ngx_http_llm_meter_feed(ngx_llm_answer_t *answer, u_char *pos, u_char *last)
{
    while (pos < last && !answer->over) {
        (void) ngx_llm_answer_feed(answer, &pos, last);
    }
}


/*
 * The body's end is the answer's end unless the answer says otherwise: where
 * a close ends the body, nginx takes a cut for the end.
 */

static void
ngx_http_llm_meter_end(ngx_http_llm_ctx_t *ctx)
{
    ngx_llm_answer_t       *answer;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;
    answer = charge->answer;
    charge->end = NGX_HTTP_LLM_END_COMPLETE;

    if (ctx->meter.reading && !ctx->meter.known) {
        charge->answer = NULL;
        charge->bad_answer = 1;
        return;
    }

    if (answer == NULL) {
        return;
    }

    charge->stream = (answer->kind != NGX_LLM_ANSWER_JSON);

    if (charge->stream) {
        ngx_llm_answer_eof(answer);
    }

    /* a document that is cut has been paid for */

    charge->bad_answer = (!answer->shown
                          && (charge->stream || answer->closed
                              || answer->malformed));

    if (answer->failed && charge->stream) {
        charge->end = NGX_HTTP_LLM_END_ERROR;

    } else if (!ngx_llm_answer_complete(answer)
               && (charge->stream || !answer->malformed))
    {
        charge->end = NGX_HTTP_LLM_END_TRUNCATED;
    }
}


void
ngx_http_llm_meter_done(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = charge->ctx;

    if (ctx && ctx->meter.active && charge->end == NGX_HTTP_LLM_END_NONE) {
        charge->end = r->connection->error ? NGX_HTTP_LLM_END_ABORTED
                                           : NGX_HTTP_LLM_END_TRUNCATED;
    }
}
