/*
 * The pool of credentials of a provider, and the header lines that are equal in
 * all requests with one credential.
 */


#include "../ngx_http_llm_provider_conf.h"
#include <ngx_http_llm_dialect.h>
#include <ngx_llm_secret.h>


static ngx_int_t ngx_http_llm_provider_credential_head(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_http_llm_credential_t *credential);
static ngx_uint_t ngx_http_llm_provider_credential_ours(
    ngx_http_llm_provider_t *provider, const ngx_str_t *name);


char *
ngx_http_llm_provider_credential(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_provider_t  *provider = conf;

    ngx_str_t                  *value, secret;
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;

    value = cf->args->elts;

    if (ngx_llm_secret_read(cf, &value[1], &secret) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (secret.len >= sizeof("Bearer ") - 1
        && ngx_strncasecmp(secret.data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"key\" of llm_provider \"%V\" begins with "
                           "\"Bearer\", which nginx adds itself, write the "
                           "key alone", &provider->name);
        return NGX_CONF_ERROR;
    }

    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {

        if (credential[i].secret.len == secret.len
            && ngx_memcmp(credential[i].secret.data, secret.data, secret.len)
               == 0)
        {
            /* one key counted as two would cool as one and be tried as two */

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "the same \"key\" twice in llm_provider "
                               "\"%V\"", &provider->name);
            return NGX_CONF_ERROR;
        }
    }

    credential = ngx_array_push(&provider->credentials);
    if (credential == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(credential, sizeof(ngx_http_llm_credential_t));

    credential->secret = secret;

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_llm_provider_credential_done(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;

    if (provider->credentials.nelts == 0) {
        credential = ngx_array_push(&provider->credentials);
        if (credential == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(credential, sizeof(ngx_http_llm_credential_t));
    }

    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {

        if (ngx_http_llm_provider_credential_head(cf, provider, &credential[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_provider_credential_head(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_http_llm_credential_t *credential)
{
    u_char                        *p;
    const ngx_http_llm_dialect_t  *dialect;

    static ngx_str_t  host = ngx_string("Host");
    static ngx_str_t  coding = ngx_string("Accept-Encoding");

    dialect = provider->dialect;

    p = ngx_pnalloc(cf->pool, sizeof("Host: " CRLF) + provider->host.len
                              + sizeof("Accept-Encoding: identity" CRLF)
                              + dialect->key_header.len + sizeof(": " CRLF)
                              + dialect->key_prefix.len
                              + credential->secret.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    credential->head.data = p;

    if (ngx_http_llm_provider_credential_ours(provider, &host)) {
        p = ngx_sprintf(p, "%V: %V" CRLF, &host, &provider->host);
    }

    if (ngx_http_llm_provider_credential_ours(provider, &coding)) {
        p = ngx_sprintf(p, "%V: identity" CRLF, &coding);
    }

    if (credential->secret.len
        && ngx_http_llm_provider_credential_ours(provider,
                                                 &dialect->key_header))
    {
        p = ngx_sprintf(p, "%V: %V%V" CRLF, &dialect->key_header,
                        &dialect->key_prefix, &credential->secret);
    }

    credential->head.len = p - credential->head.data;

    return NGX_OK;
}


/* "header" of llm_provider replaces headers of this function */

static ngx_uint_t
ngx_http_llm_provider_credential_ours(ngx_http_llm_provider_t *provider,
    const ngx_str_t *name)
{
    ngx_uint_t                  i;
    ngx_http_llm_set_header_t  *header;

    if (provider->headers == NULL) {
        return 1;
    }

    header = provider->headers->elts;

    for (i = 0; i < provider->headers->nelts; i++) {

        if (header[i].name.len == name->len
            && ngx_strncasecmp(header[i].name.data, name->data, name->len)
               == 0)
        {
            return 0;
        }
    }

    return 1;
}
