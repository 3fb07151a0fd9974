/*
 * ngx_http_llm_judge.h: is it an answer, and if not, what then?.
 */

#ifndef _NGX_HTTP_LLM_JUDGE_H_INCLUDED_
#define _NGX_HTTP_LLM_JUDGE_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * By status and headers, then by the body held so far.  NGX_OK: it goes to
 * the client; NGX_AGAIN: hold on; NGX_HTTP_UPSTREAM_INVALID_HEADER: failed,
 * judge.verdict says how; NGX_ERROR.
 */
ngx_int_t ngx_http_llm_judge_status(ngx_http_request_t *r);
ngx_int_t ngx_http_llm_judge_body(ngx_http_request_t *r);

/* no more of the body is held: as judge_body(), but for NGX_AGAIN */
ngx_int_t ngx_http_llm_judge_full(ngx_http_request_t *r);

/* the same for a reason found elsewhere, told to the operator, or NULL */
ngx_int_t ngx_http_llm_judge_fail(ngx_http_request_t *r, ngx_uint_t verdict,
    const char *reason);

/*
 * Keeps an error's status, headers and body for the case that no other
 * provider answers.  NGX_OK, NGX_DECLINED: not complete, or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_judge_keep(ngx_http_request_t *r,
    ngx_http_llm_kept_t *kept);


#endif /* _NGX_HTTP_LLM_JUDGE_H_INCLUDED_ */
