/*
 * The usage of a request and its cost: the usage of the provider, or an
 * estimate from the bytes of prompt and output.
 */


#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_http_llm_quota.h>


/* the most that is believed of a usage, tokens */
#define NGX_HTTP_LLM_COST_BYTES      4        /* for each byte of text */
#define NGX_HTTP_LLM_COST_SLACK      4096
#define NGX_HTTP_LLM_COST_RUNNING    16       /* that a usage may be late */
#define NGX_HTTP_LLM_COST_REASONING  131072   /* is not in the answer's text */
#define NGX_HTTP_LLM_COST_CONTEXT    2000000  /* content by reference, tools,
                                                 earlier responses */


static const ngx_llm_price_t *ngx_http_llm_cost_rate(
    ngx_http_llm_charge_t *charge);
static ngx_uint_t ngx_http_llm_cost_reported(ngx_http_llm_charge_t *charge);
static const ngx_llm_usage_t *ngx_http_llm_cost_estimate(
    ngx_http_llm_charge_t *charge);
static void ngx_http_llm_cost_running(ngx_http_llm_charge_t *charge,
    ngx_llm_usage_t *usage);
static int64_t ngx_http_llm_cost_declared(ngx_llm_facts_t *facts);
static int64_t ngx_http_llm_cost_bounded(int64_t cost);
static int64_t ngx_http_llm_cost_uncounted(ngx_http_llm_charge_t *charge);
static ngx_uint_t ngx_http_llm_cost_bad(ngx_http_llm_charge_t *charge);
static int64_t ngx_http_llm_cost_answered(ngx_http_llm_charge_t *charge);
static ngx_uint_t ngx_http_llm_cost_status(ngx_http_llm_charge_t *charge);
static ngx_uint_t ngx_http_llm_cost_sent(ngx_http_llm_charge_t *charge);
static int64_t ngx_http_llm_cost_guess(ngx_http_llm_charge_t *charge,
    int64_t tokens);


ngx_http_llm_usage_e
ngx_http_llm_cost_usage(ngx_http_llm_charge_t *charge)
{
    if (charge->cache.replayed) {
        return NGX_HTTP_LLM_USAGE_CACHE;
    }

    if (!charge->answered) {
        return NGX_HTTP_LLM_USAGE_NONE;
    }

    if (charge->answer == NULL || charge->unread
        || (charge->answer->malformed && !charge->answer->shown))
    {
        return NGX_HTTP_LLM_USAGE_UNKNOWN;
    }

    if (charge->bad_answer) {
        return NGX_HTTP_LLM_USAGE_NONE;
    }

    if (charge->answer->usage_seen) {
        return NGX_HTTP_LLM_USAGE_PROVIDER;
    }

    return NGX_HTTP_LLM_USAGE_ESTIMATED;
}


int64_t
ngx_http_llm_cost(ngx_http_llm_charge_t *charge)
{
    const ngx_llm_usage_t  *usage;

    if (charge->cache.replayed) {
        return 0;
    }

    switch (ngx_http_llm_cost_usage(charge)) {

    case NGX_HTTP_LLM_USAGE_PROVIDER:
    case NGX_HTTP_LLM_USAGE_ESTIMATED:
        usage = ngx_http_llm_cost_tokens_of(charge);

        return usage ? ngx_http_llm_cost_price(charge, usage)
                     : NGX_LLM_PRICE_UNKNOWN;

    default:
        return NGX_LLM_PRICE_UNKNOWN;
    }
}


const ngx_llm_usage_t *
ngx_http_llm_cost_tokens_of(ngx_http_llm_charge_t *charge)
{
    if (charge->cache.replayed) {
        return &charge->cache.entry->usage;
    }

    switch (ngx_http_llm_cost_usage(charge)) {

    case NGX_HTTP_LLM_USAGE_PROVIDER:
        return &charge->answer->usage;

    case NGX_HTTP_LLM_USAGE_ESTIMATED:
        return ngx_http_llm_cost_estimate(charge);

    default:
        return NULL;
    }
}


/*
 * Returns the estimated usage of a response without usage: the prompt by its
 * bytes, the output by the bytes of text that came.  Returns NULL if the output
 * is not text, so that its bytes tell nothing.
 */

static const ngx_llm_usage_t *
ngx_http_llm_cost_estimate(ngx_http_llm_charge_t *charge)
{
    size_t            len;
    ngx_uint_t        i;
    ngx_llm_usage_t  *usage;
    ngx_llm_facts_t  *facts;

    usage = &charge->estimate;
    facts = &charge->facts;

    if (!charge->parsed || charge->operation == NULL
        || (!charge->operation->generates
            && charge->operation->api != &ngx_llm_api_embeddings
            && charge->operation->api != &ngx_llm_api_moderations))
    {
        return NULL;
    }

    memset(usage, 0xff, sizeof(ngx_llm_usage_t));

    usage->prompt = charge->quota.prompt;

    if (usage->prompt == 0) {
        len = facts->outside;

        for (i = 0; i < NGX_LLM_CLASS_N; i++) {
            len += (size_t) facts->counts[i];
        }

        usage->prompt = ngx_llm_estimate_prompt(NULL, NULL, facts, len);
    }

    usage->completion = 0;

    if (charge->operation->generates) {
        usage->completion = ngx_llm_estimate_seen(
                              ngx_llm_answer_text_bytes(charge->answer),
                              charge->stream ? charge->answer->spoken : 0);
    }

    usage->total = usage->prompt + usage->completion;

    return usage;
}


int64_t
ngx_http_llm_cost_price(ngx_http_llm_charge_t *charge,
    const ngx_llm_usage_t *usage)
{
    int64_t                 cost;
    ngx_llm_usage_t         used;
    const ngx_llm_price_t  *price;

    if (usage->cost >= 0 && ngx_http_llm_cost_reported(charge)) {
        cost = usage->cost;

    } else {
        used = *usage;

        if (used.prompt < 0 && used.completion < 0 && used.total > 0) {

            /* a total only: the prompt by its estimate, the rest is output */

            used.prompt = ngx_min(used.total, charge->quota.prompt);
            used.completion = used.total - used.prompt;
        }

        if (charge->answer && charge->answer->tier) {
            used.tier = charge->answer->tier - 1;
        }

        if (used.images < 0
            && ngx_http_llm_cost_kind(charge->operation)
               == NGX_LLM_PRICE_FOR_IMAGES)
        {
            used.images = ngx_max(charge->facts.n, 1);
        }

        price = ngx_http_llm_cost_rate(charge);

        cost = price ? ngx_llm_price_cost(price, &used)
                     : NGX_LLM_PRICE_UNKNOWN;
    }

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, charge->request->connection->log, 0,
                   "llm cost: model \"%V\" prompt:%L completion:%L cached:%L "
                   "nano-USD:%L", &charge->requested, usage->prompt,
                   usage->completion, usage->cached, cost);

    return cost;
}


/* Returns 1 if the target's cost is what its provider reports. */

static ngx_uint_t
ngx_http_llm_cost_reported(ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_ctx_t      *ctx;
    ngx_http_llm_attempt_t  *attempt;

    ctx = charge->ctx;

    if (charge->attempts.nelts == 0 || ctx->meter.active) {
        return 0;
    }

    attempt = charge->attempts.elts;

    return attempt[charge->attempts.nelts - 1].target->reported;
}


ngx_llm_price_for_e
ngx_http_llm_cost_kind(const ngx_http_llm_operation_t *operation)
{
    if (operation == NULL) {
        return NGX_LLM_PRICE_FOR_ANY;
    }

    if (operation->api == &ngx_llm_api_images) {
        return NGX_LLM_PRICE_FOR_IMAGES;
    }

    if (operation->api == &ngx_llm_api_speech) {
        return NGX_LLM_PRICE_FOR_SPEECH;
    }

    if (operation->api == &ngx_llm_api_transcriptions
        || operation->api == &ngx_llm_api_translations)
    {
        return NGX_LLM_PRICE_FOR_TRANSCRIPT;
    }

    return operation->generates ? NGX_LLM_PRICE_FOR_TEXT
                                : NGX_LLM_PRICE_FOR_VECTORS;
}


/*
 * Returns the price of the target of the last attempt, which has answered.  A
 * response of proxy_pass is priced by the model that the client requested.
 */

static const ngx_llm_price_t *
ngx_http_llm_cost_rate(ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_ctx_t        *ctx;
    ngx_http_llm_attempt_t    *attempt;
    ngx_http_llm_main_conf_t  *lmcf;

    static const ngx_str_t  none = ngx_null_string;

    lmcf = ngx_http_get_module_main_conf(charge->request, ngx_http_llm_module);
    ctx = charge->ctx;

    if (charge->attempts.nelts == 0 || ctx->meter.active) {
        return ngx_llm_prices_of(lmcf->prices, NULL, &none, &none,
                                 &charge->requested);
    }

    attempt = charge->attempts.elts;
    attempt += charge->attempts.nelts - 1;

    return ngx_llm_prices_of(lmcf->prices, attempt->target->price,
                             &attempt->provider->price_prefix,
                             &attempt->model, &charge->requested);
}


void
ngx_http_llm_cost_settle(ngx_http_llm_charge_t *charge, int64_t cost)
{
    int64_t  tokens;

    switch (ngx_http_llm_cost_usage(charge)) {

    case NGX_HTTP_LLM_USAGE_PROVIDER:
        tokens = ngx_http_llm_cost_total(&charge->answer->usage);
        break;

    case NGX_HTTP_LLM_USAGE_CACHE:
        tokens = 0;
        break;

    default:
        tokens = ngx_http_llm_cost_uncounted(charge);
        cost = ngx_http_llm_cost_guess(charge, tokens);
    }

    ngx_http_llm_quota_settle(charge, ngx_min(tokens, NGX_LLM_BUCKET_MAX),
                              ngx_http_llm_cost_bounded(cost));
}


void
ngx_http_llm_cost_progress(ngx_http_llm_charge_t *charge)
{
    int64_t  tokens;

    if (charge->quota.reserve.hold == NULL
        || ngx_http_llm_cost_usage(charge) != NGX_HTTP_LLM_USAGE_PROVIDER)
    {
        return;
    }

    tokens = ngx_http_llm_cost_total(&charge->answer->usage);

    ngx_http_llm_quota_progress(charge, ngx_min(tokens, NGX_LLM_BUCKET_MAX),
                    ngx_http_llm_cost_bounded(
                                          ngx_http_llm_cost(charge)));
}


/* a provider may say anything, and a price may be unknown */

static int64_t
ngx_http_llm_cost_bounded(int64_t cost)
{
    if (cost == NGX_LLM_PRICE_UNKNOWN) {
        return NGX_LLM_QUOTA_AS_RESERVED;
    }

    return ngx_min(cost, NGX_LLM_BUCKET_MAX);
}


int64_t
ngx_http_llm_cost_total(const ngx_llm_usage_t *usage)
{
    if (usage->total >= 0) {
        return usage->total;
    }

    return ngx_max(usage->prompt, 0) + ngx_max(usage->completion, 0);
}


/*
 * Limits a usage that the request and its answer cannot have: one wrong number
 * of a provider must not use up a budget.  Called before the usage is charged.
 */

void
ngx_http_llm_cost_bound(ngx_http_llm_charge_t *charge)
{
    int64_t           prompt, completion;
    ngx_uint_t        i;
    ngx_llm_usage_t  *usage;

    if (charge->bound
        || ngx_http_llm_cost_usage(charge) != NGX_HTTP_LLM_USAGE_PROVIDER
        || !charge->parsed || charge->operation == NULL
        || !charge->operation->generates)
    {
        return;
    }

    charge->bound = 1;
    usage = &charge->answer->usage;

    if (usage->prompt < 0 && usage->completion >= 0) {

        /* the provider's number is absent or not usable */

        usage->prompt = ngx_http_llm_cost_estimate(charge)->prompt;
        usage->total = ngx_max(usage->total,
                               usage->prompt + usage->completion);

    } else if (usage->completion < 0 && usage->total == usage->prompt) {
        usage->completion = ngx_http_llm_cost_estimate(charge)->completion;
        usage->total += usage->completion;
    }

    ngx_http_llm_cost_running(charge, usage);

    prompt = NGX_HTTP_LLM_COST_BYTES * (int64_t) charge->facts.outside
             + NGX_HTTP_LLM_COST_CONTEXT;

    for (i = 0; i < NGX_LLM_CLASS_N; i++) {
        prompt += NGX_HTTP_LLM_COST_BYTES * (int64_t) charge->facts.counts[i];
    }

    completion = NGX_HTTP_LLM_COST_BYTES
                 * (int64_t) ngx_llm_answer_text_bytes(charge->answer)
                 + ngx_http_llm_cost_declared(&charge->facts)
                 + NGX_HTTP_LLM_COST_SLACK
                 + ngx_min(ngx_max(usage->reasoning, 0),
                           NGX_HTTP_LLM_COST_REASONING);

    if (usage->prompt <= prompt && usage->completion <= completion
        && usage->total <= prompt + completion)
    {
        return;
    }

    ngx_log_error(NGX_LOG_WARN, charge->request->connection->log, 0,
                  "the usage of model \"%V\" is too large for its request, "
                  "prompt:%L completion:%L total:%L, it is charged as "
                  "prompt:%L completion:%L at most", &charge->requested,
                  usage->prompt, usage->completion, usage->total, prompt,
                  completion);

    usage->prompt = ngx_min(usage->prompt, prompt);
    usage->completion = ngx_min(usage->completion, completion);
    usage->cached = ngx_min(usage->cached, usage->prompt);
    usage->total = ngx_min(usage->total, prompt + completion);
}


/*
 * A stream that ends early may have the usage of its first events only, for
 * instance 1 token in message_start: text beyond that usage counts by its size.
 */

static void
ngx_http_llm_cost_running(ngx_http_llm_charge_t *charge, ngx_llm_usage_t *usage)
{
    int64_t  seen;

    if (!charge->stream || ngx_llm_answer_complete(charge->answer)) {
        return;
    }

    seen = ngx_http_llm_cost_estimate(charge)->completion;

    if (seen <= 2 * usage->completion + NGX_HTTP_LLM_COST_RUNNING) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, charge->request->connection->log, 0,
                   "llm cost: incomplete stream, %L tokens by its usage, "
                   "%L by its text", usage->completion, seen);

    usage->completion = seen;
    usage->total = ngx_max(usage->total, usage->prompt + seen);
}


static int64_t
ngx_http_llm_cost_declared(ngx_llm_facts_t *facts)
{
    int64_t  most;

    most = ngx_max(facts->max_tokens, facts->max_completion_tokens);
    most = ngx_max(most, facts->max_output_tokens);

    return ngx_max(most, 0) * ngx_max(facts->n, 1);
}


/* Returns the tokens to charge without the usage of a provider. */

static int64_t
ngx_http_llm_cost_uncounted(ngx_http_llm_charge_t *charge)
{
    ngx_uint_t  status;

    if (ngx_http_llm_cost_bad(charge)) {
        return 0;
    }

    if (charge->answered) {
        return ngx_http_llm_cost_answered(charge);
    }

    status = ngx_http_llm_cost_status(charge);

    if (status) {
        return status < 300 ? NGX_LLM_QUOTA_AS_RESERVED : 0;
    }

    if (!ngx_http_llm_cost_sent(charge)) {
        return 0;
    }

    /* a client that went from an answer in one piece: it is being made */

    if (charge->request->headers_out.status == NGX_HTTP_CLIENT_CLOSED_REQUEST
        && !charge->facts.stream)
    {
        return NGX_LLM_QUOTA_AS_RESERVED;
    }

    return charge->quota.prompt;
}


/* returns 1 if the last response was no answer: nothing is charged for it */

static ngx_uint_t
ngx_http_llm_cost_bad(ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_attempt_t  *attempt;

    if (charge->bad_answer) {
        return 1;
    }

    if (charge->answered || charge->attempts.nelts == 0) {
        return 0;
    }

    attempt = charge->attempts.elts;
    attempt += charge->attempts.nelts - 1;

    return attempt->failure == NGX_HTTP_LLM_NEXT_BAD_ANSWER;
}


/*
 * Returns the tokens of an answer without usage.  An answer that could not be
 * read, or is not text, is charged as reserved.
 */

static int64_t
ngx_http_llm_cost_answered(ngx_http_llm_charge_t *charge)
{
    const ngx_llm_usage_t  *usage;

    if (charge->answer == NULL || charge->unread) {
        return NGX_LLM_QUOTA_AS_RESERVED;
    }

    usage = ngx_http_llm_cost_estimate(charge);

    return usage ? usage->total : NGX_LLM_QUOTA_AS_RESERVED;
}


/* of an answer that no meter has read; 0: there was none */

static ngx_uint_t
ngx_http_llm_cost_status(ngx_http_llm_charge_t *charge)
{
    ngx_http_request_t         *r;
    ngx_http_llm_attempt_t     *attempt;
    ngx_http_upstream_state_t  *state;

    if (charge->attempts.nelts) {
        attempt = charge->attempts.elts;
        attempt += charge->attempts.nelts - 1;

        return attempt->outcome.len ? 0 : attempt->status;
    }

    r = charge->request;

    if (r->upstream_states == NULL || r->upstream_states->nelts == 0) {

        /* a file, or what the configuration says itself */

        return r->headers_out.status;
    }

    state = r->upstream_states->elts;
    state += r->upstream_states->nelts - 1;

    return state->header_time != (ngx_msec_t) -1 ? state->status : 0;
}


/* 1: a byte of the request has left for a provider */

static ngx_uint_t
ngx_http_llm_cost_sent(ngx_http_llm_charge_t *charge)
{
    ngx_uint_t                  i;
    ngx_array_t                *states;
    ngx_http_upstream_t        *u;
    ngx_http_upstream_state_t  *state;

    states = charge->request->upstream_states;

    if (states == NULL) {
        return 0;
    }

    state = states->elts;

    for (i = 0; i < states->nelts; i++) {
        if (state[i].bytes_sent > 0) {
            return 1;
        }
    }

    u = charge->request->upstream;

    return u && u->peer.connection && u->peer.connection->sent > 0;
}


/* of an estimate */

static int64_t
ngx_http_llm_cost_guess(ngx_http_llm_charge_t *charge, int64_t tokens)
{
    const ngx_llm_price_t  *price;

    if (tokens == NGX_LLM_QUOTA_AS_RESERVED || tokens == 0) {
        return tokens;
    }

    price = ngx_http_llm_cost_rate(charge);

    if (price == NULL) {
        return NGX_LLM_QUOTA_AS_RESERVED;
    }

    return ngx_llm_price_estimate(price, charge->quota.prompt,
                                  tokens - charge->quota.prompt, NULL);
}


/* for the next estimate */

void
ngx_http_llm_cost_learn(ngx_http_llm_charge_t *charge)
{
    ngx_llm_usage_t  *usage;

    if (ngx_http_llm_cost_usage(charge) != NGX_HTTP_LLM_USAGE_PROVIDER) {
        return;
    }

    usage = &charge->answer->usage;

    if (charge->quota.ratios) {
        ngx_llm_estimate_learn_prompt(charge->quota.ratios, &charge->facts,
                                      usage->prompt);
        ngx_llm_estimate_learn_prompt(charge->quota.others, &charge->facts,
                                      usage->prompt);
    }

    if (charge->quota.outputs) {
        ngx_llm_estimate_learn_output(charge->quota.outputs, charge->facts.n,
                                      usage->completion);
    }
}
