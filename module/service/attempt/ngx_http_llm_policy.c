/*
 * How one of several targets is chosen: the balance directive, a const struct
 * each.  Whether a target may be asked at all is not decided here.
 */


#include <ngx_http_llm.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_http_llm_value.h>
#include <ngx_http_llm_draw.h>


/* tokens of output a request asks for that does not say how many */
#define NGX_HTTP_LLM_POLICY_OUTPUT  256

/* points of the heaviest target in a hash */
#define NGX_HTTP_LLM_POLICY_POINTS  256


static ngx_uint_t ngx_http_llm_policy_round_robin(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);
static ngx_uint_t ngx_http_llm_policy_latency(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);
static ngx_uint_t ngx_http_llm_policy_nth(uint64_t set, ngx_uint_t n);
static ngx_uint_t ngx_http_llm_policy_faster(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *one, ngx_http_llm_target_t *two);
static ngx_uint_t ngx_http_llm_policy_cost(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);
static uint64_t ngx_http_llm_policy_price(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_target_t *target,
    uint64_t prompt, uint64_t output);
static ngx_uint_t ngx_http_llm_policy_least_busy(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);
static ngx_uint_t ngx_http_llm_policy_hash(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);
static ngx_uint_t ngx_http_llm_policy_by_state(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);
static ngx_uint_t ngx_http_llm_policy_highest(ngx_http_llm_model_t *model,
    uint64_t set, u_char *data, size_t len);
static ngx_uint_t ngx_http_llm_policy_heaviest(ngx_http_llm_model_t *model);
static uint64_t ngx_http_llm_policy_hash_affinity(ngx_http_request_t *r,
    ngx_http_llm_model_t *model);
static uint64_t ngx_http_llm_policy_state_affinity(ngx_http_request_t *r,
    ngx_http_llm_model_t *model);
static uint64_t ngx_http_llm_policy_digest(u_char *data, size_t len);


const ngx_http_llm_policy_t  ngx_http_llm_policies[] = {
    { ngx_string("round_robin"), 0, ngx_http_llm_policy_round_robin, NULL },
    { ngx_string("latency"), 0, ngx_http_llm_policy_latency, NULL },
    { ngx_string("cost"), 0, ngx_http_llm_policy_cost, NULL },
    { ngx_string("least_busy"), 0, ngx_http_llm_policy_least_busy, NULL },
    { ngx_string("hash"), 1, ngx_http_llm_policy_hash,
      ngx_http_llm_policy_hash_affinity },
    { ngx_null_string, 0, NULL, NULL }
};


/* of a request that goes on with what a provider has kept of it */

const ngx_http_llm_policy_t  ngx_http_llm_policy_state = {
    ngx_null_string, 0, ngx_http_llm_policy_by_state,
    ngx_http_llm_policy_state_affinity
};


/* smooth, as nginx's: what a target has not got adds up until it is the most */

static ngx_uint_t
ngx_http_llm_policy_round_robin(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set)
{
    ngx_int_t               total;
    ngx_uint_t              i, best;
    ngx_http_llm_target_t  *target;

    target = model->targets.elts;
    total = 0;
    best = NGX_HTTP_LLM_TARGETS;

    for ( /* void */ ; set; set &= set - 1) {
        i = __builtin_ctzll(set);

        target[i].current += target[i].weight;
        total += target[i].weight;

        if (best == NGX_HTTP_LLM_TARGETS
            || target[i].current > target[best].current)
        {
            best = i;
        }
    }

    target[best].current -= total;

    return best;
}


/* the faster one of two at random */

static ngx_uint_t
ngx_http_llm_policy_latency(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set)
{
    ngx_uint_t              one, two, n;
    ngx_http_llm_ctx_t     *ctx;
    ngx_http_llm_target_t  *target;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    n = __builtin_popcountll(set);

    if (n == 1) {
        return __builtin_ctzll(set);
    }

    one = ngx_random() % n;
    two = ngx_random() % (n - 1);
    two += (two >= one);

    one = ngx_http_llm_policy_nth(set, one);
    two = ngx_http_llm_policy_nth(set, two);

    target = model->targets.elts;

    return ngx_http_llm_policy_faster(ctx, &target[one], &target[two])
           ? one : two;
}


static ngx_uint_t
ngx_http_llm_policy_nth(uint64_t set, ngx_uint_t n)
{
    while (n--) {
        set &= set - 1;
    }

    return __builtin_ctzll(set);
}


/*
 * By the time it takes and what is waiting there already.  An average fades,
 * so that one that was slow is tried again; but by one request at a time:
 * while that is under way the average counts as it was measured.
 */

static ngx_uint_t
ngx_http_llm_policy_faster(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *one, ngx_http_llm_target_t *two)
{
    uint64_t                   first, second, busy, other;
    ngx_msec_t                 now;
    ngx_llm_health_average_e   average;

    now = ngx_current_msec;
    average = ctx->charge->facts.stream ? NGX_LLM_HEALTH_TTFT
                                        : NGX_LLM_HEALTH_PACE;

    busy = ngx_llm_health_record_inflight(one->health);
    other = ngx_llm_health_record_inflight(two->health);

    first = busy ? ngx_llm_health_record_measured(one->health, average)
                 : ngx_llm_health_record_average(one->health, average, now);
    second = other ? ngx_llm_health_record_measured(two->health, average)
                   : ngx_llm_health_record_average(two->health, average, now);

    if (first == 0 && busy) {
        /* being measured for the first time */
        first = second;
    }

    if (second == 0 && other) {
        second = first;
    }

    first = ngx_max(first, 1) * (busy + 1);
    second = ngx_max(second, 1) * (other + 1);

    return first <= second;
}


/* the cheapest for a request like this one; unknown prices are the last */

static ngx_uint_t
ngx_http_llm_policy_cost(ngx_http_request_t *r, ngx_http_llm_model_t *model,
    uint64_t set)
{
    uint64_t                   prompt, output, price, least, rest, cheapest;
    ngx_uint_t                 i;
    ngx_llm_facts_t           *facts;
    ngx_http_llm_ctx_t        *ctx;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_main_conf_t  *lmcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    facts = &ctx->charge->facts;
    target = model->targets.elts;

    /* about four bytes are a token */

    prompt = ctx->view.len / 4 + 1;

    output = ngx_max(facts->max_tokens, facts->max_completion_tokens);
    output = ngx_max((ngx_int_t) output, facts->max_output_tokens);

    if ((ngx_int_t) output < 0) {
        output = NGX_HTTP_LLM_POLICY_OUTPUT;
    }

    least = (uint64_t) -1;
    cheapest = 0;

    for (rest = set; rest; rest &= rest - 1) {
        i = __builtin_ctzll(rest);

        price = ngx_http_llm_policy_price(ctx, lmcf, &target[i], prompt,
                                          output);
        if (price < least) {
            least = price;
            cheapest = 0;
        }

        if (price == least) {
            cheapest |= (uint64_t) 1 << i;
        }
    }

    return ngx_http_llm_policy_round_robin(r, model, cheapest);
}


/* in nano-USD; not known is the most there is */

static uint64_t
ngx_http_llm_policy_price(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_target_t *target,
    uint64_t prompt, uint64_t output)
{
    const ngx_llm_price_t  *price;

    price = ngx_llm_prices_of(lmcf->prices, target->price,
                              &target->provider->price_prefix,
                              ngx_http_llm_model_for(ctx, target),
                              &ctx->charge->requested);
    if (price == NULL) {
        return (uint64_t) NGX_LLM_PRICE_UNKNOWN;
    }

    return ngx_llm_price_estimate(price, prompt, output, NULL);
}


/* the least in flight for its weight; in turns where several have that */

static ngx_uint_t
ngx_http_llm_policy_least_busy(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set)
{
    uint64_t                rest, least, busy, idle, weight;
    ngx_uint_t              i;
    ngx_http_llm_target_t  *target;

    target = model->targets.elts;
    least = 0;
    weight = 0;
    idle = 0;

    for (rest = set; rest; rest &= rest - 1) {
        i = __builtin_ctzll(rest);
        busy = ngx_llm_health_record_inflight(target[i].provider->health);

        if (weight == 0 || busy * weight < least * target[i].weight) {
            least = busy;
            weight = target[i].weight;
            idle = 0;
        }

        if (busy * weight == least * target[i].weight) {
            idle |= (uint64_t) 1 << i;
        }
    }

    return ngx_http_llm_policy_round_robin(r, model, idle);
}


static ngx_uint_t
ngx_http_llm_policy_hash(ngx_http_request_t *r, ngx_http_llm_model_t *model,
    uint64_t set)
{
    ngx_str_t  value;

    if (ngx_http_llm_value(r, model->value, &value) != NGX_OK
        || value.len == 0)
    {
        /* all who have no value shall not be at one place */

        return ngx_http_llm_policy_round_robin(r, model, set);
    }

    return ngx_http_llm_policy_highest(model, set, value.data, value.len);
}


static ngx_uint_t
ngx_http_llm_policy_by_state(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set)
{
    ngx_llm_facts_t     *facts;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    facts = &ctx->charge->facts;

    return ngx_http_llm_policy_highest(model, set,
                                       ctx->view.data + facts->state_pos,
                                       facts->state_size);
}


/*
 * Rendezvous hashing: each target draws as many numbers as it has weight, the
 * highest one wins.  When a target goes, only what was its own moves.
 */

static ngx_uint_t
ngx_http_llm_policy_highest(ngx_http_llm_model_t *model, uint64_t set,
    u_char *data, size_t len)
{
    uint64_t                hash, drawn, highest;
    ngx_uint_t              i, n, points, best, most;
    ngx_http_llm_target_t  *target;

    target = model->targets.elts;
    most = ngx_http_llm_policy_heaviest(model);

    hash = ngx_http_llm_policy_digest(data, len);

    highest = 0;
    best = __builtin_ctzll(set);

    for ( /* void */ ; set; set &= set - 1) {
        i = __builtin_ctzll(set);

        points = target[i].weight;

        if (most > NGX_HTTP_LLM_POLICY_POINTS) {
            points = points * NGX_HTTP_LLM_POLICY_POINTS / most;
            points = ngx_max(points, 1);
        }

        for (n = 0; n < points; n++) {
            drawn = ngx_http_llm_draw(hash, target[i].seed + n);

            if (drawn > highest) {
                highest = drawn;
                best = i;
            }
        }
    }

    return best;
}


static ngx_uint_t
ngx_http_llm_policy_heaviest(ngx_http_llm_model_t *model)
{
    ngx_uint_t              i;
    ngx_int_t               weight;
    ngx_http_llm_target_t  *target;

    target = model->targets.elts;
    weight = 0;

    for (i = 0; i < model->targets.nelts; i++) {
        weight = ngx_max(weight, target[i].weight);
    }

    return weight;
}


static uint64_t
ngx_http_llm_policy_hash_affinity(ngx_http_request_t *r,
    ngx_http_llm_model_t *model)
{
    ngx_str_t  value;

    if (ngx_http_llm_value(r, model->value, &value) != NGX_OK
        || value.len == 0)
    {
        return 0;
    }

    return ngx_http_llm_policy_digest(value.data, value.len);
}


static uint64_t
ngx_http_llm_policy_state_affinity(ngx_http_request_t *r,
    ngx_http_llm_model_t *model)
{
    ngx_llm_facts_t     *facts;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    facts = &ctx->charge->facts;

    return ngx_http_llm_policy_digest(ctx->view.data + facts->state_pos,
                                      facts->state_size);
}


static uint64_t
ngx_http_llm_policy_digest(u_char *data, size_t len)
{
    return (uint64_t) ngx_murmur_hash2(data, len) << 32
           | ngx_crc32_long(data, len);
}
