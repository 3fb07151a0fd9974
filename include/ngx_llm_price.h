/*
 * ngx_llm_price.h: prices of a model, and the cost of a usage, in integers.
 *
 * A price is in pico-USD per unit; one pico-USD per token is $0.000001 per
 * million tokens.  An amount is in nano-USD.  Only the final sum is rounded.
 */

#ifndef _NGX_LLM_PRICE_H_INCLUDED_
#define _NGX_LLM_PRICE_H_INCLUDED_


#include <ngx_llm_price_unit.h>
#include <ngx_llm_usage.h>


#define NGX_LLM_PRICE_UNKNOWN  (-1)
#define NGX_LLM_PRICE_MAX      1000000000000  /* $1 per unit */
#define NGX_LLM_PRICE_LEN      20    /* of an amount as text, at most */


typedef struct {
    int64_t     input;               /* pico-USD per token, -1: unknown; */
    int64_t     output;              /* these four: in the default tier, */
    int64_t     cached;              /* for any prompt */
    int64_t     cache_write;

    const ngx_llm_price_rate_t  *rates;  /* all other prices, or NULL */
    uint32_t    nrates;
    uint32_t    context;             /* tokens of input at most, 0: unknown */
    ngx_llm_price_for_e  mode;       /* of the model, FOR_ANY: unknown */
    unsigned    priced:1;            /* a response of some kind is covered */
} ngx_llm_price_t;


typedef struct {                     /* 0: none */
    int64_t     images;              /* pictures of the response */
    int64_t     seconds;             /* of audio in the request */
    int64_t     characters;          /* of text to speak */
} ngx_llm_price_units_t;


/* Initializes a price without any known rate. */
void ngx_llm_price_init(ngx_llm_price_t *price);

/*
 * Reads IN,OUT[,CACHED] in $ per million tokens: decimals without sign or
 * exponent, up to 6 places, up to 1000000.  Returns NGX_OK or NGX_ERROR; after
 * an error *price is undefined.
 */
ngx_int_t ngx_llm_price_parse(const u_char *text, size_t len,
    ngx_llm_price_t *price);

/* Converts $ per unit to the nearest pico-USD; returns -1 outside of 0..1. */
int64_t ngx_llm_price_per_token(double usd);

/*
 * Reads the name of a price in LiteLLM's format, which need not end with NUL.
 * Fills in unit, tier and above of *rate.  Returns NGX_DECLINED if the name is
 * another member's.
 */
ngx_int_t ngx_llm_price_member(const char *name, size_t len,
    ngx_llm_price_rate_t *rate);

/*
 * Returns the price of a unit in a tier for a prompt of so many tokens.  The
 * largest threshold below the prompt precedes the tier, and a unit without a
 * price in the tier has that of the default tier.  Returns
 * NGX_LLM_PRICE_UNKNOWN if the unit has no price.
 */
int64_t ngx_llm_price_rate(const ngx_llm_price_t *price,
    ngx_llm_price_unit_e unit, ngx_uint_t tier, int64_t prompt);

/*
 * Returns the same and how closely the price matches in *level: a price of a
 * larger threshold has a higher level, and among prices of one threshold that
 * of the tier has.  *level is -1 if the unit has no price.
 */
int64_t ngx_llm_price_match(const ngx_llm_price_t *price,
    ngx_llm_price_unit_e unit, ngx_uint_t tier, int64_t prompt,
    int64_t *level);

/* Returns 1 if each unit that such a response may have has a price. */
ngx_uint_t ngx_llm_price_covers(const ngx_llm_price_t *price,
    ngx_llm_price_for_e use);

/*
 * Returns the cost of a usage in nano-USD, rounded up once; an amount beyond
 * int64_t is INT64_MAX.  Returns NGX_LLM_PRICE_UNKNOWN if the usage has no
 * prompt and no other unit, or if the price of one of its units is unknown.
 */
int64_t ngx_llm_price_cost(const ngx_llm_price_t *price,
    const ngx_llm_usage_t *usage);

/*
 * Returns the same for tokens in the default tier, none of them cached, and for
 * other units of the request, NULL if it has none.  Seconds and characters are
 * its tokens in another unit: the dearer of both counts.
 */
int64_t ngx_llm_price_estimate(const ngx_llm_price_t *price, int64_t prompt,
    int64_t completion, const ngx_llm_price_units_t *units);

/*
 * Writes an amount, nano-USD from 0, as USD with nine decimals: at most
 * NGX_LLM_PRICE_LEN bytes and no NUL.  Returns the end of the text.
 */
u_char *ngx_llm_price_print(u_char *p, int64_t nano);


#endif /* _NGX_LLM_PRICE_H_INCLUDED_ */
