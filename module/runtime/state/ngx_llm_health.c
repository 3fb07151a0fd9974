/*
 * The records of all providers, keys and targets in the state zone.  A record
 * is made when a configuration first names it and never taken away: a worker
 * of an older generation may still count there.
 */


#include <ngx_llm_health.h>


#define NGX_LLM_HEALTH_EARNED   1        /* by a pass; a tenth of an attempt */
#define NGX_LLM_HEALTH_ATTEMPT  10
#define NGX_LLM_HEALTH_SAVINGS  100      /* at most */


typedef struct ngx_llm_health_record_s  ngx_llm_health_record_t;

struct ngx_llm_health_record_s {
    ngx_llm_health_record_t  *next;
    ngx_llm_vital_t          *vital;
    ngx_llm_health_kind_e     kind;
    size_t                    len;
    u_char                    names[1];  /* of provider, NUL, its own */
};


typedef struct {                         /* in the zone */
    ngx_llm_health_record_t  *records;
    ngx_atomic_t              budget;    /* tenths of an attempt */
} ngx_llm_health_sh_t;


typedef struct {                         /* what a configuration names */
    ngx_llm_health_kind_e     kind;
    ngx_str_t                 names;
    ngx_llm_vital_t         **vital;
} ngx_llm_health_name_t;


struct ngx_llm_health_s {
    ngx_llm_health_sh_t      *sh;
    ngx_array_t               names;
};


static ngx_int_t ngx_llm_health_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static ngx_llm_health_record_t *ngx_llm_health_record(ngx_slab_pool_t *pool,
    ngx_llm_health_sh_t *sh, ngx_llm_health_name_t *name);


ngx_llm_health_t *
ngx_llm_health_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_llm_health_t  *health;

    health = ngx_pcalloc(cf->pool, sizeof(ngx_llm_health_t));
    if (health == NULL) {
        return NULL;
    }

    if (ngx_array_init(&health->names, cf->pool, 16,
                       sizeof(ngx_llm_health_name_t))
        != NGX_OK
        || ngx_llm_zone_use(zone, NGX_LLM_ZONE_HEALTH, ngx_llm_health_init,
                            health)
           != NGX_OK)
    {
        return NULL;
    }

    return health;
}


ngx_int_t
ngx_llm_health_add(ngx_conf_t *cf, ngx_llm_health_t *health,
    ngx_llm_health_kind_e kind, ngx_str_t *provider, ngx_str_t *name,
    ngx_llm_vital_t **vital)
{
    u_char                 *p;
    ngx_llm_health_name_t  *slot;

    slot = ngx_array_push(&health->names);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->kind = kind;
    slot->vital = vital;
    slot->names.len = provider->len + 1 + name->len;

    p = ngx_pnalloc(cf->pool, slot->names.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    slot->names.data = p;

    p = ngx_cpymem(p, provider->data, provider->len);
    *p++ = '\0';

    if (name->len) {
        ngx_memcpy(p, name->data, name->len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_health_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_health_t  *health = data;

    ngx_uint_t                i;
    ngx_llm_health_name_t    *name;
    ngx_llm_health_record_t  *record;

    if (*root == NULL) {

        *root = ngx_slab_calloc(zone->pool, sizeof(ngx_llm_health_sh_t));
        if (*root == NULL) {
            return NGX_ERROR;
        }
    }

    health->sh = *root;

    name = health->names.elts;

    for (i = 0; i < health->names.nelts; i++) {

        record = ngx_llm_health_record(zone->pool, health->sh, &name[i]);
        if (record == NULL) {
            return NGX_ERROR;
        }

        *name[i].vital = record->vital;
    }

    return NGX_OK;
}


/* only the master makes records, while it reads a configuration */

static ngx_llm_health_record_t *
ngx_llm_health_record(ngx_slab_pool_t *pool, ngx_llm_health_sh_t *sh,
    ngx_llm_health_name_t *name)
{
    ngx_llm_health_record_t  *record;

    for (record = sh->records; record; record = record->next) {

        if (record->kind == name->kind && record->len == name->names.len
            && ngx_memcmp(record->names, name->names.data, record->len) == 0)
        {
            return record;
        }
    }

    record = ngx_slab_calloc(pool, offsetof(ngx_llm_health_record_t, names)
                                   + name->names.len);
    if (record == NULL) {
        return NULL;
    }

    record->vital = ngx_slab_calloc(pool, ngx_llm_vital_size());
    if (record->vital == NULL) {
        ngx_slab_free(pool, record);
        return NULL;
    }

    record->kind = name->kind;
    record->len = name->names.len;
    ngx_memcpy(record->names, name->names.data, record->len);

    /* a worker that starts may be walking the list */

    record->next = sh->records;
    ngx_memory_barrier();
    sh->records = record;

    return record;
}


void
ngx_llm_health_worker(ngx_llm_health_t *health)
{
    ngx_llm_health_record_t  *record;

    for (record = health->sh->records; record; record = record->next) {
        ngx_llm_vital_reclaim(record->vital, ngx_process_slot);
    }
}


void
ngx_llm_health_earn(ngx_llm_health_t *health)
{
    if (health->sh->budget < NGX_LLM_HEALTH_SAVINGS) {
        (void) ngx_atomic_fetch_add(&health->sh->budget,
                                    NGX_LLM_HEALTH_EARNED);
    }
}


ngx_int_t
ngx_llm_health_spend(ngx_llm_health_t *health, ngx_uint_t attempts)
{
    ngx_atomic_uint_t  budget;

    do {
        budget = health->sh->budget;

        if (budget < NGX_LLM_HEALTH_ATTEMPT) {
            return NGX_DECLINED;
        }

    } while (!ngx_atomic_cmp_set(&health->sh->budget, budget,
                                 budget - attempts
                                          * NGX_LLM_HEALTH_ATTEMPT));

    return NGX_OK;
}
