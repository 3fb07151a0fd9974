/*
 * fuzz/json.c: any bytes as a request body.  The three scanners agree on the
 * verdict, its place and the facts, spans lie inside the body, and the scanner
 * accepts each string that the writer has escaped.  The input is copied to
 * memory of its exact size, so that the sanitizer sees an overread of one
 * byte.  "make fuzz" builds and runs this file.
 */

#include <stdlib.h>
#include "ngx_llm_string.h"


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void
check(int cond)
{
    if (!cond) {
        __builtin_trap();
    }
}


/*
 * Compares the facts of two scanners.  Of the model's name only the first
 * model_len bytes are set, so that the whole structures may differ.
 */

static void
check_same(const ngx_llm_facts_t *one, const ngx_llm_facts_t *two)
{
    check(memcmp(one, two, offsetof(ngx_llm_facts_t, model)) == 0);
    check(memcmp(one->model, two->model, one->model_len) == 0);
}


/* two members less, and still an object */

static void
check_cut(const u_char *body, size_t size, const ngx_llm_facts_t *f)
{
    size_t                pos, len;
    u_char               *rest;
    ngx_uint_t            i, n, all;
    ngx_llm_facts_t       facts;
    ngx_llm_json_span_t   spans[2];
    ngx_llm_json_error_t  err;

    rest = malloc(size);
    check(rest != NULL);

    n = ngx_llm_json_cut(&f->options_place, &f->max_tokens_place, spans, &all);
    pos = 0;
    len = 0;

    for (i = 0; i < n; i++) {
        check(spans[i].pos >= pos && spans[i].pos + spans[i].len < size);
        memcpy(rest + len, body + pos, spans[i].pos - pos);
        len += spans[i].pos - pos;
        pos = spans[i].pos + spans[i].len;
    }

    memcpy(rest + len, body + pos, size - pos);
    len += size - pos;

    check(ngx_llm_json_facts(rest, len, &facts, &err) == NGX_OK);
    check(facts.options_place.key == 0 && facts.max_tokens_place.key == 0);
    check(facts.empty == (f->empty || all));

    free(rest);
}


static void
check_facts(const u_char *body, size_t size, const ngx_llm_facts_t *f)
{
    size_t      sum;
    ngx_uint_t  i;

    check(f->members_pos > 0 && body[f->members_pos - 1] == '{');
    check(f->model_len <= NGX_LLM_MODEL_LEN);
    check(!f->invalid_model || f->model_len == 0);
    check((f->model_size == 0) == (f->model_len == 0 && !f->invalid_model));

    if (f->model_size) {
        check(f->model_pos + f->model_size < size);
        check(body[f->model_pos] == '"');
        check(body[f->model_pos + f->model_size - 1] == '"');
    }

    if (f->options_size) {
        check(f->options_pos + f->options_size < size);
        check(body[f->options_pos] == '{');
        check(body[f->options_pos + f->options_size - 1] == '}');
    }

    if (f->options_null_size) {
        check(f->options_size == 0 && f->options_null_size == 4);
        check(memcmp(body + f->options_null_pos, "null", 4) == 0);
    }

    if (f->state_size) {
        check(f->stateful && f->state_pos + f->state_size < size);
    }

    check_cut(body, size, f);

    for (sum = f->outside, i = 0; i < NGX_LLM_CLASS_N; i++) {
        sum += f->counts[i];
    }

    check(f->media ? sum < size : sum == size);
}


static void
check_escape(const uint8_t *data, size_t size)
{
    size_t                len, n;
    u_char               *buf;
    ngx_llm_facts_t       facts;
    ngx_llm_json_error_t  err;

    len = ngx_llm_json_escape(NULL, data, size);

    buf = malloc(len + 8);
    check(buf != NULL);

    memcpy(buf, "{\"k\":\"", 6);
    n = ngx_llm_json_escape(buf + 6, data, size);
    memcpy(buf + 6 + n, "\"}", 2);

    check(n == len && len <= 6 * size);
    check(ngx_llm_json_facts(buf, len + 8, &facts, &err) == NGX_OK);

    free(buf);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char               *body;
    ngx_int_t             rc[3];
    ngx_uint_t            level;
    ngx_llm_facts_t       facts[3];
    ngx_llm_json_error_t  err[3];

    body = malloc(size ? size : 1);
    check(body != NULL);

    if (size) {
        memcpy(body, data, size);
    }

    for (level = NGX_LLM_SCAN_SCALAR; level <= NGX_LLM_SCAN_AVX2; level++) {
        rc[level] = ngx_llm_json_facts_with(level, body, size, &facts[level],
                                            &err[level]);

        check(rc[level] == rc[0]);
        check(memcmp(&err[level], &err[0], sizeof(err[0])) == 0);
        check(err[level].pos <= size);
        check((rc[level] == NGX_OK) == (err[level].code == 0));

        if (rc[level] == NGX_OK) {
            check_same(&facts[level], &facts[0]);
            check_facts(body, size, &facts[level]);
        }
    }

    free(body);

    check_escape(data, size);

    return 0;
}
