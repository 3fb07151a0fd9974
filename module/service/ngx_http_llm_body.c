/*
 * The request body as one contiguous view: memory stays where it is, a temp
 * file is mapped, so that a body is scanned and sent without being copied.
 * Called by the flow once nginx has read the body; reads nothing itself.
 */


#include <ngx_http_llm_body.h>
#include <ngx_http_llm_list.h>
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
    ngx_http_llm_cursor_t   cursor = { &r->headers_in.headers.part, 0 };

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
ngx_http_llm_body_view(ngx_http_request_t *r, ngx_http_llm_view_t *view)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    view->data = NULL;
    view->len = 0;

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    b = NULL;

    /* a chunked body ends in an empty buffer */

    for (cl = r->request_body->bufs; cl; cl = cl->next) {

        if (ngx_buf_size(cl->buf) == 0) {
            continue;
        }

        if (b) {
            return ngx_http_llm_body_gather(r, view);
        }

        b = cl->buf;
    }

    if (b == NULL) {
        return NGX_OK;
    }

    if (b->in_file) {
        return ngx_http_llm_body_map(r, b, view);
    }

    view->data = b->pos;
    view->len = b->last - b->pos;

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
