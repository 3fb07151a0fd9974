/*
 * answer.c: libFuzzer target: an answer fed whole, byte by byte and in random
 * pieces says the same, event by event (REQ-2).  The first input byte chooses
 * the framing and the api, the second one the pieces.  Build with
 *
 *     clang -g -O1 -fsanitize=fuzzer,address,undefined \
 *         -DNGX_LLM_STANDALONE -Iinclude -Imodule/codec t/fuzz/answer.c \
 *         $(find module/codec -name '*.c')
 */

#include <ngx_llm_answer.h>

#include <stdio.h>
#include <stdlib.h>


#define MAX_EVENTS  256


typedef struct {
    size_t            position[MAX_EVENTS];
    ngx_llm_event_t   event[MAX_EVENTS];
    ngx_uint_t        n;
    ngx_llm_answer_t  a;
} result_t;


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed(result_t *r, u_char how, const u_char *text, size_t len,
    uint32_t pieces);
static void note(result_t *r, size_t position);
static void compare(const result_t *x, const result_t *y);
static void check(int good, const char *what);


static const ngx_llm_api_t  *apis[] = {
    &ngx_llm_api_chat,
    &ngx_llm_api_responses,
    &ngx_llm_api_messages,
    &ngx_llm_api_images,
    &ngx_llm_api_embeddings
};

static result_t  whole, cut;


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) {
        return 0;
    }

    feed(&whole, data[0], data + 2, size - 2, 0);

    feed(&cut, data[0], data + 2, size - 2, 1);
    compare(&whole, &cut);

    feed(&cut, data[0], data + 2, size - 2, 2 + data[1]);
    compare(&whole, &cut);

    return 0;
}


/* pieces: 0 whole, 1 single bytes, else the seed of random ones */

static void
feed(result_t *r, u_char how, const u_char *text, size_t len, uint32_t pieces)
{
    u_char      *copy, *p, *last;
    size_t       from, n, at;
    uint32_t     seed;
    ngx_int_t    rc;
    ngx_uint_t   kind;

    kind = (how & 3) % 3;

    r->n = 0;
    seed = pieces;
    memset(&r->a, 0xa5, sizeof(r->a));
    ngx_llm_answer_init(&r->a, kind, apis[(how >> 2) % 5], 1);

    for (from = 0; from < len; from += n) {
        n = len;

        if (pieces == 1) {
            n = 1;

        } else if (pieces > 1) {
            seed = seed * 1664525 + 1013904223;
            n = 1 + (seed >> 16) % ((seed >> 10) % 5 ? 7 : 90);
        }

        if (n > len - from) {
            n = len - from;
        }

        copy = malloc(n);
        memcpy(copy, text + from, n);

        p = copy;
        last = copy + n;

        while (p < last) {
            rc = ngx_llm_answer_feed(&r->a, &p, last);

            if (rc == NGX_AGAIN || r->a.kind == NGX_LLM_ANSWER_JSON) {
                check(p == last, "consumes everything");
                continue;
            }

            at = from + (p - copy);

            if (at < len && text[at - 1] == '\r' && text[at] == '\n') {
                at++;
            }

            note(r, at);
        }

        free(copy);
    }

    ngx_llm_answer_eof(&r->a);
    note(r, len + 1);
}


static void
note(result_t *r, size_t position)
{
    if (r->n < MAX_EVENTS) {
        r->position[r->n] = position;
        r->event[r->n] = r->a.event;
        r->n++;
    }
}


static void
compare(const result_t *x, const result_t *y)
{
    ngx_uint_t               i;
    const ngx_llm_event_t   *e, *f;
    const ngx_llm_answer_t  *a, *b;

    check(x->n == y->n, "number of events");

    for (i = 0; i < x->n; i++) {
        e = &x->event[i];
        f = &y->event[i];

        check(x->position[i] == y->position[i], "position");
        check(e->data == f->data && e->done == f->done
              && e->object == f->object && e->error == f->error
              && e->error_object == f->error_object
              && e->usage_only == f->usage_only && e->terminal == f->terminal
              && e->output == f->output
              && e->error_status == f->error_status, "event");
    }

    a = &x->a;
    b = &y->a;

    check(memcmp(&a->usage, &b->usage, sizeof(a->usage)) == 0, "usage");
    check(a->usage_seen == b->usage_seen && a->usage_bad == b->usage_bad
          && a->finished == b->finished && a->done == b->done
          && a->terminal == b->terminal && a->content == b->content
          && a->malformed == b->malformed && a->events == b->events, "flags");
    check(a->finish_len == b->finish_len
          && memcmp(a->finish_reason, b->finish_reason, a->finish_len) == 0,
          "finish reason");
    check(a->kind == b->kind && a->shown == b->shown && a->over == b->over
          && a->failed == b->failed, "the answer");
    check(ngx_llm_answer_complete(a) == ngx_llm_answer_complete(b),
          "complete");
    check(ngx_llm_answer_boundary(a) == ngx_llm_answer_boundary(b),
          "boundary");
}


static void
check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "differs: %s\n", what);
        abort();
    }
}
