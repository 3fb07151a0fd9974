/*
 * The quotas of a configuration: their state in the state zone, and the store
 * that settles a reservation.  A starting worker settles the reservations of
 * workers that have exited: they become orphans, all at once, and are settled
 * in steps.
 */


#include "ngx_llm_reservation.h"
#include <openssl/rand.h>


#define NGX_LLM_QUOTA_ROWS                                                    \
    2     /* part of the zone for rows: a half */
#define NGX_LLM_QUOTA_HOLDS          4     /* the same for holds: a quarter */
#define NGX_LLM_RESERVATION_STEP                                              \
    128   /* orphans that are settled in a step */
#define NGX_LLM_RESERVATION_PAUSE    1     /* between steps, ms */
#define NGX_LLM_RESERVATION_WAITING                                           \
    1024  /* calls to Redis, then it is behind */
#define NGX_LLM_RESERVATION_BUSY     100   /* while Redis is behind, ms */
#define NGX_LLM_QUOTA_EXAMINE        1000  /* between checks of processes, ms */


static ngx_int_t ngx_llm_quota_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static void ngx_llm_quota_recovery(ngx_event_t *ev);
static ngx_msec_t ngx_llm_quota_recover(ngx_llm_quota_t *quota);
static ngx_llm_reservation_t *ngx_llm_quota_adopt(ngx_llm_quota_t *quota);
static void ngx_llm_quota_examine(ngx_llm_quota_t *quota);
static void ngx_llm_quota_orphan(ngx_llm_quota_t *quota,
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

    ngx_llm_quota_orphan(quota, &quota->sh->owners[ngx_process_slot]);
    quota->sh->owners[ngx_process_slot].pid = ngx_pid;

    ngx_shmtx_unlock(&pool->mutex);

    quota->recovery.handler = ngx_llm_quota_recovery;
    quota->recovery.data = quota;
    quota->recovery.log = cycle->log;
    quota->recovery.cancelable = 1;

    ngx_add_timer(&quota->recovery, NGX_LLM_RESERVATION_PAUSE);

    return NGX_OK;
}


static void
ngx_llm_quota_recovery(ngx_event_t *ev)
{
    ngx_msec_t        pause;
    ngx_llm_quota_t  *quota;

    quota = ev->data;

    if (ngx_exiting) {
        return;
    }

    if (ngx_queue_empty(&quota->sh->orphans)) {
        ngx_llm_quota_examine(quota);
    }

    pause = ngx_llm_quota_recover(quota);

    ngx_add_timer(ev, pause);
}


/*
 * Settles some of the orphans.  Returns the time until the next step, in
 * milliseconds: other workers and the requests of this one go on in between.
 */

static ngx_msec_t
ngx_llm_quota_recover(ngx_llm_quota_t *quota)
{
    int64_t                 spent[NGX_LLM_QUOTA_AMOUNTS];
    ngx_uint_t              i;
    ngx_llm_reservation_t  *hold;
    ngx_llm_redis_state_t   redis;

    for (i = 0; i < NGX_LLM_RESERVATION_STEP; i++) {

        /* settlements that Redis has yet to take are not to be dropped */

        if (quota->redis) {
            ngx_llm_redis_state(quota->redis, &redis);

            if (redis.waiting > NGX_LLM_RESERVATION_WAITING) {
                return NGX_LLM_RESERVATION_BUSY;
            }
        }

        hold = ngx_llm_quota_adopt(quota);

        if (hold == NULL) {
            break;
        }

        ngx_memcpy(spent, hold->spent, sizeof(spent));

        ngx_llm_quota_settle(quota, hold, spent);

        quota->recovered++;
    }

    if (i == NGX_LLM_RESERVATION_STEP) {
        return NGX_LLM_RESERVATION_PAUSE;
    }

    if (quota->recovered) {
        ngx_log_error(NGX_LOG_NOTICE, quota->log, 0,
                      "llm quota: %ui requests of workers that have exited "
                      "were settled", quota->recovered);
        quota->recovered = 0;
    }

    return NGX_LLM_QUOTA_EXAMINE;
}


/* Returns an orphan, now a hold of this worker, or NULL. */

static ngx_llm_reservation_t *
ngx_llm_quota_adopt(ngx_llm_quota_t *quota)
{
    ngx_queue_t            *q;
    ngx_slab_pool_t        *pool;
    ngx_llm_reservation_t  *hold;
    ngx_llm_quota_sh_t     *sh;

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
        hold = ngx_queue_data(q, ngx_llm_reservation_t, owned);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&sh->owners[ngx_process_slot].holds, q);
    }

    ngx_shmtx_unlock(&pool->mutex);

    return hold;
}


/*
 * Finds holds of workers that have exited and have no successor in their slot,
 * as in an old generation.  A process is checked without the mutex, once
 * for all of its holds.
 */

static void
ngx_llm_quota_examine(ngx_llm_quota_t *quota)
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
            ngx_llm_quota_orphan(quota, owner);
        }

        ngx_shmtx_unlock(&pool->mutex);
    }
}


/* Makes all holds of a worker orphans, with the mutex held. */

static void
ngx_llm_quota_orphan(ngx_llm_quota_t *quota, ngx_llm_owner_t *owner)
{
    if (ngx_queue_empty(&owner->holds)) {
        return;
    }

    ngx_queue_add(&quota->sh->orphans, &owner->holds);
    ngx_queue_init(&owner->holds);
}


void
ngx_llm_quota_settle(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold,
    int64_t *actual)
{
    if (hold->local) {
        ngx_llm_quota_local.settle(quota, hold, actual);

    } else if (quota->redis) {
        ngx_llm_quota_fleet.settle(quota, hold, actual);

    } else {

        /* without llm_redis after a reload, Redis charges it as reserved */

        ngx_llm_reservation_free(quota, hold);
    }
}
