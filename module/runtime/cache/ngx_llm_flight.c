/*
 * Flights: a table of the keys that are requested from a provider, and of the
 * workers that request them.  A key belongs to one set of four places; a fifth
 * key of the set has no place, and each of its requests goes to the provider.
 *
 * Requests that wait for a leader do not poll.  Each set has a counter of
 * changes, and the table has a counter of all changes.  One timer in each
 * worker compares the latter, however many requests wait, and wakes the waits
 * of the sets that have changed.  The timer runs every 20 ms, and less often
 * the longer the youngest wait has lasted.  A change that the worker makes
 * itself is handled in the same iteration of its event loop.  A worker that
 * dies changes no counter: the timer looks for dead leaders, too.
 */


#include <ngx_llm_flight.h>


#define NGX_LLM_FLIGHT_SETS    1024
#define NGX_LLM_FLIGHT_WAYS    4     /* places of a set */
#define NGX_LLM_FLIGHT_ID      16    /* bytes of a key that are compared */
#define NGX_LLM_FLIGHT_TICK    20    /* ms, at first */
#define NGX_LLM_FLIGHT_SLOW    100   /* ms, at last */
#define NGX_LLM_FLIGHT_PART    16    /* of the wait so far is a tick */
#define NGX_LLM_FLIGHT_CHECK   200   /* ms between checks of leaders */


#define ngx_llm_flight_get(word)  __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define ngx_llm_flight_add(word)                                              \
    (void) __atomic_add_fetch(&(word), 1, __ATOMIC_ACQ_REL)


typedef struct {
    u_char                   key[NGX_LLM_FLIGHT_ID];
    ngx_pid_t                pid;        /* 0: the place is free */
    uint32_t                 start;      /* ngx_current_msec, its low bits */
} ngx_llm_flight_place_t;


struct ngx_llm_flight_sh_s {
    ngx_llm_flight_place_t   places[NGX_LLM_FLIGHT_SETS][NGX_LLM_FLIGHT_WAYS];
    uint32_t                 changes[NGX_LLM_FLIGHT_SETS];
    uint32_t                 total;      /* changed after the set's own */
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
static ngx_llm_flight_place_t *ngx_llm_flight_choose(ngx_llm_flight_t *flight,
    const u_char *key, const ngx_pid_t *gone, ngx_msec_t longest,
    ngx_uint_t *led);
static ngx_llm_flight_place_t *ngx_llm_flight_find(ngx_llm_flight_t *flight,
    const u_char *key);
static ngx_uint_t ngx_llm_flight_bury(ngx_llm_flight_t *flight, ngx_uint_t i);
static void ngx_llm_flight_changed(ngx_llm_flight_t *flight, ngx_uint_t i);
static ngx_uint_t ngx_llm_flight_alive(ngx_pid_t pid);


/* Returns the set of a key.  Any bytes of an HMAC are a hash. */

static ngx_inline ngx_uint_t
ngx_llm_flight_index(const u_char *key)
{
    return (key[0] << 8 | key[1]) % NGX_LLM_FLIGHT_SETS;
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

    flight->rows = ngx_pcalloc(cf->pool, NGX_LLM_FLIGHT_SETS
                                         * sizeof(ngx_llm_flight_row_t));
    if (flight->rows == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_LLM_FLIGHT_SETS; i++) {
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
    __builtin_prefetch(flight->sh->places[ngx_llm_flight_index(key)], 1);
}


ngx_int_t
ngx_llm_flight_lead(ngx_llm_flight_t *flight, ngx_llm_flight_wait_t *wait,
    ngx_msec_t longest)
{
    ngx_int_t                rc;
    ngx_pid_t                pid, gone[NGX_LLM_FLIGHT_WAYS];
    ngx_uint_t               i, n, led;
    ngx_llm_flight_place_t  *place;

    i = ngx_llm_flight_index(wait->key);

    /* before the lock: ngx_llm_flight_alive() makes a system call */

    for (n = 0; n < NGX_LLM_FLIGHT_WAYS; n++) {
        pid = flight->sh->places[i][n].pid;
        gone[n] = (pid && !ngx_llm_flight_alive(pid)) ? pid : 0;
    }

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    place = ngx_llm_flight_choose(flight, wait->key, gone, longest, &led);

    if (led) {
        rc = NGX_AGAIN;

    } else if (place) {

        if (place->pid) {

            /* releases the followers of the former leader */

            ngx_llm_flight_changed(flight, i);
        }

        ngx_memcpy(place->key, wait->key, NGX_LLM_FLIGHT_ID);
        place->pid = ngx_pid;
        place->start = (uint32_t) ngx_current_msec;
        rc = NGX_OK;

    } else {
        rc = NGX_DECLINED;
    }

    /* the leader cannot land between this value and its lead */

    wait->seen = ngx_llm_flight_get(flight->sh->changes[i]);

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    if (rc == NGX_AGAIN) {
        ngx_llm_flight_wait(flight, wait);
    }

    return rc;
}


/*
 * Returns the place of the key's leader and sets *led to 1; or returns a place
 * that the key may take, or NULL if all are in use.  gone: leaders that are
 * dead, by place, or 0.  Called under the lock.
 */

static ngx_llm_flight_place_t *
ngx_llm_flight_choose(ngx_llm_flight_t *flight, const u_char *key,
    const ngx_pid_t *gone, ngx_msec_t longest, ngx_uint_t *led)
{
    uint32_t                 held;
    ngx_uint_t               n, idle;
    ngx_llm_flight_place_t  *place, *unused;

    *led = 0;
    unused = NULL;
    place = flight->sh->places[ngx_llm_flight_index(key)];

    for (n = 0; n < NGX_LLM_FLIGHT_WAYS; n++, place++) {

        held = (uint32_t) ngx_current_msec - place->start;

        idle = (place->pid == 0 || place->pid == gone[n]
                || (held < 0x80000000 && held > longest));

        if (place->pid
            && ngx_memcmp(place->key, key, NGX_LLM_FLIGHT_ID) == 0)
        {
            *led = !idle;
            return place;
        }

        if (idle && unused == NULL) {
            unused = place;
        }
    }

    return unused;
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


/* Moves the waits of changed sets, and of dead leaders, to woken. */

static void
ngx_llm_flight_collect(ngx_llm_flight_t *flight)
{
    uint32_t               total, changes;
    ngx_uint_t             i, check;
    ngx_queue_t           *q, *next;
    ngx_llm_flight_row_t  *row;

    total = ngx_llm_flight_get(flight->sh->total);
    check = (ngx_current_msec - flight->checked >= NGX_LLM_FLIGHT_CHECK);

    if (total == flight->seen && !check) {
        return;
    }

    flight->seen = total;

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

            if (!check || !ngx_llm_flight_bury(flight, i)) {
                continue;
            }

            changes = ngx_llm_flight_get(flight->sh->changes[i]);
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


/* Frees the places of dead leaders in a set.  Returns 1 if there was one. */

static ngx_uint_t
ngx_llm_flight_bury(ngx_llm_flight_t *flight, ngx_uint_t i)
{
    ngx_pid_t                pid;
    ngx_uint_t               n, found;
    ngx_llm_flight_place_t  *place;

    found = 0;

    for (n = 0; n < NGX_LLM_FLIGHT_WAYS; n++) {
        place = &flight->sh->places[i][n];
        pid = place->pid;

        if (pid == 0 || ngx_llm_flight_alive(pid)) {
            continue;
        }

        ngx_shmtx_lock(&flight->zone->pool->mutex);

        if (place->pid == pid) {
            place->pid = 0;
            found = 1;
        }

        ngx_shmtx_unlock(&flight->zone->pool->mutex);
    }

    if (found) {
        ngx_llm_flight_changed(flight, i);
    }

    return found;
}


/* the set's counter first: a worker that sees the total looks at the sets */

static void
ngx_llm_flight_changed(ngx_llm_flight_t *flight, ngx_uint_t i)
{
    ngx_llm_flight_add(flight->sh->changes[i]);
    ngx_llm_flight_add(flight->sh->total);
}


ngx_uint_t
ngx_llm_flight_led(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_pid_t                pid;
    ngx_llm_flight_place_t  *place;

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    place = ngx_llm_flight_find(flight, key);
    pid = place ? place->pid : 0;

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    return pid != 0 && ngx_llm_flight_alive(pid);
}


/* Returns the place of the key's leader, or NULL.  Called under the lock. */

static ngx_llm_flight_place_t *
ngx_llm_flight_find(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_uint_t               n;
    ngx_llm_flight_place_t  *place;

    place = flight->sh->places[ngx_llm_flight_index(key)];

    for (n = 0; n < NGX_LLM_FLIGHT_WAYS; n++, place++) {

        if (place->pid
            && ngx_memcmp(place->key, key, NGX_LLM_FLIGHT_ID) == 0)
        {
            return place;
        }
    }

    return NULL;
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

    ngx_shmtx_lock(&flight->zone->pool->mutex);

    place = ngx_llm_flight_find(flight, key);

    if (place && place->pid == ngx_pid) {
        place->pid = 0;
    }

    ngx_shmtx_unlock(&flight->zone->pool->mutex);

    ngx_llm_flight_stored(flight, key);
}


void
ngx_llm_flight_stored(ngx_llm_flight_t *flight, const u_char *key)
{
    ngx_llm_flight_changed(flight, ngx_llm_flight_index(key));

    /* not called from here: a request is being processed */

    if (!ngx_queue_empty(&flight->used)) {
        ngx_post_event(&flight->tick, &ngx_posted_events);
    }
}
