/*
 * GET models and models/NAME, answered by nginx itself.  models/NAME is found
 * if the name resolves to an llm_model, whether it is listed or not.
 */


#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_client.h>


static ngx_int_t ngx_http_llm_models_list(ngx_http_request_t *r,
    ngx_http_llm_main_conf_t *lmcf, ngx_str_t *body);
static ngx_int_t ngx_http_llm_models_one(ngx_http_request_t *r,
    ngx_str_t *name, ngx_str_t *body);
static size_t ngx_http_llm_models_len(ngx_str_t *name);
static u_char *ngx_http_llm_models_print(u_char *p, ngx_str_t *name);


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


/* the names that the consumer may use, in the order of the configuration */

static ngx_int_t
ngx_http_llm_models_list(ngx_http_request_t *r,
    ngx_http_llm_main_conf_t *lmcf, ngx_str_t *body)
{
    u_char                 *p;
    size_t                  len;
    ngx_uint_t              i, n;
    ngx_http_llm_name_t  *listed;

    listed = lmcf->listed.elts;
    len = sizeof("{\"object\":\"list\",\"data\":[]}");

    for (i = 0; i < lmcf->listed.nelts; i++) {
        len += ngx_http_llm_models_len(&listed[i].name) + 1;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->data = p;
    n = 0;

    p = ngx_sprintf(p, "{\"object\":\"list\",\"data\":[");

    for (i = 0; i < lmcf->listed.nelts; i++) {

        if (!ngx_http_llm_auth_allowed(r, &listed[i].name, listed[i].model)) {
            continue;
        }

        if (n++) {
            *p++ = ',';
        }

        p = ngx_http_llm_models_print(p, &listed[i].name);
    }

    body->len = ngx_sprintf(p, "]}") - body->data;

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm models: %ui of %ui names listed", n,
                   lmcf->listed.nelts);

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

    p = ngx_pnalloc(r->pool, ngx_http_llm_models_len(name));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    body->data = p;
    body->len = ngx_http_llm_models_print(p, name) - p;

    return NGX_OK;
}


/* names are printable and have no byte that JSON escapes */

static size_t
ngx_http_llm_models_len(ngx_str_t *name)
{
    return name->len + sizeof("{\"id\":\"\",\"object\":\"model\","
                              "\"created\":0,\"owned_by\":\"llm\"}");
}


static u_char *
ngx_http_llm_models_print(u_char *p, ngx_str_t *name)
{
    return ngx_sprintf(p, "{\"id\":\"%V\",\"object\":\"model\","
                          "\"created\":0,\"owned_by\":\"llm\"}", name);
}
