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
ngx_http_llm_body_type(ngx_http_request_t *r, ngx_str_t *boundary)
{
    ngx_int_t               rc;
    ngx_str_t              *type;
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    h = ngx_http_llm_list_find(&cursor, "Content-Type",
                               sizeof("Content-Type") - 1);

    /* all of them travel: another reader may take another one */

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
        && ngx_llm_param_word(type->data, type->data + type->len,
                              "application/json")
           == NULL)
    {
        return NGX_ERROR;
    }

    return rc;
}


/*
 * nginx reads a body into the header's buffer, behind what has come with the
 * header, if there is room; else the two parts are apart, and to scan them
 * would take a copy.  So it is lent a header buffer with that room.
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
     * There is a buffer for each read, most often one right behind the other;
     * a chunked body ends in an empty one.
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

    /* all pages at once: one call instead of a fault for every 64 KiB */

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


/* several buffers: another module has read the body its own way */

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
                          "request body in \"%V\" cannot be read",
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
