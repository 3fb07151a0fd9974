/*
 * ngx_llm_canon_out.c: the output buffer of the canonical form.  Long texts are
 * passed to the handler directly.
 */

#include "ngx_llm_canon_out.h"


void
ngx_llm_canon_out_write_long(ngx_llm_canon_out_t *out, const u_char *p,
    size_t len)
{
    ngx_llm_canon_out_flush(out);

    if (len >= NGX_LLM_CANON_DIRECT) {
        out->put(out->data, p, len);
        return;
    }

    ngx_memcpy(out->buf, p, len);
    out->len = len;
}


void
ngx_llm_canon_out_flush(ngx_llm_canon_out_t *out)
{
    if (out->len) {
        out->put(out->data, out->buf, out->len);
        out->len = 0;
    }
}
