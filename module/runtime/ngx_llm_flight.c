/*
 * Flights: a table of keys that are being asked for, and of the processes that
 * do.  A key has one place in it; if another key is there it goes alone, which
 * costs a call and nothing else.  A leader whose worker has died leads nobody.
 */


#include <ngx_llm_flight.h>


#define NGX_LLM_FLIGHT_PLACES  1024


typedef struct {
    u_char                   key[NGX_LLM_FLIGHT_KEY];
    ngx_pid_t                pid;        /* 0: the place is free */
    ngx_msec_t               start;      /* ngx_current_msec */
} ngx_llm_flight_place_t;


struct ngx_llm_flight_sh_s {
    ngx_llm_flight_place_t   places[NGX_LLM_FLIGHT_PLACES];
};


static ngx_int_t ngx_llm_flight_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static ngx_uint_t ngx_llm_flight_alive(ngx_pid_t pid);


/* keys are HMACs: any bytes of them are a hash */

static ngx_inline ngx_llm_flight_place_t *
ngx_llm_flight_place(ngx_llm_flight_t *flight, const u_char *key)
{
    return &flight->sh->places[(key[0] << 8 | key[1])
                               % NGX_LLM_FLIGHT_PLACES];
}


ngx_llm_flight_t *
ngx_llm_flight_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_llm_flight_t  *flight;

    flight = ngx_pcalloc(cf->pool, sizeof(ngx_llm_flight_t));
    if (flight == NULL) {
        return NULL;
    }

    flight->zone = zone;

    if (ngx_llm_zone_use(zone, NGX_LLM_ZONE_FLIGHTS, ngx_llm_flight_init,
                         flight)
        != NGX_OK)
    {
        return NULL;
    }

    return flight;
}


static ngx_int_t
ngx_llm_flight_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_flight_t  *flight = data;

    if (*root == NULL) {
        *root = ngx_slab_calloc(zone->pool, sizeof(ngx_llm_flight_sh_t));
    }

    flight->sh = *root;

    return flight->sh ? NGX_OK : NGX_ERROR;
}


void
ngx_llm_flight_prefetch(ngx_llm_flight_t *flight, const u_char *key)
{
    __builtin_prefetch(ngx_llm_flight_place(flight, key), 1);
}


ngx_int_t
ngx_llm_flight_lead(ngx_llm_flight_t *flight, const u_char *key,
    ngx_msec_t longest)
{
    ngx_int_t                rc;
    ngx_pid_t                pid;
    ngx_uint_t               gone;
    ngx_llm_flight_place_t  *place;

    place = ngx_llm_flight_place(flight, key);

    /* not under the lock: it is a system call */

    pid = place->pid;
    gone = (pid != 0 && !ngx_llm_flight_alive(pid));

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    if (place->pid == 0
        || (gone && place->pid == pid)
        || (ngx_msec_int_t) (ngx_current_msec - place->start)
           > (ngx_msec_int_t) longest)
    {
        ngx_memcpy(place->key, key, NGX_LLM_FLIGHT_KEY);
        place->pid = ngx_pid;
        place->start = ngx_current_msec;
        rc = NGX_OK;

    } else {
        rc = ngx_memcmp(place->key, key, NGX_LLM_FLIGHT_KEY) == 0
             ? NGX_AGAIN : NGX_DECLINED;
    }

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    return rc;
}


ngx_uint_t
ngx_llm_flight_led(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_pid_t                pid;
    ngx_llm_flight_place_t  *place;

    place = ngx_llm_flight_place(flight, key);

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    pid = ngx_memcmp(place->key, key, NGX_LLM_FLIGHT_KEY) == 0 ? place->pid
                                                              : 0;

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    return pid != 0 && ngx_llm_flight_alive(pid);
}


static ngx_uint_t
ngx_llm_flight_alive(ngx_pid_t pid)
{
    return pid == ngx_pid || kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


void
ngx_llm_flight_land(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_llm_flight_place_t  *place;

    place = ngx_llm_flight_place(flight, key);

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    if (place->pid == ngx_pid
        && ngx_memcmp(place->key, key, NGX_LLM_FLIGHT_KEY) == 0)
    {
        place->pid = 0;
    }

    ngx_shmtx_unlock(&flight->zone->pool->mutex);
}
