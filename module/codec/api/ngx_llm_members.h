/*
 * ngx_llm_members.h: the values of a response; their paths are in the .c file.
 */

#ifndef _NGX_LLM_MEMBERS_H_INCLUDED_
#define _NGX_LLM_MEMBERS_H_INCLUDED_


#include <ngx_llm_reader.h>


/* slots of values; those up to cost are indices of tokens[] */

enum {
    ngx_llm_members_none = 0,
    ngx_llm_members_prompt,
    ngx_llm_members_input,           /* input_tokens */
    ngx_llm_members_completion,
    ngx_llm_members_total,
    ngx_llm_members_cached,
    ngx_llm_members_cache_read,      /* in the way of Anthropic */
    ngx_llm_members_cache_write,
    ngx_llm_members_cache_creation,  /* the same */
    ngx_llm_members_cache_write_1h,
    ngx_llm_members_reasoning,
    ngx_llm_members_audio_in,
    ngx_llm_members_image_in,
    ngx_llm_members_audio_out,
    ngx_llm_members_image_out,
    ngx_llm_members_seconds,
    ngx_llm_members_cost,

    ngx_llm_members_tier,
    ngx_llm_members_usage,
    ngx_llm_members_inner_usage,
    ngx_llm_members_start_usage,     /* of the messages api */
    ngx_llm_members_choices,
    ngx_llm_members_choice,
    ngx_llm_members_index,
    ngx_llm_members_finish,
    ngx_llm_members_choice_content,
    ngx_llm_members_choice_thought,
    ngx_llm_members_delta,
    ngx_llm_members_text,
    ngx_llm_members_piece,           /* text in a part or a tool call */
    ngx_llm_members_stop,
    ngx_llm_members_content,
    ngx_llm_members_rows,
    ngx_llm_members_results,
    ngx_llm_members_output,
    ngx_llm_members_audio,
    ngx_llm_members_choice_error,
    ngx_llm_members_error,
    ngx_llm_members_error_member,
    ngx_llm_members_error_code,
    ngx_llm_members_error_status,
    ngx_llm_members_root_code,
    ngx_llm_members_root_status,
    ngx_llm_members_response_status,
    ngx_llm_members_type,
    ngx_llm_members_object,
    ngx_llm_members_root_message,
    ngx_llm_members_complaint
};

enum {
    ngx_llm_members_none_node = 0,
    ngx_llm_members_root_node,
    ngx_llm_members_usage_node,
    ngx_llm_members_details_node,
    ngx_llm_members_out_details_node,
    ngx_llm_members_creation_node,
    ngx_llm_members_start_node,
    ngx_llm_members_groq_node,
    ngx_llm_members_response_node,
    ngx_llm_members_choices_node,
    ngx_llm_members_choice_node,
    ngx_llm_members_message_node,
    ngx_llm_members_items_node,
    ngx_llm_members_item_node,
    ngx_llm_members_parts_node,
    ngx_llm_members_part_node,
    ngx_llm_members_calls_node,
    ngx_llm_members_call_node,
    ngx_llm_members_function_node,
    ngx_llm_members_delta_node,
    ngx_llm_members_error_node,
    ngx_llm_members_base_node,
    ngx_llm_members_any_node
};


/* Returns a + b, or the largest number if that is less. */

static ngx_inline uint32_t
ngx_llm_members_sum(uint32_t a, uint32_t b)
{
    return (a + b < a) ? UINT32_MAX : a + b;
}


/* by node, for ngx_llm_reader_init() */
extern const ngx_llm_reader_node_t  ngx_llm_members_nodes[];

/* the handler of ngx_llm_reader_t: notes a value in the draft of the event */
void ngx_llm_members_value(ngx_llm_reader_t *pl, u_char *p);

/*
 * Reads a JSON number of $ into *nano, nano-USD, rounded up; at most INT64_MAX.
 * Returns NGX_ERROR if it is negative or not a number.
 */
ngx_int_t ngx_llm_members_amount(const ngx_str_t *value, int64_t *nano);

/* digits only, below 2^53, or -1 */
int64_t ngx_llm_members_integer(const ngx_str_t *value);
/* as the clients' languages see it; an object or array is judged at its end */
ngx_uint_t ngx_llm_members_truthy(const ngx_llm_reader_t *pl);


#endif /* _NGX_LLM_MEMBERS_H_INCLUDED_ */
