/*
 * The request body as one contiguous view: memory stays where it is, a temp
 * file is mapped, so that a body is scanned and sent without being copied.
 * Called by the flow once nginx has read the body; reads nothing itself.
 */


#include <ngx_http_llm_body.h>
#include <ngx_http_llm_list.h>
#include <ngx_llm_form.h>
#include <ngx_llm_param.h>
#include <sys/mman.h>


static ngx_uint_t ngx_http_llm_body_json(const u_char *p, const u_char *last);
static ngx_int_t ngx_http_llm_body_map(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_http_llm_view_t *view);
static ngx_int_t ngx_http_llm_body_gather(ngx_http_request_t *r,
    ngx_http_llm_view_t *view);
static void ngx_http_llm_body_unmap(void *data);


ngx_int_t
ngx_http_llm_body_plain(ngx_http_request_t *r)
{
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    for ( ;; ) {
        h = ngx_http_llm_list_find(&cursor, "Content-Encoding",
                                   sizeof("Content-Encoding") - 1);
        if (h == NULL) {
            return NGX_OK;
        }

        if (ngx_strcasecmp(h->value.data, (u_char *) "identity") != 0) {
            return NGX_DECLINED;
        }
    }
}


ngx_int_t
ngx_http_llm_body_taken(ngx_http_request_t *r, ngx_uint_t form)
{
    u_char                 *p, *last;
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    for ( ;; ) {
        h = ngx_http_llm_list_find(&cursor, "Content-Type",
                                   sizeof("Content-Type") - 1);
        if (h == NULL) {
            return NGX_OK;
        }

        p = h->value.data;
        last = p + h->value.len;

        if (!ngx_http_llm_body_json(p, last)
            && !(form && ngx_llm_param_word(p, last, "multipart/form-data")))
        {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "llm request rejected: Content-Type \"%V\"",
                           &h->value);
            return NGX_DECLINED;
        }
    }
}


/* Returns 1 for application/json, text/json and TYPE/SUBTYPE+json. */

static ngx_uint_t
ngx_http_llm_body_json(const u_char *p, const u_char *last)
{
    ngx_str_t      type, suffix;
    const u_char  *slash;

    p = ngx_llm_param_space(p, last);
    slash = NULL;
    type.data = (u_char *) p;

    for ( /* void */ ; p < last; p++) {

        if (*p == '/' && slash == NULL) {
            slash = p;

        } else if (!ngx_llm_param_token(*p)) {
            break;
        }
    }

    type.len = p - type.data;

    p = ngx_llm_param_space(p, last);

    if (p < last && *p != ';') {
        return 0;
    }

    if (ngx_llm_param_is(&type, "application/json")
        || ngx_llm_param_is(&type, "text/json"))
    {
        return 1;
    }

    suffix.len = sizeof("+json") - 1;

    if (slash == NULL || type.len <= suffix.len) {
        return 0;
    }

    suffix.data = type.data + type.len - suffix.len;

    return suffix.data > slash + 1 && ngx_llm_param_is(&suffix, "+json");
}


ngx_int_t
ngx_http_llm_body_type(ngx_http_request_t *r, ngx_str_t *boundary)
{
    ngx_int_t               rc;
    ngx_str_t              *type;
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    h = ngx_http_llm_list_find(&cursor, "Content-Type",
                               sizeof("Content-Type") - 1);

    /* all of them are sent to the provider, which could use another one */

    if (h == NULL
        || ngx_http_llm_list_find(&cursor, "Content-Type",
                                  sizeof("Content-Type") - 1)
           != NULL)
    {
        return NGX_ERROR;
    }

    type = &h->value;
    rc = ngx_llm_form_boundary(type->data, type->len, boundary);

    if (rc == NGX_DECLINED
        && !ngx_http_llm_body_json(type->data, type->data + type->len))
    {
        return NGX_ERROR;
    }

    return rc;
}


/*
 * nginx reads a body behind its first part into the buffer of the request
 * header if the body fits there.  Otherwise the body would be in two buffers,
 * and a view would need a copy.  So nginx gets a larger header buffer until
 * the body is read.
 */

ngx_int_t
ngx_http_llm_body_read(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_client_body_handler_pt handler)
{
    off_t                      rest;
    size_t                     preread, size;
    ngx_int_t                  rc;
    ngx_buf_t                 *b;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    r->request_body_in_single_buf = 1;

    preread = r->header_in->last - r->header_in->pos;
    rest = r->headers_in.content_length_n - (off_t) preread;
    size = clcf->client_body_buffer_size;

    if (preread && r->request_body == NULL
        && r->http_version < NGX_HTTP_VERSION_20
        && !r->request_body_in_file_only
        && rest > r->header_in->end - r->header_in->last
        && rest < (off_t) (size + (size >> 2)))
    {
        b = ngx_create_temp_buf(r->pool, preread + (size_t) rest);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        b->last = ngx_cpymem(b->last, r->header_in->pos, preread);
        r->header_in->pos = r->header_in->last;

        ctx->header_in = r->header_in;
        r->header_in = b;
    }

    rc = ngx_http_read_client_request_body(r, handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_http_llm_body_done(r, ctx);
    }

    return rc;
}


void
ngx_http_llm_body_done(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    if (ctx->header_in) {
        r->header_in = ctx->header_in;
        ctx->header_in = NULL;
    }
}


ngx_int_t
ngx_http_llm_body_view(ngx_http_request_t *r, ngx_http_llm_view_t *view)
{
    u_char       *last;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    view->data = NULL;
    view->len = 0;

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    b = NULL;
    last = NULL;

    /*
     * nginx makes a buffer for each read, and most buffers are adjacent.  The
     * last buffer of a chunked body is empty.
     */

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        if (ngx_buf_size(cl->buf) == 0) {
            continue;
        }

        if (b == NULL) {
            b = cl->buf;

        } else if (b->in_file || cl->buf->in_file || cl->buf->pos != last) {
            return ngx_http_llm_body_gather(r, view);
        }

        last = cl->buf->last;
    }

    if (b == NULL) {
        return NGX_OK;
    }

    if (b->in_file) {
        return ngx_http_llm_body_map(r, b, view);
    }

    view->data = b->pos;
    view->len = last - b->pos;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_body_map(ngx_http_request_t *r, ngx_buf_t *b,
    ngx_http_llm_view_t *view)
{
    off_t                 start;
    void                 *p;
    size_t                len;
    ngx_http_llm_view_t  *map;
    ngx_pool_cleanup_t   *cln;

    len = (size_t) (b->file_last - b->file_pos);

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_llm_view_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    start = b->file_pos & ~((off_t) ngx_pagesize - 1);
    len += (size_t) (b->file_pos - start);

    /* MAP_POPULATE saves a page fault for each 64 KiB */

    p = mmap(NULL, len, PROT_READ, MAP_PRIVATE|MAP_POPULATE, b->file->fd,
             start);

    if (p == MAP_FAILED) {
        ngx_log_error(NGX_LOG_CRIT, r->connection->log, ngx_errno,
                      "mmap() of the request body in \"%V\" failed",
                      &b->file->name);
        return NGX_ERROR;
    }

    map = cln->data;
    map->data = p;
    map->len = len;
    cln->handler = ngx_http_llm_body_unmap;

    view->data = (u_char *) p + (b->file_pos - start);
    view->len = (size_t) (b->file_last - b->file_pos);

    return NGX_OK;
}


/* Copies several buffers: another module has read the body in its own way. */

static ngx_int_t
ngx_http_llm_body_gather(ngx_http_request_t *r, ngx_http_llm_view_t *view)
{
    u_char       *p;
    size_t        size;
    ssize_t       n;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    size = 0;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        size += (size_t) ngx_buf_size(cl->buf);
    }

    p = ngx_palloc(r->pool, size + 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    view->data = p;

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;
        size = (size_t) ngx_buf_size(b);

        if (size == 0) {
            continue;
        }

        if (ngx_buf_in_memory(b)) {
            p = ngx_cpymem(p, b->pos, size);
            continue;
        }

        n = ngx_read_file(b->file, p, size, b->file_pos);

        if (n == NGX_ERROR || (size_t) n != size) {
            ngx_log_error(NGX_LOG_CRIT, r->connection->log, 0,
                          "read of the request body in \"%V\" failed",
                          &b->file->name);
            return NGX_ERROR;
        }

        p += n;
    }

    view->len = p - view->data;

    return NGX_OK;
}


static void
ngx_http_llm_body_unmap(void *data)
{
    ngx_http_llm_view_t  *map = data;

    (void) munmap(map->data, map->len);
}
