/*
 * ngx_llm_fold.c: comparison of a member's or field's name as parsers do it
 * that ignore case.  Go's encoding/json gives "Model" to a field "model", and
 * the last such member wins, so the provider could read another model, limit
 * or stream flag than the gateway.  Called for names that are not known.
 */

#include "ngx_llm_fold.h"


ngx_uint_t
ngx_llm_fold_equal(const u_char *key, size_t len, const char *name,
    size_t size)
{
    u_char         ch;
    size_t         i;
    const u_char  *last;

    last = key + len;

    for (i = 0; i < size; i++) {

        if (key == last) {
            return 0;
        }

        ch = *key++;

        if (ch >= 'A' && ch <= 'Z') {
            ch |= 0x20;

        } else if (ch == NGX_LLM_FOLD_LONG_S && last - key >= 1
                   && key[0] == 0xbf)
        {
            ch = 's';
            key += 1;

        } else if (ch == 0xe2 && last - key >= 2
                   && key[0] == 0x84 && key[1] == 0xaa)
        {
            ch = 'k';
            key += 2;
        }

        if (ch != (u_char) name[i]) {
            return 0;
        }
    }

    return key == last;
}
