/*
 * Sealing for Redis: AES-256-GCM and HMAC-SHA256 over OpenSSL, whose contexts
 * are made once, as looking for an implementation costs more than a short text
 * does.  A key seals one text and never another, so its nonce is constant:
 * the salt that the key is made of is what differs.
 */


#include <ngx_llm_seal.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>


#define NGX_LLM_SEAL_VERSION  1
#define NGX_LLM_SEAL_NONCE    12

/* OpenSSL counts in ints */
#define NGX_LLM_SEAL_LONGEST  (1024 * 1024 * 1024)


struct ngx_llm_seal_s {
    EVP_MAC         *mac;
    EVP_MAC_CTX     *hmac;
    EVP_CIPHER      *cipher;
    EVP_CIPHER_CTX  *gcm;
    ngx_str_t        secret;
    u_char           own[NGX_LLM_SEAL_KEY];  /* for a MAC without a key */
};


static ngx_int_t ngx_llm_seal_contexts(ngx_llm_seal_t *seal);
static void ngx_llm_seal_done(void *data);
static ngx_int_t ngx_llm_seal_encrypt(ngx_llm_seal_t *seal, ngx_str_t *pieces,
    ngx_uint_t n, u_char *out);
static ngx_int_t ngx_llm_seal_begin(ngx_llm_seal_t *seal, ngx_str_t *scope,
    const u_char *name, const u_char *front, int encrypt);
static ngx_int_t ngx_llm_seal_key(ngx_llm_seal_t *seal, ngx_str_t *scope,
    const u_char *salt, u_char *key);


ngx_llm_seal_t *
ngx_llm_seal_create(ngx_conf_t *cf, ngx_str_t *secret)
{
    ngx_str_t            label;
    ngx_llm_seal_t      *seal;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(ngx_llm_seal_t));
    if (cln == NULL) {
        return NULL;
    }

    seal = cln->data;
    ngx_memzero(seal, sizeof(ngx_llm_seal_t));

    cln->handler = ngx_llm_seal_done;

    seal->secret = *secret;

    ngx_str_set(&label, "llm key 1");

    if (ngx_llm_seal_contexts(seal) != NGX_OK
        || ngx_llm_seal_mac(seal, secret->data, secret->len, &label, 1,
                            seal->own)
           != NGX_OK)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "AES-256-GCM and HMAC-SHA256 cannot be had");
        return NULL;
    }

    return seal;
}


static ngx_int_t
ngx_llm_seal_contexts(ngx_llm_seal_t *seal)
{
    OSSL_PARAM   params[2];
    static char  sha256[] = "SHA256";

    seal->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    seal->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    seal->gcm = EVP_CIPHER_CTX_new();

    if (seal->mac == NULL || seal->cipher == NULL || seal->gcm == NULL) {
        return NGX_ERROR;
    }

    seal->hmac = EVP_MAC_CTX_new(seal->mac);
    if (seal->hmac == NULL) {
        return NGX_ERROR;
    }

    params[0] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST,
                                                 sha256, 0);
    params[1] = OSSL_PARAM_construct_end();

    if (EVP_MAC_CTX_set_params(seal->hmac, params) != 1
        || EVP_CipherInit_ex2(seal->gcm, seal->cipher, NULL, NULL, 1, NULL)
           != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_llm_seal_done(void *data)
{
    ngx_llm_seal_t  *seal = data;

    EVP_CIPHER_CTX_free(seal->gcm);
    EVP_CIPHER_free(seal->cipher);
    EVP_MAC_CTX_free(seal->hmac);
    EVP_MAC_free(seal->mac);

    OPENSSL_cleanse(seal->own, sizeof(seal->own));
}


ngx_int_t
ngx_llm_seal(ngx_llm_seal_t *seal, ngx_str_t *scope, const u_char *name,
    ngx_str_t *pieces, ngx_uint_t n, u_char *out)
{
    out[0] = NGX_LLM_SEAL_VERSION;

    if (RAND_bytes(&out[1], NGX_LLM_SEAL_SALT) != 1
        || ngx_llm_seal_begin(seal, scope, name, out, 1) != NGX_OK
        || ngx_llm_seal_encrypt(seal, pieces, n, out + NGX_LLM_SEAL_FRONT)
           != NGX_OK)
    {
        ERR_clear_error();
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_seal_encrypt(ngx_llm_seal_t *seal, ngx_str_t *pieces, ngx_uint_t n,
    u_char *out)
{
    int         len;
    size_t      total;
    ngx_uint_t  i;

    total = 0;

    for (i = 0; i < n; i++) {

        if (pieces[i].len > NGX_LLM_SEAL_LONGEST - total) {
            return NGX_ERROR;
        }

        total += pieces[i].len;

        if (pieces[i].len == 0) {
            continue;
        }

        if (EVP_CipherUpdate(seal->gcm, out, &len, pieces[i].data,
                             pieces[i].len)
            != 1)
        {
            return NGX_ERROR;
        }

        out += len;
    }

    if (EVP_CipherFinal_ex(seal->gcm, out, &len) != 1
        || EVP_CIPHER_CTX_ctrl(seal->gcm, EVP_CTRL_AEAD_GET_TAG,
                               NGX_LLM_SEAL_TAG, out)
           != 1)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_unseal(ngx_llm_seal_t *seal, ngx_str_t *scope, const u_char *name,
    ngx_str_t *sealed, u_char *out)
{
    int        n;
    u_char    *text;
    size_t     len;
    ngx_int_t  rc;

    if (sealed->len < NGX_LLM_SEAL_EXTRA
        || sealed->len > NGX_LLM_SEAL_LONGEST
        || sealed->data[0] != NGX_LLM_SEAL_VERSION)
    {
        return NGX_DECLINED;
    }

    text = sealed->data + NGX_LLM_SEAL_FRONT;
    len = sealed->len - NGX_LLM_SEAL_EXTRA;

    if (ngx_llm_seal_begin(seal, scope, name, sealed->data, 0) != NGX_OK
        || EVP_CIPHER_CTX_ctrl(seal->gcm, EVP_CTRL_AEAD_SET_TAG,
                               NGX_LLM_SEAL_TAG, text + len)
           != 1
        || (len && EVP_CipherUpdate(seal->gcm, out, &n, text, len) != 1))
    {
        rc = NGX_ERROR;

    } else {
        rc = (EVP_CipherFinal_ex(seal->gcm, out + len, &n) == 1)
             ? NGX_OK : NGX_DECLINED;
    }

    if (rc != NGX_OK) {
        /* there it is by now, whoever has written it */
        OPENSSL_cleanse(out, len);
        ERR_clear_error();
    }

    return rc;
}


/* front: the version and the salt */

static ngx_int_t
ngx_llm_seal_begin(ngx_llm_seal_t *seal, ngx_str_t *scope, const u_char *name,
    const u_char *front, int encrypt)
{
    int     n, rc;
    u_char  key[NGX_LLM_SEAL_KEY];

    static const u_char  nonce[NGX_LLM_SEAL_NONCE];

    if (scope->len > NGX_LLM_SEAL_LONGEST
        || ngx_llm_seal_key(seal, scope, front + 1, key) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = EVP_CipherInit_ex2(seal->gcm, NULL, key, nonce, encrypt, NULL);

    OPENSSL_cleanse(key, sizeof(key));

    if (rc != 1
        || EVP_CipherUpdate(seal->gcm, NULL, &n, front, 1) != 1
        || EVP_CipherUpdate(seal->gcm, NULL, &n, name, NGX_LLM_SEAL_KEY) != 1
        || (scope->len
            && EVP_CipherUpdate(seal->gcm, NULL, &n, scope->data, scope->len)
               != 1))
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_seal_key(ngx_llm_seal_t *seal, ngx_str_t *scope, const u_char *salt,
    u_char *key)
{
    u_char     of_scope[NGX_LLM_SEAL_KEY];
    ngx_int_t  rc;
    ngx_str_t  pieces[2];

    ngx_str_set(&pieces[0], "llm seal 1");
    pieces[1] = *scope;

    rc = ngx_llm_seal_mac(seal, seal->secret.data, seal->secret.len, pieces, 2,
                          of_scope);

    if (rc == NGX_OK) {
        pieces[0].data = (u_char *) salt;
        pieces[0].len = NGX_LLM_SEAL_SALT;

        rc = ngx_llm_seal_mac(seal, of_scope, sizeof(of_scope), pieces, 1,
                              key);
    }

    OPENSSL_cleanse(of_scope, sizeof(of_scope));

    return rc;
}


ngx_int_t
ngx_llm_seal_mac(ngx_llm_seal_t *seal, const u_char *key, size_t len,
    ngx_str_t *pieces, ngx_uint_t n, u_char *out)
{
    size_t      size;
    ngx_uint_t  i;

    if (key == NULL) {
        key = seal->own;
        len = sizeof(seal->own);
    }

    if (EVP_MAC_init(seal->hmac, key, len, NULL) != 1) {
        goto failed;
    }

    for (i = 0; i < n; i++) {

        if (EVP_MAC_update(seal->hmac, pieces[i].data, pieces[i].len) != 1) {
            goto failed;
        }
    }

    if (EVP_MAC_final(seal->hmac, out, &size, NGX_LLM_SEAL_KEY) != 1) {
        goto failed;
    }

    return NGX_OK;

failed:

    ERR_clear_error();

    return NGX_ERROR;
}
