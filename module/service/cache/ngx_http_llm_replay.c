/*
 * A cached answer goes to the client as it came, byte for byte, less the usage
 * chunk if this client has not asked for it; or rendered in the other form.
 */


#include <ngx_http_llm_copy.h>
#include <ngx_llm_shape.h>


typedef struct {
    u_char     *data;                /* NULL: only counted */
    size_t      len;
} ngx_http_llm_replay_sink_t;


static ngx_int_t ngx_http_llm_replay_render(ngx_llm_entry_t *entry,
    ngx_uint_t kind, ngx_uint_t usage, ngx_http_llm_replay_sink_t *sink);
static void ngx_http_llm_replay_put(void *data, const u_char *p, size_t len);
static ngx_int_t ngx_http_llm_replay_link(ngx_http_request_t *r,
    ngx_chain_t ***last, u_char *pos, u_char *end, ngx_uint_t final);


ngx_int_t
ngx_http_llm_replay_fit(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_entry_t *entry)
{
    ngx_int_t                    rc;
    ngx_uint_t                   kind, usage;
    ngx_http_llm_charge_t       *charge;
    ngx_http_llm_operation_t    *operation;
    ngx_http_llm_replay_sink_t   sink;

    charge = ctx->charge;
    operation = charge->operation;

    if (entry->stream == charge->facts.stream || !operation->generates) {
        return NGX_OK;
    }

    kind = (operation->api == &ngx_llm_api_responses)
           ? NGX_LLM_SHAPE_RESPONSES
           : operation->suffix.len == sizeof("completions") - 1
             ? NGX_LLM_SHAPE_COMPLETIONS : NGX_LLM_SHAPE_CHAT;

    usage = (charge->facts.include_usage == NGX_LLM_USAGE_TRUE);

    /* once for its size, and once for its bytes */

    sink.data = NULL;
    sink.len = 0;

    rc = ngx_http_llm_replay_render(entry, kind, usage, &sink);

    if (rc != NGX_OK) {
        return rc;
    }

    sink.data = ngx_pnalloc(r->pool, sink.len);
    if (sink.data == NULL) {
        return NGX_ERROR;
    }

    sink.len = 0;

    (void) ngx_http_llm_replay_render(entry, kind, usage, &sink);

    entry->body.data = sink.data;
    entry->body.len = sink.len;
    entry->usage_len = 0;
    entry->stream = charge->facts.stream;

    if (entry->stream) {
        ngx_str_set(&entry->type, "text/event-stream; charset=utf-8");

    } else {
        ngx_str_set(&entry->type, "application/json");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_replay_render(ngx_llm_entry_t *entry, ngx_uint_t kind,
    ngx_uint_t usage, ngx_http_llm_replay_sink_t *sink)
{
    return entry->stream
           ? ngx_llm_to_document(kind, entry->body.data, entry->body.len,
                                 ngx_http_llm_replay_put, sink)
           : ngx_llm_to_stream(kind, entry->body.data, entry->body.len, usage,
                               ngx_http_llm_replay_put, sink);
}


static void
ngx_http_llm_replay_put(void *data, const u_char *p, size_t len)
{
    ngx_http_llm_replay_sink_t  *sink = data;

    if (sink->data) {
        ngx_memcpy(sink->data + sink->len, p, len);
    }

    sink->len += len;
}


ngx_int_t
ngx_http_llm_replay_body(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_chain_t **out, off_t *size)
{
    size_t            skip;
    u_char           *pos, *end;
    ngx_chain_t     **last;
    ngx_llm_entry_t  *entry;

    entry = ctx->charge->cache.entry;

    pos = entry->body.data;
    end = pos + entry->body.len;
    last = out;
    skip = 0;

    if (entry->usage_len
        && ctx->charge->facts.include_usage != NGX_LLM_USAGE_TRUE)
    {
        skip = entry->usage_len;

        if (entry->usage_pos
            && ngx_http_llm_replay_link(r, &last, pos,
                                        pos + entry->usage_pos, 0)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        pos += entry->usage_pos + skip;
    }

    if (ngx_http_llm_replay_link(r, &last, pos, end, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    *size = (off_t) (entry->body.len - skip);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_replay_link(ngx_http_request_t *r, ngx_chain_t ***last,
    u_char *pos, u_char *end, ngx_uint_t final)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    cl = ngx_alloc_chain_link(r->pool);
    b = ngx_calloc_buf(r->pool);

    if (cl == NULL || b == NULL) {
        return NGX_ERROR;
    }

    b->pos = pos;
    b->last = end;
    b->memory = (pos != end);
    b->last_buf = final;
    b->last_in_chain = final;

    cl->buf = b;
    cl->next = NULL;

    **last = cl;
    *last = &cl->next;

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_replay(ngx_http_request_t *r)
{
    off_t                size;
    u_char              *parameters;
    ngx_int_t            rc;
    ngx_chain_t         *out;
    ngx_llm_entry_t     *entry;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    entry = ctx->charge->cache.entry;

    if (ngx_http_llm_replay_body(r, ctx, &out, &size) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = size;
    r->headers_out.content_type = entry->type;
    r->headers_out.content_type_len = entry->type.len;

    parameters = ngx_strlchr(entry->type.data,
                             entry->type.data + entry->type.len, ';');

    if (parameters) {
        r->headers_out.content_type_len = parameters - entry->type.data;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, out);
}
