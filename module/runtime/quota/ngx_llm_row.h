/*
 * ngx_llm_row.h: the rows of zones and identities in shared memory.  All
 * functions are called with the zone's mutex held.
 */

#ifndef _NGX_LLM_ROW_H_INCLUDED_
#define _NGX_LLM_ROW_H_INCLUDED_


#include "ngx_llm_reservation.h"


/*
 * Returns the row of a claim.  A row is made if there is none, and *new is set
 * to 1.  Returns NULL if there is no memory, and none of the rows examined is
 * idle.
 */
ngx_llm_row_t *ngx_llm_row_get(ngx_llm_quota_t *quota, ngx_llm_claim_t *claim,
    int64_t now, ngx_uint_t *new);

/*
 * Gives a bucket of the row memory for its marks if a reservation is added to
 * others, and frees that memory if the bucket is idle.  Called after turn(),
 * before the reservation, with the mutex held.  Without memory the bucket goes
 * without marks.
 */
void ngx_llm_row_marks(ngx_llm_quota_t *quota, ngx_llm_row_t *row,
    ngx_uint_t i);

/* frees a row that no hold points to */
void ngx_llm_row_free(ngx_llm_quota_t *quota, ngx_llm_row_t *row);


#endif /* _NGX_LLM_ROW_H_INCLUDED_ */
