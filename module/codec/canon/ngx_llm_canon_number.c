/*
 * ngx_llm_canon_number.c: numbers by their exact decimal value, for the
 * canonical form of a body.  Most are integers that are written in that form
 * already, token numbers by the ten thousand among them: these are recognized
 * at once and put as they are.
 */

#include "ngx_llm_canon_number.h"


/* the longest integer that is written without an exponent */
#define NGX_LLM_CANON_DIGITS     20

/* what an exponent has at most, so that sums with lengths do not overflow */
#define NGX_LLM_CANON_EXPONENT   18


static const u_char *ngx_llm_canon_number_exponent(ngx_llm_canon_decimal_t *d,
    const u_char *p, const u_char *end);
static void ngx_llm_canon_number_strip(ngx_llm_canon_decimal_t *d);
static const u_char *ngx_llm_canon_number_skip(const u_char *p,
    const u_char *end);
static const u_char *ngx_llm_canon_number(const u_char *p, const u_char *end,
    ngx_uint_t *plain);
static void ngx_llm_canon_number_write_decimal(ngx_llm_canon_out_t *out,
    const ngx_llm_canon_decimal_t *d);


static ngx_inline ngx_uint_t
ngx_llm_canon_number_digit(const u_char *p, const u_char *end)
{
    return p < end && (u_char) (*p - '0') < 10;
}


static ngx_inline const u_char *
ngx_llm_canon_number_digits(const u_char *p, const u_char *end)
{
    while (ngx_llm_canon_number_digit(p, end)) {
        p++;
    }

    return p;
}


const u_char *
ngx_llm_canon_number_decimal(ngx_llm_canon_decimal_t *d, const u_char *p,
    const u_char *end)
{
    d->text = p;
    d->exponent = 0;
    d->negative = 0;
    d->huge = 0;

    if (p < end && *p == '-') {
        d->negative = 1;
        p++;
    }

    d->whole = p;
    p = ngx_llm_canon_number_digits(p, end);
    d->nwhole = p - d->whole;

    if (d->nwhole == 0) {
        return NULL;
    }

    d->part = p;

    if (p < end && *p == '.') {
        d->part = ++p;
        p = ngx_llm_canon_number_digits(p, end);
    }

    d->npart = p - d->part;

    if (p < end && (*p | 0x20) == 'e') {
        p = ngx_llm_canon_number_exponent(d, p + 1, end);
    }

    d->len = p - d->text;

    ngx_llm_canon_number_strip(d);

    return p;
}


static const u_char *
ngx_llm_canon_number_exponent(ngx_llm_canon_decimal_t *d, const u_char *p,
    const u_char *end)
{
    ngx_uint_t     negative;
    const u_char  *start;

    negative = 0;

    if (p < end && (*p == '-' || *p == '+')) {
        negative = (*p++ == '-');
    }

    while (p < end && *p == '0') {
        p++;
    }

    start = p;

    for ( /* void */ ; ngx_llm_canon_number_digit(p, end); p++) {
        if (p - start < NGX_LLM_CANON_EXPONENT) {
            d->exponent = d->exponent * 10 + (*p - '0');
        }
    }

    d->huge = (p - start > NGX_LLM_CANON_EXPONENT);

    if (negative) {
        d->exponent = -d->exponent;
    }

    return p;
}


/* Removes leading and trailing zeros; zero itself has no digits then. */

static void
ngx_llm_canon_number_strip(ngx_llm_canon_decimal_t *d)
{
    while (d->npart && d->part[d->npart - 1] == '0') {
        d->npart--;
    }

    d->exponent -= (int64_t) d->npart;

    if (d->npart == 0) {
        while (d->nwhole && d->whole[d->nwhole - 1] == '0') {
            d->nwhole--;
            d->exponent++;
        }
    }

    while (d->nwhole && *d->whole == '0') {
        d->whole++;
        d->nwhole--;
    }

    if (d->nwhole == 0) {
        while (d->npart && *d->part == '0') {
            d->part++;
            d->npart--;
        }
    }

    if (d->nwhole + d->npart == 0) {
        d->negative = 0;
        d->huge = 0;
        d->exponent = 0;
    }
}


ngx_uint_t
ngx_llm_canon_number_zero(const u_char *p, const u_char *end)
{
    while (p < end && (*p == '0' || *p == '.' || *p == '-')) {
        p++;
    }

    /* an exponent changes nothing about it */

    return !ngx_llm_canon_number_digit(p, end);
}


ngx_uint_t
ngx_llm_canon_number_one(const u_char *p, const u_char *end)
{
    ngx_llm_canon_decimal_t  d;

    return ngx_llm_canon_number_decimal(&d, p, end) != NULL
           && d.nwhole + d.npart == 1
           && !d.negative && !d.huge && d.exponent == 0
           && *(d.nwhole ? d.whole : d.part) == '1';
}


const u_char *
ngx_llm_canon_number_row(const u_char *p, const u_char *end, ngx_uint_t row,
    ngx_uint_t *plain)
{
    const u_char  *behind, *next;

    *plain = 1;

    if (row) {
        p = ngx_llm_canon_number_skip(p, end);
    }

    for ( ;; ) {
        behind = ngx_llm_canon_number(p, end, plain);

        if (behind == NULL || !row) {
            return behind;
        }

        next = ngx_llm_canon_space(behind, end);

        if (next == end || *next != ',') {
            return behind;
        }

        next = ngx_llm_canon_space(next + 1, end);

        if (next == end
            || (*next != '-' && !ngx_llm_canon_number_digit(next, end)))
        {
            return behind;
        }

        if (next != behind + 1) {
            *plain = 0;
        }

        p = next;
    }
}


/*
 * Skips short numbers that only commas separate, eight bytes a step, and
 * returns the start of the last one.  There is a comma in each step, so no
 * number has more than 14 digits.
 */

static const u_char *
ngx_llm_canon_number_skip(const u_char *p, const u_char *end)
{
    uint64_t       w, comma, digit;
    const u_char  *start;

    start = p;

    for ( /* void */ ; end - p >= 8; p += 8) {
        ngx_memcpy(&w, p, 8);

        /* the highest bit of a byte tells; without it in w no sum carries */

        comma = ~((w ^ ngx_llm_canon_x8(',')) + ngx_llm_canon_x8(0x7f));
        digit = (w + ngx_llm_canon_x8(0x80 - '0'))
                & ~(w + ngx_llm_canon_x8(0x7f - '9'));

        if ((w & ngx_llm_canon_x8(0x80))
            || (comma & ngx_llm_canon_x8(0x80)) == 0
            || ((comma | digit) & ngx_llm_canon_x8(0x80))
               != ngx_llm_canon_x8(0x80))
        {
            break;
        }
    }

    while (p > start && (p[-1] != ',' || !ngx_llm_canon_number_digit(p, end))) {
        p--;
    }

    return p;
}


/* Returns the end of the number at p; clears *plain if it is not canonical. */

static const u_char *
ngx_llm_canon_number(const u_char *p, const u_char *end, ngx_uint_t *plain)
{
    const u_char  *start;

    start = p;

    if (p < end && *p == '-') {
        start = ++p;

        if (p < end && *p == '0') {
            *plain = 0;
        }
    }

    p = ngx_llm_canon_number_digits(p, end);

    if (p == start) {
        return NULL;
    }

    if (p - start > NGX_LLM_CANON_DIGITS) {
        *plain = 0;
    }

    if (p < end && *p == '.') {
        *plain = 0;
        p = ngx_llm_canon_number_digits(p + 1, end);
    }

    if (p < end && (*p | 0x20) == 'e') {
        *plain = 0;
        p++;

        if (p < end && (*p == '-' || *p == '+')) {
            p++;
        }

        p = ngx_llm_canon_number_digits(p, end);
    }

    return p;
}


void
ngx_llm_canon_number_write_row(ngx_llm_canon_out_t *out, const u_char *p,
    const u_char *end)
{
    ngx_uint_t                plain;
    const u_char             *behind;
    ngx_llm_canon_decimal_t   d;

    /* a temperature like 0.7: of all that are rewritten these are the most */

    if (end - p == 3 && p[0] == '0' && p[1] == '.'
        && p[2] > '0' && p[2] <= '9')
    {
        ngx_llm_canon_write_char(out, p[2]);
        ngx_llm_canon_write(out, (u_char *) "e-1", 3);
        return;
    }

    for ( ;; ) {
        plain = 1;
        behind = ngx_llm_canon_number(p, end, &plain);

        if (behind == NULL) {
            /* two commas were skipped: it is no JSON */
            return;
        }

        if (plain) {
            ngx_llm_canon_write(out, p, behind - p);

        } else {
            (void) ngx_llm_canon_number_decimal(&d, p, end);
            ngx_llm_canon_number_write_decimal(out, &d);
        }

        p = ngx_llm_canon_space(behind, end);

        if (p == end) {
            return;
        }

        ngx_llm_canon_write_char(out, ',');

        p = ngx_llm_canon_space(p + 1, end);
    }
}


static void
ngx_llm_canon_number_write_decimal(ngx_llm_canon_out_t *out,
    const ngx_llm_canon_decimal_t *d)
{
    size_t    n;
    u_char    buf[NGX_LLM_CANON_DIGITS], *p;
    uint64_t  exponent;

    if (d->huge) {
        /* as it is written: that means this number and no other */
        ngx_llm_canon_write(out, d->text, d->len);
        return;
    }

    n = d->nwhole + d->npart;

    if (n == 0) {
        ngx_llm_canon_write_char(out, '0');
        return;
    }

    if (d->negative) {
        ngx_llm_canon_write_char(out, '-');
    }

    if (d->nwhole) {
        ngx_llm_canon_write(out, d->whole, d->nwhole);
    }

    if (d->npart) {
        ngx_llm_canon_write(out, d->part, d->npart);
    }

    if (d->exponent == 0) {
        return;
    }

    if (d->exponent > 0 && n < NGX_LLM_CANON_DIGITS
        && (uint64_t) d->exponent <= NGX_LLM_CANON_DIGITS - n)
    {
        for (n = (size_t) d->exponent; n; n--) {
            ngx_llm_canon_write_char(out, '0');
        }

        return;
    }

    ngx_llm_canon_write_char(out, 'e');

    exponent = (uint64_t) d->exponent;

    if (d->exponent < 0) {
        exponent = 0 - exponent;
        ngx_llm_canon_write_char(out, '-');
    }

    if (exponent < 10) {
        ngx_llm_canon_write_char(out, (u_char) ('0' + exponent));
        return;
    }

    p = buf + sizeof(buf);

    do {
        *--p = (u_char) ('0' + exponent % 10);
        exponent /= 10;
    } while (exponent);

    ngx_llm_canon_write(out, p, buf + sizeof(buf) - p);
}
