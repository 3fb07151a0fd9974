/*
 * Admission, the steps that remove targets of the request's llm_model: by
 * llm_require, by the model name in a URL, and by the length of the prompt.
 * A step fails if no target is left.
 */

#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_dialect.h>

#include "ngx_http_llm_admit_targets.h"


static ngx_uint_t ngx_http_llm_admit_targets_limit(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_target_t *target);


ngx_int_t
ngx_http_llm_admit_targets_require(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t   label, message;

    if (ctx->charge->model == NULL) {
        return NGX_OK;
    }

    rc = ngx_http_llm_require(r, ctx->charge->model, &ctx->balance.allowed,
                              &label);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, sizeof("No provider of this model has the "
                                    "required value of the label ``.")
                             + label.len);

    if (rc == NGX_ERROR || p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "no target of llm_model \"%V\" has the value of the label "
                  "\"%V\" that llm_require requires, request rejected",
                  &ctx->charge->model->pattern, &label);

    message.data = p;
    message.len = ngx_sprintf(p, "No provider of this model has the required "
                                 "value of the label `%V`.", &label)
                  - p;

    return ngx_http_llm_fault(&ctx->charge->error,
                              NGX_HTTP_LLM_POLICY_UNSATISFIABLE, NULL,
                              &message);
}


ngx_int_t
ngx_http_llm_admit_targets_fit(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    uint64_t                       bit, left;
    ngx_str_t                     *name;
    ngx_uint_t                     i;
    ngx_http_llm_model_t          *model;
    ngx_http_llm_target_t         *target;
    const ngx_http_llm_dialect_t  *dialect;

    model = ctx->charge->model;

    if (model == NULL) {
        return NGX_OK;
    }

    target = model->targets.elts;
    left = 0;

    for (i = 0; i < model->targets.nelts; i++) {
        bit = (uint64_t) 1 << i;
        dialect = target[i].provider->dialect;

        /* the configuration's own names were checked when it was read */

        name = target[i].wildcard ? &ctx->rest
                                  : target[i].model.len ? NULL : &ctx->name;

        if (name && dialect->fits && !dialect->fits(target[i].provider, name))
        {
            ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "llm target %ui of llm_model \"%V\" passed over: "
                           "model \"%V\" is not possible in its URL",
                           i + 1, &model->pattern, name);

            ctx->balance.allowed &= ~bit;
        }

        left |= ctx->balance.allowed & bit;
    }

    if (left) {
        return NGX_OK;
    }

    return ngx_http_llm_fault(&ctx->charge->error,
                              ctx->name.len ? NGX_HTTP_LLM_INVALID_MODEL
                                            : NGX_HTTP_LLM_MISSING_MODEL,
                              "model", NULL);
}


ngx_int_t
ngx_http_llm_admit_targets_context(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx)
{
    u_char                    *p;
    int64_t                    prompt;
    uint64_t                   bit, left;
    ngx_str_t                  message;
    ngx_uint_t                 i, context, largest;
    ngx_llm_ratios_t          *ratios;
    ngx_http_llm_model_t      *model;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    charge = ctx->charge;
    model = charge->model;

    if (model == NULL || !charge->parsed || !charge->operation->generates) {
        return NGX_OK;
    }

    target = model->targets.elts;
    prompt = -1;
    left = 0;
    largest = 0;

    for (i = 0; i < model->targets.nelts; i++) {
        bit = (uint64_t) 1 << i;

        if (!(ctx->balance.allowed & bit)) {
            continue;
        }

        context = ngx_http_llm_admit_targets_limit(ctx, lmcf, &target[i]);

        if (context && prompt < 0) {
            ratios = lmcf->learn ? ngx_llm_learn_ratios(lmcf->learn, NULL,
                                                        &charge->requested)
                                 : NULL;

            prompt = ngx_llm_estimate_prompt(NULL, ratios, &charge->facts,
                                             ctx->view.len);
        }

        if (context == 0 || prompt <= (int64_t) context) {
            left |= bit;
            continue;
        }

        ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm admit: target \"%V\" of llm_model \"%V\" is passed "
                       "over, context:%ui prompt:%L", &target[i].name,
                       &model->pattern, context, prompt);

        largest = ngx_max(largest, context);
    }

    if (left || largest == 0) {
        ctx->balance.allowed &= left;
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, sizeof("This model's maximum context length is  "
                                    "tokens, the prompt has about  tokens. "
                                    "Reduce the length of the prompt.")
                             + 2 * NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    message.data = p;
    message.len = ngx_sprintf(p, "This model's maximum context length is %ui "
                              "tokens, the prompt has about %L tokens. "
                              "Reduce the length of the prompt.", largest,
                              prompt)
                  - p;

    return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_CONTEXT_LENGTH,
                              (charge->operation->api == &ngx_llm_api_chat)
                              ? "messages" : NULL, &message);
}


/* Returns the tokens of input that the target takes at most, 0: unknown. */

static ngx_uint_t
ngx_http_llm_admit_targets_limit(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_target_t *target)
{
    if (target->context) {
        return target->context;
    }

    return ngx_llm_prices_context(lmcf->prices,
                                  &target->provider->price_prefix,
                                  ngx_http_llm_model_for(ctx, target),
                                  &ctx->charge->requested);
}
