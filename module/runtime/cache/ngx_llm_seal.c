/*
 * Sealing for Redis: AES-256-GCM over OpenSSL, whose context is made once, as
 * looking for an implementation costs more than a short text does.  A key seals
 * one text and never another, so its nonce is constant: the salt that the key
 * is made of, by HMAC-SHA256, is what differs.
 */


#include <ngx_llm_seal.h>
#include <ngx_llm_digest.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rand.h>


#define NGX_LLM_SEAL_VERSION  1
#define NGX_LLM_SEAL_NONCE    12

/* OpenSSL counts in ints */
#define NGX_LLM_SEAL_LONGEST  (1024 * 1024 * 1024)


struct ngx_llm_seal_s {
    EVP_CIPHER        *cipher;
    EVP_CIPHER_CTX    *gcm;
    ngx_llm_digest_t  *digest;
    ngx_str_t          secret;
};


static void ngx_llm_seal_done(void *data);
static ngx_int_t ngx_llm_seal_encrypt(ngx_llm_seal_t *seal, ngx_str_t *pieces,
    ngx_uint_t n, u_char *out);
static ngx_int_t ngx_llm_seal_begin(ngx_llm_seal_t *seal, ngx_str_t *scope,
    const u_char *name, const u_char *front, int encrypt);
static void ngx_llm_seal_key(ngx_llm_seal_t *seal, ngx_str_t *scope,
    const u_char *salt, u_char *key);


ngx_llm_seal_t *
ngx_llm_seal_create(ngx_conf_t *cf, ngx_str_t *secret)
{
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
    seal->digest = ngx_llm_digest_create(cf);
    seal->cipher = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
    seal->gcm = EVP_CIPHER_CTX_new();

    if (seal->digest == NULL) {
        return NULL;
    }

    if (seal->cipher == NULL || seal->gcm == NULL
        || EVP_CipherInit_ex2(seal->gcm, seal->cipher, NULL, NULL, 1, NULL)
           != 1)
    {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0, "AES-256-GCM cannot be had");
        return NULL;
    }

    return seal;
}


static void
ngx_llm_seal_done(void *data)
{
    ngx_llm_seal_t  *seal = data;

    EVP_CIPHER_CTX_free(seal->gcm);
    EVP_CIPHER_free(seal->cipher);
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

    if (scope->len > NGX_LLM_SEAL_LONGEST) {
        return NGX_ERROR;
    }

    ngx_llm_seal_key(seal, scope, front + 1, key);

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


static void
ngx_llm_seal_key(ngx_llm_seal_t *seal, ngx_str_t *scope, const u_char *salt,
    u_char *key)
{
    u_char                own[NGX_LLM_SEAL_KEY];
    ngx_str_t             of_scope;
    ngx_llm_digest_key_t  mac;

    static const char  label[] = "llm seal 1";

    of_scope.data = own;
    of_scope.len = NGX_LLM_SEAL_KEY;

    ngx_llm_digest_key(seal->digest, &seal->secret, &mac);
    ngx_llm_digest_mac(seal->digest, &mac);
    ngx_llm_digest_add(seal->digest, label, sizeof(label) - 1);
    ngx_llm_digest_add(seal->digest, scope->data, scope->len);
    ngx_llm_digest_mac_end(seal->digest, own);

    ngx_llm_digest_key(seal->digest, &of_scope, &mac);
    ngx_llm_digest_mac(seal->digest, &mac);
    ngx_llm_digest_add(seal->digest, salt, NGX_LLM_SEAL_SALT);
    ngx_llm_digest_mac_end(seal->digest, key);

    OPENSSL_cleanse(own, sizeof(own));
    OPENSSL_cleanse(&mac, sizeof(mac));
}
