/*
 * How one provider, key or target is doing: a record of words in shared
 * memory, each changed atomically.  Readers may see one word new and another
 * old; whoever acts on what he saw claims it first (acquire, probe).
 */


#include <ngx_llm_health_record.h>


#define NGX_LLM_VITAL_PROCESSES   128    /* those beyond are not reclaimed */

#define NGX_LLM_VITAL_ROW         3      /* failures in a row */
#define NGX_LLM_VITAL_ENOUGH      10     /* attempts that say something */
#define NGX_LLM_VITAL_SPAN        5000   /* ms of a window's slot */
#define NGX_LLM_VITAL_SLOTS       6      /* 30 s */

#define NGX_LLM_VITAL_COOL        1000   /* ms, without a hint */
#define NGX_LLM_VITAL_COOL_MOST   30000

#define NGX_LLM_VITAL_HALF_LIFE   4000   /* ms, of an average */


#define ngx_llm_vital_get(word)         __atomic_load_n(&(word),              \
                                                        __ATOMIC_ACQUIRE)
#define ngx_llm_vital_set(word, value)  __atomic_store_n(&(word), value,      \
                                                         __ATOMIC_RELEASE)
#define ngx_llm_vital_add(word, n)      __atomic_add_fetch(&(word), n,        \
                                                           __ATOMIC_ACQ_REL)
#define ngx_llm_vital_sub(word, n)      __atomic_sub_fetch(&(word), n,        \
                                                           __ATOMIC_ACQ_REL)
#define ngx_llm_vital_swap(word, old, value)                                  \
    __atomic_compare_exchange_n(&(word), &(old), value, 0,                    \
                                __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)


struct ngx_llm_vital_s {
    uint64_t  inflight;
    uint64_t  cooling;       /* until then; 0: not */
    uint64_t  probe;         /* open: when one may go; 0: closed */
    uint64_t  interval;      /* between two probes */
    uint64_t  probing;       /* one is out */
    uint64_t  failures;      /* in a row */
    uint64_t  wishes;        /* to cool, in a row, without a time */
    uint64_t  failed;        /* when, last */
    uint64_t  drained;
    uint64_t  cooldowns;
    uint64_t  openings;

    /* microseconds << 32 | milliseconds of the sample, both cut to 32 bits */
    uint64_t  averages[NGX_LLM_HEALTH_AVERAGES];

    /* slot of time << 32 | attempts << 16 | failures */
    uint64_t  window[NGX_LLM_VITAL_SLOTS];

    /* of inflight, by ngx_process_slot: written by that process alone */
    uint16_t  lent[NGX_LLM_VITAL_PROCESSES];
};


static void ngx_llm_vital_open_until(ngx_llm_vital_t *vital,
    ngx_msec_t now, ngx_msec_t interval);
static void ngx_llm_vital_record(ngx_llm_vital_t *vital, ngx_msec_t now,
    ngx_uint_t failures);
static ngx_uint_t ngx_llm_vital_too_many(ngx_llm_vital_t *vital,
    ngx_msec_t now);
static void ngx_llm_vital_forget(ngx_llm_vital_t *vital);
static uint64_t ngx_llm_vital_fade(uint64_t value, uint64_t time);


size_t
ngx_llm_vital_size(void)
{
    return sizeof(ngx_llm_vital_t);
}


void
ngx_llm_vital_reclaim(ngx_llm_vital_t *vital, ngx_uint_t process)
{
    uint16_t  lent;

    if (process >= NGX_LLM_VITAL_PROCESSES) {
        return;
    }

    lent = vital->lent[process];

    if (lent) {
        vital->lent[process] = 0;
        (void) ngx_llm_vital_sub(vital->inflight, lent);
    }
}


ngx_int_t
ngx_llm_vital_acquire(ngx_llm_vital_t *vital, ngx_uint_t max)
{
    if (ngx_llm_vital_add(vital->inflight, 1) > max && max) {
        (void) ngx_llm_vital_sub(vital->inflight, 1);
        return NGX_BUSY;
    }

    if (ngx_process_slot < NGX_LLM_VITAL_PROCESSES) {
        vital->lent[ngx_process_slot]++;
    }

    return NGX_OK;
}


void
ngx_llm_vital_release(ngx_llm_vital_t *vital)
{
    if (ngx_process_slot < NGX_LLM_VITAL_PROCESSES) {
        vital->lent[ngx_process_slot]--;
    }

    (void) ngx_llm_vital_sub(vital->inflight, 1);
}


ngx_uint_t
ngx_llm_vital_inflight(ngx_llm_vital_t *vital)
{
    return ngx_llm_vital_get(vital->inflight);
}


ngx_llm_health_state_e
ngx_llm_vital_state(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    uint64_t  probe;

    if (ngx_llm_vital_get(vital->drained)) {
        return NGX_LLM_HEALTH_DRAINED;
    }

    if (ngx_llm_vital_get(vital->cooling) > now) {
        return NGX_LLM_HEALTH_COOLING;
    }

    probe = ngx_llm_vital_get(vital->probe);

    if (probe == 0) {
        return NGX_LLM_HEALTH_UP;
    }

    return (probe <= now || ngx_llm_vital_get(vital->probing))
           ? NGX_LLM_HEALTH_PROBING : NGX_LLM_HEALTH_COOLING;
}


ngx_msec_t
ngx_llm_vital_left(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    uint64_t  until, probe;

    until = ngx_llm_vital_get(vital->cooling);
    probe = ngx_llm_vital_get(vital->probe);

    until = ngx_max(until, probe);

    return (until > now) ? until - now : 0;
}


ngx_uint_t
ngx_llm_vital_open(ngx_llm_vital_t *vital)
{
    return ngx_llm_vital_get(vital->probe) != 0;
}


ngx_int_t
ngx_llm_vital_probe(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    uint64_t  probe;

    probe = ngx_llm_vital_get(vital->probe);

    if (probe == 0) {
        return NGX_DECLINED;
    }

    if (probe > now
        || !ngx_llm_vital_swap(vital->probe, probe, now + vital->interval))
    {
        return NGX_BUSY;
    }

    ngx_llm_vital_set(vital->probing, 1);

    return NGX_OK;
}


ngx_msec_t
ngx_llm_vital_failed_at(ngx_llm_vital_t *vital)
{
    return ngx_llm_vital_get(vital->failed);
}


void
ngx_llm_vital_succeeded(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    if (ngx_llm_vital_get(vital->failures)) {
        ngx_llm_vital_set(vital->failures, 0);
    }

    if (ngx_llm_vital_get(vital->wishes)) {
        ngx_llm_vital_set(vital->wishes, 0);
    }

    if (ngx_llm_vital_get(vital->probe)) {
        ngx_llm_vital_forget(vital);
        ngx_llm_vital_set(vital->probing, 0);
        ngx_llm_vital_set(vital->probe, 0);
    }

    ngx_llm_vital_record(vital, now, 0);
}


ngx_uint_t
ngx_llm_vital_failed(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    uint64_t  row;

    ngx_llm_vital_set(vital->failed, now);
    ngx_llm_vital_set(vital->probing, 0);

    row = ngx_llm_vital_add(vital->failures, 1);

    ngx_llm_vital_record(vital, now, 1);

    if (ngx_llm_vital_get(vital->probe)
        || (row < NGX_LLM_VITAL_ROW && !ngx_llm_vital_too_many(vital, now)))
    {
        return 0;
    }

    ngx_llm_vital_open_until(vital, now, NGX_LLM_HEALTH_PROBE);
    (void) ngx_llm_vital_add(vital->openings, 1);

    return 1;
}


void
ngx_llm_vital_cool(ngx_llm_vital_t *vital, ngx_msec_t now,
    ngx_msec_int_t time)
{
    uint64_t  until, wishes;

    ngx_llm_vital_set(vital->failed, now);
    (void) ngx_llm_vital_add(vital->cooldowns, 1);

    if (time < 0) {
        wishes = ngx_llm_vital_add(vital->wishes, 1);
        time = (wishes > 5) ? NGX_LLM_VITAL_COOL_MOST
                            : NGX_LLM_VITAL_COOL << (wishes - 1);
    }

    time = ngx_min(time, NGX_LLM_HEALTH_COOL_MAX);

    until = ngx_llm_vital_get(vital->cooling);

    while (until < now + time) {

        if (ngx_llm_vital_swap(vital->cooling, until, now + time)) {
            break;
        }
    }
}


void
ngx_llm_vital_mark(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    ngx_llm_vital_set(vital->failed, now);
    ngx_llm_vital_set(vital->probing, 0);

    if (!ngx_llm_vital_open(vital)) {
        (void) ngx_llm_vital_add(vital->openings, 1);
    }

    ngx_llm_vital_open_until(vital, now, NGX_LLM_HEALTH_MARK);
}


void
ngx_llm_vital_drain(ngx_llm_vital_t *vital, ngx_uint_t on)
{
    ngx_llm_vital_set(vital->drained, on);
}


void
ngx_llm_vital_renew(ngx_llm_vital_t *vital)
{
    ngx_llm_vital_set(vital->failures, 0);
    ngx_llm_vital_set(vital->wishes, 0);
    ngx_llm_vital_set(vital->cooling, 0);
    ngx_llm_vital_forget(vital);
    ngx_llm_vital_set(vital->probing, 0);
    ngx_llm_vital_set(vital->probe, 0);
    ngx_llm_vital_set(vital->drained, 0);
}


void
ngx_llm_vital_sample(ngx_llm_vital_t *vital, ngx_llm_health_average_e average,
    uint64_t usec, ngx_msec_t now)
{
    uint64_t   old, value;
    uint32_t   passed;

    usec = ngx_max(usec, 1);
    usec = ngx_min(usec, 0xffffffff);

    old = ngx_llm_vital_get(vital->averages[average]);

    do {
        value = old >> 32;
        passed = (uint32_t) now - (uint32_t) old;

        value = (usec >= value)
                ? usec : usec + ngx_llm_vital_fade(value - usec, passed);

    } while (!ngx_llm_vital_swap(vital->averages[average], old,
                                 value << 32 | (uint32_t) now));
}


uint64_t
ngx_llm_vital_average(ngx_llm_vital_t *vital,
    ngx_llm_health_average_e average, ngx_msec_t now)
{
    uint64_t  word;

    word = ngx_llm_vital_get(vital->averages[average]);

    return ngx_llm_vital_fade(word >> 32, (uint32_t) now - (uint32_t) word);
}


uint64_t
ngx_llm_vital_measured(ngx_llm_vital_t *vital,
    ngx_llm_health_average_e average)
{
    return ngx_llm_vital_get(vital->averages[average]) >> 32;
}


ngx_uint_t
ngx_llm_vital_cooldowns(ngx_llm_vital_t *vital)
{
    return ngx_llm_vital_get(vital->cooldowns);
}


ngx_uint_t
ngx_llm_vital_openings(ngx_llm_vital_t *vital)
{
    return ngx_llm_vital_get(vital->openings);
}


static void
ngx_llm_vital_open_until(ngx_llm_vital_t *vital, ngx_msec_t now,
    ngx_msec_t interval)
{
    ngx_llm_vital_set(vital->interval, interval);
    ngx_llm_vital_set(vital->probe, now + interval);
}


/* counts an attempt in the slot of its time; one that is too old is reused */

static void
ngx_llm_vital_record(ngx_llm_vital_t *vital, ngx_msec_t now,
    ngx_uint_t failures)
{
    uint32_t   time;
    uint64_t   old, word, attempts, failed, *slot;

    time = (uint32_t) (now / NGX_LLM_VITAL_SPAN);
    slot = &vital->window[time % NGX_LLM_VITAL_SLOTS];

    old = ngx_llm_vital_get(*slot);

    do {
        attempts = 0;
        failed = 0;

        if ((uint32_t) (old >> 32) == time) {
            attempts = old >> 16 & 0xffff;
            failed = old & 0xffff;
        }

        if (attempts == 0xffff) {
            /* the rate is what counts */
            attempts /= 2;
            failed /= 2;
        }

        word = (uint64_t) time << 32 | (attempts + 1) << 16
               | (failed + failures);

    } while (!ngx_llm_vital_swap(*slot, old, word));
}


static ngx_uint_t
ngx_llm_vital_too_many(ngx_llm_vital_t *vital, ngx_msec_t now)
{
    uint32_t    time;
    uint64_t    word, attempts, failed;
    ngx_uint_t  i;

    time = (uint32_t) (now / NGX_LLM_VITAL_SPAN);
    attempts = 0;
    failed = 0;

    for (i = 0; i < NGX_LLM_VITAL_SLOTS; i++) {
        word = ngx_llm_vital_get(vital->window[i]);

        if (time - (uint32_t) (word >> 32) < NGX_LLM_VITAL_SLOTS) {
            attempts += word >> 16 & 0xffff;
            failed += word & 0xffff;
        }
    }

    return attempts >= NGX_LLM_VITAL_ENOUGH && failed * 2 > attempts;
}


static void
ngx_llm_vital_forget(ngx_llm_vital_t *vital)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_LLM_VITAL_SLOTS; i++) {
        ngx_llm_vital_set(vital->window[i], 0);
    }
}


/* halved for each half-life, in a straight line between */

static uint64_t
ngx_llm_vital_fade(uint64_t value, uint64_t time)
{
    uint64_t  halves;

    halves = time / NGX_LLM_VITAL_HALF_LIFE;

    if (halves >= 32) {
        return 0;
    }

    value >>= halves;

    return value - value * (time % NGX_LLM_VITAL_HALF_LIFE)
                   / (2 * NGX_LLM_VITAL_HALF_LIFE);
}
