/*
 * ngx_llm_canon_text.h: strings of the canonical form.  For ngx_llm_canon*.c
 * only.
 */

#ifndef _NGX_LLM_CANON_TEXT_H_INCLUDED_
#define _NGX_LLM_CANON_TEXT_H_INCLUDED_


#include "ngx_llm_canon_out.h"
#include "ngx_llm_canon_scan.h"


/*
 * Two keys, without quotes, by their decoded bytes: < 0, 0 or > 0; a surrogate
 * that is alone differs from all else.
 */
ngx_int_t ngx_llm_canon_string_compare(const u_char *one, size_t len,
    const u_char *two, size_t two_len);

/*
 * Decodes the inside of a string up to end.  Returns the number of bytes, or
 * size + 1 if there are more than size; dst has the first size bytes then.
 */
size_t ngx_llm_canon_string_decode(u_char *dst, size_t size, const u_char *p,
    const u_char *end);

/*
 * The canonical form of the inside of a string, p to quote.  With out NULL it
 * is checked only.  Moves the step.  NGX_DECLINED: there is a lone surrogate.
 */
ngx_int_t ngx_llm_canon_string_rewrite(ngx_llm_canon_text_t *t,
    ngx_llm_canon_out_t *out, const u_char *p, const u_char *quote);


#endif /* _NGX_LLM_CANON_TEXT_H_INCLUDED_ */
