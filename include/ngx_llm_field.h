/*
 * ngx_llm_field.h: control bytes in the values of header fields.
 */

#ifndef _NGX_LLM_FIELD_H_INCLUDED_
#define _NGX_LLM_FIELD_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_FIELD_ONES  ((uint64_t) -1 / 255)
#define NGX_LLM_FIELD_TOPS  (NGX_LLM_FIELD_ONES << 7)


/* Returns 1 for a byte that RFC 9110 does not allow in a field value. */

static ngx_inline ngx_uint_t
ngx_llm_field_control(u_char ch)
{
    return (ch < ' ' && ch != '\t') || ch == 0x7f;
}


/*
 * Returns the first control byte of [p, last), or NULL.  Eight bytes are tested
 * at a time: the test may be wrong about words without a control byte only.
 */

static ngx_inline u_char *
ngx_llm_field_invalid(u_char *p, u_char *last)
{
    u_char    *end;
    uint64_t   word, del;

    while (p < last) {

        if (last - p >= 8) {
            ngx_memcpy(&word, p, 8);

            del = word ^ (NGX_LLM_FIELD_ONES * 0x7f);

            if (((((word - NGX_LLM_FIELD_ONES * ' ') & ~word)
                  | ((del - NGX_LLM_FIELD_ONES) & ~del))
                 & NGX_LLM_FIELD_TOPS) == 0)
            {
                p += 8;
                continue;
            }
        }

        for (end = (last - p > 8) ? p + 8 : last; p < end; p++) {
            if (ngx_llm_field_control(*p)) {
                return p;
            }
        }
    }

    return NULL;
}


#endif /* _NGX_LLM_FIELD_H_INCLUDED_ */
