/*
 * ngx_llm_zone.h: shared memory of all workers, kept over reload: the state
 * zone, and the cache's.
 *
 * A part is what one file keeps in one: it registers while the configuration
 * is read, and finds its root again in each generation.
 */

#ifndef _NGX_LLM_ZONE_H_INCLUDED_
#define _NGX_LLM_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef enum {
    NGX_LLM_ZONE_METRICS = 0,
    NGX_LLM_ZONE_HEALTH,
    NGX_LLM_ZONE_LEARN,
    NGX_LLM_ZONE_QUOTA,
    NGX_LLM_ZONE_CACHE,
    NGX_LLM_ZONE_FLIGHTS,
    NGX_LLM_ZONE_STATE,
    NGX_LLM_ZONE_PARTS               /* how many there are */
} ngx_llm_zone_part_e;


typedef struct {                     /* in the zone */
    void             *roots[NGX_LLM_ZONE_PARTS];
} ngx_llm_zone_sh_t;


typedef struct {                     /* of one generation */
    ngx_slab_pool_t   *pool;         /* NULL until the zone is mapped */
    ngx_llm_zone_sh_t *sh;
    ngx_array_t        parts;        /* as registered */
    ngx_array_t        taken;        /* of a zone, by new roots: void * */
    size_t             before;       /* size in the last generation, or 0 */
} ngx_llm_zone_t;


/*
 * Called once per generation, before there are workers.  *root is NULL in a
 * zone that starts empty, else what a generation before has put there.
 * NGX_OK, or NGX_ERROR: nginx does not start, a reload is given up.
 */
typedef ngx_int_t (*ngx_llm_zone_init_pt)(ngx_llm_zone_t *zone, void **root,
    void *data);


/*
 * Declares the zone; tag is a module, as for ngx_shared_memory_add().  At
 * another size than in the generation before it starts empty, with a notice.
 * NULL: logged.
 */
ngx_llm_zone_t *ngx_llm_zone_add(ngx_conf_t *cf, ngx_str_t *name, size_t size,
    void *tag);

/* registers a part; data is handed to init.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_llm_zone_use(ngx_llm_zone_t *zone, ngx_llm_zone_part_e part,
    ngx_llm_zone_init_pt init, void *data);

/*
 * For init functions with a NULL *root: allocates zeroed memory of the zone.
 * If this or another part fails to initialize, the memory is freed and *root
 * is NULL again.  Returns NULL if the zone is too small.
 */
void *ngx_llm_zone_calloc(ngx_llm_zone_t *zone, size_t size);

/*
 * Allocates a slab pool of 1/part of the zone, or less if the zone has less
 * free memory.  Allocations from this pool never take memory of other parts.
 * The zone's mutex guards it: only ngx_slab_..._locked() may be called.
 */
ngx_slab_pool_t *ngx_llm_zone_room(ngx_llm_zone_t *zone, ngx_uint_t part);


#endif /* _NGX_LLM_ZONE_H_INCLUDED_ */
