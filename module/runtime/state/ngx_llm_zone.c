/*
 * The state zone: shared memory for the state that workers share and that a
 * reload keeps.  The zone knows its parts as names and functions only.
 */


#include <ngx_llm_zone.h>


#define NGX_LLM_ZONE_BASE   (128 * 1024)  /* of a zone, not for rooms */
#define NGX_LLM_ZONE_ROOM   4             /* pages of a room, at least */


typedef struct {
    ngx_llm_zone_part_e    part;
    ngx_llm_zone_init_pt   init;
    void                  *data;
} ngx_llm_zone_slot_t;


static size_t ngx_llm_zone_before(ngx_conf_t *cf, ngx_str_t *name, void *tag);
static ngx_int_t ngx_llm_zone_init(ngx_shm_zone_t *shm_zone, void *data);
static ngx_int_t ngx_llm_zone_create(ngx_shm_zone_t *shm_zone,
    ngx_llm_zone_t *zone);
static ngx_int_t ngx_llm_zone_parts(ngx_llm_zone_t *zone);


ngx_llm_zone_t *
ngx_llm_zone_add(ngx_conf_t *cf, ngx_str_t *name, size_t size, void *tag)
{
    ngx_llm_zone_t  *zone;
    ngx_shm_zone_t  *shm_zone;

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_llm_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    if (ngx_array_init(&zone->parts, cf->pool, NGX_LLM_ZONE_PARTS,
                       sizeof(ngx_llm_zone_slot_t))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&zone->taken, cf->pool, NGX_LLM_ZONE_PARTS,
                       sizeof(void *))
        != NGX_OK)
    {
        return NULL;
    }

    shm_zone = ngx_shared_memory_add(cf, name, size, tag);
    if (shm_zone == NULL) {
        return NULL;
    }

    zone->before = ngx_llm_zone_before(cf, name, tag);

    shm_zone->init = ngx_llm_zone_init;
    shm_zone->data = zone;

    return zone;
}


/* the size of the same zone in the generation before; 0: there was none */

static size_t
ngx_llm_zone_before(ngx_conf_t *cf, ngx_str_t *name, void *tag)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *shm_zone;
    ngx_list_part_t  *part;

    for (part = &cf->cycle->old_cycle->shared_memory.part;
         part;
         part = part->next)
    {
        shm_zone = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (shm_zone[i].tag == tag
                && shm_zone[i].shm.name.len == name->len
                && ngx_memcmp(shm_zone[i].shm.name.data, name->data,
                              name->len)
                   == 0)
            {
                return shm_zone[i].shm.size;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_llm_zone_use(ngx_llm_zone_t *zone, ngx_llm_zone_part_e part,
    ngx_llm_zone_init_pt init, void *data)
{
    ngx_llm_zone_slot_t  *slot;

    slot = ngx_array_push(&zone->parts);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    slot->part = part;
    slot->init = init;
    slot->data = data;

    return NGX_OK;
}


/* data: the zone of the generation before, if its memory is kept */

static ngx_int_t
ngx_llm_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_llm_zone_t  *old = data;

    ngx_llm_zone_t  *zone;

    zone = shm_zone->data;
    zone->pool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old) {
        zone->sh = old->sh;

    } else if (shm_zone->shm.exists) {
        zone->sh = zone->pool->data;

    } else if (ngx_llm_zone_create(shm_zone, zone) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_llm_zone_parts(zone) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                      "shared memory zone \"%V\" is too small",
                      &shm_zone->shm.name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_zone_create(ngx_shm_zone_t *shm_zone, ngx_llm_zone_t *zone)
{
    if (zone->before && zone->before != shm_zone->shm.size) {
        ngx_log_error(NGX_LOG_NOTICE, shm_zone->shm.log, 0,
                      "shared memory zone \"%V\" starts empty: its size was "
                      "%uz, now it is %uz", &shm_zone->shm.name,
                      zone->before, shm_zone->shm.size);
    }

    zone->sh = ngx_slab_calloc(zone->pool, sizeof(ngx_llm_zone_sh_t));
    if (zone->sh == NULL) {
        return NGX_ERROR;
    }

    zone->pool->data = zone->sh;

    /* the part that gets no memory logs this, once */
    zone->pool->log_nomem = 0;

    return NGX_OK;
}


/* A reload that fails leaves the zone as it was: live workers use it. */

static ngx_int_t
ngx_llm_zone_parts(ngx_llm_zone_t *zone)
{
    void                 **taken, *before[NGX_LLM_ZONE_PARTS];
    ngx_uint_t             i;
    ngx_llm_zone_slot_t   *slot;

    ngx_memcpy(before, zone->sh->roots, sizeof(before));

    slot = zone->parts.elts;

    for (i = 0; i < zone->parts.nelts; i++) {

        if (slot[i].init(zone, &zone->sh->roots[slot[i].part], slot[i].data)
            != NGX_OK)
        {
            goto failed;
        }
    }

    return NGX_OK;

failed:

    ngx_memcpy(zone->sh->roots, before, sizeof(before));

    taken = zone->taken.elts;

    for (i = 0; i < zone->taken.nelts; i++) {
        ngx_slab_free(zone->pool, taken[i]);
    }

    return NGX_ERROR;
}


void *
ngx_llm_zone_calloc(ngx_llm_zone_t *zone, size_t size)
{
    void  *p, **taken;

    taken = ngx_array_push(&zone->taken);
    if (taken == NULL) {
        return NULL;
    }

    p = ngx_slab_calloc(zone->pool, size);

    if (p == NULL) {
        zone->taken.nelts--;
        return NULL;
    }

    *taken = p;

    return p;
}


ngx_slab_pool_t *
ngx_llm_zone_room(ngx_llm_zone_t *zone, ngx_uint_t part)
{
    size_t            size, least;
    ngx_slab_pool_t  *room;

    size = zone->pool->end - (u_char *) zone->pool;
    size = (size > NGX_LLM_ZONE_BASE) ? (size - NGX_LLM_ZONE_BASE) / part : 0;

    least = NGX_LLM_ZONE_ROOM * ngx_pagesize;

    for ( ;; ) {
        size = ngx_max(ngx_align(size, ngx_pagesize), least);

        room = ngx_llm_zone_calloc(zone, size);

        if (room || size == least) {
            break;
        }

        size /= 2;
    }

    if (room == NULL) {
        return NULL;
    }

    room->end = (u_char *) room + size;
    room->min_shift = zone->pool->min_shift;
    room->addr = room;

    ngx_slab_init(room);

    /* the part that uses the room logs that it is full */
    room->log_nomem = 0;

    return room;
}
