/*
 * Buckets and windows: what is used of a limit.  The store that keeps them
 * brings them to now, asks, takes, and settles; all under its own lock.
 */


#include <ngx_llm_bucket.h>


#define NGX_LLM_BUCKET_DAY  86400000     /* milliseconds */


static ngx_uint_t ngx_llm_bucket_change(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t window, int64_t actual,
    int64_t need);
static int64_t ngx_llm_bucket_sum(int64_t used, int64_t actual, int64_t need);
static ngx_uint_t ngx_llm_bucket_alerts(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit);
static int64_t ngx_llm_bucket_time(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t units, int64_t now);
static int64_t ngx_llm_bucket_end(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t now);


/* part of a limit that raises an alert */

static const struct {
    int64_t     percent;
    ngx_uint_t  bit;
} ngx_llm_bucket_thresholds[] = {
    { 50, NGX_LLM_ALERT_50 },
    { 80, NGX_LLM_ALERT_80 },
    { 100, NGX_LLM_ALERT_100 }
};


/* nearly all fit into 64 bits, where a division is one instruction */

static ngx_inline __int128
ngx_llm_bucket_divide(__int128 n, int64_t by)
{
    return (n == (int64_t) n) ? (int64_t) n / by : n / by;
}


void
ngx_llm_bucket_turn(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t now)
{
    int64_t   id, end;
    __int128  units, whole;

    if (ngx_llm_limit_calendar(limit)) {
        id = ngx_llm_bucket_window(limit->period, now, &end);

        /* a clock that went back across the border */

        if (id != b->at && id + 1 != b->at) {
            b->used = 0;
            b->rest = 0;
            b->alerts = 0;
            b->at = id;
        }

        return;
    }

    if (b->at - now > limit->period) {
        b->at = now;
    }

    if (now <= b->at) {
        return;
    }

    /* all of the time: a refusal keeps nothing, and a debt is more than n */

    units = (__int128) (now - b->at) * limit->n + b->rest;

    whole = ngx_llm_bucket_divide(units, limit->period);

    b->at = now;

    if (whole >= b->used) {
        b->used = 0;
        b->rest = 0;
        return;
    }

    b->used -= (int64_t) whole;
    b->rest = (int64_t) (units - whole * limit->period);
}


int64_t
ngx_llm_bucket_wait(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t need, int64_t now)
{
    if (ngx_llm_limit_calendar(limit)) {

        if (limit->n && b->used + b->rest + need <= limit->n) {
            return 0;
        }

        return ngx_llm_bucket_end(b, limit, now) - now;
    }

    if (limit->n == 0) {
        return limit->period;
    }

    if (b->used + need <= limit->n) {
        return 0;
    }

    return ngx_llm_bucket_time(b, limit, b->used - limit->n + need, now);
}


void
ngx_llm_bucket_take(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t need)
{
    if (ngx_llm_limit_calendar(limit)) {
        b->rest += need;

    } else {
        b->used += need;
    }
}


ngx_uint_t
ngx_llm_bucket_settle(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t window, int64_t need, int64_t actual, int64_t now)
{
    ngx_llm_bucket_turn(b, limit, now);

    if (!ngx_llm_limit_calendar(limit)) {
        return ngx_llm_bucket_change(b, limit, window, actual, need);
    }

    if (b->at != window) {
        return 0;
    }

    b->rest -= need;

    if (b->rest < 0) {
        b->rest = 0;
    }

    return ngx_llm_bucket_change(b, limit, window, actual, 0);
}


ngx_uint_t
ngx_llm_bucket_correct(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t window, int64_t need, int64_t actual, int64_t now)
{
    ngx_llm_bucket_turn(b, limit, now);

    return ngx_llm_bucket_change(b, limit, window, actual, need);
}


/* Replaces need by actual in the units used; returns the alerts to raise. */

static ngx_uint_t
ngx_llm_bucket_change(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t window, int64_t actual, int64_t need)
{
    if (ngx_llm_limit_calendar(limit)) {

        if (b->at != window) {
            return 0;
        }

        b->used = ngx_llm_bucket_sum(b->used, actual, need);

        return ngx_llm_bucket_alerts(b, limit);
    }

    b->used = ngx_llm_bucket_sum(b->used, actual, need);

    if (b->used == 0) {
        b->rest = 0;
    }

    return 0;
}


/*
 * Returns used + actual - need.  The result has a lower bound of 0, as need may
 * have decayed or the store may have lost it, and an upper bound of
 * NGX_LLM_BUCKET_USED, so that a double in Redis holds it exactly.
 */

static int64_t
ngx_llm_bucket_sum(int64_t used, int64_t actual, int64_t need)
{
    __int128  sum;

    sum = (__int128) used + actual - need;

    if (sum < 0) {
        return 0;
    }

    return sum < NGX_LLM_BUCKET_USED ? (int64_t) sum : NGX_LLM_BUCKET_USED;
}


static ngx_uint_t
ngx_llm_bucket_alerts(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit)
{
    int64_t     part, percent;
    ngx_uint_t  i, bits;

    bits = 0;

    for (i = 0; i < 3 && limit->n > 0; i++) {
        percent = ngx_llm_bucket_thresholds[i].percent;
        part = limit->n / 100 * percent
               + (limit->n % 100 * percent + 99) / 100;

        if (b->used >= part) {
            bits |= ngx_llm_bucket_thresholds[i].bit;
        }
    }

    bits &= ~(ngx_uint_t) b->alerts;
    b->alerts |= bits;

    return bits;
}


int64_t
ngx_llm_bucket_left(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit)
{
    int64_t  left;

    left = limit->n - b->used;

    if (ngx_llm_limit_calendar(limit)) {
        left -= b->rest;
    }

    return left > 0 ? left : 0;
}


int64_t
ngx_llm_bucket_reset(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t now)
{
    if (ngx_llm_limit_calendar(limit)) {
        return ngx_llm_bucket_end(b, limit, now) - now;
    }

    if (limit->n == 0 || b->used == 0) {
        return 0;
    }

    return ngx_llm_bucket_time(b, limit, b->used, now);
}


/* until so many units have decayed, rounded up */

static int64_t
ngx_llm_bucket_time(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t units, int64_t now)
{
    __int128  ms;

    ms = ngx_llm_bucket_divide((__int128) units * limit->period - b->rest
                               + limit->n - 1, limit->n);

    if (b->at > now) {
        ms += b->at - now;
    }

    return ms < NGX_LLM_BUCKET_MAX ? (int64_t) ms : NGX_LLM_BUCKET_MAX;
}


/* of the window it is in: the next one if the clock went back from there */

static int64_t
ngx_llm_bucket_end(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t now)
{
    int64_t  id, end;

    id = ngx_llm_bucket_window(limit->period, now, &end);

    if (b->at > id) {
        (void) ngx_llm_bucket_window(limit->period, end, &end);
    }

    return end;
}


/*
 * Days and years of the civil calendar by arithmetic: 719468 days lie between
 * the 1st of March of the year 0 and the epoch, 146097 in 400 years.
 */

int64_t
ngx_llm_bucket_window(int64_t period, int64_t now, int64_t *end)
{
    int64_t  day, z, era, of_era, year, of_year, month, of_month, length;

    static const u_char  days[] = { 31, 28, 31, 30, 31, 30,
                                    31, 31, 30, 31, 30, 31 };

    day = now / NGX_LLM_BUCKET_DAY;

    if (period == NGX_LLM_PERIOD_DAY) {
        *end = (day + 1) * NGX_LLM_BUCKET_DAY;
        return day;
    }

    z = day + 719468;
    era = z / 146097;
    of_era = z % 146097;
    year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    of_year = of_era - (365 * year + year / 4 - year / 100);
    month = (5 * of_year + 2) / 153;
    of_month = of_year - (153 * month + 2) / 5;

    /* from March to January, 0 to 11 */

    year += era * 400 + (month >= 10);
    month = (month + 2) % 12;

    length = days[month];

    if (month == 1 && year % 4 == 0 && (year % 100 || year % 400 == 0)) {
        length = 29;
    }

    *end = (day - of_month + length) * NGX_LLM_BUCKET_DAY;

    return year * 12 + month;
}
