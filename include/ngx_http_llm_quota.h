/*
 * ngx_http_llm_quota.h: the zones of a location, charged.
 */

#ifndef _NGX_HTTP_LLM_QUOTA_H_INCLUDED_
#define _NGX_HTTP_LLM_QUOTA_H_INCLUDED_


#include <ngx_http_llm.h>


/* what the request is expected to need, by the flow */

typedef struct {
    int64_t       prompt;            /* tokens */
    int64_t       output;
    ngx_llm_price_units_t  units;    /* that are no tokens */
    unsigned      declared:1;        /* output is what the client asks for */
    unsigned      cached:1;          /* a cache hit, which takes no slot */
    const ngx_llm_price_t  *price;   /* the dearest; NULL: not known */
} ngx_http_llm_need_t;


/*
 * Fills the claims of charge->quota with identities and limits.  Returns
 * NGX_OK, NGX_DECLINED if no limit applies to this request, NGX_BUSY if the
 * request is rejected (charge->quota has the fault), or NGX_ERROR if memory is
 * exhausted.
 */
ngx_int_t ngx_http_llm_quota_prepare(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);

/* after prepare(): 1 if one of the claims has such a limit */
ngx_uint_t ngx_http_llm_quota_limits(ngx_http_llm_charge_t *charge,
    ngx_llm_quota_limit_e limit);

/*
 * Reserves need in all claims, or nothing.  NGX_OK: go on.  NGX_AGAIN: resume
 * is called later, once, unless the request ends; it asks again with
 * quota_decided().  NGX_BUSY, NGX_ERROR: as prepare().  id tells the request
 * from all others, lifetime is how long it may take, ms.
 */
ngx_int_t ngx_http_llm_quota_reserve(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_http_llm_need_t *need, ngx_str_t *id,
    ngx_msec_t lifetime, void (*resume)(ngx_http_request_t *r));

/* Returns the result of a reservation that was suspended, as reserve() does. */
ngx_int_t ngx_http_llm_quota_decided(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);

/* if it dies now, so much was used: tokens, nano-USD */
void ngx_http_llm_quota_progress(ngx_http_llm_charge_t *charge,
    int64_t tokens, int64_t cost);

/*
 * The request has ended, having used so much; NGX_LLM_QUOTA_AS_RESERVED: it
 * is not known.  Safe to call again, and when nothing was reserved.
 */
void ngx_http_llm_quota_settle(ngx_http_llm_charge_t *charge, int64_t tokens,
    int64_t cost);

/* ratelimit: x-ratelimit-*, on every answer that has been charged */
ngx_int_t ngx_http_llm_ratelimit_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_QUOTA_H_INCLUDED_ */
