/*
 * The meter of plain locations (llm_meter on): reads an answer of proxy_pass
 * or any other handler as it passes, from memory, file or cache, and notes
 * usage, finish reason and completeness in the charge.  It changes nothing,
 * copies nothing and refuses nothing.  Answers of llm_pass are read by the
 * relay, before anything is left out of them.
 */


#include <ngx_http_llm_meter.h>
#include <ngx_http_llm_type.h>


static ngx_int_t ngx_http_llm_meter_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_meter_start(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_meter_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static void ngx_http_llm_meter_feed(ngx_llm_answer_t *answer, u_char *pos,
    u_char *last);
static void ngx_http_llm_meter_end(ngx_http_llm_charge_t *charge);


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
        && r->headers_out.status == NGX_HTTP_OK && !r->header_only
        && r->method != NGX_HTTP_HEAD)
    {
        ctx->meter.active = 1;

        if (ngx_http_llm_meter_start(r, ctx->charge) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_llm_next_header_filter(r);
}


/* an answer that is coded, or neither a stream nor JSON, stays unread */

static ngx_int_t
ngx_http_llm_meter_start(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_str_t   *type;
    ngx_uint_t   kind;

    charge->answer = NULL;

    if (!(charge->operation->methods & NGX_HTTP_POST)) {

        /* a list of models uses no tokens */

        return NGX_OK;
    }

    charge->answered = 1;

    type = &r->headers_out.content_type;

    if (r->headers_out.content_encoding
        && r->headers_out.content_encoding->value.len)
    {
        return NGX_OK;
    }

    if (ngx_http_llm_type_stream(type)) {
        kind = NGX_LLM_ANSWER_STREAM;
        charge->stream = 1;

    } else if (ngx_http_llm_type_json(type)) {
        kind = NGX_LLM_ANSWER_JSON;

    } else {
        return NGX_OK;
    }

    charge->answer = ngx_pmemalign(r->pool, sizeof(ngx_llm_answer_t),
                                   NGX_POOL_ALIGNMENT);
    if (charge->answer == NULL) {
        return NGX_ERROR;
    }

    ngx_llm_answer_init(charge->answer, kind);

    r->filter_need_in_memory = 1;

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

        /* what is not read may pass as a part of a file */

        if (!charge->timed && ngx_buf_size(cl->buf)) {
            charge->timed = 1;
            charge->ttft = ngx_current_msec - charge->start;
        }

        if (charge->answer && ngx_buf_in_memory(cl->buf)) {
            ngx_http_llm_meter_feed(charge->answer, cl->buf->pos,
                                    cl->buf->last);
        }

        if (cl->buf->last_buf) {
            ngx_http_llm_meter_end(charge);
        }
    }

    return ngx_http_llm_next_body_filter(r, in);
}


static void
ngx_http_llm_meter_feed(ngx_llm_answer_t *answer, u_char *pos, u_char *last)
{
    while (pos < last) {
        (void) ngx_llm_answer_feed(answer, &pos, last);
    }
}


/*
 * The body's end is the answer's end unless the answer says otherwise: where
 * a close ends the body, nginx takes a cut for the end.
 */

static void
ngx_http_llm_meter_end(ngx_http_llm_charge_t *charge)
{
    ngx_llm_answer_t  *answer;

    answer = charge->answer;
    charge->end = NGX_HTTP_LLM_END_COMPLETE;

    if (answer == NULL) {
        return;
    }

    if (!charge->stream) {

        if (!answer->closed && !answer->malformed) {
            charge->end = NGX_HTTP_LLM_END_TRUNCATED;
        }

        return;
    }

    ngx_llm_answer_eof(answer);

    if (answer->failed) {
        charge->end = NGX_HTTP_LLM_END_ERROR;

    } else if (!ngx_llm_answer_complete(answer, charge->operation->ends)) {
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
