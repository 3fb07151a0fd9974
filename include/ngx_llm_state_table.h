/*
 * ngx_llm_state_table.h: the provider and the key that keep the state of a
 * response or a conversation, for all workers.  A bounded table in the state
 * zone: of the ids that share a place the one used longest ago goes.
 */

#ifndef _NGX_LLM_STATE_TABLE_H_INCLUDED_
#define _NGX_LLM_STATE_TABLE_H_INCLUDED_


#include <ngx_llm_zone.h>


#define NGX_LLM_STATE_TABLE_KEY  32            /* bytes, a digest of the id */
#define NGX_LLM_STATE_TABLE_TTL  (30 * 86400)  /* s after the last use */


typedef struct ngx_llm_state_table_sh_s  ngx_llm_state_table_sh_t;

typedef struct {                     /* of one generation */
    ngx_llm_zone_t            *zone;
    ngx_llm_state_table_sh_t  *sh;   /* NULL: the zone had no memory left */
} ngx_llm_state_table_t;


/*
 * Called while the configuration is read, after all other parts of the zone.
 * Returns NULL if there is no memory.
 */
ngx_llm_state_table_t *ngx_llm_state_table_create(ngx_conf_t *cf,
    ngx_llm_zone_t *zone);

/* Returns the owner of the key, or 0 if it is unknown.  Marks it as used. */
uint64_t ngx_llm_state_table_get(ngx_llm_state_table_t *table,
    const u_char *key);

/* Stores the owner of the key, which is not 0, in place of an older one. */
void ngx_llm_state_table_put(ngx_llm_state_table_t *table, const u_char *key,
    uint64_t owner);


#endif /* _NGX_LLM_STATE_TABLE_H_INCLUDED_ */
