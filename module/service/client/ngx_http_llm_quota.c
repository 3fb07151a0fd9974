/*
 * Quotas of a request: identities, limits, the amounts to reserve, and the
 * decision of the store.  The flow calls prepare, reserve, and settle at the
 * end of the request.  redis_down of a zone applies while the store is down.
 */


#include <ngx_http_llm_quota.h>
#include <ngx_http_llm_value.h>


#define NGX_HTTP_LLM_QUOTA_DOWN  1000    /* to wait where it is closed, ms */


static ngx_int_t ngx_http_llm_quota_claim(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_http_llm_quota_zone_t *zone,
    ngx_llm_claim_t *claim);
static ngx_int_t ngx_http_llm_quota_limit(ngx_http_request_t *r,
    ngx_http_llm_quota_zone_t *zone, ngx_uint_t i, int64_t *n);
static ngx_int_t ngx_http_llm_quota_fits(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_http_llm_need_t *need);
static int64_t ngx_http_llm_quota_capacity(ngx_llm_reserve_t *res,
    ngx_llm_quota_limit_e limit);
static int64_t ngx_http_llm_quota_cost(const ngx_llm_price_t *price,
    int64_t prompt, int64_t output, const ngx_llm_price_units_t *units);
static ngx_int_t ngx_http_llm_quota_too_large(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, const char *what, int64_t capacity);
static void ngx_http_llm_quota_answered(void *data);
static ngx_int_t ngx_http_llm_quota_down(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static void ngx_http_llm_quota_share(ngx_http_llm_charge_t *charge,
    ngx_llm_claim_t *claim, ngx_int_t instances);
static ngx_int_t ngx_http_llm_quota_reserved(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_quota_refused(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_quota_unavailable(
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_quota_fault(ngx_http_llm_charge_t *charge,
    ngx_http_llm_fault_e fault);
static void ngx_http_llm_quota_count(ngx_http_request_t *r,
    ngx_llm_series_e kind, ngx_str_t *zone, const char *word);


static const char  *ngx_http_llm_quota_names[] = {
    "requests", "tokens", "cost", "concurrency"
};


ngx_int_t
ngx_http_llm_quota_prepare(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_int_t                     rc;
    ngx_uint_t                    i;
    ngx_llm_reserve_t            *res;
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_quota_zone_t   **zone;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    zone = llcf->quota->elts;

    ngx_memzero(&charge->quota, sizeof(ngx_http_llm_quota_charge_t));

    res = &charge->quota.reserve;
    res->shadow = llcf->quota_shadow;

    res->claims = ngx_palloc(r->pool,
                             llcf->quota->nelts * sizeof(ngx_llm_claim_t));
    charge->quota.zones = ngx_palloc(r->pool,
                                     llcf->quota->nelts * sizeof(void *));

    if (res->claims == NULL || charge->quota.zones == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < llcf->quota->nelts; i++) {

        rc = ngx_http_llm_quota_claim(r, charge, zone[i],
                                      &res->claims[res->nclaims]);

        if (rc == NGX_OK) {
            charge->quota.zones[res->nclaims++] = zone[i];
            continue;
        }

        if (rc != NGX_DECLINED && !res->shadow) {
            return rc;
        }
    }

    return res->nclaims ? NGX_OK : NGX_DECLINED;
}


/* NGX_DECLINED: no limit of the zone applies to this request */

static ngx_int_t
ngx_http_llm_quota_claim(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_http_llm_quota_zone_t *zone, ngx_llm_claim_t *claim)
{
    ngx_str_t                  key;
    ngx_uint_t                 i, limits;
    ngx_http_llm_main_conf_t  *lmcf;

    if (ngx_http_llm_value(r, &zone->key, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    if (key.len == 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "the key of llm_quota_zone \"%V\" is empty",
                      &zone->name);

        return ngx_http_llm_quota_fault(charge, NGX_HTTP_LLM_NO_IDENTITY);
    }

    claim->zone = zone->name;
    claim->hash = zone->hash;
    limits = 0;

    for (i = 0; i < NGX_LLM_QUOTA_LIMITS; i++) {
        claim->limits[i] = zone->limits[i];

        if (ngx_http_llm_quota_limit(r, zone, i, &claim->limits[i].n)
            != NGX_OK)
        {
            return ngx_http_llm_quota_unavailable(charge);
        }

        limits += (claim->limits[i].n >= 0);
    }

    if (limits == 0) {
        return NGX_DECLINED;
    }

    if (zone->key.lengths == NULL && zone->known) {
        ngx_memcpy(claim->key, zone->digest, NGX_LLM_QUOTA_KEY);
        return NGX_OK;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ngx_llm_identity(lmcf->quota->identity, &key, claim->key);

    return NGX_OK;
}


/* a value that is no number refuses: an unlimited tenant would be worse */

static ngx_int_t
ngx_http_llm_quota_limit(ngx_http_request_t *r,
    ngx_http_llm_quota_zone_t *zone, ngx_uint_t i, int64_t *n)
{
    ngx_str_t  value;
    ngx_int_t  rc;

    if (zone->values[i] == NULL) {
        return NGX_OK;
    }

    if (ngx_http_llm_value(r, zone->values[i], &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (value.len == 0) {
        *n = -1;
        return NGX_OK;
    }

    rc = (i == NGX_LLM_QUOTA_COST)
         ? ngx_llm_limit_usd(value.data, value.len, n)
         : ngx_llm_limit_number(value.data, value.len, n);

    if (rc != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "invalid %s \"%V\" of llm_quota_zone \"%V\"",
                      ngx_http_llm_quota_names[i], &value, &zone->name);
    }

    return rc;
}


ngx_uint_t
ngx_http_llm_quota_limits(ngx_http_llm_charge_t *charge,
    ngx_llm_quota_limit_e limit)
{
    ngx_uint_t          i;
    ngx_llm_reserve_t  *res;

    res = &charge->quota.reserve;

    for (i = 0; i < res->nclaims; i++) {
        if (res->claims[i].limits[limit].n >= 0) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_llm_quota_reserve(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_http_llm_need_t *need, ngx_str_t *id,
    ngx_msec_t lifetime, void (*resume)(ngx_http_request_t *r))
{
    ngx_int_t                  rc;
    ngx_llm_reserve_t         *res;
    ngx_http_llm_main_conf_t  *lmcf;

    rc = ngx_http_llm_quota_fits(r, charge, need);

    if (rc != NGX_OK) {
        return rc;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    res = &charge->quota.reserve;

    res->id = *id;
    res->lifetime = lifetime;
    res->no_slot = need->cached;
    res->handler = ngx_http_llm_quota_answered;
    res->data = charge;

    charge->quota.resume = resume;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm quota: reserves %L tokens, %L nano-USD in %ui zones, "
                   "first \"%V\"",
                   res->claims[0].need[NGX_LLM_QUOTA_TOKENS],
                   res->claims[0].need[NGX_LLM_QUOTA_COST], res->nclaims,
                   &res->claims[0].zone);

    res->rc = lmcf->quota->store->reserve(lmcf->quota, res);

    if (res->rc == NGX_AGAIN) {
        charge->quota.waiting = 1;
        return NGX_AGAIN;
    }

    return ngx_http_llm_quota_decided(r, charge);
}


/*
 * Reduces an estimated amount to the size of the zone.  An amount that the
 * client has set itself is not reduced.
 */

static ngx_int_t
ngx_http_llm_quota_fits(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_http_llm_need_t *need)
{
    int64_t             tokens, cost, prompt, capacity;
    ngx_uint_t          i;
    ngx_llm_reserve_t  *res;

    res = &charge->quota.reserve;
    capacity = ngx_http_llm_quota_capacity(res, NGX_LLM_QUOTA_TOKENS);
    tokens = need->prompt + need->output;

    if (tokens > capacity) {

        if (need->prompt > capacity || need->declared) {
            return ngx_http_llm_quota_too_large(r, charge, "tokens",
                                                capacity);
        }

        tokens = capacity;
    }

    charge->quota.declared = need->declared;
    charge->quota.prompt = need->prompt;

    capacity = ngx_http_llm_quota_capacity(res, NGX_LLM_QUOTA_COST);
    cost = ngx_http_llm_quota_cost(need->price, need->prompt,
                                   tokens - need->prompt, &need->units);
    prompt = ngx_http_llm_quota_cost(need->price, need->prompt, 0, NULL);

    if (cost > capacity) {

        if (prompt > capacity || need->declared) {
            return ngx_http_llm_quota_too_large(r, charge, "nano-USD",
                                                capacity);
        }

        cost = capacity;
    }

    charge->quota.cost = prompt;

    for (i = 0; i < res->nclaims; i++) {
        res->claims[i].need[NGX_LLM_QUOTA_REQUESTS] = 1;
        res->claims[i].need[NGX_LLM_QUOTA_TOKENS] = tokens;
        res->claims[i].need[NGX_LLM_QUOTA_COST] = cost;
    }

    return NGX_OK;
}


/* of the smallest; nothing fits 0, but that is for the store to say */

static int64_t
ngx_http_llm_quota_capacity(ngx_llm_reserve_t *res,
    ngx_llm_quota_limit_e limit)
{
    int64_t     n, capacity;
    ngx_uint_t  i;

    capacity = NGX_LLM_BUCKET_MAX;

    for (i = 0; i < res->nclaims && !res->shadow; i++) {
        n = res->claims[i].limits[limit].n;

        if (n > 0 && n < capacity) {
            capacity = n;
        }
    }

    return capacity;
}


static int64_t
ngx_http_llm_quota_cost(const ngx_llm_price_t *price, int64_t prompt,
    int64_t output, const ngx_llm_price_units_t *units)
{
    int64_t  cost;

    if (price == NULL) {
        return 0;
    }

    cost = ngx_llm_price_estimate(price, prompt, output, units);

    return cost == NGX_LLM_PRICE_UNKNOWN ? 0
                                         : ngx_min(cost, NGX_LLM_BUCKET_MAX);
}


static ngx_int_t
ngx_http_llm_quota_too_large(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, const char *what, int64_t capacity)
{
    u_char  *p;

    p = ngx_pnalloc(r->pool, sizeof("The request may need more than the  "
                                    "nano-USD that its quota allows at once.")
                             + NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    charge->quota.message.data = p;
    charge->quota.message.len = ngx_sprintf(p, "The request may need more "
                                               "than the %L %s that its "
                                               "quota allows at once.",
                                            capacity, what)
                                - p;

    return ngx_http_llm_quota_fault(charge, NGX_HTTP_LLM_TOO_LARGE_FOR_QUOTA);
}


static void
ngx_http_llm_quota_answered(void *data)
{
    ngx_http_llm_charge_t  *charge = data;

    charge->quota.waiting = 0;
    charge->quota.resume(charge->request);
}


ngx_int_t
ngx_http_llm_quota_decided(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_int_t                  rc;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    rc = charge->quota.reserve.rc;

    if (rc == NGX_ERROR && lmcf->quota->redis) {
        rc = ngx_http_llm_quota_down(r, charge);
    }

    switch (rc) {

    case NGX_OK:
        return ngx_http_llm_quota_reserved(r, charge);

    case NGX_DECLINED:
        return ngx_http_llm_quota_refused(r, charge);

    default:
        return ngx_http_llm_quota_unavailable(charge);
    }
}


/* Redis cannot be asked: what its zones say to that, the strictest first */

static ngx_int_t
ngx_http_llm_quota_down(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_uint_t                   i, n;
    ngx_llm_reserve_t           *res;
    ngx_http_llm_main_conf_t    *lmcf;
    ngx_http_llm_quota_zone_t  **zones;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    res = &charge->quota.reserve;
    zones = charge->quota.zones;
    n = 0;

    for (i = 0; i < res->nclaims; i++) {

        if (zones[i]->down == NGX_HTTP_LLM_DOWN_CLOSED && !res->shadow) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < res->nclaims; i++) {

        if (zones[i]->down != NGX_HTTP_LLM_DOWN_LOCAL) {
            charge->quota.status = NGX_HTTP_LLM_QUOTA_UNENFORCED;
            ngx_http_llm_quota_count(r, NGX_LLM_SERIES_QUOTA, &zones[i]->name,
                                     "unenforced");
            continue;
        }

        res->claims[n] = res->claims[i];
        zones[n] = zones[i];

        ngx_http_llm_quota_share(charge, &res->claims[n++],
                                 lmcf->quota->instances);
    }

    res->nclaims = n;

    if (n == 0) {
        return NGX_OK;
    }

    return ngx_llm_quota_local.reserve(lmcf->quota, res);
}


/* Applies this node's part of the limits; estimates are reduced to fit. */

static void
ngx_http_llm_quota_share(ngx_http_llm_charge_t *charge,
    ngx_llm_claim_t *claim, ngx_int_t instances)
{
    int64_t           least[NGX_LLM_QUOTA_LIMITS];
    ngx_uint_t        i;
    ngx_llm_limit_t  *limit;

    least[NGX_LLM_QUOTA_REQUESTS] = 1;
    least[NGX_LLM_QUOTA_TOKENS] = charge->quota.prompt;
    least[NGX_LLM_QUOTA_COST] = charge->quota.cost;

    for (i = 0; i < NGX_LLM_QUOTA_LIMITS; i++) {
        limit = &claim->limits[i];

        if (limit->n <= 0) {
            continue;
        }

        limit->n /= instances;

        if (limit->n == 0) {
            limit->n = 1;
        }

        if (i < NGX_LLM_QUOTA_AMOUNTS && !charge->quota.declared
            && claim->need[i] > limit->n)
        {
            claim->need[i] = ngx_max(least[i], limit->n);
        }
    }
}


static ngx_int_t
ngx_http_llm_quota_reserved(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_uint_t          i;
    ngx_llm_claim_t    *claim;
    ngx_llm_reserve_t  *res;

    res = &charge->quota.reserve;
    charge->quota.reported = 1;

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];

        if (claim->refuses == NGX_LLM_QUOTA_NONE) {
            ngx_http_llm_quota_count(r, NGX_LLM_SERIES_QUOTA, &claim->zone,
                                     "admitted");
            continue;
        }

        /* in shadow */

        ngx_http_llm_quota_count(r, NGX_LLM_SERIES_QUOTA, &claim->zone,
                                 "shadow");

        if (charge->quota.status != NGX_HTTP_LLM_QUOTA_SHADOW) {
            charge->quota.status = NGX_HTTP_LLM_QUOTA_SHADOW;
            charge->quota.zone = claim->zone;
        }
    }

    if (charge->quota.status == NGX_HTTP_LLM_QUOTA_NONE) {
        charge->quota.status = NGX_HTTP_LLM_QUOTA_OK;
    }

    ngx_http_llm_quota_progress(charge, charge->quota.prompt,
                                charge->quota.cost);

    return NGX_OK;
}


/* The first rejecting zone is reported, with the longest wait of all zones. */

static ngx_int_t
ngx_http_llm_quota_refused(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_uint_t                i;
    ngx_llm_claim_t          *claim, *first;
    ngx_llm_reserve_t        *res;
    ngx_http_llm_loc_conf_t  *llcf;

    res = &charge->quota.reserve;
    first = NULL;

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];

        if (claim->refuses == NGX_LLM_QUOTA_NONE) {
            continue;
        }

        if (first == NULL) {
            first = claim;
        }

        charge->quota.wait = ngx_max(charge->quota.wait, claim->wait);
    }

    if (first == NULL) {
        return ngx_http_llm_quota_unavailable(charge);
    }

    charge->quota.reported = 1;
    charge->quota.status = NGX_HTTP_LLM_QUOTA_LIMITED;
    charge->quota.zone = first->zone;

    ngx_http_llm_quota_count(r, NGX_LLM_SERIES_QUOTA, &first->zone,
                             "limited");
    ngx_http_llm_quota_count(r, NGX_LLM_SERIES_REFUSED, &first->zone,
                             ngx_http_llm_quota_names[first->refuses]);

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    ngx_log_error(llcf->log_level, r->connection->log, 0,
                  "llm_quota_zone \"%V\" refuses the request by its %s, for "
                  "%L ms", &first->zone,
                  ngx_http_llm_quota_names[first->refuses],
                  charge->quota.wait);

    return ngx_http_llm_quota_fault(charge,
                                    first->refuses != NGX_LLM_QUOTA_CONCURRENCY
                                    && ngx_llm_limit_calendar(
                                             &first->limits[first->refuses])
                                    ? NGX_HTTP_LLM_BUDGET_SPENT
                                    : NGX_HTTP_LLM_RATE_LIMITED);
}


static ngx_int_t
ngx_http_llm_quota_unavailable(ngx_http_llm_charge_t *charge)
{
    charge->quota.wait = NGX_HTTP_LLM_QUOTA_DOWN;

    return ngx_http_llm_quota_fault(charge, NGX_HTTP_LLM_QUOTA_UNAVAILABLE);
}


static ngx_int_t
ngx_http_llm_quota_fault(ngx_http_llm_charge_t *charge,
    ngx_http_llm_fault_e fault)
{
    charge->quota.fault = fault;

    return NGX_BUSY;
}


static void
ngx_http_llm_quota_count(ngx_http_request_t *r, ngx_llm_series_e kind,
    ngx_str_t *zone, const char *word)
{
    ngx_str_t                  label;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    if (lmcf->metrics == NULL) {
        return;
    }

    label.data = (u_char *) word;
    label.len = ngx_strlen(word);

    ngx_llm_metrics_add(lmcf->metrics, kind, zone, &label,
                        r->connection->log);
}


void
ngx_http_llm_quota_progress(ngx_http_llm_charge_t *charge, int64_t tokens,
    int64_t cost)
{
    if (charge->quota.reserve.hold) {
        ngx_llm_reservation_progress(charge->quota.reserve.hold, tokens, cost);
    }
}


void
ngx_http_llm_quota_settle(ngx_http_llm_charge_t *charge, int64_t tokens,
    int64_t cost)
{
    int64_t                    actual[NGX_LLM_QUOTA_AMOUNTS], need;
    ngx_str_t                  label;
    ngx_uint_t                 i, j;
    ngx_llm_reservation_t     *hold;
    ngx_llm_claim_t           *claim;
    ngx_llm_reserve_t         *res;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(charge->request, ngx_http_llm_module);
    res = &charge->quota.reserve;

    if (charge->quota.waiting) {
        charge->quota.waiting = 0;
        lmcf->quota->store->cancel(lmcf->quota, res);
        return;
    }

    hold = res->hold;

    if (hold == NULL) {
        return;
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, charge->request->connection->log, 0,
                   "llm quota: settles %L tokens, %L nano-USD, first zone "
                   "\"%V\"", tokens, cost, &res->claims[0].zone);

    res->hold = NULL;

    actual[NGX_LLM_QUOTA_REQUESTS] = NGX_LLM_QUOTA_AS_RESERVED;
    actual[NGX_LLM_QUOTA_TOKENS] = tokens;
    actual[NGX_LLM_QUOTA_COST] = cost;

    for (i = 0; i < res->nclaims && lmcf->metrics; i++) {
        claim = &res->claims[i];

        for (j = 0; j < NGX_LLM_QUOTA_AMOUNTS; j++) {

            if (claim->limits[j].n < 0
                || claim->refuses != NGX_LLM_QUOTA_NONE)
            {
                continue;
            }

            need = claim->need[j];
            label.data = (u_char *) ngx_http_llm_quota_names[j];
            label.len = ngx_strlen(label.data);

            ngx_llm_metrics_amounts(lmcf->metrics, &claim->zone, &label, need,
                                    actual[j] == NGX_LLM_QUOTA_AS_RESERVED
                                    ? need : actual[j],
                                    charge->request->connection->log);
        }
    }

    ngx_llm_quota_settle(lmcf->quota, hold, actual);
}
