/*
 * limit.c: limits are read exactly or refused, durations are Go's.
 */

#include <ngx_llm_limit.h>

#include "tap.h"


typedef struct {
    const char  *text;
    int64_t      want;                       /* -1: refused */
} case_t;


static void numbers(void);
static void money(void);
static void periods(void);
static void durations(void);
static void prints(void);
static int printed(int64_t n);


int
main(void)
{
    numbers();
    money();
    periods();
    durations();
    prints();

    return done_testing();
}


static void
numbers(void)
{
    int64_t  n;
    size_t   i;

    static const case_t  cases[] = {
        { "0", 0 }, { "1", 1 }, { "007", 7 }, { "600", 600 },
        { "200k", 200000 }, { "3m", 3000000 }, { "2g", 2000000000 },
        { "4503599627370496", NGX_LLM_BUCKET_MAX },
        { "4503599627370497", -1 }, { "4503600g", -1 },
        { "99999999999999999999999", -1 }, { "", -1 }, { "k", -1 },
        { "-1", -1 }, { "+1", -1 }, { "1.5", -1 }, { "1K", -1 },
        { "1kk", -1 }, { " 1", -1 }, { "1e3", -1 }, { "0x10", -1 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ngx_llm_limit_number((u_char *) cases[i].text,
                                 strlen(cases[i].text), &n)
            != NGX_OK)
        {
            n = -1;
        }

        ok(n == cases[i].want, "the number \"%s\"", cases[i].text);
    }
}


static void
money(void)
{
    int64_t  n;
    size_t   i;

    static const case_t  cases[] = {
        { "50", 50000000000 }, { "0.5", 500000000 }, { ".25", 250000000 },
        { "0.000000001", 1 }, { "0", 0 }, { "4503599.627370496",
        NGX_LLM_BUCKET_MAX }, { "4503599.627370497", -1 },
        { "4503600", -1 }, { "0.0000000001", -1 }, { "", -1 }, { ".", -1 },
        { "5.", -1 }, { "1.2.3", -1 }, { "$5", -1 }, { "-5", -1 },
        { "5k", -1 }, { "1e3", -1 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ngx_llm_limit_usd((u_char *) cases[i].text,
                              strlen(cases[i].text), &n)
            != NGX_OK)
        {
            n = -1;
        }

        ok(n == cases[i].want, "$ \"%s\"", cases[i].text);
    }
}


static void
periods(void)
{
    int64_t  period;
    size_t   i;

    static const case_t  cases[] = {
        { "1s", 1000 }, { "90s", 90000 }, { "1m", 60000 }, { "60m", 3600000 },
        { "1h", 3600000 }, { "3600s", 3600000 },
        { "day", NGX_LLM_PERIOD_DAY }, { "month", NGX_LLM_PERIOD_MONTH },
        { "0s", 0 }, { "3601s", 0 }, { "2h", 0 }, { "61m", 0 }, { "", 0 },
        { "s", 0 }, { "1", 0 }, { "1d", 0 }, { "days", 0 }, { "-1s", 0 },
        { "1.5m", 0 }, { "1m30s", 0 }, { "99999999999999999999s", 0 },
        { "1ms", 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        if (ngx_llm_limit_period((u_char *) cases[i].text,
                                 strlen(cases[i].text), &period)
            != NGX_OK)
        {
            period = 0;
        }

        ok(period == cases[i].want, "the period \"%s\"", cases[i].text);
    }
}


static void
durations(void)
{
    size_t   i;
    u_char   text[NGX_LLM_LIMIT_DURATION + 1];

    static const struct {
        int64_t      ms;
        const char  *want;
    } cases[] = {
        { 0, "0s" }, { -5, "0s" }, { 1, "1ms" }, { 120, "120ms" },
        { 999, "999ms" }, { 1000, "1s" }, { 1200, "1.2s" },
        { 1234, "1.234s" }, { 1050, "1.05s" }, { 59999, "59.999s" },
        { 60000, "1m0s" }, { 360000, "6m0s" }, { 61500, "1m1.5s" },
        { 3600000, "1h0m0s" }, { 3723000, "1h2m3s" },
        { 2678400000, "744h0m0s" }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        *ngx_llm_limit_duration(text, cases[i].ms) = '\0';

        ok(strcmp((char *) text, cases[i].want) == 0, "%lld ms is %s",
           (long long) cases[i].ms, cases[i].want);
    }

    ok(ngx_llm_limit_duration(text, NGX_LLM_BUCKET_MAX) - text
       <= NGX_LLM_LIMIT_DURATION, "the longest duration has room");
}


/* each number of digits, and the numbers on both sides of where it changes */

static void
prints(void)
{
    int      i, digits, right;
    int64_t  n, power;

    for (power = 1, digits = 1; digits < 20; digits++) {
        right = 1;

        for (i = -1; i < 2; i++) {
            right &= printed(power + i);
        }

        ok(right, "%lld and its neighbours are printed", (long long) power);
        power *= (digits < 19) ? 10 : 1;
    }

    ok(printed(INT64_MAX), "and the greatest there is");

    right = 1;

    for (n = 0; n < 100000; n++) {
        right &= printed(n) & printed(n * 92233720368547);
    }

    ok(right, "and 200,000 others");
}


static int
printed(int64_t n)
{
    char    want[32];
    u_char  text[32];

    memset(text, 'x', sizeof(text));
    *ngx_llm_limit_print(text, n) = '\0';

    snprintf(want, sizeof(want), "%lld", (long long) n);

    return strcmp((char *) text, want) == 0;
}
