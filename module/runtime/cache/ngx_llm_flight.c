/*
 * Flights: a table of keys that a provider is being asked for, and of the
 * processes that ask.  A key has one place in the table; a second key of the
 * same place goes alone, which costs a call and nothing else.
 *
 * Requests that wait for a leader do not poll.  Each place has a counter of
 * changes, the table has one of all; a worker with waits compares the latter
 * in one timer, however many the waits are, and wakes those of the places that
 * have changed.  The timer runs every 20 ms, and less often the longer the
 * youngest wait has lasted.  A change made by the worker itself is looked at
 * in the same iteration of its event loop.  Leaders of workers that have died
 * change nothing: the timer looks for them, too.
 */


#include <ngx_llm_flight.h>


#define NGX_LLM_FLIGHT_PLACES  1024
#define NGX_LLM_FLIGHT_TICK    20    /* ms, at first */
#define NGX_LLM_FLIGHT_SLOW    100   /* ms, at last */
#define NGX_LLM_FLIGHT_PART    16    /* of the wait so far is a tick */
#define NGX_LLM_FLIGHT_CHECK   200   /* ms between checks of leaders */


#define ngx_llm_flight_get(word)  __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define ngx_llm_flight_add(word)                                              \
    (void) __atomic_add_fetch(&(word), 1, __ATOMIC_ACQ_REL)


typedef struct {
    u_char                   key[NGX_LLM_FLIGHT_KEY];
    ngx_pid_t                pid;        /* 0: the place is free */
    ngx_msec_t               start;      /* ngx_current_msec */
} ngx_llm_flight_place_t;


struct ngx_llm_flight_sh_s {
    ngx_llm_flight_place_t   places[NGX_LLM_FLIGHT_PLACES];
    uint32_t                 changes[NGX_LLM_FLIGHT_PLACES];
    uint32_t                 total;      /* changed after the place's own */
};


struct ngx_llm_flight_row_s {
    ngx_queue_t              waits;
    ngx_queue_t              queue;      /* in used, while there are waits */
    uint32_t                 seen;
    unsigned                 used:1;
};


static ngx_int_t ngx_llm_flight_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static void ngx_llm_flight_arm(ngx_llm_flight_t *flight);
static void ngx_llm_flight_tick(ngx_event_t *ev);
static void ngx_llm_flight_collect(ngx_llm_flight_t *flight);
static void ngx_llm_flight_wake(ngx_llm_flight_t *flight,
    ngx_llm_flight_row_t *row, uint32_t changes);
static ngx_uint_t ngx_llm_flight_alive(ngx_pid_t pid);


/* keys are HMACs: any bytes of them are a hash */

static ngx_inline ngx_uint_t
ngx_llm_flight_index(const u_char *key)
{
    return (key[0] << 8 | key[1]) % NGX_LLM_FLIGHT_PLACES;
}


ngx_llm_flight_t *
ngx_llm_flight_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_uint_t         i;
    ngx_llm_flight_t  *flight;

    flight = ngx_pcalloc(cf->pool, sizeof(ngx_llm_flight_t));
    if (flight == NULL) {
        return NULL;
    }

    flight->rows = ngx_pcalloc(cf->pool, NGX_LLM_FLIGHT_PLACES
                                         * sizeof(ngx_llm_flight_row_t));
    if (flight->rows == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_LLM_FLIGHT_PLACES; i++) {
        ngx_queue_init(&flight->rows[i].waits);
    }

    ngx_queue_init(&flight->used);
    ngx_queue_init(&flight->woken);

    /* each wait has a timer of its own that keeps a quitting worker */

    flight->tick.handler = ngx_llm_flight_tick;
    flight->tick.data = flight;
    flight->tick.log = &cf->cycle->new_log;
    flight->tick.cancelable = 1;

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
    __builtin_prefetch(&flight->sh->places[ngx_llm_flight_index(key)], 1);
}


ngx_int_t
ngx_llm_flight_lead(ngx_llm_flight_t *flight, ngx_llm_flight_wait_t *wait,
    ngx_msec_t longest)
{
    ngx_int_t                rc;
    ngx_pid_t                pid;
    ngx_uint_t               gone, i;
    ngx_llm_flight_place_t  *place;

    i = ngx_llm_flight_index(wait->key);
    place = &flight->sh->places[i];

    /* not under the lock: it is a system call */

    pid = place->pid;
    gone = (pid != 0 && !ngx_llm_flight_alive(pid));

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    if (place->pid == 0
        || (gone && place->pid == pid)
        || (ngx_msec_int_t) (ngx_current_msec - place->start)
           > (ngx_msec_int_t) longest)
    {
        if (place->pid) {

            /* followers of the former leader */

            ngx_llm_flight_add(flight->sh->changes[i]);
            ngx_llm_flight_add(flight->sh->total);
        }

        ngx_memcpy(place->key, wait->key, NGX_LLM_FLIGHT_KEY);
        place->pid = ngx_pid;
        place->start = ngx_current_msec;
        rc = NGX_OK;

    } else {
        rc = ngx_memcmp(place->key, wait->key, NGX_LLM_FLIGHT_KEY) == 0
             ? NGX_AGAIN : NGX_DECLINED;
    }

    /* the leader cannot land between this value and its lead */

    wait->seen = ngx_llm_flight_get(flight->sh->changes[i]);

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    if (rc == NGX_AGAIN) {
        ngx_llm_flight_wait(flight, wait);
    }

    return rc;
}


void
ngx_llm_flight_wait(ngx_llm_flight_t *flight, ngx_llm_flight_wait_t *wait)
{
    ngx_llm_flight_row_t  *row;

    row = &flight->rows[ngx_llm_flight_index(wait->key)];

    if (!row->used) {
        row->used = 1;
        row->seen = wait->seen;
        ngx_queue_insert_tail(&flight->used, &row->queue);
    }

    ngx_queue_insert_tail(&row->waits, &wait->queue);
    wait->queued = 1;

    flight->youngest = ngx_current_msec;

    ngx_llm_flight_arm(flight);
}


static void
ngx_llm_flight_arm(ngx_llm_flight_t *flight)
{
    ngx_msec_t  tick;

    tick = (ngx_current_msec - flight->youngest) / NGX_LLM_FLIGHT_PART;
    tick = ngx_min(ngx_max(tick, NGX_LLM_FLIGHT_TICK), NGX_LLM_FLIGHT_SLOW);

    if (flight->tick.timer_set) {

        if ((ngx_msec_int_t) (flight->tick.timer.key - ngx_current_msec)
            <= (ngx_msec_int_t) tick)
        {
            return;
        }

        ngx_del_timer(&flight->tick);
    }

    ngx_add_timer(&flight->tick, tick);
}


void
ngx_llm_flight_cancel(ngx_llm_flight_t *flight, ngx_llm_flight_wait_t *wait)
{
    ngx_llm_flight_row_t  *row;

    if (!wait->queued) {
        return;
    }

    wait->queued = 0;
    ngx_queue_remove(&wait->queue);

    row = &flight->rows[ngx_llm_flight_index(wait->key)];

    if (row->used && ngx_queue_empty(&row->waits)) {
        row->used = 0;
        ngx_queue_remove(&row->queue);
    }
}


static void
ngx_llm_flight_tick(ngx_event_t *ev)
{
    ngx_llm_flight_t *flight = ev->data;

    ngx_queue_t            *q;
    ngx_llm_flight_wait_t  *wait;

    ngx_llm_flight_collect(flight);

    /* a handler may queue its own wait again, and cancel any other */

    while (!ngx_queue_empty(&flight->woken)) {

        q = ngx_queue_head(&flight->woken);
        wait = ngx_queue_data(q, ngx_llm_flight_wait_t, queue);

        ngx_llm_flight_cancel(flight, wait);
        wait->handler(wait->data);
    }

    if (!ngx_queue_empty(&flight->used)) {
        ngx_llm_flight_arm(flight);
    }
}


/* moves the waits of changed places, and of dead leaders, to woken */

static void
ngx_llm_flight_collect(ngx_llm_flight_t *flight)
{
    uint32_t               total, changes;
    ngx_pid_t              pid, alive;
    ngx_uint_t             i, check;
    ngx_queue_t           *q, *next;
    ngx_llm_flight_row_t  *row;

    total = ngx_llm_flight_get(flight->sh->total);
    check = (ngx_current_msec - flight->checked >= NGX_LLM_FLIGHT_CHECK);

    if (total == flight->seen && !check) {
        return;
    }

    flight->seen = total;
    alive = ngx_pid;

    if (check) {
        flight->checked = ngx_current_msec;
    }

    for (q = ngx_queue_head(&flight->used);
         q != ngx_queue_sentinel(&flight->used);
         q = next)
    {
        next = ngx_queue_next(q);
        row = ngx_queue_data(q, ngx_llm_flight_row_t, queue);

        i = row - flight->rows;
        changes = ngx_llm_flight_get(flight->sh->changes[i]);

        if (changes == row->seen) {

            pid = check ? flight->sh->places[i].pid : alive;

            if (pid == alive) {
                continue;
            }

            if (pid != 0 && ngx_llm_flight_alive(pid)) {
                alive = pid;
                continue;
            }
        }

        ngx_llm_flight_wake(flight, row, changes);
    }
}


static void
ngx_llm_flight_wake(ngx_llm_flight_t *flight, ngx_llm_flight_row_t *row,
    uint32_t changes)
{
    ngx_queue_t            *q;
    ngx_llm_flight_wait_t  *wait;

    for (q = ngx_queue_head(&row->waits);
         q != ngx_queue_sentinel(&row->waits);
         q = ngx_queue_next(q))
    {
        wait = ngx_queue_data(q, ngx_llm_flight_wait_t, queue);
        wait->seen = changes;
    }

    ngx_queue_add(&flight->woken, &row->waits);
    ngx_queue_init(&row->waits);

    row->used = 0;
    ngx_queue_remove(&row->queue);
}


ngx_uint_t
ngx_llm_flight_led(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_pid_t                pid;
    ngx_llm_flight_place_t  *place;

    place = &flight->sh->places[ngx_llm_flight_index(key)];

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

    place = &flight->sh->places[ngx_llm_flight_index(key)];

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    if (place->pid == ngx_pid
        && ngx_memcmp(place->key, key, NGX_LLM_FLIGHT_KEY) == 0)
    {
        place->pid = 0;
    }

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    ngx_llm_flight_stored(flight, key);
}


void
ngx_llm_flight_stored(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_llm_flight_add(flight->sh->changes[ngx_llm_flight_index(key)]);
    ngx_llm_flight_add(flight->sh->total);

    /* not called from here: a request is being worked on */

    if (!ngx_queue_empty(&flight->used)) {
        ngx_post_event(&flight->tick, &ngx_posted_events);
    }
}
