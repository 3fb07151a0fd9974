/*
 * Holds: amounts reserved by requests in flight.  A hold is in the state zone,
 * in the queue of its worker, so that it outlives the worker: the holds of a
 * worker that has exited become orphans, all at once, and another worker
 * settles them in steps.
 */


#include "ngx_llm_reservation.h"
#include <openssl/rand.h>


#define NGX_LLM_QUOTA_ROWS     2     /* part of the zone for rows: a half */
#define NGX_LLM_QUOTA_HOLDS    4     /* the same for holds: a quarter */

#define NGX_LLM_HOLD_KNOWN     4     /* part of that, for known identities */
#define NGX_LLM_HOLD_STEP      128   /* orphans that are settled in a step */
#define NGX_LLM_HOLD_PAUSE     1     /* between steps, ms */
#define NGX_LLM_HOLD_WAITING   1024  /* calls to Redis, then it is behind */
#define NGX_LLM_HOLD_BUSY      100   /* while Redis is behind, ms */
#define NGX_LLM_HOLD_EXAMINE   1000  /* between checks of processes, ms */


static ngx_int_t ngx_llm_quota_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static void ngx_llm_hold_recovery(ngx_event_t *ev);
static ngx_msec_t ngx_llm_hold_recover(ngx_llm_quota_t *quota);
static ngx_llm_hold_t *ngx_llm_hold_adopt(ngx_llm_quota_t *quota);
static void ngx_llm_hold_examine(ngx_llm_quota_t *quota);
static void ngx_llm_hold_orphan(ngx_llm_quota_t *quota,
    ngx_llm_owner_t *owner);


ngx_llm_quota_t *
ngx_llm_quota_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    uint32_t          salt;
    ngx_llm_quota_t  *quota;

    quota = ngx_pcalloc(cf->pool, sizeof(ngx_llm_quota_t));
    if (quota == NULL) {
        return NULL;
    }

    quota->store = &ngx_llm_quota_local;
    quota->zone = zone;

    quota->digest = ngx_llm_digest_create(cf);
    if (quota->digest == NULL) {
        return NULL;
    }

    quota->identity = ngx_llm_identity_create(cf, quota->digest);
    if (quota->identity == NULL) {
        return NULL;
    }

    if (RAND_bytes((u_char *) &salt, sizeof(uint32_t)) != 1) {
        return NULL;
    }

    (void) ngx_hex_dump(quota->salt, (u_char *) &salt, sizeof(uint32_t));

    if (ngx_llm_zone_use(zone, NGX_LLM_ZONE_QUOTA, ngx_llm_quota_init, quota)
        != NGX_OK)
    {
        return NULL;
    }

    return quota;
}


static ngx_int_t
ngx_llm_quota_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_quota_t  *quota = data;

    ngx_uint_t           i;
    ngx_llm_quota_sh_t  *sh;

    sh = *root;

    if (sh == NULL) {

        sh = ngx_llm_zone_calloc(zone, sizeof(ngx_llm_quota_sh_t));
        if (sh == NULL) {
            return NGX_ERROR;
        }

        sh->row_pool = ngx_llm_zone_room(zone, NGX_LLM_QUOTA_ROWS);
        sh->hold_pool = ngx_llm_zone_room(zone, NGX_LLM_QUOTA_HOLDS);

        if (sh->row_pool == NULL || sh->hold_pool == NULL) {
            return NGX_ERROR;
        }

        sh->hold_pages = sh->hold_pool->pfree;

        ngx_rbtree_init(&sh->rbtree, &sh->sentinel, ngx_rbtree_insert_value);
        ngx_queue_init(&sh->rows);
        ngx_queue_init(&sh->holds);
        ngx_queue_init(&sh->orphans);

        for (i = 0; i < NGX_MAX_PROCESSES; i++) {
            ngx_queue_init(&sh->owners[i].holds);
        }

        *root = sh;
    }

    quota->sh = sh;

    return NGX_OK;
}


ngx_int_t
ngx_llm_quota_worker(ngx_llm_quota_t *quota, ngx_cycle_t *cycle)
{
    ngx_slab_pool_t  *pool;

    quota->log = cycle->log;

    pool = quota->zone->pool;

    ngx_shmtx_lock(&pool->mutex);

    /* nginx gives a process slot away when its process has exited */

    ngx_llm_hold_orphan(quota, &quota->sh->owners[ngx_process_slot]);
    quota->sh->owners[ngx_process_slot].pid = ngx_pid;

    ngx_shmtx_unlock(&pool->mutex);

    quota->recovery.handler = ngx_llm_hold_recovery;
    quota->recovery.data = quota;
    quota->recovery.log = cycle->log;
    quota->recovery.cancelable = 1;

    ngx_add_timer(&quota->recovery, NGX_LLM_HOLD_PAUSE);

    return NGX_OK;
}


static void
ngx_llm_hold_recovery(ngx_event_t *ev)
{
    ngx_msec_t        pause;
    ngx_llm_quota_t  *quota;

    quota = ev->data;

    if (ngx_exiting) {
        return;
    }

    if (ngx_queue_empty(&quota->sh->orphans)) {
        ngx_llm_hold_examine(quota);
    }

    pause = ngx_llm_hold_recover(quota);

    ngx_add_timer(ev, pause);
}


/*
 * Settles some of the orphans.  Returns the time until the next step, in
 * milliseconds: other workers and the requests of this one go on in between.
 */

static ngx_msec_t
ngx_llm_hold_recover(ngx_llm_quota_t *quota)
{
    int64_t                spent[NGX_LLM_QUOTA_AMOUNTS];
    ngx_uint_t             i;
    ngx_llm_hold_t        *hold;
    ngx_llm_redis_state_t  redis;

    for (i = 0; i < NGX_LLM_HOLD_STEP; i++) {

        /* settlements that Redis has yet to take are not to be dropped */

        if (quota->redis) {
            ngx_llm_redis_state(quota->redis, &redis);

            if (redis.waiting > NGX_LLM_HOLD_WAITING) {
                return NGX_LLM_HOLD_BUSY;
            }
        }

        hold = ngx_llm_hold_adopt(quota);

        if (hold == NULL) {
            break;
        }

        ngx_memcpy(spent, hold->spent, sizeof(spent));

        ngx_llm_quota_settle(quota, hold, spent);

        quota->recovered++;
    }

    if (i == NGX_LLM_HOLD_STEP) {
        return NGX_LLM_HOLD_PAUSE;
    }

    if (quota->recovered) {
        ngx_log_error(NGX_LOG_NOTICE, quota->log, 0,
                      "llm quota: %ui requests of workers that have exited "
                      "were settled", quota->recovered);
        quota->recovered = 0;
    }

    return NGX_LLM_HOLD_EXAMINE;
}


/* Returns an orphan, now a hold of this worker, or NULL. */

static ngx_llm_hold_t *
ngx_llm_hold_adopt(ngx_llm_quota_t *quota)
{
    ngx_queue_t         *q;
    ngx_slab_pool_t     *pool;
    ngx_llm_hold_t      *hold;
    ngx_llm_quota_sh_t  *sh;

    sh = quota->sh;
    pool = quota->zone->pool;
    hold = NULL;

    /* most of the time there are none, and the mutex is not needed */

    if (ngx_queue_empty(&sh->orphans)) {
        return NULL;
    }

    ngx_shmtx_lock(&pool->mutex);

    if (!ngx_queue_empty(&sh->orphans)) {
        q = ngx_queue_head(&sh->orphans);
        hold = ngx_queue_data(q, ngx_llm_hold_t, owned);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&sh->owners[ngx_process_slot].holds, q);
    }

    ngx_shmtx_unlock(&pool->mutex);

    return hold;
}


/*
 * Finds holds of workers that have exited and have no successor in their slot,
 * as those of an old generation.  A process is checked without the mutex, once
 * for all of its holds.
 */

static void
ngx_llm_hold_examine(ngx_llm_quota_t *quota)
{
    ngx_pid_t         pid;
    ngx_uint_t        i;
    ngx_slab_pool_t  *pool;
    ngx_llm_owner_t  *owner;

    pool = quota->zone->pool;

    for (i = 0; i < NGX_MAX_PROCESSES; i++) {
        owner = &quota->sh->owners[i];
        pid = owner->pid;

        if (ngx_queue_empty(&owner->holds) || pid == ngx_pid
            || kill(pid, 0) != -1 || ngx_errno != ESRCH)
        {
            continue;
        }

        ngx_shmtx_lock(&pool->mutex);

        /* a new worker may have got the slot meanwhile */

        if (owner->pid == pid) {
            ngx_llm_hold_orphan(quota, owner);
        }

        ngx_shmtx_unlock(&pool->mutex);
    }
}


/* Makes all holds of a worker orphans, with the mutex held. */

static void
ngx_llm_hold_orphan(ngx_llm_quota_t *quota, ngx_llm_owner_t *owner)
{
    if (ngx_queue_empty(&owner->holds)) {
        return;
    }

    ngx_queue_add(&quota->sh->orphans, &owner->holds);
    ngx_queue_init(&owner->holds);
}


void
ngx_llm_hold_progress(ngx_llm_hold_t *hold, int64_t tokens, int64_t cost)
{
    hold->spent[NGX_LLM_QUOTA_TOKENS] = tokens;
    hold->spent[NGX_LLM_QUOTA_COST] = cost;
}


void
ngx_llm_quota_settle(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold,
    int64_t *actual)
{
    if (hold->local) {
        ngx_llm_quota_local.settle(quota, hold, actual);

    } else if (quota->redis) {
        ngx_llm_quota_fleet.settle(quota, hold, actual);

    } else {

        /* without llm_redis after a reload, Redis charges it as reserved */

        ngx_llm_hold_free(quota, hold);
    }
}


ngx_llm_hold_t *
ngx_llm_hold_alloc(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res,
    ngx_uint_t new)
{
    size_t               size;
    ngx_uint_t           i;
    ngx_llm_hold_t      *hold;
    ngx_llm_part_t      *part;
    ngx_llm_claim_t     *claim;
    ngx_llm_quota_sh_t  *sh;

    sh = quota->sh;

    if (new && sh->hold_pool->pfree < sh->hold_pages / NGX_LLM_HOLD_KNOWN) {
        return NULL;
    }

    size = offsetof(ngx_llm_hold_t, parts)
           + res->nclaims * sizeof(ngx_llm_part_t);

    hold = ngx_slab_alloc_locked(sh->hold_pool, size);
    if (hold == NULL) {
        return NULL;
    }

    ngx_memzero(hold, offsetof(ngx_llm_hold_t, parts));

    ngx_queue_insert_tail(&sh->holds, &hold->queue);
    ngx_queue_insert_tail(&sh->owners[ngx_process_slot].holds, &hold->owned);

    hold->deadline = ngx_llm_hold_now() + res->lifetime;
    hold->id_len = (u_short) ngx_min(res->id.len, NGX_LLM_QUOTA_ID);
    hold->nparts = (u_short) res->nclaims;
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
ngx_llm_hold_free(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold)
{
    ngx_slab_pool_t  *pool;

    pool = quota->zone->pool;

    ngx_shmtx_lock(&pool->mutex);

    ngx_llm_hold_free_locked(quota, hold);

    ngx_shmtx_unlock(&pool->mutex);
}


void
ngx_llm_hold_free_locked(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold)
{
    ngx_queue_remove(&hold->queue);
    ngx_queue_remove(&hold->owned);

    ngx_slab_free_locked(quota->sh->hold_pool, hold);
}


/*
 * The identity is known by its digest only: a value may be a secret, and is
 * not kept.
 */

void
ngx_llm_hold_alert(ngx_llm_quota_t *quota, ngx_llm_part_t *part,
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
