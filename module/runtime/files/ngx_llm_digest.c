/*
 * SHA-256 by OpenSSL's low-level functions: the fetch, the allocations and the
 * checks of EVP take longer than the digest of a short text.  HMAC is built
 * here on these functions, and short pieces are gathered, for the same reason.
 */


#include <ngx_llm_digest.h>


#define NGX_LLM_DIGEST_BLOCK   64
#define NGX_LLM_DIGEST_GATHER  512


struct ngx_llm_digest_s {            /* each worker has a copy */
    SHA256_CTX                   sha;
    const ngx_llm_digest_key_t  *key;    /* of HMAC */
    size_t                       gathered;
    u_char                       pieces[NGX_LLM_DIGEST_GATHER];
};


static void ngx_llm_digest_begin(ngx_llm_digest_t *digest);
static void ngx_llm_digest_end(ngx_llm_digest_t *digest, u_char *out);
static void ngx_llm_digest_flush(ngx_llm_digest_t *digest);


ngx_llm_digest_t *
ngx_llm_digest_create(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_llm_digest_t));
}


void
ngx_llm_digest(ngx_llm_digest_t *digest, ngx_str_t *text, u_char *out)
{
    ngx_llm_digest_begin(digest);
    ngx_llm_digest_add(digest, text->data, text->len);
    ngx_llm_digest_end(digest, out);
}


static void
ngx_llm_digest_begin(ngx_llm_digest_t *digest)
{
    digest->gathered = 0;

    (void) SHA256_Init(&digest->sha);
}


void
ngx_llm_digest_add(ngx_llm_digest_t *digest, const void *data, size_t len)
{
    if (len > NGX_LLM_DIGEST_GATHER - digest->gathered) {

        ngx_llm_digest_flush(digest);

        if (len > NGX_LLM_DIGEST_GATHER) {
            (void) SHA256_Update(&digest->sha, data, len);
            return;
        }
    }

    if (len) {
        ngx_memcpy(digest->pieces + digest->gathered, data, len);
        digest->gathered += len;
    }
}


void
ngx_llm_digest_add_text(ngx_llm_digest_t *digest, ngx_str_t *text)
{
    u_char  *p;

    if (4 + text->len > NGX_LLM_DIGEST_GATHER - digest->gathered) {
        ngx_llm_digest_flush(digest);
    }

    p = digest->pieces + digest->gathered;

    p[0] = (u_char) text->len;
    p[1] = (u_char) (text->len >> 8);
    p[2] = (u_char) (text->len >> 16);
    p[3] = (u_char) (text->len >> 24);

    digest->gathered += 4;

    ngx_llm_digest_add(digest, text->data, text->len);
}


static void
ngx_llm_digest_end(ngx_llm_digest_t *digest, u_char *out)
{
    ngx_llm_digest_flush(digest);

    (void) SHA256_Final(out, &digest->sha);
}


static void
ngx_llm_digest_flush(ngx_llm_digest_t *digest)
{
    (void) SHA256_Update(&digest->sha, digest->pieces, digest->gathered);

    digest->gathered = 0;
}


void
ngx_llm_digest_key(ngx_llm_digest_t *digest, ngx_str_t *text,
    ngx_llm_digest_key_t *key)
{
    size_t  i;
    u_char  block[NGX_LLM_DIGEST_BLOCK];

    ngx_memzero(block, NGX_LLM_DIGEST_BLOCK);

    if (text->len <= NGX_LLM_DIGEST_BLOCK) {
        ngx_memcpy(block, text->data, text->len);

    } else {
        ngx_llm_digest(digest, text, block);
    }

    for (i = 0; i < NGX_LLM_DIGEST_BLOCK; i++) {
        block[i] ^= 0x36;
    }

    (void) SHA256_Init(&key->inner);
    (void) SHA256_Update(&key->inner, block, NGX_LLM_DIGEST_BLOCK);

    for (i = 0; i < NGX_LLM_DIGEST_BLOCK; i++) {
        block[i] ^= 0x36 ^ 0x5c;
    }

    (void) SHA256_Init(&key->outer);
    (void) SHA256_Update(&key->outer, block, NGX_LLM_DIGEST_BLOCK);

    ngx_explicit_memzero(block, NGX_LLM_DIGEST_BLOCK);
}


void
ngx_llm_digest_mac(ngx_llm_digest_t *digest, const ngx_llm_digest_key_t *key)
{
    digest->gathered = 0;
    digest->sha = key->inner;
    digest->key = key;
}


void
ngx_llm_digest_mac_end(ngx_llm_digest_t *digest, u_char *out)
{
    ngx_llm_digest_end(digest, out);

    digest->sha = digest->key->outer;

    ngx_llm_digest_add(digest, out, NGX_LLM_DIGEST_LEN);
    ngx_llm_digest_end(digest, out);
}
