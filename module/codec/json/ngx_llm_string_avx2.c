/*
 * ngx_llm_string_avx2.c: the inside of a JSON string, 64 bytes a step, and the
 * choice of a scanner for the machine.  No step has a loop in it, nor a branch
 * that depends on where the usual escapes are: text has them at any place, and
 * a branch that cannot be foreseen costs as much as the step.  It never reads
 * outside of the body: the last bytes are looked at in a copy.
 *
 * Masks hold one bit per byte of the step, the lowest is the first byte.
 * UTF-8 is validated as in J. Keiser, D. Lemire, "Validating UTF-8 In Less
 * Than One Instruction Per Byte", escapes are found as simdjson finds them.
 */

#include "../ngx_llm_string.h"


#if (NGX_LLM_SCAN_X86)

#include <immintrin.h>


#define NGX_LLM_AVX2         target("avx2,bmi,popcnt")
#define NGX_LLM_AVX2_INLINE                                                   \
    static inline __attribute__((always_inline, NGX_LLM_AVX2))

/* kept apart, so that it takes no registers from the loop that calls it */
#define NGX_LLM_AVX2_APART                                                    \
    static __attribute__((noinline, NGX_LLM_AVX2))

#define NGX_LLM_HALF         32
#define NGX_LLM_STEP         64

/* bytes copied at the end of the body; a step reads three bytes before it */
#define NGX_LLM_EDGE         (NGX_LLM_STEP + 3)


typedef struct {
    __m256i   lo, hi;               /* the bytes */
    __m256i   lo_class, hi_class;
    uint64_t  quotes;
    uint64_t  slashes;
    uint64_t  simple;               /* make an escape; \u and \b do, too */
} ngx_llm_avx2_step_t;


/* state that an unusual step passes to the next one, and its counts */

typedef struct {
    uint64_t  hex;         /* bytes that must be digits of a \u */
    uint64_t  high;        /* 1: the last byte was not ASCII */

    uint64_t  multi;       /* bytes that are not ASCII */
    uint64_t  cjk;         /* CJK characters */
} ngx_llm_avx2_carry_t;


/* a table of 16 for both lanes */
#define ngx_llm_avx2_table(...)                                               \
    _mm256_broadcastsi128_si256(_mm_setr_epi8(__VA_ARGS__))

#define ngx_llm_avx2_load(p)   _mm256_loadu_si256((const __m256i *) (p))
#define ngx_llm_avx2_mask(v)   ((uint32_t) _mm256_movemask_epi8(v))
#define ngx_llm_avx2_all(c)    _mm256_set1_epi8((char) (c))
#define ngx_llm_avx2_is(v, c)  _mm256_cmpeq_epi8(v, ngx_llm_avx2_all(c))

/* the masks of the two halves of a step in one */
#define ngx_llm_avx2_join(lo, hi)                                             \
    ((uint64_t) ngx_llm_avx2_mask(hi) << NGX_LLM_HALF | ngx_llm_avx2_mask(lo))


NGX_LLM_AVX2_APART const u_char *ngx_llm_string_scan_steps(
    ngx_llm_string_t *s, const u_char *start, const u_char *p, uint64_t prose);
NGX_LLM_AVX2_APART uint64_t ngx_llm_avx2_odd(const u_char *p, uint64_t upto,
    ngx_llm_avx2_carry_t *carry);
NGX_LLM_AVX2_APART uint64_t ngx_llm_avx2_escapes(const u_char *p,
    uint64_t escaped, ngx_llm_avx2_carry_t *carry);


NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_nibble(__m256i v)
{
    return _mm256_and_si256(_mm256_srli_epi16(v, 4), ngx_llm_avx2_all(0x0f));
}


/*
 * Bits 0-3: prose (space; digits; rows 4 and 6 of ASCII; rows 5 and 7), bit 7:
 * control; 0 for other bytes and non-ASCII.
 */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_classify(__m256i v)
{
    __m256i  lo, hi;

    lo = _mm256_shuffle_epi8(
             ngx_llm_avx2_table((char) 0x8b, (char) 0x8e, (char) 0x8e,
                                (char) 0x8e, (char) 0x8e, (char) 0x8e,
                                (char) 0x8e, (char) 0x8e, (char) 0x8e,
                                (char) 0x8e, (char) 0x8c, (char) 0x84,
                                (char) 0x84, (char) 0x84, (char) 0x84,
                                (char) 0x84),
             v);
    hi = _mm256_shuffle_epi8(
             ngx_llm_avx2_table((char) 0x80, (char) 0x80, 0x01, 0x02, 0x04,
                                0x08, 0x04, 0x08, 0, 0, 0, 0, 0, 0, 0, 0),
             ngx_llm_avx2_nibble(v));

    return _mm256_and_si256(lo, hi);
}


/*
 * Returns 0xff for each byte that completes a simple escape.  The table finds
 * one byte per low half, or none (0x80): '"' has a separate mask, \b is rare,
 * and ngx_llm_avx2_escapes() reads \u.
 */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_simple(__m256i v)
{
    return _mm256_cmpeq_epi8(v, _mm256_shuffle_epi8(
               ngx_llm_avx2_table((char) 0x80, (char) 0x80, 'r', (char) 0x80,
                                  't', (char) 0x80, 'f', (char) 0x80,
                                  (char) 0x80, (char) 0x80, (char) 0x80,
                                  (char) 0x80, '\\', (char) 0x80, 'n', '/'),
               v));
}


NGX_LLM_AVX2_INLINE void
ngx_llm_avx2_look(ngx_llm_avx2_step_t *step, const u_char *p)
{
    __m256i  lo, hi;

    lo = ngx_llm_avx2_load(p);
    hi = ngx_llm_avx2_load(p + NGX_LLM_HALF);

    step->lo = lo;
    step->hi = hi;
    step->lo_class = ngx_llm_avx2_classify(lo);
    step->hi_class = ngx_llm_avx2_classify(hi);

    step->quotes = ngx_llm_avx2_join(ngx_llm_avx2_is(lo, '"'),
                                     ngx_llm_avx2_is(hi, '"'));
    step->slashes = ngx_llm_avx2_join(ngx_llm_avx2_is(lo, '\\'),
                                      ngx_llm_avx2_is(hi, '\\'));
    step->simple = step->quotes | ngx_llm_avx2_join(ngx_llm_avx2_simple(lo),
                                                    ngx_llm_avx2_simple(hi));
}


/* control bytes and UTF-8: whether there are any, and where */

NGX_LLM_AVX2_INLINE uint32_t
ngx_llm_avx2_any_odd(const ngx_llm_avx2_step_t *step)
{
    return ngx_llm_avx2_mask(_mm256_or_si256(
               _mm256_or_si256(step->lo, step->lo_class),
               _mm256_or_si256(step->hi, step->hi_class)));
}


NGX_LLM_AVX2_INLINE uint64_t
ngx_llm_avx2_all_odd(const ngx_llm_avx2_step_t *step)
{
    return ngx_llm_avx2_join(_mm256_or_si256(step->lo, step->lo_class),
                             _mm256_or_si256(step->hi, step->hi_class));
}


/* prose: how much, in four sums, and where */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_prose(const ngx_llm_avx2_step_t *step)
{
    __m256i  n, zero;

    zero = _mm256_setzero_si256();

    n = _mm256_add_epi8(_mm256_cmpgt_epi8(step->lo_class, zero),
                        _mm256_cmpgt_epi8(step->hi_class, zero));

    return _mm256_sad_epu8(_mm256_sub_epi8(zero, n), zero);
}


NGX_LLM_AVX2_INLINE uint64_t
ngx_llm_avx2_all_prose(const ngx_llm_avx2_step_t *step)
{
    __m256i  zero;

    zero = _mm256_setzero_si256();

    return ngx_llm_avx2_join(_mm256_cmpgt_epi8(step->lo_class, zero),
                             _mm256_cmpgt_epi8(step->hi_class, zero));
}


NGX_LLM_AVX2_INLINE uint64_t
ngx_llm_avx2_total(__m256i sum)
{
    __m128i  v;

    v = _mm_add_epi64(_mm256_castsi256_si128(sum),
                      _mm256_extracti128_si256(sum, 1));
    v = _mm_add_epi64(v, _mm_unpackhi_epi64(v, v));

    return (uint64_t) _mm_cvtsi128_si64(v);
}


/*
 * The bytes behind an active backslash; *behind is 1 if the first byte is, and
 * becomes so for the next step.  Every other of a row of backslashes is active.
 * The subtraction carries from where a row starts to where it ends, rows that
 * start at odd bytes apart from those at even ones.
 */

NGX_LLM_AVX2_INLINE uint64_t
ngx_llm_avx2_escaped(uint64_t slashes, uint64_t *behind)
{
    uint64_t  active, ends, escaped;

    active = slashes & ~*behind;
    ends = (((active << 1) | 0xaaaaaaaaaaaaaaaaull) - active)
           ^ 0xaaaaaaaaaaaaaaaaull;

    escaped = ends ^ (slashes | *behind);
    *behind = (ends & slashes) >> (NGX_LLM_STEP - 1);

    return escaped;
}


/*
 * Most strings are short and end at their first special byte, so this looks at
 * half a step.  Where the body ends sooner that is its last bytes, the masks
 * without those before p.
 */

static __attribute__((NGX_LLM_AVX2)) const u_char *
ngx_llm_string_scan_avx2(ngx_llm_string_t *s, const u_char *p)
{
    size_t         before, n;
    __m256i        v, class, special;
    uint64_t       stop, words;

    before = 0;

    if (s->end - p < NGX_LLM_HALF) {

        if (s->end - s->start < NGX_LLM_HALF) {
            return ngx_llm_string_scan_sse2(s, p);
        }

        before = NGX_LLM_HALF - (s->end - p);
    }

    v = ngx_llm_avx2_load(p - before);
    class = ngx_llm_avx2_classify(v);

    special = _mm256_or_si256(ngx_llm_avx2_is(v, '"'),
                              ngx_llm_avx2_is(v, '\\'));
    special = _mm256_or_si256(special, _mm256_or_si256(v, class));

    stop = (uint64_t) ngx_llm_avx2_mask(special) >> before;
    words = (uint64_t) ngx_llm_avx2_mask(
                _mm256_cmpgt_epi8(class, _mm256_setzero_si256())) >> before;

    if (stop == 0) {
        n = NGX_LLM_HALF - before;
        return ngx_llm_string_scan_steps(s, p, p + n, _mm_popcnt_u64(words));
    }

    n = __builtin_ctzll(stop);

    if (p[n] != '"') {
        return ngx_llm_string_scan_steps(s, p, p, 0);
    }

    words = _mm_popcnt_u64(words & ~stop & (stop - 1));

    s->counts[NGX_LLM_CLASS_PROSE] += words;
    s->counts[NGX_LLM_CLASS_PUNCT] += n - words;

    return p + n;
}


/*
 * Scans the rest of a string that begins at start, from the step at p on.  The
 * bytes before p are plain ASCII and count as prose.
 */

NGX_LLM_AVX2_APART const u_char *
ngx_llm_string_scan_steps(ngx_llm_string_t *s, const u_char *start,
    const u_char *p, uint64_t prose)
{
    u_char                edge[NGX_LLM_EDGE + NGX_LLM_STEP];
    __m256i               sum;
    uint64_t              escaped, behind, unusual, quotes, upto, bad;
    const u_char         *src;
    ngx_llm_avx2_step_t   step;
    ngx_llm_avx2_carry_t  carry;

    if (p - s->start < 3 || s->end - s->start < NGX_LLM_EDGE) {
        return ngx_llm_string_scan_sse2(s, start);
    }

    ngx_memzero(&carry, sizeof(ngx_llm_avx2_carry_t));
    sum = _mm256_setzero_si256();
    behind = 0;

    for ( ;; p += NGX_LLM_STEP) {
        src = p;

        if (s->end - p < NGX_LLM_STEP) {
            /* the zeros behind the end are control bytes, an error */
            ngx_memcpy(edge, s->end - NGX_LLM_EDGE, NGX_LLM_EDGE);
            ngx_memzero(edge + NGX_LLM_EDGE, NGX_LLM_STEP);
            src = edge + NGX_LLM_EDGE - (s->end - p);
        }

        ngx_llm_avx2_look(&step, src);

        escaped = ngx_llm_avx2_escaped(step.slashes, &behind);
        unusual = escaped & ~step.simple;
        quotes = step.quotes & ~escaped;

        if (ngx_llm_avx2_any_odd(&step) | unusual | quotes
            | carry.high | carry.hex)
        {
            /* up to the closing quote; all if there is none */

            upto = quotes ^ (quotes - 1);
            bad = 0;

            if ((ngx_llm_avx2_all_odd(&step) & upto) | carry.high) {
                bad = ngx_llm_avx2_odd(src, upto, &carry);
            }

            if (unusual | carry.hex) {
                bad |= ngx_llm_avx2_escapes(src, escaped, &carry);
            }

            if (bad & upto) {
                return ngx_llm_string_scan_sse2(s, start);
            }

            if (quotes) {
                break;
            }
        }

        sum = _mm256_add_epi64(sum, ngx_llm_avx2_prose(&step));
    }

    p += __builtin_ctzll(quotes);

    prose += ngx_llm_avx2_total(sum)
             + _mm_popcnt_u64(ngx_llm_avx2_all_prose(&step) & upto);

    s->counts[NGX_LLM_CLASS_PROSE] += prose;
    s->counts[NGX_LLM_CLASS_PUNCT] += p - start - prose - carry.multi;
    s->counts[NGX_LLM_CLASS_OTHER] += carry.multi - 3 * carry.cjk;
    s->counts[NGX_LLM_CLASS_CJK] += 3 * carry.cjk;

    return p;
}


/* Returns 0 for each byte that makes the text invalid UTF-8. */

NGX_LLM_AVX2_INLINE __m256i
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

    return _mm256_cmpeq_epi8(bad, _mm256_setzero_si256());
}


/* 0xff where there is E3 to ED or EF */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_cjk_lead(__m256i v)
{
    return _mm256_cmpeq_epi8(v, _mm256_shuffle_epi8(
               ngx_llm_avx2_table((char) 0xff, (char) 0xff, (char) 0xff,
                                  (char) 0xe3, (char) 0xe4, (char) 0xe5,
                                  (char) 0xe6, (char) 0xe7, (char) 0xe8,
                                  (char) 0xe9, (char) 0xea, (char) 0xeb,
                                  (char) 0xec, (char) 0xed, (char) 0xff,
                                  (char) 0xef),
               _mm256_and_si256(v, ngx_llm_avx2_all(0x0f))));
}


/* 0xff where there is a control byte */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_control(__m256i v)
{
    return _mm256_cmpeq_epi8(_mm256_min_epu8(v, ngx_llm_avx2_all(0x1f)), v);
}


/*
 * A step that has control bytes or UTF-8, or is behind one that ends in UTF-8.
 * Returns the bytes that are wrong.
 */

NGX_LLM_AVX2_APART uint64_t
ngx_llm_avx2_odd(const u_char *p, uint64_t upto, ngx_llm_avx2_carry_t *carry)
{
    __m256i   lo, hi;
    uint64_t  high, cjk, right;

    lo = ngx_llm_avx2_load(p);
    hi = ngx_llm_avx2_load(p + NGX_LLM_HALF);

    high = ngx_llm_avx2_join(lo, hi);
    cjk = ngx_llm_avx2_join(ngx_llm_avx2_cjk_lead(lo),
                            ngx_llm_avx2_cjk_lead(hi));

    carry->high = high >> (NGX_LLM_STEP - 1);
    carry->multi += _mm_popcnt_u64(high & upto);
    carry->cjk += _mm_popcnt_u64(cjk & upto);

    right = ngx_llm_avx2_join(_mm256_andnot_si256(ngx_llm_avx2_control(lo),
                                                  ngx_llm_avx2_utf8(p, lo)),
                              _mm256_andnot_si256(ngx_llm_avx2_control(hi),
                                      ngx_llm_avx2_utf8(p + NGX_LLM_HALF, hi)));
    return ~right;
}


/* bits 0-3: may be escaped, bits 4-5: hexadecimal digit */

NGX_LLM_AVX2_INLINE __m256i
ngx_llm_avx2_letters(__m256i v)
{
    __m256i  t;

    t = _mm256_shuffle_epi8(
            ngx_llm_avx2_table(0x10, 0x30, 0x3d, 0x30, 0x38, 0x38, 0x34, 0x10,
                               0x10, 0x10, 0, 0, 0x02, 0, 0x04, 0x01),
            v);

    return _mm256_and_si256(t, _mm256_shuffle_epi8(
            ngx_llm_avx2_table(0, 0, 0x01, 0x10, 0x20, 0x02, 0x24, 0x08,
                               0, 0, 0, 0, 0, 0, 0, 0),
            ngx_llm_avx2_nibble(v)));
}


/*
 * Checks a step with \u, \b or an invalid escape, or a step after one that ends
 * within a \u.  Returns the mask of invalid bytes.
 */

NGX_LLM_AVX2_APART uint64_t
ngx_llm_avx2_escapes(const u_char *p, uint64_t escaped,
    ngx_llm_avx2_carry_t *carry)
{
    __m256i   lo, hi, any;
    uint64_t  u, hex, digits, letters;

    lo = ngx_llm_avx2_load(p);
    hi = ngx_llm_avx2_load(p + NGX_LLM_HALF);

    u = escaped & ngx_llm_avx2_join(ngx_llm_avx2_is(lo, 'u'),
                                    ngx_llm_avx2_is(hi, 'u'));

    hex = u << 1 | u << 2 | u << 3 | u << 4 | carry->hex;
    carry->hex = u >> 63 | u >> 62 | u >> 61 | u >> 60;

    lo = ngx_llm_avx2_letters(lo);
    hi = ngx_llm_avx2_letters(hi);

    any = ngx_llm_avx2_all(0x0f);
    digits = ngx_llm_avx2_join(_mm256_cmpgt_epi8(lo, any),
                               _mm256_cmpgt_epi8(hi, any));

    lo = _mm256_and_si256(lo, any);
    hi = _mm256_and_si256(hi, any);

    any = _mm256_setzero_si256();
    letters = ngx_llm_avx2_join(_mm256_cmpgt_epi8(lo, any),
                                _mm256_cmpgt_epi8(hi, any));

    return (escaped & ~letters) | (hex & ~digits);
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
