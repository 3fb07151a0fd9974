/*
 * ngx_llm_canon_text.h: strings of the canonical form, and the buffer that it
 * leaves through.  For ngx_llm_canon*.c only.
 */

#ifndef _NGX_LLM_CANON_TEXT_H_INCLUDED_
#define _NGX_LLM_CANON_TEXT_H_INCLUDED_


#include "ngx_llm_canon.h"
#include "ngx_llm_string.h"


#define NGX_LLM_CANON_BUFFER     4096
#define NGX_LLM_CANON_DIRECT     1024  /* pieces from here are not copied */

/* the byte c in all eight places of a word */
#define ngx_llm_canon_x8(c)      (0x0101010101010101ull * (c))

/* what there is in a string */
#define NGX_LLM_CANON_ESCAPED    0x10  /* a backslash */
#define NGX_LLM_CANON_REWRITTEN  0x20  /* \u or \/, which have other forms */


typedef struct {
    ngx_llm_canon_put_pt    put;
    void                   *data;
    size_t                  len;       /* in buf, not put yet */
    u_char                  buf[NGX_LLM_CANON_BUFFER];
} ngx_llm_canon_out_t;


typedef struct {
    /*
     * p is behind the opening quote.  Returns the closing quote and adds to
     * flags what the string has, or returns NULL if there is none before end,
     * the end of the body.
     */
    const u_char         *(*close)(const u_char *p, const u_char *end,
                              ngx_uint_t *flags);

    /*
     * The letters of the escapes \u and \/ among the 64 bytes from p, the
     * lowest bit is the first byte.  end is that of the body; carry goes from
     * one call to the next, 0 at first.
     */
    uint64_t              (*find)(const u_char *p, const u_char *end,
                              uint64_t *carry);
} ngx_llm_canon_scan_t;


/* level: NGX_LLM_SCAN_... */
const ngx_llm_canon_scan_t *ngx_llm_canon_scanner(ngx_uint_t level);

/*
 * Two keys, without quotes, by their decoded bytes: < 0, 0 or > 0; a surrogate
 * that is alone differs from all else.
 */
ngx_int_t ngx_llm_canon_compare(const u_char *one, size_t len,
    const u_char *two, size_t two_len);

/*
 * Decodes the inside of a string up to end.  Returns the bytes written, or
 * size + 1 if there are more than size, which are the first of them then.
 */
size_t ngx_llm_canon_decode(u_char *dst, size_t size, const u_char *p,
    const u_char *end);

/*
 * The canonical form of the inside of a string, p to quote.  With out NULL it
 * is checked only.  NGX_DECLINED: there is a lone surrogate.
 */
ngx_int_t ngx_llm_canon_rewrite(const ngx_llm_canon_scan_t *scan,
    ngx_llm_canon_out_t *out, const u_char *p, const u_char *quote,
    const u_char *end);


void ngx_llm_canon_flush(ngx_llm_canon_out_t *out);

/* a piece that does not fit, or is too long for a copy */
void ngx_llm_canon_write_long(ngx_llm_canon_out_t *out, const u_char *p,
    size_t len);


static ngx_inline void
ngx_llm_canon_write(ngx_llm_canon_out_t *out, const u_char *p, size_t len)
{
    if (len >= NGX_LLM_CANON_DIRECT
        || len > NGX_LLM_CANON_BUFFER - out->len)
    {
        ngx_llm_canon_write_long(out, p, len);
        return;
    }

    ngx_memcpy(out->buf + out->len, p, len);
    out->len += len;
}


static ngx_inline void
ngx_llm_canon_write_char(ngx_llm_canon_out_t *out, u_char ch)
{
    if (out->len == NGX_LLM_CANON_BUFFER) {
        ngx_llm_canon_flush(out);
    }

    out->buf[out->len++] = ch;
}


#endif /* _NGX_LLM_CANON_TEXT_H_INCLUDED_ */
