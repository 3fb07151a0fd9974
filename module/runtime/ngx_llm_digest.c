/*
 * SHA-256 without OpenSSL's search for an implementation: of a short text that
 * takes several times as long as the digest itself.  HMAC is made of it here,
 * and short pieces are gathered, for the same reason.
 */


#include <ngx_llm_digest.h>
#include <openssl/evp.h>


#define NGX_LLM_DIGEST_BLOCK   64
#define NGX_LLM_DIGEST_GATHER  512


struct ngx_llm_digest_s {
    EVP_MD      *md;
    EVP_MD_CTX  *ctx;                /* each worker has its own copy of it */
    u_char       block[NGX_LLM_DIGEST_BLOCK];  /* of HMAC's key */
    size_t       gathered;
    u_char       pieces[NGX_LLM_DIGEST_GATHER];
};


static void ngx_llm_digest_done(void *data);
static ngx_int_t ngx_llm_digest_flush(ngx_llm_digest_t *digest);


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
    if (ngx_llm_digest_begin(digest) != NGX_OK
        || ngx_llm_digest_add(digest, text->data, text->len) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_llm_digest_end(digest, out);
}


ngx_int_t
ngx_llm_digest_begin(ngx_llm_digest_t *digest)
{
    digest->gathered = 0;

    /* without a type the one of before is begun again */

    return EVP_DigestInit_ex2(digest->ctx, NULL, NULL) == 1 ? NGX_OK
                                                            : NGX_ERROR;
}


ngx_int_t
ngx_llm_digest_add(ngx_llm_digest_t *digest, const void *data, size_t len)
{
    if (len > NGX_LLM_DIGEST_GATHER - digest->gathered) {

        if (ngx_llm_digest_flush(digest) != NGX_OK) {
            return NGX_ERROR;
        }

        if (len > NGX_LLM_DIGEST_GATHER) {
            return EVP_DigestUpdate(digest->ctx, data, len) == 1 ? NGX_OK
                                                                 : NGX_ERROR;
        }
    }

    if (len) {
        ngx_memcpy(digest->pieces + digest->gathered, data, len);
        digest->gathered += len;
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_digest_add_text(ngx_llm_digest_t *digest, ngx_str_t *text)
{
    u_char  len[4];

    len[0] = (u_char) text->len;
    len[1] = (u_char) (text->len >> 8);
    len[2] = (u_char) (text->len >> 16);
    len[3] = (u_char) (text->len >> 24);

    if (ngx_llm_digest_add(digest, len, 4) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_llm_digest_add(digest, text->data, text->len);
}


ngx_int_t
ngx_llm_digest_end(ngx_llm_digest_t *digest, u_char *out)
{
    if (ngx_llm_digest_flush(digest) != NGX_OK) {
        return NGX_ERROR;
    }

    return EVP_DigestFinal_ex(digest->ctx, out, NULL) == 1 ? NGX_OK
                                                           : NGX_ERROR;
}


static ngx_int_t
ngx_llm_digest_flush(ngx_llm_digest_t *digest)
{
    size_t  len;

    len = digest->gathered;
    digest->gathered = 0;

    return EVP_DigestUpdate(digest->ctx, digest->pieces, len) == 1
           ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_llm_digest_mac(ngx_llm_digest_t *digest, ngx_str_t *key)
{
    size_t   i;
    u_char  *block;

    block = digest->block;

    ngx_memzero(block, NGX_LLM_DIGEST_BLOCK);

    if (key->len <= NGX_LLM_DIGEST_BLOCK) {
        ngx_memcpy(block, key->data, key->len);

    } else if (ngx_llm_digest(digest, key, block) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_LLM_DIGEST_BLOCK; i++) {
        block[i] ^= 0x36;
    }

    if (ngx_llm_digest_begin(digest) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_llm_digest_add(digest, block, NGX_LLM_DIGEST_BLOCK);
}


ngx_int_t
ngx_llm_digest_mac_end(ngx_llm_digest_t *digest, u_char *out)
{
    size_t   i;
    u_char  *block;

    block = digest->block;

    for (i = 0; i < NGX_LLM_DIGEST_BLOCK; i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }

    if (ngx_llm_digest_end(digest, out) != NGX_OK
        || ngx_llm_digest_begin(digest) != NGX_OK
        || ngx_llm_digest_add(digest, block, NGX_LLM_DIGEST_BLOCK) != NGX_OK
        || ngx_llm_digest_add(digest, out, NGX_LLM_DIGEST_LEN) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_llm_digest_end(digest, out);
}
