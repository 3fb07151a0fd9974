/*
 * The conditions of llm_next_provider that a response as such does not fail by:
 * context_length, content_filter, no_content, length, invalid_json.  Evaluated
 * for ngx_http_llm_judge.c while the response is held.  A response that meets a
 * condition is given up only if the condition is configured and another target
 * is left; otherwise it is passed to the client.
 */


#include <ngx_http_llm_flow.h>
#include <jansson.h>


#define ngx_http_llm_condition_is(answer, text)                               \
    ((answer)->finish_len == sizeof(text) - 1                                 \
     && ngx_strncasecmp((answer)->finish_reason, (u_char *) text,             \
                        sizeof(text) - 1)                                     \
        == 0)


static ngx_uint_t ngx_http_llm_condition_error(u_char *start, u_char *last);
static ngx_uint_t ngx_http_llm_condition_document(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, u_char *start, u_char *last);
static ngx_uint_t ngx_http_llm_condition_stream(ngx_http_llm_ctx_t *ctx);
static const ngx_http_llm_condition_t *ngx_http_llm_condition_choose(
    ngx_http_request_t *r, ngx_uint_t met);
static ngx_uint_t ngx_http_llm_condition_finish(ngx_llm_answer_t *answer);
static ngx_uint_t ngx_http_llm_condition_invalid(ngx_http_llm_ctx_t *ctx,
    u_char *start, u_char *last);
static ngx_uint_t ngx_http_llm_condition_schema(ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_condition_choices(json_t *root);
static ngx_uint_t ngx_http_llm_condition_output(json_t *root);
static ngx_uint_t ngx_http_llm_condition_broken(json_t *text);


/* the first one that a response meets, and that is configured, applies */

static const ngx_http_llm_condition_t  ngx_http_llm_conditions[] = {
    { NGX_HTTP_LLM_NEXT_CONTEXT, ngx_string("context_length") },
    { NGX_HTTP_LLM_NEXT_FILTER, ngx_string("content_filter") },
    { NGX_HTTP_LLM_NEXT_LENGTH, ngx_string("length") },
    { NGX_HTTP_LLM_NEXT_NO_CONTENT, ngx_string("no_content") },
    { NGX_HTTP_LLM_NEXT_INVALID_JSON, ngx_string("invalid_json") },
    { 0, ngx_null_string }
};


const ngx_http_llm_condition_t *
ngx_http_llm_condition(ngx_http_request_t *r, ngx_http_llm_condition_e part,
    u_char *start, u_char *last)
{
    ngx_uint_t                met;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (!(llcf->next & NGX_HTTP_LLM_NEXT_CONDITIONS)) {
        return NULL;
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (part == NGX_HTTP_LLM_CONDITION_ERROR) {
        met = ngx_http_llm_condition_error(start, last);

    } else if (!ctx->charge->operation->generates) {
        met = 0;

    } else if (part == NGX_HTTP_LLM_CONDITION_DOCUMENT) {
        met = ngx_http_llm_condition_document(r, ctx, start, last);

    } else {
        met = ngx_http_llm_condition_stream(ctx);
    }

    return ngx_http_llm_condition_choose(r, met);
}


static ngx_uint_t
ngx_http_llm_condition_error(u_char *start, u_char *last)
{
    switch (ngx_llm_error_cause(start, last - start)) {

    case NGX_LLM_ERROR_CAUSE_CONTEXT:
        return NGX_HTTP_LLM_NEXT_CONTEXT;

    case NGX_LLM_ERROR_CAUSE_FILTER:
        return NGX_HTTP_LLM_NEXT_FILTER;

    default:
        return 0;
    }
}


static ngx_uint_t
ngx_http_llm_condition_document(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *start, u_char *last)
{
    ngx_uint_t                met;
    ngx_llm_answer_t         *answer;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    answer = ctx->charge->answer;

    met = ngx_http_llm_condition_finish(answer);

    if (ngx_http_llm_condition_is(answer, "incomplete")
        && ngx_strlcasestrn(start, last, (u_char *) "\"content_filter\"",
                            sizeof("\"content_filter\"") - 2)
           != NULL)
    {
        /* incomplete_details of the Responses API */

        met = NGX_HTTP_LLM_NEXT_FILTER;
    }

    if (!answer->content) {
        met |= NGX_HTTP_LLM_NEXT_NO_CONTENT;
    }

    if ((llcf->next & NGX_HTTP_LLM_NEXT_INVALID_JSON)
        && ngx_http_llm_condition_invalid(ctx, start, last))
    {
        met |= NGX_HTTP_LLM_NEXT_INVALID_JSON;
    }

    return met;
}


/* A stream is held only if its first output is its end. */

static ngx_uint_t
ngx_http_llm_condition_stream(ngx_http_llm_ctx_t *ctx)
{
    ngx_llm_answer_t  *answer;

    answer = ctx->charge->answer;

    if (answer->content || ctx->judge.expired
        || (!answer->finish_len && !answer->over))
    {
        return 0;
    }

    return ngx_http_llm_condition_finish(answer)
           | NGX_HTTP_LLM_NEXT_NO_CONTENT;
}


/* Returns the first configured condition of met, or NULL. */

static const ngx_http_llm_condition_t *
ngx_http_llm_condition_choose(ngx_http_request_t *r, ngx_uint_t met)
{
    ngx_http_llm_ctx_t              *ctx;
    ngx_http_llm_attempt_t          *attempt;
    ngx_http_llm_loc_conf_t         *llcf;
    const ngx_http_llm_condition_t  *condition;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    attempt = ctx->charge->attempts.elts;
    attempt += ctx->charge->attempts.nelts - 1;

    for (condition = ngx_http_llm_conditions; condition->bit; condition++) {

        if (!(met & llcf->next & condition->bit)) {
            continue;
        }

        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm judge: response of \"%V\" meets condition \"%V\"",
                       &ctx->upstream.target->provider->name,
                       &condition->name);

        /* the balancer excludes targets by the failures of their attempts */

        attempt->failure = condition->bit;

        if (ctx->upstream.exchange->next(r, condition->bit)) {
            return condition;
        }

        attempt->failure = 0;

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm judge: no other target is left, condition \"%V\" "
                       "is ignored", &condition->name);
    }

    return NULL;
}


static ngx_uint_t
ngx_http_llm_condition_finish(ngx_llm_answer_t *answer)
{
    if (ngx_http_llm_condition_is(answer, "content_filter")
        || ngx_http_llm_condition_is(answer, "refusal")
        || ngx_http_llm_condition_is(answer, "safety"))
    {
        return NGX_HTTP_LLM_NEXT_FILTER;
    }

    if (ngx_http_llm_condition_is(answer, "length")
        || ngx_http_llm_condition_is(answer, "max_tokens")
        || ngx_http_llm_condition_is(answer, "incomplete"))
    {
        return NGX_HTTP_LLM_NEXT_LENGTH;
    }

    return 0;
}


/*
 * Returns 1 if the client has requested JSON and a text of the document is not
 * JSON.  Both bodies are parsed, which happens only if the condition is
 * configured and the request has a format.
 */

static ngx_uint_t
ngx_http_llm_condition_invalid(ngx_http_llm_ctx_t *ctx, u_char *start,
    u_char *last)
{
    json_t        *root;
    ngx_uint_t     invalid;
    json_error_t   error;

    if (!ngx_http_llm_condition_schema(ctx)) {
        return 0;
    }

    root = json_loadb((char *) start, last - start, JSON_ALLOW_NUL, &error);
    if (root == NULL) {
        return 0;
    }

    invalid = ngx_http_llm_condition_choices(root)
              || ngx_http_llm_condition_output(root);

    json_decref(root);

    return invalid;
}


/* Returns 1 if the request has a response format of JSON. */

static ngx_uint_t
ngx_http_llm_condition_schema(ngx_http_llm_ctx_t *ctx)
{
    json_t        *root, *format;
    ngx_uint_t     wanted;
    const char    *type;
    json_error_t   error;

    if (ctx->view.len == 0
        || ngx_strlcasestrn(ctx->view.data, ctx->view.data + ctx->view.len,
                            (u_char *) "format", sizeof("format") - 2)
           == NULL)
    {
        return 0;
    }

    root = json_loadb((char *) ctx->view.data, ctx->view.len, JSON_ALLOW_NUL,
                      &error);
    if (root == NULL) {
        return 0;
    }

    format = json_object_get(root, "response_format");

    if (format == NULL) {
        format = json_object_get(json_object_get(root, "text"), "format");
    }

    type = json_string_value(json_object_get(format, "type"));

    wanted = (type && (ngx_strcmp(type, "json_schema") == 0
                       || ngx_strcmp(type, "json_object") == 0));

    json_decref(root);

    return wanted;
}


/* Returns 1 if the text of a choice is not JSON. */

static ngx_uint_t
ngx_http_llm_condition_choices(json_t *root)
{
    size_t   i;
    json_t  *choice, *message;

    json_array_foreach(json_object_get(root, "choices"), i, choice) {
        message = json_object_get(choice, "message");

        if (ngx_http_llm_condition_broken(json_object_get(message,
                                                          "content")))
        {
            return 1;
        }
    }

    return 0;
}


/* Returns 1 if a text in the output of the Responses API is not JSON. */

static ngx_uint_t
ngx_http_llm_condition_output(json_t *root)
{
    size_t   i, n;
    json_t  *item, *part;

    json_array_foreach(json_object_get(root, "output"), i, item) {

        /* a reasoning item has texts, too */

        if (json_string_value(json_object_get(item, "type")) == NULL
            || ngx_strcmp(json_string_value(json_object_get(item, "type")),
                          "message")
               != 0)
        {
            continue;
        }

        json_array_foreach(json_object_get(item, "content"), n, part) {

            if (ngx_http_llm_condition_broken(json_object_get(part, "text"))) {
                return 1;
            }
        }
    }

    return 0;
}


/* Anything but a string is a refusal or a tool call. */

static ngx_uint_t
ngx_http_llm_condition_broken(json_t *text)
{
    json_t        *root;
    json_error_t   error;

    if (!json_is_string(text)) {
        return 0;
    }

    root = json_loadb(json_string_value(text), json_string_length(text),
                      JSON_DECODE_ANY|JSON_ALLOW_NUL, &error);
    if (root == NULL) {
        return 1;
    }

    json_decref(root);

    return 0;
}
