/*
 * The table of state that providers keep: created with llm_pass.  Each key of a
 * provider gets a number by which the table and Redis know it.
 */


#include "../ngx_http_llm_surface.h"

#include <openssl/evp.h>


static ngx_int_t ngx_http_llm_state_conf_owner(
    ngx_http_llm_provider_t *provider, ngx_http_llm_credential_t *credential);


ngx_int_t
ngx_http_llm_state_conf_init(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t                   i, n;
    ngx_http_llm_provider_t    **provider;
    ngx_http_llm_credential_t   *credential;

    static ngx_str_t  label = ngx_string("llm state 1");

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {
        credential = provider[i]->credentials.elts;

        for (n = 0; n < provider[i]->credentials.nelts; n++) {

            if (ngx_http_llm_state_conf_owner(provider[i], &credential[n])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    if (lmcf->redis) {
        lmcf->state.fleet = ngx_llm_cache_fleet_create(cf, lmcf->redis,
                                                   &lmcf->redis_conf->prefix,
                                                   's');
        if (lmcf->state.fleet == NULL) {
            return NGX_ERROR;
        }
    }

    lmcf->state.table = ngx_llm_state_table_create(cf, lmcf->zone);
    lmcf->state.digest = ngx_llm_digest_create(cf);

    if (lmcf->state.table == NULL || lmcf->state.digest == NULL) {
        return NGX_ERROR;
    }

    ngx_llm_digest_key(lmcf->state.digest, &label, &lmcf->state.own);

    return NGX_OK;
}


/*
 * The number survives a reload that reorders the keys, and is the same on all
 * nodes.  Redis sees it, so it has 24 bits of the key's digest: too few to
 * confirm a guess of the key.
 */

static ngx_int_t
ngx_http_llm_state_conf_owner(ngx_http_llm_provider_t *provider,
    ngx_http_llm_credential_t *credential)
{
    u_char    digest[EVP_MAX_MD_SIZE];
    uint32_t  name;

    if (EVP_Digest(credential->secret.data, credential->secret.len, digest,
                   NULL, EVP_sha256(), NULL)
        != 1)
    {
        return NGX_ERROR;
    }

    name = ngx_crc32_long(provider->name.data, provider->name.len);

    credential->owner = (uint64_t) name << 32
                        | (uint64_t) 1 << 24    /* 0 means unknown */
                        | (uint64_t) digest[0] << 16
                        | (uint64_t) digest[1] << 8
                        | (uint64_t) digest[2];

    return NGX_OK;
}
