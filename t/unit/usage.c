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
    { "a relay: Anthropic's names, and zeros under OpenAI's",
      "{\"prompt_tokens\":0,\"completion_tokens\":0,\"input_tokens\":1000,"
      "\"output_tokens\":5,\"cache_read_input_tokens\":500}",
      1500, 5, 1505, 500, -1, -1 },
    { "a total without room for the cache: cached tokens are in the prompt",
      "{\"input_tokens\":1000,\"output_tokens\":5,\"total_tokens\":1005,"
      "\"cache_read_input_tokens\":500}", 1000, 5, 1005, 500, -1, -1 },
    { "cached and written tokens that exceed the prompt are beside it",
      "{\"prompt_tokens\":100,\"completion_tokens\":5,"
      "\"prompt_tokens_details\":{\"cached_tokens\":90,"
      "\"cache_write_tokens\":90}}", 280, 5, 285, 90, 90, -1 },
    { "no total: reasoning above the completion is beside it",
      "{\"prompt_tokens\":100,\"completion_tokens\":10,"
      "\"completion_tokens_details\":{\"reasoning_tokens\":290}}",
      100, 10, 400, -1, -1, 290 },
    { "no prompt: the total shows it",
      "{\"completion_tokens\":10,\"total_tokens\":110}",
      100, 10, 110, -1, -1, -1 },
    { "no completion: the total shows it",
      "{\"prompt_tokens\":100,\"completion_tokens\":null,"
      "\"total_tokens\":110}", 100, 10, 110, -1, -1, -1 },
    { "no completion: a total that equals the prompt has none",
      "{\"prompt_tokens\":100,\"completion_tokens\":null,"
      "\"total_tokens\":100}", 100, 0, 100, -1, -1, -1 },
    { "a value that is no count is left out",
      "{\"prompt_tokens\":9,\"completion_tokens\":\"4\",\"total_tokens\":13.5}",
      9, -1, 9, -1, -1, -1 }
};


/* message_start has the prompt, message_delta the output */

static const char  stream[] =
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{"
    "\"type\":\"message\",\"content\":[],\"usage\":{\"input_tokens\":10,"
    "\"cache_read_input_tokens\":80,\"output_tokens\":1}}}\n\n"
    "event: ping\ndata: {\"type\":\"ping\"}\n\n"
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\","
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"four\"}}\n\n"
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"
    "\"stop_reason\":\"end_turn\"},\"usage\":{\"input_tokens\":0,"
    "\"output_tokens\":30}}\n\n"
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";


/* the event of a text's end repeats the text */

static const char  repeated[] =
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"four\"}\n\n"
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"more\"}\n\n"
    "data: {\"type\":\"response.output_text.done\",\"text\":\"fourmore\"}\n\n";


static void whole(const case_t *c, const char *format,
    const ngx_llm_api_t *api);
static void events(ngx_llm_answer_t *a, const char *text,
    const ngx_llm_api_t *api);


int
main(void)
{
    size_t            i;
    ngx_llm_answer_t  a;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        whole(&cases[i], "{\"choices\":[{\"message\":{\"content\":\"x\"},"
              "\"finish_reason\":\"stop\"}],\"usage\":%s}",
              &ngx_llm_api_chat);
        whole(&cases[i], "{\"choices\":[{\"message\":{\"content\":\"x\"},"
              "\"finish_reason\":\"stop\",\"usage\":%s}]}",
              &ngx_llm_api_chat);
    }

    events(&a, stream, &ngx_llm_api_messages);

    ok(a.usage.prompt == 90 && a.usage.cached == 80
       && a.usage.completion == 30 && a.usage.total == 120,
       "Messages: the usage of message_delta completes that of message_start");
    ok(a.spoken == 1, "  events without output, as pings, are not counted");

    events(&a, repeated, &ngx_llm_api_responses);

    ok(ngx_llm_answer_text_bytes(&a) == 8,
       "Responses: a text that its last event repeats counts once");

    return done_testing();
}


static void
events(ngx_llm_answer_t *a, const char *text, const ngx_llm_api_t *api)
{
    u_char  *p, *last;
    char     copy[2000];

    strcpy(copy, text);

    ngx_llm_answer_init(a, NGX_LLM_ANSWER_STREAM, api, 1);

    p = (u_char *) copy;
    last = p + strlen(copy);

    while (p < last) {
        (void) ngx_llm_answer_feed(a, &p, last);
    }
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
