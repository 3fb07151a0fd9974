/*
 * price.c: prices are read exactly or refused, costs are exact and rounded up
 * once, at any size; what is not known is not guessed.
 */

#include <ngx_llm_price.h>

#include <math.h>

#include "tap.h"


typedef struct {
    const char       *text;
    int64_t           input;
    int64_t           output;
    int64_t           cached;
} text_t;


typedef struct {
    const char       *claim;
    ngx_llm_price_t   price;
    ngx_llm_usage_t   usage;    /* prompt, completion, total, cached, cache
                                   writes, reasoning */
    int64_t           want;
} cost_t;


static void texts(void);
static void bad_texts(void);
static void per_token(void);
static void costs(void);
static void random_costs(void);
static uint64_t next(uint64_t *seed);
static int64_t exact(const ngx_llm_price_t *price, int64_t prompt,
    int64_t completion, int64_t cached, int64_t write);
static void prints(void);


#define M    1000000         /* pico-USD per token: $1 per million tokens */
#define MAX  INT64_MAX
#define TOP  9007199254740991


static const text_t  good[] = {
    { "2.5,10", 2500000, 10000000, -1 },
    { "2.50,10.00,1.25", 2500000, 10000000, 1250000 },
    { "0,0", 0, 0, -1 },
    { "0,0,0", 0, 0, 0 },
    { "0.000001,0.1", 1, 100000, -1 },
    { "1000000,999999.999999", 1000000000000, 999999999999, -1 },
    { "1000000.000000,1", 1000000000000, M, -1 },
    { "007,01.5", 7 * M, 1500000, -1 },
};


static const char  *const  bad[] = {
    "", "1", "1,", ",1", "1,2,", "1,2,3,", "1,2,3,4", "1,,2", ",", ",,",
    "-1,2", "+1,2", "1,-0", "1e3,2", "1,2E1", "1., 2", "1.,2", ".5,2", "1,2.",
    "1 ,2", "1, 2", " 1,2", "1,2 ", "$1,2", "0x1,2", "inf,1", "nan,1", "1;2",
    "1.0000001,2", "1000000.000001,2", "1000001,2", "1,2,1000001",
    "18446744073709551616,1", "99999999999999999999999999999999,1",
    "1.2.3,4", "a,b", "1,2x",
};


static const cost_t  cases[] = {

    { "nothing costs nothing", { M, M, -1, -1 }, { 0, 0, 0, -1, -1, -1 }, 0 },

    { "prompt and completion",
      { 2500000, 10000000, -1, -1 }, { 1000, 100, 1100, -1, -1, -1 },
      3500000 },

    { "cached tokens are a part of the prompt at their own price",
      { 2500000, 10000000, 1250000, -1 }, { 1000, 0, 1000, 400, -1, -1 },
      2000000 },

    { "without a price of their own they are input",
      { 2500000, 10000000, -1, -1 }, { 1000, 0, 1000, 400, -1, -1 },
      2500000 },

    { "a price of 0 for them is a price",
      { 2500000, 10000000, 0, -1 }, { 1000, 0, 1000, 400, -1, -1 },
      1500000 },

    { "more cached tokens than the prompt has are the prompt",
      { 2500000, 10000000, 1250000, -1 }, { 100, 0, 100, 400, -1, -1 },
      125000 },

    { "cache writes are a part of it too",
      { 3000000, 15000000, 300000, 3750000 }, { 1000, 10, 1010, 600, 300, -1 },
      300000 + 180000 + 1125000 + 150000 },

    { "  without a price they are input",
      { 3000000, 15000000, 300000, -1 }, { 1000, 10, 1010, 600, 300, -1 },
      1200000 + 180000 + 150000 },

    { "  never more than is left of the prompt",
      { 3000000, 15000000, 300000, 3750000 }, { 1000, 0, 1000, 600, 900, -1 },
      180000 + 1500000 },

    { "a pico-USD is rounded up", { 1, 0, -1, -1 }, { 1, 0, 1, -1, -1, -1 },
      1 },

    { "but the sum, not each part of it",
      { 1, 1, 1, 1 }, { 750, 250, 1000, 250, 250, -1 }, 1 },

    { "one more is the next nano-USD",
      { 1, 1, 1, 1 }, { 751, 250, 1001, 250, 250, -1 }, 2 },

    { "no completion: embeddings",
      { 20000, -1, -1, -1 }, { 1000, -1, 1000, -1, -1, -1 }, 20000 },

    { "no completion, but a total that has one",
      { M, 2 * M, -1, -1 }, { 10, -1, 15, -1, -1, -1 }, 20000 },

    { "no total",
      { M, 2 * M, -1, -1 }, { 10, 5, -1, -1, -1, -1 }, 20000 },

    { "reasoning within completion costs nothing more",
      { M, 2 * M, -1, -1 }, { 10, 5, 15, -1, -1, 5 }, 20000 },

    { "reasoning beside completion, as the total tells, is output",
      { M, 2 * M, -1, -1 }, { 10, 5, 22, -1, -1, 7 }, 34000 },

    { "  a total that does not add up tells nothing",
      { M, 2 * M, -1, -1 }, { 10, 5, 23, -1, -1, 7 }, 20000 },

    { "the prompt is not given: not known",
      { M, M, -1, -1 }, { -1, 5, 5, -1, -1, -1 }, -1 },

    { "only a total: not known",
      { M, M, -1, -1 }, { -1, -1, 5, -1, -1, -1 }, -1 },

    { "the price of input is not known",
      { -1, M, -1, -1 }, { 1, 1, 2, -1, -1, -1 }, -1 },

    { "  and is not needed",
      { -1, M, -1, -1 }, { 0, 1, 1, -1, -1, -1 }, 1000 },

    { "  nor where all of the prompt was cached",
      { -1, M, M, -1 }, { 5, 0, 5, 5, -1, -1 }, 5000 },

    { "  it is for cached tokens without a price",
      { -1, M, -1, -1 }, { 5, 0, 5, 5, -1, -1 }, -1 },

    { "the price of output is not known",
      { M, -1, -1, -1 }, { 1, 1, 2, -1, -1, -1 }, -1 },

    { "the largest count at the largest price is too much",
      { NGX_LLM_PRICE_MAX, NGX_LLM_PRICE_MAX, -1, -1 },
      { TOP, TOP, -1, -1, -1, -1 }, MAX },

    { "the largest count at $1000 per million is exact",
      { 1000000000, 0, -1, -1 }, { TOP / 1000, 0, -1, -1, -1, -1 },
      9007199254740 * INT64_C(1000000) },

    { "the largest count at a pico-USD is exact",
      { 1, 1, -1, -1 }, { TOP, TOP, -1, -1, -1, -1 }, 18014398509482 },

    { "the last amount there is",
      { 1000, 999, 1, -1 }, { MAX, 0, -1, 0, -1, -1 }, MAX },

    { "no overflow: everything at its largest",
      { MAX, MAX, MAX, MAX }, { MAX, MAX, MAX, MAX, MAX, MAX }, MAX },

    { "  in parts",
      { MAX, MAX, MAX, MAX }, { MAX, MAX, MAX, MAX / 3, MAX / 3, MAX }, MAX },

    { "  in the rounding alone",
      { 1000, 1, -1, -1 }, { MAX, 1, -1, -1, -1, -1 }, MAX },
};


int
main(void)
{
    texts();
    bad_texts();
    per_token();
    costs();
    random_costs();
    prints();

    return done_testing();
}


static void
texts(void)
{
    size_t           i;
    ngx_llm_price_t  price;

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ok(ngx_llm_price_parse((u_char *) good[i].text, strlen(good[i].text),
                               &price)
           == NGX_OK
           && price.input == good[i].input
           && price.output == good[i].output
           && price.cached == good[i].cached
           && price.cache_write == -1,
           "\"%s\" is a price", good[i].text);
    }

    ok(ngx_llm_price_parse((u_char *) "1,25", 3, &price) == NGX_OK
       && price.output == 2 * M, "a price ends where its length says");
}


static void
bad_texts(void)
{
    size_t           i;
    ngx_llm_price_t  price;

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ok(ngx_llm_price_parse((u_char *) bad[i], strlen(bad[i]), &price)
           == NGX_ERROR,
           "\"%s\" is none", bad[i]);
    }
}


static void
per_token(void)
{
    is_int(ngx_llm_price_per_token(1.5e-07), 150000, "1.5e-07 per token");
    is_int(ngx_llm_price_per_token(2.1875e-06), 2187500, "2.1875e-06");
    is_int(ngx_llm_price_per_token(5.46875e-07), 546875, "5.46875e-07");
    is_int(ngx_llm_price_per_token(0.1), 100000000000, "0.1");
    is_int(ngx_llm_price_per_token(0), 0, "0 is known");
    is_int(ngx_llm_price_per_token(-0.0), 0, "-0 is 0");
    is_int(ngx_llm_price_per_token(4.9e-13), 0, "to the nearest: down");
    is_int(ngx_llm_price_per_token(5.1e-13), 1, "  and up");
    is_int(ngx_llm_price_per_token(1), NGX_LLM_PRICE_MAX, "$1 is the most");
    is_int(ngx_llm_price_per_token(nextafter(1, 2)), -1, "  no more");
    is_int(ngx_llm_price_per_token(-1e-12), -1, "negative");
    is_int(ngx_llm_price_per_token(NAN), -1, "no number");
    is_int(ngx_llm_price_per_token(INFINITY), -1, "infinite");
}


static void
costs(void)
{
    size_t  i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        is_int(ngx_llm_price_cost(&cases[i].price, &cases[i].usage),
               cases[i].want, cases[i].claim);
    }
}


/* any counts, any prices: as 128 bits have it */

static void
random_costs(void)
{
    int64_t          got, want;
    uint64_t         seed;
    ngx_uint_t       i, wrong, huge;
    ngx_llm_price_t  price;
    ngx_llm_usage_t  usage;

    seed = 42;
    wrong = 0;
    huge = 0;

    usage.total = -1;
    usage.reasoning = -1;

    for (i = 0; i < 200000; i++) {
        price.input = next(&seed) % (NGX_LLM_PRICE_MAX + 1);
        price.output = next(&seed) % (NGX_LLM_PRICE_MAX + 1);
        price.cached = next(&seed) % (NGX_LLM_PRICE_MAX + 1);
        price.cache_write = next(&seed) % (NGX_LLM_PRICE_MAX + 1);

        usage.prompt = next(&seed) >> 11 >> next(&seed) % 53;
        usage.completion = next(&seed) >> 11 >> next(&seed) % 53;
        usage.cached = next(&seed) % (usage.prompt + 1);
        usage.cache_write = next(&seed) % (usage.prompt - usage.cached + 1);

        got = ngx_llm_price_cost(&price, &usage);
        want = exact(&price, usage.prompt, usage.completion, usage.cached,
                     usage.cache_write);

        huge += (want == MAX);
        wrong += (got != want);
    }

    is_int(wrong, 0, "200000 costs are exact");
    ok(huge > 1000 && huge < 150000, "  some of them too much");
}


static uint64_t
next(uint64_t *seed)
{
    uint64_t  n;

    *seed += UINT64_C(0x9e3779b97f4a7c15);

    n = *seed;
    n = (n ^ (n >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    n = (n ^ (n >> 27)) * UINT64_C(0x94d049bb133111eb);

    return n ^ (n >> 31);
}


static int64_t
exact(const ngx_llm_price_t *price, int64_t prompt, int64_t completion,
    int64_t cached, int64_t write)
{
    unsigned __int128  pico;

    pico = (unsigned __int128) (prompt - cached - write) * price->input
           + (unsigned __int128) cached * price->cached
           + (unsigned __int128) write * price->cache_write
           + (unsigned __int128) completion * price->output;

    pico = (pico + 999) / 1000;

    return (pico > (unsigned __int128) MAX) ? MAX : (int64_t) pico;
}


static void
prints(void)
{
    size_t   i;
    u_char   buf[NGX_LLM_PRICE_LEN + 1], *p;

    static const struct {
        int64_t      nano;
        const char  *want;
    } rows[] = {
        { 0, "0.000000000" },
        { 1, "0.000000001" },
        { 123456, "0.000123456" },
        { 999999999, "0.999999999" },
        { 1000000000, "1.000000000" },
        { 12345678901, "12.345678901" },
        { 100000000000, "100.000000000" },
        { MAX, "9223372036.854775807" },
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(buf, '#', sizeof(buf));
        p = ngx_llm_price_print(buf, rows[i].nano);

        is_str(buf, p - buf, rows[i].want, rows[i].want);
        ok(p - buf <= NGX_LLM_PRICE_LEN && *p == '#', "  and no byte more");
    }
}
