/*
 * ngx_llm_hold.h: the rows of requests under way, in the state zone.  For the
 * files that keep quotas; others have a hold only to give it back.
 */

#ifndef _NGX_LLM_HOLD_H_INCLUDED_
#define _NGX_LLM_HOLD_H_INCLUDED_


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


struct ngx_llm_hold_s {
    ngx_queue_t            queue;    /* of all holds */
    uint64_t               worker;   /* who settles it */
    ngx_pid_t              pid;
    int64_t                deadline; /* milliseconds of the epoch */
    u_short                id_len;
    u_char                 id[NGX_LLM_QUOTA_ID];
    unsigned               local:1;  /* kept here, not in Redis */
    unsigned               swept:1;  /* charged as reserved, by its deadline */
    int64_t                spent[NGX_LLM_QUOTA_AMOUNTS];  /* if it dies now */
    ngx_llm_quota_t       *quota;    /* of its worker, while it delivers */
    ngx_uint_t             nparts;
    ngx_llm_part_t         parts[1];
};


struct ngx_llm_quota_sh_s {
    ngx_rbtree_t           rbtree;   /* rows */
    ngx_rbtree_node_t      sentinel;
    ngx_queue_t            rows;     /* the last used first */
    ngx_queue_t            holds;
};


/* milliseconds of the epoch, as this worker sees them */

static ngx_inline int64_t
ngx_llm_hold_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}


/*
 * A hold for these claims, of this worker, not in the queue yet.  With the
 * zone's mutex held.  NULL: the zone is full.
 */
ngx_llm_hold_t *ngx_llm_hold_alloc(ngx_llm_quota_t *quota,
    ngx_llm_reserve_t *res);

/* takes the mutex, and frees it; it is out of the queue, or in it */
void ngx_llm_hold_free(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold);

/* 1: its worker is no more */
ngx_uint_t ngx_llm_hold_orphan(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold);

/* makes it this worker's */
void ngx_llm_hold_adopt(ngx_llm_quota_t *quota, ngx_llm_hold_t *hold);

/* thresholds of a budget were crossed, NGX_LLM_ALERT_...: log and counter */
void ngx_llm_hold_alert(ngx_llm_quota_t *quota, ngx_llm_part_t *part,
    ngx_uint_t limit, ngx_uint_t bits);

/*
 * The row of a claim, made if there is none, with the mutex held.  NULL: the
 * zone is full, and no bucket in it is idle.
 */
ngx_llm_row_t *ngx_llm_row_get(ngx_llm_quota_t *quota, ngx_llm_claim_t *claim,
    int64_t now);


#endif /* _NGX_LLM_HOLD_H_INCLUDED_ */
