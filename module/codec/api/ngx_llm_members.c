/*
 * The paths that the answer reader reads, a table for each kind of object, and
 * what values are to it.  A new field of an answer is a line here, beside the
 * keys of its length (see ngx_llm_reader_members.h), and a case in
 * ngx_llm_answer.c.
 */


#include "ngx_llm_members.h"


#define NGX_LLM_MEMBERS_NANO  9      /* decimals of $ as nano-USD */


static ngx_int_t ngx_llm_members_exponent(const u_char *p, const u_char *last,
    ngx_int_t *power);


#define ngx_llm_members_node(node)                                            \
    [ngx_llm_members_##node##_node]

#define ngx_llm_members_key(n, name, slot, node)                              \
    ngx_llm_reader_member(n, name, ngx_llm_members_##slot,                    \
                          ngx_llm_members_##node##_node)

#define ngx_llm_members_twin(n, name, slot, node)                             \
    ngx_llm_reader_twin(n, name, ngx_llm_members_##slot,                      \
                        ngx_llm_members_##node##_node)

#define ngx_llm_members_element(slot, node)                                   \
    ngx_llm_reader_element(ngx_llm_members_##slot,                            \
                           ngx_llm_members_##node##_node)


/*
 * The paths we read.  An error is a top-level member "error" that is not empty
 * (for a document: unless it is an answer beside that), an error in a choice,
 * an event named error, or one whose type or object is "error"; and an object
 * that is nothing else and has a message, a detail or the like.
 */

const ngx_llm_reader_node_t  ngx_llm_members_nodes[] = {

    ngx_llm_members_node(root) = {
        ngx_llm_members_key(1, "msg", complaint, none),
        ngx_llm_members_key(2, "type", type, none),
        ngx_llm_members_twin(3, "text", text, none),
        ngx_llm_members_twin(4, "data", rows, any),
        ngx_llm_members_twin(5, "code", root_code, none),
        ngx_llm_members_key(6, "usage", usage, usage),
        ngx_llm_members_twin(7, "error", error, error),
        ngx_llm_members_twin(8, "delta", delta, delta),
        ngx_llm_members_twin(9, "audio", audio, any),
        ngx_llm_members_key(10, "object", object, none),
        ngx_llm_members_twin(11, "status", root_status, none),
        ngx_llm_members_twin(12, "output", output, items),
        ngx_llm_members_twin(13, "x_groq", none, groq),
        ngx_llm_members_twin(14, "detail", complaint, any),
        ngx_llm_members_key(15, "choices", choices, choices),
        ngx_llm_members_twin(16, "results", results, any),
        ngx_llm_members_twin(17, "message", root_message, start),
        ngx_llm_members_twin(18, "content", content, any),
        ngx_llm_members_key(19, "response", none, response),
        ngx_llm_members_twin(20, "b64_json", content, none),
        ngx_llm_members_key(21, "base_resp", none, base),
        ngx_llm_members_key(22, "service_tier", tier, none)
    },

    /* by length; ngx_llm_usage.c knows how providers count */

    ngx_llm_members_node(usage) = {
        ngx_llm_members_key(1, "cost", cost, none),
        ngx_llm_members_key(2, "seconds", seconds, none),
        ngx_llm_members_key(3, "total_tokens", total, none),
        ngx_llm_members_twin(4, "input_tokens", input, none),
        ngx_llm_members_key(5, "prompt_tokens", prompt, none),
        ngx_llm_members_twin(6, "output_tokens", completion, none),
        ngx_llm_members_twin(7, "cached_tokens", cached, none),
        ngx_llm_members_key(8, "cache_creation", none, creation),
        ngx_llm_members_key(9, "reasoning_tokens", reasoning, none),
        ngx_llm_members_key(10, "completion_tokens", completion, none),
        ngx_llm_members_twin(11, "num_cached_tokens", cached, none),
        ngx_llm_members_key(12, "input_token_details", none, details),
        ngx_llm_members_key(13, "input_tokens_details", none, details),
        ngx_llm_members_twin(14, "prompt_token_details", none, details),
        ngx_llm_members_twin(15, "output_token_details", none, out_details),
        ngx_llm_members_key(16, "prompt_tokens_details", none, details),
        ngx_llm_members_twin(17, "output_tokens_details", none, out_details),
        ngx_llm_members_key(18, "prompt_cache_hit_tokens", cached, none),
        ngx_llm_members_twin(19, "cache_read_input_tokens", cache_read, none),
        ngx_llm_members_key(20, "completion_token_details", none, out_details),
        ngx_llm_members_key(21, "completion_tokens_details", none,
                            out_details),
        ngx_llm_members_key(22, "cache_creation_input_tokens",
                            cache_creation, none)
    },

    ngx_llm_members_node(details) = {
        ngx_llm_members_key(1, "audio_tokens", audio_in, none),
        ngx_llm_members_twin(2, "image_tokens", image_in, none),
        ngx_llm_members_key(3, "cached_tokens", cached, none),
        ngx_llm_members_key(4, "cache_write_tokens", cache_write, none),
        ngx_llm_members_key(5, "cache_creation_tokens", cache_write, none),
        ngx_llm_members_key(6, "cache_creation_input_tokens", cache_write,
                            none)
    },

    ngx_llm_members_node(out_details) = {
        ngx_llm_members_key(1, "audio_tokens", audio_out, none),
        ngx_llm_members_twin(2, "image_tokens", image_out, none),
        ngx_llm_members_key(3, "reasoning_tokens", reasoning, none)
    },

    ngx_llm_members_node(creation) = {
        ngx_llm_members_key(1, "ephemeral_1h_input_tokens", cache_write_1h,
                            none)
    },

    /* the message of message_start */

    ngx_llm_members_node(start) = {
        ngx_llm_members_key(1, "usage", start_usage, usage)
    },

    ngx_llm_members_node(groq) = {
        ngx_llm_members_key(1, "usage", inner_usage, usage)
    },

    ngx_llm_members_node(response) = {
        ngx_llm_members_key(1, "usage", inner_usage, usage),
        ngx_llm_members_key(2, "status", response_status, none),
        ngx_llm_members_twin(3, "output", content, any),
        ngx_llm_members_key(4, "service_tier", tier, none)
    },

    ngx_llm_members_node(choices) = {
        ngx_llm_members_element(choice, choice)
    },

    ngx_llm_members_node(choice) = {
        ngx_llm_members_key(1, "text", choice_content, none),
        ngx_llm_members_key(2, "index", index, none),
        ngx_llm_members_twin(3, "delta", none, message),
        ngx_llm_members_twin(4, "error", choice_error, error),
        ngx_llm_members_twin(5, "usage", inner_usage, usage),
        ngx_llm_members_key(6, "message", none, message),
        ngx_llm_members_key(7, "finish_reason", finish, none)
    },

    ngx_llm_members_node(message) = {
        ngx_llm_members_key(1, "audio", choice_content, any),
        ngx_llm_members_key(2, "content", choice_content, parts),
        ngx_llm_members_twin(3, "refusal", choice_content, none),
        ngx_llm_members_key(4, "reasoning", choice_thought, none),
        ngx_llm_members_key(5, "tool_calls", choice_content, calls),
        ngx_llm_members_key(6, "function_call", choice_content, function),
        ngx_llm_members_key(7, "reasoning_content", choice_thought, none),
        ngx_llm_members_twin(8, "reasoning_details", choice_thought, any)
    },

    /* the output of a Responses document */

    ngx_llm_members_node(items) = {
        ngx_llm_members_element(none, item)
    },

    ngx_llm_members_node(item) = {
        ngx_llm_members_key(1, "content", none, parts),
        ngx_llm_members_twin(2, "summary", none, parts),
        ngx_llm_members_key(3, "arguments", piece, none)
    },

    /* a thinking part of Mistral contains parts */

    ngx_llm_members_node(parts) = {
        ngx_llm_members_element(none, part)
    },

    ngx_llm_members_node(part) = {
        ngx_llm_members_key(1, "text", piece, none),
        ngx_llm_members_key(2, "thinking", piece, parts)
    },

    ngx_llm_members_node(calls) = {
        ngx_llm_members_element(none, call)
    },

    ngx_llm_members_node(call) = {
        ngx_llm_members_key(1, "function", none, function)
    },

    ngx_llm_members_node(function) = {
        ngx_llm_members_key(1, "name", piece, none),
        ngx_llm_members_key(2, "arguments", piece, none)
    },

    ngx_llm_members_node(delta) = {
        ngx_llm_members_key(1, "text", piece, none),
        ngx_llm_members_key(2, "thinking", piece, none),
        ngx_llm_members_key(3, "stop_reason", stop, none),
        ngx_llm_members_key(4, "partial_json", piece, none)
    },

    /* one whose members are all empty is no error */

    ngx_llm_members_node(error) = {
        ngx_llm_members_key(1, "code", error_code, any),
        ngx_llm_members_key(2, "status", error_status, any),
        ngx_llm_reader_others(ngx_llm_members_error_member,
                              ngx_llm_members_any_node)
    },

    /* MiniMax: 0 is success */

    ngx_llm_members_node(base) = {
        ngx_llm_members_key(1, "status_code", complaint, none)
    },

    /* only whether it is empty */

    ngx_llm_members_node(any) = {
        ngx_llm_members_element(none, none)
    }
};


int64_t
ngx_llm_members_integer(const ngx_str_t *value)
{
    u_char    digit, *p, *last;
    int64_t   n;

    p = value->data;
    last = p + value->len;

    if (value->len == 0 || value->len > 16 || (*p == '0' && value->len > 1)) {
        return -1;
    }

    n = 0;

    do {
        digit = *p++ - '0';

        if (digit > 9) {
            return -1;
        }

        n = n * 10 + digit;

    } while (p < last);

    return (n < (int64_t) 1 << 53) ? n : -1;
}


ngx_uint_t
ngx_llm_members_truthy(const ngx_llm_reader_t *pl)
{
    size_t  i;
    u_char  ch;

    switch (pl->type) {

    case NGX_LLM_READER_STRING:
        return pl->value.len != 0;

    case NGX_LLM_READER_TRUE:
        return 1;

    case NGX_LLM_READER_NUMBER:

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

    case NGX_LLM_READER_OBJECT_END:
    case NGX_LLM_READER_ARRAY_END:
        return !pl->empty;

    default:
        return 0;
    }
}


ngx_int_t
ngx_llm_members_amount(const ngx_str_t *value, int64_t *nano)
{
    int64_t        n;
    ngx_int_t      exponent, power;
    ngx_uint_t     digits, point, lost;
    const u_char  *p, *last;

    n = 0;
    digits = 0;
    point = 0;
    lost = 0;
    exponent = NGX_LLM_MEMBERS_NANO;
    power = 0;

    p = value->data;
    last = p + value->len;

    for ( /* void */ ; p < last; p++) {

        if (*p == '.' && !point && digits) {
            point = 1;
            continue;
        }

        if (*p < '0' || *p > '9') {
            break;
        }

        digits++;

        if (n < INT64_MAX / 10 - 1) {
            n = n * 10 + (*p - '0');
            exponent -= point;

        } else {
            lost |= (*p != '0');
            exponent += !point;
        }
    }

    if (digits == 0) {
        return NGX_ERROR;
    }

    if (p < last && ngx_llm_members_exponent(p, last, &power) != NGX_OK) {
        return NGX_ERROR;
    }

    exponent += power;

    for ( /* void */ ; exponent > 0 && n; exponent--) {

        if (n > INT64_MAX / 10) {
            *nano = INT64_MAX;
            return NGX_OK;
        }

        n *= 10;
    }

    for ( /* void */ ; exponent < 0 && n; exponent++) {
        lost |= (n % 10 != 0);
        n /= 10;
    }

    *nano = n + (lost && n < INT64_MAX);

    return NGX_OK;
}


/* Reads "e", an optional sign and digits, up to the end. */

static ngx_int_t
ngx_llm_members_exponent(const u_char *p, const u_char *last,
    ngx_int_t *power)
{
    ngx_int_t   n;
    ngx_uint_t  minus;

    if (*p != 'e' && *p != 'E') {
        return NGX_ERROR;
    }

    minus = (++p < last && *p == '-');
    p += (p < last && (*p == '-' || *p == '+'));

    if (p == last) {
        return NGX_ERROR;
    }

    for (n = 0; p < last; p++) {

        if (*p < '0' || *p > '9') {
            return NGX_ERROR;
        }

        n = (n < 1000) ? n * 10 + (*p - '0') : n;
    }

    *power = minus ? -n : n;

    return NGX_OK;
}
