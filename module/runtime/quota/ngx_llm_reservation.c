/*
 * Reservations: amounts reserved by requests in flight.  A reservation is in
 * the state zone, in the queue of its worker, so that it outlives the worker.
 */


#include "ngx_llm_reservation.h"


#define NGX_LLM_RESERVATION_KNOWN  4  /* part of that, for known identities */


void
ngx_llm_reservation_progress(ngx_llm_reservation_t *hold, int64_t tokens,
    int64_t cost)
{
    hold->spent[NGX_LLM_QUOTA_TOKENS] = tokens;
    hold->spent[NGX_LLM_QUOTA_COST] = cost;
}


ngx_llm_reservation_t *
ngx_llm_reservation_alloc(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res,
    ngx_uint_t new)
{
    size_t                  size;
    ngx_uint_t              i;
    ngx_llm_reservation_t  *hold;
    ngx_llm_part_t         *part;
    ngx_llm_claim_t        *claim;
    ngx_llm_quota_sh_t     *sh;

    sh = quota->sh;

    if (new
        && sh->hold_pool->pfree < sh->hold_pages / NGX_LLM_RESERVATION_KNOWN)
    {
        return NULL;
    }

    size = offsetof(ngx_llm_reservation_t, parts)
           + res->nclaims * sizeof(ngx_llm_part_t);

    hold = ngx_slab_alloc_locked(sh->hold_pool, size);
    if (hold == NULL) {
        return NULL;
    }

    ngx_memzero(hold, offsetof(ngx_llm_reservation_t, parts));

    ngx_queue_insert_tail(&sh->holds, &hold->queue);
    ngx_queue_insert_tail(&sh->owners[ngx_process_slot].holds, &hold->owned);

    hold->deadline = ngx_llm_reservation_now() + res->lifetime;
    hold->id_len = (u_short) ngx_min(res->id.len, NGX_LLM_QUOTA_ID);
    hold->nparts = (u_short) res->nclaims;
    hold->no_slot = res->no_slot;
    hold->spent[NGX_LLM_QUOTA_REQUESTS] = NGX_LLM_QUOTA_AS_RESERVED;

    ngx_memcpy(hold->id, res->id.data, hold->id_len);

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];
        part = &hold->parts[i];

        part->row = NULL;
        part->name_len = (u_short) ngx_min(claim->zone.len,
                                           NGX_LLM_QUOTA_NAME);

        ngx_memcpy(part->name, claim->zone.data, part->name_len);
        ngx_memcpy(part->key, claim->key, NGX_LLM_QUOTA_KEY);
        ngx_memcpy(part->limits, claim->limits, sizeof(part->limits));
        ngx_memcpy(part->need, claim->need, sizeof(part->need));
    }

    return hold;
}


void
ngx_llm_reservation_free(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold)
{
    ngx_slab_pool_t  *pool;

    pool = quota->zone->pool;

    ngx_shmtx_lock(&pool->mutex);

    ngx_llm_reservation_free_locked(quota, hold);

    ngx_shmtx_unlock(&pool->mutex);
}


void
ngx_llm_reservation_free_locked(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold)
{
    ngx_queue_remove(&hold->queue);
    ngx_queue_remove(&hold->owned);

    ngx_slab_free_locked(quota->sh->hold_pool, hold);
}


#if (NGX_DEBUG)

void
ngx_llm_reservation_debug(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res,
    const char *where, ngx_int_t rc)
{
    ngx_uint_t        i;
    ngx_llm_claim_t  *claim;

    static const char  *limits[] = {
        "requests", "tokens", "cost", "concurrency", "none"
    };

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];

        ngx_log_debug6(NGX_LOG_DEBUG_HTTP, quota->log, 0,
                       "llm quota zone \"%V\" %s: rc:%i, needs %L tokens, "
                       "rejected by %s, wait %L ms", &claim->zone, where, rc,
                       claim->need[NGX_LLM_QUOTA_TOKENS],
                       claim->refuses <= NGX_LLM_QUOTA_NONE
                       ? limits[claim->refuses] : "none", claim->wait);
    }
}

#endif


/*
 * The identity is known by its digest only: a value may be a secret, and is
 * not kept.
 */

void
ngx_llm_reservation_alert(ngx_llm_quota_t *quota, ngx_llm_part_t *part,
    ngx_uint_t limit, ngx_uint_t bits)
{
    u_char      hex[2 * NGX_LLM_QUOTA_KEY];
    ngx_str_t   zone;
    ngx_uint_t  i;

    static ngx_str_t    thresholds[] = {
        ngx_string("50"), ngx_string("80"), ngx_string("100")
    };
    static const char  *names[] = { "requests", "tokens", "cost" };

    zone.len = part->name_len;
    zone.data = part->name;

    ngx_hex_dump(hex, part->key, NGX_LLM_QUOTA_KEY);

    for (i = 0; i < 3; i++) {

        if (!(bits & ((ngx_uint_t) 1 << i))) {
            continue;
        }

        ngx_log_error(NGX_LOG_NOTICE, quota->log, 0,
                      "llm quota zone \"%V\": %V%% of the %s of this %s are "
                      "spent by %*s", &zone, &thresholds[i], names[limit],
                      part->limits[limit].period == NGX_LLM_PERIOD_DAY
                      ? "day" : "month", sizeof(hex), hex);

        if (quota->metrics) {
            ngx_llm_metrics_add(quota->metrics, NGX_LLM_SERIES_ALERTS, &zone,
                                &thresholds[i], quota->log);
        }
    }
}
