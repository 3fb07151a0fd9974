/*
 * ngx_http_llm_flow.h: what a request goes through, in the order it does.
 */

#ifndef _NGX_HTTP_LLM_FLOW_H_INCLUDED_
#define _NGX_HTTP_LLM_FLOW_H_INCLUDED_


#include <ngx_http_llm.h>
#include <ngx_http_llm_cost.h>


/* Handles the ACCESS phase: with llm_auth a request needs a valid key. */
ngx_int_t ngx_http_llm_access_handler(ngx_http_request_t *r);

/* phase handler, PRECONTENT: body, facts, model; NGX_DECLINED to go on */
ngx_int_t ngx_http_llm_admit_handler(ngx_http_request_t *r);

/*
 * Runs the same steps without waiting, for a subrequest: the main request has
 * read the body.  Returns NGX_OK or an HTTP status.
 */
ngx_int_t ngx_http_llm_admit_subrequest(ngx_http_request_t *r);


/*
 * The step that charges: NGX_OK, NGX_AGAIN (the phases run again once it is
 * known), or an HTTP status.
 */
ngx_int_t ngx_http_llm_reserve(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx);


/* Make the phases of a request wait, and run again, for a step of admission. */
void ngx_http_llm_suspend(ngx_http_request_t *r);
void ngx_http_llm_resume(ngx_http_request_t *r);


/* content handler of llm_pass */
ngx_int_t ngx_http_llm_pass_handler(ngx_http_request_t *r);

/* the answer to GET models; the ctx has a charge */
ngx_int_t ngx_http_llm_models(ngx_http_request_t *r);


/*
 * Returns the ctx of this pass, created if there is none, with the charge of
 * the client request, which internal redirects keep.  A subrequest and
 * post_action have a charge of their own, which is neither settled nor
 * counted.  Returns NULL if memory is short.
 */
ngx_http_llm_ctx_t *ngx_http_llm_charge_ctx(ngx_http_request_t *r);

/*
 * Handles SERVER_REWRITE and REWRITE at the start of post_action: ends the
 * charge of the client request and cancels its timers and its calls to Redis.
 * The response is complete or aborted then.  Returns NGX_DECLINED.
 */
ngx_int_t ngx_http_llm_settle_post_action(ngx_http_request_t *r);

/*
 * Returns the charge of the client request at any time, also in post_action and
 * in the access log, or NULL.
 */
ngx_http_llm_charge_t *ngx_http_llm_charge_find(ngx_http_request_t *r);

/*
 * Installs the filters that run last in this module.  They create the charge of
 * a request that was answered before admission, and settle complete responses.
 */
ngx_int_t ngx_http_llm_settle_filter(ngx_conf_t *cf);

/* the cleanup handler of r->main that owns the charge */
void ngx_http_llm_settle_cleanup(void *data);


/* adds a request that has ended to the metrics, once for each charge */
void ngx_http_llm_metrics_add(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);


#endif /* _NGX_HTTP_LLM_FLOW_H_INCLUDED_ */
