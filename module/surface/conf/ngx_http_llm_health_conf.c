/*
 * Which records of health a configuration has: of its providers, their keys
 * and the targets of its models.  Two models with the same target share one; a
 * key is known by its fingerprint, so that a reload that reorders the keys, or
 * replaces a bad one, does not mistake them.
 */


#include "../ngx_http_llm_surface.h"

#include <openssl/evp.h>


#define NGX_HTTP_LLM_FINGERPRINT  8      /* bytes of SHA-256 */


static ngx_int_t ngx_http_llm_health_conf_provider(ngx_conf_t *cf,
    ngx_llm_health_t *health, ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_health_conf_credential(ngx_conf_t *cf,
    ngx_llm_health_t *health, ngx_http_llm_provider_t *provider,
    ngx_http_llm_credential_t *credential);


ngx_int_t
ngx_http_llm_health_conf_init(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_str_t                 *name;
    ngx_uint_t                 i, n;
    ngx_http_llm_model_t     **model;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_provider_t  **provider;

    lmcf->health = ngx_llm_health_create(cf, lmcf->zone);
    if (lmcf->health == NULL) {
        return NGX_ERROR;
    }

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {

        if (ngx_http_llm_health_conf_provider(cf, lmcf->health, provider[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {

            name = (target[n].model.len && !target[n].wildcard)
                   ? &target[n].model : &model[i]->pattern;

            if (ngx_llm_health_add(cf, lmcf->health, NGX_LLM_HEALTH_TARGET,
                                   &target[n].provider->name, name,
                                   &target[n].health)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_health_conf_provider(ngx_conf_t *cf, ngx_llm_health_t *health,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;

    static ngx_str_t  none = ngx_null_string;

    if (ngx_llm_health_add(cf, health, NGX_LLM_HEALTH_PROVIDER,
                           &provider->name, &none, &provider->health)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {

        if (ngx_http_llm_health_conf_credential(cf, health, provider,
                                                &credential[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_health_conf_credential(ngx_conf_t *cf, ngx_llm_health_t *health,
    ngx_http_llm_provider_t *provider, ngx_http_llm_credential_t *credential)
{
    u_char      digest[EVP_MAX_MD_SIZE], hex[2 * NGX_HTTP_LLM_FINGERPRINT];
    ngx_str_t   name;

    if (EVP_Digest(credential->secret.data, credential->secret.len, digest,
                   NULL, EVP_sha256(), NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    ngx_hex_dump(hex, digest, NGX_HTTP_LLM_FINGERPRINT);

    name.data = hex;
    name.len = sizeof(hex);

    return ngx_llm_health_add(cf, health, NGX_LLM_HEALTH_CREDENTIAL,
                              &provider->name, &name, &credential->health);
}
