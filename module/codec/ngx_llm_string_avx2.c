/*
 * ngx_llm_string_avx2.c: the inside of a JSON string, 32 bytes a step, and the
 * choice of a scanner for the machine.  No step has a loop in it, so that
 * escapes and non-ASCII text cost a bounded time each.  It never reads outside
 * of the body: the last bytes are looked at in a copy.
 *
 * Masks hold one bit per byte of the step, the lowest is the first byte.
 * UTF-8 is validated as in J. Keiser, D. Lemire, "Validating UTF-8 In Less
 * Than One Instruction Per Byte", escapes are found as simdjson finds them.
 */

#include "ngx_llm_string.h"


#if (NGX_LLM_SCAN_X86)

#include <immintrin.h>


#define NGX_LLM_AVX2         __attribute__((target("avx2,bmi,popcnt")))
#define NGX_LLM_AVX2_INLINE  static inline                                    \
    __attribute__((always_inline, target("avx2,bmi,popcnt")))

#define NGX_LLM_STEP         32


/* what a step leaves to the next one; all 0 if that may look at itself only */

typedef struct {
    uint32_t  escaped;     /* 1: its first byte is escaped */
    uint32_t  hex;         /* its bytes that must be digits of a \u */
    uint32_t  high;        /* the last three bytes were not all ASCII */
} ngx_llm_avx2_carry_t;


/* a table of 16 for both lanes */
#define ngx_llm_avx2_table(...)                                               \
    _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))

#define ngx_llm_avx2_load(p)   _mm256_loadu_si256((const __m256i *) (p))
#define ngx_llm_avx2_mask(v)   ((uint32_t) _mm256_movemask_epi8(v))
#define ngx_llm_avx2_all(c)    _mm256_set1_epi8((char) (c))

/* the mask of bytes that have the given bit, 7 being the highest */
#define ngx_llm_avx2_bit(v, n)                                                \
    ngx_llm_avx2_mask(_mm256_slli_epi16(v, 7 - (n)))


NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_nibble(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), ngx_llm_avx2_all(0x0f));
}


/*
 * Bits 0-3: prose (space; digits; rows 4 and 6 of ASCII; rows 5 and 7), bit 4:
 * quote, bit 5: backslash, bit 6: control; 0 for other bytes and non-ASCII.
 */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_classify(__m256i v)
{
    __m256i  lo, hi;

    lo = _mm256_shuffle_epi8(
             ngx_llm_avx2_table(0x4b, 0x4e, 0x5e, 0x4e, 0x4e, 0x4e, 0x4e, 0x4e,
                                0x4e, 0x4e, 0x4c, 0x44, 0x64, 0x44, 0x44,
                                0x44),
             v);
    hi = _mm256_shuffle_epi8(
             ngx_llm_avx2_table(0x40, 0x40, 0x11, 0x02, 0x04, 0x28, 0x04, 0x08,
                                0, 0, 0, 0, 0, 0, 0, 0),
             ngx_llm_avx2_nibble(v));

    return _mm256_and_si256(lo, hi);
}


/*
 * Sets *escaped to the bytes behind an active backslash, returns those of them
 * that make no escape and those that should be hexadecimal digits and are not.
 */

NGX_LLM_AVX2_INLINE uint32_t
ngx_llm_avx2_escapes(__m256i v, uint32_t slashes, ngx_llm_avx2_carry_t *carry,
    uint32_t *escaped)
{
    __m256i   t;
    uint32_t  active, ends, letters, digits, bad;
    uint64_t  u;

    /*
     * Every other of a row of backslashes is active.  The subtraction carries
     * from where a row starts to where it ends, rows that start at odd bytes
     * apart from those at even ones.
     */

    active = slashes & ~carry->escaped;
    ends = (((active << 1) | 0xaaaaaaaa) - active) ^ 0xaaaaaaaa;

    *escaped = ends ^ (slashes | carry->escaped);
    carry->escaped = (ends & slashes) >> 31;

    /* bits 0-3: may be escaped, bits 4-5: hexadecimal digit */

    t = _mm256_shuffle_epi8(
            ngx_llm_avx2_table(0x10, 0x30, 0x3d, 0x30, 0x38, 0x38, 0x34, 0x10,
                               0x10, 0x10, 0, 0, 0x02, 0, 0x04, 0x01),
            v);
    t = _mm256_and_si256(t, _mm256_shuffle_epi8(
            ngx_llm_avx2_table(0, 0, 0x01, 0x10, 0x20, 0x02, 0x24, 0x08,
                               0, 0, 0, 0, 0, 0, 0, 0),
            ngx_llm_avx2_nibble(v)));

    digits = ngx_llm_avx2_mask(_mm256_cmpgt_epi8(t, ngx_llm_avx2_all(0x0f)));
    letters = ngx_llm_avx2_mask(_mm256_cmpgt_epi8(
                  _mm256_and_si256(t, ngx_llm_avx2_all(0x0f)),
                  _mm256_setzero_si256()));

    bad = *escaped & ~letters;

    u = *escaped & ngx_llm_avx2_mask(_mm256_cmpeq_epi8(v,
                                                       ngx_llm_avx2_all('u')));
    u = (u << 1 | u << 2 | u << 3 | u << 4) | carry->hex;
    carry->hex = (uint32_t) (u >> 32);

    return bad | ((uint32_t) u & ~digits);
}


/* returns the bytes that make what is before them, or themselves, no UTF-8 */

NGX_LLM_AVX2_INLINE uint32_t
ngx_llm_avx2_utf8(const u_char *p, __m256i v)
{
    __m256i  prev, bad, must;

    /*
     * Two bytes tell all errors but one.  Bits: 0 too short, 1 too long, 2
     * overlong of three, 3 too large, 4 surrogate, 5 overlong of two, 6 too
     * large or overlong of four, 7 two continuations (which is right in a
     * character of three or four, and wrong if there is no such bit there).
     */

    prev = ngx_llm_avx2_load(p - 1);

    bad = _mm256_shuffle_epi8(
              ngx_llm_avx2_table(2, 2, 2, 2, 2, 2, 2, 2,
                                 (char) 0x80, (char) 0x80, (char) 0x80,
                                 (char) 0x80, 0x21, 0x01, 0x15, 0x49),
              ngx_llm_avx2_nibble(prev));

    bad = _mm256_and_si256(bad, _mm256_shuffle_epi8(
              ngx_llm_avx2_table((char) 0xe7, (char) 0xa3, (char) 0x83,
                                 (char) 0x83, (char) 0x8b, (char) 0xcb,
                                 (char) 0xcb, (char) 0xcb, (char) 0xcb,
                                 (char) 0xcb, (char) 0xcb, (char) 0xcb,
                                 (char) 0xcb, (char) 0xdb, (char) 0xcb,
                                 (char) 0xcb),
              _mm256_and_si256(prev, ngx_llm_avx2_all(0x0f))));

    bad = _mm256_and_si256(bad, _mm256_shuffle_epi8(
              ngx_llm_avx2_table(1, 1, 1, 1, 1, 1, 1, 1,
                                 (char) 0xe6, (char) 0xae, (char) 0xba,
                                 (char) 0xba, 1, 1, 1, 1),
              ngx_llm_avx2_nibble(v)));

    must = _mm256_or_si256(
               _mm256_subs_epu8(ngx_llm_avx2_load(p - 2),
                                ngx_llm_avx2_all(0xe0 - 0x80)),
               _mm256_subs_epu8(ngx_llm_avx2_load(p - 3),
                                ngx_llm_avx2_all(0xf0 - 0x80)));

    bad = _mm256_xor_si256(bad,
                        _mm256_and_si256(must, ngx_llm_avx2_all(0x80)));

    return ~ngx_llm_avx2_mask(_mm256_cmpeq_epi8(bad, _mm256_setzero_si256()));
}


NGX_LLM_AVX2_INLINE uint32_t
ngx_llm_avx2_cjk_leads(__m256i v)
{
    __m256i  n;

    n = _mm256_sub_epi8(v, ngx_llm_avx2_all(0xe3));
    n = _mm256_cmpeq_epi8(_mm256_min_epu8(n, ngx_llm_avx2_all(0xed - 0xe3)),
                          n);

    return ngx_llm_avx2_mask(_mm256_or_si256(n,
                        _mm256_cmpeq_epi8(v, ngx_llm_avx2_all(0xef))));
}


static NGX_LLM_AVX2 const u_char *
ngx_llm_string_scan_avx2(ngx_llm_string_t *s, const u_char *p)
{
    u_char                edge[3 + NGX_LLM_STEP];
    __m256i               v, t;
    uint32_t              stop, words, quotes, slashes, bad, high, upto, in;
    uint32_t              escaped;
    uint64_t              prose, multi, cjk;
    const u_char         *start, *src;
    ngx_llm_avx2_carry_t  carry;

    if (p - s->start < 3) {
        /* a step looks back three bytes; this is the first key */
        return ngx_llm_string_scan_sse2(s, p);
    }

    start = p;
    prose = 0;
    multi = 0;
    cjk = 0;
    ngx_memzero(&carry, sizeof(ngx_llm_avx2_carry_t));

    for ( ;; p += NGX_LLM_STEP) {
        src = p;

        if (s->end - p < NGX_LLM_STEP) {
            /* the zeros behind the end are control bytes, an error */
            ngx_memzero(edge, sizeof(edge));
            ngx_memcpy(edge, p - 3, s->end - p + 3);
            src = edge + 3;
        }

        v = ngx_llm_avx2_load(src);
        t = ngx_llm_avx2_classify(v);

        words = ngx_llm_avx2_mask(_mm256_cmpgt_epi8(t,
                                                    _mm256_setzero_si256()));
        stop = ngx_llm_avx2_mask(_mm256_or_si256(v,
                             _mm256_cmpgt_epi8(t, ngx_llm_avx2_all(0x0f))));

        if ((stop | carry.escaped | carry.hex | carry.high) == 0) {
            prose += _mm_popcnt_u32(words);
            continue;
        }

        words &= ~stop;
        quotes = ngx_llm_avx2_bit(t, 4);

        if ((quotes & stop & (0 - stop))
            && (carry.escaped | carry.hex | carry.high) == 0)
        {
            /* the first special byte closes the string: most strings do so */
            prose += _mm_popcnt_u32(words & (stop ^ (stop - 1)));
            break;
        }

        slashes = ngx_llm_avx2_bit(t, 5);
        bad = ngx_llm_avx2_bit(t, 6);
        high = ngx_llm_avx2_mask(v);

        if (slashes | carry.escaped | carry.hex) {
            bad |= ngx_llm_avx2_escapes(v, slashes, &carry, &escaped);
            quotes &= ~escaped;
        }

        /* up to the closing quote, with it and without; all if there is none */

        upto = quotes ^ (quotes - 1);
        in = ~quotes & (quotes - 1);

        if ((high & upto) | carry.high) {
            bad |= ngx_llm_avx2_utf8(src, v);
            multi += _mm_popcnt_u32(high & in);
            cjk += 3 * _mm_popcnt_u32(ngx_llm_avx2_cjk_leads(v) & in);
        }

        carry.high = high >> (NGX_LLM_STEP - 3);

        if (bad & upto) {
            return ngx_llm_string_scan_sse2(s, start);
        }

        prose += _mm_popcnt_u32(words & in);

        if (quotes) {
            break;
        }
    }

    p += __builtin_ctz(quotes);

    s->counts[NGX_LLM_CLASS_PROSE] += prose;
    s->counts[NGX_LLM_CLASS_PUNCT] += p - start - prose - multi;
    s->counts[NGX_LLM_CLASS_OTHER] += multi - cjk;
    s->counts[NGX_LLM_CLASS_CJK] += cjk;

    return p;
}


#endif


ngx_llm_string_scan_pt
ngx_llm_string_scanner(ngx_uint_t level)
{
#if (NGX_LLM_SCAN_X86)

    if (level >= NGX_LLM_SCAN_AVX2
        && __builtin_cpu_supports("avx2")
        && __builtin_cpu_supports("bmi")
        && __builtin_cpu_supports("popcnt"))
    {
        return ngx_llm_string_scan_avx2;
    }

    if (level >= NGX_LLM_SCAN_SSE2) {
        return ngx_llm_string_scan_sse2;
    }

#endif

    (void) level;

    return ngx_llm_string_scan_scalar;
}
