/*
 * ngx_llm_price.c: reads prices and their names, finds the price of a unit and
 * prints amounts.  Used by the price file, by the price parameter of a target
 * and by ngx_llm_price_cost.c.
 */

#include <ngx_llm_price.h>


#define NGX_LLM_PRICE_PLACES  6      /* decimals of $ per million tokens */

#define NGX_LLM_PRICE_THOUSAND  1000  /* tokens in "k" of _above_Nk_tokens */
#define NGX_LLM_PRICE_ABOVE_MAX  100000000  /* tokens */


typedef struct {
    const char            *name;
    size_t                 len;
    ngx_llm_price_unit_e   unit;
} ngx_llm_price_name_t;


static const u_char *ngx_llm_price_decimal(const u_char *p,
    const u_char *last, int64_t *value);
static ngx_int_t ngx_llm_price_suffix(const char *p, const char *last,
    ngx_llm_price_rate_t *rate);
static const char *ngx_llm_price_above(const char *p, const char *last,
    ngx_llm_price_rate_t *rate);
static ngx_int_t ngx_llm_price_tier_name(const char *p, const char *last,
    ngx_llm_price_rate_t *rate);
static int64_t ngx_llm_price_base(const ngx_llm_price_t *price,
    ngx_llm_price_unit_e unit);
static ngx_uint_t ngx_llm_price_has(const ngx_llm_price_t *price,
    ngx_llm_price_unit_e unit);


#define ngx_llm_price_name(name, unit)                                        \
    { name, sizeof(name) - 1, NGX_LLM_PRICE_##unit }

/* a name that begins with another one stands before it */

static const ngx_llm_price_name_t  ngx_llm_price_names[] = {
    ngx_llm_price_name("input_cost_per_token", INPUT),
    ngx_llm_price_name("output_cost_per_token", OUTPUT),
    ngx_llm_price_name("cache_read_input_token_cost", CACHED),
    ngx_llm_price_name("cache_creation_input_token_cost_above_1hr",
                       CACHE_WRITE_1H),
    ngx_llm_price_name("cache_creation_input_token_cost", CACHE_WRITE),
    ngx_llm_price_name("output_cost_per_reasoning_token", REASONING),
    ngx_llm_price_name("input_cost_per_audio_token", AUDIO_IN),
    ngx_llm_price_name("output_cost_per_audio_token", AUDIO_OUT),
    ngx_llm_price_name("input_cost_per_image_token", IMAGE_IN),
    ngx_llm_price_name("output_cost_per_image_token", IMAGE_OUT),
    ngx_llm_price_name("input_cost_per_image", PICTURE_IN),
    ngx_llm_price_name("output_cost_per_image", PICTURE_OUT),
    ngx_llm_price_name("input_cost_per_second", SECOND_IN),
    ngx_llm_price_name("output_cost_per_second", SECOND_OUT),
    ngx_llm_price_name("input_cost_per_character", CHARACTER_IN),
    ngx_llm_price_name("output_cost_per_character", CHARACTER_OUT),
    ngx_llm_price_name("input_cost_per_query", QUERY),
    ngx_llm_price_name("input_cost_per_page", PAGE),
    ngx_llm_price_name("ocr_cost_per_page", PAGE),
    { NULL, 0, 0 }
};


void
ngx_llm_price_init(ngx_llm_price_t *price)
{
    ngx_memzero(price, sizeof(ngx_llm_price_t));

    price->input = NGX_LLM_PRICE_UNKNOWN;
    price->output = NGX_LLM_PRICE_UNKNOWN;
    price->cached = NGX_LLM_PRICE_UNKNOWN;
    price->cache_write = NGX_LLM_PRICE_UNKNOWN;
}


ngx_int_t
ngx_llm_price_parse(const u_char *text, size_t len, ngx_llm_price_t *price)
{
    size_t         i;
    const u_char  *p, *last;

    int64_t  *items[] = { &price->input, &price->output, &price->cached };

    ngx_llm_price_init(price);

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


/* Returns the end of the number, or NULL if it is invalid or too large. */

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
    /* the negated condition is true for a NaN, too */

    if (!(usd >= 0 && usd <= 1)) {
        return NGX_LLM_PRICE_UNKNOWN;
    }

    return (int64_t) (usd * NGX_LLM_PRICE_MAX + 0.5);
}


ngx_int_t
ngx_llm_price_member(const char *name, size_t len, ngx_llm_price_rate_t *rate)
{
    const ngx_llm_price_name_t  *n;

    for (n = ngx_llm_price_names; n->name; n++) {

        if (len < n->len || memcmp(n->name, name, n->len) != 0) {
            continue;
        }

        rate->unit = (uint8_t) n->unit;

        if (ngx_llm_price_suffix(name + n->len, name + len, rate) == NGX_OK) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* Reads [_TIER][_above_Nk_tokens][_TIER], of which one tier is optional. */

static ngx_int_t
ngx_llm_price_suffix(const char *p, const char *last,
    ngx_llm_price_rate_t *rate)
{
    const char  *above;

    rate->above = 0;
    rate->tier = NGX_LLM_PRICE_DEFAULT;

    for (above = p; above < last; above++) {

        if (*above == '_' && last - above > 7
            && memcmp(above, "_above_", 7) == 0)
        {
            if (above > p
                && ngx_llm_price_tier_name(p, above, rate) != NGX_OK)
            {
                return NGX_DECLINED;
            }

            p = ngx_llm_price_above(above, last, rate);
            break;
        }
    }

    if (p == NULL) {
        return NGX_DECLINED;
    }

    return (p == last) ? NGX_OK : ngx_llm_price_tier_name(p, last, rate);
}


/* Reads _above_N_tokens or _above_Nk_tokens; returns its end, or NULL. */

static const char *
ngx_llm_price_above(const char *p, const char *last,
    ngx_llm_price_rate_t *rate)
{
    int64_t      n;
    const char  *start;

    p += sizeof("_above_") - 1;

    for (n = 0, start = p; p < last && *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');

        if (n > NGX_LLM_PRICE_ABOVE_MAX) {
            return NULL;
        }
    }

    if (p == start) {
        return NULL;
    }

    if (p < last && *p == 'k') {
        n *= NGX_LLM_PRICE_THOUSAND;
        p++;
    }

    if (n == 0 || n > NGX_LLM_PRICE_ABOVE_MAX
        || last - p < 7 || memcmp(p, "_tokens", 7) != 0)
    {
        return NULL;
    }

    rate->above = (uint32_t) n;

    return p + sizeof("_tokens") - 1;
}


static ngx_int_t
ngx_llm_price_tier_name(const char *p, const char *last,
    ngx_llm_price_rate_t *rate)
{
    size_t      len;
    ngx_uint_t  i;

    static const struct {
        const char            *name;
        ngx_llm_price_tier_e   tier;
    } tiers[] = {
        { "_priority", NGX_LLM_PRICE_PRIORITY },
        { "_flex", NGX_LLM_PRICE_FLEX },
        { "_batches", NGX_LLM_PRICE_BATCH }
    };

    if (rate->tier != NGX_LLM_PRICE_DEFAULT) {
        return NGX_DECLINED;
    }

    len = last - p;

    for (i = 0; i < sizeof(tiers) / sizeof(tiers[0]); i++) {

        if (strlen(tiers[i].name) == len
            && memcmp(tiers[i].name, p, len) == 0)
        {
            rate->tier = (uint8_t) tiers[i].tier;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


int64_t
ngx_llm_price_rate(const ngx_llm_price_t *price, ngx_llm_price_unit_e unit,
    ngx_uint_t tier, int64_t prompt)
{
    int64_t  level;

    return ngx_llm_price_match(price, unit, tier, prompt, &level);
}


int64_t
ngx_llm_price_match(const ngx_llm_price_t *price, ngx_llm_price_unit_e unit,
    ngx_uint_t tier, int64_t prompt, int64_t *level)
{
    int64_t                      found, match;
    ngx_uint_t                   i;
    const ngx_llm_price_rate_t  *rate;

    found = ngx_llm_price_base(price, unit);
    *level = (found < 0) ? -1 : 0;

    for (i = 0; i < price->nrates; i++) {
        rate = &price->rates[i];

        if (rate->unit != unit
            || (rate->tier != tier && rate->tier != NGX_LLM_PRICE_DEFAULT)
            || (rate->above && prompt <= (int64_t) rate->above))
        {
            continue;
        }

        match = (int64_t) rate->above * 2
                + (rate->tier != NGX_LLM_PRICE_DEFAULT);

        if (match > *level) {
            *level = match;
            found = rate->price;
        }
    }

    return found;
}


static int64_t
ngx_llm_price_base(const ngx_llm_price_t *price, ngx_llm_price_unit_e unit)
{
    switch (unit) {

    case NGX_LLM_PRICE_INPUT:
        return price->input;

    case NGX_LLM_PRICE_OUTPUT:
        return price->output;

    case NGX_LLM_PRICE_CACHED:
        return price->cached;

    case NGX_LLM_PRICE_CACHE_WRITE:
        return price->cache_write;

    default:
        return NGX_LLM_PRICE_UNKNOWN;
    }
}


static ngx_uint_t
ngx_llm_price_has(const ngx_llm_price_t *price, ngx_llm_price_unit_e unit)
{
    return ngx_llm_price_rate(price, unit, NGX_LLM_PRICE_DEFAULT, 0) >= 0;
}


ngx_uint_t
ngx_llm_price_covers(const ngx_llm_price_t *price, ngx_llm_price_for_e use)
{
    ngx_uint_t  input, output;

    input = ngx_llm_price_has(price, NGX_LLM_PRICE_INPUT);
    output = ngx_llm_price_has(price, NGX_LLM_PRICE_OUTPUT);

    switch (use) {

    case NGX_LLM_PRICE_FOR_TEXT:
        return input && output;

    case NGX_LLM_PRICE_FOR_VECTORS:
        return input || ngx_llm_price_has(price, NGX_LLM_PRICE_QUERY)
               || ngx_llm_price_has(price, NGX_LLM_PRICE_PAGE);

    case NGX_LLM_PRICE_FOR_IMAGES:
        return ngx_llm_price_has(price, NGX_LLM_PRICE_PICTURE_OUT)
               || ngx_llm_price_has(price, NGX_LLM_PRICE_PICTURE_IN)
               || (input && (output || ngx_llm_price_has(price,
                                               NGX_LLM_PRICE_IMAGE_OUT)));

    case NGX_LLM_PRICE_FOR_SPEECH:
        return ngx_llm_price_has(price, NGX_LLM_PRICE_CHARACTER_IN)
               || ngx_llm_price_has(price, NGX_LLM_PRICE_CHARACTER_OUT)
               || ngx_llm_price_has(price, NGX_LLM_PRICE_SECOND_OUT)
               || (input && (output || ngx_llm_price_has(price,
                                               NGX_LLM_PRICE_AUDIO_OUT)));

    case NGX_LLM_PRICE_FOR_TRANSCRIPT:
        return ngx_llm_price_has(price, NGX_LLM_PRICE_SECOND_IN)
               || ngx_llm_price_has(price, NGX_LLM_PRICE_SECOND_OUT)
               || (output && (input || ngx_llm_price_has(price,
                                               NGX_LLM_PRICE_AUDIO_IN)));

    default:
        return ngx_llm_price_covers(price, NGX_LLM_PRICE_FOR_VECTORS)
               || ngx_llm_price_covers(price, NGX_LLM_PRICE_FOR_IMAGES)
               || ngx_llm_price_covers(price, NGX_LLM_PRICE_FOR_SPEECH)
               || ngx_llm_price_covers(price, NGX_LLM_PRICE_FOR_TRANSCRIPT);
    }
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
