/*
 * ngx_llm_bucket.h: the arithmetic of a quota, in integers.
 *
 * A limit of n units in a period of milliseconds is a bucket: its level decays
 * evenly by n in each period, and fractions of a unit are carried.  A limit
 * per day or month is a window of the UTC calendar, with the spent amount and
 * the amount held by requests in flight.  The used amount is stored, not the
 * remaining one, so that a changed n applies to the same use.
 * module/lua/bucket.lua has the same arithmetic for Redis.
 */

#ifndef _NGX_LLM_BUCKET_H_INCLUDED_
#define _NGX_LLM_BUCKET_H_INCLUDED_


#include <ngx_llm_codec.h>


/* the largest limit and the longest wait */
#define NGX_LLM_BUCKET_MAX    ((int64_t) 1 << 52)

/* the most units used, debts included: the largest integer of a double */
#define NGX_LLM_BUCKET_USED   (((int64_t) 1 << 53) - 1)

#define NGX_LLM_BUCKET_MARKS  6

/* ngx_llm_limit_t.period */
#define NGX_LLM_PERIOD_DAY    (-1)
#define NGX_LLM_PERIOD_MONTH  (-2)

/* a window's thresholds: bits of .alerts */
#define NGX_LLM_ALERT_50      0x1
#define NGX_LLM_ALERT_80      0x2
#define NGX_LLM_ALERT_100     0x4


typedef struct {
    int64_t   n;                     /* 0: nothing is admitted; -1: no limit */
    int64_t   period;                /* milliseconds, or _DAY, _MONTH */
} ngx_llm_limit_t;


/*
 * A mark is the lowest level of a bucket since the reservation it was made at.
 * Marks are kept from the oldest to the youngest, which is from the lowest to
 * the highest.
 */

typedef struct {
    int64_t   from[NGX_LLM_BUCKET_MARKS];  /* ms */
    int64_t   low[NGX_LLM_BUCKET_MARKS];   /* units; 0: no more marks */
    int32_t   part[NGX_LLM_BUCKET_MARKS];  /* 1/period of a unit, as rest */
} ngx_llm_marks_t;


/*
 * The level of a bucket is used - rest/period.  A zeroed bucket is unused.  A
 * copy of a bucket needs separate marks.
 */

typedef struct {
    int64_t   used;                  /* units; a window: spent */
    int64_t   rest;                  /* 1/period of a unit; a window: held */
    int64_t   at;                    /* time of the level, ms; a window: id */
    int64_t   alerts;                /* a window: raised; a bucket: largest n */
    ngx_llm_marks_t  *marks;         /* the caller's memory, zeroed, or NULL:
                                        refunds may be smaller */
} ngx_llm_bucket_t;


#define ngx_llm_limit_calendar(limit)  ((limit)->period < 0)


/*
 * Brings it to now, milliseconds of the epoch.  A clock that goes back refills
 * nothing until it has caught up; by more than a period, it is believed.
 */
void ngx_llm_bucket_turn(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t now);

/*
 * Called after turn().  Returns the milliseconds until need is admitted, 0 if
 * it is admitted now.  A need of 0 is rejected by a limit of 0 only.
 */
int64_t ngx_llm_bucket_wait(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t need, int64_t now);

/* Adds need; the caller has seen wait() return 0, or exceeds the limit. */
void ngx_llm_bucket_take(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t need);

/*
 * Replaces the units taken by the units used.  window is b->at after the take:
 * the time of the reservation, or the id of its window.  A bucket gives back
 * no more of a reservation than has not decayed.  Units used beyond the limit
 * are a debt, which has no bound but NGX_LLM_BUCKET_USED.  Returns the
 * thresholds that are crossed, NGX_LLM_ALERT_...
 */
ngx_uint_t ngx_llm_bucket_settle(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t window, int64_t need,
    int64_t actual, int64_t now);

/* Replaces the amount of an earlier settlement, which was only an estimate. */
ngx_uint_t ngx_llm_bucket_correct(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t window, int64_t need,
    int64_t actual, int64_t now);

/* After turn(): the remaining units; milliseconds until the bucket is full. */
int64_t ngx_llm_bucket_left(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit);
int64_t ngx_llm_bucket_reset(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t now);

/* the window of the calendar that now is in: its id, and its end, ms */
int64_t ngx_llm_bucket_window(int64_t period, int64_t now, int64_t *end);


#endif /* _NGX_LLM_BUCKET_H_INCLUDED_ */
