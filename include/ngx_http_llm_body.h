/*
 * ngx_http_llm_body.h: the request body as one contiguous view.
 */

#ifndef _NGX_HTTP_LLM_BODY_H_INCLUDED_
#define _NGX_HTTP_LLM_BODY_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Returns NGX_OK if the request has no Content-Encoding other than identity,
 * else NGX_DECLINED.
 */
ngx_int_t ngx_http_llm_body_plain(ngx_http_request_t *r);

/*
 * Returns NGX_OK if each Content-Type of the request is a JSON type or, if form
 * is 1, multipart/form-data, and if there is none.  Otherwise NGX_DECLINED.
 */
ngx_int_t ngx_http_llm_body_taken(ngx_http_request_t *r, ngx_uint_t form);

/*
 * Returns NGX_OK if the Content-Type is multipart/form-data, with its boundary,
 * which points into the header.  Returns NGX_DECLINED if the type is JSON, and
 * NGX_ERROR if it is another type, if there is none or more than one.
 */
ngx_int_t ngx_http_llm_body_type(ngx_http_request_t *r, ngx_str_t *boundary);

/*
 * Works as ngx_http_read_client_request_body(), but reads a body that fits into
 * memory into one buffer.  The handler, which may run before the call returns,
 * must call ngx_http_llm_body_done() first.
 */
ngx_int_t ngx_http_llm_body_read(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_client_body_handler_pt handler);
void ngx_http_llm_body_done(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx);

/*
 * Sets the view of r->request_body, which has been read.  A body in memory is
 * not copied, a temp file is mapped, several separate buffers are copied.  The
 * view lives as long as r->pool.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_body_view(ngx_http_request_t *r,
    ngx_http_llm_view_t *view);


#endif /* _NGX_HTTP_LLM_BODY_H_INCLUDED_ */
