/*
 * ngx_llm_reader_scan.h: the searches of the scanner, sixteen bytes at a step
 * where there is SSE2.  Each returns the first byte that it looks for, or
 * last.
 */

#ifndef _NGX_LLM_READER_SCAN_H_INCLUDED_
#define _NGX_LLM_READER_SCAN_H_INCLUDED_


#include <ngx_llm_codec.h>

#if (__SSE2__)
#include <emmintrin.h>
#endif


/* a quote or a backslash */

static ngx_inline u_char *
ngx_llm_reader_quote(u_char *p, u_char *last)
{
#if (__SSE2__)
    int      mask;
    __m128i  x, quote, slash;

    quote = _mm_set1_epi8('"');
    slash = _mm_set1_epi8('\\');

    for ( /* void */ ; last - p >= 16; p += 16) {
        x = _mm_loadu_si128((const __m128i *) p);
        mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, quote),
                                              _mm_cmpeq_epi8(x, slash)));
        if (mask) {
            return p + __builtin_ctz(mask);
        }
    }
#endif

    while (p < last && *p != '"' && *p != '\\') {
        p++;
    }

    return p;
}


/* a quote or any of the four brackets: '[' and '{' differ in 0x20 only */

static ngx_inline u_char *
ngx_llm_reader_bracket(u_char *p, u_char *last)
{
    u_char   ch;
#if (__SSE2__)
    int      mask;
    __m128i  x, y, quote, open, close, lower;

    quote = _mm_set1_epi8('"');
    open = _mm_set1_epi8('{');
    close = _mm_set1_epi8('}');
    lower = _mm_set1_epi8(0x20);

    for ( /* void */ ; last - p >= 16; p += 16) {
        x = _mm_loadu_si128((const __m128i *) p);
        y = _mm_or_si128(x, lower);
        mask = _mm_movemask_epi8(
                   _mm_or_si128(_mm_cmpeq_epi8(x, quote),
                                _mm_or_si128(_mm_cmpeq_epi8(y, open),
                                             _mm_cmpeq_epi8(y, close))));
        if (mask) {
            return p + __builtin_ctz(mask);
        }
    }
#endif

    for ( /* void */ ; p < last; p++) {
        ch = *p | 0x20;

        if (ch == '{' || ch == '}' || *p == '"') {
            break;
        }
    }

    return p;
}


/* letters, digits, '+', '-', '.' and '/' */

static const uint32_t  ngx_llm_reader_scalars[] = {
    0x00000000, 0x03ffe800, 0x07fffffe, 0x07fffffe, 0, 0, 0, 0
};


static ngx_inline ngx_uint_t
ngx_llm_reader_is_scalar(u_char ch)
{
    return (ngx_llm_reader_scalars[ch / 32] >> (ch % 32)) & 1;
}


#endif /* _NGX_LLM_READER_SCAN_H_INCLUDED_ */
