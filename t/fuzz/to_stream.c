/*
 * to_stream.c: libFuzzer target: whatever is unrolled is an event stream that
 * folds to JSON, and that JSON unrolls and folds to itself (REQ-30).  The
 * first input byte chooses the kind and the usage chunk.  Build with
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined \
 *         -DNGX_LLM_STANDALONE -Iinclude -Imodule/codec t/fuzz/to_stream.c \
 *         $(find module/codec -name '*.c')
 */

#include <ngx_llm_shape.h>
#include <ngx_llm_lexer.h>

#include <stdio.h>
#include <stdlib.h>


#define SIZE  (4 * 1024 * 1024)


typedef struct {
    size_t   len;
    u_char   text[SIZE];
} text_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(void *data, const u_char *p, size_t len);
static int is_json(const text_t *text);
static void check(int good, const char *what);


static text_t  stream, json, again;


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char      *copy;
    ngx_int_t    rc;
    ngx_uint_t   kind, usage;

    if (size < 1) {
        return 0;
    }

    kind = (data[0] >> 1) % 3;
    usage = data[0] & 1;

    copy = malloc(size);
    memcpy(copy, data + 1, size - 1);

    stream.len = json.len = again.len = 0;
    rc = ngx_llm_to_stream(kind, copy, size - 1, usage, put, &stream);
    check(rc == NGX_OK || rc == NGX_DECLINED, "unroll returns");

    free(copy);

    /* fold() takes fewer choices and calls, and no half of a CRLF */

    if (rc != NGX_OK || stream.len >= SIZE
        || ngx_llm_to_document(kind, stream.text, stream.len, put, &json)
           != NGX_OK)
    {
        return 0;
    }

    check(is_json(&json), "what is folded is JSON");

    stream.len = 0;
    rc = ngx_llm_to_stream(kind, json.text, json.len, usage, put, &stream);
    check(rc == NGX_OK, "which unrolls again");

    rc = ngx_llm_to_document(kind, stream.text, stream.len, put, &again);
    check(rc == NGX_OK && again.len == json.len
          && memcmp(again.text, json.text, json.len) == 0,
          "and folds to itself");

    return 0;
}


static void
put(void *data, const u_char *p, size_t len)
{
    text_t  *out = data;

    check(len > 0, "no empty piece");

    if (len > SIZE - out->len) {
        len = SIZE - out->len;
    }

    memcpy(out->text + out->len, p, len);
    out->len += len;
}


static int
is_json(const text_t *text)
{
    const u_char    *end;
    ngx_llm_lexer_t  w;

    end = text->text + text->len;
    ngx_llm_lexer_init(&w, NGX_LLM_SCAN_SCALAR, text->text, end);

    return ngx_llm_lexer_value(&w, text->text) == end;
}


static void
check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "failed: %s\n%.*s\n%.*s\n", what, (int) json.len,
                json.text, (int) again.len, again.text);
        abort();
    }
}
