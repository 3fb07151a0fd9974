/*
 * bucket.c: the arithmetic of a quota, by lines.  What module/lua/bucket.lua
 * does with the same lines is compared in t/quota-arithmetic.t.
 *
 * A line is "OP n period now need actual window"; the answer is the operation's
 * result, then the bucket: "result used rest at alerts".
 */

#include <ngx_llm_bucket.h>

#include <inttypes.h>
#include <stdio.h>


static int64_t run(const char *op, ngx_llm_bucket_t *b,
    const ngx_llm_limit_t *limit, int64_t now, int64_t need, int64_t actual,
    int64_t window);
static int64_t probe(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t need, int64_t now);


int
main(void)
{
    char              line[256], op[16];
    int64_t           now, need, actual, window, result;
    ngx_llm_marks_t   marks;
    ngx_llm_limit_t   limit;
    ngx_llm_bucket_t  b;

    memset(&b, 0, sizeof(b));
    memset(&marks, 0, sizeof(marks));
    b.marks = &marks;

    while (fgets(line, sizeof(line), stdin)) {

        if (sscanf(line, "%15s %" SCNd64 " %" SCNd64 " %" SCNd64 " %" SCNd64
                   " %" SCNd64 " %" SCNd64, op, &limit.n, &limit.period, &now,
                   &need, &actual, &window)
            != 7)
        {
            fprintf(stderr, "no operation: %s", line);
            return 1;
        }

        result = run(op, &b, &limit, now, need, actual, window);

        printf("%" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 " %" PRId64 "\n",
               result, b.used, b.rest, b.at, b.alerts);
    }

    return 0;
}


static int64_t
run(const char *op, ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit,
    int64_t now, int64_t need, int64_t actual, int64_t window)
{
    int64_t           end;
    ngx_llm_marks_t  *marks;

    if (strcmp(op, "new") == 0) {
        marks = b->marks;
        memset(b, 0, sizeof(ngx_llm_bucket_t));
        memset(marks, 0, sizeof(ngx_llm_marks_t));
        b->marks = marks;
        return 0;
    }

    if (strcmp(op, "turn") == 0) {
        ngx_llm_bucket_turn(b, limit, now);
        return 0;
    }

    if (strcmp(op, "take") == 0) {
        ngx_llm_bucket_take(b, limit, need);
        return 0;
    }

    if (strcmp(op, "wait") == 0) {
        return ngx_llm_bucket_wait(b, limit, need, now);
    }

    if (strcmp(op, "probe") == 0) {
        return probe(b, limit, need, now);
    }

    if (strcmp(op, "settle") == 0) {
        return ngx_llm_bucket_settle(b, limit, window, need, actual, now);
    }

    if (strcmp(op, "correct") == 0) {
        return ngx_llm_bucket_correct(b, limit, window, need, actual, now);
    }

    if (strcmp(op, "left") == 0) {
        return ngx_llm_bucket_left(b, limit);
    }

    if (strcmp(op, "reset") == 0) {
        return ngx_llm_bucket_reset(b, limit, now);
    }

    if (strcmp(op, "end") == 0) {
        (void) ngx_llm_bucket_window(limit->period, now, &end);
        return end;
    }

    return -1;
}


/* 0: after the wait there is none, and a millisecond before there is */

static int64_t
probe(const ngx_llm_bucket_t *b, const ngx_llm_limit_t *limit, int64_t need,
    int64_t now)
{
    int64_t           ms;
    ngx_llm_bucket_t  then;

    ms = ngx_llm_bucket_wait(b, limit, need, now);

    if (ms == 0) {
        return 0;
    }

    then = *b;
    then.marks = NULL;
    ngx_llm_bucket_turn(&then, limit, now + ms);

    if (ngx_llm_bucket_wait(&then, limit, need, now + ms) != 0) {
        return 1;
    }

    then = *b;
    then.marks = NULL;
    ngx_llm_bucket_turn(&then, limit, now + ms - 1);

    return ngx_llm_bucket_wait(&then, limit, need, now + ms - 1) > 0 ? 0 : 2;
}
