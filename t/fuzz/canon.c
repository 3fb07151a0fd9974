/*
 * fuzz/canon.c: any bytes as a request body.  The three scanners agree on the
 * verdict, the form and what was found; with too few nodes nothing is put,
 * and as many as the header promises are enough.  The form of what is JSON is
 * JSON and its own form, and the body written in another way has the same.
 * What is no JSON is looked at too, it may do no harm.  Bodies are copied to
 * memory of their exact size, so that the sanitizer sees a byte too far.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -DNGX_LLM_STANDALONE \
 *       -Iinclude -Imodule/codec t/fuzz/canon.c \
 *       $(find module/codec -name '*.c') \
 *       -o fuzz-canon
 */

#include <stdlib.h>
#include "ngx_llm_canon.h"
#include "ngx_llm_lexer.h"


typedef struct {
    ngx_int_t         rc;
    size_t            len;
    size_t            size;
    u_char           *text;
    ngx_llm_canon_t   c;
} form_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(int cond)
{
    if (!cond) {
        __builtin_trap();
    }
}


static void *
copy(const void *data, size_t size)
{
    void  *p;

    p = malloc(size ? size : 1);
    check(p != NULL);

    if (size) {
        memcpy(p, data, size);
    }

    return p;
}


static void
put(void *data, const u_char *p, size_t len)
{
    form_t  *f;

    f = data;

    check(len > 0);

    if (f->len + len > f->size) {
        f->size = 2 * (f->len + len);
        f->text = realloc(f->text, f->size);
        check(f->text != NULL);
    }

    memcpy(f->text + f->len, p, len);
    f->len += len;
}


static void
make(form_t *f, ngx_uint_t level, const void *data, size_t len)
{
    u_char  *body;
    size_t   n;

    body = copy(data, len);
    memset(f, 0, sizeof(form_t));

    for (n = 1; /* void */; n *= 2) {
        f->c.nodes = malloc(n * sizeof(ngx_llm_canon_node_t));
        f->c.nnodes = n;
        f->c.put = put;
        f->c.data = f;
        check(f->c.nodes != NULL);

        f->rc = ngx_llm_canon_with(level, &f->c, body, len);

        free(f->c.nodes);

        if (f->rc != NGX_AGAIN) {
            break;
        }

        check(f->len == 0 && n < len);
    }

    check((f->rc == NGX_DECLINED) == (f->c.refused != 0));

    free(body);
}


static void
check_same(const form_t *f, const u_char *data, size_t len)
{
    form_t  other;

    make(&other, NGX_LLM_SCAN_BEST, data, len);

    check(other.rc == NGX_OK && other.len == f->len);
    check(memcmp(other.text, f->text, f->len) == 0);
    check(other.c.zero == f->c.zero && other.c.stateful == f->c.stateful
          && other.c.hosted == f->c.hosted);

    free(other.text);
}


/* what is JSON needs no more nodes than the header says */

static void
check_nodes(const form_t *f, const u_char *data, size_t len)
{
    form_t  other;

    memset(&other, 0, sizeof(form_t));

    other.c.nnodes = len / 2;
    other.c.nodes = malloc(len / 2 * sizeof(ngx_llm_canon_node_t));
    other.c.put = put;
    other.c.data = &other;
    check(other.c.nodes != NULL);

    check(ngx_llm_canon(&other.c, data, len) == f->rc);

    free(other.c.nodes);
    free(other.text);
}


static void
check_json(const form_t *f)
{
    u_char          *text;
    ngx_llm_lexer_t  w;

    text = copy(f->text, f->len);
    ngx_llm_lexer_init(&w, NGX_LLM_SCAN_BEST, text, text + f->len);

    check(text[0] == '{');
    check(ngx_llm_lexer_value(&w, text) == text + f->len);

    free(text);
}


/* p is in a string; its next character, in one of its other forms */

static const u_char *
respell(u_char **dst, const u_char *p, u_char how)
{
    size_t               n;
    static const u_char  hex[] = "0123456789abcdef0123456789ABCDEF";

    n = 1;

    if (*p == '\\') {
        n = (p[1] == 'u') ? 6 : 2;

    } else if (*p == '/' && how & 1) {
        *(*dst)++ = '\\';

    } else if (*p < 0x80 && how & 2) {
        memcpy(*dst, "\\u00", 4);
        (*dst)[4] = hex[*p >> 4];
        (*dst)[5] = hex[(how & 16) + (*p & 15)];
        *dst += 6;
        return p + 1;
    }

    memcpy(*dst, p, n);
    *dst += n;

    return p + n;
}


/* p is at a number */

static const u_char *
renumber(u_char **dst, const u_char *p, const u_char *end, u_char how)
{
    int  integer;

    integer = 1;

    while (p < end && strchr("0123456789+-.eE", *p) && *p) {
        integer &= (strchr(".eE", *p) == NULL);
        *(*dst)++ = *p++;
    }

    if (integer && how & 3) {
        memcpy(*dst, how & 1 ? ".0" : "e0", 2);
        *dst += 2;
    }

    return p;
}


static void
check_other(const form_t *f, const u_char *data, size_t len)
{
    u_char         *other, *dst, how;
    const u_char   *p, *end;

    other = malloc(6 * len);
    check(other != NULL);

    dst = other;
    end = data + len;
    how = 0;

    for (p = data; p < end; /* void */) {
        how = how * 5 + *p + 1;

        if (*p == '"') {
            *dst++ = *p++;

            while (*p != '"') {
                how = how * 5 + *p + 1;
                p = respell(&dst, p, how >> 3);
            }

            *dst++ = *p++;

        } else if (*p == '-' || (*p >= '0' && *p <= '9')) {
            p = renumber(&dst, p, end, how >> 3);

        } else {
            *dst++ = *p;

            if (strchr("{}[]:,", *p) && how & 8) {
                *dst++ = " \t\r\n"[how >> 6];
            }

            p++;
        }
    }

    check_same(f, other, dst - other);

    free(other);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    form_t                form[3];
    ngx_uint_t            i;
    ngx_llm_facts_t       facts;
    ngx_llm_json_error_t  err;

    for (i = NGX_LLM_SCAN_SCALAR; i <= NGX_LLM_SCAN_AVX2; i++) {
        make(&form[i], i, data, size);

        form[i].c.nodes = NULL;
        form[i].c.data = NULL;

        check(form[i].rc == form[0].rc && form[i].len == form[0].len);
        check(form[i].len == 0
              || memcmp(form[i].text, form[0].text, form[i].len) == 0);
        check(memcmp(&form[i].c, &form[0].c, sizeof(form[i].c)) == 0);
    }

    if (ngx_llm_json_facts(data, size, &facts, &err) == NGX_OK) {
        check(form[0].rc == NGX_OK || form[0].rc == NGX_DECLINED);
        check_nodes(&form[0], data, size);

        if (form[0].rc == NGX_OK) {
            check_json(&form[0]);
            check_same(&form[0], form[0].text, form[0].len);
            check_other(&form[0], data, size);
        }
    }

    for (i = 0; i < 3; i++) {
        free(form[i].text);
    }

    return 0;
}
