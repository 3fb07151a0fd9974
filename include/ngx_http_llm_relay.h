/*
 * ngx_http_llm_relay.h: the response is judged, then sent to the client.
 */

#ifndef _NGX_HTTP_LLM_RELAY_H_INCLUDED_
#define _NGX_HTTP_LLM_RELAY_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_judge.c */

/*
 * By status and headers, then by the body held so far.  NGX_OK: it goes to
 * the client; NGX_AGAIN: hold on; NGX_HTTP_UPSTREAM_INVALID_HEADER: failed,
 * judge.verdict says how; NGX_ERROR.
 */
ngx_int_t ngx_http_llm_judge_status(ngx_http_request_t *r);
ngx_int_t ngx_http_llm_judge_body(ngx_http_request_t *r);

/* no more of the body is held: as judge_body(), but for NGX_AGAIN */
ngx_int_t ngx_http_llm_judge_full(ngx_http_request_t *r);

/* Fails the attempt with a verdict; reason is logged unless NULL. */
ngx_int_t ngx_http_llm_judge_fail(ngx_http_request_t *r, ngx_uint_t verdict,
    const char *reason);

/*
 * Keeps an error's status, headers and body for the case that no other
 * provider answers.  NGX_OK, NGX_DECLINED: not complete, or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_judge_keep(ngx_http_request_t *r,
    ngx_http_llm_kept_t *kept);


/* ngx_http_llm_relay.c */

/*
 * Sends a span of the decoded body on, through u->out_bufs; the bytes stay
 * where they are.  Fills charge->answer, ttft.  *end is set to the end of the
 * answer if that is in this span, or before it: relay.over is 1 then.  Returns
 * NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_relay_span(ngx_http_request_t *r, u_char *pos,
    u_char **end);

/*
 * Sets charge->end of a stream after its last event, and adds the last buffer
 * to u->out_bufs.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_relay_close(ngx_http_request_t *r);

/*
 * Ends a response after its header was sent; rc is the argument of
 * u->finalize_request.  Sends held bytes and sets charge->end.  Returns NGX_OK
 * if the response is complete or the client has closed the connection,
 * NGX_DECLINED if a stream was cut and needs an error event, NGX_ERROR if
 * another response was cut.
 */
ngx_int_t ngx_http_llm_relay_end(ngx_http_request_t *r, ngx_int_t rc);

/* writes body as the last event of a cut stream */
void ngx_http_llm_relay_error(ngx_http_request_t *r, ngx_str_t *body);


#endif /* _NGX_HTTP_LLM_RELAY_H_INCLUDED_ */
