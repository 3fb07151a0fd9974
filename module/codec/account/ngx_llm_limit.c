/*
 * Limits as text, in both directions.
 */


#include <ngx_llm_limit.h>


static u_char *ngx_llm_limit_fraction(u_char *p, int64_t ms);


ngx_int_t
ngx_llm_limit_number(const u_char *text, size_t len, int64_t *n)
{
    size_t   i;
    int64_t  scale;

    scale = 1;

    if (len) {

        switch (text[len - 1]) {

        case 'k':
            scale = 1000;
            break;

        case 'm':
            scale = 1000000;
            break;

        case 'g':
            scale = 1000000000;
            break;
        }

        len -= (scale != 1);
    }

    if (len == 0) {
        return NGX_ERROR;
    }

    *n = 0;

    for (i = 0; i < len; i++) {

        if (text[i] < '0' || text[i] > '9') {
            return NGX_ERROR;
        }

        *n = *n * 10 + (text[i] - '0');

        if (*n > NGX_LLM_BUCKET_MAX / scale) {
            return NGX_ERROR;
        }
    }

    *n *= scale;

    return NGX_OK;
}


ngx_int_t
ngx_llm_limit_usd(const u_char *text, size_t len, int64_t *n)
{
    size_t      i;
    ngx_int_t   places;
    ngx_uint_t  digits;

    *n = 0;
    places = -1;
    digits = 0;

    for (i = 0; i < len; i++) {

        if (text[i] == '.' && places == -1) {
            places = 0;
            continue;
        }

        if (text[i] < '0' || text[i] > '9' || places == 9) {
            return NGX_ERROR;
        }

        *n = *n * 10 + (text[i] - '0');

        if (*n > NGX_LLM_BUCKET_MAX) {
            return NGX_ERROR;
        }

        digits++;
        places += (places >= 0);
    }

    /* "", ".", "5." are no decimals */

    if (digits == 0 || places == 0) {
        return NGX_ERROR;
    }

    for (places = (places < 0 ? 0 : places); places < 9; places++) {
        *n *= 10;

        if (*n > NGX_LLM_BUCKET_MAX) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_limit_period(const u_char *text, size_t len, int64_t *period)
{
    size_t   i;
    int64_t  unit;

    if (len == 3 && ngx_memcmp(text, "day", 3) == 0) {
        *period = NGX_LLM_PERIOD_DAY;
        return NGX_OK;
    }

    if (len == 5 && ngx_memcmp(text, "month", 5) == 0) {
        *period = NGX_LLM_PERIOD_MONTH;
        return NGX_OK;
    }

    if (len < 2) {
        return NGX_ERROR;
    }

    switch (text[len - 1]) {

    case 's':
        unit = 1000;
        break;

    case 'm':
        unit = 60 * 1000;
        break;

    case 'h':
        unit = 3600 * 1000;
        break;

    default:
        return NGX_ERROR;
    }

    *period = 0;

    for (i = 0; i < len - 1; i++) {

        if (text[i] < '0' || text[i] > '9') {
            return NGX_ERROR;
        }

        *period = *period * 10 + (text[i] - '0');

        if (*period * unit > 3600 * 1000) {
            return NGX_ERROR;
        }
    }

    *period *= unit;

    return *period ? NGX_OK : NGX_ERROR;
}


u_char *
ngx_llm_limit_duration(u_char *p, int64_t ms)
{
    int64_t  hours, minutes;

    if (ms <= 0) {
        *p++ = '0';
        *p++ = 's';
        return p;
    }

    if (ms < 1000) {
        p = ngx_llm_limit_print(p, ms);
        *p++ = 'm';
        *p++ = 's';
        return p;
    }

    hours = ms / 3600000;
    minutes = ms / 60000 % 60;

    if (hours) {
        p = ngx_llm_limit_print(p, hours);
        *p++ = 'h';
    }

    if (hours || minutes) {
        p = ngx_llm_limit_print(p, minutes);
        *p++ = 'm';
    }

    p = ngx_llm_limit_print(p, ms / 1000 % 60);
    p = ngx_llm_limit_fraction(p, ms % 1000);
    *p++ = 's';

    return p;
}


/* of a second, without zeros behind it */

static u_char *
ngx_llm_limit_fraction(u_char *p, int64_t ms)
{
    int64_t  digit;

    if (ms == 0) {
        return p;
    }

    *p++ = '.';

    for (digit = 100; ms; digit /= 10) {
        *p++ = (u_char) ('0' + ms / digit);
        ms %= digit;
    }

    return p;
}


/*
 * Writes two digits at a time from the last one, with half the divisions.  The
 * number of digits is estimated from the bits: 1233 / 4096 is log10(2).
 */

u_char *
ngx_llm_limit_print(u_char *p, int64_t n)
{
    u_char      *d, *end;
    uint64_t     rest;
    ngx_uint_t   digits;

    static const u_char    pairs[] =
        "00010203040506070809" "10111213141516171819"
        "20212223242526272829" "30313233343536373839"
        "40414243444546474849" "50515253545556575859"
        "60616263646566676869" "70717273747576777879"
        "80818283848586878889" "90919293949596979899";

    static const uint64_t  powers[] = {
        0, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000,
        1000000000, 10000000000, 100000000000, 1000000000000, 10000000000000,
        100000000000000, 1000000000000000, 10000000000000000,
        100000000000000000, 1000000000000000000, 10000000000000000000ull
    };

    rest = (uint64_t) n;

    digits = (64 - __builtin_clzll(rest | 1)) * 1233 >> 12;
    digits += (rest >= powers[digits]);

    end = p + digits;

    for (d = end; d - p > 1; rest /= 100) {
        d -= 2;
        ngx_memcpy(d, pairs + 2 * (rest % 100), 2);
    }

    /* the first of an odd number of digits */

    if (d > p) {
        *p = (u_char) ('0' + rest);
    }

    return end;
}
