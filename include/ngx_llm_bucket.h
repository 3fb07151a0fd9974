/*
 * ngx_llm_bucket.h: the arithmetic of a quota, in integers.
 *
 * A limit of n units in a period of milliseconds is a bucket: what is used of
 * it decays by n in each period, evenly, and the part of a unit that is left
 * over is carried.  A limit per day or month is a window of the UTC calendar:
 * what was spent in it, and what requests under way hold.  What is kept is
 * what is used, not what is left: an n that changes counts against the same.
 * module/lua/bucket.lua is the same arithmetic in Redis.
 */

#ifndef _NGX_LLM_BUCKET_H_INCLUDED_
#define _NGX_LLM_BUCKET_H_INCLUDED_


#include <ngx_llm_codec.h>


/* the largest limit and the longest wait */
#define NGX_LLM_BUCKET_MAX    ((int64_t) 1 << 52)

/* the most units used, debts included: the largest integer of a double */
#define NGX_LLM_BUCKET_USED   (((int64_t) 1 << 53) - 1)

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


typedef struct {                     /* zeroed: nothing is used */
    int64_t   used;                  /* a window: spent */
    int64_t   rest;                  /* 1/period of a unit; a window: held */
    int64_t   at;                    /* brought to, ms; a window: its id */
    int64_t   alerts;                /* a window's, raised */
} ngx_llm_bucket_t;


#define ngx_llm_limit_calendar(limit)  ((limit)->period < 0)


/*
 * Brings it to now, milliseconds of the epoch.  A clock that goes back refills
 * nothing until it has caught up; by more than a period, it is believed.
 */
void ngx_llm_bucket_turn(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t now);

/* after turn(): milliseconds until need would be admitted; 0: it is */
int64_t ngx_llm_bucket_wait(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t need, int64_t now);

/* after wait() has said 0, or else over the limit */
void ngx_llm_bucket_take(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t need);

/*
 * Replaces the units taken in the window (b->at after the take; a bucket: any)
 * by the units used.  Units used beyond the limit are a debt, which has no
 * bound but NGX_LLM_BUCKET_USED.  Returns the thresholds that are crossed,
 * NGX_LLM_ALERT_...
 */
ngx_uint_t ngx_llm_bucket_settle(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t window, int64_t need,
    int64_t actual, int64_t now);

/* the same, of what was settled as need when nobody knew better */
ngx_uint_t ngx_llm_bucket_correct(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t window, int64_t need,
    int64_t actual, int64_t now);

/* after turn(): what is left, 0 or more; milliseconds until nothing is used */
int64_t ngx_llm_bucket_left(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit);
int64_t ngx_llm_bucket_reset(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t now);

/* the window of the calendar that now is in: its id, and its end, ms */
int64_t ngx_llm_bucket_window(int64_t period, int64_t now, int64_t *end);


#endif /* _NGX_LLM_BUCKET_H_INCLUDED_ */
