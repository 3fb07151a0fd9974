/*
 * ngx_llm_string.h: the inside of a JSON string, where nearly all bytes of a
 * body are.  Checks escapes, control bytes and UTF-8, counts byte classes.
 */

#ifndef _NGX_LLM_STRING_H_INCLUDED_
#define _NGX_LLM_STRING_H_INCLUDED_


#include <ngx_llm_json.h>


#if (defined __x86_64__ && defined __GNUC__)
#define NGX_LLM_SCAN_X86        1
#endif

/* the scanners; one that this machine cannot run is replaced by a lower one */
#define NGX_LLM_SCAN_SCALAR     0
#define NGX_LLM_SCAN_SSE2       1
#define NGX_LLM_SCAN_AVX2       2
#define NGX_LLM_SCAN_BEST       3


typedef struct {
    const u_char   *start;         /* the body, set by the caller; the     */
    const u_char   *end;           /* the scanner reads no byte after it */
    uint64_t        counts[NGX_LLM_CLASS_N];   /* grow with every string */
    const u_char   *error;         /* the wrong byte, or end if cut short */
    const char     *reason;        /* static text */
} ngx_llm_string_t;


/*
 * p is just behind the opening quote.  Returns the closing quote, or NULL and
 * sets error and reason; the counts are unspecified then.
 */
typedef const u_char *(*ngx_llm_string_scan_pt)(ngx_llm_string_t *s,
    const u_char *p);

ngx_llm_string_scan_pt ngx_llm_string_scanner(ngx_uint_t level);

const u_char *ngx_llm_string_scan_scalar(ngx_llm_string_t *s,
    const u_char *p);

#if (NGX_LLM_SCAN_X86)
/* any x86-64; also what the AVX2 scanner leaves errors to */
const u_char *ngx_llm_string_scan_sse2(ngx_llm_string_t *s, const u_char *p);
#endif

/*
 * Returns the length of the multi-byte character at p, or 0 if it is invalid.
 * The first byte must not be ASCII.
 */
size_t ngx_llm_utf8_length(const u_char *p, const u_char *end);

/*
 * Decodes the inside of a string that a scanner has accepted.  Returns the
 * bytes written, or size + 1 if they are more than size.  A lone surrogate
 * becomes U+FFFD.
 */
size_t ngx_llm_string_decode(u_char *dst, size_t size, const u_char *src,
    const u_char *end);


#endif /* _NGX_LLM_STRING_H_INCLUDED_ */
