/*
 * ngx_llm_limit.h: limits as text, in the configuration and in headers.
 */

#ifndef _NGX_LLM_LIMIT_H_INCLUDED_
#define _NGX_LLM_LIMIT_H_INCLUDED_


#include <ngx_llm_bucket.h>


#define NGX_LLM_LIMIT_DURATION  32   /* of a duration as text, at most */


/*
 * An integer with k, m or g behind it (10^3, 10^6, 10^9), 0 to 2^52.  NGX_OK,
 * or NGX_ERROR: *n is undefined.
 */
ngx_int_t ngx_llm_limit_number(const u_char *text, size_t len, int64_t *n);

/* USD, a decimal of up to nine places, as nano-USD; the same bounds */
ngx_int_t ngx_llm_limit_usd(const u_char *text, size_t len, int64_t *n);

/*
 * Ns, Nm or Nh from 1s to 1h as milliseconds, day or month as
 * NGX_LLM_PERIOD_...  NGX_OK, or NGX_ERROR: *period is undefined.
 */
ngx_int_t ngx_llm_limit_period(const u_char *text, size_t len,
    int64_t *period);

/*
 * Milliseconds as a duration of Go, as OpenAI prints it: 120ms, 1.2s, 6m0s,
 * 1h2m3s.  At most NGX_LLM_LIMIT_DURATION bytes and no NUL.  Its end.
 */
u_char *ngx_llm_limit_duration(u_char *p, int64_t ms);

/* an integer from 0; at most 20 bytes and no NUL.  Its end */
u_char *ngx_llm_limit_print(u_char *p, int64_t n);


#endif /* _NGX_LLM_LIMIT_H_INCLUDED_ */
