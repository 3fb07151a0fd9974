/*
 * Holds: what requests under way have reserved.  Each is a row in the state
 * zone with the number of its worker, so that nothing is lost with a worker:
 * the next one to start settles what the dead have left.
 */


#include <ngx_llm_hold.h>
#include <openssl/rand.h>


static ngx_int_t ngx_llm_quota_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static void ngx_llm_hold_inherit(ngx_llm_quota_t *quota,
    ngx_llm_hold_t *hold);


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

    ngx_llm_quota_sh_t  *sh;

    sh = *root;

    if (sh == NULL) {

        sh = ngx_slab_calloc(zone->pool, sizeof(ngx_llm_quota_sh_t));
        if (sh == NULL) {
            return NGX_ERROR;
        }

        ngx_rbtree_init(&sh->rbtree, &sh->sentinel, ngx_rbtree_insert_value);
        ngx_queue_init(&sh->rows);
        ngx_queue_init(&sh->holds);

        *root = sh;
    }

    quota->sh = sh;

    return NGX_OK;
}


/*
 * One hold at a time leaves the queue, as settling takes the mutex; those of
 * workers that live, of this generation or the one before, stay.
 */

ngx_int_t
ngx_llm_quota_worker(ngx_llm_quota_t *quota, ngx_cycle_t *cycle)
{
    ngx_uint_t        n;
    ngx_queue_t      *q;
    ngx_llm_hold_t   *hold, *orphan;
    ngx_slab_pool_t  *pool;

    quota->log = cycle->log;

    if (RAND_bytes((u_char *) &quota->worker, sizeof(uint64_t)) != 1) {
        return NGX_ERROR;
    }

    pool = quota->zone->pool;

    for (n = 0; /* void */ ; n++) {
        orphan = NULL;

        ngx_shmtx_lock(&pool->mutex);

        for (q = ngx_queue_head(&quota->sh->holds);
             q != ngx_queue_sentinel(&quota->sh->holds);
             q = ngx_queue_next(q))
        {
            hold = ngx_queue_data(q, ngx_llm_hold_t, queue);

            if (ngx_llm_hold_orphan(quota, hold)) {
                ngx_llm_hold_adopt(quota, hold);
                orphan = hold;
                break;
            }
        }

        ngx_shmtx_unlock(&pool->mutex);

        if (orphan == NULL) {
            break;
        }

        ngx_llm_hold_inherit(quota, orphan);
    }

    if (n) {
        ngx_log_error(NGX_LOG_NOTICE, cycle->log, 0,
                      "llm quota: %ui requests of a worker that is gone "
                      "were settled", n);
    }

    return NGX_OK;
}


static void
ngx_llm_hold_inherit(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold)
{
    int64_t  spent[NGX_LLM_QUOTA_AMOUNTS];

    ngx_memcpy(spent, hold->spent, sizeof(spent));

    ngx_llm_quota_settle(quota, hold, spent);
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

        /* a reload has taken llm_redis away: its deadline settles it there */

        ngx_llm_hold_free(quota, hold);
    }
}


ngx_llm_hold_t *
ngx_llm_hold_alloc(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res)
{
    size_t            size;
    ngx_uint_t        i;
    ngx_llm_hold_t   *hold;
    ngx_llm_part_t   *part;
    ngx_llm_claim_t  *claim;

    size = offsetof(ngx_llm_hold_t, parts)
           + res->nclaims * sizeof(ngx_llm_part_t);

    hold = ngx_slab_alloc_locked(quota->zone->pool, size);
    if (hold == NULL) {
        return NULL;
    }

    ngx_memzero(hold, offsetof(ngx_llm_hold_t, parts));
    ngx_queue_init(&hold->queue);

    hold->worker = quota->worker;
    hold->pid = ngx_pid;
    hold->deadline = ngx_llm_hold_now() + res->lifetime;
    hold->id_len = (u_short) ngx_min(res->id.len, NGX_LLM_QUOTA_ID);
    hold->nparts = res->nclaims;
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

    ngx_queue_remove(&hold->queue);
    ngx_slab_free_locked(pool, hold);

    ngx_shmtx_unlock(&pool->mutex);
}


/* the number of a worker tells it from another one that has got its pid */

ngx_uint_t
ngx_llm_hold_orphan(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold)
{
    if (hold->pid == ngx_pid) {
        return hold->worker != quota->worker;
    }

    return kill(hold->pid, 0) == -1 && ngx_errno == ESRCH;
}


void
ngx_llm_hold_adopt(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold)
{
    hold->worker = quota->worker;
    hold->pid = ngx_pid;
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
