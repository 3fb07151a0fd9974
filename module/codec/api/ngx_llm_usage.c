/*
 * ngx_llm_usage.c: one form for the usage of all providers.
 *
 * Called by the answer reader for each usage object, whatever the api and
 * the place of the object are.
 */

#include "ngx_llm_members.h"

#include <ngx_llm_usage.h>


static void ngx_llm_usage_prompt(ngx_llm_usage_t *usage, const int64_t *tokens);
static ngx_uint_t ngx_llm_usage_beside(const ngx_llm_usage_t *usage,
    const int64_t *tokens);
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
 * cache_creation_input_tokens; xAI counts like that under OpenAI's names.
 */

static void
ngx_llm_usage_prompt(ngx_llm_usage_t *usage, const int64_t *tokens)
{
    int64_t  read, creation, input;

    read = tokens[ngx_llm_members_cache_read];
    creation = tokens[ngx_llm_members_cache_creation];
    input = tokens[ngx_llm_members_input];

    usage->cached = ngx_max(tokens[ngx_llm_members_cached], read);
    usage->cache_write = ngx_max(tokens[ngx_llm_members_cache_write], creation);
    usage->prompt = ngx_max(tokens[ngx_llm_members_prompt], input);

    if (usage->prompt < 0) {
        return;
    }

    if (ngx_llm_usage_beside(usage, tokens)) {
        usage->prompt += ngx_llm_usage_given(usage->cached)
                         + ngx_llm_usage_given(usage->cache_write);
    }
}


/*
 * Returns 1 if the prompt is without the tokens of the cache: they are more
 * than the prompt, or they stand under Anthropic's names only and the total, if
 * it is given, has room for all.
 */

static ngx_uint_t
ngx_llm_usage_beside(const ngx_llm_usage_t *usage, const int64_t *tokens)
{
    int64_t  cache;

    cache = ngx_llm_usage_given(usage->cached)
            + ngx_llm_usage_given(usage->cache_write);

    if (cache > usage->prompt) {
        return 1;
    }

    /* relays send the names of both families, with zeros in one of them */

    return cache > 0
           && tokens[ngx_llm_members_prompt] <= 0
           && tokens[ngx_llm_members_cached] <= 0
           && tokens[ngx_llm_members_cache_write] <= 0
           && (usage->total < 0
               || usage->total >= usage->prompt + cache
                                  + ngx_llm_usage_given(usage->completion));
}


/*
 * Tokens of a total beyond prompt and completion are reasoning.  Without a
 * total, reasoning that exceeds the completion cannot be a part of it.
 */

static void
ngx_llm_usage_total(ngx_llm_usage_t *usage)
{
    int64_t  sum;

    if (usage->prompt < 0 && usage->completion >= 0
        && usage->total >= usage->completion)
    {
        usage->prompt = usage->total - usage->completion;
        return;
    }

    sum = ngx_llm_usage_given(usage->prompt)
          + ngx_llm_usage_given(usage->completion);

    if (usage->total < 0 && usage->completion >= 0
        && usage->reasoning > usage->completion)
    {
        usage->total = sum + usage->reasoning;
    }

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
