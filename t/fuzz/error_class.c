/*
 * fuzz/error_class.c: any bytes as an error body.  The blame keeps to what its
 * status allows, hints and durations keep to their bounds.  The first two
 * input bytes choose the status.  Inputs are copied to memory of their exact
 * size, so that the sanitizer sees a byte too far.
 *
 *   clang -g -O1 -fsanitize=fuzzer,address,undefined -DNGX_LLM_STANDALONE \
 *       -Iinclude -Imodule/codec t/fuzz/error_class.c \
 *       $(find module/codec -name '*.c') -o fuzz-error_class
 */

#include <stdlib.h>
#include <ngx_llm_error_class.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ngx_llm_error_class_e error_class(ngx_uint_t status, const uint8_t *data,
    size_t size, int64_t *hint);


static void
check(int cond)
{
    if (!cond) {
        __builtin_trap();
    }
}


static const ngx_uint_t  statuses[] = {
    200, 400, 401, 402, 403, 404, 408, 409, 413, 422, 424, 429, 498, 500, 503,
    504, 529
};


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    u_char                *copy;
    int64_t                hint, ms;
    ngx_uint_t             status;
    ngx_llm_error_class_e  bare, got;

    if (size < 2) {
        return 0;
    }

    status = (data[1] & 1) ? (ngx_uint_t) data[0] * 3
                           : statuses[data[0] % (sizeof(statuses)
                                                 / sizeof(statuses[0]))];
    data += 2;
    size -= 2;

    bare = error_class(status, data, 0, &hint);
    check(hint == -1);

    got = error_class(status, data, size, &hint);

    if ((status > 299 && status < 400) || status == 402 || status == 404
        || status == 408 || status == 409 || status == 413 || status == 422)
    {
        check(got == bare);
    }

    copy = malloc(size ? size : 1);
    check(copy != NULL);

    if (size) {
        memcpy(copy, data, size);
    }

    ms = -1;

    if (ngx_llm_error_class_duration(copy, size, &ms) == NGX_OK) {
        check(ms >= 0 && ms <= NGX_LLM_ERROR_CLASS_MAX);

    } else {
        check(ms == -1);
    }

    free(copy);

    return 0;
}


static ngx_llm_error_class_e
error_class(ngx_uint_t status, const uint8_t *data, size_t size, int64_t *hint)
{
    u_char                *copy;
    ngx_llm_error_class_e  got;

    copy = malloc(size ? size : 1);
    check(copy != NULL);

    if (size) {
        memcpy(copy, data, size);
    }

    got = ngx_llm_error_class(status, copy, size, hint);

    check(got <= NGX_LLM_ERROR_CLASS_TIMEOUT);
    check(*hint >= -1 && *hint <= NGX_LLM_ERROR_CLASS_MAX);
    check(*hint == -1 || got == NGX_LLM_ERROR_CLASS_RATE
          || got == NGX_LLM_ERROR_CLASS_OVERLOAD
          || got == NGX_LLM_ERROR_CLASS_QUOTA);

    free(copy);

    return got;
}
