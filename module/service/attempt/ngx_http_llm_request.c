/*
 * The request of one attempt as a chain of buffers: the header for this
 * provider, then the client's body with the edits of the dialect.  Buffers
 * point into the body, which is not copied.
 */


#include <ngx_http_llm_request.h>
#include <ngx_http_llm_list.h>
#include <ngx_http_llm_value.h>
#include <ngx_llm_field.h>
#include <ngx_http_llm_dialect.h>


static ngx_int_t ngx_http_llm_request_head(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_str_t *uri, size_t length, ngx_buf_t *b);
static size_t ngx_http_llm_request_room(ngx_http_request_t *r);
static u_char *ngx_http_llm_request_client(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, u_char *p);
static ngx_uint_t ngx_http_llm_request_travels(ngx_table_elt_t *h,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_request_values(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_str_t *values, size_t *len);
static ngx_int_t ngx_http_llm_request_body(ngx_http_request_t *r,
    ngx_http_llm_call_t *call, ngx_http_llm_view_t *view, ngx_chain_t **ll);
static ngx_chain_t **ngx_http_llm_request_link(ngx_http_request_t *r,
    ngx_chain_t **ll, u_char *data, size_t len);


ngx_int_t
ngx_http_llm_request_create(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_http_llm_view_t *view, ngx_chain_t **out)
{
    size_t        length;
    ngx_str_t     uri;
    ngx_buf_t    *b;
    ngx_uint_t    i;
    ngx_chain_t  *cl;

    if (provider->dialect->uri(r->pool, provider, call, &uri) != NGX_OK) {
        return NGX_ERROR;
    }

    length = view->len;

    for (i = 0; i < call->nedits; i++) {
        length += call->edits[i].text.len - call->edits[i].len;
    }

    cl = ngx_alloc_chain_link(r->pool);
    b = ngx_calloc_buf(r->pool);

    if (cl == NULL || b == NULL
        || ngx_http_llm_request_head(r, provider, call, &uri, length, b)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;
    *out = cl;

    if (ngx_http_llm_request_body(r, call, view, &cl->next) != NGX_OK) {
        return NGX_ERROR;
    }

    while (cl->next) {
        cl = cl->next;
    }

    /* otherwise the last TLS record is held back in the SSL buffer */
    cl->buf->flush = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_request_head(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_str_t *uri, size_t length, ngx_buf_t *b)
{
    size_t                      len;
    u_char                     *p;
    ngx_str_t                  *values;
    ngx_uint_t                  i, n;
    ngx_http_llm_ctx_t         *ctx;
    ngx_http_llm_set_header_t  *header;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_llm_quote_init(&ctx->quote);
    ngx_llm_quote_add(&ctx->quote, call->credential->secret.data,
                      call->credential->secret.len);

    n = provider->headers ? provider->headers->nelts : 0;
    header = n ? provider->headers->elts : NULL;
    values = NULL;
    len = 0;

    if (n) {
        values = ngx_palloc(r->pool, n * sizeof(ngx_str_t));

        if (values == NULL
            || ngx_http_llm_request_values(r, provider, values, &len)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    len += sizeof("POST  HTTP/1.1" CRLF) - 1 + uri->len
           + call->credential->head.len
           + sizeof("Content-Length: " CRLF) - 1 + NGX_SIZE_T_LEN
           + ngx_http_llm_request_room(r)
           + sizeof(CRLF) - 1;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm request: provider \"%V\", path \"%V\", body %uz, "
                   "edits %ui", &provider->name, uri, length, call->nedits);

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    b->start = p;
    b->pos = p;
    b->end = p + len;
    b->memory = 1;

    p = ngx_cpymem(p, "POST ", sizeof("POST ") - 1);
    p = ngx_cpymem(p, uri->data, uri->len);
    p = ngx_cpymem(p, " HTTP/1.1" CRLF, sizeof(" HTTP/1.1" CRLF) - 1);
    p = ngx_cpymem(p, call->credential->head.data, call->credential->head.len);
    p = ngx_cpymem(p, "Content-Length: ", sizeof("Content-Length: ") - 1);
    p = ngx_llm_limit_print(p, length);
    *p++ = CR; *p++ = LF;
    p = ngx_http_llm_request_client(r, provider, p);

    for (i = 0; i < n; i++) {
        if (values[i].len) {
            p = ngx_sprintf(p, "%V: %V" CRLF, &header[i].name, &values[i]);
        }
    }

    *p++ = CR; *p++ = LF;

    b->last = p;

    return NGX_OK;
}


/* Returns the length of all client headers, an upper bound of those passed. */

static size_t
ngx_http_llm_request_room(ngx_http_request_t *r)
{
    size_t                  len;
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    len = 0;

    for (h = ngx_http_llm_list_next(&cursor);
         h;
         h = ngx_http_llm_list_next(&cursor))
    {
        len += h->key.len + sizeof(": ") - 1 + h->value.len
               + sizeof(CRLF) - 1;
    }

    return len;
}


/* Writes the client's headers that are passed to the provider. */

static u_char *
ngx_http_llm_request_client(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, u_char *p)
{
    ngx_table_elt_t          *h;
    ngx_http_llm_cursor_t     cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    for ( ;; ) {
        h = ngx_http_llm_list_next(&cursor);

        if (h == NULL) {
            return p;
        }

        if (ngx_http_llm_request_travels(h, llcf, provider)) {
            p = ngx_cpymem(p, h->key.data, h->key.len);
            *p++ = ':'; *p++ = ' ';
            p = ngx_cpymem(p, h->value.data, h->value.len);
            *p++ = CR; *p++ = LF;
        }
    }
}


static ngx_uint_t
ngx_http_llm_request_travels(ngx_table_elt_t *h,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i;
    ngx_http_llm_set_header_t  *header;

    if (!ngx_http_llm_travels(&llcf->travel, h)) {
        return 0;
    }

    if (provider->headers == NULL) {
        return 1;
    }

    /* a "header" of the provider replaces the client's */

    header = provider->headers->elts;

    for (i = 0; i < provider->headers->nelts; i++) {

        if (header[i].hash == h->hash
            && header[i].lowcase.len == h->key.len
            && ngx_memcmp(header[i].lowcase.data, h->lowcase_key, h->key.len)
               == 0)
        {
            return 0;
        }
    }

    return 1;
}


/*
 * Evaluates the "header" directives of the provider; a header with an empty
 * value is not sent.  Returns NGX_ERROR if a value has a control byte.
 */

static ngx_int_t
ngx_http_llm_request_values(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_str_t *values, size_t *len)
{
    u_char                     *invalid;
    ngx_uint_t                  n;
    ngx_http_llm_ctx_t         *ctx;
    ngx_http_llm_set_header_t  *header;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    header = provider->headers->elts;

    for (n = 0; n < provider->headers->nelts; n++) {

        if (ngx_http_llm_value(r, &header[n].value, &values[n]) != NGX_OK) {
            return NGX_ERROR;
        }

        invalid = ngx_llm_field_invalid(values[n].data,
                                        values[n].data + values[n].len);
        if (invalid) {
            ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                          "control byte 0x%02xd in the value of \"header %V\" "
                          "of llm_provider \"%V\", request is rejected",
                          (ngx_int_t) *invalid, &header[n].name,
                          &provider->name);
            return NGX_ERROR;
        }

        if (header[n].secret) {
            ngx_llm_quote_add(&ctx->quote, values[n].data, values[n].len);
        }

        *len += header[n].name.len + sizeof(": " CRLF) - 1 + values[n].len;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_request_body(ngx_http_request_t *r, ngx_http_llm_call_t *call,
    ngx_http_llm_view_t *view, ngx_chain_t **ll)
{
    size_t                pos;
    ngx_uint_t            i;
    ngx_http_llm_edit_t  *edit;

    pos = 0;

    for (i = 0; i < call->nedits; i++) {
        edit = &call->edits[i];

        ll = ngx_http_llm_request_link(r, ll, view->data + pos,
                                       edit->pos - pos);
        if (ll == NULL) {
            return NGX_ERROR;
        }

        ll = ngx_http_llm_request_link(r, ll, edit->text.data,
                                       edit->text.len);
        if (ll == NULL) {
            return NGX_ERROR;
        }

        pos = edit->pos + edit->len;
    }

    ll = ngx_http_llm_request_link(r, ll, view->data + pos, view->len - pos);

    return (ll == NULL) ? NGX_ERROR : NGX_OK;
}


/* Adds a buffer.  ngx_http_upstream_reinit() sets pos to start. */

static ngx_chain_t **
ngx_http_llm_request_link(ngx_http_request_t *r, ngx_chain_t **ll,
    u_char *data, size_t len)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    *ll = NULL;

    if (len == 0) {
        return ll;
    }

    cl = ngx_alloc_chain_link(r->pool);
    b = ngx_calloc_buf(r->pool);

    if (cl == NULL || b == NULL) {
        return NULL;
    }

    b->start = data;
    b->pos = data;
    b->last = data + len;
    b->end = b->last;
    b->memory = 1;

    cl->buf = b;
    cl->next = NULL;
    *ll = cl;

    return &cl->next;
}
