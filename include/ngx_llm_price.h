/*
 * ngx_llm_price.h: what tokens cost, in integers.
 *
 * A price is pico-USD per token, which is $0.000001 per million tokens; an
 * amount is nano-USD.  Nothing in between is rounded.
 */

#ifndef _NGX_LLM_PRICE_H_INCLUDED_
#define _NGX_LLM_PRICE_H_INCLUDED_


#include <ngx_llm_usage.h>


#define NGX_LLM_PRICE_UNKNOWN  (-1)
#define NGX_LLM_PRICE_MAX      1000000000000  /* $1 per token */
#define NGX_LLM_PRICE_LEN      20    /* of an amount as text, at most */


typedef struct {                     /* pico-USD per token; -1: not known */
    int64_t     input;
    int64_t     output;
    int64_t     cached;              /* -1: as input */
    int64_t     cache_write;         /* -1: as input */
} ngx_llm_price_t;


/*
 * IN,OUT[,CACHED] in $ per million tokens: decimals without sign or exponent,
 * up to 6 places, up to 1000000.  NGX_OK, or NGX_ERROR: *price is undefined.
 */
ngx_int_t ngx_llm_price_parse(const u_char *text, size_t len,
    ngx_llm_price_t *price);

/* $ per token, to the nearest pico-USD; -1: not in 0..1 */
int64_t ngx_llm_price_per_token(double usd);

/*
 * The cost of these tokens in nano-USD, rounded up once; an amount beyond
 * int64_t is INT64_MAX.  NGX_LLM_PRICE_UNKNOWN: prompt is not given, or there
 * are tokens whose price is not known.
 */
int64_t ngx_llm_price_cost(const ngx_llm_price_t *price,
    const ngx_llm_usage_t *usage);

/* the same of so many tokens of each, nothing of them cached */
int64_t ngx_llm_price_estimate(const ngx_llm_price_t *price, int64_t prompt,
    int64_t completion);

/*
 * Writes an amount, nano-USD from 0, as USD with nine decimals: at most
 * NGX_LLM_PRICE_LEN bytes and no NUL.  Its end.
 */
u_char *ngx_llm_price_print(u_char *p, int64_t nano);


#endif /* _NGX_LLM_PRICE_H_INCLUDED_ */
