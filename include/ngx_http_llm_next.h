/*
 * ngx_http_llm_next.h: why an attempt is followed by another one.
 */

#ifndef _NGX_HTTP_LLM_NEXT_H_INCLUDED_
#define _NGX_HTTP_LLM_NEXT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* parameters of llm_next_provider; 1 is NGX_CONF_BITMASK_SET of nginx */

#define NGX_HTTP_LLM_NEXT_ERROR       0x0002
#define NGX_HTTP_LLM_NEXT_TIMEOUT     0x0004
#define NGX_HTTP_LLM_NEXT_CREDENTIAL  0x0008  /* 401, 402, 403 */
#define NGX_HTTP_LLM_NEXT_NOT_FOUND   0x0010  /* 404, 405 */
#define NGX_HTTP_LLM_NEXT_BAD_ANSWER  0x0020
#define NGX_HTTP_LLM_NEXT_5XX         0x0040
#define NGX_HTTP_LLM_NEXT_408         0x0080
#define NGX_HTTP_LLM_NEXT_429         0x0100
#define NGX_HTTP_LLM_NEXT_OTHER       0x0200  /* only as http_NNN */
#define NGX_HTTP_LLM_NEXT_OFF         0x0400
#define NGX_HTTP_LLM_NEXT_CONTEXT     0x0800  /* prompt beyond the context */
#define NGX_HTTP_LLM_NEXT_FILTER      0x1000  /* content filter */
#define NGX_HTTP_LLM_NEXT_NO_CONTENT  0x2000
#define NGX_HTTP_LLM_NEXT_LENGTH      0x4000  /* cut at the token limit */
#define NGX_HTTP_LLM_NEXT_INVALID_JSON  0x8000
#define NGX_HTTP_LLM_NEXT_CONDITIONS  0xf800  /* these five */
#define NGX_HTTP_LLM_NEXT_DEFAULT     0x01fe


/* a condition of llm_next_provider that is no failure of the provider */

typedef struct {
    ngx_uint_t    bit;               /* NGX_HTTP_LLM_NEXT_... */
    ngx_str_t     name;              /* also in $llm_attempts */
} ngx_http_llm_condition_t;


/* the part of a response that a condition is evaluated on */

typedef enum {
    NGX_HTTP_LLM_CONDITION_ERROR = 0,  /* [start, last) is an error body */
    NGX_HTTP_LLM_CONDITION_DOCUMENT,   /* [start, last) is all of the body */
    NGX_HTTP_LLM_CONDITION_STREAM      /* the first output has been read */
} ngx_http_llm_condition_e;


/* ngx_http_llm_condition.c; see the member of ngx_http_llm_exchange_t */
const ngx_http_llm_condition_t *ngx_http_llm_condition(ngx_http_request_t *r,
    ngx_http_llm_condition_e part, u_char *start, u_char *last);


#endif /* _NGX_HTTP_LLM_NEXT_H_INCLUDED_ */
