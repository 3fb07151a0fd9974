/*
 * The OpenAI dialect: any server that speaks OpenAI's own API.  Body and
 * answer pass as they are, the endpoint is the whole base path, the key is a
 * bearer token.
 */


#include <ngx_http_llm_dialect.h>


static ngx_int_t ngx_http_llm_openai_uri(ngx_pool_t *pool,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_str_t *uri);
static ngx_int_t ngx_http_llm_openai_head(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_http_llm_key_t *key);
static ngx_uint_t ngx_http_llm_openai_overridden(
    ngx_http_llm_provider_t *provider, const char *lowcase);


const ngx_http_llm_dialect_t  ngx_http_llm_openai = {
    ngx_string("openai"),
    ngx_string("https://api.openai.com/v1"),
    ngx_http_llm_openai_uri,
    ngx_http_llm_openai_head
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


static ngx_int_t
ngx_http_llm_openai_head(ngx_conf_t *cf, ngx_http_llm_provider_t *provider,
    ngx_http_llm_key_t *key)
{
    u_char  *p;

    p = ngx_pnalloc(cf->pool, sizeof("Host: " CRLF) + provider->host.len
                              + sizeof("Accept-Encoding: identity" CRLF)
                              + sizeof("Authorization: Bearer " CRLF)
                              + key->secret.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    key->head.data = p;

    if (!ngx_http_llm_openai_overridden(provider, "host")) {
        p = ngx_sprintf(p, "Host: %V" CRLF, &provider->host);
    }

    if (!ngx_http_llm_openai_overridden(provider, "accept-encoding")) {
        p = ngx_sprintf(p, "Accept-Encoding: identity" CRLF);
    }

    if (key->secret.len
        && !ngx_http_llm_openai_overridden(provider, "authorization"))
    {
        p = ngx_sprintf(p, "Authorization: Bearer %V" CRLF, &key->secret);
    }

    key->head.len = p - key->head.data;

    return NGX_OK;
}


/* "header" of llm_provider wins over what is written here */

static ngx_uint_t
ngx_http_llm_openai_overridden(ngx_http_llm_provider_t *provider,
    const char *lowcase)
{
    ngx_uint_t                  i;
    ngx_http_llm_set_header_t  *header;

    if (provider->headers == NULL) {
        return 0;
    }

    header = provider->headers->elts;

    for (i = 0; i < provider->headers->nelts; i++) {

        if (header[i].lowcase.len == ngx_strlen(lowcase)
            && ngx_memcmp(header[i].lowcase.data, lowcase,
                          header[i].lowcase.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}
