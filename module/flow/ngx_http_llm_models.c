/*
 * GET models and models/NAME: what may be asked for, answered here.  A name
 * is there if it resolves, listed or not.
 */


#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_client.h>


static ngx_int_t ngx_http_llm_models_list(ngx_http_request_t *r,
    ngx_http_llm_main_conf_t *lmcf, ngx_str_t *body);
static ngx_int_t ngx_http_llm_models_one(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *body);


ngx_int_t
ngx_http_llm_models(ngx_http_request_t *r)
{
    ngx_int_t                       rc;
    ngx_str_t                       name, body, *type;
    ngx_http_complex_value_t        cv;
    ngx_http_llm_main_conf_t       *lmcf;

    static ngx_str_t  json = ngx_string("application/json");

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    type = &json;

    ngx_http_llm_route_models_name(r, &name);

    rc = name.len ? ngx_http_llm_models_one(r, &name, &body)
                  : ngx_http_llm_models_list(r, lmcf, &body);

    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value = body;

    return ngx_http_send_response(r, NGX_HTTP_OK, type, &cv);
}


/* exact names and aliases that the caller may use, in the order of the file */

static ngx_int_t
ngx_http_llm_models_list(ngx_http_request_t *r,
    ngx_http_llm_main_conf_t *lmcf, ngx_str_t *body)
{
    u_char                    *p;
    ngx_str_t                 *name, *alias;
    ngx_uint_t                 i, n;
    ngx_http_llm_model_t     **model;
    ngx_http_llm_loc_conf_t   *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    *body = lmcf->list;

    if (!llcf->auth) {
        return NGX_OK;
    }

    /* no more than all of them */

    p = ngx_pnalloc(r->pool, lmcf->list.len + 1);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->data = p;

    p = ngx_sprintf(p, "{\"object\":\"list\",\"data\":[");

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        alias = model[i]->aliases.elts;

        for (n = 0; n <= model[i]->aliases.nelts; n++) {

            name = n ? &alias[n - 1] : &model[i]->pattern;

            if ((n || model[i]->exact)
                && ngx_http_llm_auth_allowed(r, name, model[i]))
            {
                p = ngx_sprintf(p, "{\"id\":\"%V\",\"object\":\"model\","
                                   "\"created\":0,\"owned_by\":\"llm\"},",
                                name);
            }
        }
    }

    if (p[-1] == ',') {
        p--;
    }

    body->len = ngx_sprintf(p, "]}") - body->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_models_one(ngx_http_request_t *r, ngx_str_t *name,
    ngx_str_t *body)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_str_t                  rest;
    ngx_http_llm_ctx_t        *ctx;
    ngx_http_llm_model_t      *model;
    ngx_http_llm_main_conf_t  *lmcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    rc = ngx_llm_facts_is_name(name->data, name->len)
         ? ngx_http_llm_route_model(lmcf, r->connection->log, name, &model,
                                    &rest)
         : NGX_DECLINED;

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc != NGX_OK || !ngx_http_llm_auth_allowed(r, name, model)) {
        return ngx_http_llm_fault(&ctx->charge->error,
                                  NGX_HTTP_LLM_MODEL_NOT_FOUND, "model",
                                  NULL);
    }

    p = ngx_pnalloc(r->pool, name->len
                             + sizeof("{\"id\":\"\",\"object\":\"model\","
                                      "\"created\":0,\"owned_by\":\"llm\"}"));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->data = p;
    body->len = ngx_sprintf(p, "{\"id\":\"%V\",\"object\":\"model\","
                               "\"created\":0,\"owned_by\":\"llm\"}", name)
                - p;

    return NGX_OK;
}
