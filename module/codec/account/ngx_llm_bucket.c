/*
 * Buckets and windows: the used part of a limit.  The caller, a quota store,
 * holds its lock over the calls: turn, wait, take, settle.
 */


#include <ngx_llm_bucket.h>


#define NGX_LLM_BUCKET_DAY  86400000     /* milliseconds */


static ngx_uint_t ngx_llm_bucket_change(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t window, int64_t actual,
    int64_t need);
static int64_t ngx_llm_bucket_sum(int64_t used, int64_t actual, int64_t need);
static void ngx_llm_bucket_refund(ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t start, int64_t need, int64_t unused);
static __int128 ngx_llm_bucket_lowest(const ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t start, int64_t need);
static ngx_uint_t ngx_llm_bucket_marks(const ngx_llm_bucket_t *b);
static __int128 ngx_llm_bucket_mark(const ngx_llm_bucket_t *b, ngx_uint_t i,
    int64_t period);
static void ngx_llm_bucket_set_mark(ngx_llm_bucket_t *b, ngx_uint_t i,
    int64_t from, __int128 low, int64_t period);
static void ngx_llm_bucket_add_mark(ngx_llm_bucket_t *b, int64_t period);
static void ngx_llm_bucket_lower_marks(ngx_llm_bucket_t *b, int64_t period);
static void ngx_llm_bucket_drop_mark(ngx_llm_bucket_t *b, ngx_uint_t i);
static void ngx_llm_bucket_clear(ngx_llm_bucket_t *b);
static void ngx_llm_bucket_clear_marks(ngx_llm_bucket_t *b);
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
            ngx_llm_bucket_clear(b);
            b->alerts = 0;
            b->at = id;
        }

        return;
    }

    if (b->at - now > limit->period) {
        b->at = now;
        ngx_llm_bucket_clear_marks(b);
    }

    b->alerts = ngx_max(b->alerts, limit->n);

    if (now <= b->at) {
        return;
    }

    /* all of the time: a refusal keeps nothing, and a debt is more than n */

    units = (__int128) (now - b->at) * limit->n + b->rest;

    whole = ngx_llm_bucket_divide(units, limit->period);

    b->at = now;

    if (whole >= b->used) {
        ngx_llm_bucket_clear(b);
        return;
    }

    b->used -= (int64_t) whole;
    b->rest = (int64_t) (units - whole * limit->period);

    ngx_llm_bucket_lower_marks(b, limit->period);
}


int64_t
ngx_llm_bucket_wait(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t need, int64_t now)
{
    if (ngx_llm_limit_calendar(limit)) {

        if (limit->n && (need == 0 || b->used + b->rest + need <= limit->n)) {
            return 0;
        }

        return ngx_llm_bucket_end(b, limit, now) - now;
    }

    if (limit->n == 0) {
        return limit->period;
    }

    if (need == 0 || b->used + need <= limit->n) {
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
        return;
    }

    if (need == 0) {
        return;
    }

    /*
     * until the next reservation, the level of a bucket that was idle is the
     * reservation less its decay, and a mark has no further information
     */

    if (b->used == 0) {
        b->used = need;
        return;
    }

    b->used += need;
    ngx_llm_bucket_add_mark(b, limit->period);
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


/* Replaces need by actual in the units used.  Returns the alerts to raise. */

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

    if (actual < need) {
        ngx_llm_bucket_refund(b, limit, window, need, need - actual);

    } else {
        b->used = ngx_llm_bucket_sum(b->used, actual, need);
    }

    return 0;
}


/*
 * Gives back the unused part of a reservation made at start.  A reservation
 * decays like all units of a bucket.  Had the unused units never been taken,
 * the level would be lower by min(unused, lowest level since start): a larger
 * refund would return units that have decayed already, and the bucket would
 * admit more than n + n/period * time.
 */

static void
ngx_llm_bucket_refund(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t start, int64_t need, int64_t unused)
{
    int64_t     period;
    __int128    level, lowest, back, mark;
    ngx_uint_t  i, n;

    period = limit->period;
    lowest = ngx_llm_bucket_lowest(b, limit, start, need);
    back = ngx_min(lowest, (__int128) unused * period);

    level = (__int128) b->used * period - b->rest - back;

    if (level <= 0) {
        ngx_llm_bucket_clear(b);
        return;
    }

    b->used = (int64_t) ngx_llm_bucket_divide(level + period - 1, period);
    b->rest = (int64_t) ((__int128) b->used * period - level);

    /* the levels since start are lower by the refund, those before are not */

    n = ngx_llm_bucket_marks(b);

    for (i = 0; i < n; i++) {
        mark = ngx_llm_bucket_mark(b, i, period);

        if (b->marks->from[i] <= start) {
            mark = ngx_min(mark, lowest - back);

        } else {
            mark = ngx_max(mark, lowest) - back;
        }

        ngx_llm_bucket_set_mark(b, i, b->marks->from[i], mark, period);
    }

    /* of marks with equal levels, the oldest one covers the most time */

    for (i = n; i-- > 0; /* void */) {
        mark = i ? ngx_llm_bucket_mark(b, i - 1, period) : 0;

        if (ngx_llm_bucket_mark(b, i, period) <= mark) {
            ngx_llm_bucket_drop_mark(b, i);
        }
    }
}


/*
 * Returns a lower bound of the level since start, in 1/period of a unit.  The
 * bound is the best one of: the youngest mark that covers the time since start;
 * a mark made later, and until then the reservation itself as it decays; the
 * same with the present level instead of a mark.
 */

static __int128
ngx_llm_bucket_lowest(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t start, int64_t need)
{
    int64_t     from, rate;
    __int128    lowest, low, own;
    ngx_uint_t  i, n;

    /* the clock went back since then, the age is not known */

    if (start > b->at) {
        return 0;
    }

    lowest = 0;
    rate = ngx_max(b->alerts, limit->n);
    n = ngx_llm_bucket_marks(b);

    for (i = 0; i <= n; i++) {

        if (i < n) {
            from = b->marks->from[i];
            low = ngx_llm_bucket_mark(b, i, limit->period);

        } else {
            from = b->at;
            low = (__int128) b->used * limit->period - b->rest;
        }

        if (from > start) {
            own = (__int128) need * limit->period
                  - (__int128) rate * (from - start);
            low = ngx_min(low, own);
        }

        lowest = ngx_max(lowest, low);
    }

    return lowest;
}


/* Marks stand from the oldest, the lowest, to the youngest. */

static ngx_uint_t
ngx_llm_bucket_marks(const ngx_llm_bucket_t *b)
{
    ngx_uint_t  n;

    if (b->marks == NULL) {
        return 0;
    }

    for (n = 0; n < NGX_LLM_BUCKET_MARKS && b->marks->low[n]; n++) {
        /* void */
    }

    return n;
}


/* Returns the level of a mark in 1/period of a unit. */

static __int128
ngx_llm_bucket_mark(const ngx_llm_bucket_t *b, ngx_uint_t i, int64_t period)
{
    return (__int128) b->marks->low[i] * period - b->marks->part[i];
}


static void
ngx_llm_bucket_set_mark(ngx_llm_bucket_t *b, ngx_uint_t i, int64_t from,
    __int128 low, int64_t period)
{
    b->marks->from[i] = from;
    b->marks->low[i] = (int64_t) ngx_llm_bucket_divide(low + period - 1,
                                                       period);
    b->marks->part[i] = (int32_t) ((__int128) b->marks->low[i] * period - low);
}


/*
 * Marks the level after a reservation.  If all marks are in use, the one with
 * the least distance to the mark before is dropped: its reservations lose the
 * least by the mark before.
 */

static void
ngx_llm_bucket_add_mark(ngx_llm_bucket_t *b, int64_t period)
{
    int64_t     gap, least;
    __int128    level;
    ngx_uint_t  i, n, drop;

    if (b->marks == NULL) {
        return;
    }

    n = ngx_llm_bucket_marks(b);
    level = (__int128) b->used * period - b->rest;

    /* nothing has decayed since a mark of the same millisecond */

    if (n && b->marks->from[n - 1] == b->at) {
        ngx_llm_bucket_set_mark(b, n - 1, b->at, level, period);
        return;
    }

    if (n < NGX_LLM_BUCKET_MARKS) {
        ngx_llm_bucket_set_mark(b, n, b->at, level, period);
        return;
    }

    drop = n;
    least = b->used - b->marks->low[n - 1];

    for (i = 0; i < n; i++) {
        gap = b->marks->low[i] - (i ? b->marks->low[i - 1] : 0);

        if (gap < least) {
            least = gap;
            drop = i;
        }
    }

    if (drop < n) {
        ngx_llm_bucket_drop_mark(b, drop);
        ngx_llm_bucket_set_mark(b, n - 1, b->at, level, period);
    }
}


/* No mark is above the present level. */

static void
ngx_llm_bucket_lower_marks(ngx_llm_bucket_t *b, int64_t period)
{
    __int128    level;
    ngx_uint_t  i, n;

    n = ngx_llm_bucket_marks(b);
    level = (__int128) b->used * period - b->rest;

    for (i = 0; i < n; i++) {

        if (ngx_llm_bucket_mark(b, i, period) >= level) {
            ngx_llm_bucket_set_mark(b, i, b->marks->from[i], level, period);

            while (++i < n) {
                b->marks->low[i] = 0;
            }
        }
    }
}


static void
ngx_llm_bucket_drop_mark(ngx_llm_bucket_t *b, ngx_uint_t i)
{
    ngx_llm_marks_t  *marks;

    marks = b->marks;

    for ( /* void */ ; i < NGX_LLM_BUCKET_MARKS - 1; i++) {
        marks->from[i] = marks->from[i + 1];
        marks->low[i] = marks->low[i + 1];
        marks->part[i] = marks->part[i + 1];
    }

    marks->low[i] = 0;
}


static void
ngx_llm_bucket_clear(ngx_llm_bucket_t *b)
{
    b->used = 0;
    b->rest = 0;

    ngx_llm_bucket_clear_marks(b);
}


static void
ngx_llm_bucket_clear_marks(ngx_llm_bucket_t *b)
{
    if (b->marks) {
        ngx_memzero(b->marks->low, sizeof(b->marks->low));
    }
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
