/*
 * entry.c: an answer is proved whole by its bytes alone: each sample is, and
 * is not if it ends a byte sooner, wherever that is (REQ-31); and what is read
 * back as an entry is what was written, or is refused, whichever byte of it is
 * another one or missing.  All texts are copies of their exact size.
 */

#include <ngx_llm_entry.h>

#include <stdlib.h>

#include "tap.h"


#define TEXT   8192

#define JSON   0
#define SSE    1

#define CHAT   &ngx_llm_api_chat
#define RESP   &ngx_llm_api_responses
#define ANY    &ngx_llm_api_embeddings
#define MODERATION  &ngx_llm_api_moderations

#define USED   "\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":4,"      \
               "\"total_tokens\":13}"
#define SPENT  "\"usage\":{\"input_tokens\":9,\"output_tokens\":4,"           \
               "\"total_tokens\":13}"

#define DOC(choices)                                                          \
    "{\"id\":\"c\",\"object\":\"chat.completion\",\"created\":1,"             \
    "\"model\":\"m\",\"choices\":[" choices "]," USED "}"

#define SAYS(i, reason)                                                       \
    "{\"index\":" #i ",\"message\":{\"role\":\"assistant\",\"content\":"      \
    "\"a \\\"}]}\\\\ \xc3\xa9\"},\"logprobs\":null,\"finish_reason\":"        \
    reason "}"

#define EVENT(data)  "data: " data "\n\n"

#define CHUNK(choices)                                                        \
    EVENT("{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"created\":1," \
          "\"model\":\"m\",\"choices\":[" choices "]}")

#define DELTA(i)                                                              \
    CHUNK("{\"index\":" #i ",\"delta\":{\"content\":\"a \\\"}]}\\\\\"},"      \
          "\"finish_reason\":null}")

#define ENDS(i, reason)                                                       \
    CHUNK("{\"index\":" #i ",\"delta\":{},\"finish_reason\":" reason "}")

#define USAGE_CHUNK  EVENT("{\"id\":\"c\",\"choices\":[]," USED "}")
#define DONE         EVENT("[DONE]")

#define STARTED                                                               \
    "event: response.created\n"                                               \
    EVENT("{\"type\":\"response.created\",\"response\":{\"id\":\"r\","        \
          "\"status\":\"in_progress\",\"error\":null,\"usage\":null}}")       \
    "event: response.output_text.delta\n"                                     \
    EVENT("{\"type\":\"response.output_text.delta\",\"delta\":\"Hi\"}")

#define ENDED(type, status)                                                   \
    "event: response." type "\n"                                              \
    EVENT("{\"type\":\"response." type "\",\"response\":{\"id\":\"r\","       \
          "\"status\":\"" status "\",\"error\":null,\"output\":[{}]," SPENT   \
          "}}")


typedef struct {
    const char  *claim;
    ngx_uint_t   stream;
    const ngx_llm_api_t  *api;
    ngx_int_t    n;              /* choices that were asked for, or 0 */
    const char  *text;
    const char  *want;           /* prompt/completion/total finish */
    const char  *usage;          /* the usage chunk, NULL: none */
} sample_t;


typedef struct {
    const char  *claim;
    ngx_uint_t   stream;
    const ngx_llm_api_t  *api;
    ngx_int_t    n;
    const char  *text;
    const char  *why;
} refused_t;


static const sample_t  samples[] = {

    { "a chat", JSON, CHAT, 0, DOC(SAYS(0, "\"stop\"")), "9/4/13 stop", NULL },

    { "a chat that came to its max_tokens", JSON, CHAT, 1,
      DOC(SAYS(0, "\"length\"")), "9/4/13 length", NULL },

    { "a chat with two choices", JSON, CHAT, 2,
      DOC(SAYS(0, "\"stop\"") "," SAYS(1, "\"length\"")), "9/4/13 length",
      NULL },

    { "a chat with a tool call", JSON, CHAT, 1,
      DOC("{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":null,"
          "\"tool_calls\":[{\"id\":\"t\",\"type\":\"function\",\"function\":{"
          "\"name\":\"f\",\"arguments\":\"{\\\"x\\\":[1]}\"}}]},"
          "\"finish_reason\":\"tool_calls\"}"), "9/4/13 tool_calls", NULL },

    { "a chat whose usage comes first", JSON, CHAT, 1,
      "{" USED ",\n  \"choices\": [\n" SAYS(0, "\"stop\"") "\n  ]\n}",
      "9/4/13 stop", NULL },

    { "a completion", JSON, CHAT, 0,
      "{\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{\"index\":0,"
      "\"text\":\"Hi\",\"finish_reason\":\"stop\"}]," USED "}", "9/4/13 stop",
      NULL },

    { "a response", JSON, RESP, 0,
      "{\"id\":\"r\",\"object\":\"response\",\"status\":\"completed\","
      "\"error\":null,\"output\":[{\"type\":\"message\",\"status\":"
      "\"completed\",\"content\":[{\"text\":\"Hi\"}]}]," SPENT "}",
      "9/4/13 completed", NULL },

    { "an embedding", JSON, ANY, 0,
      "{\"object\":\"list\",\"data\":[{\"index\":0,\"embedding\":[0.5,-1e-3]}],"
      "\"model\":\"m\",\"usage\":{\"prompt_tokens\":9,\"total_tokens\":9}}",
      "9/-1/9 ", NULL },

    { "a chat as a stream, with usage", SSE, CHAT, 1,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE, "9/4/13 stop",
      USAGE_CHUNK },

    { "a stream with comments, and usage beside the finish reason", SSE, CHAT,
      0,
      ": hello\n\n" DELTA(0)
      EVENT("{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":"
            "\"stop\"}]," USED "}") ": bye\n\n" DONE, "9/4/13 stop", NULL },

    { "a stream with two choices", SSE, CHAT, 2,
      DELTA(0) DELTA(1) ENDS(1, "\"stop\"") DELTA(0) ENDS(0, "\"length\"")
      USAGE_CHUNK DONE, "9/4/13 length", USAGE_CHUNK },

    { "a stream with a tool call", SSE, CHAT, 1,
      CHUNK("{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":\"t\","
            "\"function\":{\"name\":\"f\",\"arguments\":\"\"}}]}}")
      CHUNK("{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
            "\"function\":{\"arguments\":\"{\\\"x\\\":1}\"}}]}}")
      ENDS(0, "\"tool_calls\"") USAGE_CHUNK DONE, "9/4/13 tool_calls",
      USAGE_CHUNK },

    { "a comment before the usage chunk goes with it", SSE, CHAT, 1,
      DELTA(0) ENDS(0, "\"stop\"") ": x\n\n" USAGE_CHUNK DONE, "9/4/13 stop",
      ": x\n\n" USAGE_CHUNK },

    { "a completion as a stream", SSE, CHAT, 1,
      EVENT("{\"choices\":[{\"index\":0,\"text\":\"Hi\",\"finish_reason\":null}"
            "]}")
      EVENT("{\"choices\":[{\"index\":0,\"text\":\"\",\"finish_reason\":"
            "\"stop\"}]}") USAGE_CHUNK DONE, "9/4/13 stop", USAGE_CHUNK },

    { "a response as a stream", SSE, RESP, 0,
      STARTED ENDED("completed", "completed"), "9/4/13 completed", NULL }
};


static const char  moderation[] =
    "{\"id\":\"m\",\"model\":\"m\",\"results\":[{\"flagged\":false,"
    "\"categories\":{\"hate\":false}}]}";


static const refused_t  refused[] = {

    { "nothing", JSON, CHAT, 0, "", "partial" },
    { "nothing as a stream", SSE, CHAT, 0, "", "partial" },
    { "no object", JSON, CHAT, 0, "[" DOC(SAYS(0, "\"stop\"")) "]",
      "partial" },
    { "a page", JSON, ANY, 0, "<html>busy</html>", "partial" },

    { "no choices", JSON, CHAT, 0, DOC(""), "finish_reason" },
    { "one of the two asked for", JSON, CHAT, 2, DOC(SAYS(0, "\"stop\"")),
      "finish_reason" },
    { "the second choice has not ended", JSON, CHAT, 0,
      DOC(SAYS(0, "\"stop\"") "," SAYS(1, "null")), "finish_reason" },
    { "finish_reason null", JSON, CHAT, 0, DOC(SAYS(0, "null")),
      "finish_reason" },
    { "finish_reason \"\"", JSON, CHAT, 0, DOC(SAYS(0, "\"\"")),
      "finish_reason" },
    { "finish_reason 1", JSON, CHAT, 0, DOC(SAYS(0, "1")), "finish_reason" },
    { "finish_reason content_filter", JSON, CHAT, 0,
      DOC(SAYS(0, "\"content_filter\"")), "finish_reason" },
    { "content_filter, then stop", JSON, CHAT, 2,
      DOC(SAYS(0, "\"content_filter\"") "," SAYS(1, "\"stop\"")),
      "finish_reason" },
    { "finish_reason function_call", JSON, CHAT, 0,
      DOC(SAYS(0, "\"function_call\"")), "finish_reason" },
    { "finish_reason error", JSON, CHAT, 0, DOC(SAYS(0, "\"error\"")),
      "error" },
    { "an unknown finish_reason", JSON, CHAT, 0, DOC(SAYS(0, "\"eos\"")),
      "finish_reason" },
    { "a longer one that starts well", JSON, CHAT, 0,
      DOC(SAYS(0, "\"stopped\"")), "finish_reason" },
    { "a finish_reason that is a status", JSON, CHAT, 0,
      DOC(SAYS(0, "\"completed\"")), "finish_reason" },

    { "an error", JSON, CHAT, 0,
      "{\"error\":{\"message\":\"busy\",\"type\":\"server_error\"}}",
      "error" },
    { "an error that is text", JSON, ANY, 0, "{\"error\":\"busy\"," USED "}",
      "error" },
    { "an error beside an answer", JSON, CHAT, 0,
      "{\"error\":{\"message\":\"x\"},\"choices\":[" SAYS(0, "\"stop\"") "],"
      USED "}", "error" },
    { "an error behind embeddings", JSON, ANY, 0,
      "{\"data\":[{\"embedding\":[1]}]," USED ",\"error\":\"x\"}", "error" },

    { "no usage", JSON, CHAT, 0,
      "{\"choices\":[" SAYS(0, "\"stop\"") "]}", "usage" },
    { "usage null", JSON, CHAT, 0,
      "{\"choices\":[" SAYS(0, "\"stop\"") "],\"usage\":null}", "usage" },
    { "usage of nothing", JSON, CHAT, 0,
      "{\"choices\":[" SAYS(0, "\"stop\"") "],\"usage\":{}}", "usage" },
    { "usage that is no number", JSON, CHAT, 0,
      "{\"choices\":[" SAYS(0, "\"stop\"") "],\"usage\":{\"prompt_tokens\":"
      "\"9\"}}", "usage" },
    { "embeddings without usage", JSON, ANY, 0,
      "{\"data\":[{\"embedding\":[1]}]}", "usage" },
    { "no embeddings", JSON, ANY, 0, "{\"data\":[]," USED "}", "empty" },
    { "usage alone", JSON, ANY, 0, "{" USED "}", "empty" },

    { "two documents", JSON, CHAT, 0,
      DOC(SAYS(0, "\"stop\"")) DOC(SAYS(0, "\"stop\"")), "partial" },
    { "a chat that says nothing", JSON, CHAT, 0,
      DOC("{\"index\":0,\"message\":{\"content\":null},\"finish_reason\":"
          "\"stop\"}"), "empty" },
    { "a chat that has only reasoned", JSON, CHAT, 0,
      DOC("{\"index\":0,\"message\":{\"content\":\"\",\"reasoning\":\"hm\"},"
          "\"finish_reason\":\"stop\"}"), "empty" },
    { "something behind the document", JSON, CHAT, 0,
      DOC(SAYS(0, "\"stop\"")) "\nx", "error" },
    { "a brace behind the document", JSON, CHAT, 0,
      DOC(SAYS(0, "\"stop\"")) "}", "error" },
    { "a stream where a document is expected", JSON, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE, "partial" },

    { "a response that failed", JSON, RESP, 0,
      "{\"status\":\"failed\",\"error\":{\"message\":\"x\"},\"output\":[{}],"
      SPENT "}", "error" },
    { "one that is incomplete", JSON, RESP, 0,
      "{\"status\":\"incomplete\",\"error\":null,\"output\":[{}]," SPENT "}",
      "finish_reason" },
    { "one in progress", JSON, RESP, 0,
      "{\"status\":\"in_progress\",\"error\":null,\"output\":[]," SPENT "}",
      "finish_reason" },
    { "one without a status", JSON, RESP, 0, "{\"output\":[{}]," SPENT "}",
      "finish_reason" },
    { "a chat where a response is expected", JSON, RESP, 0,
      DOC(SAYS(0, "\"stop\"")), "finish_reason" },

    { "[DONE] without a finish_reason", SSE, CHAT, 0,
      DELTA(0) USAGE_CHUNK DONE, "finish_reason" },
    { "[DONE] alone", SSE, CHAT, 0, DONE, "finish_reason" },
    { "a stream of comments", SSE, CHAT, 0, ": a\n\n: b\n\n", "partial" },
    { "a stream with finish_reason null", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "null") USAGE_CHUNK DONE, "finish_reason" },
    { "one with content_filter", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"content_filter\"") USAGE_CHUNK DONE,
      "finish_reason" },
    { "one with function_call", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"function_call\"") USAGE_CHUNK DONE,
      "finish_reason" },
    { "one of two choices has ended", SSE, CHAT, 0,
      DELTA(0) DELTA(1) ENDS(0, "\"stop\"") USAGE_CHUNK DONE,
      "finish_reason" },
    { "one choice of the two asked for", SSE, CHAT, 2,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE, "finish_reason" },
    { "a finish_reason without [DONE]", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK, "partial" },
    { "a stream without usage", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") DONE, "usage" },

    { "an error in the middle", SSE, CHAT, 0,
      DELTA(0) EVENT("{\"error\":{\"message\":\"x\"}}") ENDS(0, "\"stop\"")
      USAGE_CHUNK DONE, "error" },
    { "an event named error", SSE, CHAT, 0,
      DELTA(0) "event: error\n" EVENT("{\"message\":\"x\"}")
      ENDS(0, "\"stop\"") USAGE_CHUNK DONE, "error" },
    { "one that is no object", SSE, CHAT, 0,
      DELTA(0) "event: error\n" EVENT("busy") ENDS(0, "\"stop\"")
      USAGE_CHUNK DONE, "error" },
    { "an error of a type", SSE, RESP, 0,
      STARTED EVENT("{\"type\":\"error\",\"message\":\"x\"}"), "error" },
    { "an event that is no JSON", SSE, CHAT, 0,
      DELTA(0) EVENT("{\"choices\":[") ENDS(0, "\"stop\"") USAGE_CHUNK DONE,
      "error" },
    { "an error behind the last choice", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK EVENT("{\"error\":\"x\"}")
      DONE, "error" },

    { "two streams", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE, "partial" },
    { "[DONE] twice", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE DONE, "partial" },
    { "an event behind [DONE]", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE DELTA(0), "partial" },
    { "[DONE] before the last event", SSE, CHAT, 0,
      DELTA(0) DONE ENDS(0, "\"stop\"") USAGE_CHUNK, "partial" },
    { "something behind [DONE]", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE "x", "partial" },
    { "a line behind [DONE]", SSE, CHAT, 0,
      DELTA(0) ENDS(0, "\"stop\"") USAGE_CHUNK DONE "x\n\n", "partial" },
    { "a document where a stream is expected", SSE, CHAT, 0,
      DOC(SAYS(0, "\"stop\"")), "partial" },
    { "embeddings as a stream", SSE, ANY, 0, USAGE_CHUNK DONE, "partial" },

    { "a response that failed, as a stream", SSE, RESP, 0,
      STARTED ENDED("failed", "failed"), "error" },
    { "one that is incomplete, as a stream", SSE, RESP, 0,
      STARTED ENDED("incomplete", "incomplete"), "finish_reason" },
    { "one without its last event", SSE, RESP, 0, STARTED DONE,
      "finish_reason" },
    { "one that was completed, and goes on", SSE, RESP, 0,
      STARTED ENDED("completed", "completed")
      EVENT("{\"type\":\"response.output_text.delta\",\"delta\":\"x\"}"),
      "partial" },
    { "two responses", SSE, RESP, 0,
      STARTED ENDED("completed", "completed")
      STARTED ENDED("completed", "completed"), "partial" }
};


static void test_samples(void);
static void test_cuts(const sample_t *s, const char *text);
static void test_refused(void);
static void test_moderation(void);
static void test_done_of_response(void);
static void test_round_trip(void);
static void test_names(void);
static void test_damage(void);
static void test_noise(void);
static ngx_int_t prove(const sample_t *s, const char *text, size_t len,
    ngx_uint_t usage, ngx_llm_entry_t *entry, const char **why);
static size_t fill(ngx_llm_entry_t *entry, u_char *data, const char *body);
static int read_copy(const u_char *data, size_t len, ngx_llm_entry_t *entry);
static int within(const ngx_str_t *s, const u_char *data, size_t len);


static u_char  finish[NGX_LLM_FINISH_REASON];


int
main(void)
{
    test_samples();
    test_refused();
    test_moderation();
    test_done_of_response();
    test_round_trip();
    test_names();
    test_damage();
    test_noise();

    return done_testing();
}


static void
test_samples(void)
{
    char             got[256], text[TEXT], *w;
    size_t           i;
    const char      *p, *why;
    const sample_t  *s;
    ngx_llm_entry_t  entry;

    for (i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
        s = &samples[i];
        why = "";

        if (!ok(prove(s, s->text, strlen(s->text), 1, &entry, &why) == NGX_OK,
                "whole: %s", s->claim))
        {
            printf("# it is refused for %s\n", why);
            continue;
        }

        snprintf(got, sizeof(got), "%jd/%jd/%jd %.*s",
                 (intmax_t) entry.usage.prompt,
                 (intmax_t) entry.usage.completion,
                 (intmax_t) entry.usage.total, (int) entry.finish.len,
                 (char *) entry.finish.data);

        is_str(got, strlen(got), s->want, "  usage and finish reason");

        is_str(s->text + entry.usage_pos, entry.usage_len,
               s->usage ? s->usage : "", "  the usage chunk");

        test_cuts(s, s->text);

        if (s->stream == SSE) {

            for (p = s->text, w = text; *p; p++) {
                if (*p == '\n') {
                    *w++ = '\r';
                }

                *w++ = *p;
            }

            *w = '\0';

            ok(prove(s, text, w - text, 1, &entry, &why) == NGX_OK,
               "  whole with CRLF");
            test_cuts(s, text);
        }
    }
}


/* at every byte */

static void
test_cuts(const sample_t *s, const char *text)
{
    size_t           i, len, bad;
    const char      *why;
    ngx_llm_entry_t  entry;

    len = strlen(text);
    bad = 0;

    for (i = 0; i < len; i++) {
        why = NULL;

        if (prove(s, text, i, 1, &entry, &why) != NGX_DECLINED
            || why == NULL)
        {
            printf("# %zu of %zu bytes are whole\n", i, len);
            bad++;
        }
    }

    ok(bad == 0, "  REQ-31: not whole if cut anywhere: %s", s->claim);
}


static void
test_refused(void)
{
    size_t            i;
    sample_t          s;
    ngx_int_t         rc;
    const char       *why;
    const refused_t  *row;
    ngx_llm_entry_t   entry;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        row = &refused[i];

        s.stream = row->stream;
        s.api = row->api;
        s.n = row->n;

        rc = prove(&s, row->text, strlen(row->text), 1, &entry, &why);

        if (ok(rc == NGX_DECLINED, "REQ-31: refused: %s", row->claim)) {
            is_str(why, strlen(why), row->why, "  for this reason");
        }
    }
}


/* what has no usage needs none */

static void
test_moderation(void)
{
    const char       *why;
    ngx_llm_entry_t   entry;

    static const sample_t  s = { "", JSON, MODERATION, 0, NULL, NULL, NULL };

    size_t  i;

    ok(prove(&s, moderation, strlen(moderation), 0, &entry, &why) == NGX_OK,
       "whole: a moderation, without usage");
    is_int(entry.usage.total, -1, "  it is not made up");

    for (i = 0; i < strlen(moderation); i++) {
        if (prove(&s, moderation, i, 0, &entry, &why) != NGX_DECLINED) {
            break;
        }
    }

    is_int(i, strlen(moderation), "  not whole if cut anywhere");

    ok(prove(&s, moderation, strlen(moderation), 1, &entry, &why)
       == NGX_DECLINED, "  where usage is needed it is refused");

    ok(prove(&s, "{}", 2, 0, &entry, &why) == NGX_DECLINED,
       "refused: a moderation that says nothing");
    ok(prove(&s, "{\"detail\":\"busy\"}", 17, 0, &entry, &why)
       == NGX_DECLINED, "  or something else");
}


/* some send it behind a response as well: then both ends are one */

static void
test_done_of_response(void)
{
    size_t           len;
    const char      *why;
    ngx_llm_entry_t  entry;

    static const char      text[] = STARTED ENDED("completed", "completed")
                                    DONE;
    static const sample_t  s = { "", SSE, RESP, 0, NULL, NULL, NULL };

    len = sizeof(text) - 1;

    ok(prove(&s, text, len, 1, &entry, &why) == NGX_OK,
       "whole: a response and [DONE]");
    ok(prove(&s, text, len - 1, 1, &entry, &why) == NGX_DECLINED,
       "  not if the last byte is missing");
    ok(prove(&s, text, len - sizeof(DONE) + 1, 1, &entry, &why) == NGX_OK,
       "  but without [DONE] it is");
}


static void
test_round_trip(void)
{
    u_char           data[NGX_LLM_ENTRY_HEAD + 64];
    size_t           len;
    ngx_llm_entry_t  a, b;

    len = fill(&a, data, "{\"body\":1}");

    memset(&b, 0xa5, sizeof(b));
    is_int(ngx_llm_entry_read(&b, data, len), NGX_OK, "an entry is read back");

    is_int(b.stream, a.stream, "  its form");
    is_int(b.created, a.created, "  when it was made");
    is_int(b.ttl, a.ttl, "  how long it is fresh");
    is_int(b.stale, a.stale, "  how long it may be stale");
    is_int(b.cost, a.cost, "  what it cost");
    ok(memcmp(&a.usage, &b.usage, sizeof(a.usage)) == 0, "  usage");
    ok(memcmp(a.tags, b.tags, sizeof(a.tags)) == 0, "  tags");
    ok(memcmp(a.generations, b.generations, sizeof(a.generations)) == 0,
       "  generations");
    is_int(b.usage_pos, a.usage_pos, "  where the usage chunk is");
    is_int(b.usage_len, a.usage_len, "  how long");
    is_str(b.provider.data, b.provider.len, "acme", "  provider");
    is_str(b.model.data, b.model.len, "m-1", "  model");
    is_str(b.type.data, b.type.len, "", "  an empty type");
    is_str(b.finish.data, b.finish.len, "stop", "  finish reason");
    is_str(b.body.data, b.body.len, "{\"body\":1}", "  body");

    a.body.len = 0;
    a.usage_pos = 0;
    a.usage_len = 0;
    len = ngx_llm_entry_write(&a, data);
    is_int(ngx_llm_entry_read(&b, data, len), NGX_OK, "an empty body is read");
    is_int(b.body.len, 0, "  as such");
}


static void
test_names(void)
{
    u_char           data[NGX_LLM_ENTRY_HEAD], name[NGX_LLM_ENTRY_NAME + 1];
    size_t           len;
    ngx_llm_entry_t  a, b;

    fill(&a, data, "");
    memset(name, 'x', sizeof(name));

    a.body.len = 0;
    a.usage_pos = 0;
    a.usage_len = 0;

    a.provider.data = a.model.data = a.type.data = a.finish.data = name;
    a.provider.len = a.model.len = a.type.len = a.finish.len =
                                                          NGX_LLM_ENTRY_NAME;

    len = ngx_llm_entry_write(&a, data);
    is_int(len, NGX_LLM_ENTRY_HEAD, "the longest names fill the head");
    is_int(ngx_llm_entry_read(&b, data, len), NGX_OK, "  and are read back");
    ok(b.finish.len == NGX_LLM_ENTRY_NAME
       && memcmp(b.finish.data, name, NGX_LLM_ENTRY_NAME) == 0,
       "  to the last one");

    a.finish.len++;
    is_int(ngx_llm_entry_write(&a, data), 0, "a longer one is refused");
}


static void
test_damage(void)
{
    int              rc;
    u_char           data[NGX_LLM_ENTRY_HEAD + 64], copy[sizeof(data)];
    size_t           i, len, head, bad, lost;
    unsigned         bit;
    ngx_llm_entry_t  a, b;

    len = fill(&a, data, "{\"body\":1}");
    head = len - a.body.len;
    bad = 0;

    for (i = 0; i < len; i++) {
        bad += read_copy(data, i, &b) != 0;
    }

    is_int(bad, 0, "an entry that is cut is none, wherever the cut is");

    memcpy(copy, data, len);
    copy[len] = 'x';
    is_int(read_copy(copy, len + 1, &b), 0, "nor is one with a byte more");

    bad = 0;
    lost = 0;

    for (i = 0; i < head; i++) {
        for (bit = 0; bit < 8; bit++) {
            memcpy(copy, data, len);
            copy[i] ^= 1 << bit;

            rc = read_copy(copy, len, &b);
            bad += rc < 0;
            lost += i < 8 && rc != 0 && !(i == 6 && bit == 0);
        }
    }

    is_int(bad, 0, "whichever bit of a head flips, no bound is crossed");
    is_int(lost, 0, "  magic, version and flags do not pass");
}


/* heads of noise, with magic and version in place so that they are read */

static void
test_noise(void)
{
    u_char           data[600];
    size_t           i, k, len, bad, head, read;
    uint32_t         seed;
    ngx_llm_entry_t  a, b;

    seed = 1;
    bad = 0;
    read = 0;

    for (i = 0; i < 300000; i++) {

        head = fill(&a, data, "{\"body\":1}");
        len = head;

        for (k = 0; k < 1 + i % 5; k++) {
            seed = seed * 1664525 + 1013904223;

            /* in the lengths, most of the time */

            data[(seed >> 8) % 4 ? 128 + (seed >> 12) % 48
                                 : 8 + (seed >> 12) % (head - 8)] =
                (seed >> 24) % 3 ? (u_char) (seed >> 20) : (seed >> 18) % 12;
        }

        if (i % 7 == 0) {
            len = (seed >> 4) % head;
        }

        switch (read_copy(data, len, &b)) {

        case -1:
            bad++;
            break;

        case 1:
            read++;
            break;
        }
    }

    is_int(bad, 0, "noise in a head crosses no bound");
    ok(read > 1000, "  where it is not refused");
}


static ngx_int_t
prove(const sample_t *s, const char *text, size_t len, ngx_uint_t usage,
    ngx_llm_entry_t *entry, const char **why)
{
    u_char     *copy;
    ngx_int_t   rc;

    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);

    memset(entry, 0, sizeof(ngx_llm_entry_t));
    memset(finish, 0xa5, sizeof(finish));

    entry->stream = s->stream;
    entry->body.data = copy;
    entry->body.len = len;

    rc = ngx_llm_entry_prove(entry, s->api, s->n, usage, finish, why);

    free(copy);

    return rc;
}


/* head and body in data, as they are stored */

static size_t
fill(ngx_llm_entry_t *entry, u_char *data, const char *body)
{
    size_t      len;
    ngx_uint_t  i;

    memset(entry, 0, sizeof(ngx_llm_entry_t));
    memset(&entry->usage, 0xff, sizeof(ngx_llm_usage_t));

    entry->stream = 1;
    entry->created = 1764000000123;
    entry->ttl = 3600000;
    entry->stale = 86400000;
    entry->cost = 17000;
    entry->usage.prompt = 9;
    entry->usage.completion = 4;
    entry->usage.total = 13;
    entry->usage.cached = -1;
    entry->usage.cache_write = 0;
    entry->usage.reasoning = 1;

    for (i = 0; i < NGX_LLM_ENTRY_TAGS; i++) {
        entry->tags[i] = 1000 + i;
        entry->generations[i] = 0xfffffff0 + i;
    }

    entry->usage_pos = 1;
    entry->usage_len = 6;

    entry->provider = (ngx_str_t) ngx_string("acme");
    entry->model = (ngx_str_t) ngx_string("m-1");
    entry->finish = (ngx_str_t) ngx_string("stop");
    entry->body.data = (u_char *) body;
    entry->body.len = strlen(body);

    len = ngx_llm_entry_write(entry, data);
    memcpy(data + len, body, entry->body.len);

    return len + entry->body.len;
}


/* 1: read, 0: refused, -1: read, and something lies outside of it */

static int
read_copy(const u_char *data, size_t len, ngx_llm_entry_t *entry)
{
    int      rc;
    u_char  *copy;

    copy = malloc(len ? len : 1);
    memcpy(copy, data, len);

    memset(entry, 0xa5, sizeof(ngx_llm_entry_t));

    if (ngx_llm_entry_read(entry, copy, len) != NGX_OK) {
        free(copy);
        return 0;
    }

    rc = within(&entry->provider, copy, len) && within(&entry->model, copy, len)
         && within(&entry->type, copy, len) && within(&entry->finish, copy, len)
         && within(&entry->body, copy, len)
         && entry->usage_pos <= entry->body.len
         && entry->usage_len <= entry->body.len - entry->usage_pos
         && entry->created >= 0 && entry->ttl >= 0 && entry->stale >= 0
         && entry->ttl + entry->stale >= 0;

    free(copy);

    return rc ? 1 : -1;
}


static int
within(const ngx_str_t *s, const u_char *data, size_t len)
{
    return s->data >= data && s->len <= len
           && (size_t) (s->data - data) <= len - s->len;
}
