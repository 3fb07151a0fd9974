
/*
 * The operations which answer with text: chat, text completions ("legacy")
 * and responses, as JSON and as event streams.  Only lists of steps leave this
 * file; a step keeps nothing but what is in ctx, so any answer can be made
 * twice.
 */


#include "ngx_http_llm_sim.h"


#define NGX_HTTP_LLM_SIM_INTRO  16       /* tokens said first, and once */


static ngx_int_t ngx_http_llm_sim_text_completion(ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_sim_text_response(ngx_http_llm_sim_ctx_t *ctx);

static u_char *ngx_http_llm_sim_text_head(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_choice_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_choice_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_tail(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_role(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_delta(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_finish(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_usage_chunk(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_done(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);

static u_char *ngx_http_llm_sim_text_created(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_in_progress(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_item_added(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_part_added(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_response_delta(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_text_text_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_text_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_part_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_part_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_item_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_item_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_completed_open(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_text_completed_close(
    ngx_http_llm_sim_ctx_t *ctx, u_char *p);
static u_char *ngx_http_llm_sim_text_json_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_json_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);

static u_char *ngx_http_llm_sim_text_event(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p, char *type);
static u_char *ngx_http_llm_sim_text_object_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p, char *status);
static u_char *ngx_http_llm_sim_text_object_close(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p, ngx_uint_t usage);
static u_char *ngx_http_llm_sim_text_message_open(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static char *ngx_http_llm_sim_text_status(ngx_http_llm_sim_ctx_t *ctx);
static u_char *ngx_http_llm_sim_text_usage(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_token(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);
static u_char *ngx_http_llm_sim_text_word(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p, ngx_uint_t i);


const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_choices[] = {
    { ngx_http_llm_sim_text_head, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_choice_open, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_token, NGX_HTTP_LLM_SIM_TOKENS, 0, 0 },
    { ngx_http_llm_sim_text_choice_close, NGX_HTTP_LLM_SIM_ONCE, 2, 0 },
    { ngx_http_llm_sim_text_tail, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_chat_stream[] = {
    { ngx_http_llm_sim_text_role, NGX_HTTP_LLM_SIM_ITEMS, 0, 0 },
    { ngx_http_llm_sim_text_delta, NGX_HTTP_LLM_SIM_DELTAS, 0, 0 },
    { ngx_http_llm_sim_text_finish, NGX_HTTP_LLM_SIM_ITEMS, 0, 0 },
    { ngx_http_llm_sim_text_usage_chunk, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_done, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_legacy_stream[] = {
    { ngx_http_llm_sim_text_delta, NGX_HTTP_LLM_SIM_DELTAS, 0, 0 },
    { ngx_http_llm_sim_text_finish, NGX_HTTP_LLM_SIM_ITEMS, 0, 0 },
    { ngx_http_llm_sim_text_usage_chunk, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_done, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_responses[] = {
    { ngx_http_llm_sim_text_json_open, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_token, NGX_HTTP_LLM_SIM_TOKENS, 0, 0 },
    { ngx_http_llm_sim_text_json_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


const ngx_http_llm_sim_step_t  ngx_http_llm_sim_text_responses_stream[] = {
    { ngx_http_llm_sim_text_created, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_in_progress, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_item_added, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_part_added, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_response_delta, NGX_HTTP_LLM_SIM_TOKENS, 0, 0 },
    { ngx_http_llm_sim_text_text_open, NGX_HTTP_LLM_SIM_ONCE, 0, 1 },
    { ngx_http_llm_sim_text_token, NGX_HTTP_LLM_SIM_TOKENS, 0, 1 },
    { ngx_http_llm_sim_text_text_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_part_open, NGX_HTTP_LLM_SIM_ONCE, 0, 1 },
    { ngx_http_llm_sim_text_token, NGX_HTTP_LLM_SIM_TOKENS, 0, 1 },
    { ngx_http_llm_sim_text_part_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_item_open, NGX_HTTP_LLM_SIM_ONCE, 0, 1 },
    { ngx_http_llm_sim_text_token, NGX_HTTP_LLM_SIM_TOKENS, 0, 1 },
    { ngx_http_llm_sim_text_item_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { ngx_http_llm_sim_text_completed_open, NGX_HTTP_LLM_SIM_ONCE, 0, 1 },
    { ngx_http_llm_sim_text_token, NGX_HTTP_LLM_SIM_TOKENS, 0, 1 },
    { ngx_http_llm_sim_text_completed_close, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


/*
 * What is said, word by word and in one piece: INTRO tokens, then the rest
 * again and again.  No byte needs an escape in JSON.
 */

#define ngx_http_llm_sim_intro(W)                                             \
    W("This") W(" is") W(" the") W(" nginx") W(" LLM") W(" simulator")        \
    W(":") W(" no") W(" model") W(" was") W(" asked") W(",") W(" every")      \
    W(" word") W(" is canned") W(".")

#define ngx_http_llm_sim_rest(W)                                              \
    W(" Tokens") W(" pass") W(" like") W(" leaves") W(" on") W(" a")          \
    W(" slow") W(" river") W(";") W(" each") W(" one") W(" is")               \
    W(" counted") W(",") W(" none") W(" is") W(" remembered") W(",")          \
    W(" and") W(" the") W(" next") W(" arrives") W(".")                       \
    W(" Meanwhile") W(" the") W(" gateway") W(" in") W(" front") W(" of")     \
    W(" me") W(" meters") W(",") W(" caches") W(" and") W(" routes")          \
    W(" as") W(" if") W(" I") W(" were") W(" real") W(".")

#define ngx_http_llm_sim_entry(text)   ngx_string(text),
#define ngx_http_llm_sim_join(text)    text

static ngx_str_t  ngx_http_llm_sim_words[] = {
    ngx_http_llm_sim_intro(ngx_http_llm_sim_entry)
    ngx_http_llm_sim_rest(ngx_http_llm_sim_entry)
};


static u_char  ngx_http_llm_sim_speech[] =
    ngx_http_llm_sim_intro(ngx_http_llm_sim_join)
    ngx_http_llm_sim_rest(ngx_http_llm_sim_join);


ngx_int_t
ngx_http_llm_sim_text_prepare(ngx_http_llm_sim_ctx_t *ctx)
{
    if (ctx->op->api == NGX_HTTP_LLM_SIM_RESPONSES) {
        return ngx_http_llm_sim_text_response(ctx);
    }

    return ngx_http_llm_sim_text_completion(ctx);
}


static ngx_int_t
ngx_http_llm_sim_text_completion(ngx_http_llm_sim_ctx_t *ctx)
{
    u_char      *p;
    ngx_uint_t   chat;

    p = ngx_pnalloc(ctx->request->pool, 384 + ctx->model.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    chat = (ctx->op->api == NGX_HTTP_LLM_SIM_CHAT);

    ctx->head.data = p;

    p = ngx_sprintf(p, "data: {\"id\":\"%s%*s\",\"object\":\"%s\","
                       "\"created\":%T,\"model\":\"%V\","
                       "\"service_tier\":\"default\","
                       "\"system_fingerprint\":\"fp_sim\",\"choices\":[",
                    chat ? "chatcmpl-" : "cmpl-", sizeof(ctx->id), ctx->id,
                    chat ? "chat.completion.chunk" : "text_completion",
                    ctx->created, &ctx->model);

    ctx->head.len = p - ctx->head.data;

    ctx->tail.data = p;

    p = ngx_sprintf(p, "\"%s,\"logprobs\":null,\"finish_reason\":null}]%s}\n\n",
                    chat ? "}" : "",
                    ctx->facts.include_usage ? ",\"usage\":null" : "");

    ctx->tail.len = p - ctx->tail.data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_sim_text_response(ngx_http_llm_sim_ctx_t *ctx)
{
    u_char  *p;

    p = ngx_pnalloc(ctx->request->pool, 128);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->head.data = p;

    p = ngx_sprintf(p, ",\"item_id\":\"msg_%*s\",\"output_index\":0,"
                       "\"content_index\":0,",
                    sizeof(ctx->id), ctx->id);

    ctx->head.len = p - ctx->head.data;

    return NGX_OK;
}


/* chat and text completions, JSON */

static u_char *
ngx_http_llm_sim_text_head(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    ngx_uint_t  chat;

    chat = (ctx->op->api == NGX_HTTP_LLM_SIM_CHAT);

    return ngx_sprintf(p, "{\"id\":\"%s%*s\",\"object\":\"%s\","
                          "\"created\":%T,\"model\":\"%V\",\"choices\":[",
                       chat ? "chatcmpl-" : "cmpl-", sizeof(ctx->id), ctx->id,
                       chat ? "chat.completion" : "text_completion",
                       ctx->created, &ctx->model);
}


static u_char *
ngx_http_llm_sim_text_choice_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "%s{\"index\":%ui,%s",
                       ctx->item ? "," : "", ctx->item,
                       ctx->op->api == NGX_HTTP_LLM_SIM_CHAT
                       ? "\"message\":{\"role\":\"assistant\",\"content\":\""
                       : "\"text\":\"");
}


static u_char *
ngx_http_llm_sim_text_choice_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "\"%s,\"logprobs\":null,\"finish_reason\":\"%s\"}",
                       ctx->op->api == NGX_HTTP_LLM_SIM_CHAT
                       ? ",\"refusal\":null,\"annotations\":[]}" : "",
                       ctx->cut ? "length" : "stop");
}


static u_char *
ngx_http_llm_sim_text_tail(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_put(p, "],");
    p = ngx_http_llm_sim_text_usage(ctx, p);

    return ngx_http_llm_sim_put(p, ",\"service_tier\":\"default\","
                                   "\"system_fingerprint\":\"fp_sim\"}\n");
}


/* chat and text completions, streams */

static u_char *
ngx_http_llm_sim_text_role(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);

    p = ngx_sprintf(p, "{\"index\":%ui,\"delta\":{\"role\":\"assistant\","
                       "\"content\":\"\",\"refusal\":null",
                    ctx->index);

    /* without the quote that closes a content */

    return ngx_cpymem(p, ctx->tail.data + 1, ctx->tail.len - 1);
}


/* the one that is made a hundred thousand times: no printf */

static u_char *
ngx_http_llm_sim_text_delta(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    ngx_uint_t  token, choice;

    token = ctx->index / ctx->items;
    choice = ctx->index % ctx->items;

    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);

    p = ngx_http_llm_sim_put(p, "{\"index\":");
    *p++ = (u_char) ('0' + choice);

    if (ctx->op->api == NGX_HTTP_LLM_SIM_CHAT) {
        p = ngx_http_llm_sim_put(p, ",\"delta\":{\"content\":\"");

    } else {
        p = ngx_http_llm_sim_put(p, ",\"text\":\"");
    }

    p = ngx_http_llm_sim_text_word(ctx, p, token);

    return ngx_cpymem(p, ctx->tail.data, ctx->tail.len);
}


static u_char *
ngx_http_llm_sim_text_finish(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);

    return ngx_sprintf(p, "{\"index\":%ui,%s,\"logprobs\":null,"
                          "\"finish_reason\":\"%s\"}]%s}\n\n",
                       ctx->index,
                       ctx->op->api == NGX_HTTP_LLM_SIM_CHAT
                       ? "\"delta\":{}" : "\"text\":\"\"",
                       ctx->cut ? "length" : "stop",
                       ctx->facts.include_usage ? ",\"usage\":null" : "");
}


static u_char *
ngx_http_llm_sim_text_usage_chunk(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    if (!ctx->facts.include_usage) {
        return p;
    }

    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);
    p = ngx_http_llm_sim_put(p, "],");
    p = ngx_http_llm_sim_text_usage(ctx, p);

    return ngx_http_llm_sim_put(p, "}\n\n");
}


static u_char *
ngx_http_llm_sim_text_done(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_http_llm_sim_put(p, "data: [DONE]\n\n");
}


/* responses, streams */

static u_char *
ngx_http_llm_sim_text_created(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.created");
    p = ngx_http_llm_sim_put(p, ",\"response\":");
    p = ngx_http_llm_sim_text_object_open(ctx, p, "in_progress");
    p = ngx_http_llm_sim_text_object_close(ctx, p, 0);

    return ngx_http_llm_sim_put(p, "}\n\n");
}


static u_char *
ngx_http_llm_sim_text_in_progress(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.in_progress");
    p = ngx_http_llm_sim_put(p, ",\"response\":");
    p = ngx_http_llm_sim_text_object_open(ctx, p, "in_progress");
    p = ngx_http_llm_sim_text_object_close(ctx, p, 0);

    return ngx_http_llm_sim_put(p, "}\n\n");
}


static u_char *
ngx_http_llm_sim_text_item_added(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.output_item.added");

    return ngx_sprintf(p, ",\"output_index\":0,\"item\":{\"id\":\"msg_%*s\","
                          "\"type\":\"message\",\"status\":\"in_progress\","
                          "\"role\":\"assistant\",\"content\":[]}}\n\n",
                       sizeof(ctx->id), ctx->id);
}


static u_char *
ngx_http_llm_sim_text_part_added(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.content_part.added");
    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);

    return ngx_http_llm_sim_put(p, "\"part\":{\"type\":\"output_text\","
                                   "\"annotations\":[],\"logprobs\":[],"
                                   "\"text\":\"\"}}\n\n");
}


static u_char *
ngx_http_llm_sim_text_response_delta(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.output_text.delta");
    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);
    p = ngx_http_llm_sim_put(p, "\"delta\":\"");
    p = ngx_http_llm_sim_text_word(ctx, p, ctx->index);

    return ngx_http_llm_sim_put(p, "\",\"logprobs\":[]}\n\n");
}


static u_char *
ngx_http_llm_sim_text_text_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.output_text.done");
    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);

    return ngx_http_llm_sim_put(p, "\"text\":\"");
}


static u_char *
ngx_http_llm_sim_text_text_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_http_llm_sim_put(p, "\",\"logprobs\":[]}\n\n");
}


static u_char *
ngx_http_llm_sim_text_part_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.content_part.done");
    p = ngx_cpymem(p, ctx->head.data, ctx->head.len);

    return ngx_http_llm_sim_put(p, "\"part\":{\"type\":\"output_text\","
                                   "\"annotations\":[],\"logprobs\":[],"
                                   "\"text\":\"");
}


static u_char *
ngx_http_llm_sim_text_part_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_http_llm_sim_put(p, "\"}}\n\n");
}


static u_char *
ngx_http_llm_sim_text_item_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p, "response.output_item.done");
    p = ngx_http_llm_sim_put(p, ",\"output_index\":0,\"item\":");

    return ngx_http_llm_sim_text_message_open(ctx, p);
}


static u_char *
ngx_http_llm_sim_text_item_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_http_llm_sim_put(p, "\"}]}}\n\n");
}


static u_char *
ngx_http_llm_sim_text_completed_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_event(ctx, p,
                                    ctx->cut ? "response.incomplete"
                                             : "response.completed");

    p = ngx_http_llm_sim_put(p, ",\"response\":");
    p = ngx_http_llm_sim_text_object_open(ctx, p,
                                          ngx_http_llm_sim_text_status(ctx));

    return ngx_http_llm_sim_text_message_open(ctx, p);
}


static u_char *
ngx_http_llm_sim_text_completed_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_put(p, "\"}]}");
    p = ngx_http_llm_sim_text_object_close(ctx, p, 1);

    return ngx_http_llm_sim_put(p, "}\n\n");
}


/* responses, JSON */

static u_char *
ngx_http_llm_sim_text_json_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_text_object_open(ctx, p,
                                          ngx_http_llm_sim_text_status(ctx));

    return ngx_http_llm_sim_text_message_open(ctx, p);
}


static u_char *
ngx_http_llm_sim_text_json_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    p = ngx_http_llm_sim_put(p, "\"}]}");
    p = ngx_http_llm_sim_text_object_close(ctx, p, 1);

    return ngx_http_llm_sim_put(p, "\n");
}


static u_char *
ngx_http_llm_sim_text_event(ngx_http_llm_sim_ctx_t *ctx, u_char *p, char *type)
{
    return ngx_sprintf(p, "event: %s\ndata: {\"type\":\"%s\","
                          "\"sequence_number\":%ui",
                       type, type, ctx->sequence++);
}


/* a response object up to its output, and the rest */

static u_char *
ngx_http_llm_sim_text_object_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p,
    char *status)
{
    p = ngx_sprintf(p, "{\"id\":\"resp_%*s\",\"object\":\"response\","
                       "\"created_at\":%T,\"status\":\"%s\","
                       "\"background\":false,\"error\":null,",
                    sizeof(ctx->id), ctx->id, ctx->created, status);

    if (ngx_strcmp(status, "incomplete") == 0) {
        p = ngx_http_llm_sim_put(p, "\"incomplete_details\":{\"reason\":"
                                    "\"max_output_tokens\"},");

    } else {
        p = ngx_http_llm_sim_put(p, "\"incomplete_details\":null,");
    }

    p = ngx_http_llm_sim_put(p, "\"instructions\":null,"
                                "\"max_output_tokens\":");

    if (ctx->facts.max_tokens == NGX_CONF_UNSET) {
        p = ngx_http_llm_sim_put(p, "null");

    } else {
        p = ngx_sprintf(p, "%i", ctx->facts.max_tokens);
    }

    return ngx_sprintf(p, ",\"model\":\"%V\",\"output\":[", &ctx->model);
}


static u_char *
ngx_http_llm_sim_text_object_close(ngx_http_llm_sim_ctx_t *ctx, u_char *p,
    ngx_uint_t usage)
{
    p = ngx_http_llm_sim_put(p, "],\"parallel_tool_calls\":true,"
                                "\"previous_response_id\":null,"
                                "\"reasoning\":{\"effort\":null,"
                                "\"summary\":null},\"store\":true,"
                                "\"temperature\":1.0,"
                                "\"text\":{\"format\":{\"type\":\"text\"}},"
                                "\"tool_choice\":\"auto\",\"tools\":[],"
                                "\"top_p\":1.0,\"truncation\":\"disabled\","
                                "\"user\":null,\"metadata\":{},\"usage\":");

    if (!usage) {
        return ngx_http_llm_sim_put(p, "null}");
    }

    return ngx_sprintf(p, "{\"input_tokens\":%ui,"
                          "\"input_tokens_details\":{\"cached_tokens\":0},"
                          "\"output_tokens\":%ui,"
                          "\"output_tokens_details\":{\"reasoning_tokens\":0},"
                          "\"total_tokens\":%ui}}",
                       ctx->prompt, ctx->tokens, ctx->prompt + ctx->tokens);
}


/* the one output item, up to its text */

static u_char *
ngx_http_llm_sim_text_message_open(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_sprintf(p, "{\"id\":\"msg_%*s\",\"type\":\"message\","
                          "\"status\":\"%s\",\"role\":\"assistant\","
                          "\"content\":[{\"type\":\"output_text\","
                          "\"annotations\":[],\"logprobs\":[],\"text\":\"",
                       sizeof(ctx->id), ctx->id,
                       ngx_http_llm_sim_text_status(ctx));
}


static char *
ngx_http_llm_sim_text_status(ngx_http_llm_sim_ctx_t *ctx)
{
    return ctx->cut ? "incomplete" : "completed";
}


static u_char *
ngx_http_llm_sim_text_usage(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    ngx_uint_t  completion;

    completion = ctx->tokens * ctx->items;

    return ngx_sprintf(p, "\"usage\":{\"prompt_tokens\":%ui,"
                          "\"completion_tokens\":%ui,\"total_tokens\":%ui,"
                          "\"prompt_tokens_details\":{\"cached_tokens\":0,"
                          "\"audio_tokens\":0},"
                          "\"completion_tokens_details\":{"
                          "\"reasoning_tokens\":0,\"audio_tokens\":0,"
                          "\"accepted_prediction_tokens\":0,"
                          "\"rejected_prediction_tokens\":0}}",
                       ctx->prompt, completion, ctx->prompt + completion);
}


static u_char *
ngx_http_llm_sim_text_token(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_http_llm_sim_text_word(ctx, p, ctx->index);
}


/* the text of token i: a word, or "size" bytes of the same speech */

static u_char *
ngx_http_llm_sim_text_word(ngx_http_llm_sim_ctx_t *ctx, u_char *p,
    ngx_uint_t i)
{
    size_t      pos, rest, n, once, all;
    ngx_str_t  *word;

    once = NGX_HTTP_LLM_SIM_INTRO;
    all = sizeof(ngx_http_llm_sim_words) / sizeof(ngx_str_t);

    if (ctx->settings.size == 0) {

        if (i >= all) {
            i = once + (i - once) % (all - once);
        }

        word = &ngx_http_llm_sim_words[i];

        return ngx_cpymem(p, word->data, word->len);
    }

    once = sizeof(ngx_http_llm_sim_intro(ngx_http_llm_sim_join)) - 1;
    all = sizeof(ngx_http_llm_sim_speech) - 1;

    pos = i * ctx->settings.size;

    if (pos >= all) {
        pos = once + (pos - once) % (all - once);
    }

    for (rest = ctx->settings.size; rest; rest -= n) {
        n = ngx_min(rest, all - pos);
        p = ngx_cpymem(p, &ngx_http_llm_sim_speech[pos], n);
        pos += n;

        if (pos == all) {
            pos = once;
        }
    }

    return p;
}
