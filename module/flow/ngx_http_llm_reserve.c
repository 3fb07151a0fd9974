/*
 * The step of admission that reserves: estimates the tokens and the cost of the
 * request and reserves them in its quotas.  If Redis has to reply first, the
 * request is suspended and runs its phases again.
 */


#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_quota.h>


/* lifetime of a hold without a timeout, and its addition to a timeout, ms */
#define NGX_HTTP_LLM_RESERVE_LONGEST  900000
#define NGX_HTTP_LLM_RESERVE_GRACE    10000


static ngx_int_t ngx_http_llm_reserve_answer(ngx_http_llm_charge_t *charge,
    ngx_int_t rc);
static ngx_int_t ngx_http_llm_reserve_need(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_need_t *need);
static ngx_uint_t ngx_http_llm_reserve_media(ngx_http_llm_charge_t *charge,
    ngx_http_llm_need_t *need);
static ngx_int_t ngx_http_llm_reserve_price(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_need_t *need);
static const ngx_llm_price_t *ngx_http_llm_reserve_dearest(
    ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_need_t *need);
static ngx_msec_t ngx_http_llm_reserve_lifetime(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_reserve_id(ngx_http_request_t *r, ngx_str_t *id);


ngx_int_t
ngx_http_llm_reserve(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                 id;
    ngx_http_llm_need_t       need;
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    charge = ctx->charge;

    if (llcf->quota == NULL || !ngx_http_llm_is_client(r)) {
        return NGX_OK;
    }

    if (ctx->reserving) {
        return ngx_http_llm_reserve_answer(charge,
                                     ngx_http_llm_quota_decided(r, charge));
    }

    if (charge->quota.reserve.hold
        || ((r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)) && charge->operation
            && (charge->operation->methods & NGX_HTTP_GET)))
    {
        /* reserved by the pass before, or GET of the list of models */
        return NGX_OK;
    }

    rc = ngx_http_llm_quota_prepare(r, charge);

    if (rc != NGX_OK) {
        return ngx_http_llm_reserve_answer(charge, rc);
    }

    rc = ngx_http_llm_reserve_need(r, ctx, &need);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_llm_reserve_id(r, &id) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_llm_quota_reserve(r, charge, &need, &id,
                                    ngx_http_llm_reserve_lifetime(r, ctx),
                                    ngx_http_llm_resume);

    if (rc == NGX_AGAIN) {
        ctx->reserving = 1;
        ngx_http_llm_suspend(r);
    }

    return ngx_http_llm_reserve_answer(charge, rc);
}


static ngx_int_t
ngx_http_llm_reserve_answer(ngx_http_llm_charge_t *charge, ngx_int_t rc)
{
    ngx_http_llm_quota_charge_t  *quota;

    switch (rc) {

    case NGX_OK:
    case NGX_AGAIN:
        return rc;

    case NGX_DECLINED:
        return NGX_OK;

    case NGX_BUSY:
        break;

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    quota = &charge->quota;

    rc = ngx_http_llm_fault(&charge->error, quota->fault, NULL,
                            quota->message.len ? &quota->message : NULL);

    charge->error.wait = quota->wait;

    return rc;
}


static ngx_int_t
ngx_http_llm_reserve_need(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_need_t *need)
{
    off_t                      len;
    ngx_uint_t                 declared;
    ngx_llm_claim_t           *claim;
    ngx_llm_outputs_t         *outputs;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_loc_conf_t   *llcf;
    ngx_http_llm_main_conf_t  *lmcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    charge = ctx->charge;
    claim = charge->quota.reserve.claims;

    ngx_memzero(need, sizeof(ngx_http_llm_need_t));

    if (charge->cache.replayed) {
        /* no provider serves a cache hit: it is charged as a request only */
        need->cached = 1;
        return NGX_OK;
    }

    if (!charge->parsed) {
        ngx_llm_facts_init(&charge->facts);
    }

    len = ctx->view.len ? (off_t) ctx->view.len
                        : ngx_max(r->headers_in.content_length_n, 0);

    if (charge->parsed) {
        charge->quota.ratios = ngx_llm_learn_ratios(lmcf->learn, claim->key,
                                                    &charge->requested);
        charge->quota.others = ngx_llm_learn_ratios(lmcf->learn, NULL,
                                                    &charge->requested);
    }

    need->prompt = ngx_llm_estimate_prompt(charge->quota.ratios,
                                           charge->quota.others,
                                           &charge->facts, (size_t) len);

    if (charge->parsed && charge->operation->generates) {

        charge->quota.outputs = ngx_llm_learn_outputs(lmcf->learn, claim->key,
                                                      &charge->requested);

        outputs = (llcf->quota_output == NGX_HTTP_LLM_OUTPUT_DECLARED)
                  ? NULL : charge->quota.outputs;

        need->output = ngx_llm_estimate_output(outputs, &charge->facts,
                                               &declared);
        need->declared = (declared && outputs == NULL);
    }

    if (charge->parsed && ngx_http_llm_reserve_media(charge, need)) {

        charge->quota.outputs = ngx_llm_learn_outputs(lmcf->learn, claim->key,
                                                      &charge->requested);

        need->output = ngx_llm_estimate_learned(charge->quota.outputs,
                                                charge->facts.n,
                                                need->output);
    }

    ngx_log_debug5(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm reserve: prompt:%L output:%L images:%L seconds:%L "
                   "characters:%L", need->prompt, need->output,
                   need->units.images, need->units.seconds,
                   need->units.characters);

    return ngx_http_llm_quota_limits(charge, NGX_LLM_QUOTA_COST)
           ? ngx_http_llm_reserve_price(r, ctx, need)
           : NGX_OK;
}


/*
 * Sets the units and the output of a request whose answer is not text, or whose
 * request is audio: the output until its model has taught another.  Returns 0
 * for other operations.
 */

static ngx_uint_t
ngx_http_llm_reserve_media(ngx_http_llm_charge_t *charge,
    ngx_http_llm_need_t *need)
{
    ngx_llm_facts_t        *facts;
    ngx_llm_price_units_t  *units;

    facts = &charge->facts;
    units = &need->units;

    switch (ngx_http_llm_cost_kind(charge->operation)) {

    case NGX_LLM_PRICE_FOR_IMAGES:
        units->images = ngx_max(facts->n, 1);
        need->output = units->images * NGX_LLM_ESTIMATE_IMAGE;
        return 1;

    case NGX_LLM_PRICE_FOR_SPEECH:
        units->characters = (int64_t) (facts->counts[NGX_LLM_CLASS_PROSE]
                                       + facts->counts[NGX_LLM_CLASS_PUNCT]
                                       + facts->counts[NGX_LLM_CLASS_OTHER] / 2
                                       + facts->counts[NGX_LLM_CLASS_CJK] / 3);
        need->output = units->characters;
        return 1;

    case NGX_LLM_PRICE_FOR_TRANSCRIPT:
        units->seconds = 1 + facts->media / NGX_LLM_ESTIMATE_SECOND;
        need->output = units->seconds * NGX_LLM_ESTIMATE_SPOKEN;
        return 1;

    default:
        return 0;
    }
}


/* Selects the price; under a budget a target without a price is not used. */

static ngx_int_t
ngx_http_llm_reserve_price(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_need_t *need)
{
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_main_conf_t  *lmcf;

    static const ngx_str_t  none = ngx_null_string;

    charge = ctx->charge;

    if (charge->model) {
        need->price = ngx_http_llm_reserve_dearest(r, ctx, need);

    } else {
        lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
        need->price = ngx_llm_prices_of(lmcf->prices, NULL, &none, &none,
                                        &charge->requested);

        if (need->price
            && !ngx_llm_price_covers(need->price,
                                     ngx_http_llm_cost_kind(charge->operation)))
        {
            need->price = NULL;
        }
    }

    if (need->price || charge->quota.reserve.shadow) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "a budget applies, but the price of model \"%V\" is not "
                  "known", &charge->requested);

    return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_MODEL_NOT_PRICED,
                              "model", NULL);
}


static const ngx_llm_price_t *
ngx_http_llm_reserve_dearest(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_need_t *need)
{
    int64_t                    cost, most;
    uint64_t                   bit;
    ngx_uint_t                 i;
    ngx_http_llm_model_t      *model;
    ngx_http_llm_target_t     *target;
    ngx_llm_price_for_e        kind;
    const ngx_llm_price_t     *price, *dearest;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    model = ctx->charge->model;
    target = model->targets.elts;

    kind = ngx_http_llm_cost_kind(ctx->charge->operation);
    dearest = NULL;
    most = -1;

    for (i = 0; i < model->targets.nelts; i++) {
        bit = (uint64_t) 1 << i;

        if (!(ctx->balance.allowed & bit)) {
            continue;
        }

        price = ngx_llm_prices_of(lmcf->prices, target[i].price,
                                  &target[i].provider->price_prefix,
                                  ngx_http_llm_model_for(ctx, &target[i]),
                                  &ctx->charge->requested);

        if (price == NULL || !ngx_llm_price_covers(price, kind)) {

            ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "llm reserve: target \"%V\" is passed over, the "
                           "price of \"%V\" is unknown", &target[i].name,
                           &ctx->charge->requested);

            if (!ctx->charge->quota.reserve.shadow) {
                ctx->balance.allowed &= ~bit;
            }

            continue;
        }

        cost = ngx_llm_price_estimate(price, need->prompt, need->output,
                                      &need->units);

        if (cost > most) {
            most = cost;
            dearest = price;
        }
    }

    return dearest;
}


/* Returns the lifetime of the hold, ms; the request ends before it. */

static ngx_msec_t
ngx_http_llm_reserve_lifetime(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_msec_t                longest;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    longest = llcf->timeouts.total;

    if (!llcf->pass || longest == NGX_CONF_UNSET_MSEC || longest == 0) {
        longest = NGX_HTTP_LLM_RESERVE_LONGEST;
    }

    return longest + llcf->drain + NGX_HTTP_LLM_RESERVE_GRACE;
}


/* Sets the id of the hold: $request_id and the salt of this start of nginx. */

static ngx_int_t
ngx_http_llm_reserve_id(ngx_http_request_t *r, ngx_str_t *id)
{
    u_char                     *p;
    ngx_http_variable_value_t  *vv;
    ngx_http_llm_main_conf_t   *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    vv = ngx_http_llm_header_request_id(r);
    if (vv == NULL) {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, vv->len + sizeof(lmcf->quota->salt));
    if (p == NULL) {
        return NGX_ERROR;
    }

    id->data = p;
    p = ngx_cpymem(p, vv->data, vv->len);
    p = ngx_cpymem(p, lmcf->quota->salt, sizeof(lmcf->quota->salt));
    id->len = p - id->data;

    return NGX_OK;
}
