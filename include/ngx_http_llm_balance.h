/*
 * ngx_http_llm_balance.h: whose turn it is.
 */

#ifndef _NGX_HTTP_LLM_BALANCE_H_INCLUDED_
#define _NGX_HTTP_LLM_BALANCE_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Chooses a (provider, key, target) this pass has not tried, and takes it:
 * balance.target and balance.key, in flight until release().  NGX_OK, or
 * NGX_DECLINED: there is none.
 */
ngx_int_t ngx_http_llm_balance_next(ngx_http_request_t *r);

/* takes the last one once more; nothing if it is still held */
void ngx_http_llm_balance_again(ngx_http_request_t *r);

/* gives it back, once */
void ngx_http_llm_balance_release(ngx_http_request_t *r);

/* 1: next() would find one, as far as one can see without taking it */
ngx_uint_t ngx_http_llm_balance_more(ngx_http_request_t *r);


#endif /* _NGX_HTTP_LLM_BALANCE_H_INCLUDED_ */
