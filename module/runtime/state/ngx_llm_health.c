/*
 * The records of all providers, keys and targets in the state zone.  A record
 * is made when a configuration first names it and never taken away: a worker
 * of an older generation may still count there.
 */


#include <ngx_llm_health.h>


#define NGX_LLM_HEALTH_EARNED   1        /* by a pass; a tenth of an attempt */
#define NGX_LLM_HEALTH_ATTEMPT  10
#define NGX_LLM_HEALTH_SAVINGS  100      /* at most */


typedef struct ngx_llm_health_entry_s  ngx_llm_health_entry_t;

struct ngx_llm_health_entry_s {
    ngx_llm_health_entry_t   *next;
    ngx_llm_health_record_t  *health;
    ngx_llm_health_kind_e     kind;
    size_t                    len;
    u_char                    names[1];  /* of provider, NUL, its own */
};


typedef struct {                         /* in the zone */
    ngx_llm_health_entry_t  *entries;
    ngx_atomic_t             budget;     /* tenths of an attempt */
} ngx_llm_health_sh_t;


typedef struct {                         /* what a configuration names */
    ngx_llm_health_kind_e     kind;
    ngx_str_t                 names;
    ngx_llm_health_record_t **health;
} ngx_llm_health_name_t;


struct ngx_llm_health_s {
    ngx_llm_health_sh_t      *sh;
    ngx_array_t               names;
};


static ngx_int_t ngx_llm_health_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static ngx_llm_health_entry_t *ngx_llm_health_entry(ngx_slab_pool_t *pool,
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
    ngx_llm_health_record_t **record)
{
    u_char                 *p;
    ngx_llm_health_name_t  *slot;

    slot = ngx_array_push(&health->names);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->kind = kind;
    slot->health = record;
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

    ngx_uint_t               i;
    ngx_llm_health_name_t   *name;
    ngx_llm_health_entry_t  *entry;

    if (*root == NULL) {

        *root = ngx_slab_calloc(zone->pool, sizeof(ngx_llm_health_sh_t));
        if (*root == NULL) {
            return NGX_ERROR;
        }
    }

    health->sh = *root;

    name = health->names.elts;

    for (i = 0; i < health->names.nelts; i++) {

        entry = ngx_llm_health_entry(zone->pool, health->sh, &name[i]);
        if (entry == NULL) {
            return NGX_ERROR;
        }

        *name[i].health = entry->health;
    }

    return NGX_OK;
}


/* only the master makes records, while it reads a configuration */

static ngx_llm_health_entry_t *
ngx_llm_health_entry(ngx_slab_pool_t *pool, ngx_llm_health_sh_t *sh,
    ngx_llm_health_name_t *name)
{
    ngx_llm_health_entry_t  *entry;

    for (entry = sh->entries; entry; entry = entry->next) {

        if (entry->kind == name->kind && entry->len == name->names.len
            && ngx_memcmp(entry->names, name->names.data, entry->len) == 0)
        {
            return entry;
        }
    }

    entry = ngx_slab_calloc(pool, offsetof(ngx_llm_health_entry_t, names)
                                  + name->names.len);
    if (entry == NULL) {
        return NULL;
    }

    entry->health = ngx_slab_calloc(pool, ngx_llm_health_record_size());
    if (entry->health == NULL) {
        ngx_slab_free(pool, entry);
        return NULL;
    }

    entry->kind = name->kind;
    entry->len = name->names.len;
    ngx_memcpy(entry->names, name->names.data, entry->len);

    /* a worker that starts may be walking the list */

    entry->next = sh->entries;
    ngx_memory_barrier();
    sh->entries = entry;

    return entry;
}


void
ngx_llm_health_worker(ngx_llm_health_t *health)
{
    ngx_llm_health_entry_t  *entry;

    for (entry = health->sh->entries; entry; entry = entry->next) {
        ngx_llm_health_record_reclaim(entry->health, ngx_process_slot);
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
