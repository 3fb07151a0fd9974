/*
 * Identities that quotas are kept for: an address, a tenant, the name of a
 * consumer.  The same ones come again and again, and SHA-256 of each was a
 * quarter of what quotas cost in shared memory.
 */


#include <ngx_llm_identity.h>


#define NGX_LLM_IDENTITY_SLOTS  128  /* a power of 2 */

/* an address or a UUID; a longer text can be a secret, and is not stored */
#define NGX_LLM_IDENTITY_TEXT   39


typedef struct {
    u_char             len;          /* 0: empty */
    u_char             text[NGX_LLM_IDENTITY_TEXT];
    u_char             key[NGX_LLM_QUOTA_KEY];
} ngx_llm_identity_slot_t;


struct ngx_llm_identity_s {          /* each worker has its own copy of it */
    ngx_llm_digest_t         *digest;
    ngx_llm_identity_slot_t   slots[NGX_LLM_IDENTITY_SLOTS];
};


ngx_llm_identity_t *
ngx_llm_identity_create(ngx_conf_t *cf, ngx_llm_digest_t *digest)
{
    ngx_llm_identity_t  *identity;

    identity = ngx_pcalloc(cf->pool, sizeof(ngx_llm_identity_t));
    if (identity == NULL) {
        return NULL;
    }

    identity->digest = digest;

    return identity;
}


void
ngx_llm_identity(ngx_llm_identity_t *identity, ngx_str_t *text, u_char *key)
{
    u_char                    digest[NGX_LLM_DIGEST_LEN];
    ngx_llm_identity_slot_t  *slot;

    slot = NULL;

    if (text->len && text->len <= NGX_LLM_IDENTITY_TEXT) {
        slot = &identity->slots[ngx_murmur_hash2(text->data, text->len)
                                % NGX_LLM_IDENTITY_SLOTS];

        if (slot->len == text->len
            && ngx_memcmp(slot->text, text->data, text->len) == 0)
        {
            ngx_memcpy(key, slot->key, NGX_LLM_QUOTA_KEY);
            return;
        }
    }

    ngx_llm_digest(identity->digest, text, digest);
    ngx_memcpy(key, digest, NGX_LLM_QUOTA_KEY);

    if (slot) {
        slot->len = (u_char) text->len;
        ngx_memcpy(slot->text, text->data, text->len);
        ngx_memcpy(slot->key, key, NGX_LLM_QUOTA_KEY);
    }
}
