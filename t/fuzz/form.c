/*
 * fuzz/form.c: any bytes as a form, behind a first line that is its
 * Content-Type.  Spans lie inside of the body and are what they say; with
 * another model spliced in, or a part with one put in, it is a form again,
 * with that model and all else as it was.  The input is copied to memory of
 * its exact size, so that the sanitizer sees a byte too far.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -DNGX_LLM_STANDALONE \
 *       -Iinclude -Imodule/codec t/fuzz/form.c \
 *       $(find module/codec -name '*.c') \
 *       -o fuzz-form
 */

#include <stdio.h>
#include <stdlib.h>
#include "ngx_llm_form.h"


#define MODEL   "another-model"
#define HEADER  "\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\n"


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


/* len bytes at pos make way for text */

static void
check_splice(const u_char *body, size_t size, const ngx_str_t *boundary,
    const ngx_llm_facts_t *f, size_t pos, size_t len, const char *text)
{
    size_t                n;
    u_char               *other;
    ngx_llm_facts_t       facts;
    ngx_llm_json_error_t  err;

    n = strlen(text);
    other = malloc(size - len + n);
    check(other != NULL);

    memcpy(other, body, pos);
    memcpy(other + pos, text, n);
    memcpy(other + pos + n, body + pos + len, size - pos - len);

    /* one part more may be one too many */

    if (ngx_llm_form_facts(other, size - len + n, boundary, &facts, &err)
        == NGX_OK)
    {
        check(facts.model_len == sizeof(MODEL) - 1);
        check(memcmp(facts.model, MODEL, facts.model_len) == 0);
        check(facts.stream == f->stream);
        check(facts.stream_set == f->stream_set);
        check(facts.outside == f->outside - len + n);

    } else {
        check(len == 0 && f->model_size == 0 && size > 1024 * 64);
    }

    free(other);
}


static void
check_facts(const u_char *body, size_t size, const ngx_str_t *boundary,
    const ngx_llm_facts_t *f)
{
    char           part[256];
    const u_char  *p;

    check(f->form && f->outside <= size);
    check(f->delimiter_size == boundary->len + 2);
    check(f->members_pos + f->delimiter_size <= size);

    p = body + f->members_pos;

    check(p[0] == '-' && p[1] == '-'
          && memcmp(p + 2, boundary->data, boundary->len) == 0);

    if (f->model_pos) {
        p = body + f->model_pos;

        check(f->model_pos + f->model_size + f->delimiter_size + 2 < size);
        check(memcmp(p - 4, "\r\n\r\n", 4) == 0);
        check(memcmp(p + f->model_size, "\r\n--", 4) == 0);
        check(f->model_len == f->model_size || f->invalid_model);

        check_splice(body, size, boundary, f, f->model_pos, f->model_size,
                     MODEL);
        return;
    }

    check(f->model_len == 0 && !f->invalid_model);

    sprintf(part, "--%.*s" HEADER MODEL "\r\n", (int) boundary->len,
            boundary->data);

    check_splice(body, size, boundary, f, f->members_pos, 0, part);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                len;
    u_char               *type, *body;
    const uint8_t        *lf;
    ngx_str_t             boundary;
    ngx_llm_facts_t       facts;
    ngx_llm_json_error_t  err;

    lf = size ? memchr(data, '\n', size) : NULL;
    if (lf == NULL) {
        return 0;
    }

    type = copy(data, lf - data);
    len = size - (lf + 1 - data);
    body = copy(lf + 1, len);

    if (ngx_llm_form_boundary(type, lf - data, &boundary) == NGX_OK) {
        check(boundary.data >= type && boundary.len >= 1
              && boundary.len <= NGX_LLM_FORM_BOUNDARY
              && boundary.data + boundary.len <= type + (lf - data));

        if (ngx_llm_form_facts(body, len, &boundary, &facts, &err) == NGX_OK) {
            check_facts(body, len, &boundary, &facts);

        } else {
            check(err.code && err.reason && err.pos <= len);
        }
    }

    free(type);
    free(body);

    return 0;
}
