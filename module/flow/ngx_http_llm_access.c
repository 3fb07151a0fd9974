/*
 * The ACCESS phase: with llm_auth a request needs a valid key.  It is an
 * ordinary phase handler, so "satisfy" and other access modules apply.
 */


#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_client.h>


ngx_int_t
ngx_http_llm_access_handler(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_llm_consumer_t       *consumer;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (!llcf->auth || r != r->main) {
        return NGX_DECLINED;
    }

    if (ngx_http_llm_auth_consumer(r, &consumer) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (consumer) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm consumer \"%V\"", &consumer->name);
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "llm request without a valid key");

    ctx = ngx_http_llm_charge_ctx(r);

    if (ctx == NULL || ngx_http_llm_auth_challenge(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_llm_fault(&ctx->charge->error,
                              NGX_HTTP_LLM_INVALID_API_KEY, NULL, NULL);
}
