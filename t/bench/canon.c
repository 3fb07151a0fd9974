/*
 * bench/canon.c: microseconds per request body for its canonical form, put
 * nowhere and into SHA-256, next to SHA-256 of the body as it came.  "ratio"
 * is what a cache's key costs, of which the hash is 1.  The best of many
 * rounds is printed: the machine may be shared.
 *
 *   gcc -std=gnu11 -O2 -DNGX_LLM_STANDALONE -Iinclude -Imodule/codec \
 *       t/bench/canon.c \
 *       $(find module/codec -name '*.c') -o bench-canon -lcrypto
 */

#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "ngx_llm_canon.h"
#include "ngx_llm_string.h"


#define ROUNDS  40


typedef struct {
    const char  *name;
    const char  *text;          /* repeated inside of messages; NULL: prose */
    size_t       message;       /* bytes of a message, 0: text is raw JSON */
    size_t       size;
} bench_kind_t;


static const bench_kind_t  kinds[] = {
    { "english, 1 KB", "The quick brown fox jumps over the lazy dog (twice). ",
      1000, 1000 },
    { "english, 10 KB", "The quick brown fox jumps over the lazy dog (twice). ",
      4000, 10000 },
    { "english", "The quick brown fox jumps over the lazy dog (twice). ",
      4000, 100000 },
    { "english, 1 MB", "The quick brown fox jumps over the lazy dog (twice). ",
      4000, 1000000 },
    { "prose, 10 KB", NULL, 2000, 10000 },
    { "prose, 1 MB", NULL, 700000, 1000000 },
    { "\\n each 40", "A line of about forty bytes with its end\\n",
      4000, 100000 },
    { "\\u each 40", "A line of about forty bytes, na\\u00efve end ",
      4000, 100000 },
    { "code, \\\" often", "  \\\"name\\\": \\\"get_weather\\\",\\n", 4000,
      100000 },
    { "\\u only", "\\u654f\\u6377\\u7684\\u68d5\\u8272", 4000, 100000 },
    { "cjk", "敏捷的棕色狐狸跳过了懒惰的狗，然后它休息了一会儿。", 4000,
      100000 },
    { "messages of 500", "Hello there, how are you? ", 500, 100000 },
    { "messages of 25", "Hello there, how are you?", 25, 100000 },
    { "schema, pretty",
      "{\n            \"type\": \"object\",\n            \"required\": [\n"
      "                \"a\"\n            ]\n        },", 0, 100000 },
    { "tokens", "15339,1917,11,7,42,", 0, 100000 },
    { "tokens, spaces", "15339, 1917, 11, 7, 42, ", 0, 100000 },
    { "floats", "0.0123,-0.5,1.25e-3,", 0, 100000 },
};


static ngx_llm_canon_node_t  nodes[1000000];
static EVP_MD_CTX           *md;


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1e6 + ts.tv_nsec / 1e3;
}


static void
add(u_char *body, size_t *len, const char *text)
{
    memcpy(body + *len, text, strlen(text));
    *len += strlen(text);
}


/* words, with an escape at a place that cannot be foreseen */

static const char *
piece(const bench_kind_t *k)
{
    static uint32_t     seed = 1;
    static const char  *words[] = {
        "the ", "of ", "important ", "model ", "request ", "answer ", "in ",
        "information ", "between ", "people ", "a ", "function ", "value ",
        "more. ", "\\\"error\\\" ", "returns.\\n\\n"
    };

    if (k->text) {
        return k->text;
    }

    seed = seed * 1103515245 + 12345;

    /* one in 32 is one of the last two */

    return words[(seed >> 20) % 32 ? (seed >> 16) % 14 : 14 + (seed >> 28) % 2];
}


static size_t
build(u_char *body, const bench_kind_t *k)
{
    size_t       len, n;
    const char  *text;

    len = 0;
    add(body, &len, "{\"model\":\"gpt-4o\",\"temperature\":0,\"messages\":[");

    while (len + 120 < k->size) {
        if (k->message) {
            add(body, &len, "{\"role\":\"user\",\"content\":\"");
        }

        n = 0;

        do {
            text = piece(k);
            add(body, &len, text);
            n += strlen(text);
        } while (n < k->message && len + 120 < k->size);

        if (k->message) {
            add(body, &len, "\"},");
        }
    }

    add(body, &len, "0],\"max_tokens\":1024}");

    return len;
}


static void
put_nowhere(void *data, const u_char *p, size_t len)
{
    *(size_t *) data += len;
}


static void
put_digest(void *data, const u_char *p, size_t len)
{
    EVP_DigestUpdate(md, p, len);
}


/* level -1: the hash alone; digest: with it */

static double
run(int level, int digest, const u_char *body, size_t len)
{
    int              i, k, rounds;
    double           best, t;
    size_t           sum;
    u_char           hash[EVP_MAX_MD_SIZE];
    ngx_llm_canon_t  c;

    best = 1e9;
    rounds = (int) (200000 / len) + 1;
    sum = 0;

    memset(&c, 0, sizeof(c));
    c.nodes = nodes;
    c.nnodes = sizeof(nodes) / sizeof(nodes[0]);
    c.put = digest ? put_digest : put_nowhere;
    c.data = &sum;

    for (i = 0; i < ROUNDS; i++) {
        t = now();

        for (k = 0; k < rounds; k++) {

            if (digest) {
                EVP_DigestInit_ex(md, EVP_sha256(), NULL);
            }

            if (level < 0) {
                EVP_DigestUpdate(md, body, len);

            } else if (ngx_llm_canon_with(level, &c, body, len) != NGX_OK) {
                printf("refused: %d\n", (int) c.refused);
                exit(1);
            }

            if (digest) {
                EVP_DigestFinal_ex(md, hash, NULL);
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
    double   hash, key;
    size_t   i, len;
    u_char  *body;

    body = malloc(2000000);
    md = EVP_MD_CTX_new();

    if (body == NULL || md == NULL) {
        return 1;
    }

    printf("%-16s %8s %8s %8s %8s %8s %8s %6s\n", "microseconds", "bytes",
           "sha-256", "avx2", "sse2", "scalar", "key", "ratio");

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        len = build(body, &kinds[i]);
        hash = run(-1, 1, body, len);
        key = run(NGX_LLM_SCAN_AVX2, 1, body, len);

        printf("%-16s %8zu %8.2f %8.2f %8.2f %8.2f %8.2f %6.2f\n",
               kinds[i].name, len, hash,
               run(NGX_LLM_SCAN_AVX2, 0, body, len),
               run(NGX_LLM_SCAN_SSE2, 0, body, len),
               run(NGX_LLM_SCAN_SCALAR, 0, body, len), key, key / hash);
    }

    EVP_MD_CTX_free(md);
    free(body);

    return 0;
}
