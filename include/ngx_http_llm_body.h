/*
 * ngx_http_llm_body.h: the request body as one contiguous view.
 */

#ifndef _NGX_HTTP_LLM_BODY_H_INCLUDED_
#define _NGX_HTTP_LLM_BODY_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * NGX_OK: no Content-Encoding, or identity.  NGX_DECLINED: it is coded.
 */
ngx_int_t ngx_http_llm_body_plain(ngx_http_request_t *r);

/*
 * Returns NGX_OK if each Content-Type of the request is a JSON type or, if form
 * is 1, multipart/form-data, and if there is none.  Otherwise NGX_DECLINED.
 */
ngx_int_t ngx_http_llm_body_taken(ngx_http_request_t *r, ngx_uint_t form);

/*
 * Returns NGX_OK if the Content-Type is that of a form, with its boundary,
 * which points into the header.  Returns NGX_DECLINED if the type is JSON, and
 * NGX_ERROR if it is another type, if there is none or more than one.
 */
ngx_int_t ngx_http_llm_body_type(ngx_http_request_t *r, ngx_str_t *boundary);

/*
 * As ngx_http_read_client_request_body(), into one piece of memory if it is
 * short enough for memory.  The handler calls body_done() first of all.
 */
ngx_int_t ngx_http_llm_body_read(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_client_body_handler_pt handler);
void ngx_http_llm_body_done(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx);

/*
 * Makes the view of r->request_body, which has been read: memory as it is,
 * one buffer in a temp file mapped, anything else gathered.  The view lives
 * as long as r->pool.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_body_view(ngx_http_request_t *r,
    ngx_http_llm_view_t *view);


#endif /* _NGX_HTTP_LLM_BODY_H_INCLUDED_ */
