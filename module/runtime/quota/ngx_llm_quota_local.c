/*
 * Quotas in shared memory: one node's own, the default without llm_redis and
 * the reserve when Redis is down.  Everything is decided under the zone's
 * mutex, in one go; nothing waits.
 */


#include "ngx_llm_row.h"


#define NGX_LLM_QUOTA_SWEEP   32     /* holds looked at in a go */
#define NGX_LLM_QUOTA_EACH    10     /* goes of a worker, ms apart */
#define NGX_LLM_QUOTA_BUSY    1000   /* to wait for a slot, ms */


static ngx_int_t ngx_llm_quota_local_reserve(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res);
static ngx_int_t ngx_llm_quota_local_decide(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res, int64_t now, ngx_llm_claim_t **unknown);
static void ngx_llm_quota_local_full(ngx_llm_quota_t *quota,
    ngx_llm_claim_t *unknown);
static void ngx_llm_quota_local_ask(ngx_llm_row_t *row, ngx_llm_claim_t *claim,
    ngx_uint_t no_slot, int64_t now);
static void ngx_llm_quota_local_take(ngx_llm_quota_t *quota,
    ngx_llm_row_t *row, ngx_llm_claim_t *claim, ngx_llm_reservation_t *hold,
    ngx_llm_part_t *part);
static void ngx_llm_quota_local_tell(ngx_llm_row_t *row, ngx_llm_claim_t *claim,
    int64_t now);
static void ngx_llm_quota_local_cancel(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res);
static void ngx_llm_quota_local_settle(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold, int64_t *actual);
static ngx_uint_t ngx_llm_quota_local_part(ngx_llm_reservation_t *hold,
    ngx_llm_part_t *part, int64_t *actual, int64_t now);
static void ngx_llm_quota_local_sweep(ngx_llm_quota_t *quota, int64_t now);
static void ngx_llm_quota_local_overdue(ngx_llm_reservation_t *hold,
    ngx_llm_part_t *part, int64_t now);


const ngx_llm_quota_store_t  ngx_llm_quota_local = {
    ngx_llm_quota_local_reserve,
    ngx_llm_quota_local_cancel,
    ngx_llm_quota_local_settle
};


static ngx_int_t
ngx_llm_quota_local_reserve(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res)
{
    int64_t           now;
    ngx_int_t         rc;
    ngx_slab_pool_t  *pool;
    ngx_llm_claim_t  *unknown;

    pool = quota->zone->pool;
    now = ngx_llm_reservation_now();

    ngx_shmtx_lock(&pool->mutex);

    ngx_llm_quota_local_sweep(quota, now);

    rc = ngx_llm_quota_local_decide(quota, res, now, &unknown);

    ngx_shmtx_unlock(&pool->mutex);

    if (rc == NGX_ERROR) {
        ngx_llm_quota_local_full(quota, unknown);
    }

    ngx_llm_reservation_debug(quota, res, "in shared memory", rc);

    return rc;
}


/* unknown is the claim of a new identity, or NULL */

static void
ngx_llm_quota_local_full(ngx_llm_quota_t *quota, ngx_llm_claim_t *unknown)
{
    if (unknown) {
        ngx_log_error(NGX_LOG_ERR, quota->log, 0,
                      "llm_zone is full, a request of a new identity in "
                      "llm_quota_zone \"%V\" is rejected", &unknown->zone);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, quota->log, 0,
                  "llm_zone is full, too many requests are in flight, "
                  "a request is rejected");
}


static ngx_int_t
ngx_llm_quota_local_decide(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res,
    int64_t now, ngx_llm_claim_t **unknown)
{
    ngx_uint_t              i, refused, new[NGX_LLM_QUOTA_CLAIMS];
    ngx_llm_row_t          *rows[NGX_LLM_QUOTA_CLAIMS];
    ngx_llm_reservation_t  *hold;
    ngx_llm_claim_t        *claim;

    refused = 0;
    *unknown = NULL;

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];

        new[i] = 0;
        rows[i] = ngx_llm_row_get(quota, claim, now, &new[i]);

        if (rows[i] == NULL) {
            *unknown = claim;
            goto full;
        }

        if (new[i]) {
            *unknown = claim;
        }

        /* it must not be evicted for the next one */

        rows[i]->holds++;

        ngx_llm_quota_local_ask(rows[i], claim, res->no_slot, now);

        refused |= (claim->refuses != NGX_LLM_QUOTA_NONE);
    }

    hold = NULL;

    if (!refused || res->shadow) {

        hold = ngx_llm_reservation_alloc(quota, res, *unknown != NULL);

        if (hold == NULL) {
            goto full;
        }

        hold->local = 1;
    }

    for (i = 0; i < res->nclaims; i++) {
        claim = &res->claims[i];

        if (hold && claim->refuses == NGX_LLM_QUOTA_NONE) {
            ngx_llm_quota_local_take(quota, rows[i], claim, hold,
                                     &hold->parts[i]);

        } else {
            rows[i]->holds--;
        }

        ngx_llm_quota_local_tell(rows[i], claim, now);
    }

    res->hold = hold;

    return hold ? NGX_OK : NGX_DECLINED;

full:

    while (i--) {
        rows[i]->holds--;

        /* a request that was rejected does not make its identity known */

        if (new[i]) {
            ngx_llm_row_free(quota, rows[i]);
        }
    }

    return NGX_ERROR;
}


static void
ngx_llm_quota_local_ask(ngx_llm_row_t *row, ngx_llm_claim_t *claim,
    ngx_uint_t no_slot, int64_t now)
{
    int64_t           wait;
    ngx_uint_t        i;
    ngx_llm_limit_t  *limit;

    claim->refuses = NGX_LLM_QUOTA_NONE;
    claim->wait = 0;

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {
        limit = &claim->limits[i];

        if (limit->n < 0) {
            continue;
        }

        row->limits[i] = *limit;
        ngx_llm_bucket_turn(&row->buckets[i], limit, now);

        wait = ngx_llm_bucket_wait(&row->buckets[i], limit, claim->need[i],
                                   now);

        if (wait && claim->refuses == NGX_LLM_QUOTA_NONE) {
            claim->refuses = i;
        }

        claim->wait = ngx_max(claim->wait, wait);
    }

    limit = &claim->limits[NGX_LLM_QUOTA_CONCURRENCY];

    if (limit->n >= 0 && !no_slot && claim->refuses == NGX_LLM_QUOTA_NONE
        && (int64_t) row->live >= limit->n)
    {
        claim->refuses = NGX_LLM_QUOTA_CONCURRENCY;
        claim->wait = NGX_LLM_QUOTA_BUSY;
    }
}


static void
ngx_llm_quota_local_take(ngx_llm_quota_t *quota, ngx_llm_row_t *row,
    ngx_llm_claim_t *claim, ngx_llm_reservation_t *hold, ngx_llm_part_t *part)
{
    ngx_uint_t  i;

    part->row = row;

    if (!hold->no_slot) {
        row->live++;
    }

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {

        if (claim->limits[i].n < 0) {
            continue;
        }

        ngx_llm_row_marks(quota, row, i);
        ngx_llm_bucket_take(&row->buckets[i], &claim->limits[i],
                            claim->need[i]);
        part->windows[i] = row->buckets[i].at;
    }
}


static void
ngx_llm_quota_local_tell(ngx_llm_row_t *row, ngx_llm_claim_t *claim,
    int64_t now)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_LLM_QUOTA_REPORTED; i++) {

        if (claim->limits[i].n < 0) {
            claim->left[i] = -1;
            claim->reset[i] = -1;
            continue;
        }

        claim->left[i] = ngx_llm_bucket_left(&row->buckets[i],
                                             &claim->limits[i]);
        claim->reset[i] = ngx_llm_bucket_reset(&row->buckets[i],
                                               &claim->limits[i], now);
    }
}


/* it never waits */

static void
ngx_llm_quota_local_cancel(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res)
{
    res->waiting = NULL;
}


static void
ngx_llm_quota_local_settle(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold,
    int64_t *actual)
{
    int64_t           now;
    ngx_uint_t        i, j, alerts, bits[NGX_LLM_QUOTA_CLAIMS];
    ngx_slab_pool_t  *pool;

    pool = quota->zone->pool;
    now = ngx_llm_reservation_now();
    alerts = 0;

    ngx_shmtx_lock(&pool->mutex);

    for (i = 0; i < hold->nparts; i++) {
        bits[i] = ngx_llm_quota_local_part(hold, &hold->parts[i], actual, now);
        alerts |= bits[i];
    }

    if (alerts == 0) {
        ngx_llm_reservation_free_locked(quota, hold);
        ngx_shmtx_unlock(&pool->mutex);
        return;
    }

    /* if this worker exits now, the next one has nothing to settle */

    for (i = 0; i < hold->nparts; i++) {
        hold->parts[i].row = NULL;
    }

    ngx_shmtx_unlock(&pool->mutex);

    /* not under the mutex: they are written to the log */

    for (i = 0; i < hold->nparts; i++) {

        for (j = 0; bits[i] && j < NGX_LLM_QUOTA_AMOUNTS; j++) {
            ngx_llm_reservation_alert(quota, &hold->parts[i], j,
                                      (bits[i] >> (4 * j)) & 0xf);
        }
    }

    ngx_llm_reservation_free(quota, hold);
}


/* thresholds crossed, four bits for each limit */

static ngx_uint_t
ngx_llm_quota_local_part(ngx_llm_reservation_t *hold, ngx_llm_part_t *part,
    int64_t *actual, int64_t now)
{
    int64_t            is;
    ngx_uint_t         i, bits, all;
    ngx_llm_row_t     *row;
    ngx_llm_limit_t   *limit;

    row = part->row;
    all = 0;

    if (row == NULL) {
        return 0;
    }

    if (!hold->swept && !hold->no_slot) {
        row->live--;
    }

    row->holds--;

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {
        limit = &part->limits[i];

        if (limit->n < 0) {
            continue;
        }

        is = actual[i] == NGX_LLM_QUOTA_AS_RESERVED ? part->need[i]
                                                    : actual[i];

        if (hold->swept) {
            bits = ngx_llm_bucket_correct(&row->buckets[i], limit,
                                          part->windows[i], part->need[i],
                                          is, now);
        } else {
            bits = ngx_llm_bucket_settle(&row->buckets[i], limit,
                                         part->windows[i], part->need[i],
                                         is, now);
        }

        all |= bits << (4 * i);
    }

    return all;
}


/*
 * Examines the oldest holds, each in its turn, and charges those past their
 * deadline as reserved.  Their worker, or the one that recovers them, settles
 * them later and corrects the charge.
 */

static void
ngx_llm_quota_local_sweep(ngx_llm_quota_t *quota, int64_t now)
{
    ngx_uint_t              i, j;
    ngx_queue_t            *q, *last;
    ngx_llm_reservation_t  *hold;

    if (now >= quota->swept && now - quota->swept < NGX_LLM_QUOTA_EACH) {
        return;
    }

    quota->swept = now;

    last = ngx_queue_last(&quota->sh->holds);
    q = NULL;

    for (i = 0; i < NGX_LLM_QUOTA_SWEEP && q != last; i++) {

        if (ngx_queue_empty(&quota->sh->holds)) {
            return;
        }

        q = ngx_queue_head(&quota->sh->holds);
        hold = ngx_queue_data(q, ngx_llm_reservation_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&quota->sh->holds, q);

        if (hold->deadline > now || hold->swept) {
            continue;
        }

        for (j = 0; j < hold->nparts && hold->local; j++) {
            ngx_llm_quota_local_overdue(hold, &hold->parts[j], now);
        }

        hold->swept = 1;
    }
}


/* it goes on pointing to its row; an alert is left to the next settlement */

static void
ngx_llm_quota_local_overdue(ngx_llm_reservation_t *hold, ngx_llm_part_t *part,
    int64_t now)
{
    ngx_uint_t      i, bits;
    ngx_llm_row_t  *row;

    static int64_t  as_reserved[] = { -1, -1, -1 };

    row = part->row;
    bits = ngx_llm_quota_local_part(hold, part, as_reserved, now);

    if (row == NULL) {
        return;
    }

    row->holds++;

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {
        row->buckets[i].alerts &= ~(int64_t) ((bits >> (4 * i)) & 0xf);
    }
}
