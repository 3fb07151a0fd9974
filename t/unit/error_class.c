/*
 * error_class.c: an error answer blames whom it should, in every provider's
 * shape (REQ-22, REQ-23), a client cannot make it blame a key or a target by
 * what it writes, and hints are read right.  Bodies are copies of their exact
 * size, each is cut at every byte too: a cut one says nothing but its status.
 */

#include <ngx_llm_error_class.h>

#include <stdlib.h>

#include "tap.h"


#define NOBODY      NGX_LLM_ERROR_CLASS_NOBODY
#define REQUEST     NGX_LLM_ERROR_CLASS_REQUEST
#define CREDENTIAL  NGX_LLM_ERROR_CLASS_CREDENTIAL
#define QUOTA       NGX_LLM_ERROR_CLASS_QUOTA
#define NOT_FOUND   NGX_LLM_ERROR_CLASS_NOT_FOUND
#define RATE        NGX_LLM_ERROR_CLASS_RATE
#define OVERLOAD    NGX_LLM_ERROR_CLASS_OVERLOAD
#define TIMEOUT     NGX_LLM_ERROR_CLASS_TIMEOUT

#define ERROR(m)    "{\"error\":{" m "}}"
#define MESSAGE(t)  "{\"error\":{\"message\":\"" t "\",\"type\":"              \
                    "\"invalid_request_error\",\"param\":null,\"code\":null}}"
#define GOOGLE      "\"@type\":\"type.googleapis.com/google.rpc."


typedef struct {
    const char            *claim;
    ngx_uint_t             status;
    const char            *body;
    ngx_llm_error_class_e  want;
    int64_t                hint;  /* ms; 0 stands for none */
} row_t;


typedef struct {
    const char       *text;
    int64_t           ms;         /* -1: it is none */
} duration_t;


static void run(const row_t *row);
static void statuses(void);
static void quoted(void);
static void hostile(void);
static void durations(void);
static ngx_llm_error_class_e error_class(ngx_uint_t status, const char *body,
    size_t len, int64_t *hint);


static const row_t  rows[] = {

    /* auth */

    { "OpenAI: a wrong key", 401,
      "{\"error\":{\"message\":\"Incorrect API key provided: sk-a***z. You can"
      " find your API key at https://platform.openai.com/account/api-keys.\","
      "\"type\":\"invalid_request_error\",\"param\":null,"
      "\"code\":\"invalid_api_key\"}}", CREDENTIAL, 0 },

    { "xAI: a wrong key is a 400", 400,
      "{\"code\":\"Client specified an invalid argument\",\"error\":"
      "\"Incorrect API key provided: xa***zz. You can obtain an API key from "
      "https://console.x.ai.\"}", CREDENTIAL, 0 },

    { "xAI: the same as a text alone", 400,
      "{\"error\":\"Incorrect API key provided\"}", CREDENTIAL, 0 },

    { "xAI: the same in an object", 400,
      MESSAGE("Incorrect API key provided: xai-***."), CREDENTIAL, 0 },

    { "Gemini: a wrong key is a 400 with a reason", 400,
      ERROR("\"code\":400,\"message\":\"API key not valid. Please pass a valid"
      " API key.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{" GOOGLE
      "ErrorInfo\",\"reason\":\"API_KEY_INVALID\",\"domain\":"
      "\"googleapis.com\"}]"), CREDENTIAL, 0 },

    { "Gemini: the reason is enough, in a list too", 400,
      "\r\n[" ERROR("\"code\":400,\"message\":\"Nein.\",\"details\":[7,{},{"
      GOOGLE "ErrorInfo\",\"reason\":\"API_KEY_INVALID\"}]") "\n]\n",
      CREDENTIAL, 0 },

    { "Gemini: the sentence is enough, written with escapes", 400,
      MESSAGE("API key not valid. \\u0050lease pass\\u0020a valid API key."),
      CREDENTIAL, 0 },

    { "Gemini: another 400 is the request's", 400,
      ERROR("\"code\":400,\"message\":\"The input token count (9) exceeds the "
      "maximum number of tokens allowed (8).\",\"status\":"
      "\"INVALID_ARGUMENT\""), REQUEST, 0 },

    { "Google: no permission", 403,
      ERROR("\"code\":403,\"status\":\"PERMISSION_DENIED\""), CREDENTIAL, 0 },

    { "Anthropic: a wrong key", 401,
      "{\"type\":\"error\",\"error\":{\"type\":\"authentication_error\","
      "\"message\":\"invalid x-api-key\"}}", CREDENTIAL, 0 },

    { "Mistral: unauthorized", 401, "{\"detail\":\"Unauthorized\"}",
      CREDENTIAL, 0 },

    { "Azure: unwrapped", 401, "{\"statusCode\":401,\"message\":\"Access "
      "denied due to invalid subscription key\"}", CREDENTIAL, 0 },

    { "Bedrock: an expired token", 403,
      "{\"message\":\"The security token included in the request is expired\"}",
      CREDENTIAL, 0 },

    { "AWS: a type that is qualified, with a 400", 400,
      "{\"__type\":\"com.amazon.coral.service#ExpiredTokenException:http://x\","
      "\"Message\":\"expired\"}", CREDENTIAL, 0 },

    /* not found */

    { "OpenAI: no such model", 404,
      ERROR("\"code\":\"model_not_found\""), NOT_FOUND, 0 },

    { "a model that the key may not use does not cost the key", 403,
      ERROR("\"message\":\"Project `p` does not have access to model `m`\","
      "\"code\":\"model_not_found\""), NOT_FOUND, 0 },

    { "a gateway behind: no channel for the model", 503,
      ERROR("\"code\":\"model_not_found\""), NOT_FOUND, 0 },

    { "Azure: no deployment", 404,
      ERROR("\"code\":\"DeploymentNotFound\",\"message\":\"x\""),
      NOT_FOUND, 0 },

    { "Azure: a wrong path", 404,
      ERROR("\"code\":\"404\",\"message\":\"Resource not found\""),
      NOT_FOUND, 0 },

    { "Bedrock: a model without on-demand throughput", 400,
      "{\"message\":\"Invocation of model ID anthropic.claude-3-5-sonnet-v2:0 "
      "with on-demand throughput isn\xe2\x80\x99t supported. Retry your "
      "request with the ID or ARN of an inference profile that contains this "
      "model.\"}", NOT_FOUND, 0 },

    { "Bedrock: the same with an escape", 400,
      "{\"Message\":\"Invocation of model ID amazon.nova-micro-v1:0 with "
      "on-demand throughput isn\\u2019t supported. Retry your request with "
      "the ID or ARN of an inference profile that contains this model.\"}",
      NOT_FOUND, 0 },

    { "Bedrock: a model that the account may not use", 403,
      "{\"message\":\"You don't have access to the model with the specified "
      "model ID.\"}", NOT_FOUND, 0 },

    { "OCI: no such thing", 404,
      "{\"code\":\"NotAuthorizedOrNotFound\",\"message\":\"x\"}",
      NOT_FOUND, 0 },

    { "Ollama: a missing model", 404,
      ERROR("\"message\":\"model 'x' not found\",\"type\":\"not_found_error\","
      "\"param\":null,\"code\":null"), NOT_FOUND, 0 },

    /* rate */

    { "OpenAI: a rate limit, with a hint", 429,
      ERROR("\"message\":\"Rate limit reached for gpt-4o in organization org-x"
      " on requests per min. Limit: 3 / min. Please try again in 20s. Visit "
      "https://platform.openai.com/account/rate-limits to learn more.\","
      "\"type\":\"requests\",\"param\":null,\"code\":\"rate_limit_exceeded\""),
      RATE, 20000 },

    { "OpenAI: a hint in milliseconds", 429,
      MESSAGE("Rate limit reached. Please try again in 20ms. Visit"),
      RATE, 20 },

    { "OpenAI: a hint in minutes", 429,
      MESSAGE("Please try again in 6m0s."), RATE, 360000 },

    { "Groq: a hint with decimals", 429,
      ERROR("\"message\":\"Rate limit reached for model `m`. Please try again "
      "in 2m59.56s. Need more tokens?\",\"type\":\"tokens\",\"code\":"
      "\"rate_limit_exceeded\""), RATE, 179560 },

    { "Groq: no flex capacity", 498, MESSAGE("x"), RATE, 0 },

    { "Groq: too large for the limit per minute is the request's", 413,
      ERROR("\"message\":\"Request too large\",\"type\":\"tokens\",\"code\":"
      "\"rate_limit_exceeded\""), REQUEST, 0 },

    { "OpenAI: slow down, once a 503", 503,
      ERROR("\"type\":\"rate_limit_error\",\"code\":\"slow_down\""), RATE, 0 },

    { "Azure: a hint in seconds", 429,
      ERROR("\"code\":\"429\",\"message\":\"Requests have exceeded the token "
      "rate limit of your current OpenAI S0 pricing tier. Please retry after "
      "7 seconds. Please go here: https://aka.ms/oai/quotaincrease\""),
      RATE, 7000 },

    { "Azure: a hint of one second", 429,
      ERROR("\"code\":\"429\",\"message\":\"Please retry after 1 second.\""),
      RATE, 1000 },

    { "a hint in words is none", 429,
      MESSAGE("Please try again in 5 minutes, or try again in a while."),
      RATE, 0 },

    { "a hint is a day at most", 429,
      MESSAGE("Please retry after 99999999999999999999999 seconds"),
      RATE, NGX_LLM_ERROR_CLASS_MAX },

    { "a hint is not negative", 429,
      MESSAGE("Please retry after -5 seconds"), RATE, 0 },

    { "of two hints the last one counts", 429,
      MESSAGE("Limit of `try again in 23h`. Please try again in 1.2s."),
      RATE, 1200 },

    { "of two kinds of hint the last one counts", 429,
      MESSAGE("No `try again in 9s`. Please retry after 2 seconds."),
      RATE, 2000 },

    { "Google: RetryInfo", 429,
      ERROR("\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"message\":"
      "\"Please retry in 99s.\",\"details\":[{" GOOGLE "RetryInfo\","
      "\"retryDelay\":\"34.4s\"}]"), RATE, 34400 },

    { "Gemini: a hint in the text, a quota per minute", 429,
      "[" ERROR("\"code\":429,\"message\":\"You exceeded your current quota, "
      "please check your plan and billing details.\\nPlease retry in "
      "34.074824224s.\",\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{"
      GOOGLE "QuotaFailure\",\"violations\":[{\"quotaId\":"
      "\"GenerateRequestsPerMinutePerProjectPerModel-FreeTier\"}]}]") "]",
      RATE, 34075 },

    { "Google: a 5xx envelope around a 429", 503,
      ERROR("\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\""), RATE, 0 },

    { "Google: the word alone in a 5xx", 500,
      ERROR("\"status\":\"RESOURCE_EXHAUSTED\""), RATE, 0 },

    { "Bedrock: throttled, whatever the status", 400,
      "{\"__type\":\"ThrottlingException\",\"message\":\"Too many tokens\"}",
      RATE, 0 },

    { "OCI: too many requests", 429,
      "{\"code\":\"TooManyRequests\",\"message\":\"x\"}", RATE, 0 },

    { "Mistral: flat", 429,
      "{\"object\":\"error\",\"message\":\"Requests rate limit exceeded\","
      "\"type\":\"rate_limited\",\"param\":null,\"code\":\"1300\"}", RATE, 0 },

    /* quota */

    { "OpenAI: no money left", 429,
      ERROR("\"message\":\"You exceeded your current quota, please check your "
      "plan and billing details.\",\"type\":\"insufficient_quota\",\"param\":"
      "null,\"code\":\"insufficient_quota\""), QUOTA, 0 },

    { "OpenAI: no credit left", 429,
      ERROR("\"type\":\"insufficient_quota\",\"code\":"
      "\"credit_balance_exhausted\""), QUOTA, 0 },

    { "OpenAI: a hard limit is a 400 for images", 400,
      ERROR("\"code\":\"billing_hard_limit_reached\""), QUOTA, 0 },

    { "DeepSeek: no money left", 402,
      ERROR("\"message\":\"Insufficient Balance\",\"code\":"
      "\"invalid_request_error\""), QUOTA, 0 },

    { "Anthropic: a billing error", 402,
      "{\"type\":\"error\",\"error\":{\"type\":\"billing_error\"}}",
      QUOTA, 0 },

    { "Anthropic: no credit left is a 400", 400,
      MESSAGE("Your credit balance is too low to access the Anthropic API. "
      "Please go to Plans & Billing to upgrade or purchase credits."),
      QUOTA, 0 },

    { "Anthropic: a spend limit is a 400", 400,
      MESSAGE("You have reached your specified API usage limits. You will "
      "regain access on 2026-12-01 at 00:00 UTC."), QUOTA, 0 },

    { "Anthropic: a spend limit as a 429", 429,
      MESSAGE("You have reached your specified API usage limits. You will "
      "regain access on 2026-12-01 at 00:00 UTC."), QUOTA, 0 },

    { "Google: a quota per day, with a hint", 429,
      ERROR("\"code\":429,\"status\":\"RESOURCE_EXHAUSTED\",\"details\":[{"
      GOOGLE "QuotaFailure\",\"violations\":[{},{\"quotaId\":"
      "\"GenerateRequestsPerDayPerProjectPerModel-FreeTier\"}]},{" GOOGLE
      "RetryInfo\",\"retryDelay\":\"12s\"}]"), QUOTA, 12000 },

    /* overload */

    { "Anthropic: overloaded", 529,
      "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\","
      "\"message\":\"Overloaded\"}}", OVERLOAD, 0 },

    { "OpenAI: overloaded", 503,
      ERROR("\"type\":\"service_unavailable_error\",\"code\":"
      "\"server_is_overloaded\""), OVERLOAD, 0 },

    { "OpenAI: a server error, with a hint", 500,
      ERROR("\"message\":\"Please try again in 2s.\",\"type\":"
      "\"server_error\",\"code\":null"), OVERLOAD, 2000 },

    { "Google: overloaded", 503,
      ERROR("\"code\":503,\"message\":\"The model is overloaded.\","
      "\"status\":\"UNAVAILABLE\""), OVERLOAD, 0 },

    { "Bedrock: a model that is not ready is a 429", 429,
      "{\"__type\":\"ModelNotReadyException\",\"message\":\"x\"}",
      OVERLOAD, 0 },

    { "a page of HTML", 502, "<html><title>502</title></html>", OVERLOAD, 0 },

    { "Bedrock: a model behind has failed", 424,
      "{\"message\":\"x\",\"originalStatusCode\":500}", OVERLOAD, 0 },

    { "Bedrock: a model behind is throttled", 424,
      "{\"message\":\"x\",\"originalStatusCode\":429}", RATE, 0 },

    { "Bedrock: what a model behind says of a key is not about ours", 424,
      "{\"message\":\"x\",\"originalStatusCode\":401}", REQUEST, 0 },

    { "Bedrock: a model has failed on the request", 424, "{}", REQUEST, 0 },

    /* timeout */

    { "Google: a deadline", 504,
      ERROR("\"code\":504,\"status\":\"DEADLINE_EXCEEDED\""), TIMEOUT, 0 },

    { "Google: a deadline in a 500", 500,
      ERROR("\"status\":\"DEADLINE_EXCEEDED\""), TIMEOUT, 0 },

    { "Bedrock: a model timeout", 408,
      "{\"__type\":\"ModelTimeoutException\"}", TIMEOUT, 0 },

    { "Anthropic: a timeout has no hint", 504,
      "{\"type\":\"error\",\"error\":{\"type\":\"timeout_error\","
      "\"message\":\"try again in 5s\"}}", TIMEOUT, 0 },

    /* context */

    { "OpenAI: too long a context", 400,
      ERROR("\"message\":\"This model's maximum context length is 8 tokens.\","
      "\"type\":\"invalid_request_error\",\"param\":\"messages\",\"code\":"
      "\"context_length_exceeded\""), REQUEST, 0 },

    { "vLLM: too long a context, with a number for a code", 400,
      "{\"object\":\"error\",\"message\":\"This model's maximum context length "
      "is 8 tokens. However, you requested 9\",\"type\":\"BadRequestError\","
      "\"param\":null,\"code\":400}", REQUEST, 0 },

    { "OpenRouter: a context error behind a 502", 502,
      ERROR("\"code\":502,\"message\":\"x\",\"metadata\":{\"error_type\":"
      "\"context_length_exceeded\"}"), REQUEST, 0 },

    { "Bedrock: too long a context", 400,
      "{\"message\":\"Too many input tokens\"}", REQUEST, 0 },

    /* filter */

    { "Azure: the filter", 400,
      ERROR("\"message\":\"The response was filtered due to the prompt "
      "triggering Azure OpenAI's content management policy\",\"type\":null,"
      "\"param\":\"prompt\",\"code\":\"content_filter\",\"status\":400,"
      "\"innererror\":{\"code\":\"ResponsibleAIPolicyViolation\","
      "\"content_filter_result\":{\"hate\":{\"filtered\":true}}}"),
      REQUEST, 0 },

    { "Azure: the inner code says filter", 403,
      ERROR("\"code\":\"x\",\"innererror\":{\"code\":"
      "\"ResponsibleAIPolicyViolation\"}"), REQUEST, 0 },

    { "xAI: moderation is a 403, and does not cost the key", 403,
      "{\"code\":\"The caller does not have permission to execute the "
      "specified operation\",\"error\":\"Content violates usage guidelines. "
      "Team: t, API key ID: k, Model: grok-4, Failed check: "
      "SAFETY_CHECK_TYPE_BIO\"}", REQUEST, 0 },

    { "OpenRouter: moderation is a 403, and does not cost the key", 403,
      ERROR("\"code\":403,\"message\":\"Your input was flagged\",\"metadata\":"
      "{\"reasons\":[\"violence\"],\"flagged_input\":\"...\","
      "\"provider_name\":\"x\"}"), REQUEST, 0 },

    { "OpenRouter: moderation as a type", 403,
      ERROR("\"code\":403,\"metadata\":{\"error_type\":"
      "\"content_policy_violation\"}"), REQUEST, 0 },

    { "OpenAI: invalid content is a 500", 500,
      MESSAGE("The model produced invalid content. Consider modifying your "
      "prompt."), REQUEST, 0 },

    { "Anthropic: the filter", 400,
      MESSAGE("Output blocked by content filtering policy"), REQUEST, 0 },

    /* bad request */

    { "Mistral: an unknown field, the message is an object", 422,
      "{\"object\":\"error\",\"message\":{\"detail\":[{\"type\":"
      "\"extra_forbidden\",\"loc\":[\"body\",\"x\"],\"msg\":\"m\"}]},\"type\":"
      "\"invalid_request_error\",\"param\":null,\"code\":null}", REQUEST, 0 },

    { "FastAPI: details", 422, "{\"detail\":[{\"loc\":[],\"msg\":\"m\"}]}",
      REQUEST, 0 },

    { "Bedrock: a service quota is no billing", 400,
      "{\"__type\":\"ServiceQuotaExceededException\"}", REQUEST, 0 },

    { "a number in the error does not replace a 4xx", 400,
      ERROR("\"code\":401"), REQUEST, 0 },

    /* inside a 200 */

    { "OpenRouter: a 429 in a 200", 200,
      ERROR("\"code\":429,\"message\":\"Please try again in 3s\""),
      RATE, 3000 },

    { "OpenRouter: a 403 of moderation in a 200", 200,
      "{\"id\":\"x\",\"choices\":[],\"error\":{\"code\":403,\"metadata\":"
      "{\"flagged_input\":\"x\"}}}", REQUEST, 0 },

    { "a 401 in a 200, a string", 200, ERROR("\"code\":\"401\""),
      CREDENTIAL, 0 },

    { "a status in a 200", 200, ERROR("\"status\":503"), OVERLOAD, 0 },

    { "vLLM: a 400 in a 200", 200,
      ERROR("\"message\":\"m\",\"type\":\"BadRequestError\",\"code\":400"),
      REQUEST, 0 },

    { "xAI: unavailable in a 200", 200,
      "{\"code\":\"The service is currently unavailable\",\"error\":"
      "\"Model is at capacity\"}", OVERLOAD, 0 },

    { "xAI: the text says so", 200,
      "{\"error\":\"The service is currently unavailable.\"}", OVERLOAD, 0 },

    { "Anthropic: overloaded in a stream", 200,
      "{\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}",
      OVERLOAD, 0 },

    { "Responses: a flat event", 200,
      "{\"type\":\"error\",\"code\":\"rate_limit_exceeded\",\"message\":\"m\","
      "\"param\":null,\"sequence_number\":1}", RATE, 0 },

    { "Responses: failed", 200,
      "{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\","
      "\"error\":{\"code\":\"server_error\",\"message\":\"m\"}}",
      OVERLOAD, 0 },

    { "Responses: the client's metadata is no part of the error", 200,
      "{\"object\":\"response\",\"status\":\"failed\",\"error\":{\"code\":"
      "\"vector_store_timeout\"},\"metadata\":{\"error_type\":"
      "\"insufficient_quota\",\"flagged_input\":\"x\"}}", NOBODY, 0 },

    { "Bedrock: an exception in a stream", 200,
      "{\"type\":\"throttlingException\",\"message\":\"m\"}", RATE, 0 },

    { "an error in a 200 that says nothing we know", 200, MESSAGE("boom"),
      NOBODY, 0 },

    { "a number out of range is no status", 200, ERROR("\"code\":200"),
      NOBODY, 0 },

    { "a long number is no status", 200, ERROR("\"code\":4290"), NOBODY, 0 },

    { "a number with decimals is no status", 200, ERROR("\"code\":4.2"),
      NOBODY, 0 },

    /* shapes */

    { "Bedrock: an error wrapped in a message", 400,
      "{\"message\":\"{\\\"error\\\":{\\\"code\\\":\\\"invalid_api_key\\\","
      "\\\"message\\\":\\\"m\\\"}}\"}", CREDENTIAL, 0 },

    { "a wrapped error gives the text too", 429,
      MESSAGE("{\\\"error\\\":{\\\"message\\\":\\\"try again in 4s\\\"}}"),
      RATE, 4000 },

    { "an error is not unwrapped twice", 400,
      "{\"message\":\"{\\\"error\\\":{\\\"message\\\":\\\"{\\\\\\\"error"
      "\\\\\\\":{\\\\\\\"code\\\\\\\":\\\\\\\"invalid_api_key\\\\\\\"}}\\\"}}"
      "\"}", REQUEST, 0 },

    { "a wrapped document without an error object says nothing", 400,
      MESSAGE("{\\\"code\\\":\\\"invalid_api_key\\\",\\\"error\\\":\\\"e\\\"}"),
      REQUEST, 0 },

    { "errors: the first one", 400,
      "{\"errors\":[{\"code\":\"invalid_api_key\"},{\"code\":\"x\"}]}",
      CREDENTIAL, 0 },

    { "error comes before message, whatever the order", 429,
      "{\"message\":\"try again in 1s\",\"error\":\"try again in 2s\"}",
      RATE, 2000 },

    { "an error that is null is not there", 429,
      "{\"error\":null,\"message\":\"try again in 1s\"}", RATE, 1000 },

    { "an empty list", 429, "[]", RATE, 0 },
    { "a list of numbers", 429, "[1,2]", RATE, 0 },
    { "a string", 429, "\"try again in 1s\"", RATE, 0 },
    { "a number", 429, "429", RATE, 0 },
    { "white space", 429, " \n", RATE, 0 },
    { "two documents are none", 429, "{\"error\":\"try again in 1s\"}{}",
      RATE, 0 }
};


/* what a client can have quoted: none of it may cost a key or a target */

static const char *const  quotes[] = {

    MESSAGE("Invalid value: 'Incorrect API key provided'."),
    MESSAGE("Incorrect API key provided: Extra inputs are not permitted"),
    MESSAGE("Incorrect API key provided: forbidden"),
    MESSAGE("Incorrect API key provided: x. You can obtain an API key from "
            "https://console.x.ai: Extra inputs are not permitted"),
    MESSAGE("API key not valid. Please pass a valid API key.: Extra inputs "
            "are not permitted"),
    MESSAGE("messages.0: API key not valid. Please pass a valid API key."),
    MESSAGE("Your credit balance is too low to access the Anthropic API: "
            "Extra inputs are not permitted"),
    MESSAGE("Your credit balance is too low to access the Anthropic API. "
            "Please go to Plans & Billing to upgrade or purchase credits.: "
            "Extra inputs are not permitted"),
    MESSAGE("You have reached your specified API usage limits"),
    MESSAGE("unknown: You have reached your specified API usage limits. You "
            "will regain access on 2026-12-01 at 00:00 UTC."),
    MESSAGE("insufficient_quota is not a valid model ID"),
    MESSAGE("insufficient_quota"),
    MESSAGE("model_not_found"),
    MESSAGE("model insufficient_quota/invalid_api_key does not work"),
    MESSAGE("Invocation of model ID a b with on-demand throughput isn't "
            "supported. Retry your request with the ID or ARN of an inference "
            "profile that contains this model."),
    MESSAGE("The provided model identifier is invalid: Extra inputs are not "
            "permitted"),
    MESSAGE("on-demand throughput isn't supported"),
    MESSAGE("Please retry after 3600 seconds. RESOURCE_EXHAUSTED"),
    MESSAGE("bad \\\"}],\\\"code\\\":\\\"invalid_api_key\\\"}"),
    MESSAGE("Invalid JSON: {\\\"error\\\":{\\\"code\\\":\\\"invalid_api_key"
            "\\\"}}"),

    ERROR("\"message\":\"m\",\"param\":\"invalid_api_key\",\"code\":null"),
    ERROR("\"message\":\"m\",\"failed_generation\":{\"code\":"
          "\"invalid_api_key\"}"),
    ERROR("\"message\":\"m\",\"metadata\":{\"raw\":\"{\\\"error\\\":{\\\"code"
          "\\\":\\\"invalid_api_key\\\"}}\",\"code\":\"invalid_api_key\"}"),
    ERROR("\"message\":\"m\",\"details\":[{" GOOGLE "BadRequest\","
          "\"fieldViolations\":[{\"field\":\"API_KEY_INVALID\","
          "\"reason\":\"API_KEY_INVALID\"}]}]"),
    "{\"detail\":[{\"type\":\"missing\",\"loc\":[\"body\",\"invalid_api_key\"]"
    ",\"msg\":\"Field required\",\"input\":{\"code\":\"invalid_api_key\","
    "\"error\":{\"code\":\"insufficient_quota\"}}}]}"
};


static const duration_t  lengths[] = {
    { "12ms", 12 },            { "1s", 1000 },         { "6m0s", 360000 },
    { "1m30.5s", 90500 },      { "2m59.56s", 179560 }, { "7.66s", 7660 },
    { "20ms", 20 },            { "1.5s", 1500 },       { "0s", 0 },
    { "0", 0 },                { "7", 7000 },          { "7.25", 7250 },
    { "1h2m3s4ms", 3723004 },  { "0.5ms", 1 },         { "20.2ms", 21 },
    { "1.0000001s", 1001 },    { "1.00000s", 1000 },   { "0.25h", 900000 },
    { "24h", 86400000 },       { "25h", 86400000 },    { "86400s", 86400000 },
    { "86400000ms", 86400000 },
    { "99999999999999999999999999h99999999999999999m9999999999999999s",
      86400000 },
    { "", -1 },        { "s", -1 },       { "ms", -1 },      { "-1s", -1 },
    { "+1s", -1 },     { "1.s", -1 },     { ".5s", -1 },     { "1s1", -1 },
    { "1s1m", -1 },    { "1s1s", -1 },    { "1 s", -1 },     { "1s ", -1 },
    { " 1s", -1 },     { "1d", -1 },      { "1us", -1 },     { "1m s", -1 },
    { "1e3s", -1 },    { "1.2.3s", -1 },  { "NaN", -1 },     { "1mss", -1 }
};


#define N(array)  (sizeof(array) / sizeof(array[0]))


int
main(void)
{
    size_t  i;

    for (i = 0; i < N(rows); i++) {
        run(&rows[i]);
    }

    statuses();
    quoted();
    hostile();
    durations();

    return done_testing();
}


static void
run(const row_t *row)
{
    size_t                 len, n;
    int64_t                hint, want;
    ngx_llm_error_class_e  got, bare;

    len = strlen(row->body);
    want = row->hint ? row->hint : -1;
    got = error_class(row->status, row->body, len, &hint);

    if (!ok(got == row->want && hint == want, "%ju: %s",
            (uintmax_t) row->status, row->claim))
    {
        printf("# got %d and %jd, expected %d and %jd\n", (int) got,
               (intmax_t) hint, (int) row->want, (intmax_t) want);
    }

    /* of a list or object; a cut number may still be a document */

    bare = error_class(row->status, "", 0, &hint);

    while (len && strchr("}]", row->body[len - 1]) == NULL) {
        len--;
    }

    for (n = 0; n < len; n++) {
        got = error_class(row->status, row->body, n, &hint);

        if ((got != bare || hint != -1) && strchr(row->body, '}') + 1
                                           != row->body + n)
        {
            ok(0, "%s, cut at %zu, says nothing", row->claim, n);
            return;
        }
    }
}


static void
statuses(void)
{
    int64_t     hint;
    ngx_uint_t  i, good;

    static const struct {
        ngx_uint_t             status;
        ngx_llm_error_class_e  want;
    } bare[] = {
        { 0, NOBODY }, { 100, NOBODY }, { 200, NOBODY }, { 302, NOBODY },
        { 400, REQUEST }, { 401, CREDENTIAL }, { 402, QUOTA },
        { 403, CREDENTIAL }, { 404, NOT_FOUND }, { 405, NOT_FOUND },
        { 408, TIMEOUT }, { 409, NOBODY }, { 413, REQUEST },
        { 415, REQUEST }, { 418, NOBODY }, { 422, REQUEST },
        { 424, REQUEST }, { 429, RATE }, { 498, RATE }, { 499, NOBODY },
        { 500, OVERLOAD }, { 502, OVERLOAD }, { 503, OVERLOAD },
        { 504, TIMEOUT }, { 524, TIMEOUT }, { 529, OVERLOAD },
        { 599, OVERLOAD }, { 600, NOBODY }, { 999, NOBODY }
    };

    for (good = 1, i = 0; i < N(bare); i++) {
        if (ngx_llm_error_class(bare[i].status, NULL, 0, &hint) != bare[i].want
            || hint != -1)
        {
            good = 0;
            printf("# status %ju\n", (uintmax_t) bare[i].status);
        }
    }

    ok(good, "REQ-23: without a body the status decides");

    ok(error_class(302, rows[0].body, strlen(rows[0].body), &hint) == NOBODY
       && error_class(409, rows[0].body, strlen(rows[0].body), &hint) == NOBODY,
       "REQ-23: a status that blames nobody does not by its body");
}


static void
quoted(void)
{
    int64_t  hint;
    size_t   i;

    for (i = 0; i < N(quotes); i++) {
        if (!ok(error_class(400, quotes[i], strlen(quotes[i]), &hint) == REQUEST
                && hint == -1,
                "REQ-23: a quote of the client's text stays a 400: %zu", i))
        {
            printf("# %s\n", quotes[i]);
        }
    }
}


/* large, deep and odd bodies; the sanitizer watches the bounds */

static void
hostile(void)
{
    char    *body, *p;
    size_t   i, n, size;
    int64_t  hint;

    size = 1 << 20;
    body = malloc(size);

    for (i = 0; i < 2; i++) {
        memset(body, "[{"[i], size);
        ok(error_class(503, body, size, &hint) == OVERLOAD, "a million of %c",
           "[{"[i]);
    }

    p = body;

    for (n = 0; n < 1000; n++) {
        p += sprintf(p, "{\"error\":");
    }

    ok(error_class(400, body, p - body, &hint) == REQUEST,
       "errors in errors, cut");

    for (p = body, n = 0; n < 200; n++) {
        p += sprintf(p, "{\"error\":");
    }

    p += sprintf(p, "{\"code\":\"invalid_api_key\"}");

    for (n = 0; n < 200; n++) {
        *p++ = '}';
    }

    ok(error_class(400, body, p - body, &hint) == REQUEST, "errors in errors");

    /* escapes that end before, at and behind the text's bound */

    for (i = 0; i < 14; i++) {
        p = body + sprintf(body, "{\"error\":\"%.*s", (int) i,
                           "aaaaaaaaaaaaaa");

        for (n = 0; n < 10000; n++) {
            p += sprintf(p, (n % 2) ? "\\u00e9" : "\\ud83d\\ude00\\n");
        }

        p += sprintf(p, "try again in 1s\"}");

        if (!ok(error_class(429, body, p - body, &hint) == RATE && hint == -1,
                "what is behind a message's bound is not read: %zu", i))
        {
            break;
        }
    }

    p = body + sprintf(body, "{\"error\":{\"code\":\"invalid_api_key");

    for (n = 0; n < 500; n++) {
        p += sprintf(p, "x\\u0000");
    }

    p += sprintf(p, "\"}}");

    ok(error_class(400, body, p - body, &hint) == REQUEST,
       "a word that only begins like a code is none");

    p = body + sprintf(body, "{\"error\":{\"details\":[");

    for (n = 0; n < 10000; n++) {
        p += sprintf(p, "{\"reason\":\"R\",\"violations\":[{},{}]},");
    }

    p += sprintf(p, "{}],\"code\":\"insufficient_quota\"}}");

    ok(error_class(429, body, p - body, &hint) == QUOTA,
       "many details do not hide the code");

    ok(error_class(429, "{\"error\":\"\xff try again in 1s\"}", 28, &hint)
       == RATE && hint == -1, "invalid UTF-8 is no JSON");

    free(body);
}


static void
durations(void)
{
    char       *copy;
    size_t      i, len;
    int64_t     ms;
    ngx_int_t   rc;

    for (i = 0; i < N(lengths); i++) {
        len = strlen(lengths[i].text);
        copy = malloc(len ? len : 1);
        memcpy(copy, lengths[i].text, len);

        ms = -1;
        rc = ngx_llm_error_class_duration((u_char *) copy, len, &ms);

        if (!ok(ms == lengths[i].ms && rc == (ms < 0 ? NGX_ERROR : NGX_OK),
                "duration \"%s\"", lengths[i].text))
        {
            printf("# got %jd\n", (intmax_t) ms);
        }

        free(copy);
    }
}


/* of a copy of its exact size */

static ngx_llm_error_class_e
error_class(ngx_uint_t status, const char *body, size_t len, int64_t *hint)
{
    u_char                *copy;
    ngx_llm_error_class_e  got;

    copy = malloc(len ? len : 1);
    memcpy(copy, body, len);

    *hint = -2;
    got = ngx_llm_error_class(status, copy, len, hint);

    free(copy);

    return got;
}
