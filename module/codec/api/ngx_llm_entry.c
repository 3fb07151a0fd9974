/*
 * Answers as they are cached: the proof that one is whole, and the layout of
 * its head.
 */


#include <ngx_llm_entry.h>


#define NGX_LLM_ENTRY_MAGIC   0x656d6c6c     /* "llme" */
#define NGX_LLM_ENTRY_FIXED   176
#define NGX_LLM_ENTRY_NAMES   4
#define NGX_LLM_ENTRY_STREAM  1

/* a number of an answer or of a clock, at most */
#define NGX_LLM_ENTRY_MOST    ((int64_t) 1 << 53)


static ngx_int_t ngx_llm_entry_feed(ngx_llm_entry_t *entry,
    ngx_llm_answer_t *answer);
static const char *ngx_llm_entry_doubt(const ngx_llm_answer_t *answer);
static ngx_uint_t ngx_llm_entry_all(const ngx_llm_answer_t *answer);
static ngx_uint_t ngx_llm_entry_sane(const ngx_llm_entry_t *entry);


static ngx_inline u_char *
ngx_llm_entry_put16(u_char *p, uint32_t value)
{
    p[0] = (u_char) value;
    p[1] = (u_char) (value >> 8);

    return p + 2;
}


static ngx_inline u_char *
ngx_llm_entry_put32(u_char *p, uint32_t value)
{
    p[0] = (u_char) value;
    p[1] = (u_char) (value >> 8);
    p[2] = (u_char) (value >> 16);
    p[3] = (u_char) (value >> 24);

    return p + 4;
}


static ngx_inline u_char *
ngx_llm_entry_put64(u_char *p, uint64_t value)
{
    p = ngx_llm_entry_put32(p, (uint32_t) value);

    return ngx_llm_entry_put32(p, (uint32_t) (value >> 32));
}


static ngx_inline uint32_t
ngx_llm_entry_get16(u_char **p)
{
    u_char  *b = *p;

    *p += 2;

    return (uint32_t) b[0] | (uint32_t) b[1] << 8;
}


static ngx_inline uint32_t
ngx_llm_entry_get32(u_char **p)
{
    u_char  *b = *p;

    *p += 4;

    return (uint32_t) b[0] | (uint32_t) b[1] << 8
           | (uint32_t) b[2] << 16 | (uint32_t) b[3] << 24;
}


static ngx_inline uint64_t
ngx_llm_entry_get64(u_char **p)
{
    uint64_t  low;

    low = ngx_llm_entry_get32(p);

    return low | (uint64_t) ngx_llm_entry_get32(p) << 32;
}


ngx_int_t
ngx_llm_entry_prove(ngx_llm_entry_t *entry, const ngx_llm_api_t *api,
    ngx_int_t n, ngx_uint_t usage, u_char *buffer, const char **why)
{
    ngx_llm_answer_t  answer;

    ngx_llm_answer_init(&answer, entry->stream ? NGX_LLM_ANSWER_STREAM
                                               : NGX_LLM_ANSWER_JSON,
                        api, (n > 0) ? n : 0);

    if (ngx_llm_entry_feed(entry, &answer) != NGX_OK) {
        *why = "partial";
        return NGX_DECLINED;
    }

    return ngx_llm_entry_judge(entry, &answer, usage, buffer, why);
}


ngx_int_t
ngx_llm_entry_judge(ngx_llm_entry_t *entry, const ngx_llm_answer_t *answer,
    ngx_uint_t usage, u_char *buffer, const char **why)
{
    if (answer->kind == NGX_LLM_ANSWER_JSON && !answer->closed) {
        *why = "partial";
        return NGX_DECLINED;
    }

    *why = ngx_llm_entry_doubt(answer);

    if (*why) {
        return NGX_DECLINED;
    }

    if (usage && (!answer->usage_seen || answer->usage_bad)) {
        *why = "usage";
        return NGX_DECLINED;
    }

    entry->usage = answer->usage;

    ngx_memcpy(buffer, answer->finish_reason, answer->finish_len);
    entry->finish.data = buffer;
    entry->finish.len = answer->finish_len;

    return NGX_OK;
}


/*
 * NGX_DECLINED: there are bytes behind the last event, or none at all; or
 * something follows what ends a stream, as if two were one.
 */

static ngx_int_t
ngx_llm_entry_feed(ngx_llm_entry_t *entry, ngx_llm_answer_t *answer)
{
    u_char      *p, *pos, *last;
    ngx_int_t    rc;
    ngx_uint_t   over;

    entry->usage_pos = 0;
    entry->usage_len = 0;

    p = entry->body.data;
    last = p + entry->body.len;
    rc = NGX_AGAIN;

    while (p < last) {

        if (answer->done) {
            return NGX_DECLINED;
        }

        pos = p;
        over = answer->terminal;
        rc = ngx_llm_answer_feed(answer, &p, last);

        if (!entry->stream) {
            ngx_llm_answer_eof(answer);
            break;
        }

        if (rc == NGX_OK && over && !answer->event.done) {
            return NGX_DECLINED;
        }

        if (rc == NGX_OK && answer->event.usage_only) {

            /* comments before it are its own; of two the last one counts */

            entry->usage_pos = pos - entry->body.data;
            entry->usage_len = p - pos;
        }
    }

    /* of a last CRLF both have to be there */

    if (entry->stream && rc == NGX_OK && p - entry->body.data > 1
        && p[-1] == '\r' && p[-2] == '\n')
    {
        return NGX_DECLINED;
    }

    return rc == NGX_OK ? NGX_OK : NGX_DECLINED;
}


static const char *
ngx_llm_entry_doubt(const ngx_llm_answer_t *answer)
{
    if (answer->malformed || answer->failed || answer->event.error
        || answer->beside)
    {
        return "error";
    }

    if (answer->odd) {
        return "finish_reason";
    }

    if (answer->api->ends == NGX_LLM_ENDS_CHOICES) {

        /* [DONE] alone does not say that each choice has come to its end */

        if (!ngx_llm_entry_all(answer)) {
            return "finish_reason";
        }

        if (answer->kind != NGX_LLM_ANSWER_JSON && !answer->done) {
            return "partial";
        }

    } else if (answer->api == &ngx_llm_api_responses) {

        if (answer->finish_len != sizeof("completed") - 1
            || ngx_memcmp(answer->finish_reason, "completed",
                          sizeof("completed") - 1)
               != 0)
        {
            return "finish_reason";
        }

        if (answer->kind != NGX_LLM_ANSWER_JSON && !answer->terminal) {
            return "partial";
        }

    } else if (answer->kind != NGX_LLM_ANSWER_JSON) {
        return "partial";
    }

    return (answer->shown && answer->content) ? NULL : "empty";
}


static ngx_uint_t
ngx_llm_entry_all(const ngx_llm_answer_t *answer)
{
    return answer->finished
           && (ngx_uint_t) __builtin_popcountll(answer->ended) >= answer->n;
}


size_t
ngx_llm_entry_write(const ngx_llm_entry_t *entry, u_char *head)
{
    u_char           *p;
    ngx_uint_t        i;
    const ngx_str_t  *names[NGX_LLM_ENTRY_NAMES];

    names[0] = &entry->provider;
    names[1] = &entry->model;
    names[2] = &entry->type;
    names[3] = &entry->finish;

    p = head;

    p = ngx_llm_entry_put32(p, NGX_LLM_ENTRY_MAGIC);
    p = ngx_llm_entry_put16(p, NGX_LLM_ENTRY_VERSION);
    p = ngx_llm_entry_put16(p, entry->stream ? NGX_LLM_ENTRY_STREAM : 0);

    p = ngx_llm_entry_put64(p, entry->created);
    p = ngx_llm_entry_put64(p, entry->ttl);
    p = ngx_llm_entry_put64(p, entry->stale);
    p = ngx_llm_entry_put64(p, entry->cost);

    p = ngx_llm_entry_put64(p, entry->usage.prompt);
    p = ngx_llm_entry_put64(p, entry->usage.completion);
    p = ngx_llm_entry_put64(p, entry->usage.total);
    p = ngx_llm_entry_put64(p, entry->usage.cached);
    p = ngx_llm_entry_put64(p, entry->usage.cache_write);
    p = ngx_llm_entry_put64(p, entry->usage.reasoning);

    for (i = 0; i < NGX_LLM_ENTRY_TAGS; i++) {
        p = ngx_llm_entry_put32(p, entry->tags[i]);
        p = ngx_llm_entry_put32(p, entry->generations[i]);
    }

    p = ngx_llm_entry_put64(p, entry->usage_pos);
    p = ngx_llm_entry_put64(p, entry->usage_len);
    p = ngx_llm_entry_put64(p, entry->body.len);

    for (i = 0; i < NGX_LLM_ENTRY_NAMES; i++) {

        if (names[i]->len > NGX_LLM_ENTRY_NAME) {
            return 0;
        }

        p = ngx_llm_entry_put32(p, names[i]->len);
    }

    p = ngx_llm_entry_put64(p, 0);

    for (i = 0; i < NGX_LLM_ENTRY_NAMES; i++) {

        if (names[i]->len) {
            ngx_memcpy(p, names[i]->data, names[i]->len);
            p += names[i]->len;
        }
    }

    return p - head;
}


ngx_int_t
ngx_llm_entry_read(ngx_llm_entry_t *entry, u_char *data, size_t len)
{
    u_char      *p;
    uint32_t     flags;
    ngx_str_t   *names[NGX_LLM_ENTRY_NAMES];
    ngx_uint_t   i;

    if (len < NGX_LLM_ENTRY_FIXED) {
        return NGX_DECLINED;
    }

    p = data;

    if (ngx_llm_entry_get32(&p) != NGX_LLM_ENTRY_MAGIC
        || ngx_llm_entry_get16(&p) != NGX_LLM_ENTRY_VERSION)
    {
        return NGX_DECLINED;
    }

    flags = ngx_llm_entry_get16(&p);
    entry->stream = (flags == NGX_LLM_ENTRY_STREAM);

    entry->created = (int64_t) ngx_llm_entry_get64(&p);
    entry->ttl = (int64_t) ngx_llm_entry_get64(&p);
    entry->stale = (int64_t) ngx_llm_entry_get64(&p);
    entry->cost = (int64_t) ngx_llm_entry_get64(&p);

    memset(&entry->usage, 0xff, sizeof(ngx_llm_usage_t));

    entry->usage.prompt = (int64_t) ngx_llm_entry_get64(&p);
    entry->usage.completion = (int64_t) ngx_llm_entry_get64(&p);
    entry->usage.total = (int64_t) ngx_llm_entry_get64(&p);
    entry->usage.cached = (int64_t) ngx_llm_entry_get64(&p);
    entry->usage.cache_write = (int64_t) ngx_llm_entry_get64(&p);
    entry->usage.reasoning = (int64_t) ngx_llm_entry_get64(&p);

    for (i = 0; i < NGX_LLM_ENTRY_TAGS; i++) {
        entry->tags[i] = ngx_llm_entry_get32(&p);
        entry->generations[i] = ngx_llm_entry_get32(&p);
    }

    entry->usage_pos = (size_t) ngx_llm_entry_get64(&p);
    entry->usage_len = (size_t) ngx_llm_entry_get64(&p);
    entry->body.len = (size_t) ngx_llm_entry_get64(&p);

    names[0] = &entry->provider;
    names[1] = &entry->model;
    names[2] = &entry->type;
    names[3] = &entry->finish;

    for (i = 0; i < NGX_LLM_ENTRY_NAMES; i++) {
        names[i]->len = ngx_llm_entry_get32(&p);
    }

    p = data + NGX_LLM_ENTRY_FIXED;

    for (i = 0; i < NGX_LLM_ENTRY_NAMES; i++) {

        if (names[i]->len > NGX_LLM_ENTRY_NAME
            || names[i]->len > (size_t) (data + len - p))
        {
            return NGX_DECLINED;
        }

        names[i]->data = p;
        p += names[i]->len;
    }

    entry->body.data = p;

    return (flags <= NGX_LLM_ENTRY_STREAM
            && entry->body.len == (size_t) (data + len - p)
            && ngx_llm_entry_sane(entry))
           ? NGX_OK : NGX_DECLINED;
}


static ngx_uint_t
ngx_llm_entry_sane(const ngx_llm_entry_t *entry)
{
    ngx_uint_t      i;
    const int64_t  *n;

    const int64_t  numbers[] = {
        entry->cost,
        entry->usage.prompt,
        entry->usage.completion,
        entry->usage.total,
        entry->usage.cached,
        entry->usage.cache_write,
        entry->usage.reasoning
    };

    n = numbers;

    for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        if (n[i] < -1 || n[i] > NGX_LLM_ENTRY_MOST) {
            return 0;
        }
    }

    return entry->created >= 0 && entry->created <= NGX_LLM_ENTRY_MOST
           && entry->ttl >= 0 && entry->ttl <= NGX_LLM_ENTRY_MOST
           && entry->stale >= 0 && entry->stale <= NGX_LLM_ENTRY_MOST
           && entry->usage_pos <= entry->body.len
           && entry->usage_len <= entry->body.len - entry->usage_pos;
}
