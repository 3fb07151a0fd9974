/*
 * bench/json.c: microseconds per request body, by size and kind of text, next
 * to a plain SSE2 scan of the same bytes for quotes, backslashes and control
 * bytes.  The best of many rounds is printed: the machine may be shared.
 *
 *   gcc -std=gnu11 -O2 -DNGX_LLM_STANDALONE -Iinclude -Imodule/codec \
 *       t/bench/json.c \
 *       $(find module/codec -name '*.c') -o bench-json
 */

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "ngx_llm_string.h"

#if (NGX_LLM_SCAN_X86)
#include <emmintrin.h>
#endif


typedef struct {
    const char  *name;
    const char  *text;          /* repeated inside of messages */
    size_t       message;       /* bytes of a message, 0: text is raw JSON */
    ngx_uint_t   drawn;         /* text is pieces, drawn at random: a branch
                                   that depends on it cannot be foreseen */
} bench_kind_t;


#define WORDS                                                                 \
    "the |of |and |a |to |in |model |that |answers |with |for |it |was |on |"  \
    "request |are |as |tokens |they |be |at |one |have |this |from |prompt |"  \
    "or |had |by |not |word |but |what |some |we |can |out |other |were |"     \
    "all |there |when |up |use |your |how |said |an |each |she |which |do |"

static const bench_kind_t  kinds[] = {
    { "english",
      "The quick brown fox jumps over the lazy dog, and then it rests for a "
      "while; nobody (not even the dog) has asked why. Numbers: 42, 1999. ",
      4000, 0 },
    { "lines of 60",
      "A line of about sixty bytes that ends with a line feed here\\n",
      4000, 0 },
    { "code, \\\" often",
      "  \\\"name\\\": \\\"get_weather\\\", \\\"id\\\": \\\"x\\\",\\n",
      4000, 0 },
    { "cjk",
      "敏捷的棕色狐狸跳过了懒惰的狗，然后它休息了一会儿。日本語も한국어도", 4000, 0 },
    { "\\u escapes", "\\u654f\\u6377\\u7684\\u68d5\\u8272", 4000, 0 },
    { "russian", "Быстрая коричневая лисица прыгает через ленивую собаку. ",
      4000, 0 },
    { "german", "Zwölf Boxkämpfer jagen Viktor quer über den großen Deich, ",
      4000, 0 },
    { "emoji", "great job \xf0\x9f\x91\x8d keep going \xf0\x9f\x9a\x80 ",
      4000, 0 },
    { "base64", "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42",
      1000000, 0 },
    { "short messages", "Hello there, how are you?", 25, 0 },
    { "deep, tiny",
      "{\"a\":[1,2,{\"b\":\"c\"},null,true,[]],\"key\":{\"x\":-1.5e3}}", 0, 0 },
    { "tokens", "15339,1917,11,7,42", 0, 0 },
    { "pretty",
      "{\n            \"type\": \"object\",\n            \"required\": [\n"
      "                \"a\"\n            ]\n        }", 0, 0 },
    { "drawn: ascii", WORDS "who, |oil. |its |now |find |", 4000, 1 },
    { "drawn: prose",
      WORDS "who, |oil.\\n|its |now |\\\"find\\\" |\\n\\n|", 4000, 1 },
    { "drawn: a dash",
      WORDS "who, |oil.\\n|its |now |\\\"find\\\" |— |", 4000, 1 },
    { "drawn: code",
      "if (|p == |NULL) {\\n|        |    |return |ngx_|u_char  *|};\\n|\\n|"
      "\\\"name\\\": |\\\"id\\\", |for (|i = 0; |i++)\\n|\\t|%s\\\\n|size_t  |",
      4000, 1 },
    { "drawn: cjk",
      "敏捷的|棕色|狐狸|跳过了|懒惰的|狗，|然后|它|休息了|一会儿。|日本語も|"
      "한국어도|GPT|\\n|「|」|的|是|不|了|人|我|在|有|他|这|", 4000, 1 },
    { "drawn: russian",
      "Быстрая |коричневая |лисица |прыгает |через |ленивую |собаку, |и |в |"
      "не |на |что |он |\\n|с |как |это |по |но |\\\"они\\\" |к |из |у |", 4000,
      1 },
    { "drawn: german",
      "Zwölf |Boxkämpfer |jagen |Viktor |quer |über |den |großen |Deich, |"
      "und |die |der |ist |nicht |ein |mit |für |auf |\\n|sie |es |als |",
      4000, 1 },
    { "drawn: \\u",
      "\\u654f|\\u6377|\\u7684|\\u68d5\\u8272| |GPT|\\n|\\u68d5|\\u65e5|", 4000,
      1 },
    { "drawn: short", WORDS, 25, 1 }
};


static void
add(u_char *body, size_t *len, const char *text, size_t size)
{
    memcpy(body + *len, text, size);
    *len += size;
}


/* the length of a piece of k's text, and *piece is where it starts */

static size_t
draw(const bench_kind_t *k, ngx_uint_t *seed, const char **piece)
{
    ngx_uint_t   n;
    const char  *p;

    *seed = *seed * 6364136223846793005 + 1442695040888963407;

    for (n = 0, p = k->text; *p; p++) {
        n += (*p == '|');
    }

    n = (*seed >> 33) % n;

    for (p = k->text; n; p++) {
        n -= (*p == '|');
    }

    *piece = p;

    return strcspn(p, "|");
}


static size_t
build(u_char *body, size_t size, const bench_kind_t *k)
{
    size_t       len, n, piece;
    ngx_uint_t   seed;
    const char  *head, *tail, *text;

    head = k->message ? "{\"role\":\"user\",\"content\":\"" : "";
    tail = k->message ? "\"}" : "";
    text = k->text;
    piece = strlen(text);
    seed = 1;
    len = 0;

    add(body, &len, "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[", 44);

    while (len + 60 < size) {
        add(body, &len, head, strlen(head));
        n = 0;

        do {
            if (k->drawn) {
                piece = draw(k, &seed, &text);
            }

            add(body, &len, text, piece);
            n += piece;
        } while (n < k->message && len + 60 < size);

        add(body, &len, tail, strlen(tail));
        add(body, &len, ",", 1);
    }

    add(body, &len, "0],\"max_tokens\":1024}", 21);

    return len;
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}


static size_t
plain(const u_char *p, const u_char *end)
{
    size_t   n;

    n = 0;

#if (NGX_LLM_SCAN_X86)

    for ( /* void */ ; end - p >= 16; p += 16) {
        __m128i  v, s;

        v = _mm_loadu_si128((const __m128i *) p);
        s = _mm_or_si128(_mm_cmpeq_epi8(v, _mm_set1_epi8('"')),
                         _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        s = _mm_or_si128(s, _mm_cmpeq_epi8(_mm_min_epu8(v,
                                                     _mm_set1_epi8(0x1f)), v));
        n += _mm_movemask_epi8(s) != 0;
    }

#endif

    while (p < end) {
        n += (*p < 0x20 || *p == '"' || *p == '\\');
        p++;
    }

    return n;
}


static double
run(ngx_uint_t level, const u_char *body, size_t len)
{
    double                 best, t;
    volatile size_t        sink;
    ngx_uint_t             i, k, rounds;
    ngx_llm_facts_t        facts;
    ngx_llm_json_error_t   err;

    best = 1e9;
    rounds = 400000 / len + 1;

    for (i = 0; i < 60; i++) {
        t = now();

        for (k = 0; k < rounds; k++) {

            if (level == 99) {
                sink = plain(body, body + len);
                (void) sink;

            } else if (ngx_llm_json_facts_with(level, body, len, &facts, &err)
                       != NGX_OK)
            {
                printf("refused: %s at %zu\n", err.reason, err.pos);
                exit(1);
            }
        }

        t = (now() - t) / rounds;
        best = t < best ? t : best;
    }

    return best;
}


int
main(void)
{
    u_char              *body;
    size_t               len, i, k;
    double               avx2;
    static const size_t  sizes[] = { 1000, 10000, 100000, 1000000 };

    body = malloc(1200000);
    if (body == NULL) {
        return 1;
    }

    printf("%-16s %8s %9s %9s %9s %9s %8s\n", "microseconds", "bytes", "plain",
           "avx2", "sse2", "scalar", "avx2 GB/s");

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        for (k = 0; k < 4; k++) {

            if (i > 0 && k != (kinds[i].drawn ? 3 : 2)) {
                continue;
            }

            len = build(body, sizes[k], &kinds[i]);
            avx2 = run(NGX_LLM_SCAN_AVX2, body, len);

            printf("%-16s %8zu %9.2f %9.2f %9.2f %9.2f %8.2f\n",
                   kinds[i].name, len, run(99, body, len), avx2,
                   run(NGX_LLM_SCAN_SSE2, body, len),
                   run(NGX_LLM_SCAN_SCALAR, body, len), len / avx2 / 1000);
        }
    }

    free(body);

    return 0;
}
