/*
 * ngx_llm_number.c: the value of a JSON number if it is a small integer.  The
 * lexer has checked the grammar of the number before.  Called once for each
 * token limit of a body.
 */

#include "ngx_llm_number.h"


#define NGX_LLM_NUMBER_DIGITS    18          /* fit into 64 bits */
#define NGX_LLM_NUMBER_EXPONENT  1000000000  /* more than a body has digits */


static ngx_int_t ngx_llm_number_mantissa(const u_char **pos,
    const u_char *last, uint64_t *n, int64_t *exponent);
static int64_t ngx_llm_number_exponent(const u_char *p, const u_char *last);


ngx_int_t
ngx_llm_number_integer(const u_char *p, const u_char *last, uint64_t *n)
{
    int64_t     exponent;
    ngx_uint_t  minus;

    minus = (p < last && *p == '-');
    p += minus;

    if (p == last || *p < '0' || *p > '9') {
        return NGX_ERROR;
    }

    if (ngx_llm_number_mantissa(&p, last, n, &exponent) != NGX_OK) {
        return NGX_ERROR;
    }

    if (*n == 0) {
        return NGX_OK;
    }

    exponent += ngx_llm_number_exponent(p, last);

    /* n does not end in a zero: a negative exponent leaves a fraction */

    if (minus || exponent < 0 || exponent > NGX_LLM_NUMBER_DIGITS) {
        return NGX_ERROR;
    }

    while (exponent--) {
        *n *= 10;

        if (*n >= 1000000000000000000) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * Reads the digits up to the exponent: the number is *n times 10 to the power
 * of *exponent, and *n does not end in a zero unless it is 0.  Returns
 * NGX_ERROR if *n has too many digits.
 */

static ngx_int_t
ngx_llm_number_mantissa(const u_char **pos, const u_char *last, uint64_t *n,
    int64_t *exponent)
{
    int64_t        zeros;
    ngx_uint_t     digits, fraction;
    const u_char  *p;

    *n = 0;
    *exponent = 0;
    zeros = 0;
    digits = 0;
    fraction = 0;

    for (p = *pos; p < last && *p != 'e' && *p != 'E'; p++) {

        if (*p == '.') {
            fraction = 1;
            continue;
        }

        *exponent -= fraction;

        if (*p == '0') {
            zeros += (digits != 0);
            continue;
        }

        if (zeros + 1 > NGX_LLM_NUMBER_DIGITS - (int64_t) digits) {
            return NGX_ERROR;
        }

        for (digits += zeros + 1; zeros; zeros--) {
            *n *= 10;
        }

        *n = *n * 10 + (*p - '0');
    }

    *exponent += zeros;
    *pos = p;

    return NGX_OK;
}


/* Returns the value of "e+NN" at p, limited, or 0 if p is last. */

static int64_t
ngx_llm_number_exponent(const u_char *p, const u_char *last)
{
    int64_t     value;
    ngx_uint_t  minus;

    if (p == last) {
        return 0;
    }

    p++;
    minus = (p < last && *p == '-');

    if (p < last && (*p == '-' || *p == '+')) {
        p++;
    }

    for (value = 0; p < last && value < NGX_LLM_NUMBER_EXPONENT; p++) {
        value = value * 10 + (*p - '0');
    }

    return minus ? -value : value;
}


ngx_uint_t
ngx_llm_number_negative(const u_char *p, const u_char *last)
{
    if (p == last || *p != '-') {
        return 0;
    }

    for (p++; p < last && *p != 'e' && *p != 'E'; p++) {

        if (*p >= '1' && *p <= '9') {
            return 1;
        }
    }

    return 0;
}
