/*
 * ngx_http_llm_provider_state.h: a provider as an operator sees it, its keys
 * included: one that has no usable key cannot be asked.
 */

#ifndef _NGX_HTTP_LLM_PROVIDER_STATE_H_INCLUDED_
#define _NGX_HTTP_LLM_PROVIDER_STATE_H_INCLUDED_


#include <ngx_http_llm.h>


ngx_llm_health_state_e ngx_http_llm_provider_state(
    ngx_http_llm_provider_t *provider);

/* milliseconds until it may be asked again; 0: now */
ngx_msec_t ngx_http_llm_provider_state_left(ngx_http_llm_provider_t *provider);

/* Returns the number of cooldowns of the provider and of its keys. */
ngx_uint_t ngx_http_llm_provider_state_cooldowns(
    ngx_http_llm_provider_t *provider);

/* attempts that run there */
ngx_uint_t ngx_http_llm_provider_state_inflight(
    ngx_http_llm_provider_t *provider);

/* "up", "probing", "cooling", "drained" */
const char *ngx_http_llm_provider_state_name(ngx_llm_health_state_e state);


#endif /* _NGX_HTTP_LLM_PROVIDER_STATE_H_INCLUDED_ */
