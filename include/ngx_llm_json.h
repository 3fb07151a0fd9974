/*
 * ngx_llm_json.h: what one strict pass over a request body finds.
 *
 * Pure: nothing is allocated, logged, locked or kept between calls; the body
 * is neither modified nor copied, and no byte outside of it is read, so that
 * it may be a mapped file.  Everything in the facts is a value or an offset
 * into the body; they stay true as long as the body's bytes do.
 */

#ifndef _NGX_LLM_JSON_H_INCLUDED_
#define _NGX_LLM_JSON_H_INCLUDED_


#include "ngx_llm_codec.h"


#define NGX_LLM_MODEL_LEN       256   /* longest model name, decoded */
#define NGX_LLM_JSON_DEPTH      256   /* containers, the outer one included */

/* ngx_llm_json_error_t.code */
#define NGX_LLM_JSON_INVALID    1     /* not a body we take: "invalid_json" */
#define NGX_LLM_JSON_DUPLICATE  2     /* one of the seven twice */
#define NGX_LLM_JSON_TYPE       3     /* one of the seven of a wrong type */

/* ngx_llm_facts_t.include_usage */
#define NGX_LLM_USAGE_UNSET     0
#define NGX_LLM_USAGE_TRUE      1
#define NGX_LLM_USAGE_FALSE     2     /* present, but not true */

/*
 * ngx_llm_facts_t.counts: raw bytes inside of strings (keys too), an escape
 * counts as the bytes it is written with: \n is one of PUNCT, one of PROSE.
 * The four and .outside add up to the length of the body.
 */
#define NGX_LLM_CLASS_PROSE     0     /* A-Z a-z 0-9 and space */
#define NGX_LLM_CLASS_PUNCT     1     /* all other ASCII */
#define NGX_LLM_CLASS_OTHER     2     /* multi-byte characters but CJK */
#define NGX_LLM_CLASS_CJK       3     /* three bytes with lead E3-ED or EF */
#define NGX_LLM_CLASS_N         4


typedef struct {
    u_char      model[NGX_LLM_MODEL_LEN];  /* decoded, no final NUL */
    size_t      model_len;           /* 0 = absent, null or invalid_model */
    size_t      model_pos;           /* raw string in the body, with quotes */
    size_t      model_size;          /* 0 = absent or null */
    size_t      model_null_pos;      /* the word null of model */
    size_t      model_null_size;     /* 0 = not null */

    size_t      members_pos;         /* just behind the outer '{' */

    size_t      options_pos;         /* stream_options, braces included */
    size_t      options_size;        /* 0 = absent or null */
    size_t      options_null_pos;    /* the word null of stream_options */
    size_t      options_null_size;   /* 0 = not null */

    size_t      state_pos;           /* value of previous_response_id or */
    size_t      state_size;          /* conversation, as written */

    ngx_int_t   max_tokens;          /* these four: -1 = absent or null */
    ngx_int_t   max_completion_tokens;
    ngx_int_t   max_output_tokens;
    ngx_int_t   n;

    uint64_t    counts[NGX_LLM_CLASS_N];   /* bytes inside of strings */
    size_t      outside;             /* all other bytes, quotes included */

    unsigned    empty:1;             /* the outer object has no members */
    unsigned    options_empty:1;     /* stream_options is an empty object */
    unsigned    include_usage:2;     /* true if true in any duplicate */
    unsigned    stream:1;            /* stream is true */
    unsigned    stream_set:1;        /* stream is true or false */
    unsigned    invalid_model:1;     /* a string, but not 1-256 of 0x21-0x7e
                                        without '"' and '\' */
    unsigned    stateful:1;          /* previous_response_id, conversation:
                                        present, not null */
} ngx_llm_facts_t;


typedef struct {
    ngx_uint_t  code;                /* NGX_LLM_JSON_... */
    const char *param;               /* static name of the member or NULL */
    const char *reason;              /* static text for a person, lower case */
    size_t      pos;                 /* offset of the byte that is wrong */
} ngx_llm_json_error_t;


/*
 * NGX_OK: the body is one JSON object by RFC 8259 and the facts are complete.
 * NGX_ERROR: *err says why not, the facts are unspecified.  A body that is not
 * JSON is INVALID wherever it breaks; of several DUPLICATE and TYPE the first
 * in the document is told.  body may be NULL if len is 0.
 */
ngx_int_t ngx_llm_json_facts(const u_char *body, size_t len,
    ngx_llm_facts_t *facts, ngx_llm_json_error_t *err);

#if (NGX_LLM_STANDALONE)

/* the same with a given scanner, NGX_LLM_SCAN_...; for tests, benchmarks */
ngx_int_t ngx_llm_json_facts_with(ngx_uint_t level, const u_char *body,
    size_t len, ngx_llm_facts_t *facts, ngx_llm_json_error_t *err);

#endif

/*
 * Writes src as the inside of a JSON string and returns the bytes written, at
 * most 6 * len; with dst NULL only counts them.  Invalid UTF-8 becomes \ufffd,
 * a byte at a time.
 */
size_t ngx_llm_json_escape(u_char *dst, const u_char *src, size_t len);


#endif /* _NGX_LLM_JSON_H_INCLUDED_ */
