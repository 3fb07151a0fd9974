/*
 * ngx_llm_claim.h: the claims of one request on its quotas, and their results.
 * Amounts are requests, tokens, nano-USD.
 */

#ifndef _NGX_LLM_CLAIM_H_INCLUDED_
#define _NGX_LLM_CLAIM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_llm_limit.h>


#define NGX_LLM_QUOTA_KEY       16   /* bytes of an identity's SHA-256 */
#define NGX_LLM_QUOTA_NAME      64   /* longest name of a zone */
#define NGX_LLM_QUOTA_ID        48   /* longest id of a hold */
#define NGX_LLM_QUOTA_CLAIMS    8    /* zones of one request */

#define NGX_LLM_QUOTA_REPORTED  2    /* limits a client is told of: the first */

#define NGX_LLM_QUOTA_AS_RESERVED  (-1)


typedef enum {
    NGX_LLM_QUOTA_REQUESTS = 0,
    NGX_LLM_QUOTA_TOKENS,
    NGX_LLM_QUOTA_COST,
    NGX_LLM_QUOTA_AMOUNTS,           /* the three that are amounts */
    NGX_LLM_QUOTA_CONCURRENCY = NGX_LLM_QUOTA_AMOUNTS,
    NGX_LLM_QUOTA_LIMITS,
    NGX_LLM_QUOTA_NONE = NGX_LLM_QUOTA_LIMITS
} ngx_llm_quota_limit_e;


typedef struct ngx_llm_reservation_s        ngx_llm_reservation_t;


typedef struct {
    ngx_str_t              zone;     /* its name */
    uint64_t               hash;     /* of that, ngx_llm_row_hash() */
    u_char                 key[NGX_LLM_QUOTA_KEY];
    ngx_llm_limit_t        limits[NGX_LLM_QUOTA_LIMITS];
    int64_t                need[NGX_LLM_QUOTA_AMOUNTS];

    /* the answer; left and reset are -1 where there is no limit */

    ngx_llm_quota_limit_e  refuses;  /* or would, in shadow; ..._NONE */
    int64_t                wait;     /* milliseconds until it would not */
    int64_t                left[NGX_LLM_QUOTA_REPORTED];
    int64_t                reset[NGX_LLM_QUOTA_REPORTED];
} ngx_llm_claim_t;


typedef struct {                     /* of one request */
    ngx_str_t              id;       /* of the hold, unlike any other */
    ngx_msec_t             lifetime; /* of the hold, at most */
    ngx_llm_claim_t       *claims;
    ngx_uint_t             nclaims;
    unsigned               shadow:1; /* nothing is refused */
    unsigned               no_slot:1;  /* not counted in concurrency */
    void                 (*handler)(void *data);
    void                  *data;
    ngx_int_t              rc;       /* the answer, when it has come */
    ngx_llm_reservation_t *hold;     /* NGX_OK: to be settled */
    void                  *waiting;  /* the store's, until it answers */
} ngx_llm_reserve_t;


#endif /* _NGX_LLM_CLAIM_H_INCLUDED_ */
