/*
 * ngx_llm_param.h: the value of a header like Content-Type: a word, then
 * "; name=value" as often as there is one.  Results point into the header.
 */

#ifndef _NGX_LLM_PARAM_H_INCLUDED_
#define _NGX_LLM_PARAM_H_INCLUDED_


#include <ngx_llm_codec.h>


typedef struct {
    ngx_str_t     name;
    ngx_str_t     value;             /* without its quotes, still escaped */
    ngx_uint_t    escaped;           /* 1: has a backslash between quotes */
} ngx_llm_param_t;


/*
 * Returns the start of the parameters after the word at pos, or NULL if the
 * word is not lowcase, which is in lower case; case does not matter.
 */
const u_char *ngx_llm_param_word(const u_char *pos, const u_char *last,
    const char *lowcase);

/*
 * One parameter at *pos, which is moved behind it.  NGX_DONE: there is none
 * any more.  NGX_ERROR: something else is there.
 */
ngx_int_t ngx_llm_param_next(const u_char **pos, const u_char *last,
    ngx_llm_param_t *param);

/* 1: is, or begins with, that word, in any case */
ngx_uint_t ngx_llm_param_is(const ngx_str_t *s, const char *lowcase);
ngx_uint_t ngx_llm_param_begins(const ngx_str_t *s, const char *lowcase);

/* Skips spaces and tabs. */
const u_char *ngx_llm_param_space(const u_char *p, const u_char *last);


/* 1: a byte of the name of a header or parameter */

static ngx_inline ngx_uint_t
ngx_llm_param_token(u_char ch)
{
    return ch > ' ' && ch < 0x7f
           && memchr("()<>@,;:\\\"/[]?={}", ch, 17) == NULL;
}


/* 1: a byte that no value has */

static ngx_inline ngx_uint_t
ngx_llm_param_control(u_char ch)
{
    return (ch < ' ' && ch != '\t') || ch == 0x7f;
}


#endif /* _NGX_LLM_PARAM_H_INCLUDED_ */
