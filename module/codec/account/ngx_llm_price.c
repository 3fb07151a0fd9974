/*
 * ngx_llm_price.c: prices read, costs computed and written.
 *
 * Integers all the way, so that a sum of many small costs is what the bills
 * add up to.  Used by the price file, the price parameter and whoever settles
 * a request.
 */

#include <ngx_llm_price.h>


#define NGX_LLM_PRICE_PLACES  6      /* of $ per million, as pico-USD has */


typedef struct {                     /* a sum of products */
    int64_t     nano;
    int64_t     pico;                /* less than 1000 */
    ngx_uint_t  unknown;
} ngx_llm_price_sum_t;


static const u_char *ngx_llm_price_decimal(const u_char *p,
    const u_char *last, int64_t *value);
static void ngx_llm_price_add(ngx_llm_price_sum_t *sum, int64_t tokens,
    int64_t price);
static int64_t ngx_llm_price_total(const ngx_llm_price_sum_t *sum);
static int64_t ngx_llm_price_output(const ngx_llm_usage_t *usage);
static ngx_inline int64_t ngx_llm_price_part(int64_t tokens, int64_t most);


ngx_int_t
ngx_llm_price_parse(const u_char *text, size_t len, ngx_llm_price_t *price)
{
    size_t         i;
    const u_char  *p, *last;

    int64_t  *items[] = { &price->input, &price->output, &price->cached };

    price->cached = NGX_LLM_PRICE_UNKNOWN;
    price->cache_write = NGX_LLM_PRICE_UNKNOWN;

    p = text;
    last = text + len;

    for (i = 0; i < 3; i++) {

        p = ngx_llm_price_decimal(p, last, items[i]);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (p == last) {
            return i ? NGX_OK : NGX_ERROR;
        }

        if (*p++ != ',') {
            return NGX_ERROR;
        }
    }

    return NGX_ERROR;
}


/* what follows it, or NULL: it is none, or too large */

static const u_char *
ngx_llm_price_decimal(const u_char *p, const u_char *last, int64_t *value)
{
    int64_t        n;
    ngx_uint_t     places;
    const u_char  *start;

    n = 0;
    start = p;

    for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');

        if (n > NGX_LLM_PRICE_MAX) {
            return NULL;
        }
    }

    if (p == start) {
        return NULL;
    }

    places = 0;

    if (p < last && *p == '.') {
        start = ++p;

        for ( /* void */ ; p < last && *p >= '0' && *p <= '9'; p++) {

            if (++places > NGX_LLM_PRICE_PLACES) {
                return NULL;
            }

            n = n * 10 + (*p - '0');
        }

        if (p == start) {
            return NULL;
        }
    }

    for ( /* void */ ; places < NGX_LLM_PRICE_PLACES; places++) {
        n *= 10;
    }

    *value = n;

    return (n <= NGX_LLM_PRICE_MAX) ? p : NULL;
}


int64_t
ngx_llm_price_per_token(double usd)
{
    /* a NaN is in no range */

    if (!(usd >= 0 && usd <= 1)) {
        return NGX_LLM_PRICE_UNKNOWN;
    }

    return (int64_t) (usd * NGX_LLM_PRICE_MAX + 0.5);
}


int64_t
ngx_llm_price_cost(const ngx_llm_price_t *price, const ngx_llm_usage_t *usage)
{
    int64_t              prompt, cached, write;
    ngx_llm_price_sum_t  sum = { 0, 0, 0 };

    if (usage->prompt < 0) {
        return NGX_LLM_PRICE_UNKNOWN;
    }

    prompt = usage->prompt;
    cached = ngx_llm_price_part(usage->cached, prompt);
    write = ngx_llm_price_part(usage->cache_write, prompt - cached);

    ngx_llm_price_add(&sum, prompt - cached - write, price->input);
    ngx_llm_price_add(&sum, cached,
                      (price->cached < 0) ? price->input : price->cached);
    ngx_llm_price_add(&sum, write, (price->cache_write < 0)
                                   ? price->input : price->cache_write);
    ngx_llm_price_add(&sum, ngx_llm_price_output(usage), price->output);

    return ngx_llm_price_total(&sum);
}


/* nano-USD and what is left of them; the product fits 64 bits nearly always */

static void
ngx_llm_price_add(ngx_llm_price_sum_t *sum, int64_t tokens, int64_t price)
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


/* rounded up, or ..._UNKNOWN */

static int64_t
ngx_llm_price_total(const ngx_llm_price_sum_t *sum)
{
    if (sum->unknown) {
        return NGX_LLM_PRICE_UNKNOWN;
    }

    return sum->nano + (sum->pico != 0 && sum->nano < INT64_MAX);
}


static int64_t
ngx_llm_price_output(const ngx_llm_usage_t *usage)
{
    int64_t  rest;

    /* embeddings have no completion; others may leave it to be computed */

    if (usage->total <= usage->prompt) {
        return (usage->completion < 0) ? 0 : usage->completion;
    }

    rest = usage->total - usage->prompt;

    if (usage->completion < 0) {
        return rest;
    }

    /* reasoning beside completion, as the total tells */

    if (usage->reasoning > 0 && rest > usage->completion
        && rest - usage->completion == usage->reasoning)
    {
        return rest;
    }

    return usage->completion;
}


static ngx_inline int64_t
ngx_llm_price_part(int64_t tokens, int64_t most)
{
    return (tokens < 0) ? 0 : (tokens > most) ? most : tokens;
}


int64_t
ngx_llm_price_estimate(const ngx_llm_price_t *price, int64_t prompt,
    int64_t completion)
{
    ngx_llm_price_sum_t  sum = { 0, 0, 0 };

    ngx_llm_price_add(&sum, prompt, price->input);
    ngx_llm_price_add(&sum, completion, price->output);

    return ngx_llm_price_total(&sum);
}


u_char *
ngx_llm_price_print(u_char *p, int64_t nano)
{
    size_t   i, n;
    u_char   digits[NGX_LLM_PRICE_LEN];

    n = 0;

    do {
        digits[n++] = (u_char) ('0' + nano % 10);
        nano /= 10;
    } while (nano || n < 10);

    for (i = n; i > 0; i--) {

        if (i == 9) {
            *p++ = '.';
        }

        *p++ = digits[i - 1];
    }

    return p;
}
