/*
 * ngx_llm_canon_scan.h: bit masks of quotes, escapes and other classes of bytes
 * in a body, 64 bytes a step.  For ngx_llm_canon*.c only.
 */

#ifndef _NGX_LLM_CANON_SCAN_H_INCLUDED_
#define _NGX_LLM_CANON_SCAN_H_INCLUDED_


#include <ngx_llm_codec.h>
#include "../ngx_llm_string.h"


#define NGX_LLM_CANON_STEP       64

/* the byte c in all eight places of a word */
#define ngx_llm_canon_x8(c)      (0x0101010101010101ull * (c))

/* what there is in a string */
#define NGX_LLM_CANON_ESCAPED    0x10  /* a backslash */
#define NGX_LLM_CANON_REWRITTEN  0x20  /* \u or \/, which have other forms */


/* 64 bytes of a body; masks have a bit per byte, the lowest is the first */

typedef struct {
    const u_char           *p;
    uint64_t                quotes;    /* quotes that are not escaped */
    uint64_t                escaped;   /* behind an active backslash */
    uint64_t                letters;   /* of these: u and /, REWRITTEN */
    uint64_t                carry;     /* 1: the byte behind is escaped */
} ngx_llm_canon_step_t;


typedef struct ngx_llm_canon_text_s  ngx_llm_canon_text_t;

typedef struct {
    /* looks at the bytes from p, before end; carry: of the step before */
    void                  (*look)(ngx_llm_canon_text_t *t, const u_char *p,
                              uint64_t carry);

    /*
     * Goes on to the next step with a quote.  p: in a string; there is no
     * quote in the present step from it on.  Returns what the string has in
     * the steps that are passed.
     */
    ngx_uint_t            (*seek)(ngx_llm_canon_text_t *t, const u_char *p);
} ngx_llm_canon_scan_t;


/* a body, and the masks of the current step */

struct ngx_llm_canon_text_s {
    const ngx_llm_canon_scan_t  *scan;
    const u_char                *end;
    const u_char                *last;      /* its last 64 bytes, */
    u_char                       brief[NGX_LLM_CANON_STEP];
                                            /* here if it has less */
    ngx_llm_canon_step_t         step;
};


/* level: NGX_LLM_SCAN_...; len > 0 */
void ngx_llm_canon_string_text(ngx_llm_canon_text_t *t, ngx_uint_t level,
    const u_char *body, size_t len);


/*
 * p is behind the opening quote.  Returns the closing quote and adds to flags
 * what the string has, or returns NULL if there is none before the end.  Short
 * strings share a step: most are in the one that was looked at last.
 */

static ngx_inline const u_char *
ngx_llm_canon_close(ngx_llm_canon_text_t *t, const u_char *p,
    ngx_uint_t *flags)
{
    size_t    n;
    uint64_t  quotes, upto;

    n = p - t->step.p;

    if (n >= NGX_LLM_CANON_STEP || t->step.quotes >> n == 0) {
        *flags |= t->scan->seek(t, p);

        p = t->step.p;
        n = 0;
    }

    quotes = t->step.quotes >> n;

    if (quotes == 0) {
        return NULL;
    }

    upto = quotes ^ (quotes - 1);

    if (t->step.escaped >> n & upto) {
        *flags |= NGX_LLM_CANON_ESCAPED;

        /* an escape that is cut off at a step counts in the next one */

        if (t->step.letters >> n & upto) {
            *flags |= NGX_LLM_CANON_REWRITTEN;
        }
    }

    return p + __builtin_ctzll(quotes);
}


#endif /* _NGX_LLM_CANON_SCAN_H_INCLUDED_ */
