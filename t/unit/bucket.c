/*
 * bucket.c: what is used of a limit decays exactly, waits are true to the
 * millisecond, windows are those of the calendar (REQ-13, REQ-44).  Random
 * sequences are in t/quota-arithmetic.t, against Lua.
 */

#include <ngx_llm_bucket.h>

#include "tap.h"


#define T0      ((int64_t) 1700000000000)    /* 2023-11-14 22:13:20 */
#define DAY     ((int64_t) 86400000)
#define LARGE   NGX_LLM_BUCKET_MAX


static void decay(void);
static void debt(void);
static void clocks(void);
static void waits(void);
static void exact_wait(int64_t n, int64_t period, int64_t used, int64_t rest,
    int64_t need, int64_t back);
static void zero(void);
static void changes(void);
static void days(void);
static void months(void);
static void windows(void);
static void corrections(void);
static void alerts(void);
static void crossings(int64_t n, const int64_t *spent, const ngx_uint_t *bits);
static void state(const ngx_llm_bucket_t *b, int64_t used, int64_t rest,
    const char *name);


static const ngx_llm_limit_t  day = { 100, NGX_LLM_PERIOD_DAY };
static const ngx_llm_limit_t  month = { 100, NGX_LLM_PERIOD_MONTH };


int
main(void)
{
    decay();
    debt();
    clocks();
    waits();
    zero();
    changes();
    days();
    months();
    windows();
    corrections();
    alerts();

    return done_testing();
}


static void
decay(void)
{
    size_t            i;
    ngx_llm_limit_t   limit;
    ngx_llm_bucket_t  b;

    static const struct {
        const char  *name;
        int64_t      n, period, used, rest, dt;
        int64_t      want_used, want_rest;
    } cases[] = {
        { "no time, no decay", 10, 1000, 5, 0, 0, 5, 0 },
        { "less than a unit is carried", 1, 1000, 5, 0, 999, 5, 999 },
        { "  and is a unit with the next", 1, 1000, 5, 999, 1, 4, 0 },
        { "a third of a unit each millisecond", 3, 9, 5, 0, 1, 5, 3 },
        { "  two thirds", 3, 9, 5, 3, 1, 5, 6 },
        { "  one", 3, 9, 5, 6, 1, 4, 0 },
        { "n in a period", 7, 60000, 9, 0, 60000, 2, 0 },
        { "  with what was carried", 7, 60000, 9, 59999, 60000, 2, 59999 },
        { "the last unit takes the rest along", 7, 60000, 7, 5, 60000, 0, 0 },
        { "nothing is below nothing", 7, 60000, 3, 0, 60000, 0, 0 },
        { "an idle bucket stays one", 7, 60000, 0, 0, 77, 0, 0 },
        { "one unit of a large limit", LARGE, 3600000, LARGE, 0, 1,
          LARGE - LARGE / 3600000, LARGE % 3600000 },
        { "a period of a large limit", LARGE, 3600000, LARGE, 0, 3600000,
          0, 0 },
        { "since the epoch", LARGE, 1000, 2 * LARGE, 0, T0, 0, 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        limit.n = cases[i].n;
        limit.period = cases[i].period;

        b.used = cases[i].used;
        b.rest = cases[i].rest;
        b.at = T0 - cases[i].dt;
        b.alerts = 0;

        ngx_llm_bucket_turn(&b, &limit, T0);
        state(&b, cases[i].want_used, cases[i].want_rest, cases[i].name);
    }

    limit.n = 7;
    limit.period = 1000;

    b = (ngx_llm_bucket_t) { 7, 0, T0, 0, NULL };

    for (i = 1; i <= 999; i++) {
        ngx_llm_bucket_turn(&b, &limit, T0 + i);
    }

    state(&b, 1, 993, "step by step it is what it is at once");
}


static void
debt(void)
{
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 100, 1000 };

    b = (ngx_llm_bucket_t) { 60, 0, T0, 0, NULL };
    ngx_llm_bucket_settle(&b, &limit, 0, 60, 150, T0);
    state(&b, 150, 0, "more than the limit was used: a debt");

    ngx_llm_bucket_settle(&b, &limit, 0, 1, 1000000, T0);
    state(&b, 1000149, 0, "  is kept whole, however large it is");

    is_int(ngx_llm_bucket_wait(&b, &limit, 1, T0), 10000500,
           "  the next request waits until it has decayed");

    ngx_llm_bucket_settle(&b, &limit, 0, 1, NGX_LLM_BUCKET_MAX, T0);
    ngx_llm_bucket_settle(&b, &limit, 0, 1, NGX_LLM_BUCKET_MAX, T0);
    state(&b, NGX_LLM_BUCKET_USED, 0, "  ends at the largest exact number");

    ngx_llm_bucket_settle(&b, &limit, 0, 0, INT64_MAX, T0);
    state(&b, NGX_LLM_BUCKET_USED, 0, "  does not overflow");

    ngx_llm_bucket_settle(&b, &limit, T0, INT64_MAX, 0, T0);
    state(&b, 0, 0, "  does not become negative");

    b = (ngx_llm_bucket_t) { 200, 0, T0, 0, NULL };
    ngx_llm_bucket_turn(&b, &limit, T0 + 1990);
    state(&b, 1, 0, "a debt decays by all of the time");

    b = (ngx_llm_bucket_t) { 60, 500, T0, 0, NULL };
    ngx_llm_bucket_settle(&b, &limit, T0, 60, 20, T0);
    state(&b, 20, 500, "less was used: the rest stays");

    ngx_llm_bucket_settle(&b, &limit, T0, 60, 0, T0);
    state(&b, 0, 0, "what had decayed is not given back");

    b = (ngx_llm_bucket_t) { 10, 0, T0, 0, NULL };
    ngx_llm_bucket_settle(&b, &limit, 0, 10, 10, T0 + 50);
    state(&b, 5, 0, "it decays before it is settled");

    b = (ngx_llm_bucket_t) { 10, 0, T0, 0, NULL };
    ngx_llm_bucket_correct(&b, &limit, 0, 10, 30, T0);
    state(&b, 30, 0, "a correction is the same");

    is_int(ngx_llm_bucket_left(&b, &limit), 70, "what is left");
    b.used = 101;
    is_int(ngx_llm_bucket_left(&b, &limit), 0, "  is 0 in debt");
}


static void
clocks(void)
{
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 10, 1000 };

    b = (ngx_llm_bucket_t) { 10, 30, T0, 0, NULL };

    ngx_llm_bucket_turn(&b, &limit, T0 - 1);
    state(&b, 10, 30, "the clock goes back: nothing refills");

    ngx_llm_bucket_turn(&b, &limit, T0);
    state(&b, 10, 30, "  until it has caught up");

    ngx_llm_bucket_turn(&b, &limit, T0 - 1000);
    is_int(b.at, T0, "by a period, it is not believed");

    is_int(ngx_llm_bucket_reset(&b, &limit, T0 - 1000), 1000 + 997,
           "  and what it takes to catch up counts");

    ngx_llm_bucket_turn(&b, &limit, T0 - 1001);
    is_int(b.at, T0 - 1001, "by more, it is");
    state(&b, 10, 30, "  and nothing refills");

    ngx_llm_bucket_turn(&b, &limit, T0 - 1001 + 100);
    state(&b, 9, 30, "  but what follows does");
}


static void
waits(void)
{
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 10, 1000 };

    b = (ngx_llm_bucket_t) { 4, 0, T0, 0, NULL };
    is_int(ngx_llm_bucket_wait(&b, &limit, 6, T0), 0, "what fits is admitted");
    is_int(ngx_llm_bucket_wait(&b, &limit, 7, T0), 100, "  one more waits");
    is_int(ngx_llm_bucket_reset(&b, &limit, T0), 400, "  until nothing is");

    ngx_llm_bucket_take(&b, &limit, 6);
    state(&b, 10, 0, "what is taken is used");
    is_int(ngx_llm_bucket_wait(&b, &limit, 0, T0), 0, "  what needs 0 fits");
    b.used = 1000;
    is_int(ngx_llm_bucket_wait(&b, &limit, 0, T0), 0,
           "  and is admitted whatever the debt is");
    is_int(ngx_llm_bucket_wait(&(ngx_llm_bucket_t) { 500, 0, T0 / DAY, 0, NULL },
                               &day, 0, T0), 0,
           "  of a window as well");

    b = (ngx_llm_bucket_t) { 0, 0, T0, 0, NULL };
    is_int(ngx_llm_bucket_reset(&b, &limit, T0), 0, "an idle one is reset");

    exact_wait(10, 1000, 10, 0, 1, 0);
    exact_wait(3, 1000, 3, 0, 1, 0);
    exact_wait(3, 1000, 3, 999, 1, 0);
    exact_wait(7, 60000, 7, 1, 7, 0);
    exact_wait(7, 60000, 14, 1, 7, 0);
    exact_wait(7, 60000, 14, 59999, 7, 0);
    exact_wait(10, 1000, 10, 0, 1, 1);
    exact_wait(10, 1000, 10, 0, 10, 1000);
    exact_wait(1, 3600000, 1000000, 0, 1, 0);
    exact_wait(LARGE, 3600000, LARGE, 0, 1, 0);
    exact_wait(LARGE, 3600000, 2 * LARGE, 3599999, LARGE, 17);
    exact_wait(LARGE - 1, 1000, LARGE - 1, 0, LARGE / 3, 0);

    b = (ngx_llm_bucket_t) { 2 * LARGE, 0, T0, 0, NULL };
    is_int(ngx_llm_bucket_wait(&b, &(ngx_llm_limit_t) { 1, 3600000 }, 1, T0),
           NGX_LLM_BUCKET_MAX, "the longest wait has an end");
}


static void
exact_wait(int64_t n, int64_t period, int64_t used, int64_t rest, int64_t need,
    int64_t back)
{
    int64_t           ms, now;
    ngx_llm_limit_t   limit = { n, period };
    ngx_llm_bucket_t  b = { used, rest, T0, 0, NULL }, then;

    now = T0 - back;

    ngx_llm_bucket_turn(&b, &limit, now);
    ms = ngx_llm_bucket_wait(&b, &limit, need, now);

    then = b;
    ngx_llm_bucket_turn(&then, &limit, now + ms - 1);
    ok(ngx_llm_bucket_wait(&then, &limit, need, now + ms - 1) == 1,
       "a millisecond before, %jd of %jd are refused", (intmax_t) need,
       (intmax_t) n);

    then = b;
    ngx_llm_bucket_turn(&then, &limit, now + ms);
    is_int(ngx_llm_bucket_wait(&then, &limit, need, now + ms), 0,
           "  after the wait they are admitted (REQ-44)");
}


static void
zero(void)
{
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 0, 1000 };
    static const ngx_llm_limit_t  none = { 0, NGX_LLM_PERIOD_DAY };

    b = (ngx_llm_bucket_t) { 0, 0, T0, 0, NULL };

    is_int(ngx_llm_bucket_wait(&b, &limit, 1, T0), 1000,
           "a limit of 0 admits nothing");
    is_int(ngx_llm_bucket_wait(&b, &limit, 0, T0), 1000,
           "  not what needs nothing");
    is_int(ngx_llm_bucket_left(&b, &limit), 0, "  nothing is left");
    is_int(ngx_llm_bucket_reset(&b, &limit, T0), 0, "  nothing is used");

    b = (ngx_llm_bucket_t) { 5, 1, T0 - 1000, 0, NULL };
    ngx_llm_bucket_turn(&b, &limit, T0);
    state(&b, 5, 1, "  and nothing decays");
    is_int(ngx_llm_bucket_reset(&b, &limit, T0), 0, "  ever");

    ngx_llm_bucket_settle(&b, &limit, 0, 1, 10, T0);
    state(&b, 14, 1, "  a debt is kept whole");

    b = (ngx_llm_bucket_t) { 0, 0, 0, 0, NULL };
    ngx_llm_bucket_turn(&b, &none, T0);
    ok(ngx_llm_bucket_wait(&b, &none, 0, T0) > 0, "nor does a window of 0");
    is_int(ngx_llm_bucket_settle(&b, &none, b.at, 0, 7, T0), 0,
           "  nor has it alerts");
}


/* what is kept is what is used */

static void
changes(void)
{
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  small = { 10, 1000 }, large = { 40, 1000 };

    b = (ngx_llm_bucket_t) { 10, 0, T0, 0, NULL };

    is_int(ngx_llm_bucket_left(&b, &small), 0, "the limit is used up");
    is_int(ngx_llm_bucket_left(&b, &large), 30, "a larger one is not");
    is_int(ngx_llm_bucket_wait(&b, &large, 30, T0), 0, "  and admits");

    ngx_llm_bucket_take(&b, &large, 30);
    is_int(ngx_llm_bucket_wait(&b, &small, 1, T0), 3100,
           "what it admitted counts against the smaller one");

    ngx_llm_bucket_turn(&b, &small, T0 + 50);
    state(&b, 40, 500, "each decays at its own pace");
    ngx_llm_bucket_turn(&b, &large, T0 + 100);
    state(&b, 38, 500, "  with the rest of the other");
}


static void
days(void)
{
    int64_t  end;

    is_int(ngx_llm_bucket_window(NGX_LLM_PERIOD_DAY, 0, &end), 0,
           "the first day is 0");
    is_int(end, DAY, "  and ends");

    is_int(ngx_llm_bucket_window(NGX_LLM_PERIOD_DAY, DAY - 1, &end), 0,
           "23:59:59.999 is of the day");
    is_int(end, DAY, "  which ends in a millisecond");

    is_int(ngx_llm_bucket_window(NGX_LLM_PERIOD_DAY, DAY, &end), 1,
           "midnight is of the next");
    is_int(end, 2 * DAY, "  which ends a day later");
}


static void
months(void)
{
    int64_t  end, id;
    size_t   i;

    /* days since the epoch from date(1) */

    static const struct {
        const char  *name;
        int64_t      year, month, first, days;
    } cases[] = {
        { "January 1970", 1970, 1, 0, 31 },
        { "December 1970", 1970, 12, 334, 31 },
        { "January 2000", 2000, 1, 10957, 31 },
        { "February 2000, of a leap year", 2000, 2, 10988, 29 },
        { "March 2000", 2000, 3, 11017, 31 },
        { "December 2023", 2023, 12, 19692, 31 },
        { "January 2024", 2024, 1, 19723, 31 },
        { "February 2024, of a leap year", 2024, 2, 19754, 29 },
        { "March 2024", 2024, 3, 19783, 31 },
        { "April 2024", 2024, 4, 19814, 30 },
        { "February 2025", 2025, 2, 20120, 28 },
        { "June 2025", 2025, 6, 20240, 30 },
        { "September 2025", 2025, 9, 20332, 30 },
        { "November 2025", 2025, 11, 20393, 30 },
        { "February 2100, of no leap year", 2100, 2, 47513, 28 },
        { "March 2100", 2100, 3, 47541, 31 },
        { "December 2100", 2100, 12, 47816, 31 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        id = cases[i].year * 12 + cases[i].month - 1;

        is_int(ngx_llm_bucket_window(NGX_LLM_PERIOD_MONTH,
                                     cases[i].first * DAY, &end),
               id, cases[i].name);
        is_int(end, (cases[i].first + cases[i].days) * DAY, "  its end");

        is_int(ngx_llm_bucket_window(NGX_LLM_PERIOD_MONTH, end - 1, &end), id,
               "  its last millisecond");
        is_int(end, (cases[i].first + cases[i].days) * DAY, "  has it too");

        id += 1;
        is_int(ngx_llm_bucket_window(NGX_LLM_PERIOD_MONTH, end, &end), id,
               "  then the next begins");

        if (cases[i].first) {
            ngx_llm_bucket_window(NGX_LLM_PERIOD_MONTH,
                                  cases[i].first * DAY - 1, &end);
            is_int(end, cases[i].first * DAY, "  where another has ended");
        }
    }
}


static void
windows(void)
{
    int64_t           now, id;
    ngx_llm_bucket_t  b;

    now = 20000 * DAY;
    memset(&b, 0, sizeof(b));

    ngx_llm_bucket_turn(&b, &day, now);
    id = b.at;
    is_int(id, 20000, "a window begins");

    is_int(ngx_llm_bucket_wait(&b, &day, 100, now), 0, "all of it fits");
    is_int(ngx_llm_bucket_wait(&b, &day, 101, now), DAY, "more waits a day");

    ngx_llm_bucket_take(&b, &day, 60);
    state(&b, 0, 60, "what is taken is held");
    is_int(ngx_llm_bucket_left(&b, &day), 40, "  and not left");
    is_int(ngx_llm_bucket_wait(&b, &day, 41, now + DAY - 1), 1,
           "the wait is until it ends");
    is_int(ngx_llm_bucket_reset(&b, &day, now + 5), DAY - 5,
           "  and so is the reset");

    ngx_llm_bucket_take(&b, &day, 20);
    ngx_llm_bucket_settle(&b, &day, id, 60, 45, now + 1);
    state(&b, 45, 20, "what was used is spent, others hold");

    ngx_llm_bucket_settle(&b, &day, id, 20, 500, now + 2);
    state(&b, 545, 0, "all that was spent counts");
    is_int(ngx_llm_bucket_left(&b, &day), 0, "  nothing is left");

    ngx_llm_bucket_settle(&b, &day, id, 20, 0, now + 2);
    state(&b, 545, 0, "no hold is below nothing");

    ngx_llm_bucket_turn(&b, &day, now + DAY - 1);
    state(&b, 545, 0, "a window goes on to its last millisecond");

    ngx_llm_bucket_take(&b, &day, 7);
    ngx_llm_bucket_turn(&b, &day, now + DAY);
    state(&b, 0, 0, "then the next begins with nothing");
    is_int(b.at, id + 1, "  under its own id");

    is_int(ngx_llm_bucket_settle(&b, &day, id, 7, 99, now + DAY), 0,
           "a settlement of the window before");
    state(&b, 0, 0, "  is of no other");

    ngx_llm_bucket_take(&b, &day, 100);
    ngx_llm_bucket_turn(&b, &day, now + DAY - 1);
    state(&b, 0, 100, "a clock that goes back across the border stays");
    is_int(ngx_llm_bucket_wait(&b, &day, 1, now + DAY - 1), DAY + 1,
           "  and waits for the end of the later window");
    is_int(ngx_llm_bucket_reset(&b, &day, now + DAY - 1), DAY + 1,
           "  which is the reset");
    ngx_llm_bucket_settle(&b, &day, id + 1, 100, 30, now + DAY - 1);
    state(&b, 30, 0, "  and settles there");

    ngx_llm_bucket_turn(&b, &day, now - 1);
    state(&b, 0, 0, "one that goes back two windows is believed");

    memset(&b, 0, sizeof(b));
    ngx_llm_bucket_turn(&b, &month, now);
    id = b.at;
    ngx_llm_bucket_take(&b, &month, 100);
    ngx_llm_bucket_turn(&b, &month, now + 3 * DAY);
    state(&b, 0, 100, "a month is no day");
    ngx_llm_bucket_turn(&b, &month, now + 31 * DAY);
    state(&b, 0, 0, "  and ends");
}


static void
corrections(void)
{
    int64_t           now;
    ngx_llm_bucket_t  b;

    now = 20000 * DAY;
    b = (ngx_llm_bucket_t) { 0, 60, 20000, 0, NULL };

    ngx_llm_bucket_settle(&b, &day, 20000, 40, 40, now);
    state(&b, 40, 20, "settled as reserved");

    ngx_llm_bucket_correct(&b, &day, 20000, 40, 10, now);
    state(&b, 10, 20, "  corrected to less, other holds stay");

    ngx_llm_bucket_correct(&b, &day, 20000, 10, 95, now);
    state(&b, 95, 20, "  and to more");

    ngx_llm_bucket_correct(&b, &day, 19999, 10, 95, now);
    state(&b, 95, 20, "not of another window");

    b = (ngx_llm_bucket_t) { 5, 0, 20000, 0, NULL };
    ngx_llm_bucket_correct(&b, &day, 20000, 40, 10, now);
    state(&b, 0, 0, "it makes no credit");
}


static void
alerts(void)
{
    ngx_llm_bucket_t  b;

    static const ngx_llm_limit_t  limit = { 100, 1000 };

    crossings(100, (int64_t[]) { 49, 1, 0, 29, 1, 19, 1, 500, -1 },
              (ngx_uint_t[]) { 0, 1, 0, 0, 2, 0, 4, 0 });
    crossings(100, (int64_t[]) { 100, 1, -1 }, (ngx_uint_t[]) { 7, 0 });
    crossings(100, (int64_t[]) { 80, 20, -1 }, (ngx_uint_t[]) { 3, 4 });
    crossings(1, (int64_t[]) { 0, 1, -1 }, (ngx_uint_t[]) { 0, 7 });
    crossings(3, (int64_t[]) { 1, 1, 1, -1 }, (ngx_uint_t[]) { 0, 1, 6 });
    crossings(101, (int64_t[]) { 50, 1, 29, 1, 19, 1, -1 },
              (ngx_uint_t[]) { 0, 1, 0, 2, 0, 4 });
    crossings(LARGE, (int64_t[]) { LARGE / 2 - 1, 1, LARGE / 2 - 1, 1, -1 },
              (ngx_uint_t[]) { 0, 1, 2, 4 });

    b = (ngx_llm_bucket_t) { 0, 100, 20000, 0, NULL };
    is_int(ngx_llm_bucket_settle(&b, &day, 20000, 100, 0, 20000 * DAY), 0,
           "what is held raises none");

    is_int(ngx_llm_bucket_correct(&b, &day, 20000, 0, 50, 20000 * DAY),
           NGX_LLM_ALERT_50, "a correction does");
    is_int(ngx_llm_bucket_correct(&b, &day, 20000, 50, 0, 20000 * DAY), 0,
           "  and back");
    is_int(ngx_llm_bucket_settle(&b, &day, 20000, 0, 50, 20000 * DAY), 0,
           "  not twice in a window");

    is_int(ngx_llm_bucket_settle(&b, &day, 20001, 0, 50, 20001 * DAY),
           NGX_LLM_ALERT_50, "  but in the next");

    b = (ngx_llm_bucket_t) { 0, 0, T0, 0, NULL };
    is_int(ngx_llm_bucket_settle(&b, &limit, 0, 0, 150, T0), 0,
           "a bucket has none");
}


/* spent one after the other, up to a -1 */

static void
crossings(int64_t n, const int64_t *spent, const ngx_uint_t *bits)
{
    size_t            i;
    ngx_llm_limit_t   limit = { n, NGX_LLM_PERIOD_DAY };
    ngx_llm_bucket_t  b = { 0, 0, 20000, 0, NULL };

    for (i = 0; spent[i] >= 0; i++) {
        if (!ok(ngx_llm_bucket_settle(&b, &limit, 20000, 0, spent[i],
                                      20000 * DAY)
                == bits[i],
                "%jd of %jd: the alerts are %jx", (intmax_t) b.used,
                (intmax_t) n, (uintmax_t) bits[i]))
        {
            printf("# raised until now: %jx\n", (uintmax_t) b.alerts);
        }
    }
}


static void
state(const ngx_llm_bucket_t *b, int64_t used, int64_t rest, const char *name)
{
    if (!ok(b->used == used && b->rest == rest, "%s", name)) {
        printf("# got %jd, %jd, expected %jd, %jd\n", (intmax_t) b->used,
               (intmax_t) b->rest, (intmax_t) used, (intmax_t) rest);
    }
}
