/*
 * ngx_http_llm_admit_targets.h: the steps of admission that remove targets.
 *
 * They clear bits of ctx->balance.allowed.  They return NGX_OK, or the status
 * of a fault that is noted in the charge if no target is left.
 */

#ifndef _NGX_HTTP_LLM_ADMIT_TARGETS_H_INCLUDED_
#define _NGX_HTTP_LLM_ADMIT_TARGETS_H_INCLUDED_


#include <ngx_http_llm.h>


/* Leaves the targets with the labels of llm_require, backups too. */
ngx_int_t ngx_http_llm_admit_targets_require(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/* Leaves the targets that can take the client's name into their URL. */
ngx_int_t ngx_http_llm_admit_targets_fit(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);

/*
 * Leaves the targets whose context is not smaller than the estimate of the
 * prompt: context= of the target, or max_input_tokens of the price map.
 */
ngx_int_t ngx_http_llm_admit_targets_context(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_ADMIT_TARGETS_H_INCLUDED_ */
