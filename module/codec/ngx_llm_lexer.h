/*
 * ngx_llm_lexer.h: strict JSON (RFC 8259), read without recursion.  The caller
 * reads the members of an object with ngx_llm_lexer_next(), and skips a value
 * with ngx_llm_lexer_value().  NULL is an error: error and reason are set.
 */

#ifndef _NGX_LLM_LEXER_H_INCLUDED_
#define _NGX_LLM_LEXER_H_INCLUDED_


#include "ngx_llm_string.h"


#define NGX_LLM_LEXER_DEPTH  NGX_LLM_JSON_DEPTH


typedef struct {
    ngx_llm_string_t         string;       /* bounds of the text, counts */
    ngx_llm_string_scan_pt   scan;         /* for the inside of strings */

    const u_char            *key;          /* raw key of the last member, */
    const u_char            *key_end;      /* without quotes; NULL: none */

    uint64_t                 media;        /* bytes of strings that are media,
                                              which are not in the counts */
    int64_t                  media_tokens; /* the estimate for them */

    const u_char            *error;        /* the wrong byte, end if missing */
    const char              *reason;       /* static text */

    ngx_uint_t               depth;        /* open containers, the caller's
                                              counted by the caller */
    u_char                   closers[NGX_LLM_LEXER_DEPTH];
} ngx_llm_lexer_t;


/* level: NGX_LLM_SCAN_... */
void ngx_llm_lexer_init(ngx_llm_lexer_t *w, ngx_uint_t level,
    const u_char *start, const u_char *end);

/*
 * Reads the next key of an object; p is after its '{' (first = 1) or after a
 * value.  Sets key and returns the position of the value.  At the end of the
 * object sets key to NULL and returns the position after its '}'.
 */
const u_char *ngx_llm_lexer_next(ngx_llm_lexer_t *w, const u_char *p,
    ngx_uint_t first);

/* Reads the value that must start at p.  Returns its end. */
const u_char *ngx_llm_lexer_value(ngx_llm_lexer_t *w, const u_char *p);


/* Sets error to p and reason, and returns NULL. */
const u_char *ngx_llm_lexer_invalid(ngx_llm_lexer_t *w, const u_char *p,
    const char *reason);


/* the same as ngx_llm_lexer_space(), for where there may be some */
const u_char *ngx_llm_lexer_spaces(ngx_llm_lexer_t *w, const u_char *p);


/* the byte at p, or NUL at the end: right nowhere outside of a string */

static ngx_inline u_char
ngx_llm_lexer_peek(ngx_llm_lexer_t *w, const u_char *p)
{
    return p < w->string.end ? *p : '\0';
}


/* Skips white space, which is rare. */

static ngx_inline const u_char *
ngx_llm_lexer_space(ngx_llm_lexer_t *w, const u_char *p)
{
    if (p < w->string.end && *p > ' ') {
        return p;
    }

    return ngx_llm_lexer_spaces(w, p);
}


#endif /* _NGX_LLM_LEXER_H_INCLUDED_ */
