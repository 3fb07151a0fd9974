/*
 * ngx_llm_facts.h: the facts of a request body.  A fact is a value or an offset
 * into the body, and is valid as long as the body is not changed.
 */

#ifndef _NGX_LLM_FACTS_H_INCLUDED_
#define _NGX_LLM_FACTS_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_MODEL_LEN       256   /* longest model name, decoded */

/* ngx_llm_facts_t.include_usage */
#define NGX_LLM_USAGE_UNSET     0
#define NGX_LLM_USAGE_TRUE      1
#define NGX_LLM_USAGE_FALSE     2     /* present, but not true */

/*
 * ngx_llm_facts_t.counts: raw bytes inside of strings and keys.  An escape
 * counts by its raw bytes: \n is one byte of PUNCT and one of PROSE.  The four
 * counts, .outside and the bytes of media are the length of the body.
 */
#define NGX_LLM_CLASS_PROSE     0     /* A-Z a-z 0-9 and space */
#define NGX_LLM_CLASS_PUNCT     1     /* all other ASCII */
#define NGX_LLM_CLASS_OTHER     2     /* multi-byte characters but CJK */
#define NGX_LLM_CLASS_CJK       3     /* three bytes with lead E3-ED or EF */
#define NGX_LLM_CLASS_N         4


/* offsets of a member of the outer object, for a splice */

typedef struct {
    size_t      key;                 /* its opening quote; 0 = absent */
    size_t      end;                 /* behind its value */
    size_t      before;              /* the end before it; 0 = the first */
    size_t      next;                /* the next key's quote; 0 = the last */
} ngx_llm_place_t;


typedef struct {
    size_t      model_len;           /* 0 = absent, null or invalid_model */
    size_t      model_pos;           /* raw value, with quotes in JSON */
    size_t      model_size;          /* 0 = absent or null */
    size_t      model_null_pos;      /* the word null of model */
    size_t      model_null_size;     /* 0 = not null */

    size_t      members_pos;         /* after the outer '{'; in a form the */
    size_t      delimiter_size;      /* first "--boundary", and its length */

    size_t      options_pos;         /* stream_options, braces included */
    size_t      options_size;        /* 0 = absent or null */
    size_t      usage_pos;           /* the value of include_usage */
    size_t      usage_size;
    size_t      options_null_pos;    /* the word null of stream_options */
    size_t      options_null_size;   /* 0 = not null */

    ngx_llm_place_t  options_place;  /* places of null values count, too */
    ngx_llm_place_t  max_tokens_place;
    ngx_llm_place_t  max_completion_place;

    size_t      state_pos;           /* raw previous_response_id, or raw */
    size_t      state_size;          /* conversation without one */

    ngx_int_t   max_tokens;          /* integers: -1 = absent, null or, for */
                                     /* a maximum, negative */
    ngx_int_t   max_completion_tokens;
    ngx_int_t   max_output_tokens;
    ngx_int_t   n;

    uint64_t    counts[NGX_LLM_CLASS_N];   /* bytes inside of strings */
    size_t      outside;             /* all other bytes but those of media */
    int64_t     media;               /* tokens of media, estimated */

    unsigned    form:1;              /* multipart/form-data, not JSON */
    unsigned    empty:1;             /* the outer object has no members */
    unsigned    options_empty:1;     /* stream_options is an empty object */
    unsigned    include_usage:2;     /* true if true in any duplicate */
    unsigned    usage_twice:1;       /* include_usage occurs twice */
    unsigned    stream:1;            /* stream is true */
    unsigned    stream_set:1;        /* stream is true or false */
    unsigned    invalid_model:1;     /* a string that is no model name */
    unsigned    stateful:1;          /* previous_response_id, conversation:
                                        present, not null */

    u_char      model[NGX_LLM_MODEL_LEN];  /* decoded, without final NUL; not
                                              zeroed by ngx_llm_facts_init() */
} ngx_llm_facts_t;


/* Sets the four integers to -1 and all other facts to 0, except model. */
void ngx_llm_facts_init(ngx_llm_facts_t *facts);

/*
 * Returns 1 if the name is one of a model: 1 to 256 bytes of printable UTF-8
 * without '"' and '\', with no blank at its ends.
 */
ngx_uint_t ngx_llm_facts_is_name(const u_char *name, size_t len);

/*
 * Sets model_len and invalid_model for a name of len bytes.  facts->model has
 * the name, or its first bytes if it is too long.
 */
void ngx_llm_facts_name(ngx_llm_facts_t *facts, size_t len);


#endif /* _NGX_LLM_FACTS_H_INCLUDED_ */
