/*
 * ngx_llm_param.h: the value of a header like Content-Type: a word, followed by
 * any number of "; name=value".  Results point into the header.
 */

#ifndef _NGX_LLM_PARAM_H_INCLUDED_
#define _NGX_LLM_PARAM_H_INCLUDED_


#include <ngx_llm_codec.h>


typedef struct {
    ngx_str_t     name;
    ngx_str_t     value;             /* without quotes, not unescaped */
    ngx_uint_t    escaped;           /* 1: the quoted value has a backslash */
} ngx_llm_param_t;


/*
 * Returns the start of the parameters after the word at pos, or NULL if it is
 * another word than lowcase.  Case is ignored, lowcase is in lower case.
 */
const u_char *ngx_llm_param_word(const u_char *pos, const u_char *last,
    const char *lowcase);

/*
 * Reads the parameter at *pos and moves *pos after it.  Returns NGX_OK,
 * NGX_DONE at the end of the value, or NGX_ERROR if there are other bytes.
 */
ngx_int_t ngx_llm_param_next(const u_char **pos, const u_char *last,
    ngx_llm_param_t *param);

/* Return 1 if s is, or begins with, the word lowcase.  Case is ignored. */
ngx_uint_t ngx_llm_param_is(const ngx_str_t *s, const char *lowcase);
ngx_uint_t ngx_llm_param_begins(const ngx_str_t *s, const char *lowcase);

/* Skips spaces and tabs. */
const u_char *ngx_llm_param_space(const u_char *p, const u_char *last);


/* Returns 1 if the name of a header or parameter may have the byte. */

static ngx_inline ngx_uint_t
ngx_llm_param_token(u_char ch)
{
    return ch > ' ' && ch < 0x7f
           && memchr("()<>@,;:\\\"/[]?={}", ch, 17) == NULL;
}


/* Returns 1 for a control byte, which no value may have. */

static ngx_inline ngx_uint_t
ngx_llm_param_control(u_char ch)
{
    return (ch < ' ' && ch != '\t') || ch == 0x7f;
}


#endif /* _NGX_LLM_PARAM_H_INCLUDED_ */
