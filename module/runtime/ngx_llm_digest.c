/*
 * SHA-256 without OpenSSL's search for an implementation: of a short text that
 * takes several times as long as the digest itself.
 */


#include <ngx_llm_digest.h>
#include <openssl/evp.h>


struct ngx_llm_digest_s {
    EVP_MD      *md;
    EVP_MD_CTX  *ctx;                /* each worker has its own copy of it */
};


static void ngx_llm_digest_done(void *data);


ngx_llm_digest_t *
ngx_llm_digest_create(ngx_conf_t *cf)
{
    ngx_llm_digest_t    *digest;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_llm_digest_t));
    if (cln == NULL) {
        return NULL;
    }

    digest = cln->data;

    digest->md = EVP_MD_fetch(NULL, "SHA256", NULL);
    digest->ctx = EVP_MD_CTX_new();

    cln->handler = ngx_llm_digest_done;

    if (digest->md == NULL || digest->ctx == NULL
        || EVP_DigestInit_ex2(digest->ctx, digest->md, NULL) != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "SHA-256 cannot be had");
        return NULL;
    }

    return digest;
}


static void
ngx_llm_digest_done(void *data)
{
    ngx_llm_digest_t  *digest = data;

    EVP_MD_CTX_free(digest->ctx);
    EVP_MD_free(digest->md);
}


ngx_int_t
ngx_llm_digest(ngx_llm_digest_t *digest, ngx_str_t *text, u_char *out)
{
    /* without a type the one of before is begun again */

    if (EVP_DigestInit_ex2(digest->ctx, NULL, NULL) != 1
        || EVP_DigestUpdate(digest->ctx, text->data, text->len) != 1
        || EVP_DigestFinal_ex(digest->ctx, out, NULL) != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}
