/*
 * refund.c: a refund never takes a bucket below the level it would have, had
 * each settled request been charged its use when it was admitted.  So the use
 * admitted in any interval t is at most n + n/period * t (REQ-13).  Random
 * histories against that level, computed from the whole history.  SEED= of the
 * environment replays a run, HISTORIES= sets their number.
 */

#include <ngx_llm_bucket.h>

#include <stdlib.h>
#include <time.h>

#include "tap.h"


#define T0        ((int64_t) 1700000000000)
#define REQUESTS  16


typedef struct {                     /* a reservation */
    int64_t  at;                     /* ms */
    int64_t  need;
    int64_t  actual;                 /* what it is charged now */
    int64_t  start;                  /* as the bucket has it */
    int      open;
} hold_t;


static void histories(long count);
static int history(void);
static void settle(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    hold_t *hold, int64_t now);
static __int128 truth(const ngx_llm_limit_t *limit, const hold_t *holds,
    int n, int64_t now);
static int bounded(const ngx_llm_limit_t *limit, const hold_t *holds, int n);
static void alone(void);
static void decayed(void);
static void steady(void);
static void burst(void);
static uint64_t random_to(uint64_t most);


static uint64_t  state;


int
main(void)
{
    char  *seed, *count;

    seed = getenv("SEED");
    count = getenv("HISTORIES");

    state = seed ? strtoull(seed, NULL, 0)
                 : (uint64_t) time(NULL) * 1000003 + (uint64_t) clock();
    state = state ? state : 1;
    printf("# SEED=%llu\n", (unsigned long long) state);

    /* first, so that a seed replays a history */

    histories(count ? atol(count) : 1000000);

    alone();
    decayed();
    steady();
    burst();

    return done_testing();
}


static void
histories(long count)
{
    int       bad;
    long      i;
    uint64_t  first;

    bad = 0;
    first = 0;

    for (i = 0; i < count && !bad; i++) {
        first = state;
        bad = history();
    }

    if (!ok(bad == 0, "%ld histories: no refund takes the level below the "
                      "truth, no interval has more than its bound", count))
    {
        printf("# %s, replay with SEED=%llu HISTORIES=1\n",
               bad == 1 ? "the level is too low" : "too much was admitted",
               (unsigned long long) first);
    }
}


/* Returns 0, 1 if the level was below the truth, 2 if too much was admitted. */

static int
history(void)
{
    int               i, n;
    int64_t           now, need;
    ngx_llm_marks_t   marks;
    ngx_llm_limit_t   limit;
    ngx_llm_bucket_t  b;
    hold_t            holds[REQUESTS];

    static const int64_t  limits[] = { 1, 3, 10, 100, 1000, 1000000 };
    static const int64_t  periods[] = { 10, 100, 1000, 60000 };

    limit.n = limits[random_to(5)];
    limit.period = periods[random_to(3)];

    memset(&b, 0, sizeof(b));
    memset(&marks, 0, sizeof(marks));
    b.marks = random_to(15) ? &marks : NULL;

    now = T0;
    n = 0;

    while (n < REQUESTS) {

        if (random_to(2)) {
            now += random_to(random_to(3) ? limit.period / 8 + 1
                                          : 2 * limit.period);
        }

        ngx_llm_bucket_turn(&b, &limit, now);

        if (n && random_to(1)) {
            i = (int) random_to(n - 1);

            if (holds[i].open) {
                settle(&b, &limit, &holds[i], now);
            }

        } else {
            need = 1 + (int64_t) random_to(limit.n - 1);

            if (random_to(1)) {
                need = need / 8 + 1;
            }

            if (ngx_llm_bucket_wait(&b, &limit, need, now) == 0) {
                ngx_llm_bucket_take(&b, &limit, need);
                holds[n++] = (hold_t) { now, need, need, b.at, 1 };

            } else if (random_to(7) == 0) {
                now += limit.period;
            }
        }

        if ((__int128) b.used * limit.period - b.rest
            < truth(&limit, holds, n, now))
        {
            return 1;
        }
    }

    for (i = 0; i < n; i++) {

        if (holds[i].open) {
            settle(&b, &limit, &holds[i], now);
        }
    }

    return bounded(&limit, holds, n) ? 0 : 2;
}


static void
settle(ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit, hold_t *hold,
    int64_t now)
{
    int64_t  actual;

    actual = random_to(2) ? (int64_t) random_to(hold->need) : 0;

    if (random_to(7) == 0) {

        /* swept, and corrected later */

        (void) ngx_llm_bucket_settle(b, limit, hold->start, hold->need,
                                     hold->need, now);
        (void) ngx_llm_bucket_correct(b, limit, hold->start, hold->need,
                                      actual, now);

    } else {
        (void) ngx_llm_bucket_settle(b, limit, hold->start, hold->need, actual,
                                     now);
    }

    hold->actual = actual;
    hold->open = 0;
}


/* The level by the whole history, in 1/period of a unit. */

static __int128
truth(const ngx_llm_limit_t *limit, const hold_t *holds, int n, int64_t now)
{
    int       i;
    __int128  level;

    level = 0;

    for (i = 0; i < n; i++) {

        if (i) {
            level -= (__int128) limit->n * (holds[i].at - holds[i - 1].at);
        }

        if (level < 0) {
            level = 0;
        }

        level += (__int128) holds[i].actual * limit->period;
    }

    if (n) {
        level -= (__int128) limit->n * (now - holds[n - 1].at);
    }

    return level > 0 ? level : 0;
}


static int
bounded(const ngx_llm_limit_t *limit, const hold_t *holds, int n)
{
    int      i, j;
    int64_t  sum;

    for (i = 0; i < n; i++) {
        sum = 0;

        for (j = i; j < n; j++) {
            sum += holds[j].actual;

            if ((__int128) sum * limit->period
                > (__int128) limit->n
                  * (limit->period + holds[j].at - holds[i].at))
            {
                return 0;
            }
        }
    }

    return 1;
}


static void
alone(void)
{
    ngx_llm_marks_t   marks;
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 10, 60000 };

    memset(&marks, 0, sizeof(marks));
    b = (ngx_llm_bucket_t) { 0, 0, T0, 0, &marks };

    ngx_llm_bucket_take(&b, &limit, 1);
    ngx_llm_bucket_settle(&b, &limit, T0, 1, 0, T0 + 5);
    is_int(b.used, 0, "a reservation that is alone leaves an idle bucket");
    is_int(b.rest, 0, "  without a part of a unit");
}


static void
decayed(void)
{
    int               i;
    int64_t           now;
    ngx_llm_marks_t   marks;
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 3000, 1000 };

    memset(&marks, 0, sizeof(marks));
    b = (ngx_llm_bucket_t) { 0, 0, T0, 0, &marks };

    for (i = 0; i < 5; i++) {
        now = T0 + i * 1150;
        ngx_llm_bucket_turn(&b, &limit, now);
        ngx_llm_bucket_take(&b, &limit, 2900);
    }

    ngx_llm_bucket_settle(&b, &limit, T0, 2900, 20, now);
    is_int(b.used, 2900, "a reservation that has decayed gives nothing back");

    ngx_llm_bucket_settle(&b, &limit, T0 + 4 * 1150, 2900, 20, now);
    is_int(b.used, 20, "  one that has not gives back all that is unused");
}


/* 200 requests under way, which use what the bucket refills */

static void
steady(void)
{
    int               i, whole;
    int64_t           now, before;
    hold_t            holds[200];
    ngx_llm_marks_t   marks;
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 100000, 10000 };

    memset(&marks, 0, sizeof(marks));
    memset(holds, 0, sizeof(holds));
    b = (ngx_llm_bucket_t) { 30000, 0, T0, 0, &marks };

    whole = 0;
    now = T0;

    for (i = 0; i < 20000; i++) {
        now += i % 21;
        ngx_llm_bucket_turn(&b, &limit, now);

        if (holds[i % 200].open) {
            before = b.used;
            ngx_llm_bucket_settle(&b, &limit, holds[i % 200].start, 200, 100,
                                  now);
            whole += (before - b.used == 100);
        }

        if (ngx_llm_bucket_wait(&b, &limit, 200, now)) {
            break;
        }

        ngx_llm_bucket_take(&b, &limit, 200);
        holds[i % 200] = (hold_t) { now, 200, 200, b.at, 1 };
    }

    is_int(i, 20000, "under steady load no request waits");
    is_int(whole, 20000 - 200, "  and each refund is whole");
}


/* more reservations than marks, from an idle bucket, settled in order */

static void
burst(void)
{
    int               i;
    int64_t           start[100];
    ngx_llm_marks_t   marks;
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 100000, 60000 };

    memset(&marks, 0, sizeof(marks));
    b = (ngx_llm_bucket_t) { 0, 0, T0, 0, &marks };

    for (i = 0; i < 100; i++) {
        ngx_llm_bucket_turn(&b, &limit, T0 + i / 5);
        ngx_llm_bucket_take(&b, &limit, 1000);
        start[i] = b.at;
    }

    for (i = 0; i < 100; i++) {
        ngx_llm_bucket_settle(&b, &limit, start[i], 1000, 100, T0 + 100 + i);
    }

    ok(b.used >= 10000 - 200 * 100000 / 60000 && b.used <= 10100,
       "a burst of 100 keeps no more than was used: %jd", (intmax_t) b.used);
}


/* 0 to most; xorshift64*, the same on every machine */

static uint64_t
random_to(uint64_t most)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;

    return (state * 2685821657736338717ULL >> 11) % (most + 1);
}
