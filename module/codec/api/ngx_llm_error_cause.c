/*
 * ngx_llm_error_cause.c: recognizes errors that depend on the request and that
 * another model may not have.  Nothing but the choice of the next target hangs
 * on the result, so a phrase may stand anywhere in the message.
 */

#include <ngx_llm_error_class.h>
#include "ngx_llm_error_read.h"


typedef struct {
    const char               *text;   /* lower case */
    ngx_llm_error_cause_e     cause;
} ngx_llm_error_cause_row_t;


static const ngx_llm_error_cause_row_t  ngx_llm_error_cause_words[] = {
    { "context_length_exceeded", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "context_window_exceeded", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "model_max_prompt_tokens_exceeded", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "content_filter", NGX_LLM_ERROR_CAUSE_FILTER },
    { "content_policy_violation", NGX_LLM_ERROR_CAUSE_FILTER },
    { "responsibleaipolicyviolation", NGX_LLM_ERROR_CAUSE_FILTER },
    { "moderation_blocked", NGX_LLM_ERROR_CAUSE_FILTER },
    { "bio_policy", NGX_LLM_ERROR_CAUSE_FILTER },
    { NULL, NGX_LLM_ERROR_CAUSE_OTHER }
};


static const ngx_llm_error_cause_row_t  ngx_llm_error_cause_phrases[] = {
    { "maximum context length", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "context length exceeded", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "exceeds the context window", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "exceed context limit", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "exceeds the available context size", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "exceeds the maximum number of tokens allowed",
      NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "prompt is too long", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "input is too long for requested model", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "maximum prompt length", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "too large for model with", NGX_LLM_ERROR_CAUSE_CONTEXT },
    { "content management policy", NGX_LLM_ERROR_CAUSE_FILTER },
    { "content filtering policy", NGX_LLM_ERROR_CAUSE_FILTER },
    { "rejected as a result of our safety system",
      NGX_LLM_ERROR_CAUSE_FILTER },
    { "content violates usage guidelines", NGX_LLM_ERROR_CAUSE_FILTER },
    { NULL, NGX_LLM_ERROR_CAUSE_OTHER }
};


ngx_llm_error_cause_e
ngx_llm_error_cause(const u_char *body, size_t len)
{
    ngx_uint_t                        i;
    const u_char                     *last;
    ngx_llm_error_read_said_t         said;
    const ngx_llm_error_cause_row_t  *row;
    const ngx_llm_error_read_word_t  *word;

    ngx_llm_error_read(&said, body, len);

    for (row = ngx_llm_error_cause_words; row->text; row++) {

        for (i = 0; i < said.words_n; i++) {
            word = &said.words[i];

            if (strlen(row->text) == word->len
                && ngx_memcmp(row->text, word->data, word->len) == 0)
            {
                return row->cause;
            }
        }
    }

    if (said.flagged) {
        return NGX_LLM_ERROR_CAUSE_FILTER;
    }

    last = said.text + said.text_len;

    for (row = ngx_llm_error_cause_phrases; row->text; row++) {

        if (ngx_llm_error_read_find(said.text, last, row->text) != NULL) {
            return row->cause;
        }
    }

    return NGX_LLM_ERROR_CAUSE_OTHER;
}
