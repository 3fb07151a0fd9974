/*
 * ngx_llm_canon_number.h: the numbers of the canonical form.  One is an
 * integer where that takes no more than 20 digits, "e" and an exponent behind
 * digits that do not end with 0 otherwise.  For ngx_llm_canon*.c only.
 */

#ifndef _NGX_LLM_CANON_NUMBER_H_INCLUDED_
#define _NGX_LLM_CANON_NUMBER_H_INCLUDED_


#include "ngx_llm_canon_text.h"


/* digits, of which neither the first nor the last is 0, and their place */

typedef struct {
    const u_char           *text;
    size_t                  len;
    const u_char           *whole;     /* digits before the point */
    const u_char           *part;      /* digits behind it */
    size_t                  nwhole;
    size_t                  npart;     /* zero has none of both */
    int64_t                 exponent;  /* the last digit counts 10^exponent */
    unsigned                negative:1;
    unsigned                huge:1;    /* the exponent is out of our range */
} ngx_llm_canon_decimal_t;


/* Reads the number at p.  Returns its end, or NULL if there is no number. */
const u_char *ngx_llm_canon_number_decimal(ngx_llm_canon_decimal_t *d,
    const u_char *p, const u_char *end);

/* the number at p is 0, or 1, by value */
ngx_uint_t ngx_llm_canon_number_zero(const u_char *p, const u_char *end);
ngx_uint_t ngx_llm_canon_number_one(const u_char *p, const u_char *end);

/*
 * Returns the end of the number at p or, with "row", of the last one of several
 * numbers that commas separate; NULL if there is no number.  Sets *plain if the
 * bytes are the canonical form.
 */
const u_char *ngx_llm_canon_number_row(const u_char *p, const u_char *end,
    ngx_uint_t row, ngx_uint_t *plain);

/* what ngx_llm_canon_number_row() has found, p to end */
void ngx_llm_canon_number_write_row(ngx_llm_canon_out_t *out, const u_char *p,
    const u_char *end);


static ngx_inline const u_char *
ngx_llm_canon_space(const u_char *p, const u_char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;

        /* indented text has many of one kind */
        while (end - p >= 8 && ngx_memcmp(p, "        ", 8) == 0) {
            p += 8;
        }
    }

    return p;
}


#endif /* _NGX_LLM_CANON_NUMBER_H_INCLUDED_ */
