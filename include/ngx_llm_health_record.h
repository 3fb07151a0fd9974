/*
 * ngx_llm_health_record.h: how one provider, key or target is doing.
 *
 * A vital is a record in shared memory.  Times are ngx_current_msec, spans
 * milliseconds.  Every function may be called from any worker at any time;
 * none of them locks, allocates or logs.
 */

#ifndef _NGX_LLM_HEALTH_RECORD_H_INCLUDED_
#define _NGX_LLM_HEALTH_RECORD_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_LLM_HEALTH_PROBE    10000    /* of a breaker: between two probes */
#define NGX_LLM_HEALTH_MARK     60000    /* a key or target is left alone */
#define NGX_LLM_HEALTH_COOL_MAX 86400000 /* no peer may ask for more */


/* from the best to the worst */

typedef enum {
    NGX_LLM_HEALTH_UP = 0,
    NGX_LLM_HEALTH_PROBING,          /* a probe is due, or under way */
    NGX_LLM_HEALTH_COOLING,      /* not now: see ngx_llm_health_record_left() */
    NGX_LLM_HEALTH_DRAINED           /* by the operator */
} ngx_llm_health_state_e;


/* what is averaged, in microseconds */

typedef enum {
    NGX_LLM_HEALTH_TTFT = 0,         /* to the first event of a stream */
    NGX_LLM_HEALTH_PACE,             /* no stream: per output token */
    NGX_LLM_HEALTH_AVERAGES
} ngx_llm_health_average_e;


typedef struct ngx_llm_health_record_s      ngx_llm_health_record_t;

/* bytes of a record; all zero is one that is well and has not been used */
size_t ngx_llm_health_record_size(void);

/* gives back what a process that is no more had in flight */
void ngx_llm_health_record_reclaim(ngx_llm_health_record_t *record,
    ngx_uint_t process);

/* in flight; max 0: no limit.  NGX_OK: release() is owed; NGX_BUSY: full */
ngx_int_t ngx_llm_health_record_acquire(ngx_llm_health_record_t *record,
    ngx_uint_t max);
void ngx_llm_health_record_release(ngx_llm_health_record_t *record);
ngx_uint_t ngx_llm_health_record_inflight(ngx_llm_health_record_t *record);

/* what it may be used for, now */
ngx_llm_health_state_e ngx_llm_health_record_state(
    ngx_llm_health_record_t *record, ngx_msec_t now);

/* until it is up, or a probe may go; 0: now */
ngx_msec_t ngx_llm_health_record_left(ngx_llm_health_record_t *record,
    ngx_msec_t now);

/* 1: its breaker is open, or it is marked, whether or not a probe is due */
ngx_uint_t ngx_llm_health_record_open(ngx_llm_health_record_t *record);

/*
 * Takes the one probe of this interval over all workers.  NGX_OK: it is the
 * caller's, who says how it went; NGX_DECLINED: nobody needs one; NGX_BUSY:
 * somebody else has it.
 */
ngx_int_t ngx_llm_health_record_probe(ngx_llm_health_record_t *record,
    ngx_msec_t now);

/* when it last failed; 0: never */
ngx_msec_t ngx_llm_health_record_failed_at(ngx_llm_health_record_t *record);

/* it has answered: closes the breaker, ends a mark, counts as a success */
void ngx_llm_health_record_succeeded(ngx_llm_health_record_t *record,
    ngx_msec_t now);

/* it has failed; 1: that has opened the breaker */
ngx_uint_t ngx_llm_health_record_failed(ngx_llm_health_record_t *record,
    ngx_msec_t now);

/*
 * It asks to be left alone for a time, or -1: 1 s, doubled with each time in a
 * row up to 30 s.  The longest wish counts.
 */
void ngx_llm_health_record_cool(ngx_llm_health_record_t *record, ngx_msec_t now,
    ngx_msec_int_t time);

/* not to be used for NGX_LLM_HEALTH_MARK, then one probe per that time */
void ngx_llm_health_record_mark(ngx_llm_health_record_t *record,
    ngx_msec_t now);

void ngx_llm_health_record_drain(ngx_llm_health_record_t *record,
    ngx_uint_t on);

/* forgets what it was told: drain, cooldown, mark, failures; not averages */
void ngx_llm_health_record_renew(ngx_llm_health_record_t *record);

/* peak-EWMA: a worse sample counts at once, a better one by and by */
void ngx_llm_health_record_sample(ngx_llm_health_record_t *record,
    ngx_llm_health_average_e average, uint64_t usec, ngx_msec_t now);

/* faded with the time since the last sample; 0: none yet */
uint64_t ngx_llm_health_record_average(ngx_llm_health_record_t *record,
    ngx_llm_health_average_e average, ngx_msec_t now);

/* as measured, not faded; 0: none yet */
uint64_t ngx_llm_health_record_measured(ngx_llm_health_record_t *record,
    ngx_llm_health_average_e average);

/* since the zone was made: times it was told to cool, breakers opened */
ngx_uint_t ngx_llm_health_record_cooldowns(ngx_llm_health_record_t *record);
ngx_uint_t ngx_llm_health_record_openings(ngx_llm_health_record_t *record);


#endif /* _NGX_LLM_HEALTH_RECORD_H_INCLUDED_ */
