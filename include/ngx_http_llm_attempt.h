/*
 * ngx_http_llm_attempt.h: attempts, and the providers they go to.
 */

#ifndef _NGX_HTTP_LLM_ATTEMPT_H_INCLUDED_
#define _NGX_HTTP_LLM_ATTEMPT_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_upstream.c */

/*
 * Makes r->upstream and starts the first attempt; the exchange must be
 * static.  Returns NGX_DONE (the request is held, r->main->count is one
 * more) or an HTTP status.
 */
ngx_int_t ngx_http_llm_upstream_start(ngx_http_request_t *r,
    const ngx_http_llm_exchange_t *exchange);

/* 1: another target could be tried after the present one */
ngx_uint_t ngx_http_llm_upstream_more(ngx_http_request_t *r);

/* peer.init of llmcf->outer */
ngx_int_t ngx_http_llm_upstream_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);


/* has process_header called although the provider sends nothing */
void ngx_http_llm_upstream_wake(ngx_http_request_t *r);

/* the first step of process_header: takes back the byte that woke it */
void ngx_http_llm_upstream_woken(ngx_http_request_t *r);


/* ngx_http_llm_balance.c */

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


/* ngx_http_llm_timeouts.c */

/* Starts the timer of the current wait anew; last: no other target is left. */
void ngx_http_llm_timeouts_arm(ngx_http_request_t *r, ngx_uint_t last);
void ngx_http_llm_timeouts_keep(ngx_http_request_t *r);

/* from now on T of llm_on_abort counts, too; its end is a read event */
void ngx_http_llm_timeouts_drain(ngx_http_request_t *r);

/* bytes of a stream without output have come; release is called if it is not
   committed within hold milliseconds */
void ngx_http_llm_timeouts_hold(ngx_http_request_t *r, ngx_msec_t hold,
    void (*release)(ngx_http_request_t *r));

/* the stream is complete: waits so long for its last chunk, at most */
void ngx_http_llm_timeouts_finish(ngx_http_request_t *r, ngx_msec_t wait);

void ngx_http_llm_timeouts_done(ngx_http_request_t *r);


/* ngx_http_llm_health_report.c */

/* the answer goes to the client: it was one, or an error that is passed */
void ngx_http_llm_health_report_answered(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);

/* the attempt gave no answer; attempt->failure says why */
void ngx_http_llm_health_report_failed(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);

/* an answer that had begun has ended; whole, or cut by the provider */
void ngx_http_llm_health_report_ended(ngx_http_request_t *r,
    ngx_http_llm_attempt_t *attempt);


#endif /* _NGX_HTTP_LLM_ATTEMPT_H_INCLUDED_ */
