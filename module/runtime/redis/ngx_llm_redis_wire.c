/*
 * The protocol of Redis: a buffer of commands that grows, a reader of replies
 * with limits, and what error replies mean.  hiredis parses; no socket here.
 */


#include "ngx_llm_redis_wire.h"
#include <ngx_llm_limit.h>
#include <hiredis/hiredis.h>


#define NGX_LLM_REDIS_KEEP      65536    /* a larger buffer is given back */
#define NGX_LLM_REDIS_ELEMENTS  1024     /* of one array */
#define NGX_LLM_REDIS_DEPTH     4


/* hiredis counts elements in its own way, before 1.0 and after */

#if (HIREDIS_MAJOR >= 1)
typedef size_t                  ngx_llm_redis_count_t;
#else
typedef int                     ngx_llm_redis_count_t;
#endif


static void *ngx_llm_redis_wire_array(const redisReadTask *task,
    ngx_llm_redis_count_t elements);


static const struct {
    ngx_str_t    code;
    ngx_uint_t   fault;
} ngx_llm_redis_faults[] = {
    { ngx_string("LOADING"), NGX_LLM_REDIS_FAULT },
    { ngx_string("BUSY"), NGX_LLM_REDIS_FAULT },
    { ngx_string("MASTERDOWN"), NGX_LLM_REDIS_FAULT },
    { ngx_string("TRYAGAIN"), NGX_LLM_REDIS_FAULT },
    { ngx_string("NOAUTH"), NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_DROP },
    { ngx_string("NOPERM"), NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_SCRIPT },
    { ngx_string("NOSCRIPT"), NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_SCRIPT },
    { ngx_string("ERR unknown command"),
      NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_SCRIPT },
    { ngx_string("OOM"), NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_WRITE },
    { ngx_string("MISCONF"), NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_WRITE },
    { ngx_string("NOREPLICAS"), NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_WRITE },
    { ngx_string("READONLY"),
      NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_DROP|NGX_LLM_REDIS_WRITE },
    { ngx_string("MOVED"),
      NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_DROP|NGX_LLM_REDIS_CLUSTER },
    { ngx_string("ASK"),
      NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_DROP|NGX_LLM_REDIS_CLUSTER },
    { ngx_string("CROSSSLOT"),
      NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_DROP|NGX_LLM_REDIS_CLUSTER },
    { ngx_string("CLUSTERDOWN"),
      NGX_LLM_REDIS_FAULT|NGX_LLM_REDIS_DROP|NGX_LLM_REDIS_CLUSTER },
    { ngx_null_string, 0 }
};


ngx_int_t
ngx_llm_redis_wire_open(ngx_llm_redis_wire_t *wire, size_t limit)
{
    ngx_llm_redis_wire_close(wire);

    wire->limit = limit;

    wire->reader = redisReaderCreate();
    if (wire->reader == NULL) {
        return NGX_ERROR;
    }

    wire->functions = *wire->reader->fn;
    wire->functions.createArray = ngx_llm_redis_wire_array;

    /* each object is made with the table it is not to go by */
    wire->reader->privdata = wire->reader->fn;
    wire->reader->fn = &wire->functions;

    return NGX_OK;
}


/* NULL is "no memory" to hiredis: it gives up */

static void *
ngx_llm_redis_wire_array(const redisReadTask *task,
    ngx_llm_redis_count_t elements)
{
    ngx_uint_t                  depth;
    const redisReadTask        *parent;
    redisReplyObjectFunctions  *functions;

    functions = task->privdata;
    depth = 1;

    for (parent = task->parent; parent; parent = parent->parent) {
        depth++;
    }

    /* a negative number is a large one */

    if ((size_t) elements > NGX_LLM_REDIS_ELEMENTS
        || depth > NGX_LLM_REDIS_DEPTH)
    {
        return NULL;
    }

    return functions->createArray(task, elements);
}


void
ngx_llm_redis_wire_close(ngx_llm_redis_wire_t *wire)
{
    if (wire->reader) {
        redisReaderFree(wire->reader);
    }

    if (wire->start) {
        ngx_free(wire->start);
    }

    ngx_memzero(wire, sizeof(ngx_llm_redis_wire_t));
}


u_char *
ngx_llm_redis_wire_room(ngx_llm_redis_wire_t *wire, size_t len,
    ngx_log_t *log)
{
    size_t   used, size;
    u_char  *start;

    if ((size_t) (wire->end - wire->last) >= len) {
        return wire->last;
    }

    used = wire->last - wire->pos;
    size = ngx_max((size_t) (wire->end - wire->start), 4096);

    while (size < used + len) {
        size *= 2;
    }

    start = ngx_alloc(size, log);
    if (start == NULL) {
        return NULL;
    }

    if (wire->start) {
        ngx_memcpy(start, wire->pos, used);
        ngx_free(wire->start);
    }

    wire->start = start;
    wire->pos = start;
    wire->last = start + used;
    wire->end = start + size;

    return wire->last;
}


size_t
ngx_llm_redis_wire_size(size_t len)
{
    return sizeof("$" CRLF CRLF) - 1 + NGX_SIZE_T_LEN + len;
}


u_char *
ngx_llm_redis_wire_word(u_char *p, u_char *data, size_t len)
{
    *p++ = '$';
    p = ngx_llm_limit_print(p, len);
    *p++ = CR;
    *p++ = LF;

    p = ngx_cpymem(p, data, len);

    *p++ = CR;
    *p++ = LF;

    return p;
}


ngx_int_t
ngx_llm_redis_wire_command(ngx_llm_redis_wire_t *wire, ngx_str_t *words,
    ngx_uint_t n, ngx_log_t *log)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   i;

    len = sizeof("*" CRLF) + NGX_INT_T_LEN;

    for (i = 0; i < n; i++) {
        len += ngx_llm_redis_wire_size(words[i].len);
    }

    p = ngx_llm_redis_wire_room(wire, len, log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "*%ui" CRLF, n);

    for (i = 0; i < n; i++) {
        p = ngx_llm_redis_wire_word(p, words[i].data, words[i].len);
    }

    wire->last = p;

    return NGX_OK;
}


void
ngx_llm_redis_wire_sent(ngx_llm_redis_wire_t *wire, size_t n)
{
    wire->pos += n;

    if (wire->pos < wire->last) {
        return;
    }

    if (wire->end - wire->start > NGX_LLM_REDIS_KEEP) {
        ngx_free(wire->start);
        wire->start = NULL;
        wire->end = NULL;
    }

    wire->pos = wire->start;
    wire->last = wire->start;
}


ngx_int_t
ngx_llm_redis_wire_feed(ngx_llm_redis_wire_t *wire, u_char *data, size_t len)
{
    if (wire->partial > wire->limit) {
        return NGX_ERROR;
    }

    wire->partial += len;

    if (redisReaderFeed(wire->reader, (char *) data, len) != REDIS_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_redis_wire_reply(ngx_llm_redis_wire_t *wire, redisReply **reply)
{
    void  *object;

    object = NULL;

    if (redisReaderGetReply(wire->reader, &object) != REDIS_OK) {
        return NGX_ERROR;
    }

    if (object == NULL) {
        return NGX_AGAIN;
    }

    wire->partial = 0;
    *reply = object;

    return NGX_OK;
}


void
ngx_llm_redis_wire_code(redisReply *reply, ngx_str_t *code)
{
    u_char  *p, *last, *inner;

    static u_char  script[] = "ERR Error running script";
    static u_char  unknown[] = "ERR unknown command";

    p = (u_char *) reply->str;
    last = p + reply->len;

    if (reply->len >= sizeof(unknown) - 1
        && ngx_strncasecmp(p, unknown, sizeof(unknown) - 1) == 0)
    {
        code->data = unknown;
        code->len = sizeof(unknown) - 1;
        return;
    }

    /* before 7.0: "ERR Error running script (...): @user_script: 1: -OOM" */

    if (reply->len > sizeof(script)
        && ngx_memcmp(p, script, sizeof(script) - 1) == 0)
    {
        inner = ngx_strlcasestrn(p, last, (u_char *) ": -", 2);

        if (inner) {
            p = inner + 3;
        }
    }

    code->data = p;

    while (p < last && ((*p >= 'A' && *p <= 'Z') || *p == '_')) {
        p++;
    }

    code->len = p - code->data;
}


ngx_uint_t
ngx_llm_redis_wire_fault(ngx_str_t *code)
{
    ngx_uint_t  i;

    for (i = 0; ngx_llm_redis_faults[i].fault; i++) {

        if (ngx_llm_redis_faults[i].code.len == code->len
            && ngx_memcmp(ngx_llm_redis_faults[i].code.data, code->data,
                          code->len)
               == 0)
        {
            return ngx_llm_redis_faults[i].fault;
        }
    }

    return 0;
}


void
ngx_llm_redis_wire_failure(ngx_llm_redis_failure_t *failure, ngx_err_t err,
    const char *why, ngx_str_t *detail)
{
    u_char  *p, *last;
    size_t   i;

    p = failure->text;
    last = p + sizeof(failure->text);

    p = ngx_slprintf(p, last, "%s", why);

    if (detail && detail->len) {
        p = ngx_slprintf(p, last, ": ");

        for (i = 0; i < detail->len && p < last; i++) {
            *p++ = (detail->data[i] < ' ' || detail->data[i] > '~')
                   ? '?' : detail->data[i];
        }
    }

    failure->why.data = failure->text;
    failure->why.len = p - failure->text;
    failure->err = err;
}
