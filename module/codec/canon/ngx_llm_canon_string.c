/*
 * ngx_llm_canon_string.c: the strings of the canonical form of a body.  Nearly
 * all strings of a body are canonical already: one test of 64 bytes a step
 * finds their end and confirms that.  In other strings only the escapes that
 * have a shorter form are rewritten.
 *
 * Masks hold one bit per byte of the step, the lowest is the first byte.  The
 * rest of a body after the last whole step is tested as a part of its last 64
 * bytes, so that no byte outside of the body is read.
 */

#include "ngx_llm_canon_text.h"

#if (NGX_LLM_SCAN_X86)
#include <immintrin.h>
#endif


#define NGX_LLM_CANON_INLINE                                                  \
    static inline __attribute__((always_inline))

#define ngx_llm_canon_surrogate(code)    (((code) & 0xfffff800) == 0xd800)


/* the bytes of a step at p that are ch */

typedef uint64_t (*ngx_llm_canon_mask_pt)(const u_char *p, u_char ch);


/* the inside of a string, decoded byte by byte */

typedef struct {
    const u_char  *p;
    const u_char  *end;
    u_char         bytes[4];      /* of the escape that was read last, */
    ngx_uint_t     len;
    ngx_uint_t     next;          /* first byte that was not put yet */
} ngx_llm_canon_reader_t;


static const ngx_llm_canon_scan_t *ngx_llm_canon_string_scanner(
    ngx_uint_t level);
static ngx_int_t ngx_llm_canon_string_next_byte(ngx_llm_canon_reader_t *r);
static uint32_t ngx_llm_canon_string_escape(const u_char **src,
    const u_char *end);
static uint32_t ngx_llm_canon_string_hex(const u_char *p);
static void ngx_llm_canon_string_write_code(ngx_llm_canon_out_t *out,
    uint32_t code);
static size_t ngx_llm_canon_string_utf8(u_char *dst, uint32_t code);


/* eight bytes a word; the sum never carries from byte to byte */

NGX_LLM_CANON_INLINE uint64_t
ngx_llm_canon_string_mask_scalar(const u_char *p, u_char ch)
{
    uint64_t    w, mask;
    ngx_uint_t  i;

    mask = 0;

    for (i = 0; i < NGX_LLM_CANON_STEP; i += 8) {
        ngx_memcpy(&w, p + i, 8);

#if (__BYTE_ORDER__ == __ORDER_BIG_ENDIAN__)
        w = __builtin_bswap64(w);
#endif

        w ^= ngx_llm_canon_x8(ch);
        w = ~(((w & ngx_llm_canon_x8(0x7f)) + ngx_llm_canon_x8(0x7f)) | w);
        w = (w >> 7) & ngx_llm_canon_x8(0x01);

        /* the eight bits, at every eighth place, go to the highest byte */

        mask |= ((w * 0x0102040810204080ull) >> 56) << i;
    }

    return mask;
}


/*
 * The bytes behind an active backslash.  Every other of a row of backslashes
 * is active; the subtraction carries from where a row starts to where it ends,
 * rows that start at odd bytes apart from those at even ones.
 */

NGX_LLM_CANON_INLINE uint64_t
ngx_llm_canon_string_escaped(uint64_t slashes, uint64_t *carry)
{
    uint64_t  active, ends, escaped;

    active = slashes & ~*carry;
    ends = (((active << 1) | ngx_llm_canon_x8(0xaa)) - active)
           ^ ngx_llm_canon_x8(0xaa);

    escaped = ends ^ (slashes | *carry);
    *carry = (ends & slashes) >> 63;

    return escaped;
}


/*
 * These functions are instantiated per mask, so that the mask is a constant.
 * The step at p is read at "from", where "shift" bytes precede it.  Escapes
 * occur at random places, so cheap masks are used instead of branches, which
 * the CPU would predict wrongly.
 */

NGX_LLM_CANON_INLINE void
ngx_llm_canon_string_step(ngx_llm_canon_step_t *step, const u_char *p,
    const u_char *from, ngx_uint_t shift, ngx_llm_canon_mask_pt mask)
{
    uint64_t  slashes;

    step->p = p;
    step->quotes = mask(from, '"') >> shift;
    slashes = mask(from, '\\') >> shift;

    if (mask == ngx_llm_canon_string_mask_scalar && !(slashes | step->carry)) {
        step->escaped = 0;
        step->letters = 0;
        return;
    }

    step->escaped = ngx_llm_canon_string_escaped(slashes, &step->carry);
    step->quotes &= ~step->escaped;
    step->letters = step->escaped
                    & (mask(from, 'u') | mask(from, '/')) >> shift;
}


NGX_LLM_CANON_INLINE void
ngx_llm_canon_string_look(ngx_llm_canon_text_t *t, const u_char *p,
    uint64_t carry, ngx_llm_canon_mask_pt mask)
{
    ssize_t  left;

    left = t->end - p;
    t->step.carry = carry;

    if (left >= NGX_LLM_CANON_STEP) {
        ngx_llm_canon_string_step(&t->step, p, p, 0, mask);

    } else {
        ngx_llm_canon_string_step(&t->step, p, t->last,
                                  NGX_LLM_CANON_STEP - left, mask);
    }
}


NGX_LLM_CANON_INLINE ngx_uint_t
ngx_llm_canon_string_seek(ngx_llm_canon_text_t *t, const u_char *p,
    ngx_llm_canon_mask_pt mask)
{
    size_t                n;
    ssize_t               left;
    uint64_t              escaped, letters;
    ngx_llm_canon_step_t  step;

    step = t->step;
    n = p - step.p;
    left = t->end - p;

    if (n < NGX_LLM_CANON_STEP) {
        escaped = step.escaped >> n;
        letters = step.letters >> n;
        left -= NGX_LLM_CANON_STEP - n;

    } else {
        escaped = 0;
        letters = 0;
        step.carry = 0;
    }

    for ( /* void */ ; left >= NGX_LLM_CANON_STEP; left -= NGX_LLM_CANON_STEP)
    {
        p = t->end - left;

        ngx_llm_canon_string_step(&step, p, p, 0, mask);

        if (step.quotes) {
            goto found;
        }

        escaped |= step.escaped;
        letters |= step.letters;
    }

    step.quotes = 0;

    if (left > 0) {
        ngx_llm_canon_string_step(&step, t->end - left, t->last,
                                  NGX_LLM_CANON_STEP - left, mask);
    }

found:

    t->step = step;

    return (escaped ? NGX_LLM_CANON_ESCAPED : 0)
           | (letters ? NGX_LLM_CANON_REWRITTEN : 0);
}


static void
ngx_llm_canon_string_look_scalar(ngx_llm_canon_text_t *t, const u_char *p,
    uint64_t carry)
{
    ngx_llm_canon_string_look(t, p, carry, ngx_llm_canon_string_mask_scalar);
}


static ngx_uint_t
ngx_llm_canon_string_seek_scalar(ngx_llm_canon_text_t *t, const u_char *p)
{
    return ngx_llm_canon_string_seek(t, p, ngx_llm_canon_string_mask_scalar);
}


static const ngx_llm_canon_scan_t  ngx_llm_canon_scan_scalar = {
    ngx_llm_canon_string_look_scalar,
    ngx_llm_canon_string_seek_scalar
};


#if (NGX_LLM_SCAN_X86)

NGX_LLM_CANON_INLINE uint64_t
ngx_llm_canon_string_mask_sse2(const u_char *p, u_char ch)
{
    __m128i     v;
    uint64_t    mask;
    ngx_uint_t  i;

    mask = 0;

    for (i = 0; i < NGX_LLM_CANON_STEP; i += 16) {
        v = _mm_loadu_si128((const __m128i *) (p + i));
        v = _mm_cmpeq_epi8(v, _mm_set1_epi8((char) ch));
        mask |= (uint64_t) (uint32_t) _mm_movemask_epi8(v) << i;
    }

    return mask;
}


static void
ngx_llm_canon_string_look_sse2(ngx_llm_canon_text_t *t, const u_char *p,
    uint64_t carry)
{
    ngx_llm_canon_string_look(t, p, carry, ngx_llm_canon_string_mask_sse2);
}


static ngx_uint_t
ngx_llm_canon_string_seek_sse2(ngx_llm_canon_text_t *t, const u_char *p)
{
    return ngx_llm_canon_string_seek(t, p, ngx_llm_canon_string_mask_sse2);
}


static const ngx_llm_canon_scan_t  ngx_llm_canon_scan_sse2 = {
    ngx_llm_canon_string_look_sse2,
    ngx_llm_canon_string_seek_sse2
};


#define NGX_LLM_CANON_AVX2       __attribute__((target("avx2,bmi")))
#define NGX_LLM_CANON_AVX2_INLINE                                             \
    static inline __attribute__((always_inline, target("avx2,bmi")))


NGX_LLM_CANON_AVX2_INLINE uint64_t
ngx_llm_canon_string_mask_avx2(const u_char *p, u_char ch)
{
    __m256i  low, high, all;

    all = _mm256_set1_epi8((char) ch);
    low = _mm256_loadu_si256((const __m256i *) p);
    high = _mm256_loadu_si256((const __m256i *) (p + 32));

    low = _mm256_cmpeq_epi8(low, all);
    high = _mm256_cmpeq_epi8(high, all);

    return (uint32_t) _mm256_movemask_epi8(low)
           | (uint64_t) (uint32_t) _mm256_movemask_epi8(high) << 32;
}


static NGX_LLM_CANON_AVX2 void
ngx_llm_canon_string_look_avx2(ngx_llm_canon_text_t *t, const u_char *p,
    uint64_t carry)
{
    ngx_llm_canon_string_look(t, p, carry, ngx_llm_canon_string_mask_avx2);
}


static NGX_LLM_CANON_AVX2 ngx_uint_t
ngx_llm_canon_string_seek_avx2(ngx_llm_canon_text_t *t, const u_char *p)
{
    return ngx_llm_canon_string_seek(t, p, ngx_llm_canon_string_mask_avx2);
}


static const ngx_llm_canon_scan_t  ngx_llm_canon_scan_avx2 = {
    ngx_llm_canon_string_look_avx2,
    ngx_llm_canon_string_seek_avx2
};

#endif


void
ngx_llm_canon_string_text(ngx_llm_canon_text_t *t, ngx_uint_t level,
    const u_char *body, size_t len)
{
    t->scan = ngx_llm_canon_string_scanner(level);
    t->end = body + len;

    if (len >= NGX_LLM_CANON_STEP) {
        t->last = t->end - NGX_LLM_CANON_STEP;

    } else {
        ngx_memzero(t->brief, NGX_LLM_CANON_STEP);
        ngx_memcpy(t->brief + NGX_LLM_CANON_STEP - len, body, len);
        t->last = t->brief;
    }

    t->scan->look(t, body, 0);
}


static const ngx_llm_canon_scan_t *
ngx_llm_canon_string_scanner(ngx_uint_t level)
{
#if (NGX_LLM_SCAN_X86)

    if (level >= NGX_LLM_SCAN_AVX2
        && __builtin_cpu_supports("avx2")
        && __builtin_cpu_supports("bmi"))
    {
        return &ngx_llm_canon_scan_avx2;
    }

    if (level >= NGX_LLM_SCAN_SSE2) {
        return &ngx_llm_canon_scan_sse2;
    }

#endif

    (void) level;

    return &ngx_llm_canon_scan_scalar;
}


ngx_int_t
ngx_llm_canon_string_compare(const u_char *one, size_t len, const u_char *two,
    size_t two_len)
{
    ngx_int_t            ch, diff;
    ngx_llm_canon_reader_t  a, b;

    ngx_memzero(&a, sizeof(ngx_llm_canon_reader_t));
    ngx_memzero(&b, sizeof(ngx_llm_canon_reader_t));

    a.p = one;
    a.end = one + len;

    b.p = two;
    b.end = two + two_len;

    do {
        ch = ngx_llm_canon_string_next_byte(&a);
        diff = ch - ngx_llm_canon_string_next_byte(&b);
    } while (diff == 0 && ch != -1);

    return diff;
}


size_t
ngx_llm_canon_string_decode(u_char *dst, size_t size, const u_char *p,
    const u_char *end)
{
    size_t               len;
    ngx_int_t            ch;
    ngx_llm_canon_reader_t  r;

    ngx_memzero(&r, sizeof(ngx_llm_canon_reader_t));

    r.p = p;
    r.end = end;

    for (len = 0; /* void */; len++) {
        ch = ngx_llm_canon_string_next_byte(&r);

        if (ch == -1) {
            return len;
        }

        if (len == size) {
            return size + 1;
        }

        dst[len] = (u_char) ch;
    }
}


/* the next byte, -1 at the end */

static ngx_int_t
ngx_llm_canon_string_next_byte(ngx_llm_canon_reader_t *r)
{
    if (r->next < r->len) {
        return r->bytes[r->next++];
    }

    if (r->p >= r->end) {
        return -1;
    }

    if (*r->p != '\\') {
        return *r->p++;
    }

    r->len = ngx_llm_canon_string_utf8(r->bytes,
                                       ngx_llm_canon_string_escape(&r->p,
                                                                   r->end));
    r->next = 1;

    return r->bytes[0];
}


ngx_int_t
ngx_llm_canon_string_rewrite(ngx_llm_canon_text_t *t, ngx_llm_canon_out_t *out,
    const u_char *p, const u_char *quote)
{
    uint32_t       code;
    uint64_t       found, carry;
    const u_char  *from, *escape;

    carry = 0;
    from = p;

    for ( ;; p += NGX_LLM_CANON_STEP) {

        t->scan->look(t, p, carry);
        carry = t->step.carry;

        for (found = t->step.letters; found; found &= found - 1) {

            escape = p + __builtin_ctzll(found) - 1;

            if (escape < from) {
                /* it was one of those behind another */
                continue;
            }

            if (escape >= quote) {
                break;
            }

            if (out != NULL) {
                ngx_llm_canon_write(out, from, escape - from);
            }

            do {
                code = ngx_llm_canon_string_escape(&escape, quote);

                if (ngx_llm_canon_surrogate(code)) {
                    return NGX_DECLINED;
                }

                if (out != NULL) {
                    ngx_llm_canon_string_write_code(out, code);
                }

            } while (quote - escape >= 6
                     && escape[0] == '\\' && escape[1] == 'u');

            from = escape;
        }

        if (quote - p <= NGX_LLM_CANON_STEP) {
            break;
        }
    }

    if (out != NULL) {
        ngx_llm_canon_write(out, from, quote - from);
    }

    return NGX_OK;
}


/*
 * *src is at a backslash; moves it behind the escape, a pair of surrogates at
 * once.  Returns the code point, a surrogate that is alone as it is.
 */

static uint32_t
ngx_llm_canon_string_escape(const u_char **src, const u_char *end)
{
    uint32_t       code, low;
    const u_char  *p;

    p = *src;

    if (end - p < 2) {
        *src = end;
        return '\\';
    }

    *src = p + 2;

    switch (p[1]) {
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
        return p[1];
    }

    if (end - p < 6) {
        *src = end;
        return 0xfffd;
    }

    *src = p + 6;

    code = ngx_llm_canon_string_hex(p + 2);

    if ((code & 0xfc00) != 0xd800
        || end - p < 12 || p[6] != '\\' || p[7] != 'u')
    {
        return code;
    }

    low = ngx_llm_canon_string_hex(p + 8);

    if ((low & 0xfc00) != 0xdc00) {
        return code;
    }

    *src = p + 12;

    return 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
}


/* four hexadecimal digits: a letter has 9 less in its low bits, and bit 6 */

static uint32_t
ngx_llm_canon_string_hex(const u_char *p)
{
    uint32_t    code;
    ngx_uint_t  i;

    for (code = 0, i = 0; i < 4; i++) {
        code = code << 4 | (((p[i] & 0xf) + 9 * (p[i] >> 6)) & 0xf);
    }

    return code;
}


static void
ngx_llm_canon_string_write_code(ngx_llm_canon_out_t *out, uint32_t code)
{
    u_char               *p;
    static const u_char   hex[] = "0123456789abcdef";
    static const u_char   letters[] = "uuuuuuuubtnufruu";

    if (NGX_LLM_CANON_BUFFER - out->len < 6) {
        ngx_llm_canon_out_flush(out);
    }

    p = out->buf + out->len;

    if (code >= 0x20 && code != '"' && code != '\\') {
        out->len += ngx_llm_canon_string_utf8(p, code);
        return;
    }

    p[0] = '\\';
    p[1] = (code >= 0x20) ? (u_char) code
           : (code < 0x10) ? letters[code] : 'u';

    if (p[1] != 'u') {
        out->len += 2;
        return;
    }

    p[2] = '0';
    p[3] = '0';
    p[4] = hex[code >> 4];
    p[5] = hex[code & 0xf];

    out->len += 6;
}


static size_t
ngx_llm_canon_string_utf8(u_char *dst, uint32_t code)
{
    if (code < 0x80) {
        dst[0] = (u_char) code;
        return 1;
    }

    if (code < 0x800) {
        dst[0] = (u_char) (0xc0 | code >> 6);
        dst[1] = (u_char) (0x80 | (code & 0x3f));
        return 2;
    }

    if (code < 0x10000) {
        dst[0] = (u_char) (0xe0 | code >> 12);
        dst[1] = (u_char) (0x80 | (code >> 6 & 0x3f));
        dst[2] = (u_char) (0x80 | (code & 0x3f));
        return 3;
    }

    dst[0] = (u_char) (0xf0 | code >> 18);
    dst[1] = (u_char) (0x80 | (code >> 12 & 0x3f));
    dst[2] = (u_char) (0x80 | (code >> 6 & 0x3f));
    dst[3] = (u_char) (0x80 | (code & 0x3f));

    return 4;
}
