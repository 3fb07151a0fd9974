/*
 * ngx_llm_entry.h: an answer as it is cached: a head, and the body as it came.
 *
 * The head is of a fixed layout, little-endian, so that nodes of any kind read
 * it.  What is read back was perhaps not written by us: everything is checked.
 */

#ifndef _NGX_LLM_ENTRY_H_INCLUDED_
#define _NGX_LLM_ENTRY_H_INCLUDED_


#include <ngx_llm_answer.h>


#define NGX_LLM_ENTRY_TAGS    5      /* an entry can be purged by */
#define NGX_LLM_ENTRY_NAME    1024   /* bytes of each of its names */

/* the longest head, and the version it is of */
#define NGX_LLM_ENTRY_HEAD    (176 + 4 * NGX_LLM_ENTRY_NAME)
#define NGX_LLM_ENTRY_VERSION 1


typedef struct {
    unsigned        stream:1;        /* the body is one, else a document */
    int64_t         created;         /* ms since 1970 */
    int64_t         ttl;             /* ms it is fresh */
    int64_t         stale;           /* ms behind that, if all else fails */
    ngx_llm_usage_t usage;
    int64_t         cost;            /* nano-USD, or -1 */
    uint32_t        tags[NGX_LLM_ENTRY_TAGS];
    uint32_t        generations[NGX_LLM_ENTRY_TAGS];  /* of them, then */
    size_t          usage_pos;       /* of the usage chunk in body */
    size_t          usage_len;       /* 0: there is none */
    ngx_str_t       provider;
    ngx_str_t       model;           /* as the provider calls it */
    ngx_str_t       type;            /* Content-Type */
    ngx_str_t       finish;          /* the last finish reason, or "" */
    ngx_str_t       body;
} ngx_llm_entry_t;


/*
 * Is body a whole answer, one that says all by itself?  A document that is
 * closed, or a stream to its last event; no error; as many choices as asked
 * for (n, for each of several prompts), each of which has ended well; content,
 * a refusal or a tool call; usage, unless that is not needed.  Nothing is taken
 * from how it was transferred.
 *
 * NGX_OK: usage, usage_pos, usage_len and finish are
 * set, finish in the buffer, which holds NGX_LLM_FINISH_REASON bytes.
 * NGX_DECLINED: *why says why not, a static word.
 */
ngx_int_t ngx_llm_entry_prove(ngx_llm_entry_t *entry,
    const ngx_llm_api_t *api, ngx_int_t n, ngx_uint_t usage, u_char *buffer,
    const char **why);

/* the same of a document that was read before: answer is what it has said, to
   its end; where its usage stands is not set */
ngx_int_t ngx_llm_entry_judge(ngx_llm_entry_t *entry,
    const ngx_llm_answer_t *answer, ngx_uint_t usage, u_char *buffer,
    const char **why);

/* the head of an entry, at most NGX_LLM_ENTRY_HEAD bytes; returns them, or 0:
   a name is too long */
size_t ngx_llm_entry_write(const ngx_llm_entry_t *entry, u_char *head);

/*
 * Head and body; names and body point into data.  NGX_OK, or NGX_DECLINED: it
 * is no entry, or one of another version.
 */
ngx_int_t ngx_llm_entry_read(ngx_llm_entry_t *entry, u_char *data,
    size_t len);


#endif /* _NGX_LLM_ENTRY_H_INCLUDED_ */
