
/*
 * What is answered.  An answer is a list of steps.  A step writes one piece,
 * which always fits into ctx->piece bytes, and is repeated as often as its
 * "times" says; so an answer of any length is made in one buffer.
 */


#ifndef _NGX_HTTP_LLM_SIM_ANSWER_H_INCLUDED_
#define _NGX_HTTP_LLM_SIM_ANSWER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_HTTP_LLM_SIM_INPUTS   2048    /* of one embeddings request */
#define NGX_HTTP_LLM_SIM_CHOICES  8       /* a choice's index is one digit */
#define NGX_HTTP_LLM_SIM_PIECE    2048    /* a piece without its token */
#define NGX_HTTP_LLM_SIM_WORD     16      /* longest token if size is 0 */

#define ngx_http_llm_sim_put(p, text)                                         \
    ngx_cpymem(p, text, sizeof(text) - 1)


typedef struct ngx_http_llm_sim_ctx_s  ngx_http_llm_sim_ctx_t;


/* an error answer's body */

typedef struct {
    char        *message;           /* JSON-escaped; NULL: no error */
    char        *type;
    char        *param;             /* JSON: null or a quoted name */
    char        *code;              /* JSON: null or a quoted name */
} ngx_http_llm_sim_error_t;


typedef enum {
    NGX_HTTP_LLM_SIM_ONCE = 0,
    NGX_HTTP_LLM_SIM_ITEMS,         /* choices or inputs */
    NGX_HTTP_LLM_SIM_TOKENS,
    NGX_HTTP_LLM_SIM_DELTAS,        /* tokens of all choices, taking turns */
    NGX_HTTP_LLM_SIM_VECTOR         /* pieces of one embedding */
} ngx_http_llm_sim_times_e;


typedef struct {
    /* writes the piece at p, returns its end; p: there is no such piece */
    u_char                        *(*write)(ngx_http_llm_sim_ctx_t *ctx,
                                            u_char *p);
    ngx_http_llm_sim_times_e         times;
    ngx_uint_t                       back;     /* steps to repeat per item */
    ngx_uint_t                       part;     /* 1: the event goes on */
} ngx_http_llm_sim_step_t;


typedef enum {
    NGX_HTTP_LLM_SIM_OTHER = 0,     /* no text, never streams */
    NGX_HTTP_LLM_SIM_CHAT,
    NGX_HTTP_LLM_SIM_LEGACY,        /* text completions */
    NGX_HTTP_LLM_SIM_RESPONSES
} ngx_http_llm_sim_api_e;


/* one of the provider's operations */

typedef struct {
    ngx_str_t                        suffix;   /* how its path ends */
    ngx_uint_t                       method;
    const ngx_http_llm_sim_step_t   *json;
    const ngx_http_llm_sim_step_t   *stream;   /* NULL: never streams */
    ngx_http_llm_sim_api_e           api;
    ngx_uint_t                       inputs;   /* 1: an item is an input */
    ngx_uint_t                       model;    /* 1: must be named */
} ngx_http_llm_sim_op_t;


/* a 200 that is no answer */

typedef struct {
    ngx_str_t                        name;
    char                            *type;     /* Content-Type */
    char                            *body;     /* less than a piece */
} ngx_http_llm_sim_fake_t;


/*
 * find() returns the operation of a path, NULL if none, and the model named
 * there; prepare() turns facts and settings into a list of steps, NGX_ERROR
 * is no memory; error() makes the answer an error, its strings must be valid
 * in JSON; next() writes a piece.
 */

const ngx_http_llm_sim_op_t *ngx_http_llm_sim_answer_find(ngx_str_t *uri,
    ngx_str_t *model);
ngx_int_t ngx_http_llm_sim_answer_prepare(ngx_http_llm_sim_ctx_t *ctx);
void ngx_http_llm_sim_answer_error(ngx_http_llm_sim_ctx_t *ctx,
    ngx_uint_t status, char *message, char *param, char *code);
u_char *ngx_http_llm_sim_answer_next(ngx_http_llm_sim_ctx_t *ctx, u_char *p);
void ngx_http_llm_sim_answer_rewind(ngx_http_llm_sim_ctx_t *ctx);


/* in fake: the answer becomes settings.fake; NGX_DECLINED: an unknown name */

ngx_int_t ngx_http_llm_sim_fake_find(ngx_http_llm_sim_ctx_t *ctx);


/* in text: its lists of steps; prepare() makes what all chunks share */

ngx_int_t ngx_http_llm_sim_text_prepare(ngx_http_llm_sim_ctx_t *ctx);

extern const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_choices[];
extern const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_chat_stream[];
extern const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_legacy_stream[];
extern const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_responses[];
extern const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_responses_stream[];


#endif /* _NGX_HTTP_LLM_SIM_ANSWER_H_INCLUDED_ */
