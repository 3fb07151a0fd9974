/*
 * OpenAI's API, as served by OpenAI, by compatible servers and by clouds that
 * have another API of their own as well.  Requests and responses pass without
 * translation, the endpoint is the whole base path, and the key is a bearer
 * token.  The dialects below differ in data only.
 */


#include <ngx_http_llm_dialect.h>


static ngx_int_t ngx_http_llm_openai_uri(ngx_pool_t *pool,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_str_t *uri);


const ngx_http_llm_dialect_t  ngx_http_llm_openai = {
    ngx_string("openai"),
    ngx_string("https://api.openai.com/v1"),
    ngx_null_string,
    ngx_string("Authorization"),
    ngx_string("Bearer "),
    NGX_HTTP_LLM_TAKES_PATH|NGX_HTTP_LLM_TAKES_QUIRKS,
    ngx_http_llm_openai_uri,
    NULL
};


const ngx_http_llm_dialect_t  ngx_http_llm_bedrock = {
    ngx_string("bedrock"),
    ngx_string("https://bedrock-runtime."),
    ngx_string(".amazonaws.com/openai/v1"),
    ngx_string("Authorization"),
    ngx_string("Bearer "),
    NGX_HTTP_LLM_TAKES_PATH|NGX_HTTP_LLM_TAKES_REGION,
    ngx_http_llm_openai_uri,
    NULL
};


const ngx_http_llm_dialect_t  ngx_http_llm_gemini = {
    ngx_string("gemini"),
    ngx_string("https://generativelanguage.googleapis.com/v1beta/openai"),
    ngx_null_string,
    ngx_string("Authorization"),
    ngx_string("Bearer "),
    NGX_HTTP_LLM_TAKES_PATH,
    ngx_http_llm_openai_uri,
    NULL
};


const ngx_http_llm_dialect_t  ngx_http_llm_anthropic = {
    ngx_string("anthropic"),
    ngx_string("https://api.anthropic.com/v1"),
    ngx_null_string,
    ngx_string("Authorization"),
    ngx_string("Bearer "),
    NGX_HTTP_LLM_TAKES_PATH,
    ngx_http_llm_openai_uri,
    NULL
};


const ngx_http_llm_dialect_t  ngx_http_llm_oci = {
    ngx_string("oci"),
    ngx_string("https://inference.generativeai."),
    ngx_string(".oci.oraclecloud.com/openai/v1"),
    ngx_string("Authorization"),
    ngx_string("Bearer "),
    NGX_HTTP_LLM_TAKES_PATH|NGX_HTTP_LLM_TAKES_REGION,
    ngx_http_llm_openai_uri,
    NULL
};


static ngx_int_t
ngx_http_llm_openai_uri(ngx_pool_t *pool, ngx_http_llm_provider_t *provider,
    ngx_http_llm_call_t *call, ngx_str_t *uri)
{
    u_char  *p;

    uri->len = provider->path.len + 1 + call->operation.len;

    uri->data = ngx_pnalloc(pool, uri->len);
    if (uri->data == NULL) {
        return NGX_ERROR;
    }

    p = uri->data;

    if (provider->path.len) {
        p = ngx_cpymem(p, provider->path.data, provider->path.len);
    }

    *p++ = '/';
    ngx_memcpy(p, call->operation.data, call->operation.len);

    return NGX_OK;
}
