
/* What is asked for: the facts a body has, and the settings of an answer. */


#ifndef _NGX_HTTP_LLM_SIM_REQUEST_H_INCLUDED_
#define _NGX_HTTP_LLM_SIM_REQUEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_LLM_SIM_MODEL    256     /* bytes of a model's name */


/* what the scanner found in the request's body */

typedef struct {
    ngx_str_t    model;             /* as in the body, with JSON's escapes */
    ngx_int_t    n;                 /* choices; NGX_ERROR: not a number */
    ngx_int_t    dimensions;        /* NGX_ERROR: not a number */
    ngx_int_t    max_tokens;        /* NGX_CONF_UNSET: no limit */
    ngx_uint_t   inputs;            /* strings or token arrays */
    off_t        bytes;             /* of the body */

    unsigned     complete:1;        /* one JSON object, closed */
    unsigned     bad_model:1;       /* too long, or cannot be echoed */
    unsigned     stream:1;
    unsigned     include_usage:1;
    unsigned     base64:1;          /* encoding_format */

    u_char       name[NGX_HTTP_LLM_SIM_MODEL];     /* where model points to */
} ngx_http_llm_sim_facts_t;


/* the scanner's place between two pieces of a body */

typedef struct {
    ngx_uint_t   state;
    ngx_uint_t   depth;             /* open braces and brackets */
    ngx_uint_t   key;               /* of the value at depth 1 */
    ngx_uint_t   option;            /* of the value in stream_options */
    size_t       len;               /* bytes in text */

    unsigned     key_next:1;        /* the next string is a member's name */
    unsigned     escaped:1;         /* after an odd number of backslashes */
    unsigned     overflow:1;        /* text is cut */
    unsigned     in_options:1;      /* inside stream_options { } */
    unsigned     in_input:1;        /* inside input [ ] */
    unsigned     list:1;            /* commas in input separate inputs */

    u_char       text[NGX_HTTP_LLM_SIM_MODEL];
} ngx_http_llm_sim_scan_t;


typedef struct {
    ngx_uint_t   tokens;            /* content tokens of a choice */
    ngx_uint_t   size;              /* bytes of a token, 0: words */
    ngx_uint_t   status;            /* 200, or an error's; 0: not set */
    ngx_uint_t   burst;             /* events between two gaps */
    ngx_uint_t   flush;             /* 1: a write of its own for each burst */
    ngx_msec_t   pace;              /* gap between two bursts */
    ngx_msec_t   delay;             /* before the header */
    ngx_str_t    error;             /* an error's message */
    ngx_str_t    fake;              /* kind of a 200 that is no answer */
} ngx_http_llm_sim_settings_t;


/*
 * init() sets the defaults in zeroed memory.  scan() takes the pieces of a
 * body in order; the facts are good after the last one.  settings() reads
 * "name=value,..." over what is in st; NGX_ERROR: text is cut down to the
 * setting that is wrong.
 */

void ngx_http_llm_sim_request_init(ngx_http_llm_sim_facts_t *facts,
    ngx_http_llm_sim_settings_t *st);
void ngx_http_llm_sim_request_scan(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last);
ngx_int_t ngx_http_llm_sim_request_settings(ngx_http_llm_sim_settings_t *st,
    ngx_str_t *text);


#endif /* _NGX_HTTP_LLM_SIM_REQUEST_H_INCLUDED_ */
