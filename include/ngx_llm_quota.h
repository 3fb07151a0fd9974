/*
 * ngx_llm_quota.h: where quotas are kept, behind one interface.
 *
 * A hold is what a request was granted: a row in the state zone, which outlives
 * its worker, so that the one started in its place can settle it.
 */

#ifndef _NGX_LLM_QUOTA_H_INCLUDED_
#define _NGX_LLM_QUOTA_H_INCLUDED_


#include <ngx_llm_zone.h>
#include <ngx_llm_claim.h>
#include <ngx_llm_identity.h>
#include <ngx_llm_metrics.h>
#include <ngx_llm_redis.h>


typedef struct ngx_llm_quota_s       ngx_llm_quota_t;
typedef struct ngx_llm_quota_sh_s    ngx_llm_quota_sh_t;


typedef struct {

    /*
     * Reserves all claims or none.  Returns NGX_OK if res->hold is to be
     * settled, NGX_DECLINED if a claim is rejected, NGX_ERROR if the store is
     * down or full and nothing is reserved, or NGX_AGAIN: the handler is then
     * called once, later, with one of the other codes in res->rc.
     */
    ngx_int_t            (*reserve)(ngx_llm_quota_t *quota,
                                    ngx_llm_reserve_t *res);

    /* after NGX_AGAIN: the request has ended, the handler is not called */
    void                 (*cancel)(ngx_llm_quota_t *quota,
                                   ngx_llm_reserve_t *res);

    /* amounts that were used, or ..._AS_RESERVED; frees the hold */
    void                 (*settle)(ngx_llm_quota_t *quota,
                                   ngx_llm_reservation_t *hold,
                                   int64_t *actual);
} ngx_llm_quota_store_t;


struct ngx_llm_quota_s {             /* of one generation */
    const ngx_llm_quota_store_t *store;  /* picked by the configuration */
    ngx_llm_zone_t        *zone;
    ngx_llm_quota_sh_t    *sh;
    ngx_llm_redis_t       *redis;    /* NULL: no llm_redis */
    ngx_str_t              prefix;   /* of its keys */
    ngx_int_t              instances;  /* nodes that share it */
    ngx_llm_metrics_t     *metrics;  /* or NULL */
    ngx_llm_digest_t      *digest;
    ngx_llm_identity_t    *identity;
    ngx_log_t             *log;      /* the worker's */
    ngx_event_t            recovery; /* timer: looks for holds of the dead */
    ngx_uint_t             recovered;  /* holds since it began */
    int64_t                swept;    /* when it looked for overdue holds */
    u_char                 salt[8];  /* of ids, of this start of nginx */
};


/* shared memory; module/lua in Redis */
extern const ngx_llm_quota_store_t  ngx_llm_quota_local;
extern const ngx_llm_quota_store_t  ngx_llm_quota_fleet;


/* while the configuration is read; NULL: out of memory */
ngx_llm_quota_t *ngx_llm_quota_create(ngx_conf_t *cf, ngx_llm_zone_t *zone);

/* of the name of a zone: rows in shared memory are found by it */
uint64_t ngx_llm_row_hash(ngx_str_t *zone);

/* starts, in each worker, to settle the holds of workers that have exited */
ngx_int_t ngx_llm_quota_worker(ngx_llm_quota_t *quota, ngx_cycle_t *cycle);

/* if its worker dies now, so much was used: tokens, nano-USD */
void ngx_llm_reservation_progress(ngx_llm_reservation_t *hold, int64_t tokens,
    int64_t cost);

/* as the store's settle; actual has the used amounts */
void ngx_llm_quota_settle(ngx_llm_quota_t *quota, ngx_llm_reservation_t *hold,
    int64_t *actual);


#endif /* _NGX_LLM_QUOTA_H_INCLUDED_ */
