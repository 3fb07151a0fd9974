/*
 * The edits of the client's body for one attempt (REQ-45): the model's name,
 * members that the provider rejects, and stream_options.  The flow calls it
 * for each attempt.  ngx_http_llm_request.c applies the edits to the request,
 * the body itself is not changed.
 */


#include <ngx_http_llm_request.h>


static ngx_uint_t ngx_http_llm_splice_quirks(ngx_http_llm_ctx_t *ctx,
    ngx_uint_t quirks, ngx_http_llm_call_t *call);
static void ngx_http_llm_splice_options(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call);
static ngx_int_t ngx_http_llm_splice_model(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_call_t *call, ngx_uint_t empty);
static ngx_int_t ngx_http_llm_splice_form(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_call_t *call);
static void ngx_http_llm_splice_edit(ngx_http_llm_call_t *call, size_t pos,
    size_t len, ngx_str_t *text);


/*
 * Four edits at most: stream_options is either cut out or added to, one of
 * the token limits is cut out, the other one renamed, the model is replaced.
 */

ngx_int_t
ngx_http_llm_splice(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call)
{
    ngx_uint_t  empty;

    call->nedits = 0;
    ctx->include_usage = 0;

    if (ctx->charge->facts.form) {
        return ngx_http_llm_splice_form(r, ctx, call);
    }

    empty = ngx_http_llm_splice_quirks(ctx, provider->quirks, call);
    ngx_http_llm_splice_options(ctx, provider, call);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm splice: model \"%V\", quirks 0x%04xi, usage of a "
                   "stream is requested: %d", &call->model, provider->quirks,
                   (int) ctx->include_usage);

    return ngx_http_llm_splice_model(r, ctx, call, empty);
}


/* Cuts members that the server rejects; returns 1 if no member is left. */

static ngx_uint_t
ngx_http_llm_splice_quirks(ngx_http_llm_ctx_t *ctx, ngx_uint_t quirks,
    ngx_http_llm_call_t *call)
{
    ngx_uint_t              i, n, all;
    ngx_llm_facts_t        *facts;
    ngx_llm_json_span_t     spans[2];
    const ngx_llm_place_t  *options, *limit, *renamed;

    static ngx_str_t              nothing = ngx_null_string;
    static ngx_str_t              key = ngx_string("\"max_tokens\"");
    static const ngx_llm_place_t  none;

    facts = &ctx->charge->facts;

    options = &none;
    limit = &none;
    renamed = &facts->max_completion_place;

    if (quirks & NGX_HTTP_LLM_QUIRK_NO_STREAM_OPTIONS) {
        options = &facts->options_place;
    }

    if ((quirks & NGX_HTTP_LLM_QUIRK_MAX_TOKENS) && renamed->key) {

        /* of two limits max_tokens is kept, unless it is null */

        if (facts->max_tokens == -1) {
            limit = &facts->max_tokens_place;

            ngx_http_llm_splice_edit(call, renamed->key,
                                     sizeof("\"max_completion_tokens\"") - 1,
                                     &key);

        } else {
            limit = renamed;
        }
    }

    n = ngx_llm_json_cut(options, limit, spans, &all);

    for (i = 0; i < n; i++) {
        ngx_http_llm_splice_edit(call, spans[i].pos, spans[i].len, &nothing);
    }

    return facts->empty || all;
}


/*
 * Providers send the usage of a stream only on request.  The member is inserted
 * if the client does not set it, and the usage chunk is dropped from the
 * response then.  Under a quota the client cannot turn the usage off: another
 * value than true is replaced, and an object with two of them.
 */

static void
ngx_http_llm_splice_options(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call)
{
    ngx_llm_facts_t  *facts;

    static ngx_str_t  member =
        ngx_string("\"stream_options\":{\"include_usage\":true},");
    static ngx_str_t  value = ngx_string("{\"include_usage\":true}");
    static ngx_str_t  first = ngx_string("\"include_usage\":true,");
    static ngx_str_t  only = ngx_string("\"include_usage\":true");
    static ngx_str_t  on = ngx_string("true");

    facts = &ctx->charge->facts;

    if (!facts->stream || !ctx->charge->operation->usage
        || !provider->stream_usage
        || (provider->quirks & NGX_HTTP_LLM_QUIRK_NO_STREAM_OPTIONS)
        || (facts->include_usage != NGX_LLM_USAGE_UNSET
            && ctx->charge->quota.reserve.nclaims == 0))
    {
        return;
    }

    ctx->include_usage = (facts->include_usage != NGX_LLM_USAGE_TRUE);

    if (facts->usage_twice) {
        ngx_http_llm_splice_edit(call, facts->options_pos,
                                 facts->options_size, &value);

    } else if (facts->include_usage == NGX_LLM_USAGE_TRUE) {
        return;

    } else if (facts->usage_size) {
        ngx_http_llm_splice_edit(call, facts->usage_pos, facts->usage_size,
                                 &on);

    } else if (facts->options_null_size) {
        ngx_http_llm_splice_edit(call, facts->options_null_pos,
                                 facts->options_null_size, &value);

    } else if (facts->options_size == 0) {
        ngx_http_llm_splice_edit(call, facts->members_pos, 0, &member);

    } else {
        ngx_http_llm_splice_edit(call, facts->options_pos + 1, 0,
                                 facts->options_empty ? &only : &first);
    }
}


static ngx_int_t
ngx_http_llm_splice_model(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_call_t *call, ngx_uint_t empty)
{
    u_char           *p, *raw;
    ngx_str_t         text;
    ngx_llm_facts_t  *facts;

    facts = &ctx->charge->facts;
    raw = ctx->view.data + facts->model_pos;

    if (call->model.len == 0) {

        /* neither the client nor the target of llm_model default names one */

        return NGX_OK;
    }

    if (facts->model_size == call->model.len + 2
        && ngx_memcmp(raw + 1, call->model.data, call->model.len) == 0)
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, call->model.len + sizeof("\"model\":\"\","));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;

    if (facts->model_size || facts->model_null_size) {
        text.len = ngx_sprintf(p, "\"%V\"", &call->model) - p;

        if (facts->model_size) {
            ngx_http_llm_splice_edit(call, facts->model_pos,
                                     facts->model_size, &text);

        } else {
            ngx_http_llm_splice_edit(call, facts->model_null_pos,
                                     facts->model_null_size, &text);
        }

        return NGX_OK;
    }

    /* the model comes from llm_pass MODEL */

    text.len = ngx_sprintf(p, empty ? "\"model\":\"%V\""
                                    : "\"model\":\"%V\",",
                           &call->model)
               - p;
    ngx_http_llm_splice_edit(call, facts->members_pos, 0, &text);

    return NGX_OK;
}


/* Replaces the value of the form's field, or adds a part as the first one. */

static ngx_int_t
ngx_http_llm_splice_form(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_call_t *call)
{
    u_char           *p;
    ngx_str_t         text, delimiter;
    ngx_llm_facts_t  *facts;

    static ngx_str_t  header =
        ngx_string(CRLF "Content-Disposition: form-data; name=\"model\""
                   CRLF CRLF);

    facts = &ctx->charge->facts;

    if (call->model.len == 0) {
        return NGX_OK;
    }

    if (facts->model_size) {

        if (facts->model_size != call->model.len
            || ngx_memcmp(ctx->view.data + facts->model_pos, call->model.data,
                          call->model.len)
               != 0)
        {
            ngx_http_llm_splice_edit(call, facts->model_pos,
                                     facts->model_size, &call->model);
        }

        return NGX_OK;
    }

    /* llm_pass MODEL names it, the client does not */

    delimiter.data = ctx->view.data + facts->members_pos;
    delimiter.len = facts->delimiter_size;

    p = ngx_pnalloc(r->pool, delimiter.len + header.len + call->model.len
                             + sizeof(CRLF));
    if (p == NULL) {
        return NGX_ERROR;
    }

    text.data = p;
    text.len = ngx_sprintf(p, "%V%V%V" CRLF, &delimiter, &header,
                           &call->model)
               - p;

    ngx_http_llm_splice_edit(call, facts->members_pos, 0, &text);

    return NGX_OK;
}


/*
 * Edits are sorted by position.  At one position an insertion precedes a
 * deletion, otherwise the first added edit precedes.
 */

static void
ngx_http_llm_splice_edit(ngx_http_llm_call_t *call, size_t pos, size_t len,
    ngx_str_t *text)
{
    ngx_uint_t            i;
    ngx_http_llm_edit_t  *edit;

    for (i = call->nedits; i > 0; i--) {
        edit = &call->edits[i - 1];

        if (edit->pos < pos || (edit->pos == pos && (len || edit->len == 0))) {
            break;
        }

        call->edits[i] = *edit;
    }

    call->edits[i].pos = pos;
    call->edits[i].len = len;
    call->edits[i].text = *text;
    call->nedits++;
}
