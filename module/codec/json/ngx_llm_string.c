/*
 * ngx_llm_string.c: the inside of a JSON string.  The scanner here skips what
 * needs no look (16 bytes a step with SSE2, 8 otherwise) and handles one
 * special byte after the other; it is what machines without AVX2 run, and what
 * names the error where the AVX2 scanner has only seen that there is one.
 */

#include "../ngx_llm_string.h"

#if (NGX_LLM_SCAN_X86)
#include <emmintrin.h>
#endif


#define NGX_LLM_ALWAYS_INLINE  static inline __attribute__((always_inline))

/* the byte c in all eight places of a word */
#define ngx_llm_x8(c)          (0x0101010101010101ull * (c))


typedef const u_char *(*ngx_llm_string_skip_pt)(const u_char *p,
    const u_char *end, uint64_t *prose);

static const u_char *ngx_llm_string_escape(ngx_llm_string_t *s,
    const u_char *p, uint64_t *prose);
static const u_char *ngx_llm_string_utf8(ngx_llm_string_t *s,
    const u_char *p);
static uint32_t ngx_llm_string_unicode(const u_char **src, const u_char *end);
static size_t ngx_llm_utf8_encode(u_char *dst, uint32_t ch);


static ngx_inline ngx_uint_t
ngx_llm_is_prose(u_char ch)
{
    return (u_char) ((ch | 0x20) - 'a') < 26
           || (u_char) (ch - '0') < 10
           || ch == ' ';
}


static ngx_inline ngx_int_t
ngx_llm_hex(u_char ch)
{
    if ((u_char) (ch - '0') < 10) {
        return ch - '0';
    }

    ch |= 0x20;

    return (u_char) (ch - 'a') < 6 ? ch - 'a' + 10 : -1;
}


/* a skip stops at the first byte that is special, or at the end */

static ngx_inline const u_char *
ngx_llm_skip_bytes(const u_char *p, const u_char *end, uint64_t *prose)
{
    while (p < end
           && (u_char) (*p - 0x20) < 0x60 && *p != '"' && *p != '\\')
    {
        *prose += ngx_llm_is_prose(*p++);
    }

    return p;
}


/*
 * Eight bytes in a word.  The tests for a special byte may be wrong only about
 * bytes above one that is special, so "any" is exact; the classes are counted
 * when all bytes are below 0x80 and no sum leaves its byte.
 */

NGX_LLM_ALWAYS_INLINE const u_char *
ngx_llm_skip_words(const u_char *p, const u_char *end, uint64_t *prose)
{
    uint64_t  w, q, b, c, letter, digit, space;

    for ( /* void */ ; end - p >= 8; p += 8) {
        ngx_memcpy(&w, p, 8);

        q = w ^ ngx_llm_x8('"');
        b = w ^ ngx_llm_x8('\\');

        c = w
            | ((q - ngx_llm_x8(0x01)) & ~q)
            | ((b - ngx_llm_x8(0x01)) & ~b)
            | ((w - ngx_llm_x8(0x20)) & ~w);

        if (c & ngx_llm_x8(0x80)) {
            break;
        }

        c = w | ngx_llm_x8(0x20);

        letter = (c + ngx_llm_x8(0x80 - 'a')) & ~(c + ngx_llm_x8(0x7f - 'z'));
        digit = (w + ngx_llm_x8(0x80 - '0')) & ~(w + ngx_llm_x8(0x7f - '9'));
        space = ~((w ^ ngx_llm_x8(' ')) + ngx_llm_x8(0x7f));

        c = (letter | digit | space) & ngx_llm_x8(0x80);

        *prose += ((c >> 7) * ngx_llm_x8(0x01)) >> 56;
    }

    return ngx_llm_skip_bytes(p, end, prose);
}


#if (NGX_LLM_SCAN_X86)

/* 0xff where lo <= byte <= hi */
#define ngx_llm_sse2_range(v, lo, hi)                                         \
    _mm_cmpeq_epi8(_mm_min_epu8(_mm_sub_epi8(v, _mm_set1_epi8(lo)),           \
                                _mm_set1_epi8((hi) - (lo))),                  \
                   _mm_sub_epi8(v, _mm_set1_epi8(lo)))


NGX_LLM_ALWAYS_INLINE const u_char *
ngx_llm_skip_sse2(const u_char *p, const u_char *end, uint64_t *prose)
{
    int                  stop;
    __m128i              v, special, words, sum;
    ngx_uint_t           n;
    static const u_char  mask[32] = "\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1\1";

    sum = _mm_setzero_si128();

    for (stop = 0; stop == 0 && end - p >= 16; p += n) {
        v = _mm_loadu_si128((const __m128i *) p);

        special = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                               _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        special = _mm_or_si128(special, ngx_llm_sse2_range(v, 0, 0x1f));
        stop = _mm_movemask_epi8(_mm_or_si128(special, v));

        words = _mm_or_si128(v, _mm_set1_epi8(0x20));
        words = ngx_llm_sse2_range(words, 'a', 'z');
        words = _mm_or_si128(words, ngx_llm_sse2_range(v, '0', '9'));
        words = _mm_or_si128(words, _mm_cmpeq_epi8(v, _mm_set1_epi8(' ')));

        /* of the last step only the bytes before the special one count */

        n = stop ? (ngx_uint_t) __builtin_ctz(stop) : 16;

        words = _mm_and_si128(words,
                            _mm_loadu_si128((const __m128i *) &mask[16 - n]));
        sum = _mm_add_epi64(sum, _mm_sad_epu8(words, _mm_setzero_si128()));
    }

    sum = _mm_add_epi64(sum, _mm_unpackhi_epi64(sum, sum));
    *prose += (uint64_t) _mm_cvtsi128_si64(sum);

    return stop ? p : ngx_llm_skip_bytes(p, end, prose);
}

#endif


/* instantiated once per skip, so that the skip is compiled in */

NGX_LLM_ALWAYS_INLINE const u_char *
ngx_llm_string_scan(ngx_llm_string_t *s, const u_char *p,
    ngx_llm_string_skip_pt skip)
{
    uint64_t       prose, multi;
    const u_char  *start;

    start = p;
    prose = 0;
    multi = s->counts[NGX_LLM_CLASS_CJK] + s->counts[NGX_LLM_CLASS_OTHER];

    for ( ;; ) {
        p = skip(p, s->end, &prose);

        if (p == s->end) {
            s->reason = "string is not closed";
            break;
        }

        if (*p == '"') {
            multi = s->counts[NGX_LLM_CLASS_CJK]
                    + s->counts[NGX_LLM_CLASS_OTHER] - multi;

            s->counts[NGX_LLM_CLASS_PROSE] += prose;
            s->counts[NGX_LLM_CLASS_PUNCT] += p - start - prose - multi;
            return p;
        }

        if (*p == '\\') {
            p = ngx_llm_string_escape(s, p, &prose);

        } else if (*p >= 0x80) {
            p = ngx_llm_string_utf8(s, p);

        } else {
            s->reason = "control character in string";
            break;
        }

        if (p == NULL) {
            return NULL;
        }
    }

    s->error = p;

    return NULL;
}


const u_char *
ngx_llm_string_scan_scalar(ngx_llm_string_t *s, const u_char *p)
{
    return ngx_llm_string_scan(s, p, ngx_llm_skip_words);
}


#if (NGX_LLM_SCAN_X86)

const u_char *
ngx_llm_string_scan_sse2(ngx_llm_string_t *s, const u_char *p)
{
    return ngx_llm_string_scan(s, p, ngx_llm_skip_sse2);
}

#endif


/* Reads the escape at the backslash p.  Returns its end. */

static const u_char *
ngx_llm_string_escape(ngx_llm_string_t *s, const u_char *p, uint64_t *prose)
{
    ngx_uint_t     i;
    const u_char  *start;

    start = p++;

    if (p == s->end) {
        goto cut;
    }

    switch (*p++) {

    case '"':
    case '\\':
    case '/':
        return p;

    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        (*prose)++;
        return p;

    case 'u':
        for (i = 0; i < 4; i++, p++) {

            if (p == s->end) {
                goto cut;
            }

            if (ngx_llm_hex(*p) < 0) {
                goto invalid;
            }
        }

        *prose += 5;
        return p;
    }

invalid:

    s->error = start;
    s->reason = "invalid escape in string";

    return NULL;

cut:

    s->error = p;
    s->reason = "string is not closed";

    return NULL;
}


/* Reads multi-byte characters, *p >= 0x80.  Returns the end of the last one. */

static const u_char *
ngx_llm_string_utf8(ngx_llm_string_t *s, const u_char *p)
{
    size_t  n;

    do {
        /* most of CJK in one test: leads with no bound on the second byte */

        while (s->end - p >= 3
               && (u_char) (p[0] - 0xe3) <= 0xec - 0xe3
               && ((p[1] ^ 0x80) | (p[2] ^ 0x80)) < 0x40)
        {
            s->counts[NGX_LLM_CLASS_CJK] += 3;
            p += 3;
        }

        if (p == s->end || *p < 0x80) {
            break;
        }

        n = ngx_llm_utf8_length(p, s->end);

        if (n == 0) {
            s->error = p;
            s->reason = "invalid UTF-8 in string";
            return NULL;
        }

        if (n == 3 && *p >= 0xe3 && *p != 0xee) {
            s->counts[NGX_LLM_CLASS_CJK] += n;

        } else {
            s->counts[NGX_LLM_CLASS_OTHER] += n;
        }

        p += n;

    } while (p < s->end && *p >= 0x80);

    return p;
}


size_t
ngx_llm_utf8_length(const u_char *p, const u_char *end)
{
    u_char  lo, hi;
    size_t  i, n;

    /* lo, hi: bounds of the second byte, RFC 3629 section 4 */

    lo = 0x80;
    hi = 0xbf;

    if (*p < 0xc2 || *p > 0xf4) {
        return 0;
    }

    if (*p < 0xe0) {
        n = 2;

    } else if (*p < 0xf0) {
        n = 3;
        lo = (*p == 0xe0) ? 0xa0 : 0x80;
        hi = (*p == 0xed) ? 0x9f : 0xbf;

    } else {
        n = 4;
        lo = (*p == 0xf0) ? 0x90 : 0x80;
        hi = (*p == 0xf4) ? 0x8f : 0xbf;
    }

    if ((size_t) (end - p) < n || p[1] < lo || p[1] > hi) {
        return 0;
    }

    for (i = 2; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }

    return n;
}


size_t
ngx_llm_string_decode(u_char *dst, size_t size, const u_char *src,
    const u_char *end)
{
    u_char         utf8[4];
    size_t         n, len;
    uint32_t       code;
    const u_char  *from;

    for (len = 0; src < end; len += n) {

        from = src;
        src = memchr(src, '\\', end - src);

        if (src == NULL) {
            src = end;
        }

        if (src != from) {
            n = src - from;

        } else {
            src++;
            code = ngx_llm_string_unicode(&src, end);
            n = ngx_llm_utf8_encode(utf8, code);
            from = utf8;
        }

        if (n > size - len) {
            return size + 1;
        }

        ngx_memcpy(dst + len, from, n);
    }

    return len;
}


/* *src is behind a backslash; moves it behind the escape, a pair at once */

static uint32_t
ngx_llm_string_unicode(const u_char **src, const u_char *end)
{
    uint32_t       code, low;
    ngx_uint_t     i;
    const u_char  *p;

    p = *src;
    *src = p + 1;

    switch (*p) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        break;
    default:
        return *p;
    }

    for (code = 0, i = 1; i <= 4; i++) {
        code = code << 4 | (uint32_t) ngx_llm_hex(p[i]);
    }

    p += 5;
    *src = p;

    if ((code & 0xf800) != 0xd800) {
        return code;
    }

    if ((code & 0xfc00) == 0xdc00
        || end - p < 6 || p[0] != '\\' || p[1] != 'u')
    {
        return 0xfffd;
    }

    for (low = 0, i = 2; i <= 5; i++) {
        low = low << 4 | (uint32_t) ngx_llm_hex(p[i]);
    }

    if ((low & 0xfc00) != 0xdc00) {
        return 0xfffd;
    }

    *src = p + 6;

    return 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
}


static size_t
ngx_llm_utf8_encode(u_char *dst, uint32_t ch)
{
    size_t  i, n;

    if (ch < 0x80) {
        dst[0] = (u_char) ch;
        return 1;
    }

    n = (ch < 0x800) ? 2 : (ch < 0x10000) ? 3 : 4;

    for (i = n - 1; i > 0; i--) {
        dst[i] = (u_char) (0x80 | (ch & 0x3f));
        ch >>= 6;
    }

    dst[0] = (u_char) ((0xf00 >> n) | ch);

    return n;
}


size_t
ngx_llm_json_escape(u_char *dst, const u_char *src, size_t len)
{
    size_t               n, written;
    u_char               buf[6];
    const u_char        *p, *end, *from;
    static const u_char  hex[] = "0123456789abcdef";

    written = 0;
    end = src + len;

    for (p = src; p < end; p += n) {

        from = p;
        n = 1;
        len = 1;

        if (*p >= 0x80) {
            n = ngx_llm_utf8_length(p, end);
            len = n;

            if (n == 0) {
                n = 1;
                len = 6;
                from = (const u_char *) "\\ufffd";
            }

        } else if (*p < 0x20) {
            ngx_memcpy(buf, "\\u00", 4);
            buf[4] = hex[*p >> 4];
            buf[5] = hex[*p & 0xf];
            len = 6;
            from = buf;

        } else if (*p == '"' || *p == '\\') {
            buf[0] = '\\';
            buf[1] = *p;
            len = 2;
            from = buf;
        }

        if (dst != NULL) {
            ngx_memcpy(dst + written, from, len);
        }

        written += len;
    }

    return written;
}
