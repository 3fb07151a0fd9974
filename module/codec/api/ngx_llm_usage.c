/*
 * ngx_llm_usage.c: one form for the usage of all providers.
 *
 * Called by the answer reader for each usage object, whatever the api and
 * the place of the object are.
 */

#include "ngx_llm_members.h"

#include <ngx_llm_usage.h>


static void ngx_llm_usage_prompt(ngx_llm_usage_t *usage, const int64_t *tokens);
static void ngx_llm_usage_total(ngx_llm_usage_t *usage);


#define ngx_llm_usage_given(n)  (((n) < 0) ? 0 : (n))


ngx_int_t
ngx_llm_usage_normalise(ngx_llm_usage_t *usage, const int64_t *tokens)
{
    memset(usage, 0xff, sizeof(ngx_llm_usage_t));

    usage->completion = tokens[ngx_llm_members_completion];
    usage->total = tokens[ngx_llm_members_total];
    usage->reasoning = tokens[ngx_llm_members_reasoning];
    usage->cache_write_1h = tokens[ngx_llm_members_cache_write_1h];
    usage->audio_in = tokens[ngx_llm_members_audio_in];
    usage->image_in = tokens[ngx_llm_members_image_in];
    usage->audio_out = tokens[ngx_llm_members_audio_out];
    usage->image_out = tokens[ngx_llm_members_image_out];
    usage->seconds = tokens[ngx_llm_members_seconds];
    usage->cost = tokens[ngx_llm_members_cost];

    ngx_llm_usage_prompt(usage, tokens);

    if (usage->prompt < 0 && usage->completion < 0 && usage->total < 0
        && usage->seconds < 0)
    {
        return NGX_DECLINED;
    }

    ngx_llm_usage_total(usage);

    return NGX_OK;
}


/*
 * OpenAI counts cached tokens as a part of the prompt.  Anthropic's
 * input_tokens has neither cache_read_input_tokens nor
 * cache_creation_input_tokens; a number of cached tokens above the prompt
 * shows the same way of counting under other names, as of xAI.
 */

static void
ngx_llm_usage_prompt(ngx_llm_usage_t *usage, const int64_t *tokens)
{
    int64_t     read, creation, input;
    ngx_uint_t  beside;

    read = tokens[ngx_llm_members_cache_read];
    creation = tokens[ngx_llm_members_cache_creation];
    input = tokens[ngx_llm_members_input];

    usage->cached = ngx_max(tokens[ngx_llm_members_cached], read);
    usage->cache_write = ngx_max(tokens[ngx_llm_members_cache_write], creation);
    usage->prompt = ngx_max(tokens[ngx_llm_members_prompt], input);

    if (usage->prompt < 0) {
        return;
    }

    beside = (tokens[ngx_llm_members_prompt] < 0
              && tokens[ngx_llm_members_cached] < 0
              && (read > 0 || creation > 0))
             || usage->cached > usage->prompt;

    if (beside) {
        usage->prompt += ngx_llm_usage_given(usage->cached)
                         + ngx_llm_usage_given(usage->cache_write);
    }
}


/* Tokens of a total beyond prompt and completion are reasoning. */

static void
ngx_llm_usage_total(ngx_llm_usage_t *usage)
{
    int64_t  sum;

    sum = ngx_llm_usage_given(usage->prompt)
          + ngx_llm_usage_given(usage->completion);

    if (usage->total <= sum) {
        usage->total = sum;
        return;
    }

    if (usage->prompt >= 0 && usage->completion >= 0
        && usage->reasoning < usage->total - sum)
    {
        usage->reasoning = usage->total - sum;
    }
}
