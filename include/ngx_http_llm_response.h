/*
 * ngx_http_llm_response.h: the header of a provider's response, and where its
 * body ends.
 */

#ifndef _NGX_HTTP_LLM_RESPONSE_H_INCLUDED_
#define _NGX_HTTP_LLM_RESPONSE_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_response.c */

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


/* ngx_http_llm_framing.c */

/* by the headers, once they are parsed */
void ngx_http_llm_framing_init(ngx_http_request_t *r);

/*
 * Decodes u->buffer in place before the header is sent, so that [pos, last) is
 * framing.held bytes of body.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_framing_hold(ngx_http_request_t *r);

/* u->input_filter_init: sets u->length */
void ngx_http_llm_framing_start(ngx_http_request_t *r);

/* takes a span of the decoded body, valid until the next read */
typedef ngx_int_t (*ngx_http_llm_span_pt)(ngx_http_request_t *r, u_char *pos,
    u_char *last);

/*
 * u->input_filter: decodes the bytes read at u->buffer.last, hands each span
 * of the body to span, sets u->length to 0 at its end.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_framing_filter(ngx_http_request_t *r, ssize_t bytes,
    ngx_http_llm_span_pt span);


#endif /* _NGX_HTTP_LLM_RESPONSE_H_INCLUDED_ */
