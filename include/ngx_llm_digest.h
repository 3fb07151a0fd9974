/*
 * ngx_llm_digest.h: SHA-256, and HMAC with it, of short texts, many times.
 */

#ifndef _NGX_LLM_DIGEST_H_INCLUDED_
#define _NGX_LLM_DIGEST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

/* nginx's header has suppressed the warnings about deprecated functions */
#include <openssl/sha.h>


#define NGX_LLM_DIGEST_LEN  32


typedef struct ngx_llm_digest_s  ngx_llm_digest_t;


/* a key of HMAC, as far as it can be worked out before there is a text */

typedef struct {
    SHA256_CTX   inner;
    SHA256_CTX   outer;
} ngx_llm_digest_key_t;


/* while the configuration is read; lives as long as it.  NULL: memory */
ngx_llm_digest_t *ngx_llm_digest_create(ngx_conf_t *cf);

/* of text, into NGX_LLM_DIGEST_LEN bytes */
void ngx_llm_digest(ngx_llm_digest_t *digest, ngx_str_t *text, u_char *out);

/* works out a key; text of more than a block, 64 bytes, is its digest */
void ngx_llm_digest_key(ngx_llm_digest_t *digest, ngx_str_t *text,
    ngx_llm_digest_key_t *key);

/*
 * HMAC-SHA256 (RFC 2104) in pieces, one at a time: mac, add, mac_end.  The key
 * is needed until then.
 */
void ngx_llm_digest_mac(ngx_llm_digest_t *digest,
    const ngx_llm_digest_key_t *key);
void ngx_llm_digest_add(ngx_llm_digest_t *digest, const void *data,
    size_t len);
void ngx_llm_digest_mac_end(ngx_llm_digest_t *digest, u_char *out);

/* a piece: its length, four bytes, the lowest first, and the text */
void ngx_llm_digest_add_text(ngx_llm_digest_t *digest, ngx_str_t *text);


#endif /* _NGX_LLM_DIGEST_H_INCLUDED_ */
