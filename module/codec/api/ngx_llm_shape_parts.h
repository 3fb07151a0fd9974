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
    ngx_llm_face_role = 0,
    ngx_llm_face_content,
    ngx_llm_face_refusal,
    ngx_llm_face_reasoning_content,
    ngx_llm_face_reasoning,
    ngx_llm_face_tool_calls,
    ngx_llm_face_function_call,
    ngx_llm_face_annotations,
    ngx_llm_face_obfuscation,
    ngx_llm_face_content_logprobs,
    ngx_llm_face_refusal_logprobs,
    ngx_llm_face_tokens,              /* these four: of completions */
    ngx_llm_face_token_logprobs,
    ngx_llm_face_top_logprobs,
    ngx_llm_face_text_offset,
    ngx_llm_face_index,
    ngx_llm_face_message,
    ngx_llm_face_delta,
    ngx_llm_face_text,
    ngx_llm_face_logprobs,
    ngx_llm_face_finish_reason,
    ngx_llm_face_stop_reason,         /* these three: vendors', whole values */
    ngx_llm_face_native_reason,
    ngx_llm_face_matched_stop,
    ngx_llm_face_parts_n
};


/* of an answer or a chunk */

enum {
    ngx_llm_face_id = 0,
    ngx_llm_face_object,
    ngx_llm_face_created,
    ngx_llm_face_model,
    ngx_llm_face_fingerprint,
    ngx_llm_face_tier,
    ngx_llm_face_usage,
    ngx_llm_face_choices,
    ngx_llm_face_padding,             /* obfuscation */
    ngx_llm_face_top_n
};


/* of a tool call; the last two also of function_call */

enum {
    ngx_llm_face_call_index = 0,
    ngx_llm_face_call_id,
    ngx_llm_face_call_type,
    ngx_llm_face_call_function,
    ngx_llm_face_call_name,
    ngx_llm_face_call_arguments,
    ngx_llm_face_call_n
};


typedef struct {                     /* an answer or a chunk */
    ngx_llm_walk_t         walk;
    ngx_llm_face_span_t    top[ngx_llm_face_top_n];
    ngx_llm_face_extras_t  extras;
} ngx_llm_face_text_t;


typedef struct {
    ngx_uint_t             index;
    ngx_llm_face_span_t    part[ngx_llm_face_parts_n];
    ngx_llm_face_extras_t  extras;   /* all of them null */
    ngx_llm_face_extras_t  message_extras;
} ngx_llm_face_choice_t;


/*
 * These return NGX_OK or NGX_DECLINED.  What they find points into the text
 * p; value and array are places in the one that was read into t last.
 */

ngx_int_t ngx_llm_face_read(ngx_llm_face_text_t *t, const u_char *p,
    size_t len);

/* the same of an event of responses: event[0] its type, [1] its response */
ngx_int_t ngx_llm_face_read_event(ngx_llm_face_text_t *t, const u_char *p,
    size_t len, ngx_llm_face_span_t *event);

/* form: the part that must be there, message, delta or text */
ngx_int_t ngx_llm_face_read_choice(ngx_llm_face_text_t *t,
    const u_char *value, ngx_uint_t form, ngx_llm_face_choice_t *c);
ngx_int_t ngx_llm_face_read_call(ngx_llm_face_text_t *t,
    const u_char *value, ngx_llm_face_span_t *call);
ngx_int_t ngx_llm_face_read_function(ngx_llm_face_text_t *t,
    const u_char *value, ngx_llm_face_span_t *call);

/* the next element; *array is at the '[' first.  NGX_DONE: no more */
ngx_int_t ngx_llm_face_next(ngx_llm_face_text_t *t, const u_char **array,
    const u_char **element);

/* of an index, which has been read */
ngx_uint_t ngx_llm_face_number(const ngx_llm_face_span_t *s);


#endif /* _NGX_LLM_SHAPE_PARTS_H_INCLUDED_ */
