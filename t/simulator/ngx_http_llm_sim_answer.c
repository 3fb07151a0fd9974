
/*
 * What is answered: which operation a path names, whether the request is good
 * for it, and the walk through its list of steps.  The operations without
 * text (embeddings, moderations, images, models) and errors are here, the
 * others in text.  Nothing here sends.
 */


#include "ngx_http_llm_sim.h"


/* what the provider says for a status */

typedef struct {
    ngx_uint_t   status;            /* 0: any other */
    char        *type;
    char        *code;              /* JSON */
    char        *message;
} ngx_http_llm_sim_failure_t;


static ngx_int_t ngx_http_llm_sim_answer_fail(ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_sim_answer_check(ngx_http_llm_sim_ctx_t *ctx);
static char *ngx_http_llm_sim_answer_quote(ngx_http_llm_sim_ctx_t *ctx,
    ngx_str_t *text);
static ngx_uint_t ngx_http_llm_sim_answer_times(ngx_http_llm_sim_ctx_t *ctx);

static u_char *ngx_http_llm_sim_answer_embeddings_open(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_answer_vector_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_vector(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static ngx_int_t ngx_http_llm_sim_answer_number(ngx_http_llm_sim_ctx_t *ctx,
    ngx_uint_t i);
static u_char *ngx_http_llm_sim_answer_base64(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_vector_close(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_answer_embeddings_close(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_answer_moderation_open(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_answer_moderation(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_moderation_close(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_answer_images_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_image(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_images_close(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_answer_models(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_model(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_answer_failure(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_embeddings[] = {
    { ngx_http_llm_sim_answer_embeddings_open, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_answer_vector_open, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_answer_vector, NGX_HTTP_LLM_SIM_VECTOR, 0, 0 },
    { ngx_http_llm_sim_answer_vector_close, NGX_HTTP_LLM_SIM_ONCE, 2, 0 },
    { ngx_http_llm_sim_answer_embeddings_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_moderations[] = {
    { ngx_http_llm_sim_answer_moderation_open, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_answer_moderation, NGX_HTTP_LLM_SIM_ITEMS, 0, 0 },
    { ngx_http_llm_sim_answer_moderation_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_images[] = {
    { ngx_http_llm_sim_answer_images_open, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_answer_image, NGX_HTTP_LLM_SIM_ITEMS, 0, 0 },
    { ngx_http_llm_sim_answer_images_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_models[] = {
    { ngx_http_llm_sim_answer_models, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_one_model[] = {
    { ngx_http_llm_sim_answer_model, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_failure[] = {
    { ngx_http_llm_sim_answer_failure, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


/* "/chat/completions" has to be seen before "/completions" */

static const ngx_http_llm_sim_op_t  ngx_http_llm_sim_ops[] = {

    { ngx_string("/chat/completions"), NGX_HTTP_POST,
      ngx_http_llm_sim_text_choices, ngx_http_llm_sim_text_chat_stream,
      NGX_HTTP_LLM_SIM_CHAT, 0, 1 },

    { ngx_string("/completions"), NGX_HTTP_POST,
      ngx_http_llm_sim_text_choices, ngx_http_llm_sim_text_legacy_stream,
      NGX_HTTP_LLM_SIM_LEGACY, 0, 1 },

    { ngx_string("/responses"), NGX_HTTP_POST,
      ngx_http_llm_sim_text_responses, ngx_http_llm_sim_text_responses_stream,
      NGX_HTTP_LLM_SIM_RESPONSES, 0, 1 },

    { ngx_string("/embeddings"), NGX_HTTP_POST,
      ngx_http_llm_sim_embeddings, NULL, NGX_HTTP_LLM_SIM_OTHER, 1, 1 },

    { ngx_string("/moderations"), NGX_HTTP_POST,
      ngx_http_llm_sim_moderations, NULL, NGX_HTTP_LLM_SIM_OTHER, 1, 0 },

    { ngx_string("/images/generations"), NGX_HTTP_POST,
      ngx_http_llm_sim_images, NULL, NGX_HTTP_LLM_SIM_OTHER, 0, 0 },

    { ngx_string("/models"), NGX_HTTP_GET,
      ngx_http_llm_sim_models, NULL, NGX_HTTP_LLM_SIM_OTHER, 0, 0 },

    { ngx_null_string, 0, NULL, NULL, NGX_HTTP_LLM_SIM_OTHER, 0, 0 }
};


static const ngx_http_llm_sim_op_t  ngx_http_llm_sim_model_op = {
    ngx_string("/models/"), NGX_HTTP_GET,
    ngx_http_llm_sim_one_model, NULL, NGX_HTTP_LLM_SIM_OTHER, 0, 1
};


static const ngx_http_llm_sim_failure_t  ngx_http_llm_sim_failures[] = {
    { 401, "invalid_request_error", "\"invalid_api_key\"",
      "Incorrect API key provided." },
    { 403, "invalid_request_error", "\"unsupported_country_region_territory\"",
      "Country, region, or territory not supported." },
    { 404, "invalid_request_error", "\"model_not_found\"",
      "The model does not exist or you do not have access to it." },
    { 429, "requests", "\"rate_limit_exceeded\"",
      "Rate limit reached for requests." },
    { 503, "service_unavailable_error", "\"server_is_overloaded\"",
      "The server is currently overloaded." },
    { 0, "invalid_request_error", "null",
      "The simulator was asked to fail." }
};


const ngx_http_llm_sim_op_t *
ngx_http_llm_sim_answer_find(ngx_str_t *uri, ngx_str_t *model)
{
    u_char                       *p, *last;
    const ngx_http_llm_sim_op_t  *op;

    last = uri->data + uri->len;

    for (op = ngx_http_llm_sim_ops; op->suffix.len; op++) {

        if (uri->len >= op->suffix.len
            && ngx_memcmp(last - op->suffix.len, op->suffix.data,
                          op->suffix.len)
               == 0)
        {
            return op;
        }
    }

    /* a model's name may have slashes */

    op = &ngx_http_llm_sim_model_op;

    p = ngx_strlcasestrn(uri->data, last, op->suffix.data, op->suffix.len - 1);

    if (p == NULL || p + op->suffix.len == last) {
        return NULL;
    }

    model->data = p + op->suffix.len;
    model->len = last - model->data;

    for ( /* void */ ; p < last; p++) {
        if (*p <= 0x20 || *p > 0x7e || *p == '"' || *p == '\\') {
            return NULL;
        }
    }

    return op;
}


ngx_int_t
ngx_http_llm_sim_answer_prepare(ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->prompt = ngx_max(ctx->facts.bytes / 4, 1);

    ctx->model = ctx->facts.model;

    if (ctx->model.len == 0) {
        ngx_str_set(&ctx->model, "simulator");
    }

    rc = ctx->steps ? NGX_DECLINED : ngx_http_llm_sim_answer_fail(ctx);

    if (rc == NGX_OK) {
        rc = ngx_http_llm_sim_answer_check(ctx);
    }

    if (rc == NGX_OK && ctx->settings.fake.len) {
        rc = NGX_DECLINED;

        if (ngx_http_llm_sim_fake_find(ctx) != NGX_OK) {
            ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_BAD_REQUEST,
                                          "The simulator has no such fake.",
                                          "null", "null");
        }
    }

    if (rc == NGX_OK) {
        ctx->stream = (ctx->facts.stream && ctx->op->stream != NULL);
        ctx->steps = ctx->stream ? ctx->op->stream : ctx->op->json;
        ctx->tokens = ctx->settings.tokens;

        if (ctx->facts.max_tokens != NGX_CONF_UNSET
            && ctx->tokens > (ngx_uint_t) ctx->facts.max_tokens)
        {
            ctx->tokens = ctx->facts.max_tokens;
            ctx->cut = 1;
        }

        if (ctx->stream) {
            rc = ngx_http_llm_sim_text_prepare(ctx);
        }
    }

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    ctx->step = ctx->steps;
    ctx->piece = NGX_HTTP_LLM_SIM_PIECE + ctx->model.len
                 + ngx_max(ctx->settings.size, NGX_HTTP_LLM_SIM_WORD)
                 + (ctx->error.message ? ngx_strlen(ctx->error.message) : 0);

    return NGX_OK;
}


/* the error that was asked for; NGX_DECLINED: it is the answer */

static ngx_int_t
ngx_http_llm_sim_answer_fail(ngx_http_llm_sim_ctx_t *ctx)
{
    char                               *message;
    ngx_str_t                          *text;
    ngx_uint_t                          status;
    const ngx_http_llm_sim_failure_t   *f;

    text = &ctx->settings.error;
    status = ctx->settings.status;

    if (status == 200 || (status == 0 && text->len == 0)) {
        return NGX_OK;
    }

    if (status == 0) {
        status = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (f = ngx_http_llm_sim_failures; f->status; f++) {
        if (f->status == status) {
            break;
        }
    }

    message = f->message;

    if (text->len) {
        message = ngx_http_llm_sim_answer_quote(ctx, text);

        if (message == NULL) {
            return NGX_ERROR;
        }
    }

    ngx_http_llm_sim_answer_error(ctx, status, message, "null", f->code);

    ctx->error.type = f->type;

    if (f->status == 0 && status >= 500) {
        ctx->error.type = "server_error";
    }

    return NGX_DECLINED;
}


/* NGX_DECLINED: the request is not good, the answer says so */

static ngx_int_t
ngx_http_llm_sim_answer_check(ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_http_llm_sim_facts_t     *facts;
    const ngx_http_llm_sim_op_t  *op;

    op = ctx->op;
    facts = &ctx->facts;

    if (op->method == NGX_HTTP_POST && !facts->complete) {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_BAD_REQUEST,
                             "We could not parse the JSON body of your "
                             "request.", "null", "null");
        return NGX_DECLINED;
    }

    if (facts->bad_model || (op->model && facts->model.len == 0)) {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_BAD_REQUEST,
                             "You must provide a model, of at most 256 bytes.",
                             "\"model\"", "null");
        return NGX_DECLINED;
    }

    if (facts->n < 1 || facts->n > NGX_HTTP_LLM_SIM_CHOICES) {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_BAD_REQUEST,
                             "The simulator makes 1 to 8 choices.",
                             "\"n\"", "null");
        return NGX_DECLINED;
    }

    /* 3072 is the length of the provider's longest vectors */

    if (facts->dimensions < 0 || facts->dimensions > 3072) {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_BAD_REQUEST,
                             "The simulator makes 1 to 3072 dimensions.",
                             "\"dimensions\"", "null");
        return NGX_DECLINED;
    }

    if (op->inputs
        && (facts->inputs < 1 || facts->inputs > NGX_HTTP_LLM_SIM_INPUTS))
    {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_BAD_REQUEST,
                             "You must provide 1 to 2048 inputs.",
                             "\"input\"", "null");
        return NGX_DECLINED;
    }

    ctx->items = op->inputs ? facts->inputs : (ngx_uint_t) facts->n;
    ctx->dimensions = facts->dimensions ? facts->dimensions : 8;

    return NGX_OK;
}


static char *
ngx_http_llm_sim_answer_quote(ngx_http_llm_sim_ctx_t *ctx, ngx_str_t *text)
{
    u_char  *p, *quoted;
    size_t   len;

    len = text->len + ngx_escape_json(NULL, text->data, text->len);

    quoted = ngx_pnalloc(ctx->request->pool, len + 1);
    if (quoted == NULL) {
        return NULL;
    }

    p = (u_char *) ngx_escape_json(quoted, text->data, text->len);
    *p = '\0';

    return (char *) quoted;
}


void
ngx_http_llm_sim_answer_error(ngx_http_llm_sim_ctx_t *ctx, ngx_uint_t status,
    char *message, char *param, char *code)
{
    ctx->steps = ngx_http_llm_sim_failure;
    ctx->settings.status = status;

    ctx->error.message = message;
    ctx->error.type = "invalid_request_error";
    ctx->error.param = param;
    ctx->error.code = code;
}


void
ngx_http_llm_sim_answer_rewind(ngx_http_llm_sim_ctx_t *ctx)
{
    ctx->step = ctx->steps;
    ctx->index = 0;
    ctx->item = 0;
    ctx->sequence = 0;
}


u_char *
ngx_http_llm_sim_answer_next(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    const ngx_http_llm_sim_step_t  *step;

    step = ctx->step;

    if (ctx->index < ngx_http_llm_sim_answer_times(ctx)) {
        p = step->write(ctx, p);
        ctx->index++;
    }

    if (ctx->index < ngx_http_llm_sim_answer_times(ctx)) {
        return p;
    }

    ctx->index = 0;

    if (step->back) {

        if (++ctx->item < ctx->items) {
            ctx->step -= step->back;
            return p;
        }

        ctx->item = 0;
    }

    ctx->step++;

    return p;
}


static ngx_uint_t
ngx_http_llm_sim_answer_times(ngx_http_llm_sim_ctx_t *ctx)
{
    switch (ctx->step->times) {

    case NGX_HTTP_LLM_SIM_ITEMS:
        return ctx->items;

    case NGX_HTTP_LLM_SIM_TOKENS:
        return ctx->tokens;

    case NGX_HTTP_LLM_SIM_DELTAS:
        return ctx->tokens * ctx->items;

    case NGX_HTTP_LLM_SIM_VECTOR:
        /* three numbers of four bytes are 16 characters of base64 */
        return ctx->facts.base64 ? (ctx->dimensions + 2) / 3
                                 : ctx->dimensions;

    default: /* NGX_HTTP_LLM_SIM_ONCE */
        return 1;
    }
}


static u_char *
ngx_http_llm_sim_answer_embeddings_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_http_llm_sim_put(p, "{\"object\":\"list\",\"data\":[");
}


static u_char *
ngx_http_llm_sim_answer_vector_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "%s{\"object\":\"embedding\",\"index\":%ui,"
                          "\"embedding\":%s",
                       ctx->item ? "," : "", ctx->item,
                       ctx->facts.base64 ? "\"" : "[");
}


static u_char *
ngx_http_llm_sim_answer_vector(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    ngx_int_t  n;

    if (ctx->facts.base64) {
        return ngx_http_llm_sim_answer_base64(ctx, p);
    }

    n = ngx_http_llm_sim_answer_number(ctx, ctx->index);

    return ngx_sprintf(p, "%s%s0.%06i", ctx->index ? "," : "",
                       n < 0 ? "-" : "", ngx_abs(n));
}


/* a millionth is 1; any input's vector is its own, and always the same */

static ngx_int_t
ngx_http_llm_sim_answer_number(ngx_http_llm_sim_ctx_t *ctx, ngx_uint_t i)
{
    uint32_t  hash;

    hash = (uint32_t) (ctx->item * 3072 + i + 1) * 2654435761u;

    return (ngx_int_t) ((hash >> 8) % 1999999) - 999999;
}


static u_char *
ngx_http_llm_sim_answer_base64(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    float       value;
    u_char      bytes[12];
    uint32_t    bits;
    ngx_str_t   src, dst;
    ngx_uint_t  i;

    src.data = bytes;
    src.len = 0;

    for (i = ctx->index * 3; i < ctx->dimensions && src.len < 12; i++) {
        value = (float) (ngx_http_llm_sim_answer_number(ctx, i) / 1000000.0);

        ngx_memcpy(&bits, &value, 4);

        bytes[src.len++] = (u_char) bits;
        bytes[src.len++] = (u_char) (bits >> 8);
        bytes[src.len++] = (u_char) (bits >> 16);
        bytes[src.len++] = (u_char) (bits >> 24);
    }

    dst.data = p;

    ngx_encode_base64(&dst, &src);

    return p + dst.len;
}


static u_char *
ngx_http_llm_sim_answer_vector_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    *p++ = ctx->facts.base64 ? '"' : ']';
    *p++ = '}';

    return p;
}


static u_char *
ngx_http_llm_sim_answer_embeddings_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p)
{
    return ngx_sprintf(p, "],\"model\":\"%V\",\"usage\":{"
                          "\"prompt_tokens\":%ui,\"total_tokens\":%ui}}\n",
                       &ctx->model, ctx->prompt, ctx->prompt);
}


static u_char *
ngx_http_llm_sim_answer_moderation_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "{\"id\":\"modr-%*s\",\"model\":\"%V\","
                          "\"results\":[",
                       sizeof(ctx->id), ctx->id, &ctx->model);
}


static u_char *
ngx_http_llm_sim_answer_moderation(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    char        **name;
    static char  *names[] = {
        "harassment", "harassment/threatening", "hate", "hate/threatening",
        "illicit", "illicit/violent", "self-harm", "self-harm/instructions",
        "self-harm/intent", "sexual", "sexual/minors", "violence",
        "violence/graphic", NULL
    };

    p = ngx_sprintf(p, "%s{\"flagged\":false,\"categories\":{",
                    ctx->index ? "," : "");

    for (name = names; *name; name++) {
        p = ngx_sprintf(p, "%s\"%s\":false", name > names ? "," : "", *name);
    }

    p = ngx_http_llm_sim_put(p, "},\"category_scores\":{");

    for (name = names; *name; name++) {
        p = ngx_sprintf(p, "%s\"%s\":0.0001", name > names ? "," : "", *name);
    }

    p = ngx_http_llm_sim_put(p, "},\"category_applied_input_types\":{");

    for (name = names; *name; name++) {
        p = ngx_sprintf(p, "%s\"%s\":[\"text\"]", name > names ? "," : "",
                        *name);
    }

    return ngx_http_llm_sim_put(p, "}}");
}


static u_char *
ngx_http_llm_sim_answer_moderation_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p)
{
    return ngx_http_llm_sim_put(p, "]}\n");
}


static u_char *
ngx_http_llm_sim_answer_images_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "{\"created\":%T,\"data\":[", ctx->created);
}


static u_char *
ngx_http_llm_sim_answer_image(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    /* a PNG of one transparent pixel */

    return ngx_sprintf(p, "%s{\"b64_json\":\"iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"
                          "CAYAAAAfFcSJAAAAC0lEQVR4nGNgAAIAAAUAAXpeqz8AAAAA"
                          "SUVORK5CYII=\"}",
                       ctx->index ? "," : "");
}


static u_char *
ngx_http_llm_sim_answer_images_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "],\"background\":\"transparent\","
                          "\"output_format\":\"png\",\"quality\":\"low\","
                          "\"size\":\"1024x1024\",\"usage\":{"
                          "\"input_tokens\":%ui,\"input_tokens_details\":{"
                          "\"text_tokens\":%ui,\"image_tokens\":0},"
                          "\"output_tokens\":%ui,\"total_tokens\":%ui}}\n",
                       ctx->prompt, ctx->prompt, ctx->items,
                       ctx->prompt + ctx->items);
}


static u_char *
ngx_http_llm_sim_answer_models(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    char        **name;
    static char  *names[] = {
        "simulator", "sim:tokens=100,pace=20ms", "sim:status=429", NULL
    };

    p = ngx_http_llm_sim_put(p, "{\"object\":\"list\",\"data\":[");

    for (name = names; *name; name++) {
        p = ngx_sprintf(p, "%s{\"id\":\"%s\",\"object\":\"model\","
                           "\"created\":%T,\"owned_by\":\"simulator\"}",
                        name > names ? "," : "", *name, ctx->created);
    }

    return ngx_http_llm_sim_put(p, "]}\n");
}


static u_char *
ngx_http_llm_sim_answer_model(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "{\"id\":\"%V\",\"object\":\"model\","
                          "\"created\":%T,\"owned_by\":\"simulator\"}\n",
                       &ctx->model, ctx->created);
}


static u_char *
ngx_http_llm_sim_answer_failure(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "{\"error\":{\"message\":\"%s\",\"type\":\"%s\","
                          "\"param\":%s,\"code\":%s}}\n",
                       ctx->error.message, ctx->error.type, ctx->error.param,
                       ctx->error.code);
}
