/*
 * Admission, in PRECONTENT, before anything is sent anywhere: the operation,
 * the body as one view, its facts, the model.  A step says NGX_OK next,
 * NGX_AGAIN suspended, anything else is the answer's status.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include "ngx_http_llm_flow_state.h"
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_body.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_llm_form.h>


typedef ngx_int_t (*ngx_http_llm_step_pt)(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


static ngx_int_t ngx_http_llm_admit_step(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_step_pt *steps);
static ngx_int_t ngx_http_llm_admit_operation(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_read(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_wait(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_admit_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_admit_facts(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_scan(ngx_http_llm_ctx_t *ctx,
    ngx_str_t *boundary, ngx_llm_json_error_t *err);
static ngx_int_t ngx_http_llm_admit_malformed(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_json_error_t *err);
static ngx_int_t ngx_http_llm_admit_model(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_name(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_allowed(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_policy(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_fits(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_plain(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_plain_facts(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


static ngx_http_llm_step_pt  ngx_http_llm_admit_steps[] = {
    ngx_http_llm_admit_operation,
    ngx_http_llm_admit_read,
    ngx_http_llm_admit_facts,
    ngx_http_llm_admit_model,
    ngx_http_llm_admit_allowed,
    ngx_http_llm_admit_policy,
    ngx_http_llm_admit_fits,
    ngx_http_llm_state,
    ngx_http_llm_cache_lookup,
    ngx_http_llm_reserve,
    ngx_http_llm_cache_wait,
    NULL
};


/* where another handler answers, and quotas or a cache apply: no path is
   refused */

static ngx_http_llm_step_pt  ngx_http_llm_admit_plain_steps[] = {
    ngx_http_llm_admit_plain,
    ngx_http_llm_admit_plain_facts,
    ngx_http_llm_cache_lookup,
    ngx_http_llm_reserve,
    ngx_http_llm_cache_wait,
    NULL
};


ngx_int_t
ngx_http_llm_admit_handler(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t        *ctx;
    ngx_http_llm_loc_conf_t   *llcf;
    ngx_http_llm_operation_t  *operation;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if ((!llcf->pass && !llcf->meter && !llcf->quota)
        || !ngx_http_llm_is_client(r))
    {
        return NGX_DECLINED;
    }

    ctx = ngx_http_llm_charge_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (llcf->pass) {
        return ngx_http_llm_admit_step(r, ctx, ngx_http_llm_admit_steps);
    }

    /* a path made up by an internal redirect does not hide the client's */

    operation = ngx_http_llm_route_operation(r);

    if (operation) {
        ctx->charge->operation = operation;
    }

    if (llcf->quota == NULL && !llcf->cache.on) {
        /* metered only: nothing is read here, nothing refused */
        return NGX_DECLINED;
    }

    return ngx_http_llm_admit_step(r, ctx, ngx_http_llm_admit_plain_steps);
}


static ngx_int_t
ngx_http_llm_admit_step(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_step_pt *steps)
{
    ngx_int_t  rc;

    for ( /* void */ ; steps[ctx->step]; ctx->step++) {

        rc = steps[ctx->step](r, ctx);

        if (rc == NGX_AGAIN) {
            return NGX_DONE;
        }

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_llm_admit_subrequest(ngx_http_request_t *r)
{
    ngx_int_t            rc;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_llm_charge_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->read = 1;

    for (ctx->step = 0; ngx_http_llm_admit_steps[ctx->step]; ctx->step++) {

        rc = ngx_http_llm_admit_steps[ctx->step](r, ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_admit_operation(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_operation_t  *operation;

    charge = ctx->charge;
    operation = ngx_http_llm_route_operation(r);

    if (operation == NULL) {
        return ngx_http_llm_fault(&charge->error,
                                  NGX_HTTP_LLM_UNKNOWN_OPERATION, NULL, NULL);
    }

    charge->operation = operation;

    if (!(r->method & operation->methods)) {
        rc = ngx_http_llm_fault(&charge->error,
                                NGX_HTTP_LLM_METHOD_NOT_ALLOWED, NULL, NULL);
        charge->error.allow = operation->allow;
        return rc;
    }

    if (ngx_http_llm_body_plain(r) != NGX_OK) {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_CODED_BODY,
                                  NULL, NULL);
    }

    return NGX_OK;
}


/* suspends until nginx has read the body, all of it */

static ngx_int_t
ngx_http_llm_admit_read(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    if (ctx->read || !(ctx->charge->operation->methods & NGX_HTTP_POST)) {
        return NGX_OK;
    }

    return ngx_http_llm_admit_wait(r, ctx);
}


static ngx_int_t
ngx_http_llm_admit_wait(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_llm_body_read(r, ctx, ngx_http_llm_admit_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    ngx_http_finalize_request(r, NGX_DONE);

    return NGX_AGAIN;
}


static void
ngx_http_llm_admit_body(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_body_done(r, ctx);

    ctx->read = 1;
    r->preserve_body = 1;

    r->write_event_handler = ngx_http_core_run_phases;
    ngx_http_core_run_phases(r);
}


static ngx_int_t
ngx_http_llm_admit_facts(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_str_t               boundary;
    ngx_llm_facts_t        *facts;
    ngx_llm_json_error_t    err;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;
    facts = &charge->facts;

    if (!(charge->operation->methods & NGX_HTTP_POST)) {
        return NGX_OK;
    }

    if (ngx_http_llm_body_view(r, &ctx->view) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_null(&boundary);

    if (charge->operation->form
        && ngx_http_llm_body_type(r, &boundary) == NGX_ERROR)
    {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_INVALID_FORM,
                                  NULL, NULL);
    }

    if (ngx_http_llm_admit_scan(ctx, &boundary, &err) != NGX_OK) {
        return ngx_http_llm_admit_malformed(r, ctx, &err);
    }

    charge->parsed = 1;
    charge->requested.data = facts->model;
    charge->requested.len = facts->model_len;

    ctx->stateful = (facts->stateful
                     && charge->operation->api == &ngx_llm_api_responses);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_admit_scan(ngx_http_llm_ctx_t *ctx, ngx_str_t *boundary,
    ngx_llm_json_error_t *err)
{
    ngx_llm_facts_t  *facts;

    facts = &ctx->charge->facts;

    return boundary->len
           ? ngx_llm_form_facts(ctx->view.data, ctx->view.len, boundary,
                                facts, err)
           : ngx_llm_json_facts(ctx->view.data, ctx->view.len, facts, err);
}


static ngx_int_t
ngx_http_llm_admit_malformed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_json_error_t *err)
{
    u_char                *p;
    ngx_str_t              message;
    ngx_http_llm_fault_e   fault;

    switch (err->code) {

    case NGX_LLM_JSON_DUPLICATE:
        fault = NGX_HTTP_LLM_DUPLICATE_KEY;
        break;

    case NGX_LLM_JSON_TYPE:
        fault = NGX_HTTP_LLM_INVALID_TYPE;
        break;

    default:
        fault = ctx->charge->facts.form ? NGX_HTTP_LLM_INVALID_FORM
                                        : NGX_HTTP_LLM_INVALID_JSON;
    }

    p = ngx_pnalloc(r->pool, ngx_strlen(err->reason) + NGX_SIZE_T_LEN
                             + sizeof("The body of the request is refused: "
                                      " (\"max_completion_tokens\") "
                                      "at byte ."));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    message.data = p;

    p = ngx_sprintf(p, "The body of the request is refused: %s",
                    err->reason);

    if (err->param) {
        p = ngx_sprintf(p, " (\"%s\")", err->param);
    }

    p = ngx_sprintf(p, " at byte %uz.", err->pos);

    message.len = p - message.data;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "llm request refused: %s at byte %uz", err->reason,
                  err->pos);

    return ngx_http_llm_fault(&ctx->charge->error, fault, err->param,
                              &message);
}


static ngx_int_t
ngx_http_llm_admit_model(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_str_t                  message;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_main_conf_t  *lmcf;

    charge = ctx->charge;

    if (!(charge->operation->methods & NGX_HTTP_POST)) {
        return NGX_OK;
    }

    rc = ngx_http_llm_admit_name(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    rc = ngx_http_llm_route_model(lmcf, r->connection->log, &ctx->name,
                                  &charge->model, &ctx->rest);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (charge->model && ctx->rest.len == 0 && charge->model->wildcard) {

        /* "prefix" of "prefix*": nothing is left to ask a target for */
        charge->model = NULL;
    }

    if (charge->model) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, sizeof("The model `` does not exist.")
                             + ctx->name.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    message.data = p;
    message.len = ngx_sprintf(p, "The model `%V` does not exist.",
                              &ctx->name)
                  - p;

    return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_MODEL_NOT_FOUND,
                              "model", &message);
}


/* the name to route by: llm_pass MODEL, else the client's */

static ngx_int_t
ngx_http_llm_admit_name(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    charge = ctx->charge;
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (charge->facts.invalid_model) {
        goto invalid;
    }

    ctx->name = charge->requested;

    if (llcf->model
        && ngx_http_complex_value(r, llcf->model, &ctx->name) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->name.len == 0) {
        ctx->name = charge->requested;
    }

    if (ctx->name.len == 0 && charge->facts.model_size == 0) {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_MISSING_MODEL,
                                  "model", NULL);
    }

    if (ngx_llm_facts_is_name(ctx->name.data, ctx->name.len)) {
        return NGX_OK;
    }

invalid:

    return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_INVALID_MODEL,
                              "model", NULL);
}


/* the caller's allow-list; a model that llm_pass names is the operator's */

static ngx_int_t
ngx_http_llm_admit_allowed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    charge = ctx->charge;

    if (charge->model == NULL || !llcf->auth || llcf->model
        || ngx_http_llm_auth_allowed(r, &ctx->name, charge->model))
    {
        return NGX_OK;
    }

    return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_MODEL_NOT_ALLOWED,
                              "model", NULL);
}


/* who may have the request at all: for every attempt, backups too */

static ngx_int_t
ngx_http_llm_admit_policy(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
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

    p = ngx_pnalloc(r->pool, sizeof("No provider of this model meets what is "
                                    "required of ``.")
                             + label.len);

    if (rc == NGX_ERROR || p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "no provider of llm_model \"%V\" meets what llm_require "
                  "wants of \"%V\"", &ctx->charge->model->pattern, &label);

    message.data = p;
    message.len = ngx_sprintf(p, "No provider of this model meets what is "
                                 "required of `%V`.", &label)
                  - p;

    return ngx_http_llm_fault(&ctx->charge->error,
                              NGX_HTTP_LLM_POLICY_UNSATISFIABLE, NULL,
                              &message);
}


/* a name that would be part of a URL must not turn it elsewhere */

static ngx_int_t
ngx_http_llm_admit_fits(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
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

        /* a target's own model was checked with the configuration */

        name = target[i].wildcard ? &ctx->rest
                                  : target[i].model.len ? NULL : &ctx->name;

        if (name && dialect->fits && !dialect->fits(target[i].provider, name))
        {
            ctx->balance.allowed &= ~bit;
        }

        left |= ctx->balance.allowed & bit;
    }

    if (left) {
        return NGX_OK;
    }

    return ngx_http_llm_fault(&ctx->charge->error, NGX_HTTP_LLM_INVALID_MODEL,
                              "model", NULL);
}


/* the body is read if it says more than its length does, or that is unknown */

static ngx_int_t
ngx_http_llm_admit_plain(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_operation_t  *operation;

    operation = ctx->charge->operation;

    if (ctx->read
        || (r->headers_in.content_length_n <= 0 && !r->headers_in.chunked)
        || (!r->headers_in.chunked
            && (operation == NULL || !(r->method & operation->methods))))
    {
        return NGX_OK;
    }

    return ngx_http_llm_admit_wait(r, ctx);
}


/* what cannot be read is charged by its bytes; what is wrong is refused */

static ngx_int_t
ngx_http_llm_admit_plain_facts(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_str_t                  boundary;
    ngx_http_llm_operation_t  *operation;

    operation = ctx->charge->operation;

    if (operation == NULL || !(r->method & operation->methods)
        || ngx_http_llm_body_plain(r) != NGX_OK
        || (operation->form
            && ngx_http_llm_body_type(r, &boundary) == NGX_ERROR))
    {
        if (ctx->read && ngx_http_llm_body_view(r, &ctx->view) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return NGX_OK;
    }

    return ngx_http_llm_admit_facts(r, ctx);
}
