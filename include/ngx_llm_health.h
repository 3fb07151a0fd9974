/*
 * ngx_llm_health.h: the records of providers, their keys and their targets,
 * shared by all workers; in the state zone, so a reload keeps them.  What a
 * record says and is told is in ngx_llm_health_record.h.
 */

#ifndef _NGX_LLM_HEALTH_H_INCLUDED_
#define _NGX_LLM_HEALTH_H_INCLUDED_


#include <ngx_llm_zone.h>
#include <ngx_llm_health_record.h>


typedef enum {
    NGX_LLM_HEALTH_PROVIDER = 0,
    NGX_LLM_HEALTH_CREDENTIAL,
    NGX_LLM_HEALTH_TARGET
} ngx_llm_health_kind_e;


typedef struct ngx_llm_health_s     ngx_llm_health_t;


/* before the zone is mapped; NULL: no memory */
ngx_llm_health_t *ngx_llm_health_create(ngx_conf_t *cf, ngx_llm_zone_t *zone);

/*
 * Registers a record under the names: found again after a reload by kind and
 * names.  *vital is set when the zone is mapped, before there are workers, and
 * valid as long as the configuration.  The names are copied.  NGX_OK or
 * NGX_ERROR.
 */
ngx_int_t ngx_llm_health_add(ngx_conf_t *cf, ngx_llm_health_t *health,
    ngx_llm_health_kind_e kind, ngx_str_t *provider, ngx_str_t *name,
    ngx_llm_health_record_t **record);

/*
 * When a worker starts: what its predecessor in the same process slot, killed
 * perhaps, still had in flight is given back.
 */
void ngx_llm_health_worker(ngx_llm_health_t *health);

/*
 * The retry budget: a pass earns a tenth of an extra attempt.  spend() takes
 * so many whole ones: NGX_OK, or NGX_DECLINED if there is not one left.
 */
void ngx_llm_health_earn(ngx_llm_health_t *health);
ngx_int_t ngx_llm_health_spend(ngx_llm_health_t *health,
    ngx_uint_t attempts);


#endif /* _NGX_LLM_HEALTH_H_INCLUDED_ */
