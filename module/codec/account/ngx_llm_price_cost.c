/*
 * ngx_llm_price_cost.c: the cost of a usage.
 *
 * All arithmetic is on integers, so that the costs of many requests add up to
 * the provider's bill.  A part of the prompt or of the completion that has no
 * price of its own has the price of the whole.
 */

#include <ngx_llm_price.h>


typedef struct {                     /* a sum of products */
    int64_t                nano;
    int64_t                pico;     /* less than 1000 */
    ngx_uint_t             unknown;
    const ngx_llm_price_t *price;
    ngx_uint_t             tier;
    int64_t                prompt;   /* tokens, for thresholds */
} ngx_llm_price_sum_t;


static ngx_uint_t ngx_llm_price_cost_tokens(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage);
static int64_t ngx_llm_price_cost_units(const ngx_llm_price_t *price,
    int64_t prompt, int64_t completion, const ngx_llm_price_units_t *units);
static void ngx_llm_price_cost_prompt(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage);
static void ngx_llm_price_cost_completion(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage);
static int64_t ngx_llm_price_cost_reasoning(ngx_llm_price_sum_t *sum);
static ngx_uint_t ngx_llm_price_cost_pictures(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage);
static void ngx_llm_price_cost_count(ngx_llm_price_sum_t *sum, int64_t n,
    ngx_llm_price_unit_e unit, ngx_llm_price_unit_e other);
static int64_t ngx_llm_price_cost_first(ngx_llm_price_sum_t *sum,
    ngx_llm_price_unit_e unit, ngx_llm_price_unit_e other,
    ngx_llm_price_unit_e last);
static void ngx_llm_price_cost_add(ngx_llm_price_sum_t *sum,
    int64_t tokens, int64_t price);
static int64_t ngx_llm_price_cost_total(const ngx_llm_price_sum_t *sum);
static int64_t ngx_llm_price_cost_output(const ngx_llm_usage_t *usage);
static ngx_inline int64_t ngx_llm_price_cost_part(int64_t tokens,
    int64_t most);


int64_t
ngx_llm_price_cost(const ngx_llm_price_t *price, const ngx_llm_usage_t *usage)
{
    ngx_uint_t           tokens;
    ngx_llm_price_sum_t  sum;

    ngx_memzero(&sum, sizeof(ngx_llm_price_sum_t));

    sum.price = price;
    sum.tier = (usage->tier < 0) ? NGX_LLM_PRICE_DEFAULT
                                 : (ngx_uint_t) usage->tier;
    sum.prompt = (usage->prompt < 0) ? 0 : usage->prompt;

    if (usage->prompt < 0 && usage->images <= 0 && usage->seconds <= 0
        && usage->characters <= 0 && usage->queries <= 0 && usage->pages <= 0)
    {
        return NGX_LLM_PRICE_UNKNOWN;
    }

    tokens = ngx_llm_price_cost_tokens(&sum, usage);

    /* seconds and characters are the same content in another unit */

    if (!tokens) {
        ngx_llm_price_cost_count(&sum, usage->seconds, NGX_LLM_PRICE_SECOND_IN,
                                 NGX_LLM_PRICE_SECOND_OUT);
        ngx_llm_price_cost_count(&sum, usage->characters,
                                 NGX_LLM_PRICE_CHARACTER_IN,
                                 NGX_LLM_PRICE_CHARACTER_OUT);
    }

    if (!tokens || ngx_llm_price_rate(price, NGX_LLM_PRICE_QUERY, 0, 0) >= 0) {
        ngx_llm_price_cost_count(&sum, usage->queries, NGX_LLM_PRICE_QUERY,
                                 NGX_LLM_PRICE_QUERY);
    }

    if (!tokens || ngx_llm_price_rate(price, NGX_LLM_PRICE_PAGE, 0, 0) >= 0) {
        ngx_llm_price_cost_count(&sum, usage->pages, NGX_LLM_PRICE_PAGE,
                                 NGX_LLM_PRICE_PAGE);
    }

    return ngx_llm_price_cost_total(&sum);
}


/* Adds tokens and pictures; returns 1 if the usage has tokens. */

static ngx_uint_t
ngx_llm_price_cost_tokens(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage)
{
    int64_t  completion;

    completion = ngx_llm_price_cost_output(usage);

    ngx_llm_price_cost_prompt(sum, usage);

    if (ngx_llm_price_cost_pictures(sum, usage)) {

        /* tokens without a price are the same pictures in another unit */

        if (ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_OUTPUT,
                                     NGX_LLM_PRICE_IMAGE_OUT,
                                     NGX_LLM_PRICE_AUDIO_OUT)
            < 0)
        {
            return sum->prompt > 0 || completion > 0;
        }
    }

    ngx_llm_price_cost_completion(sum, usage);

    return sum->prompt > 0 || completion > 0;
}


static void
ngx_llm_price_cost_prompt(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage)
{
    int64_t  rest, cached, write, hour, audio, image, input, price, kept;

    rest = sum->prompt;
    cached = ngx_llm_price_cost_part(usage->cached, rest);
    rest -= cached;
    write = ngx_llm_price_cost_part(usage->cache_write, rest);
    rest -= write;
    audio = ngx_llm_price_cost_part(usage->audio_in, rest);
    rest -= audio;
    image = ngx_llm_price_cost_part(usage->image_in, rest);
    rest -= image;

    hour = ngx_llm_price_cost_part(usage->cache_write_1h, write);

    input = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_INPUT,
                                     NGX_LLM_PRICE_AUDIO_IN,
                                     NGX_LLM_PRICE_INPUT);

    ngx_llm_price_cost_add(sum, rest, input);

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_CACHED,
                                     NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_INPUT);
    ngx_llm_price_cost_add(sum, cached, price);

    kept = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_CACHE_WRITE,
                                    NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_INPUT);
    ngx_llm_price_cost_add(sum, write - hour, kept);

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_CACHE_WRITE_1H,
                                     NGX_LLM_PRICE_CACHE_WRITE,
                                     NGX_LLM_PRICE_INPUT);
    ngx_llm_price_cost_add(sum, hour, price);

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_AUDIO_IN,
                                     NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_INPUT);
    ngx_llm_price_cost_add(sum, audio, price);

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_IMAGE_IN,
                                     NGX_LLM_PRICE_INPUT, NGX_LLM_PRICE_INPUT);
    ngx_llm_price_cost_add(sum, image, price);
}


static void
ngx_llm_price_cost_completion(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage)
{
    int64_t  rest, audio, image, reasoning, price;

    rest = ngx_llm_price_cost_output(usage);
    audio = ngx_llm_price_cost_part(usage->audio_out, rest);
    rest -= audio;
    image = ngx_llm_price_cost_part(usage->image_out, rest);
    rest -= image;
    reasoning = ngx_llm_price_cost_part(usage->reasoning, rest);
    rest -= reasoning;

    /* all tokens of a model that only makes images are those of images */

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_OUTPUT,
                                     NGX_LLM_PRICE_IMAGE_OUT,
                                     NGX_LLM_PRICE_AUDIO_OUT);
    ngx_llm_price_cost_add(sum, rest, price);

    ngx_llm_price_cost_add(sum, reasoning, ngx_llm_price_cost_reasoning(sum));

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_AUDIO_OUT,
                                     NGX_LLM_PRICE_OUTPUT,
                                     NGX_LLM_PRICE_OUTPUT);
    ngx_llm_price_cost_add(sum, audio, price);

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_IMAGE_OUT,
                                     NGX_LLM_PRICE_OUTPUT,
                                     NGX_LLM_PRICE_OUTPUT);
    ngx_llm_price_cost_add(sum, image, price);
}


/*
 * The price of reasoning applies unless the price of output matches the tier
 * or the length of the prompt more closely, since providers sell reasoning as
 * output.
 */

static int64_t
ngx_llm_price_cost_reasoning(ngx_llm_price_sum_t *sum)
{
    int64_t  output, reasoning, level, closer;

    output = ngx_llm_price_match(sum->price, NGX_LLM_PRICE_OUTPUT, sum->tier,
                                 sum->prompt, &closer);
    reasoning = ngx_llm_price_match(sum->price, NGX_LLM_PRICE_REASONING,
                                    sum->tier, sum->prompt, &level);

    return (reasoning < 0 || level < closer) ? output : reasoning;
}


/* Returns 1 if the images of the response are charged by their number. */

static ngx_uint_t
ngx_llm_price_cost_pictures(ngx_llm_price_sum_t *sum,
    const ngx_llm_usage_t *usage)
{
    int64_t  price;

    if (usage->images <= 0
        || (ngx_llm_price_cost_output(usage) > 0
            && ngx_llm_price_rate(sum->price, NGX_LLM_PRICE_IMAGE_OUT,
                                  sum->tier, sum->prompt)
               >= 0))
    {
        return 0;
    }

    price = ngx_llm_price_cost_first(sum, NGX_LLM_PRICE_PICTURE_OUT,
                                     NGX_LLM_PRICE_PICTURE_IN,
                                     NGX_LLM_PRICE_PICTURE_OUT);

    if (price < 0 && ngx_llm_price_cost_output(usage) > 0) {
        return 0;
    }

    ngx_llm_price_cost_add(sum, usage->images, price);

    return 1;
}


static void
ngx_llm_price_cost_count(ngx_llm_price_sum_t *sum, int64_t n,
    ngx_llm_price_unit_e unit, ngx_llm_price_unit_e other)
{
    if (n > 0) {
        ngx_llm_price_cost_add(sum, n,
                               ngx_llm_price_cost_first(sum, unit, other,
                                                        unit));
    }
}


/* Returns the price of the first of these units that has one. */

static int64_t
ngx_llm_price_cost_first(ngx_llm_price_sum_t *sum, ngx_llm_price_unit_e unit,
    ngx_llm_price_unit_e other, ngx_llm_price_unit_e last)
{
    int64_t  price;

    price = ngx_llm_price_rate(sum->price, unit, sum->tier, sum->prompt);

    if (price < 0) {
        price = ngx_llm_price_rate(sum->price, other, sum->tier, sum->prompt);
    }

    if (price < 0) {
        price = ngx_llm_price_rate(sum->price, last, sum->tier, sum->prompt);
    }

    return price;
}


/* The product fits 64 bits unless count and price are both extreme. */

static void
ngx_llm_price_cost_add(ngx_llm_price_sum_t *sum, int64_t tokens,
    int64_t price)
{
    int64_t   pico;
    __int128  wide;

    if (tokens == 0) {
        return;
    }

    if (price < 0) {
        sum->unknown = 1;
        return;
    }

    if (!__builtin_mul_overflow(tokens, price, &pico)
        && !__builtin_add_overflow(pico, sum->pico, &pico))
    {
        wide = pico / 1000;
        sum->pico = pico % 1000;

    } else {
        wide = (__int128) tokens * price + sum->pico;
        sum->pico = (int64_t) (wide % 1000);
        wide /= 1000;
    }

    wide += sum->nano;
    sum->nano = (wide < INT64_MAX) ? (int64_t) wide : INT64_MAX;
}


/* Rounds up, or returns NGX_LLM_PRICE_UNKNOWN. */

static int64_t
ngx_llm_price_cost_total(const ngx_llm_price_sum_t *sum)
{
    if (sum->unknown) {
        return NGX_LLM_PRICE_UNKNOWN;
    }

    return sum->nano + (sum->pico != 0 && sum->nano < INT64_MAX);
}


static int64_t
ngx_llm_price_cost_output(const ngx_llm_usage_t *usage)
{
    int64_t  rest;

    /* without a completion of its own a usage may have one in its total */

    if (usage->total <= usage->prompt) {
        return (usage->completion < 0) ? 0 : usage->completion;
    }

    rest = usage->total - usage->prompt;

    if (usage->completion < 0) {
        return rest;
    }

    /* tokens of the total that are neither prompt nor completion are output */

    return ngx_max(rest, usage->completion);
}


static ngx_inline int64_t
ngx_llm_price_cost_part(int64_t tokens, int64_t most)
{
    return (tokens < 0) ? 0 : (tokens > most) ? most : tokens;
}


int64_t
ngx_llm_price_estimate(const ngx_llm_price_t *price, int64_t prompt,
    int64_t completion, const ngx_llm_price_units_t *units)
{
    ngx_llm_price_sum_t  sum;

    if (units && (units->images || units->seconds || units->characters)) {
        return ngx_llm_price_cost_units(price, prompt, completion, units);
    }

    ngx_memzero(&sum, sizeof(ngx_llm_price_sum_t));

    sum.price = price;
    sum.prompt = prompt;

    ngx_llm_price_cost_add(&sum, prompt,
                      ngx_llm_price_cost_first(&sum, NGX_LLM_PRICE_INPUT,
                                               NGX_LLM_PRICE_AUDIO_IN,
                                               NGX_LLM_PRICE_INPUT));
    ngx_llm_price_cost_add(&sum, completion,
                      ngx_llm_price_cost_first(&sum, NGX_LLM_PRICE_OUTPUT,
                                               NGX_LLM_PRICE_IMAGE_OUT,
                                               NGX_LLM_PRICE_AUDIO_OUT));

    return ngx_llm_price_cost_total(&sum);
}


static int64_t
ngx_llm_price_cost_units(const ngx_llm_price_t *price, int64_t prompt,
    int64_t completion, const ngx_llm_price_units_t *units)
{
    int64_t          cost;
    ngx_llm_usage_t  usage;

    memset(&usage, 0xff, sizeof(ngx_llm_usage_t));

    usage.prompt = prompt;
    usage.completion = completion;
    usage.total = prompt + completion;
    usage.images = units->images ? units->images : -1;

    cost = ngx_llm_price_cost(price, &usage);

    if (units->seconds || units->characters) {
        memset(&usage, 0xff, sizeof(ngx_llm_usage_t));

        usage.seconds = units->seconds;
        usage.characters = units->characters;

        cost = ngx_max(cost, ngx_llm_price_cost(price, &usage));
    }

    return cost;
}
