/*
 * ngx_llm_seal.h: encryption of cached responses in Redis by AES-256-GCM.
 *
 * Each text has a separate key, derived from the secret, the scope and a random
 * salt.  It can be decrypted only with the scope and the name that it was
 * encrypted with.
 */

#ifndef _NGX_LLM_SEAL_H_INCLUDED_
#define _NGX_LLM_SEAL_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


#define NGX_LLM_SEAL_KEY     32      /* bytes of a name */
#define NGX_LLM_SEAL_SALT    16
#define NGX_LLM_SEAL_TAG     16

/* what sealing adds: a version and the salt in front, the tag behind */
#define NGX_LLM_SEAL_FRONT   (1 + NGX_LLM_SEAL_SALT)
#define NGX_LLM_SEAL_EXTRA   (NGX_LLM_SEAL_FRONT + NGX_LLM_SEAL_TAG)


typedef struct ngx_llm_seal_s  ngx_llm_seal_t;


/*
 * While the configuration is read; lives as long as it, secret is kept by
 * reference.  Each worker has its own copy, which it uses alone.  NULL: logged.
 */
ngx_llm_seal_t *ngx_llm_seal_create(ngx_conf_t *cf, ngx_str_t *secret);

/*
 * Encrypts n pieces, one after the other, with scope and the NGX_LLM_SEAL_KEY
 * bytes of name.  out has room for the pieces and NGX_LLM_SEAL_EXTRA bytes, and
 * does not overlap the pieces.  Returns NGX_OK, or NGX_ERROR if out is invalid.
 */
ngx_int_t ngx_llm_seal(ngx_llm_seal_t *seal, ngx_str_t *scope,
    const u_char *name, ngx_str_t *pieces, ngx_uint_t n, u_char *out);

/*
 * Opens sealed into out, which is its own data + NGX_LLM_SEAL_FRONT or does
 * not overlap it, and has room for its length without NGX_LLM_SEAL_EXTRA.
 * NGX_OK; NGX_DECLINED: it was not sealed under this secret, scope and name,
 * or has changed since; NGX_ERROR.  In both out holds nothing of the text.
 */
ngx_int_t ngx_llm_unseal(ngx_llm_seal_t *seal, ngx_str_t *scope,
    const u_char *name, ngx_str_t *sealed, u_char *out);


#endif /* _NGX_LLM_SEAL_H_INCLUDED_ */
