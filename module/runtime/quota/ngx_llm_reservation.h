/*
 * ngx_llm_reservation.h: the rows of requests under way, in the state zone.
 * For the files that keep quotas; others have a hold only to give it back.
 */

#ifndef _NGX_LLM_RESERVATION_H_INCLUDED_
#define _NGX_LLM_RESERVATION_H_INCLUDED_


#include <ngx_llm_quota.h>


typedef struct ngx_llm_row_s  ngx_llm_row_t;

struct ngx_llm_row_s {               /* one zone and identity, in the zone */
    ngx_rbtree_node_t      node;     /* key: a hash of the two */
    ngx_queue_t            queue;    /* the last used first */
    uint64_t               zone;     /* hash of its name */
    u_char                 key[NGX_LLM_QUOTA_KEY];
    uint32_t               live;     /* requests, for concurrency */
    uint32_t               holds;    /* that point here */
    ngx_llm_limit_t        limits[NGX_LLM_QUOTA_AMOUNTS];  /* the last */
    ngx_llm_bucket_t       buckets[NGX_LLM_QUOTA_AMOUNTS];
};


typedef struct {                     /* of one zone */
    ngx_llm_row_t         *row;      /* NULL: it is in Redis, or in shadow */
    u_char                 key[NGX_LLM_QUOTA_KEY];
    ngx_llm_limit_t        limits[NGX_LLM_QUOTA_AMOUNTS];
    int64_t                need[NGX_LLM_QUOTA_AMOUNTS];
    int64_t                windows[NGX_LLM_QUOTA_AMOUNTS];
    u_short                name_len;
    u_char                 name[NGX_LLM_QUOTA_NAME];
} ngx_llm_part_t;


struct ngx_llm_reservation_s {
    ngx_queue_t            queue;    /* of all holds */
    ngx_queue_t            owned;    /* of those of its worker, or orphans */
    int64_t                deadline; /* milliseconds of the epoch */
    u_short                nparts;
    u_short                id_len;
    u_char                 id[NGX_LLM_QUOTA_ID];
    unsigned               local:1;  /* kept here, not in Redis */
    unsigned               no_slot:1;  /* not counted in concurrency */
    unsigned               swept:1;  /* charged as reserved, by its deadline */
    int64_t                spent[NGX_LLM_QUOTA_AMOUNTS];  /* if it dies now */
    ngx_llm_quota_t       *quota;    /* of its worker, while it delivers */
    ngx_llm_part_t         parts[1];
};


typedef struct {                     /* a process slot of nginx */
    ngx_queue_t            holds;    /* of the worker that has it, or had it */
    ngx_pid_t              pid;      /* of that worker */
} ngx_llm_owner_t;


/*
 * Rows and holds have a pool each, so that identities, which a client can make
 * up, take no memory of requests in flight.
 */

struct ngx_llm_quota_sh_s {
    ngx_slab_pool_t       *row_pool;
    ngx_slab_pool_t       *hold_pool;
    ngx_uint_t             hold_pages;   /* of that pool */
    ngx_rbtree_t           rbtree;   /* rows */
    ngx_rbtree_node_t      sentinel;
    ngx_queue_t            rows;     /* the last used first */
    ngx_queue_t            holds;    /* the next one to sweep first */
    ngx_queue_t            orphans;  /* holds of workers that have exited */
    ngx_llm_owner_t        owners[NGX_MAX_PROCESSES];  /* by process slot */
};


/* milliseconds of the epoch, as this worker sees them */

static ngx_inline int64_t
ngx_llm_reservation_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}

/*
 * Makes a hold of this worker for these claims.  Called with the zone's mutex
 * held.  A part of the memory is set aside for identities that the zone knows:
 * new is 1 if a claim's identity is not one of those.  Returns NULL if there is
 * no memory.
 */
ngx_llm_reservation_t *ngx_llm_reservation_alloc(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res, ngx_uint_t new);

/* frees a hold; the first one takes the mutex, the second is called with it */
void ngx_llm_reservation_free(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold);
void ngx_llm_reservation_free_locked(ngx_llm_quota_t *quota,
    ngx_llm_reservation_t *hold);

#if (NGX_DEBUG)
/* Logs the decision rc of a store for each claim; where names the store. */
void ngx_llm_reservation_debug(ngx_llm_quota_t *quota, ngx_llm_reserve_t *res,
    const char *where, ngx_int_t rc);
#else
#define ngx_llm_reservation_debug(quota, res, where, rc)
#endif

/* thresholds of a budget were crossed, NGX_LLM_ALERT_...: log and counter */
void ngx_llm_reservation_alert(ngx_llm_quota_t *quota, ngx_llm_part_t *part,
    ngx_uint_t limit, ngx_uint_t bits);


#endif /* _NGX_LLM_RESERVATION_H_INCLUDED_ */
