/*
 * The paths that the answer reader reads, a table for each kind of object, and
 * what values are to it.  A new field of an answer is a line here and a case
 * in ngx_llm_answer.c.
 */


#include <ngx_llm_answer_keys.h>


#define ngx_llm_answer_key(key, slot)                                         \
    ngx_llm_pull_key(key, ngx_llm_answer_##slot, 0)

#define ngx_llm_answer_path(key, slot, node)                                  \
    ngx_llm_pull_key(key, ngx_llm_answer_##slot, ngx_llm_answer_##node##_node)


/*
 * The paths we read.  An error is a truthy top-level member "error" (for a
 * document: without choices, data or output beside it), an event named error,
 * or in a stream "type":"error".
 */

static const ngx_llm_pull_key_t  ngx_llm_answer_root_keys[] = {
    ngx_llm_answer_key("type", type),
    ngx_llm_answer_path("data", result, any),
    ngx_llm_answer_key("code", root_code),
    ngx_llm_answer_path("usage", usage, usage),
    ngx_llm_answer_path("error", error, error),
    ngx_llm_answer_path("delta", content, any),
    ngx_llm_answer_path("x_groq", none, groq),
    ngx_llm_answer_path("output", result, any),
    ngx_llm_answer_key("status", root_status),
    ngx_llm_answer_path("choices", choices, choices),
    ngx_llm_answer_path("results", content, any),
    ngx_llm_answer_path("response", none, response),
    ngx_llm_pull_null_key
};


/* in OpenAI's shape of usage what a cache has to do with is part of prompt */

static const ngx_llm_pull_key_t  ngx_llm_answer_usage_keys[] = {
    ngx_llm_answer_key("total_tokens", total),
    ngx_llm_answer_key("input_tokens", prompt),
    ngx_llm_answer_key("prompt_tokens", prompt),
    ngx_llm_answer_key("output_tokens", completion),
    ngx_llm_answer_key("completion_tokens", completion),
    ngx_llm_answer_path("input_tokens_details", none, details),
    ngx_llm_answer_path("prompt_tokens_details", none, details),
    ngx_llm_answer_path("output_tokens_details", none, details),
    ngx_llm_answer_key("prompt_cache_hit_tokens", cached),
    ngx_llm_answer_key("cache_read_input_tokens", cached),
    ngx_llm_answer_path("completion_tokens_details", none, details),
    ngx_llm_answer_key("cache_creation_input_tokens", cache_write),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_details_keys[] = {
    ngx_llm_answer_key("cached_tokens", cached),
    ngx_llm_answer_key("reasoning_tokens", reasoning),
    ngx_llm_answer_key("cache_write_tokens", cache_write),
    ngx_llm_answer_key("cache_creation_tokens", cache_write),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_groq_keys[] = {
    ngx_llm_answer_path("usage", inner_usage, usage),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_response_keys[] = {
    ngx_llm_answer_path("usage", inner_usage, usage),
    ngx_llm_answer_key("status", response_status),
    ngx_llm_answer_path("output", content, any),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_choices_keys[] = {
    ngx_llm_pull_element(ngx_llm_answer_choice, ngx_llm_answer_choice_node),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_choice_keys[] = {
    ngx_llm_answer_key("text", content),
    ngx_llm_answer_key("index", index),
    ngx_llm_answer_path("delta", none, message),
    ngx_llm_answer_path("message", none, message),
    ngx_llm_answer_key("finish_reason", finish),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_message_keys[] = {
    ngx_llm_answer_path("audio", content, any),
    ngx_llm_answer_path("content", content, any),
    ngx_llm_answer_key("refusal", content),
    ngx_llm_answer_key("reasoning", content),
    ngx_llm_answer_path("tool_calls", content, any),
    ngx_llm_answer_path("function_call", content, any),
    ngx_llm_answer_key("reasoning_content", content),
    ngx_llm_pull_null_key
};


static const ngx_llm_pull_key_t  ngx_llm_answer_error_keys[] = {
    ngx_llm_answer_key("code", error_code),
    ngx_llm_answer_key("status", error_status),
    ngx_llm_pull_null_key
};


/* only whether it is empty */

static const ngx_llm_pull_key_t  ngx_llm_answer_any_keys[] = {
    ngx_llm_pull_null_key
};


const ngx_llm_pull_key_t *const  ngx_llm_answer_nodes[] = {
    NULL,
    ngx_llm_answer_root_keys,
    ngx_llm_answer_usage_keys,
    ngx_llm_answer_details_keys,
    ngx_llm_answer_groq_keys,
    ngx_llm_answer_response_keys,
    ngx_llm_answer_choices_keys,
    ngx_llm_answer_choice_keys,
    ngx_llm_answer_message_keys,
    ngx_llm_answer_error_keys,
    ngx_llm_answer_any_keys
};


int64_t
ngx_llm_answer_integer(const ngx_str_t *value)
{
    size_t   i;
    int64_t  n;

    if (value->len == 0 || value->len > 16
        || (value->len > 1 && value->data[0] == '0'))
    {
        return -1;
    }

    n = 0;

    for (i = 0; i < value->len; i++) {

        if (value->data[i] < '0' || value->data[i] > '9') {
            return -1;
        }

        n = n * 10 + (value->data[i] - '0');
    }

    return (n < (int64_t) 1 << 53) ? n : -1;
}


ngx_uint_t
ngx_llm_answer_truthy(const ngx_llm_pull_t *pl)
{
    size_t  i;
    u_char  ch;

    switch (pl->type) {

    case NGX_LLM_PULL_STRING:
        return pl->value.len != 0;

    case NGX_LLM_PULL_TRUE:
        return 1;

    case NGX_LLM_PULL_NUMBER:

        for (i = 0; i < pl->value.len; i++) {
            ch = pl->value.data[i];

            if (ch == 'e' || ch == 'E') {
                break;
            }

            if (ch >= '1' && ch <= '9') {
                return 1;
            }
        }

        return 0;

    case NGX_LLM_PULL_OBJECT_END:
    case NGX_LLM_PULL_ARRAY_END:
        return !pl->empty;

    default:
        return 0;
    }
}
