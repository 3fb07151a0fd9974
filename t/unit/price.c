/*
 * price.c: prices are read exactly or refused, costs are exact and rounded up
 * once, at any size; what is not known is not guessed.
 */

#include <ngx_llm_price.h>

#include <math.h>

#include "ngx_llm_members.h"
#include "tap.h"


typedef struct {
    const char       *text;
    int64_t           input;
    int64_t           output;
    int64_t           cached;
} text_t;


typedef struct {
    const char       *claim;
    int64_t           price[4]; /* input, output, cached, cache writes */
    int64_t           usage[6]; /* prompt, completion, total, cached, cache
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
static void members(void);
static void units(void);
static void amounts(void);
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

    { "  and so is the rest of a larger total",
      { M, 2 * M, -1, -1 }, { 10, 5, 23, -1, -1, 7 }, 36000 },

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
    members();
    units();
    amounts();
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
    size_t           i;
    ngx_llm_price_t  price;
    ngx_llm_usage_t  usage;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ngx_llm_price_init(&price);
        memset(&usage, 0xff, sizeof(usage));

        price.input = cases[i].price[0];
        price.output = cases[i].price[1];
        price.cached = cases[i].price[2];
        price.cache_write = cases[i].price[3];

        usage.prompt = cases[i].usage[0];
        usage.completion = cases[i].usage[1];
        usage.total = cases[i].usage[2];
        usage.cached = cases[i].usage[3];
        usage.cache_write = cases[i].usage[4];
        usage.reasoning = cases[i].usage[5];

        is_int(ngx_llm_price_cost(&price, &usage),
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

    memset(&price, 0, sizeof(price));
    memset(&usage, 0xff, sizeof(usage));

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
members(void)
{
    size_t                i;
    ngx_llm_price_rate_t  rate;

    static const struct {
        const char  *name;
        int          unit, tier;
        uint32_t     above;
    } rows[] = {
        { "input_cost_per_token", NGX_LLM_PRICE_INPUT, 0, 0 },
        { "output_cost_per_token_above_200k_tokens", NGX_LLM_PRICE_OUTPUT, 0,
          200000 },
        { "input_cost_per_token_above_128_tokens", NGX_LLM_PRICE_INPUT, 0,
          128 },
        { "cache_read_input_token_cost_above_272k_tokens_priority",
          NGX_LLM_PRICE_CACHED, NGX_LLM_PRICE_PRIORITY, 272000 },
        { "input_cost_per_token_priority_above_200k_tokens",
          NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_PRIORITY, 200000 },
        { "cache_creation_input_token_cost_flex", NGX_LLM_PRICE_CACHE_WRITE,
          NGX_LLM_PRICE_FLEX, 0 },
        { "cache_creation_input_token_cost_above_1hr",
          NGX_LLM_PRICE_CACHE_WRITE_1H, 0, 0 },
        { "cache_creation_input_token_cost_above_1hr_above_200k_tokens",
          NGX_LLM_PRICE_CACHE_WRITE_1H, 0, 200000 },
        { "input_cost_per_image_token_batches", NGX_LLM_PRICE_IMAGE_IN,
          NGX_LLM_PRICE_BATCH, 0 },
        { "output_cost_per_image", NGX_LLM_PRICE_PICTURE_OUT, 0, 0 },
        { "input_cost_per_query", NGX_LLM_PRICE_QUERY, 0, 0 }
    };

    static const char *const  others[] = {
        "", "mode", "input_cost_per_tokens", "input_cost_per_token_cache_hit",
        "input_cost_per_token_above_k_tokens",
        "input_cost_per_token_above_200k", "input_cost_per_token_ultrafast",
        "input_cost_per_token_flex_flex", "output_cost_per_image_1K",
        "input_cost_per_token_flex_above_9k_tokens_flex",
        "input_cost_per_token_above_0k_tokens",
        "input_cost_per_token_above_999999999k_tokens",
        "cache_creation_input_token_cost_above_12hr",
        "output_cost_per_second_1080p"
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        ok(ngx_llm_price_member(rows[i].name, strlen(rows[i].name), &rate)
           == NGX_OK
           && rate.unit == rows[i].unit && rate.tier == rows[i].tier
           && rate.above == rows[i].above, "%s is a price", rows[i].name);
    }

    for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        ok(ngx_llm_price_member(others[i], strlen(others[i]), &rate)
           == NGX_DECLINED, "\"%s\" is not a price", others[i]);
    }
}


static void
units(void)
{
    size_t           i;
    ngx_llm_price_t  price;

    static const ngx_llm_price_rate_t  rates[] = {
        { 40 * M, 0, NGX_LLM_PRICE_AUDIO_IN, 0 },
        { 80 * M, 0, NGX_LLM_PRICE_AUDIO_OUT, 0 },
        { 5 * M, 0, NGX_LLM_PRICE_IMAGE_IN, 0 },
        { 30 * M, 0, NGX_LLM_PRICE_IMAGE_OUT, 0 },
        { 4 * M, 0, NGX_LLM_PRICE_REASONING, 0 },
        { 6 * M, 0, NGX_LLM_PRICE_CACHE_WRITE_1H, 0 },
        { 20 * M, 0, NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_PRIORITY },
        { 50 * M, 0, NGX_LLM_PRICE_OUTPUT, NGX_LLM_PRICE_PRIORITY },
        { 200 * M, 1000, NGX_LLM_PRICE_INPUT, 0 },
        { 300 * M, 1000, NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_PRIORITY },
    };

    static const ngx_llm_price_rate_t  others[] = {
        { 40000 * (int64_t) M, 0, NGX_LLM_PRICE_PICTURE_OUT, 0 },
        { 100 * M, 0, NGX_LLM_PRICE_SECOND_IN, 0 },
        { 100 * M, 0, NGX_LLM_PRICE_SECOND_OUT, 0 },
        { 15 * M, 0, NGX_LLM_PRICE_CHARACTER_IN, 0 },
        { 2000 * M, 0, NGX_LLM_PRICE_QUERY, 0 },
        { 1000 * M, 0, NGX_LLM_PRICE_PAGE, 0 }
    };

    static const struct {
        const char       *claim;
        ngx_llm_usage_t   usage;
        int64_t           want;
    } tokens[] = {
        { "audio and image tokens of the prompt at their own price",
          { .prompt = 100, .audio_in = 30, .image_in = 20 },
          (50 * 1 + 30 * 40 + 20 * 5) * 1000 },
        { "audio and image tokens of the completion at their own price",
          { .completion = 100, .audio_out = 30, .image_out = 20 },
          (50 * 2 + 30 * 80 + 20 * 30) * 1000 },
        { "reasoning at its own price",
          { .prompt = 10, .completion = 100, .reasoning = 60 },
          (10 + 40 * 2 + 60 * 4) * 1000 },
        { "cache writes of an hour at their own price",
          { .prompt = 100, .cache_write = 80, .cache_write_1h = 50 },
          (20 + 30 * 3 + 50 * 6) * 1000 },
        { "a tier has its own prices",
          { .prompt = 10, .completion = 10, .tier = NGX_LLM_PRICE_PRIORITY },
          (10 * 20 + 10 * 50) * 1000 },
        { "reasoning of a tier has the tier's price of output",
          { .completion = 10, .reasoning = 10,
            .tier = NGX_LLM_PRICE_PRIORITY }, 10 * 50 * 1000 },
        { "a tier without prices has those of the default tier",
          { .prompt = 10, .tier = NGX_LLM_PRICE_FLEX }, 10 * 1000 },
        { "a prompt of the threshold is not above it",
          { .prompt = 1000 }, 1000 * 1000 },
        { "a prompt above the threshold is dearer as a whole",
          { .prompt = 1001 }, 1001 * 200 * 1000 },
        { "  in a tier as well",
          { .prompt = 1001, .tier = NGX_LLM_PRICE_PRIORITY },
          1001 * 300 * 1000 },
        { "  and with the default price in a tier without a threshold",
          { .prompt = 1001, .tier = NGX_LLM_PRICE_FLEX },
          1001 * 200 * 1000 }
    };

    static const struct {
        const char       *claim;
        ngx_llm_usage_t   usage;
        int64_t           want;
    } counts[] = {
        { "images by number", { .images = 3 }, 3 * INT64_C(40000000) },
        { "seconds by one price", { .seconds = 60 }, 60 * 100000 },
        { "characters", { .characters = 1000 }, 1000 * 15000 },
        { "queries", { .queries = 2 }, 2 * 2000000 },
        { "pages", { .pages = 7 }, 7 * 1000000 },
        { "images whose tokens have no price are charged once",
          { .images = 1, .completion = 1056 }, 40000000 },
        { "tokens without a price: unknown", { .prompt = 1 }, -1 }
    };

    memset(&price, 0, sizeof(price));

    price.input = M;
    price.output = 2 * M;
    price.cached = M / 2;
    price.cache_write = 3 * M;
    price.rates = rates;
    price.nrates = sizeof(rates) / sizeof(rates[0]);

    for (i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
        is_int(ngx_llm_price_cost(&price, &tokens[i].usage), tokens[i].want,
               tokens[i].claim);
    }

    is_int(ngx_llm_price_estimate(&price, 1001, 10, NULL), 1001 * 200000 + 20000,
           "an estimate above the threshold has its price");

    ngx_llm_price_init(&price);

    price.rates = others;
    price.nrates = sizeof(others) / sizeof(others[0]);

    for (i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        is_int(ngx_llm_price_cost(&price, &counts[i].usage), counts[i].want,
               counts[i].claim);
    }

    ok(!ngx_llm_price_covers(&price, NGX_LLM_PRICE_FOR_TEXT)
       && ngx_llm_price_covers(&price, NGX_LLM_PRICE_FOR_IMAGES)
       && ngx_llm_price_covers(&price, NGX_LLM_PRICE_FOR_SPEECH),
       "prices of pictures and characters do not cover text");

    ngx_llm_price_init(&price);

    price.input = M;
    ok(!ngx_llm_price_covers(&price, NGX_LLM_PRICE_FOR_TEXT)
       && !ngx_llm_price_covers(&price, NGX_LLM_PRICE_FOR_IMAGES)
       && ngx_llm_price_covers(&price, NGX_LLM_PRICE_FOR_VECTORS),
       "a price of input alone covers embeddings only");
}


static void
amounts(void)
{
    size_t     i;
    int64_t    nano;
    ngx_str_t  text;

    static const struct {
        const char  *text;
        int64_t      want;           /* -2: invalid */
    } rows[] = {
        { "0", 0 }, { "1", 1000000000 }, { "0.00014", 140000 },
        { "1.4e-4", 140000 }, { "1.4E-04", 140000 }, { "12e+2", INT64_C(1200000000000) }, { "0.0000000001", 1 },
        { "0.000123456", 123456 }, { "0.0001234560001", 123457 },
        { "1e99", MAX }, { "0e99", 0 }, { "1e-99", 1 },
        { "0.00012345600000000000000000", 123456 },
        { "-1", -2 }, { "", -2 }, { "1e", -2 }, { "1e+", -2 }, { ".5", -2 },
        { "1x", -2 }, { "1.2.3", -2 }
    };

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        nano = -2;
        text.data = (u_char *) rows[i].text;
        text.len = strlen(rows[i].text);
        (void) ngx_llm_members_amount(&text, &nano);
        is_int(nano, rows[i].want, rows[i].text);
    }
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
