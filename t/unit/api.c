/*
 * api.c: a response is an answer of its api only if its body shows one, as a
 * document and as a stream, and a stream ends with the event that its api has
 * for that (REQ-22); the kind of a body is known by its first bytes; and the
 * error inside a 2xx becomes an error body.
 */

#include <ngx_llm_inner_error.h>
#include <ngx_llm_kind.h>

#include <stdio.h>
#include <stdlib.h>

#include "tap.h"


#define EVENT(data)  "data: " data "\n\n"
#define TYPED(type)  "data: {\"type\":\"" type "\",\"x\":1}\n\n"
#define DELTA(delta) EVENT("{\"choices\":[{\"index\":0,\"delta\":" delta "}]}")
#define STOP         EVENT("{\"choices\":[{\"index\":0,\"delta\":{},"            \
                           "\"finish_reason\":\"stop\"}]}")
#define DONE         EVENT("[DONE]")


typedef struct {
    const ngx_llm_api_t  *api;
    const char           *claim;
    const char           *text;
    const char           *want;
} row_t;


/* "answer", "error" (an answer is none then), or "none" */

static const row_t  documents[] = {

    { &ngx_llm_api_chat, "choices", "{\"choices\":[{\"message\":{}}]}",
      "answer" },
    { &ngx_llm_api_chat, "no choices", "{\"choices\":[]}", "none" },
    { &ngx_llm_api_chat, "choices that are null", "{\"choices\":null}",
      "none" },
    { &ngx_llm_api_chat, "choices that are an object", "{\"choices\":{}}",
      "none" },
    { &ngx_llm_api_chat, "an empty object", "{}", "none" },
    { &ngx_llm_api_chat, "usage alone", "{\"usage\":{\"total_tokens\":1}}",
      "none" },
    { &ngx_llm_api_chat, "data", "{\"data\":[{}]}", "none" },
    { &ngx_llm_api_chat, "a choice that has failed",
      "{\"choices\":[{\"finish_reason\":\"error\"}]}", "error" },
    { &ngx_llm_api_chat, "a choice with an error",
      "{\"choices\":[{\"error\":{\"message\":\"x\"}}]}", "error" },
    { &ngx_llm_api_chat, "an error beside choices",
      "{\"error\":{\"code\":1},\"choices\":[{}]}", "answer" },
    { &ngx_llm_api_chat, "an error beside no choices",
      "{\"error\":{\"code\":1},\"choices\":[]}", "error" },
    { &ngx_llm_api_chat, "an error of empty members",
      "{\"error\":{\"message\":\"\"},\"choices\":[{}]}", "answer" },
    { &ngx_llm_api_chat, "base_resp",
      "{\"choices\":null,\"base_resp\":{\"status_code\":1}}", "error" },
    { &ngx_llm_api_chat, "base_resp of a success",
      "{\"choices\":[{}],\"base_resp\":{\"status_code\":0}}", "answer" },
    { &ngx_llm_api_chat, "detail", "{\"detail\":\"x\"}", "error" },
    { &ngx_llm_api_chat, "code and msg", "{\"code\":1,\"msg\":\"x\"}",
      "error" },
    { &ngx_llm_api_chat, "a flat error",
      "{\"object\":\"error\",\"message\":\"x\"}", "error" },
    { &ngx_llm_api_completions, "choices", "{\"choices\":[{\"text\":\"\"}]}",
      "answer" },
    { &ngx_llm_api_completions, "no choices", "{\"choices\":[]}", "none" },
    { &ngx_llm_api_embeddings, "data", "{\"data\":[{}]}", "answer" },
    { &ngx_llm_api_embeddings, "no data", "{\"data\":[]}", "none" },
    { &ngx_llm_api_responses, "completed",
      "{\"status\":\"completed\",\"output\":[{}]}", "answer" },
    { &ngx_llm_api_responses, "queued, without output yet",
      "{\"status\":\"queued\",\"error\":null,\"output\":[]}", "answer" },
    { &ngx_llm_api_responses, "in progress",
      "{\"status\":\"in_progress\",\"output\":[]}", "answer" },
    { &ngx_llm_api_responses, "incomplete",
      "{\"status\":\"incomplete\",\"output\":[{}]}", "answer" },
    { &ngx_llm_api_responses, "failed",
      "{\"status\":\"failed\",\"error\":{\"code\":\"x\"},\"output\":[]}",
      "error" },
    { &ngx_llm_api_responses, "failed in the middle",
      "{\"status\":\"failed\",\"error\":{\"code\":\"x\"},\"output\":[{}]}",
      "error" },
    { &ngx_llm_api_responses, "cancelled",
      "{\"status\":\"cancelled\",\"output\":[{}]}", "none" },
    { &ngx_llm_api_responses, "an error beside no output",
      "{\"status\":\"completed\",\"error\":{\"code\":\"x\"},\"output\":[]}",
      "error" },
    { &ngx_llm_api_responses, "no output", "{\"status\":\"completed\"}",
      "none" },
    { &ngx_llm_api_messages, "a message",
      "{\"type\":\"message\",\"content\":[]}", "answer" },
    { &ngx_llm_api_messages, "an error",
      "{\"type\":\"error\",\"error\":{\"type\":\"x\",\"message\":\"x\"}}",
      "error" },
    { &ngx_llm_api_messages, "content alone", "{\"content\":[{}]}", "none" },
    { &ngx_llm_api_moderations, "results", "{\"results\":[{}]}", "answer" },
    { &ngx_llm_api_moderations, "no results", "{\"results\":[]}", "none" },
    { &ngx_llm_api_images, "data", "{\"data\":[{\"url\":\"x\"}]}", "answer" },
    { &ngx_llm_api_images, "no data", "{\"created\":1}", "none" },
    { &ngx_llm_api_models, "data", "{\"data\":[{}]}", "answer" },
    { &ngx_llm_api_models, "no data", "{\"object\":\"list\"}", "none" },
    { &ngx_llm_api_rerank, "results", "{\"results\":[{}]}", "answer" },
    { &ngx_llm_api_rerank, "no results", "{\"id\":\"x\"}", "none" },
    { &ngx_llm_api_transcriptions, "text", "{\"text\":\"x\"}", "answer" },
    { &ngx_llm_api_transcriptions, "silence", "{\"text\":\"\"}", "answer" },
    { &ngx_llm_api_transcriptions, "no text", "{\"x\":\"text\"}", "none" },
    { &ngx_llm_api_translations, "text", "{\"text\":\"x\"}", "answer" },
    { &ngx_llm_api_translations, "no text", "{\"task\":\"translate\"}",
      "none" },
    { &ngx_llm_api_speech, "audio", "{\"audio\":\"AAAA\"}", "answer" },
    { &ngx_llm_api_speech, "text", "{\"text\":\"x\"}", "none" },
    { &ngx_llm_api_speech, "an error", "{\"error\":{\"message\":\"x\"}}",
      "error" },
};


/*
 * A letter for each event: 'o' the first output, '.' nothing yet, '+' more of
 * it, 'e' an error; and '|' behind the last event of the answer.
 */

static const row_t  streams[] = {

    { &ngx_llm_api_chat, "a role, content, the end",
      DELTA("{\"role\":\"assistant\",\"content\":\"\"}")
      DELTA("{\"content\":\"Hi\"}") STOP DONE, ".o++|" },
    { &ngx_llm_api_chat, "content is null", DELTA("{\"content\":null}") STOP
      DONE, ".o+|" },
    { &ngx_llm_api_chat, "a filter's results come first",
      EVENT("{\"choices\":[],\"prompt_filter_results\":[{}]}")
      DELTA("{\"content\":\"Hi\"}"), ".o" },
    { &ngx_llm_api_chat, "reasoning",
      DELTA("{\"reasoning_content\":\"hm\"}"), "o" },
    { &ngx_llm_api_chat, "a refusal", DELTA("{\"refusal\":\"no\"}"), "o" },
    { &ngx_llm_api_chat, "a tool call", DELTA("{\"tool_calls\":[{}]}"), "o" },
    { &ngx_llm_api_chat, "audio", DELTA("{\"audio\":{\"id\":\"x\"}}"), "o" },
    { &ngx_llm_api_chat, "nothing but [DONE]", DONE, ".|" },
    { &ngx_llm_api_chat, "empty data, null, half a chunk, then content",
      EVENT("") EVENT("null") EVENT("{\"choices\":[{")
      DELTA("{\"content\":\"Hi\"}"), "..o" },
    { &ngx_llm_api_chat, "keepalive and ping",
      TYPED("ping") TYPED("keepalive") "event: ping\ndata: {}\n\n"
      DELTA("{\"content\":\"Hi\"}"), "...o" },
    { &ngx_llm_api_chat, "an error after a role",
      DELTA("{\"role\":\"assistant\"}") EVENT("{\"error\":{\"code\":1}}"),
      ".e" },
    { &ngx_llm_api_chat, "a flat error in the middle",
      DELTA("{\"content\":\"Hi\"}")
      EVENT("{\"object\":\"error\",\"message\":\"x\",\"code\":500}") DONE,
      "oe+|" },
    { &ngx_llm_api_completions, "text",
      EVENT("{\"choices\":[{\"text\":\"\",\"index\":0}]}")
      EVENT("{\"choices\":[{\"text\":\"x\",\"index\":0}]}") DONE, ".o+|" },
    { &ngx_llm_api_responses, "a response",
      TYPED("response.created") TYPED("response.in_progress")
      TYPED("response.output_item.added") TYPED("response.output_text.delta")
      TYPED("response.completed"), "..o++|" },
    { &ngx_llm_api_responses, "completed at once",
      TYPED("response.completed"), "o|" },
    { &ngx_llm_api_responses, "incomplete at once",
      TYPED("response.incomplete"), "o|" },
    { &ngx_llm_api_responses, "failed at once",
      TYPED("response.created") TYPED("response.failed"), ".e|" },
    { &ngx_llm_api_responses, "cancelled before any output",
      TYPED("response.queued") TYPED("response.cancelled"), "..|" },
    { &ngx_llm_api_responses, "names without types",
      "event: response.created\ndata: {\"x\":1}\n\n"
      "event: response.output_text.delta\ndata: {\"x\":1}\n\n"
      "event: response.completed\ndata: {\"x\":1}\n\n", ".o+|" },
    { &ngx_llm_api_responses, "an error",
      EVENT("{\"type\":\"error\",\"code\":\"x\",\"message\":\"x\"}"), "e" },
    { &ngx_llm_api_messages, "a message",
      TYPED("message_start") TYPED("ping") TYPED("content_block_start")
      TYPED("content_block_delta") TYPED("message_stop"), "..o++|" },
    { &ngx_llm_api_messages, "a message without content",
      EVENT("{\"type\":\"message_start\",\"message\":{\"type\":\"message\"}}")
      EVENT("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":null}}")
      EVENT("{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"x\"}}")
      TYPED("message_stop"), "..o+|" },
    { &ngx_llm_api_images, "a picture",
      TYPED("image_generation.partial_image")
      TYPED("image_generation.completed"), "o+|" },
    { &ngx_llm_api_images, "an edited picture",
      TYPED("image_edit.completed"), "o|" },
    { &ngx_llm_api_transcriptions, "a transcript",
      TYPED("transcript.text.delta") TYPED("transcript.text.done"), "o+|" },
    { &ngx_llm_api_translations, "a translation",
      TYPED("transcript.text.delta") TYPED("transcript.text.done"), "o+|" },
    { &ngx_llm_api_speech, "speech",
      TYPED("speech.audio.delta") TYPED("speech.audio.done"), "o+|" },
    { &ngx_llm_api_embeddings, "embeddings in an event",
      EVENT("{\"data\":[{}]}"), "o" },
};


/* the Content-Type stands in claim; a '~' before it: a stream is requested */

static const row_t  kinds[] = {

    { &ngx_llm_api_chat, "application/json", "{", "json" },
    { &ngx_llm_api_chat, "text/html", " \r\n\t{", "json" },
    { &ngx_llm_api_chat, "", "{", "json" },
    { &ngx_llm_api_chat, "~application/json", "{", "json" },
    { &ngx_llm_api_chat, "~text/plain", "{", "lines" },
    { &ngx_llm_api_chat, "application/x-ndjson", "{", "lines" },
    { &ngx_llm_api_chat, "application/jsonl", "{", "lines" },
    { &ngx_llm_api_chat, "text/event-stream", "{", "lines" },
    { &ngx_llm_api_chat, "application/json", "data:", "stream" },
    { &ngx_llm_api_chat, "text/plain", "event: x", "stream" },
    { &ngx_llm_api_chat, "text/html", ": x", "stream" },
    { &ngx_llm_api_chat, "", "\n\nid:1", "stream" },
    { &ngx_llm_api_chat, "", "retry: 1", "stream" },
    { &ngx_llm_api_chat, "", "\xef\xbb\xbf" "data:", "stream" },
    { &ngx_llm_api_chat, "Text/Event-Stream;x", "foo: bar", "stream" },
    { &ngx_llm_api_chat, "", "dat", "blank" },
    { &ngx_llm_api_chat, "", "\xef\xbb", "blank" },
    { &ngx_llm_api_chat, "application/json", " \n", "blank" },
    { &ngx_llm_api_chat, "application/json", "", "blank" },
    { &ngx_llm_api_chat, "", "<", "blank" },
    { &ngx_llm_api_chat, "application/json", "<!doctype", "none" },
    { &ngx_llm_api_chat, "text/event-stream", "<html>", "none" },
    { &ngx_llm_api_chat, "application/json", "[", "none" },
    { &ngx_llm_api_chat, "application/json", "null", "none" },
    { &ngx_llm_api_chat, "application/json", "\"x\"", "none" },
    { &ngx_llm_api_chat, "application/json", "1", "none" },
    { &ngx_llm_api_chat, "text/plain", "oops", "none" },
    { &ngx_llm_api_chat, "audio/mpeg", "\xff\xfb", "none" },
    { &ngx_llm_api_chat, "", "database", "none" },
    { &ngx_llm_api_transcriptions, "text/plain", "WEBVTT", "plain" },
    { &ngx_llm_api_transcriptions, "text/plain", "<laughs>", "plain" },
    { &ngx_llm_api_transcriptions, "text/plain", "<!DOCTYPE", "none" },
    { &ngx_llm_api_transcriptions, "application/json", "oops", "none" },
    { &ngx_llm_api_transcriptions, "application/json", "{", "json" },
    { &ngx_llm_api_translations, "", "1\n00:00", "plain" },
    { &ngx_llm_api_speech, "audio/mpeg", "{", "plain" },
    { &ngx_llm_api_speech, "application/octet-stream", "<", "plain" },
    { &ngx_llm_api_speech, "application/json", "{", "json" },
    { &ngx_llm_api_speech, "text/html", "<html>", "none" },
    { &ngx_llm_api_speech, "text/plain", "oops", "none" },
};


/* NULL: as it is; "": there is none */

static const row_t  errors[] = {

    { NULL, "an error object", "{\"error\":{\"code\":1}}", NULL },
    { NULL, "an error object of another shape",
      "{\"type\":\"error\",\"error\":{\"type\":\"x\"}}", NULL },
    { NULL, "a flat error of the Responses API",
      "{\"type\":\"error\",\"code\":\"busy\",\"message\":\"a \\\"b\\\"\","
      "\"param\":null,\"sequence_number\":0}",
      "{\"error\":{\"message\":\"a \\\"b\\\"\",\"type\":\"server_error\","
      "\"param\":null,\"code\":\"busy\"}}" },
    { NULL, "vLLM's flat error",
      " {\"object\":\"error\",\"message\":\"x\",\"type\":\"BadRequest\","
      "\"param\":\"n\",\"code\":400} ",
      "{\"error\":{\"message\":\"x\",\"type\":\"BadRequest\",\"param\":\"n\","
      "\"code\":\"400\"}}" },
    { NULL, "a message alone", "{\"message\":\"x\"}",
      "{\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,"
      "\"code\":null}}" },
    { NULL, "members of other types",
      "{\"message\":\"x\",\"type\":1,\"param\":[],\"code\":{}}",
      "{\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,"
      "\"code\":null}}" },
    { NULL, "the error of a response",
      "{\"type\":\"response.failed\",\"response\":{\"status\":\"failed\","
      "\"error\":{\"code\":\"server_error\",\"message\":\"x\"}}}",
      "{\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,"
      "\"code\":\"server_error\"}}" },
    { NULL, "the error of a choice",
      "{\"choices\":[{\"index\":0},{\"error\":{\"code\":502,\"message\":"
      "\"x\"}}]}",
      "{\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"param\":null,"
      "\"code\":\"502\"}}" },
    { NULL, "an error that is text", "{\"error\":\"x\"}", "" },
    { NULL, "an empty error", "{\"error\":{},\"choices\":[]}", "" },
    { NULL, "detail", "{\"detail\":\"x\"}", "" },
    { NULL, "a message that is an object", "{\"message\":{}}", "" },
    { NULL, "an object cut short", "{\"message\":", "" },
    { NULL, "text", "oops", "" },
    { NULL, "nothing", "", "" },
};


static void test_documents(void);
static void test_streams(void);
static void test_each(void);
static void test_lines(void);
static void test_half(void);
static void test_kinds(void);
static void test_errors(void);
static void init(ngx_llm_answer_t *a, ngx_uint_t kind,
    const ngx_llm_api_t *api, ngx_uint_t n);
static void letters(ngx_llm_answer_t *a, const char *text, size_t piece,
    char *out);


int
main(void)
{
    test_documents();
    test_streams();
    test_each();
    test_lines();
    test_half();
    test_kinds();
    test_errors();

    return done_testing();
}


static void
test_documents(void)
{
    u_char            *p, copy[256];
    char               name[256];
    size_t             i, len;
    const char        *got;
    const row_t       *row;
    ngx_llm_answer_t   a;

    for (i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        row = &documents[i];
        len = strlen(row->text);
        memcpy(copy, row->text, len);

        init(&a, NGX_LLM_ANSWER_JSON, row->api, 1);
        p = copy;
        (void) ngx_llm_answer_feed(&a, &p, copy + len);
        ngx_llm_answer_eof(&a);

        got = a.event.error ? (a.shown ? "both" : "error")
                            : (a.shown ? "answer" : "none");

        sprintf(name, "REQ-22: %s: a document with %s", row->api->name,
                row->claim);
        is_str(got, strlen(got), row->want, name);
    }
}


static void
test_streams(void)
{
    char               got[64], name[256];
    size_t             i, piece;
    const row_t       *row;
    ngx_llm_answer_t   a;

    for (i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        row = &streams[i];

        for (piece = 1; piece < 10000; piece = piece * 5 + 2) {
            init(&a, NGX_LLM_ANSWER_STREAM, row->api, 1);
            letters(&a, row->text, piece, got);

            if (strcmp(got, row->want) != 0) {
                break;
            }
        }

        sprintf(name, "REQ-22: %s: a stream: %s", row->api->name, row->claim);
        is_str(got, strlen(got), row->want, name);

        ok(ngx_llm_answer_complete(&a) <= a.shown,
           "  it is complete only if it has shown an answer");
    }
}


static void
test_each(void)
{
    char               got[64];
    ngx_llm_answer_t   a;

    init(&a, NGX_LLM_ANSWER_STREAM, &ngx_llm_api_images, 2);
    letters(&a, TYPED("image_generation.completed"), 1000, got);
    ok(!a.over && !ngx_llm_answer_complete(&a),
       "the first of two pictures is not the end");

    letters(&a, TYPED("image_generation.completed"), 1000, got);
    ok(a.over && ngx_llm_answer_complete(&a), "  the second one is");

    init(&a, NGX_LLM_ANSWER_STREAM, &ngx_llm_api_chat, 2);
    letters(&a, STOP, 1000, got);
    ok(!ngx_llm_answer_complete(&a),
       "one finish reason of two choices is not the end");

    letters(&a, EVENT("{\"choices\":[{\"index\":1,\"finish_reason\":"
                      "\"stop\"}]}"), 1000, got);
    ok(ngx_llm_answer_complete(&a) && !a.over, "  the second one is");
}


static void
test_lines(void)
{
    char               got[64];
    size_t             piece;
    ngx_llm_answer_t   a;

    static const char  text[] =
        "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n"
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\\n}{\"}}]}\r\n"
        "\n"
        "broken { line\n"
        "{\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}],\"usage\":"
        "{\"total_tokens\":7}}\n";

    for (piece = 1; piece < 1000; piece = piece * 2 + 1) {
        init(&a, NGX_LLM_ANSWER_LINES, &ngx_llm_api_chat, 1);
        letters(&a, text, piece, got);

        if (strcmp(got, ".o++") != 0) {
            break;
        }
    }

    is_str(got, strlen(got), ".o++", "lines of JSON are events");
    ok(a.usage.total == 7 && ngx_llm_answer_complete(&a),
       "  with usage and an end");

    init(&a, NGX_LLM_ANSWER_JSON, &ngx_llm_api_chat, 1);
    letters(&a, text, 1000, got);
    is_int(a.kind, NGX_LLM_ANSWER_LINES,
           "a second document makes lines of the first");
    ok(a.usage.total == 7 && ngx_llm_answer_complete(&a),
       "  with usage and an end");
}


/* a part of an event is none, wherever the body ends */

static void
test_half(void)
{
    char               got[64], text[256];
    size_t             n, len;
    ngx_uint_t         bad;
    ngx_llm_answer_t   a;

    static const char  event[] = "event: x\ndata: {\"choices\":[{\"index\":0,"
                                 "\"delta\":{\"content\":\"Hi\"}}]}";

    bad = 0;
    len = strlen(event);

    for (n = 0; n <= len; n++) {
        memcpy(text, event, n);
        text[n] = '\0';

        init(&a, NGX_LLM_ANSWER_STREAM, &ngx_llm_api_chat, 1);
        letters(&a, text, 1000, got);
        ngx_llm_answer_eof(&a);

        bad += (a.shown != (n == len) || a.cut != (n == len)
                || a.events != (n == len));
    }

    ok(bad == 0, "a part of an event is none at the end of the body");

    init(&a, NGX_LLM_ANSWER_STREAM, &ngx_llm_api_chat, 1);
    letters(&a, STOP "data: [DON", 1000, got);
    ngx_llm_answer_eof(&a);
    ok(!a.done && !a.malformed, "  nor is a part of [DONE]");
}


static void
test_kinds(void)
{
    char          name[128];
    size_t        i;
    ngx_str_t     type;
    ngx_uint_t    stream, kind;
    const row_t  *row;

    static const char  *names[] = { "json", "stream", "lines", "plain", "none",
                                    "blank" };

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        row = &kinds[i];

        stream = (row->claim[0] == '~');
        type.data = (u_char *) row->claim + stream;
        type.len = strlen(row->claim) - stream;

        kind = ngx_llm_kind(row->api, &type, stream,
                            (const u_char *) row->text, strlen(row->text));

        sprintf(name, "%s: \"%.12s\" as \"%s\"", row->api->name,
                (row->text[0] > ' ') ? row->text : "...", row->claim);
        is_str(names[kind], strlen(names[kind]), row->want, name);
    }
}


static void
test_errors(void)
{
    size_t        i, len;
    u_char        out[1024], *copy;
    ngx_int_t     rc;
    ngx_str_t     body;
    const row_t  *row;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        row = &errors[i];
        len = strlen(row->text);

        copy = malloc(len ? len : 1);
        memcpy(copy, row->text, len);

        body.data = out;
        body.len = 0;
        rc = ngx_llm_inner_error(copy, len, &body);

        free(copy);

        if (row->want == NULL) {
            is_int(rc, NGX_DONE, row->claim);

        } else if (row->want[0] == '\0') {
            is_int(rc, NGX_DECLINED, row->claim);

        } else {
            is_str((char *) out, body.len, row->want, row->claim);
            ok(body.len <= len + NGX_LLM_INNER_ERROR_EXTRA,
               "  it is not longer than it may be");
        }
    }
}


static void
init(ngx_llm_answer_t *a, ngx_uint_t kind, const ngx_llm_api_t *api,
    ngx_uint_t n)
{
    memset(a, 0xa5, sizeof(ngx_llm_answer_t));
    ngx_llm_answer_init(a, kind, api, n);
}


static void
letters(ngx_llm_answer_t *a, const char *text, size_t piece, char *out)
{
    u_char      *copy, *p, *last;
    size_t       i, n, len;
    ngx_uint_t   shown;

    len = strlen(text);

    for (i = 0; i < len; i += n) {
        n = (piece < len - i) ? piece : len - i;

        copy = malloc(n);
        memcpy(copy, text + i, n);

        p = copy;
        last = copy + n;

        while (p < last) {
            shown = a->shown;

            if (ngx_llm_answer_feed(a, &p, last) != NGX_OK
                || !(a->event.data))
            {
                continue;
            }

            *out++ = a->event.error ? 'e'
                     : a->shown ? (shown ? '+' : 'o') : '.';

            if (a->over) {
                *out++ = '|';
            }
        }

        free(copy);
    }

    *out = '\0';
}
