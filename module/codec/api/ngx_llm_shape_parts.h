/*
 * ngx_llm_shape_parts.h: the members of an answer, of a chunk of one and of a
 * choice in them, as places in the text.  Reading is strict: a name
 * twice, written with escapes or of a wrong type is refused.  A null is taken
 * for every type but an index.
 */

#ifndef _NGX_LLM_SHAPE_PARTS_H_INCLUDED_
#define _NGX_LLM_SHAPE_PARTS_H_INCLUDED_


#include "ngx_llm_shape_out.h"
#include "../ngx_llm_lexer.h"


/* of a choice: up to obfuscation, of its message or delta */

enum {
    ngx_llm_shape_role = 0,
    ngx_llm_shape_content,
    ngx_llm_shape_refusal,
    ngx_llm_shape_reasoning_content,
    ngx_llm_shape_reasoning,
    ngx_llm_shape_tool_calls,
    ngx_llm_shape_function_call,
    ngx_llm_shape_annotations,
    ngx_llm_shape_obfuscation,
    ngx_llm_shape_content_logprobs,
    ngx_llm_shape_refusal_logprobs,
    ngx_llm_shape_tokens,             /* these four: of completions */
    ngx_llm_shape_token_logprobs,
    ngx_llm_shape_top_logprobs,
    ngx_llm_shape_text_offset,
    ngx_llm_shape_index,
    ngx_llm_shape_message,
    ngx_llm_shape_delta,
    ngx_llm_shape_text,
    ngx_llm_shape_logprobs,
    ngx_llm_shape_finish_reason,
    ngx_llm_shape_stop_reason,        /* these three: vendors', whole values */
    ngx_llm_shape_native_reason,
    ngx_llm_shape_matched_stop,
    ngx_llm_shape_parts_n
};


/* of an answer or a chunk */

enum {
    ngx_llm_shape_id = 0,
    ngx_llm_shape_object,
    ngx_llm_shape_created,
    ngx_llm_shape_model,
    ngx_llm_shape_fingerprint,
    ngx_llm_shape_tier,
    ngx_llm_shape_usage,
    ngx_llm_shape_choices,
    ngx_llm_shape_padding,            /* obfuscation */
    ngx_llm_shape_top_n
};


/* of a tool call; the last two also of function_call */

enum {
    ngx_llm_shape_call_index = 0,
    ngx_llm_shape_call_id,
    ngx_llm_shape_call_type,
    ngx_llm_shape_call_function,
    ngx_llm_shape_call_name,
    ngx_llm_shape_call_arguments,
    ngx_llm_shape_call_n
};


typedef struct {                     /* an answer or a chunk */
    ngx_llm_lexer_t         lexer;
    ngx_llm_shape_span_t    top[ngx_llm_shape_top_n];
    ngx_llm_shape_extras_t  extras;
} ngx_llm_shape_text_t;


typedef struct {
    ngx_uint_t              index;
    ngx_llm_shape_span_t    part[ngx_llm_shape_parts_n];
    ngx_llm_shape_extras_t  extras;  /* all of them null */
    ngx_llm_shape_extras_t  message_extras;
} ngx_llm_shape_choice_t;


/*
 * These return NGX_OK or NGX_DECLINED.  Their results point into the text p;
 * value and array are places in the text that was read into t last.
 */

ngx_int_t ngx_llm_shape_read(ngx_llm_shape_text_t *t, const u_char *p,
    size_t len);

/* the same of an event of responses: event[0] its type, [1] its response */
ngx_int_t ngx_llm_shape_read_event(ngx_llm_shape_text_t *t, const u_char *p,
    size_t len, ngx_llm_shape_span_t *event);

/* form: the part that must be there, message, delta or text */
ngx_int_t ngx_llm_shape_read_choice(ngx_llm_shape_text_t *t,
    const u_char *value, ngx_uint_t form, ngx_llm_shape_choice_t *c);
ngx_int_t ngx_llm_shape_read_call(ngx_llm_shape_text_t *t,
    const u_char *value, ngx_llm_shape_span_t *call);
ngx_int_t ngx_llm_shape_read_function(ngx_llm_shape_text_t *t,
    const u_char *value, ngx_llm_shape_span_t *call);

/* the next element; *array is at the '[' first.  NGX_DONE: no more */
ngx_int_t ngx_llm_shape_next(ngx_llm_shape_text_t *t, const u_char **array,
    const u_char **element);

/* of an index, which has been read */
ngx_uint_t ngx_llm_shape_number(const ngx_llm_shape_span_t *s);


#endif /* _NGX_LLM_SHAPE_PARTS_H_INCLUDED_ */
