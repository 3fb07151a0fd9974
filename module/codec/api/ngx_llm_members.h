/*
 * ngx_llm_members.h: what the values are called that the answer reader
 * reads; the paths to them are in ngx_llm_members.c.
 */

#ifndef _NGX_LLM_MEMBERS_H_INCLUDED_
#define _NGX_LLM_MEMBERS_H_INCLUDED_


#include <ngx_llm_reader.h>


/* what a value is to us; those up to reasoning index tokens[] */

enum {
    ngx_llm_answer_none = 0,
    ngx_llm_answer_prompt,
    ngx_llm_answer_completion,
    ngx_llm_answer_total,
    ngx_llm_answer_cached,
    ngx_llm_answer_cache_write,
    ngx_llm_answer_reasoning,

    ngx_llm_answer_usage,
    ngx_llm_answer_inner_usage,
    ngx_llm_answer_choices,
    ngx_llm_answer_choice,
    ngx_llm_answer_index,
    ngx_llm_answer_finish,
    ngx_llm_answer_choice_content,
    ngx_llm_answer_choice_thought,
    ngx_llm_answer_delta,
    ngx_llm_answer_text,
    ngx_llm_answer_piece,            /* text in a part or a tool call */
    ngx_llm_answer_stop,
    ngx_llm_answer_content,
    ngx_llm_answer_rows,
    ngx_llm_answer_results,
    ngx_llm_answer_output,
    ngx_llm_answer_audio,
    ngx_llm_answer_choice_error,
    ngx_llm_answer_error,
    ngx_llm_answer_error_member,
    ngx_llm_answer_error_code,
    ngx_llm_answer_error_status,
    ngx_llm_answer_root_code,
    ngx_llm_answer_root_status,
    ngx_llm_answer_response_status,
    ngx_llm_answer_type,
    ngx_llm_answer_object,
    ngx_llm_answer_root_message,
    ngx_llm_answer_complaint
};


enum {
    ngx_llm_answer_none_node = 0,
    ngx_llm_answer_root_node,
    ngx_llm_answer_usage_node,
    ngx_llm_answer_details_node,
    ngx_llm_answer_groq_node,
    ngx_llm_answer_response_node,
    ngx_llm_answer_choices_node,
    ngx_llm_answer_choice_node,
    ngx_llm_answer_message_node,
    ngx_llm_answer_parts_node,
    ngx_llm_answer_part_node,
    ngx_llm_answer_calls_node,
    ngx_llm_answer_call_node,
    ngx_llm_answer_function_node,
    ngx_llm_answer_delta_node,
    ngx_llm_answer_error_node,
    ngx_llm_answer_base_node,
    ngx_llm_answer_any_node
};


/* Returns a + b, or the largest number if that is less. */

static ngx_inline uint32_t
ngx_llm_answer_sum(uint32_t a, uint32_t b)
{
    return (a + b < a) ? UINT32_MAX : a + b;
}


/* by node, for ngx_llm_pull_init() */
extern const ngx_llm_pull_node_t  ngx_llm_answer_nodes[];


/* the handler of ngx_llm_pull_t: notes a value in the draft of the event */
void ngx_llm_answer_value(ngx_llm_pull_t *pl, u_char *p);

/* digits only, below 2^53, or -1 */
int64_t ngx_llm_answer_integer(const ngx_str_t *value);

/* as the clients' languages see it; an object or array is judged at its end */
ngx_uint_t ngx_llm_answer_truthy(const ngx_llm_pull_t *pl);


#endif /* _NGX_LLM_MEMBERS_H_INCLUDED_ */
