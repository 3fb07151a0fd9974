/*
 * ngx_http_llm_response.h: status line and headers.
 */

#ifndef _NGX_HTTP_LLM_RESPONSE_H_INCLUDED_
#define _NGX_HTTP_LLM_RESPONSE_H_INCLUDED_


#include <ngx_http_llm.h>


void ngx_http_llm_response_reinit(ngx_http_request_t *r);

/*
 * NGX_OK: response.parsed, what follows in u->buffer is body; NGX_AGAIN;
 * NGX_DECLINED: no answer, for response.reason; NGX_ERROR.
 */
ngx_int_t ngx_http_llm_response_read(ngx_http_request_t *r);

/*
 * Makes room in u->buffer for more to be held.  NGX_AGAIN: read on, NGX_OK:
 * as much is held as may be, NGX_ERROR.
 */
ngx_int_t ngx_http_llm_response_room(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_RESPONSE_H_INCLUDED_ */
