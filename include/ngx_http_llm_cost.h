/*
 * ngx_http_llm_cost.h: the usage of a request and its cost.
 */

#ifndef _NGX_HTTP_LLM_COST_H_INCLUDED_
#define _NGX_HTTP_LLM_COST_H_INCLUDED_


#include <ngx_http_llm_charge.h>
#include <ngx_http_llm_client.h>
#include <ngx_llm_price.h>


/* how the tokens of the answer are known */

typedef enum {
    NGX_HTTP_LLM_USAGE_NONE = 0,     /* no answer, or none that has tokens */
    NGX_HTTP_LLM_USAGE_PROVIDER,
    NGX_HTTP_LLM_USAGE_ESTIMATED,    /* readable, but without usable usage */
    NGX_HTTP_LLM_USAGE_UNKNOWN,      /* it could not be read */
    NGX_HTTP_LLM_USAGE_CACHE         /* no provider was used */
} ngx_http_llm_usage_e;

ngx_http_llm_usage_e ngx_http_llm_cost_usage(ngx_http_llm_charge_t *charge);

/* Limits a usage that is too large for its request.  May be called again. */
void ngx_http_llm_cost_bound(ngx_http_llm_charge_t *charge);

/* Returns the cost of the usage or its estimate, nano-USD, or ..._UNKNOWN. */
int64_t ngx_http_llm_cost(ngx_http_llm_charge_t *charge);

/* Returns the usage, of a cached response too, or its estimate, or NULL. */
const ngx_llm_usage_t *
ngx_http_llm_cost_tokens_of(ngx_http_llm_charge_t *charge);

/* Returns the sum of all tokens. */
int64_t ngx_http_llm_cost_total(const ngx_llm_usage_t *usage);

/* Returns the kind of response that an operation has, by its priced units. */
ngx_llm_price_for_e ngx_http_llm_cost_kind(
    const ngx_http_llm_operation_t *operation);

/* Returns the cost at the last target's price, nano-USD, or ..._UNKNOWN. */
int64_t ngx_http_llm_cost_price(ngx_http_llm_charge_t *charge,
    const ngx_llm_usage_t *usage);

/* Settles the usage of the request in its quotas; cost is in nano-USD. */
void ngx_http_llm_cost_settle(ngx_http_llm_charge_t *charge, int64_t cost);

/* Notes the known usage, for the case that this worker dies before the end. */
void ngx_http_llm_cost_progress(ngx_http_llm_charge_t *charge);

/* Adds the usage to the statistics of later estimates. */
void ngx_http_llm_cost_learn(ngx_http_llm_charge_t *charge);


#endif /* _NGX_HTTP_LLM_COST_H_INCLUDED_ */
