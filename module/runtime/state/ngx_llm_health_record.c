/*
 * How one provider, key or target is doing: a record of words in shared
 * memory, each changed atomically.  Readers may see one word new and another
 * old; whoever acts on what he saw claims it first (acquire, probe).
 */


#include <ngx_llm_health_record.h>


#define NGX_LLM_HEALTH_RECORD_PROCESSES                                       \
    128  /* those beyond are not reclaimed */

#define NGX_LLM_HEALTH_RECORD_ROW     3     /* failures in a row */
#define NGX_LLM_HEALTH_RECORD_ENOUGH  10    /* attempts that say something */
#define NGX_LLM_HEALTH_RECORD_SPAN    5000  /* ms of a window's slot */
#define NGX_LLM_HEALTH_RECORD_SLOTS   6     /* 30 s */

#define NGX_LLM_HEALTH_RECORD_COOL       1000  /* ms, without a hint */
#define NGX_LLM_HEALTH_RECORD_COOL_MOST  30000

#define NGX_LLM_HEALTH_RECORD_HALF_LIFE  4000  /* ms, of an average */


#define ngx_llm_health_record_get(word)                                       \
    __atomic_load_n(&(word), __ATOMIC_ACQUIRE)
#define ngx_llm_health_record_set(word, value)                                \
    __atomic_store_n(&(word), value, __ATOMIC_RELEASE)
#define ngx_llm_health_record_add(word, n)                                    \
    __atomic_add_fetch(&(word), n, __ATOMIC_ACQ_REL)
#define ngx_llm_health_record_sub(word, n)                                    \
    __atomic_sub_fetch(&(word), n, __ATOMIC_ACQ_REL)
#define ngx_llm_health_record_swap(word, old, value)                          \
    __atomic_compare_exchange_n(&(word), &(old), value, 0,                    \
                                __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)


struct ngx_llm_health_record_s {
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
    uint64_t  window[NGX_LLM_HEALTH_RECORD_SLOTS];

    /* of inflight, by ngx_process_slot: written by that process alone */
    uint16_t  lent[NGX_LLM_HEALTH_RECORD_PROCESSES];
};


static void ngx_llm_health_record_open_until(ngx_llm_health_record_t *record,
    ngx_msec_t now, ngx_msec_t interval);
static void ngx_llm_health_record_outcome(ngx_llm_health_record_t *record,
    ngx_msec_t now, ngx_uint_t failures);
static ngx_uint_t ngx_llm_health_record_too_many(
    ngx_llm_health_record_t *record, ngx_msec_t now);
static void ngx_llm_health_record_forget(ngx_llm_health_record_t *record);
static uint64_t ngx_llm_health_record_fade(uint64_t value, uint64_t time);


size_t
ngx_llm_health_record_size(void)
{
    return sizeof(ngx_llm_health_record_t);
}


void
ngx_llm_health_record_reclaim(ngx_llm_health_record_t *record,
    ngx_uint_t process)
{
    uint16_t  lent;

    if (process >= NGX_LLM_HEALTH_RECORD_PROCESSES) {
        return;
    }

    lent = record->lent[process];

    if (lent) {
        record->lent[process] = 0;
        (void) ngx_llm_health_record_sub(record->inflight, lent);
    }
}


ngx_int_t
ngx_llm_health_record_acquire(ngx_llm_health_record_t *record, ngx_uint_t max)
{
    if (ngx_llm_health_record_add(record->inflight, 1) > max && max) {
        (void) ngx_llm_health_record_sub(record->inflight, 1);
        return NGX_BUSY;
    }

    if (ngx_process_slot < NGX_LLM_HEALTH_RECORD_PROCESSES) {
        record->lent[ngx_process_slot]++;
    }

    return NGX_OK;
}


void
ngx_llm_health_record_release(ngx_llm_health_record_t *record)
{
    if (ngx_process_slot < NGX_LLM_HEALTH_RECORD_PROCESSES) {
        record->lent[ngx_process_slot]--;
    }

    (void) ngx_llm_health_record_sub(record->inflight, 1);
}


ngx_uint_t
ngx_llm_health_record_inflight(ngx_llm_health_record_t *record)
{
    return ngx_llm_health_record_get(record->inflight);
}


ngx_llm_health_state_e
ngx_llm_health_record_state(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    uint64_t  probe;

    if (ngx_llm_health_record_get(record->drained)) {
        return NGX_LLM_HEALTH_DRAINED;
    }

    if (ngx_llm_health_record_get(record->cooling) > now) {
        return NGX_LLM_HEALTH_COOLING;
    }

    probe = ngx_llm_health_record_get(record->probe);

    if (probe == 0) {
        return NGX_LLM_HEALTH_UP;
    }

    return (probe <= now || ngx_llm_health_record_get(record->probing))
           ? NGX_LLM_HEALTH_PROBING : NGX_LLM_HEALTH_COOLING;
}


ngx_msec_t
ngx_llm_health_record_left(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    uint64_t  until, probe;

    until = ngx_llm_health_record_get(record->cooling);
    probe = ngx_llm_health_record_get(record->probe);

    until = ngx_max(until, probe);

    return (until > now) ? until - now : 0;
}


ngx_uint_t
ngx_llm_health_record_open(ngx_llm_health_record_t *record)
{
    return ngx_llm_health_record_get(record->probe) != 0;
}


ngx_int_t
ngx_llm_health_record_probe(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    uint64_t  probe;

    probe = ngx_llm_health_record_get(record->probe);

    if (probe == 0) {
        return NGX_DECLINED;
    }

    if (probe > now
        || !ngx_llm_health_record_swap(record->probe, probe,
                                       now + record->interval))
    {
        return NGX_BUSY;
    }

    ngx_llm_health_record_set(record->probing, 1);

    return NGX_OK;
}


ngx_msec_t
ngx_llm_health_record_failed_at(ngx_llm_health_record_t *record)
{
    return ngx_llm_health_record_get(record->failed);
}


void
ngx_llm_health_record_succeeded(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    if (ngx_llm_health_record_get(record->failures)) {
        ngx_llm_health_record_set(record->failures, 0);
    }

    if (ngx_llm_health_record_get(record->wishes)) {
        ngx_llm_health_record_set(record->wishes, 0);
    }

    if (ngx_llm_health_record_get(record->probe)) {
        ngx_llm_health_record_forget(record);
        ngx_llm_health_record_set(record->probing, 0);
        ngx_llm_health_record_set(record->probe, 0);
    }

    ngx_llm_health_record_outcome(record, now, 0);
}


ngx_uint_t
ngx_llm_health_record_failed(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    uint64_t  row;

    ngx_llm_health_record_set(record->failed, now);
    ngx_llm_health_record_set(record->probing, 0);

    row = ngx_llm_health_record_add(record->failures, 1);

    ngx_llm_health_record_outcome(record, now, 1);

    if (ngx_llm_health_record_get(record->probe)
        || (row < NGX_LLM_HEALTH_RECORD_ROW
            && !ngx_llm_health_record_too_many(record, now)))
    {
        return 0;
    }

    ngx_llm_health_record_open_until(record, now, NGX_LLM_HEALTH_PROBE);
    (void) ngx_llm_health_record_add(record->openings, 1);

    return 1;
}


void
ngx_llm_health_record_cool(ngx_llm_health_record_t *record, ngx_msec_t now,
    ngx_msec_int_t time)
{
    uint64_t  until, wishes;

    ngx_llm_health_record_set(record->failed, now);
    (void) ngx_llm_health_record_add(record->cooldowns, 1);

    if (time < 0) {
        wishes = ngx_llm_health_record_add(record->wishes, 1);
        time = (wishes > 5) ? NGX_LLM_HEALTH_RECORD_COOL_MOST
                            : NGX_LLM_HEALTH_RECORD_COOL << (wishes - 1);
    }

    time = ngx_min(time, NGX_LLM_HEALTH_COOL_MAX);

    until = ngx_llm_health_record_get(record->cooling);

    while (until < now + time) {

        if (ngx_llm_health_record_swap(record->cooling, until, now + time)) {
            break;
        }
    }
}


void
ngx_llm_health_record_mark(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    ngx_llm_health_record_set(record->failed, now);
    ngx_llm_health_record_set(record->probing, 0);

    if (!ngx_llm_health_record_open(record)) {
        (void) ngx_llm_health_record_add(record->openings, 1);
    }

    ngx_llm_health_record_open_until(record, now, NGX_LLM_HEALTH_MARK);
}


void
ngx_llm_health_record_drain(ngx_llm_health_record_t *record, ngx_uint_t on)
{
    ngx_llm_health_record_set(record->drained, on);
}


void
ngx_llm_health_record_renew(ngx_llm_health_record_t *record)
{
    ngx_llm_health_record_set(record->failures, 0);
    ngx_llm_health_record_set(record->wishes, 0);
    ngx_llm_health_record_set(record->cooling, 0);
    ngx_llm_health_record_forget(record);
    ngx_llm_health_record_set(record->probing, 0);
    ngx_llm_health_record_set(record->probe, 0);
    ngx_llm_health_record_set(record->drained, 0);
}


void
ngx_llm_health_record_sample(ngx_llm_health_record_t *record,
    ngx_llm_health_average_e average, uint64_t usec, ngx_msec_t now)
{
    uint64_t   old, value;
    uint32_t   passed;

    usec = ngx_max(usec, 1);
    usec = ngx_min(usec, 0xffffffff);

    old = ngx_llm_health_record_get(record->averages[average]);

    do {
        value = old >> 32;
        passed = (uint32_t) now - (uint32_t) old;

        value = (usec >= value)
               ? usec : usec + ngx_llm_health_record_fade(value - usec, passed);

    } while (!ngx_llm_health_record_swap(record->averages[average], old,
                                         value << 32 | (uint32_t) now));
}


uint64_t
ngx_llm_health_record_average(ngx_llm_health_record_t *record,
    ngx_llm_health_average_e average, ngx_msec_t now)
{
    uint64_t  word;

    word = ngx_llm_health_record_get(record->averages[average]);

    return ngx_llm_health_record_fade(word >> 32,
                                      (uint32_t) now - (uint32_t) word);
}


uint64_t
ngx_llm_health_record_measured(ngx_llm_health_record_t *record,
    ngx_llm_health_average_e average)
{
    return ngx_llm_health_record_get(record->averages[average]) >> 32;
}


ngx_uint_t
ngx_llm_health_record_cooldowns(ngx_llm_health_record_t *record)
{
    return ngx_llm_health_record_get(record->cooldowns);
}


ngx_uint_t
ngx_llm_health_record_openings(ngx_llm_health_record_t *record)
{
    return ngx_llm_health_record_get(record->openings);
}


static void
ngx_llm_health_record_open_until(ngx_llm_health_record_t *record,
    ngx_msec_t now, ngx_msec_t interval)
{
    ngx_llm_health_record_set(record->interval, interval);
    ngx_llm_health_record_set(record->probe, now + interval);
}


/* counts an attempt in the slot of its time; one that is too old is reused */

static void
ngx_llm_health_record_outcome(ngx_llm_health_record_t *record, ngx_msec_t now,
    ngx_uint_t failures)
{
    uint32_t   time;
    uint64_t   old, word, attempts, failed, *slot;

    time = (uint32_t) (now / NGX_LLM_HEALTH_RECORD_SPAN);
    slot = &record->window[time % NGX_LLM_HEALTH_RECORD_SLOTS];

    old = ngx_llm_health_record_get(*slot);

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

    } while (!ngx_llm_health_record_swap(*slot, old, word));
}


static ngx_uint_t
ngx_llm_health_record_too_many(ngx_llm_health_record_t *record, ngx_msec_t now)
{
    uint32_t    time;
    uint64_t    word, attempts, failed;
    ngx_uint_t  i;

    time = (uint32_t) (now / NGX_LLM_HEALTH_RECORD_SPAN);
    attempts = 0;
    failed = 0;

    for (i = 0; i < NGX_LLM_HEALTH_RECORD_SLOTS; i++) {
        word = ngx_llm_health_record_get(record->window[i]);

        if (time - (uint32_t) (word >> 32) < NGX_LLM_HEALTH_RECORD_SLOTS) {
            attempts += word >> 16 & 0xffff;
            failed += word & 0xffff;
        }
    }

    return attempts >= NGX_LLM_HEALTH_RECORD_ENOUGH && failed * 2 > attempts;
}


static void
ngx_llm_health_record_forget(ngx_llm_health_record_t *record)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_LLM_HEALTH_RECORD_SLOTS; i++) {
        ngx_llm_health_record_set(record->window[i], 0);
    }
}


/* halved for each half-life, in a straight line between */

static uint64_t
ngx_llm_health_record_fade(uint64_t value, uint64_t time)
{
    uint64_t  halves;

    halves = time / NGX_LLM_HEALTH_RECORD_HALF_LIFE;

    if (halves >= 32) {
        return 0;
    }

    value >>= halves;

    return value - value * (time % NGX_LLM_HEALTH_RECORD_HALF_LIFE)
                   / (2 * NGX_LLM_HEALTH_RECORD_HALF_LIFE);
}
