/*
 * Admission of a request in PRECONTENT, before a provider is chosen: its
 * operation, its body as one view, its facts and its model.  A step returns
 * NGX_OK to go on, NGX_AGAIN if it is suspended, or a status for the client.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include "ngx_http_llm_admit_operation.h"
#include "ngx_http_llm_admit_targets.h"
#include "ngx_http_llm_flow_state.h"
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_body.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_llm_form.h>
#include <ngx_http_llm_value.h>


typedef ngx_int_t (*ngx_http_llm_step_pt)(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


static ngx_int_t ngx_http_llm_admit_step(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_step_pt *steps);
static ngx_int_t ngx_http_llm_admit_read(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_wait(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_admit_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_admit_facts(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_admit_requested(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_admit_scan(ngx_http_llm_ctx_t *ctx,
    ngx_str_t *boundary, ngx_llm_json_error_t *err);
static ngx_int_t ngx_http_llm_admit_malformed(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_json_error_t *err);
static ngx_int_t ngx_http_llm_admit_model(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_unresolved(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_admit_name(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_uint_t ngx_http_llm_admit_unnamed(ngx_http_request_t *r,
    ngx_http_llm_operation_t *operation);
static ngx_int_t ngx_http_llm_admit_allowed(ngx_http_request_t *r,
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
    ngx_http_llm_admit_targets_require,
    ngx_http_llm_admit_targets_fit,
    ngx_http_llm_admit_targets_context,
    ngx_http_llm_state,
    ngx_http_llm_cache_lookup,
    ngx_http_llm_reserve,
    ngx_http_llm_cache_wait,
    NULL
};


/* for locations with quotas or a cache, but without llm_pass: each path is
   served */

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

    /* after an internal redirect the path may not have one: keep the first */

    operation = ngx_http_llm_route_operation(r);

    if (operation) {
        ctx->charge->operation = operation;
    }

    if (llcf->quota == NULL && !llcf->cache.on) {
        /* metering reads the response only */
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


/* Suspends the request until nginx has read its whole body. */

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
    ngx_http_llm_admit_requested(r, charge);

    ngx_log_debug6(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm body: %uz bytes, model \"%V\", stream %ui, max_tokens "
                   "%i, max_completion_tokens %i, max_output_tokens %i",
                   ctx->view.len, &charge->requested,
                   (ngx_uint_t) facts->stream, facts->max_tokens,
                   facts->max_completion_tokens,
                   facts->max_output_tokens);

    ctx->stateful = (facts->stateful
                     && charge->operation->api == &ngx_llm_api_responses);

    return NGX_OK;
}


/*
 * Sets the model that the client named.  The deployment of an Azure path wins
 * over the body, as it does in Azure's API.
 */

static void
ngx_http_llm_admit_requested(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_str_t         name;
    ngx_llm_facts_t  *facts;

    facts = &charge->facts;

    charge->requested.data = facts->model;
    charge->requested.len = facts->model_len;

    ngx_http_llm_route_deployment(r, charge->operation, &name);

    if (name.len == 0) {
        return;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm model: deployment \"%V\" of the path, \"%V\" in the "
                   "body", &name, &charge->requested);

    facts->invalid_model = !ngx_llm_facts_is_name(name.data, name.len);

    if (facts->invalid_model) {
        charge->requested.len = 0;
        return;
    }

    charge->requested = name;
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
                             + sizeof("Invalid body at byte : "
                                      " (\"max_completion_tokens\")."));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    message.data = p;

    p = ngx_sprintf(p, "Invalid body at byte %uz: %s", err->pos, err->reason);

    if (err->param) {
        p = ngx_sprintf(p, " (\"%s\")", err->param);
    }

    *p++ = '.';

    message.len = p - message.data;

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "invalid request body at byte %uz: %s", err->pos,
                  err->reason);

    return ngx_http_llm_fault(&ctx->charge->error, fault, err->param,
                              &message);
}


static ngx_int_t
ngx_http_llm_admit_model(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                  rc;
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

    if (ctx->name.len == 0) {
        charge->model = lmcf->fallback;
        ngx_str_null(&ctx->rest);

    } else if (ngx_http_llm_route_model(lmcf, r->connection->log, &ctx->name,
                                        &charge->model, &ctx->rest)
               == NGX_ERROR)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (charge->model && ctx->rest.len == 0 && charge->model->wildcard) {

        /* "prefix" matches "prefix*", but leaves no name for a target */
        charge->model = NULL;
    }

    if (charge->model == NULL) {
        return ngx_http_llm_admit_unresolved(r, ctx);
    }

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm model \"%V\": llm_model \"%V\", %ui targets",
                   &ctx->name, &charge->model->pattern,
                   charge->model->targets.nelts);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_admit_unresolved(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char     *p;
    ngx_str_t   message;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm model \"%V\": no llm_model matches", &ctx->name);

    p = ngx_pnalloc(r->pool, sizeof("The model `` does not exist. GET models "
                                    "lists the models that exist.")
                             + ctx->name.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    message.data = p;
    message.len = ngx_sprintf(p, "The model `%V` does not exist. GET models "
                                 "lists the models that exist.", &ctx->name)
                  - p;

    return ngx_http_llm_fault(&ctx->charge->error,
                              NGX_HTTP_LLM_MODEL_NOT_FOUND, "model", &message);
}


/*
 * Sets ctx->name to the model of llm_pass or, without one, of the client.  The
 * name stays empty if the operation needs no model.
 */

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
        && ngx_http_llm_value(r, llcf->model, &ctx->name) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->name.len == 0) {
        ctx->name = charge->requested;
    }

    if (ctx->name.len == 0 && charge->facts.model_size == 0) {

        if (ngx_http_llm_admit_unnamed(r, charge->operation)) {
            return NGX_OK;
        }

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


/*
 * Returns 1 if the operation is served without a model: OpenAI's API has
 * defaults for moderations and images, here llm_model default is the default.
 */

static ngx_uint_t
ngx_http_llm_admit_unnamed(ngx_http_request_t *r,
    ngx_http_llm_operation_t *operation)
{
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    return lmcf->fallback
           && (operation->api == &ngx_llm_api_moderations
               || operation->api == &ngx_llm_api_images);
}


/*
 * Applies the consumer's list of models.  The list does not apply to a model
 * that the configuration names in llm_pass.
 */

static ngx_int_t
ngx_http_llm_admit_allowed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_str_t                *name;
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    charge = ctx->charge;

    if (charge->model == NULL || !llcf->auth || llcf->model) {
        return NGX_OK;
    }

    name = ctx->name.len ? &ctx->name : &charge->model->pattern;

    if (ngx_http_llm_auth_allowed(r, name, charge->model)) {
        return NGX_OK;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm request rejected: the consumer may not use model "
                   "\"%V\"", name);

    return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_MODEL_NOT_ALLOWED,
                              "model", NULL);
}


/* Reads the body if it has facts, or if its length is not known before. */

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


/* Finds the facts of a JSON body or a form.  Other bodies are charged by their
   length. */

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
