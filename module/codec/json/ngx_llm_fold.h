/*
 * ngx_llm_fold.h: names that case-insensitive parsers take for a known name.
 */

#ifndef _NGX_LLM_FOLD_H_INCLUDED_
#define _NGX_LLM_FOLD_H_INCLUDED_


#include <ngx_llm_codec.h>


/* bytes of U+017F in UTF-8, the only folded letter that may begin a name */
#define NGX_LLM_FOLD_LONG_S    0xc5


/*
 * Returns 1 if key, decoded UTF-8 of len bytes, is the name of size bytes once
 * both are folded as encoding/json of Go folds them: A-Z to a-z, U+017F (long
 * s) to "s", U+212A (Kelvin sign) to "k".  The name is lower case ASCII.  An
 * equal key returns 1, too.
 */
ngx_uint_t ngx_llm_fold_equal(const u_char *key, size_t len, const char *name,
    size_t size);


/*
 * Returns 0 if the first byte of key, or a length below the name's, rules out
 * that it folds to the name.  Nearly all keys of a body end here.
 */

static ngx_inline ngx_uint_t
ngx_llm_fold_possible(const u_char *key, size_t len, const char *name,
    size_t size)
{
    return len >= size
           && ((key[0] | 0x20) == (u_char) name[0]
               || key[0] == NGX_LLM_FOLD_LONG_S);
}


#endif /* _NGX_LLM_FOLD_H_INCLUDED_ */
