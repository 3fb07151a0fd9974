/*
 * Usage objects of providers, in the form that is charged.
 */

#include <ngx_llm_answer.h>

#include "tap.h"


typedef struct {
    const char       *claim;
    const char       *usage;
    int64_t           prompt, completion, total, cached, write, reasoning;
} case_t;


static const case_t  cases[] = {

    { "OpenAI: cached tokens are part of the prompt",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":110,"
      "\"prompt_tokens_details\":{\"cached_tokens\":80}}",
      100, 10, 110, 80, -1, -1 },
    { "DeepSeek: hits and misses of the cache",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":110,"
      "\"prompt_cache_hit_tokens\":80,\"prompt_cache_miss_tokens\":20}",
      100, 10, 110, 80, -1, -1 },
    { "Moonshot: cached_tokens outside of details",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":110,"
      "\"cached_tokens\":80}", 100, 10, 110, 80, -1, -1 },
    { "Mistral: num_cached_tokens",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":110,"
      "\"num_cached_tokens\":80}", 100, 10, 110, 80, -1, -1 },
    { "Mistral: prompt_token_details",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":110,"
      "\"prompt_token_details\":{\"cached_tokens\":80}}",
      100, 10, 110, 80, -1, -1 },
    { "Qwen: writes to the cache in details",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":110,"
      "\"prompt_tokens_details\":{\"cached_tokens\":0,"
      "\"cache_creation_input_tokens\":80}}", 100, 10, 110, 0, 80, -1 },
    { "Anthropic: input_tokens is without the cache",
      "{\"input_tokens\":10,\"output_tokens\":5,\"cache_read_input_tokens\":80,"
      "\"cache_creation_input_tokens\":20}", 110, 5, 115, 80, 20, -1 },
    { "LiteLLM: both families of names",
      "{\"prompt_tokens\":110,\"completion_tokens\":5,\"total_tokens\":115,"
      "\"prompt_tokens_details\":{\"cached_tokens\":80},"
      "\"cache_read_input_tokens\":80,\"cache_creation_input_tokens\":20}",
      110, 5, 115, 80, 20, -1 },
    { "more cached tokens than prompt are beside it",
      "{\"prompt_tokens\":86,\"completion_tokens\":10,\"total_tokens\":96,"
      "\"prompt_tokens_details\":{\"cached_tokens\":72960}}",
      73046, 10, 73056, 72960, -1, -1 },
    { "xAI: reasoning beside the completion",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,\"total_tokens\":400,"
      "\"completion_tokens_details\":{\"reasoning_tokens\":290}}",
      100, 10, 400, -1, -1, 290 },
    { "Gemini by a relay: thoughts in the total only",
      "{\"prompt_tokens\":20,\"completion_tokens\":198,\"total_tokens\":623}",
      20, 198, 623, -1, -1, 405 },
    { "a total below its parts is corrected",
      "{\"prompt_tokens\":20,\"completion_tokens\":30,\"total_tokens\":1}",
      20, 30, 50, -1, -1, -1 },
    { "OpenAI Responses",
      "{\"input_tokens\":36,\"output_tokens\":87,\"total_tokens\":123,"
      "\"input_tokens_details\":{\"cached_tokens\":6},"
      "\"output_tokens_details\":{\"reasoning_tokens\":7}}",
      36, 87, 123, 6, -1, 7 },
    { "a value that is no count is left out",
      "{\"prompt_tokens\":9,\"completion_tokens\":\"4\",\"total_tokens\":13.5}",
      9, -1, 9, -1, -1, -1 }
};


static void whole(const case_t *c, const char *format,
    const ngx_llm_api_t *api);


int
main(void)
{
    size_t  i;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        whole(&cases[i], "{\"choices\":[{\"message\":{\"content\":\"x\"},"
              "\"finish_reason\":\"stop\"}],\"usage\":%s}",
              &ngx_llm_api_chat);
        whole(&cases[i], "{\"choices\":[{\"message\":{\"content\":\"x\"},"
              "\"finish_reason\":\"stop\",\"usage\":%s}]}",
              &ngx_llm_api_chat);
    }

    return done_testing();
}


static void
whole(const case_t *c, const char *format, const ngx_llm_api_t *api)
{
    u_char            *p;
    char               text[2000];
    ngx_llm_usage_t   *u;
    ngx_llm_answer_t   a;

    sprintf(text, format, c->usage);

    ngx_llm_answer_init(&a, NGX_LLM_ANSWER_JSON, api, 1);
    p = (u_char *) text;
    (void) ngx_llm_answer_feed(&a, &p, p + strlen(text));

    u = &a.usage;

    if (!ok(a.usage_seen && u->prompt == c->prompt
            && u->completion == c->completion && u->total == c->total
            && u->cached == c->cached && u->cache_write == c->write
            && u->reasoning == c->reasoning, "%s", c->claim))
    {
        printf("# prompt %ld completion %ld total %ld cached %ld write %ld "
               "reasoning %ld\n", (long) u->prompt, (long) u->completion,
               (long) u->total, (long) u->cached, (long) u->cache_write,
               (long) u->reasoning);
    }
}
