/*
 * x-ratelimit-*: what the quotas have said, on every answer of a request they
 * were asked for, refused or not, a stream's too.  Of several zones the one
 * with the smallest part left speaks.  Where ours stand the provider's headers
 * of the same names go; others pass.
 */


#include <ngx_http_llm_quota.h>
#include <ngx_http_llm_header_set.h>


static ngx_int_t ngx_http_llm_ratelimit_filter(ngx_http_request_t *r);
static ngx_llm_claim_t *ngx_http_llm_ratelimit_claim(ngx_llm_reserve_t *res,
    ngx_uint_t limit);
static void ngx_http_llm_ratelimit_return(ngx_llm_claim_t *claim);
static ngx_int_t ngx_http_llm_ratelimit_add(ngx_http_request_t *r,
    ngx_llm_claim_t *claim, ngx_uint_t limit);


static ngx_str_t  ngx_http_llm_ratelimit_names[NGX_LLM_QUOTA_REPORTED][3] = {
    { ngx_string("x-ratelimit-limit-requests"),
      ngx_string("x-ratelimit-remaining-requests"),
      ngx_string("x-ratelimit-reset-requests") },
    { ngx_string("x-ratelimit-limit-tokens"),
      ngx_string("x-ratelimit-remaining-tokens"),
      ngx_string("x-ratelimit-reset-tokens") }
};


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;


ngx_int_t
ngx_http_llm_ratelimit_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_ratelimit_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_ratelimit_filter(ngx_http_request_t *r)
{
    ngx_uint_t           i;
    ngx_llm_claim_t     *claims[NGX_LLM_QUOTA_REPORTED];
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (r != r->main || ctx == NULL || ctx->charge == NULL
        || !ctx->charge->quota.reported)
    {
        return ngx_http_llm_next_header_filter(r);
    }

    for (i = 0; i < NGX_LLM_QUOTA_REPORTED; i++) {
        claims[i] = ngx_http_llm_ratelimit_claim(&ctx->charge->quota.reserve,
                                                 i);
    }

    if (ctx->charge->bad_answer && claims[NGX_LLM_QUOTA_TOKENS]) {
        ngx_http_llm_ratelimit_return(claims[NGX_LLM_QUOTA_TOKENS]);
    }

    for (i = 0; i < NGX_LLM_QUOTA_REPORTED; i++) {

        if (claims[i]
            && ngx_http_llm_ratelimit_add(r, claims[i], i) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return ngx_http_llm_next_header_filter(r);
}


/* the smallest of left / n; compared without a division */

static ngx_llm_claim_t *
ngx_http_llm_ratelimit_claim(ngx_llm_reserve_t *res, ngx_uint_t limit)
{
    ngx_uint_t        i;
    ngx_llm_claim_t  *claim, *least;

    least = NULL;

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];

        if (claim->limits[limit].n < 0) {
            continue;
        }

        if (least == NULL
            || (__int128) claim->left[limit] * least->limits[limit].n
               < (__int128) least->left[limit] * claim->limits[limit].n)
        {
            least = claim;
        }
    }

    return least;
}


/* no answer costs no tokens: those reserved go back with this response */

static void
ngx_http_llm_ratelimit_return(ngx_llm_claim_t *claim)
{
    int64_t  n, left;

    n = claim->limits[NGX_LLM_QUOTA_TOKENS].n;
    left = claim->left[NGX_LLM_QUOTA_TOKENS];

    if (left < 0 || left >= n) {
        return;
    }

    claim->left[NGX_LLM_QUOTA_TOKENS] =
                       ngx_min(left + claim->need[NGX_LLM_QUOTA_TOKENS], n);

    claim->reset[NGX_LLM_QUOTA_TOKENS] = (int64_t)
                       ((__int128) claim->reset[NGX_LLM_QUOTA_TOKENS]
                        * (n - claim->left[NGX_LLM_QUOTA_TOKENS])
                        / (n - left));
}


static ngx_int_t
ngx_http_llm_ratelimit_add(ngx_http_request_t *r, ngx_llm_claim_t *claim,
    ngx_uint_t limit)
{
    u_char      *p;
    ngx_str_t    value[3], *names;
    ngx_uint_t   i;

    names = ngx_http_llm_ratelimit_names[limit];

    p = ngx_pnalloc(r->pool, 2 * NGX_INT64_LEN + NGX_LLM_LIMIT_DURATION);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value[0].data = p;
    p = ngx_llm_limit_print(p, claim->limits[limit].n);
    value[1].data = p;
    p = ngx_llm_limit_print(p, claim->left[limit]);
    value[2].data = p;
    p = ngx_llm_limit_duration(p, claim->reset[limit]);

    value[0].len = value[1].data - value[0].data;
    value[1].len = value[2].data - value[1].data;
    value[2].len = p - value[2].data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm quota headers of zone \"%V\": limit %L, remaining %L",
                   &claim->zone, claim->limits[limit].n, claim->left[limit]);

    for (i = 0; i < 3; i++) {

        if (ngx_http_llm_header_set(r, (char *) names[i].data, names[i].len,
                                    &value[i])
            == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
