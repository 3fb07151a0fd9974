/*
 * answer.c: what an answer says is read right from every provider's shape
 * (REQ-11), is told to be an error when it is one (REQ-22), and does not
 * depend on where the pieces end (REQ-2): every stream is fed whole, byte by
 * byte and split at every offset, with each of the three line ends, and cut at
 * every byte.  Pieces are copies of their exact size, freed at once.
 */

#include <ngx_llm_answer.h>

#include <ngx_llm_members.h>

#include <stdlib.h>

#include "tap.h"


#define TRACE  8192

#define CHUNK  "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","  \
               "\"created\":1751234567,\"model\":\"gpt-4o-mini\",\"choices\":"


typedef struct {
    const char   *claim;
    const ngx_llm_api_t  *api;
    const char   *stream;
    const char   *complete;     /* it is so when this has come; NULL: never */
    const char   *want;         /* of show() */
    const char   *events;       /* a word each, of word() */
} stream_t;


typedef struct {
    const char   *claim;
    const char   *text;
    const char   *want;
} row_t;


static const stream_t  streams[] = {

    { "OpenAI chat with a usage chunk", &ngx_llm_api_chat,
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"role\":\"assistant\","
      "\"content\":\"\"},\"finish_reason\":null}],\"usage\":null}\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":\"Hi \\\"\\\\\"},"
      "\"finish_reason\":null}],\"usage\":null}\n\n"
      ": keep-alive\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{},"
      "\"finish_reason\":\"stop\"}],\"usage\":null}\n\n"
      "data: " CHUNK "[],\"usage\":{\"prompt_tokens\":12,"
      "\"completion_tokens\":5,\"total_tokens\":17,"
      "\"prompt_tokens_details\":{\"cached_tokens\":8,\"audio_tokens\":99},"
      "\"completion_tokens_details\":{\"reasoning_tokens\":3}}}\n\n"
      "data: [DONE]\n\n",
      "\"finish_reason\":\"stop\"}],\"usage\":null}",
      "12/5/17/8/3 stop finished done content 5", "o o o ou d" },

    { "tool calls and a role with text that looks like usage",
      &ngx_llm_api_chat,
      "data:" CHUNK "[{\"index\":0,\"delta\":{\"role\":\"assistant\","
      "\"tool_calls\":[{\"index\":0,\"id\":\"c\",\"function\":{\"name\":\"f\","
      "\"arguments\":\"\",\"usage\":{\"prompt_tokens\":1}}}]}}]}\n\n"
      "data:" CHUNK "[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,"
      "\"function\":{\"arguments\":\"{\\\"usage\\\":{\\\"prompt_tokens\\\":7}}"
      "\"}}]},\"usage\":{\"prompt_tokens\":4},\"finish_reason\":null}]}\n\n"
      "data:" CHUNK "[{\"index\":0,\"delta\":{},"
      "\"finish_reason\":\"tool_calls\"}]}\n\n",
      "\"finish_reason\":\"tool_calls\"}]}",
      "4/-1/4/-1/-1 tool_calls finished content 3", "o o o" },

    { "two choices end each on its own", &ngx_llm_api_chat,
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
      "data: " CHUNK "[{\"index\":1,\"delta\":{\"content\":\"b\"}}]}\n\n"
      "data: " CHUNK "[{\"index\":1,\"delta\":{},"
      "\"finish_reason\":\"length\"}]}\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{},"
      "\"finish_reason\":\"stop\"}]}\n\n",
      "\"finish_reason\":\"stop\"}]}",
      "no usage stop finished content 5", "o o o o o" },

    { "Azure: the filter's first chunk is not the usage chunk",
      &ngx_llm_api_chat,
      "data: {\"choices\":[],\"created\":0,\"id\":\"\",\"model\":\"\","
      "\"prompt_filter_results\":[{\"prompt_index\":0,\"content_filter_results"
      "\":{\"hate\":{\"filtered\":false,\"severity\":\"safe\"}}}]}\n\n"
      "data: {\"choices\":[{\"content_filter_results\":{},\"delta\":"
      "{\"content\":\"Hi\"},\"finish_reason\":null,\"index\":0}],\"id\":\"x\"}"
      "\n\n"
      "data: {\"choices\":[{\"content_filter_results\":{},\"delta\":{},"
      "\"finish_reason\":\"stop\",\"index\":0}],\"id\":\"x\"}\n\n"
      "data: [DONE]\n\n",
      "\"finish_reason\":\"stop\",\"index\":0}],\"id\":\"x\"}",
      "no usage stop finished done content 4", "o o o d" },

    { "Groq: usage in x_groq, beside the finish reason", &ngx_llm_api_chat,
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"logprobs\""
      ":null,\"finish_reason\":null}],\"x_groq\":{\"id\":\"req_1\"}}\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{},\"logprobs\":null,"
      "\"finish_reason\":\"stop\"}],\"x_groq\":{\"id\":\"req_1\",\"usage\":{"
      "\"queue_time\":0.01,\"prompt_tokens\":9,\"prompt_time\":1e-3,"
      "\"completion_tokens\":2,\"total_tokens\":11,\"total_time\":0.0}}}\n\n"
      "data: [DONE]\n\n",
      "\"total_time\":0.0}}}",
      "9/2/11/-1/-1 stop finished done content 3", "o o d" },

    { "DeepSeek: comments, reasoning, cache hits", &ngx_llm_api_chat,
      ": keep-alive\n\n: keep-alive\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":null,"
      "\"reasoning_content\":\"hm\"},\"finish_reason\":null}]}\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":\"\","
      "\"reasoning_content\":null},\"finish_reason\":"
      "\"insufficient_system_resource\"}],\"usage\":{\"prompt_tokens\":20,"
      "\"completion_tokens\":6,\"total_tokens\":26,\"prompt_cache_hit_tokens\":"
      "16,\"prompt_cache_miss_tokens\":4,\"completion_tokens_details\":{"
      "\"reasoning_tokens\":4}}}\n\n"
      "data: [DONE]\n\n",
      "\"reasoning_tokens\":4}}}",
      "20/6/26/16/4 insufficient_system_resource finished done 3",
      "o o d" },

    { "Mistral: usage in the finish chunk, content as an array",
      &ngx_llm_api_chat,
      "data: {\"id\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
      "[{\"type\":\"thinking\",\"thinking\":[{\"text\":\"{[\"}]}]},"
      "\"finish_reason\":null}]}\n\n"
      "data: {\"id\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":"
      "\"\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":4,"
      "\"total_tokens\":16,\"completion_tokens\":12}}\n\n"
      "data: [DONE]\n\n",
      "\"completion_tokens\":12}}",
      "4/12/16/-1/-1 stop finished done content 3", "o o d" },

    { "Responses: usage and status of the completed response",
      &ngx_llm_api_responses,
      "event: response.created\n"
      "data: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":"
      "{\"id\":\"resp_1\",\"status\":\"in_progress\",\"error\":null,\"output\":"
      "[],\"usage\":null}}\n\n"
      "event: response.output_text.delta\n"
      "data: {\"type\":\"response.output_text.delta\",\"sequence_number\":1,"
      "\"delta\":\"Hi\"}\n\n"
      "event: response.completed\n"
      "data: {\"type\":\"response.completed\",\"sequence_number\":2,"
      "\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"error\":null,"
      "\"output\":[{\"type\":\"message\",\"content\":[{\"text\":\"Hi\"}]}],"
      "\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{"
      "\"cached_tokens\":1},\"output_tokens\":87,\"output_tokens_details\":{"
      "\"reasoning_tokens\":2},\"total_tokens\":123}}}\n\n",
      "\"total_tokens\":123}}}",
      "36/87/123/1/2 completed terminal content 3", "o o ot" },

    { "Responses: incomplete is an end too", &ngx_llm_api_responses,
      "data: {\"response\":{\"status\":\"incomplete\",\"incomplete_details\":{"
      "\"reason\":\"max_output_tokens\"}},\"type\":\"response.incomplete\"}"
      "\n\n",
      "\"type\":\"response.incomplete\"}",
      "no usage incomplete terminal 1", "ot" },

    { "Responses: an error event", &ngx_llm_api_responses,
      "event: error\n"
      "data: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"x\"}"
      "\n\n",
      NULL, "no usage - 1", "oEOt" },

    { "Anthropic-like: an error event with an error member",
      &ngx_llm_api_chat,
      "event: message_start\n"
      "data: {\"type\":\"message_start\",\"message\":{\"usage\":{"
      "\"input_tokens\":9,\"output_tokens\":1}}}\n\n"
      "event: error\n"
      "data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
      "\"message\":\"Overloaded\"}}\n\n",
      NULL, "no usage - 2", "o oEOt" },

    { "OpenRouter: an error chunk with choices", &ngx_llm_api_chat,
      ": OPENROUTER PROCESSING\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":\"Hi\"},"
      "\"finish_reason\":null}]}\n\n"
      "data: {\"id\":\"g\",\"error\":{\"code\":502,\"message\":\"lost\","
      "\"metadata\":{\"code\":429}},\"choices\":[{\"index\":0,\"delta\":{"
      "\"content\":\"\"},\"finish_reason\":\"error\"}]}\n\n",
      "\"finish_reason\":\"error\"}]}",
      "no usage error finished content 2", "o oEO502" },

    { "CJK and emoji, raw and escaped", &ngx_llm_api_chat,
      "data: " CHUNK "[{\"index\":0,\"delta\":{\"content\":"
      "\"\xe6\x97\xa5\xe6\x9c\xac\xf0\x9f\x98\x80 \\u65e5\\ud83d\\ude00\"},"
      "\"finish_reason\":null}]}\n\n"
      "data: " CHUNK "[{\"index\":0,\"delta\":{},\"finish_reason\":"
      "\"\xe6\x97\xa5\"}]}\n\n",
      "\"finish_reason\":\"\xe6\x97\xa5\"}]}",
      "no usage ??? finished content 2", "o o" },

    { "data in several lines is one document", &ngx_llm_api_chat,
      "data: {\"choices\":\ndata:  [ { \"index\" : 0 ,\ndata: \"finish_reason\""
      "\ndata: :\"stop\"\ndata:\ndata: } ]\ndata: }\n\n"
      "data: {\"usage\"\ndata: :{\"total_tokens\":7\ndata:}}\n\n",
      " } ]\ndata: }", "-1/-1/7/-1/-1 stop finished 2", "o o" },

    { "text completions", &ngx_llm_api_chat,
      "data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\"x\","
      "\"index\":0,\"logprobs\":null,\"finish_reason\":null}]}\n\n"
      "data: {\"object\":\"text_completion\",\"choices\":[{\"text\":\"\","
      "\"index\":0,\"finish_reason\":\"length\"}],\"usage\":{\"prompt_tokens\""
      ":1,\"completion_tokens\":2}}\n\n"
      "data: [DONE]\n\n",
      "\"completion_tokens\":2}}",
      "1/2/3/-1/-1 length finished done content 3", "o o d" },

    { "starts that are alike, up to the number", &ngx_llm_api_chat,
      "data: {\"choices\":[{\"index\":1}]}\n\n"
      "data: {\"choices\":[{\"index\":12,\"finish_reason\":\"a\"}]}\n\n"
      "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"b\"}]}\n\n"
      "data: {\"choices\":[{\"index\":1,\"finish_reason\":\"c\"}]}\n\n"
      "data: [{\"choices\":[{\"index\":1,\"finish_reason\":\"d\"}]}\n\n",
      "\"finish_reason\":\"b\"}]}",
      "no usage c finished malformed 5", "o o o o -" },
};


/* REQ-11: the data of one event each; see show() */

static const row_t  usages[] = {

    { "beside the finish reason",
      "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],"
      "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
      "\"total_tokens\":3}}", "1/2/3/-1/-1 stop finished 1" },
    { "choices missing",
      "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}",
      "1/2/3/-1/-1 - 1" },
    { "choices empty",
      "{\"choices\":[],\"usage\":{\"prompt_tokens\":1,"
      "\"completion_tokens\":2}}",
      "1/2/3/-1/-1 - 1" },
    { "choices with an empty delta",
      "{\"choices\":[{\"delta\":{}}],\"usage\":{\"prompt_tokens\":1,"
      "\"completion_tokens\":2}}", "1/2/3/-1/-1 - 1" },
    { "null", "{\"choices\":[],\"usage\":null}", "no usage - 1" },
    { "empty", "{\"usage\":{}}", "no usage - 1" },
    { "without numbers we know", "{\"usage\":{\"cost\":-0.5}}",
      "no usage - 1" },
    { "not an object", "{\"usage\":[{\"prompt_tokens\":1}]}", "no usage - 1" },
    { "total missing", "{\"usage\":{\"prompt_tokens\":5}}",
      "5/-1/5/-1/-1 - 1" },
    { "total only", "{\"usage\":{\"total_tokens\":5}}", "-1/-1/5/-1/-1 - 1" },
    { "zero", "{\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}",
      "0/0/0/-1/-1 - 1" },
    { "details null",
      "{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":null,"
      "\"completion_tokens\":null}}", "1/-1/1/-1/-1 - 1" },
    { "both families, one of zeros",
      "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,"
      "\"total_tokens\":3,\"input_tokens\":0,\"output_tokens\":0,"
      "\"prompt_tokens_details\":{\"cached_tokens\":1},"
      "\"input_tokens_details\":{\"cached_tokens\":0}}}",
      "1/2/3/1/-1 - 1" },
    { "DeepSeek: what the cache had",
      "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,"
      "\"prompt_cache_hit_tokens\":6,\"prompt_cache_miss_tokens\":3}}",
      "9/1/10/6/-1 - 1" },
    { "cache writes in the details",
      "{\"usage\":{\"prompt_tokens\":9,\"prompt_tokens_details\":"
      "{\"cached_tokens\":2,\"cache_write_tokens\":5}}}",
      "9/-1/9/2/-1 write 5 - 1" },
    { "  by another name",
      "{\"usage\":{\"prompt_tokens\":9,\"prompt_tokens_details\":"
      "{\"cache_creation_tokens\":0}}}", "9/-1/9/-1/-1 write 0 - 1" },
    { "  by Anthropic's names, beside the details, are no further tokens",
      "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1,"
      "\"prompt_tokens_details\":{\"cached_tokens\":2},"
      "\"cache_read_input_tokens\":2,\"cache_creation_input_tokens\":4,"
      "\"cache_creation\":{\"ephemeral_5m_input_tokens\":4}}}",
      "9/1/10/2/-1 write 4 - 1" },
    { "  of the usage before are forgotten",
      "{\"usage\":{\"prompt_tokens\":9,\"cache_creation_input_tokens\":4},"
      "\"usage\":{\"prompt_tokens\":8,\"cache_creation_input_tokens\":"
      "null}}", "8/-1/8/-1/-1 - 1" },
    { "  that are no count are left out",
      "{\"usage\":{\"prompt_tokens\":9,\"cache_creation_input_tokens\":"
      "-4}}", "9/-1/9/-1/-1 - 1" },
    { "2^31 - 1 is a count",
      "{\"usage\":{\"total_tokens\":2147483647}}",
      "-1/-1/2147483647/-1/-1 - 1" },
    { "2^31 is no count", "{\"usage\":{\"total_tokens\":2147483648}}",
      "no usage bad - 1" },
    { "2^64 + 1 is refused",
      "{\"usage\":{\"total_tokens\":18446744073709551617}}",
      "no usage bad - 1" },
    { "negative is refused", "{\"usage\":{\"prompt_tokens\":-1}}",
      "no usage bad - 1" },
    { "-0 is refused", "{\"usage\":{\"prompt_tokens\":-0}}",
      "no usage bad - 1" },
    { "1.0 is refused", "{\"usage\":{\"prompt_tokens\":1.0}}",
      "no usage bad - 1" },
    { "1e3 is refused", "{\"usage\":{\"prompt_tokens\":1e3}}",
      "no usage bad - 1" },
    { "01 is refused", "{\"usage\":{\"prompt_tokens\":01}}",
      "no usage bad - 1" },
    { "a string is refused", "{\"usage\":{\"prompt_tokens\":\"1\"}}",
      "no usage bad - 1" },
    { "true is refused", "{\"usage\":{\"prompt_tokens\":true}}",
      "no usage bad - 1" },
    { "an object is refused", "{\"usage\":{\"prompt_tokens\":{}}}",
      "no usage bad - 1" },
    { "a wrong detail is left out",
      "{\"usage\":{\"prompt_tokens\":3,\"prompt_tokens_details\":"
      "{\"cached_tokens\":-1},\"completion_tokens\":1}}",
      "3/1/4/-1/-1 - 1" },
    { "a key written with escapes is another key",
      "{\"us\\u0061ge\":{\"prompt_tokens\":1},\"usage\\\\\":1}",
      "no usage - 1" },
    { "deeper down it is not usage",
      "{\"a\":{\"usage\":{\"prompt_tokens\":1}},\"choices\":[{\"message\":"
      "{\"usage\":{\"prompt_tokens\":1},\"content\":\"\\\"usage\\\":{"
      "\\\"prompt_tokens\\\":1}\"}}],\"error\":{\"usage\":{\"total_tokens\":1}}"
      ",\"response\":{\"response\":{\"usage\":{\"total_tokens\":1}}}}",
      "no usage content 1" },
    { "a member given twice: the last one",
      "{\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":9},"
      "\"usage\":{\"prompt_tokens\":1}}", "1/-1/1/-1/-1 - 1" },
    { "not in a document that is broken behind it",
      "{\"usage\":{\"prompt_tokens\":1}", "no usage - malformed 1" },
    { "not in a document with something behind it",
      "{\"usage\":{\"prompt_tokens\":1}} x", "no usage - malformed 1" },
    { "an empty finish reason is none",
      "{\"choices\":[{\"finish_reason\":\"\"}]}", "no usage - 1" },
    { "a long finish reason is cut",
      "{\"choices\":[{\"finish_reason\":"
      "\"0123456789012345678901234567890123456789\"}]}",
      "no usage 01234567890123456789012345678901 finished 1" },
};


/* REQ-22: an event's data, and its word */

static const row_t  errors[] = {

    { "an object", "{\"error\":{\"message\":\"x\"}}", "oEO" },
    { "an object with an integer code",
      "{\"error\":{\"code\":429}}", "oEO429" },
    { "code before status", "{\"error\":{\"status\":500,\"code\":503}}",
      "oEO503" },
    { "status if code is a word", "{\"error\":{\"code\":\"x\",\"status\":401}}",
      "oEO401" },
    { "a code as a string is none", "{\"error\":{\"code\":\"429\"}}", "oEO" },
    { "a code out of range is none", "{\"error\":{\"code\":399}}", "oEO" },
    { "a code out of range is none", "{\"error\":{\"code\":600}}", "oEO" },
    { "a code 500.0 is none", "{\"error\":{\"code\":500.0}}", "oEO" },
    { "a code deeper down is none",
      "{\"error\":{\"error\":{\"code\":500},\"a\":[{\"code\":500}]}}", "oEO" },
    { "a string", "{\"error\":\"x\"}", "oE" },
    { "true", "{\"error\":true}", "oE" },
    { "a number", "{\"error\":0.5}", "oE" },
    { "an array", "{\"error\":[1]}", "oE" },
    { "null is none", "{\"error\":null}", "o" },
    { "false is none", "{\"error\":false}", "o" },
    { "zero is none", "{\"error\":0.0e1}", "o" },
    { "an empty string is none", "{\"error\":\"\"}", "o" },
    { "an empty object is none", "{\"error\":{}}", "o" },
    { "an empty array is none", "{\"error\":[]}", "o" },
    { "in a choice", "{\"choices\":[{\"error\":{\"code\":500}}]}", "oE500" },
    { "in a choice, an empty one is none",
      "{\"choices\":[{\"error\":{\"code\":null,\"message\":\"\"}}]}", "o" },
    { "a choice that has failed",
      "{\"choices\":[{\"finish_reason\":\"error\"}]}", "oE" },
    { "an object of empty members is none",
      "{\"error\":{\"message\":\"\",\"type\":\"\",\"param\":null,\"code\":0,"
      "\"details\":[],\"inner\":{}}}", "o" },
    { "one member that is not empty is enough",
      "{\"error\":{\"message\":\"\",\"details\":[{}]}}", "oEO" },
    { "flat, by its object",
      "{\"object\":\"error\",\"message\":\"x\",\"code\":500}", "oEO500t" },
    { "flat, by its members", "{\"message\":\"x\",\"code\":429}", "oEO429" },
    { "detail", "{\"detail\":\"x\"}", "oE" },
    { "code and msg", "{\"code\":5,\"msg\":\"x\"}", "oE" },
    { "base_resp", "{\"base_resp\":{\"status_code\":1004}}", "oE" },
    { "base_resp of a success is none",
      "{\"base_resp\":{\"status_code\":0,\"status_msg\":\"\"}}", "o" },
    { "a message beside choices is none",
      "{\"message\":\"x\",\"choices\":[{\"delta\":{}}]}", "o" },
    { "beside choices and usage it is one, not usage_only",
      "{\"choices\":[],\"usage\":{\"total_tokens\":1},\"error\":\"x\"}",
      "oE" },
    { "usage_only needs an array of choices",
      "{\"choices\":{},\"usage\":{\"total_tokens\":1}}", "o" },
    { "usage_only needs choices", "{\"usage\":{\"total_tokens\":1}}", "o" },
    { "usage_only needs usage", "{\"choices\":[],\"x_groq\":{\"usage\":{"
      "\"total_tokens\":1}}}", "o" },
    { "typed error", "{\"type\":\"error\",\"code\":500}", "oEO500t" },
    { "no JSON", "upstream failed", "-" },
    { "an array", "[{\"error\":{}}]", "-" },
    { "almost the marker", "[DONE", "-" },
    { "the marker and more", "[DONE] x", "d" },
    { "a space before the marker", " [DONE]", "-" },
    { "nothing", "", "-" },
};


/* documents: what is read, '|', and the word */

static const row_t  documents[] = {

    { "a chat completion",
      "\n\n{\"id\":\"x\",\"object\":\"chat.completion\",\"choices\":[{\"index\""
      ":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hi\"},"
      "\"finish_reason\":\"stop\"},{\"index\":1,\"message\":{\"role\":"
      "\"assistant\",\"content\":null},\"finish_reason\":\"length\"}],"
      "\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\""
      ":3}}\r\n ", "1/2/3/-1/-1 length finished content 1|o complete" },
    { "a pretty-printed one",
      "{\n  \"choices\" : [\n    {\n      \"finish_reason\" : \"stop\"\n    }\n"
      "  ],\n  \"usage\" : {\n    \"prompt_tokens\" : 1\t\n  }\n}\n",
      "1/-1/1/-1/-1 stop finished 1|o complete" },
    { "a response",
      "{\"object\":\"response\",\"status\":\"completed\",\"error\":null,"
      "\"output\":[{}],\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}",
      "1/2/3/-1/-1 completed content 1|o complete" },
    { "a failed response with its error",
      "{\"status\":\"failed\",\"error\":{\"code\":\"server_error\"},\"output\":"
      "[]}", "no usage failed 1|oEO complete" },
    { "embeddings",
      "{\"object\":\"list\",\"data\":[{\"embedding\":[0.1,-2e-3],\"index\":0}],"
      "\"usage\":{\"prompt_tokens\":8,\"total_tokens\":8}}",
      "8/0/8/-1/-1 content 1|o complete" },
    { "an error", "{\"error\":{\"code\":503}}",
      "no usage - 1|oEO503 complete" },
    { "an error beside choices that are null",
      "{\"choices\":null,\"error\":{\"code\":503}}",
      "no usage - 1|oEO503 complete" },
    { "an error beside choices is none",
      "{\"error\":\"x\",\"choices\":[{}]}", "no usage - 1|o complete" },
    { "an error beside empty choices is one",
      "{\"error\":\"x\",\"choices\":[]}", "no usage - 1|oE complete" },
    { "xAI's flat error", "{\"code\":\"c\",\"error\":\"x\"}",
      "no usage - 1|oE complete" },
    { "HTML is malformed", "<html><body>502 Bad Gateway</body></html>",
      "no usage - malformed 0|-" },
    { "an array is malformed", "[{}]", "no usage - malformed 0|-" },
    { "two documents are lines", "{}\n{\"usage\":{\"total_tokens\":1}}",
      "-1/-1/1/-1/-1 - 2|o" },
    { "nothing is malformed", "", "no usage - malformed 0|-" },
    { "wrong brackets are malformed",
      "{\"a\":[1}", "no usage - malformed 0|-" },
    { "wrong brackets in what is skipped", "{\"a\":{\"b\":[1}]}",
      "no usage - malformed 0|-" },
    { "a missing colon", "{\"a\" 1}", "no usage - malformed 0|-" },
    { "a missing comma", "{\"a\":1 \"b\":2}", "no usage - malformed 0|-" },
    { "a comma too many", "{\"a\":1,}", "no usage - malformed 0|-" },
    { "an odd literal", "{\"a\":NaN}", "no usage - malformed 0|-" },
    { "a literal that goes on", "{\"a\":nullx}", "no usage - malformed 0|-" },
    { "a quote too many", "{\"a\":\"b\"\"}", "no usage - malformed 0|-" },
    { "an open string", "{\"a\":\"}", "no usage - malformed 0|-" },
    { "a quote that is quoted", "{\"a\":\"\\\\\\\"}\",\"b\":[\"\\\\\"]}",
      "no usage - 1|o complete" },
    { "an empty object", "{ }", "no usage - 1|o complete" },
};


static void test_streams(void);
static void test_variants(const stream_t *s, const char *whole);
static void test_cuts(const stream_t *s);
static void test_splits(const stream_t *s, const char *text, size_t len,
    const char *whole, const char *how);
static void test_usages(void);
static void test_errors(void);
static void test_documents(void);
static void test_running(void);
static void test_choices(void);
static void test_output(void);
static void test_large(void);
static void test_depth(void);
static void test_keys(void);
static ngx_uint_t reported(const ngx_llm_reader_node_t *nodes, const char *text,
    size_t piece);
static void note(ngx_llm_reader_t *pl, u_char *p);
static size_t transform(char *dst, const char *src, const char *eol,
    const char *colon);
static void begin(ngx_llm_answer_t *a, ngx_uint_t kind, char *trace);
static void begin_api(ngx_llm_answer_t *a, ngx_uint_t kind,
    const ngx_llm_api_t *api, ngx_uint_t n, char *trace);
static void run(ngx_llm_answer_t *a, const char *text, size_t from, size_t to,
    size_t len, char *trace);
static void feed(ngx_llm_answer_t *a, const char *text, char *trace);
static void end(ngx_llm_answer_t *a, char *trace);
static void word(const ngx_llm_event_t *ev, char *out);
static void show(const ngx_llm_answer_t *a, char *out);


static ngx_uint_t  sum;


int
main(void)
{
    test_streams();
    test_usages();
    test_errors();
    test_documents();
    test_running();
    test_choices();
    test_output();
    test_large();
    test_depth();
    test_keys();

    return done_testing();
}


static void
test_streams(void)
{
    char               trace[TRACE], words[TRACE], *p, *w;
    size_t             i, len;
    const stream_t    *s;
    ngx_llm_answer_t   a;

    for (i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        s = &streams[i];
        len = strlen(s->stream);

        begin_api(&a, NGX_LLM_ANSWER_STREAM, s->api, 1, trace);
        run(&a, s->stream, 0, len, len, trace);
        end(&a, trace);

        /* the trace is "position:word ..." and the state */

        w = words;

        for (p = trace; (p = strchr(p, ':')) != NULL; p = strchr(p, ' ')) {
            w += sprintf(w, "%.*s ", (int) strcspn(p + 1, " "), p + 1);
        }

        w[-1] = '\0';

        is_str(words, strlen(words), s->events, s->claim);
        p = strchr(trace, '|') + 1;

        is_str(p, strlen(p), s->want, "REQ-2 REQ-11: ... says");

        test_splits(s, s->stream, len, trace, "in any pieces");
        test_variants(s, p);
        test_cuts(s);
    }
}


static void
test_variants(const stream_t *s, const char *whole)
{
    char               text[TRACE], trace[TRACE];
    size_t             i, len;
    ngx_llm_answer_t   a;

    static const char  *kinds[][3] = {
        { "\r", "data: ", "with CR" },
        { "\r\n", "data: ", "with CRLF" },
        { "\n", "data:", "without the space" },
    };

    for (i = 0; i < 3; i++) {
        len = transform(text, s->stream, kinds[i][0], kinds[i][1]);

        begin_api(&a, NGX_LLM_ANSWER_STREAM, s->api, 1, trace);
        run(&a, text, 0, len, len, trace);
        end(&a, trace);

        ok(strcmp(strchr(trace, '|') + 1, whole) == 0,
           "REQ-2: ... the same %s", kinds[i][2]);
        test_splits(s, text, len, trace, kinds[i][2]);
    }
}


static void
test_splits(const stream_t *s, const char *text, size_t len,
    const char *whole, const char *how)
{
    char               trace[TRACE];
    size_t             n;
    ngx_uint_t         bad;
    ngx_llm_answer_t   a;

    (void) s;

    begin_api(&a, NGX_LLM_ANSWER_STREAM, s->api, 1, trace);

    for (n = 0; n < len; n++) {
        run(&a, text, n, n + 1, len, trace);
    }

    end(&a, trace);
    bad = (strcmp(trace, whole) != 0);

    for (n = 1; n < len; n++) {
        begin_api(&a, NGX_LLM_ANSWER_STREAM, s->api, 1, trace);
        run(&a, text, 0, n, len, trace);
        run(&a, text, n, len, len, trace);
        end(&a, trace);
        bad += (strcmp(trace, whole) != 0);
    }

    ok(bad == 0, "REQ-2: ... %s", how);
}


/* a stream is complete from one byte on, and not before */

static void
test_cuts(const stream_t *s)
{
    char               trace[TRACE];
    size_t             n, first, len;
    const char        *p;
    ngx_uint_t         bad, complete;
    ngx_llm_answer_t   a;

    len = strlen(s->stream);
    first = len + 1;

    if (s->complete) {
        p = strstr(s->stream, s->complete);
        first = p ? (size_t) (p - s->stream) + strlen(s->complete) : 0;
    }

    bad = 0;

    for (n = 0; n <= len; n++) {
        begin_api(&a, NGX_LLM_ANSWER_STREAM, s->api, 1, trace);
        run(&a, s->stream, 0, n, len, trace);
        end(&a, trace);

        /* a line cut inside of its end is not a document cut short */

        complete = ngx_llm_answer_complete(&a);
        bad += (complete != (n >= first));
    }

    ok(bad == 0, "REQ-3: ... complete from its last word on, not before");
}


static void
test_usages(void)
{
    char               text[1024], trace[TRACE], got[256], name[128];
    size_t             i, n, len;
    ngx_uint_t         kind, bad;
    ngx_llm_answer_t   a;

    for (i = 0; i < sizeof(usages) / sizeof(usages[0]); i++) {

        for (kind = 0; kind < 2; kind++) {
            len = sprintf(text, kind ? "data: %s\n\n" : "%s", usages[i].text);

            begin(&a, kind, trace);
            run(&a, text, 0, len, len, trace);
            end(&a, trace);

            show(&a, got);

            if (kind) {
                sprintf(name, "REQ-11: usage: %s", usages[i].claim);
                is_str(got, strlen(got), usages[i].want, name);
            }

            bad = 0;

            for (n = 0; n <= len; n++) {
                char  other[TRACE];

                begin(&a, kind, other);
                run(&a, text, 0, n, len, other);
                run(&a, text, n, len, len, other);
                end(&a, other);
                bad += (strcmp(other, trace) != 0);
            }

            ok(bad == 0, "REQ-2: ... in any pieces, %s",
               kind ? "stream" : "document");
        }
    }
}


static void
test_errors(void)
{
    char               text[1024], trace[TRACE], got[64], name[128];
    size_t             i, len;
    ngx_llm_answer_t   a;

    for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        len = sprintf(text, "data: %s\n\n", errors[i].text);

        begin(&a, NGX_LLM_ANSWER_STREAM, trace);
        run(&a, text, 0, len, len, trace);

        word(&a.event, got);
        sprintf(name, "REQ-22: event: %s", errors[i].claim);
        is_str(got, strlen(got), errors[i].want, name);
    }

    begin(&a, NGX_LLM_ANSWER_STREAM, trace);
    feed(&a, "event: error\ndata: oops\n\n", trace);
    word(&a.event, got);
    is_str(got, strlen(got), "-E", "REQ-22: an event named error, no JSON");

    feed(&a, "event: error\n\n", trace);
    ok(a.event.error && !a.event.data, "REQ-22: ... and without data");
    is_int(a.events, 1, "events without data are not counted");

    feed(&a, "data: {\"error\":null}\n\n", trace);
    ok(!a.event.error, "REQ-22: ... and the name is forgotten behind it");
}


static void
test_documents(void)
{
    char               trace[TRACE], got[512], name[128];
    size_t             i, k, n, len;
    ngx_uint_t         bad;
    const row_t       *d;
    ngx_llm_answer_t   a;

    for (i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        d = &documents[i];
        len = strlen(d->text);
        bad = 0;

        for (n = 0; n <= len + 1; n++) {
            begin(&a, NGX_LLM_ANSWER_JSON, trace);

            if (n <= len) {
                run(&a, d->text, 0, n, len, trace);
                run(&a, d->text, n, len, len, trace);

            } else {

                for (k = 0; k < len; k++) {
                    run(&a, d->text, k, k + 1, len, trace);
                }
            }

            end(&a, trace);

            show(&a, got);
            strcat(got, "|");
            word(&a.event, got + strlen(got));

            if (ngx_llm_answer_complete(&a)) {
                strcat(got, " complete");
            }

            bad += (strcmp(got, d->want) != 0);
        }

        sprintf(name, "REQ-11 REQ-22: document: %s", d->claim);
        is_str(got, strlen(got), d->want, name);
        ok(bad == 0, "REQ-2: ... in any pieces");
    }
}


static void
test_running(void)
{
    char               text[256], trace[TRACE], got[256];
    size_t             i, len;
    ngx_llm_answer_t   a;

    begin(&a, NGX_LLM_ANSWER_STREAM, trace);

    for (i = 1; i <= 20; i++) {
        len = sprintf(text, "data: {\"choices\":[{\"index\":0}],\"usage\":{"
                      "\"prompt_tokens\":7,\"completion_tokens\":%zu}}\n\n", i);
        run(&a, text, 0, len, len, trace);
        trace[0] = '\0';
    }

    show(&a, got);
    is_str(got, strlen(got), "7/20/27/-1/-1 - 20",
           "REQ-11: running usage: the last one, no sum");

    feed(&a, "data: {\"usage\":{\"total_tokens\":-1}}\n\n", trace);
    show(&a, got);
    is_str(got, strlen(got), "7/20/27/-1/-1 bad - 21",
           "REQ-11: ... a bad one behind it is told, and not taken");

    feed(&a, "data: {\"usage\":null}\n\n", trace);
    ok(a.usage_bad, "REQ-11: ... null changes nothing");

    feed(&a, "data: {\"usage\":{\"total_tokens\":1}}\n\n", trace);
    show(&a, got);
    is_str(got, strlen(got), "-1/-1/1/-1/-1 - 23",
           "REQ-11: ... a good one behind that is taken");
}


static void
test_choices(void)
{
    char               text[256], trace[TRACE];
    size_t             i, len;
    ngx_llm_answer_t   a;

    begin(&a, NGX_LLM_ANSWER_STREAM, trace);

    for (i = 0; i < 64; i++) {
        len = sprintf(text, "data: {\"choices\":[{\"index\":%zu,"
                      "\"finish_reason\":%s}]}\n\n", i,
                      i == 63 ? "null" : "\"stop\"");
        run(&a, text, 0, len, len, trace);
        trace[0] = '\0';
    }

    ok(!a.finished, "REQ-3: 63 of 64 choices are not all");

    len = sprintf(text, "data: {\"choices\":[{\"index\":63,"
                  "\"finish_reason\":\"stop\"},{\"index\":64,"
                  "\"finish_reason\":\"stop\"}]}\n\n");
    run(&a, text, 0, len, len, trace);
    ok(a.finished, "REQ-3: 64 are, and one more that ends at once");

    len = sprintf(text, "data: {\"choices\":[{\"index\":65}]}\n\n");
    run(&a, text, 0, len, len, trace);
    ok(!a.finished, "REQ-3: beyond 64, one that goes on leaves it to [DONE]");

    begin(&a, NGX_LLM_ANSWER_STREAM, trace);
    len = sprintf(text, "data: {\"choices\":[{\"finish_reason\":\"stop\"},{}]}"
                  "\n\n");
    run(&a, text, 0, len, len, trace);
    ok(!a.finished, "REQ-3: without an index the position counts");
}


static void
test_output(void)
{
    char               trace[TRACE];
    size_t             i, len, cut, bad;
    ngx_uint_t         j;
    ngx_llm_answer_t   a;

    static const struct {
        const char  *name;
        uint64_t     bytes;
        const char  *data;
    } cases[] = {
        { "text of all choices is counted, a role is not", 7,
          "{\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
          "\"content\":\"Hello\"}},{\"index\":1,\"delta\":"
          "{\"content\":\"Ho\"}}]}" },
        { "escapes count as written", 9,
          "{\"choices\":[{\"delta\":{\"content\":\"\\n\\u00e9a\"}}]}" },
        { "a text longer than a piece of 32 bytes", 40,
          "{\"choices\":[{\"delta\":{\"content\":"
          "\"0123456789012345678901234567890123456789\"}}]}" },
        { "text of completions", 3, "{\"choices\":[{\"text\":\"abc\"}]}" },
        { "reasoning and refusals", 9,
          "{\"choices\":[{\"delta\":{\"reasoning_content\":\"abc\","
          "\"reasoning\":\"def\",\"refusal\":\"ghi\"}}]}" },
        { "tool calls: names and arguments", 13,
          "{\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"id\":"
          "\"call_1\",\"type\":\"function\",\"function\":{\"name\":\"get\","
          "\"arguments\":\"{\\\"a\\\":1}\"}}],\"function_call\":"
          "{\"arguments\":\"x\"}}}]}" },
        { "content in parts, with thinking", 6,
          "{\"choices\":[{\"delta\":{\"content\":[{\"type\":\"thinking\","
          "\"thinking\":[{\"type\":\"text\",\"text\":\"abc\"}]},"
          "{\"type\":\"text\",\"text\":\"def\"}]}}]}" },
        { "a delta of the Responses API", 4,
          "{\"type\":\"response.output_text.delta\",\"delta\":\"abcd\"}" },
        { "audio is no text", 0,
          "{\"choices\":[{\"delta\":{\"audio\":{\"data\":\"AAAA\"}}}]}" }
    };

    for (j = 0; j < sizeof(cases) / sizeof(cases[0]); j++) {
        char  text[512];

        len = sprintf(text, "data: %s\n\n", cases[j].data);
        bad = 0;

        for (i = 0; i <= len; i++) {
            begin(&a, NGX_LLM_ANSWER_STREAM, trace);
            run(&a, text, 0, i, i + 1, trace);
            run(&a, text, i, len, len, trace);
            bad += (a.output != cases[j].bytes
                    || ngx_llm_answer_text_bytes(&a) != cases[j].bytes);
        }

        ok(bad == 0, "output: %s", cases[j].name);
    }

    begin(&a, NGX_LLM_ANSWER_STREAM, trace);
    feed(&a, "data: {\"choices\":[{\"delta\":{\"content\":\"abc\"}}]}\n\n"
         "data: {\"choices\":[{\"delta\":{\"content\":\"de\"}},{\"delta\":"
         "{\"content\":\"fghi", trace);
    ok(a.output == 3, "output: an event that has not ended is not in the sum");
    cut = (size_t) ngx_llm_answer_text_bytes(&a);
    ok(cut == 9, "  but in what has come so far");

    begin(&a, NGX_LLM_ANSWER_JSON, trace);
    feed(&a, "{\"choices\":[{\"message\":{\"content\":\"abc\"}}]}", trace);
    ok(ngx_llm_answer_text_bytes(&a) == 3, "output: a document's");
}


static void
test_large(void)
{
    char              *text, whole[TRACE], trace[TRACE], *p;
    size_t             n, len, step;
    ngx_uint_t         bad;
    ngx_llm_answer_t   a;

    text = malloc(2 * 1024 * 1024 + 1024);

    p = text + sprintf(text, "data: " CHUNK "[{\"index\":0,\"delta\":{"
                       "\"tool_calls\":[{\"index\":0,\"function\":{"
                       "\"arguments\":\"");

    while (p < text + 300 * 1024) {
        p += sprintf(p, "{\\\"a\\\\\\\": [\\n], \xe6\x97\xa5 ");
    }

    p += sprintf(p, "\"}}]},\"finish_reason\":\"tool_calls\"}],\"usage\":{"
                 "\"prompt_tokens\":1}}\n\ndata: [DONE]\n\n");
    len = p - text;

    begin(&a, NGX_LLM_ANSWER_STREAM, whole);
    run(&a, text, 0, len, len, whole);
    end(&a, whole);

    p = strchr(whole, '|') + 1;
    is_str(p, strlen(p),
           "1/-1/1/-1/-1 tool_calls finished done content 2",
           "REQ-2: a tool call of 300 KB");

    bad = 0;

    for (step = 1; step < 100000; step = step * 3 + 1) {
        begin(&a, NGX_LLM_ANSWER_STREAM, trace);

        for (n = 0; n < len; n += step) {
            run(&a, text, n, n + step < len ? n + step : len, len, trace);
        }

        end(&a, trace);
        bad += (strcmp(trace, whole) != 0);
    }

    for (n = 1; n < len; n += (n < 600 || n > len - 200) ? 1 : 1997) {
        begin(&a, NGX_LLM_ANSWER_STREAM, trace);
        run(&a, text, 0, n, len, trace);
        run(&a, text, n, len, len, trace);
        end(&a, trace);
        bad += (strcmp(trace, whole) != 0);
    }

    ok(bad == 0, "REQ-2: ... in any pieces");

    /* an unterminated line */

    len = 2 * 1024 * 1024;
    memset(text, 'x', len);
    memcpy(text, "data: {\"usage\":{\"total_tokens\":1},\"a\":\"", 38);

    begin(&a, NGX_LLM_ANSWER_STREAM, trace);

    for (n = 0; n < len; n += 4096) {
        run(&a, text, n, n + 4096, len, trace);
    }

    ok(a.events == 0 && !ngx_llm_answer_boundary(&a),
       "REQ-2: an unterminated line of 2 MiB is no event");
    end(&a, trace);
    ok(!a.usage_seen && !a.malformed && a.events == 0,
       "REQ-2: ... nor at the end of the body");
    ok(sizeof(a) <= 1344, "REQ-2: ... the state is %zu bytes", sizeof(a));

    free(text);
}


static void
test_depth(void)
{
    char               text[4096], trace[TRACE];
    size_t             n, i, len;
    ngx_uint_t         bad;
    ngx_llm_answer_t   a;

    bad = 0;

    for (n = 500; n < 520; n++) {
        len = sprintf(text, "{\"a\":");

        for (i = 1; i < n; i++) {
            text[len++] = (i % 3) ? '[' : '{';
        }

        for (i = n - 1; i > 0; i--) {
            text[len++] = (i % 3) ? ']' : '}';
        }

        text[len++] = '}';

        begin(&a, NGX_LLM_ANSWER_JSON, trace);
        run(&a, text, 0, len, len, trace);
        end(&a, trace);

        bad += (a.malformed != (n > NGX_LLM_READER_DEPTH));
    }

    ok(bad == 0, "512 brackets may be open, not 513");
}


/* every key of the table is found by its name, and nothing but its name */

static void
test_keys(void)
{
    char                      text[64];
    size_t                    len;
    ngx_uint_t                i, n, keys, wrong;
    ngx_llm_reader_member_t  *key;
    ngx_llm_reader_node_t     nodes[2];

    keys = 0;
    wrong = 0;

    for (i = ngx_llm_members_root_node; i <= ngx_llm_members_any_node; i++) {
        nodes[1] = ngx_llm_members_nodes[i];
        nodes[1].keys[0].slot = 0;

        for (n = 1; n <= NGX_LLM_READER_MEMBERS; n++) {
            nodes[1].keys[n].slot = (u_char) n;
        }

        for (n = 1; n <= NGX_LLM_READER_MEMBERS; n++) {
            key = &nodes[1].keys[n];

            if (key->name == NULL) {
                continue;
            }

            keys++;
            len = sprintf(text, "{\"%s\":1,\"id\":10000}", key->name);

            wrong += (reported(nodes, text, len) != n
                      || reported(nodes, text, 1) != n);

            /* its last byte is another one */

            text[1 + key->len] ^= 1;

            wrong += (reported(nodes, text, len) != 0
                      || reported(nodes, text, 1) != 0);
        }
    }

    ok(keys > 40 && wrong == 0, "each of %d keys is found, whole or in bytes",
       (int) keys);
}


/* the slots that are told of a document, added up */

static ngx_uint_t
reported(const ngx_llm_reader_node_t *nodes, const char *text, size_t piece)
{
    size_t           i, len;
    u_char           copy[64], *p, *end;
    ngx_llm_reader_t pl;

    len = strlen(text);
    memcpy(copy, text, len);
    sum = 0;

    pl.handler = note;
    ngx_llm_reader_init(&pl, nodes);

    for (i = 0; i < len; i += piece) {
        p = copy + i;
        end = p + piece;

        if (ngx_llm_reader_read(&pl, &p, end) == NGX_ERROR) {
            return 1000;
        }
    }

    return sum;
}


static void
note(ngx_llm_reader_t *pl, u_char *p)
{
    (void) p;

    sum += pl->slot;
}


/* every LF of the stream becomes eol, every data field starts with colon */

static size_t
transform(char *dst, const char *src, const char *eol, const char *colon)
{
    char        *d;
    ngx_uint_t   start;

    d = dst;
    start = 1;

    while (*src) {

        if (start && strncmp(src, "data: ", 6) == 0) {
            d += sprintf(d, "%s", colon);
            src += 6;
            start = 0;
            continue;
        }

        start = (*src == '\n');

        if (start) {
            d += sprintf(d, "%s", eol);

        } else {
            *d++ = *src;
        }

        src++;
    }

    *d = '\0';

    return d - dst;
}


static void
begin(ngx_llm_answer_t *a, ngx_uint_t kind, char *trace)
{
    begin_api(a, kind, &ngx_llm_api_chat, 1, trace);
}


static void
begin_api(ngx_llm_answer_t *a, ngx_uint_t kind, const ngx_llm_api_t *api,
    ngx_uint_t n, char *trace)
{
    memset(a, 0xa5, sizeof(ngx_llm_answer_t));
    ngx_llm_answer_init(a, kind, api, n);
    trace[0] = '\0';
}


/* feeds text[from..to), notes where events end and what they are */

static void
run(ngx_llm_answer_t *a, const char *text, size_t from, size_t to, size_t len,
    char *trace)
{
    u_char     *copy, *p, *last;
    size_t      at;
    ngx_int_t   rc;

    copy = malloc(to - from ? to - from : 1);
    memcpy(copy, text + from, to - from);

    p = copy;
    last = copy + (to - from);

    while (p < last) {
        rc = ngx_llm_answer_feed(a, &p, last);
        at = from + (p - copy);

        if (a->kind == NGX_LLM_ANSWER_JSON || rc == NGX_AGAIN) {
            if (p != last) {
                strcat(trace, "not consumed ");
            }

            continue;
        }

        /* the LF of a split CRLF counts as consumed */

        if (at < len && text[at - 1] == '\r' && text[at] == '\n') {
            at++;
        }

        trace += strlen(trace);
        trace += sprintf(trace, "%zu:", at);
        word(&a->event, trace);
        strcat(trace, " ");
    }

    free(copy);
}


static void
feed(ngx_llm_answer_t *a, const char *text, char *trace)
{
    run(a, text, 0, strlen(text), strlen(text), trace);
}


static void
end(ngx_llm_answer_t *a, char *trace)
{
    ngx_uint_t  events;

    events = a->events;

    ngx_llm_answer_eof(a);
    ngx_llm_answer_eof(a);

    if (a->events != events) {
        strcat(trace, "eof:");
        word(&a->event, trace + strlen(trace));
        strcat(trace, " ");
    }

    strcat(trace, "|");
    show(a, trace + strlen(trace));
}


/* o object, d done, E error, O error object, its status, u usage, t terminal */

static void
word(const ngx_llm_event_t *ev, char *out)
{
    char  status[16] = "";

    if (ev->error_status) {
        sprintf(status, "%d", (int) ev->error_status);
    }

    sprintf(out, "%s%s%s%s%s%s%s",
            ev->object ? "o" : "", ev->done ? "d" : "",
            (ev->object || ev->done) ? "" : "-",
            ev->error ? (ev->error_object ? "EO" : "E") : "", status,
            ev->usage_only ? "u" : "", ev->terminal ? "t" : "");
}


static void
show(const ngx_llm_answer_t *a, char *out)
{
    const ngx_llm_usage_t  *u;

    u = &a->usage;

    if (a->usage_seen) {
        out += sprintf(out, "%jd/%jd/%jd/%jd/%jd", (intmax_t) u->prompt,
                       (intmax_t) u->completion, (intmax_t) u->total,
                       (intmax_t) u->cached, (intmax_t) u->reasoning);

        if (u->cache_write >= 0) {
            out += sprintf(out, " write %jd", (intmax_t) u->cache_write);
        }

    } else {
        out += sprintf(out, "no usage");
    }

    out += sprintf(out, "%s", a->usage_bad ? " bad" : "");

    if (a->finish_len) {
        out += sprintf(out, " %.*s", (int) a->finish_len, a->finish_reason);

    } else if (!a->content) {
        out += sprintf(out, " -");
    }

    sprintf(out, "%s%s%s%s%s %d", a->finished ? " finished" : "",
            a->done ? " done" : "", a->terminal ? " terminal" : "",
            a->content ? " content" : "", a->malformed ? " malformed" : "",
            (int) a->events);
}
