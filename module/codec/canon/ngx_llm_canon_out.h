/*
 * ngx_llm_canon_out.h: the buffer that the canonical form leaves through.  For
 * ngx_llm_canon*.c only.
 */

#ifndef _NGX_LLM_CANON_OUT_H_INCLUDED_
#define _NGX_LLM_CANON_OUT_H_INCLUDED_


#include <ngx_llm_canon.h>


#define NGX_LLM_CANON_BUFFER     4096
#define NGX_LLM_CANON_DIRECT     1024  /* pieces from here are not copied */


typedef struct {
    ngx_llm_canon_put_pt    put;
    void                   *data;
    size_t                  len;       /* in buf, not put yet */
    u_char                  buf[NGX_LLM_CANON_BUFFER];
} ngx_llm_canon_out_t;


void ngx_llm_canon_out_flush(ngx_llm_canon_out_t *out);

/* a piece that does not fit, or is too long for a copy */
void ngx_llm_canon_out_write_long(ngx_llm_canon_out_t *out, const u_char *p,
    size_t len);


static ngx_inline void
ngx_llm_canon_write(ngx_llm_canon_out_t *out, const u_char *p, size_t len)
{
    if (len >= NGX_LLM_CANON_DIRECT
        || len > NGX_LLM_CANON_BUFFER - out->len)
    {
        ngx_llm_canon_out_write_long(out, p, len);
        return;
    }

    ngx_memcpy(out->buf + out->len, p, len);
    out->len += len;
}


static ngx_inline void
ngx_llm_canon_write_char(ngx_llm_canon_out_t *out, u_char ch)
{
    if (out->len == NGX_LLM_CANON_BUFFER) {
        ngx_llm_canon_out_flush(out);
    }

    out->buf[out->len++] = ch;
}


#endif /* _NGX_LLM_CANON_OUT_H_INCLUDED_ */
