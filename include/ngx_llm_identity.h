/*
 * ngx_llm_identity.h: the keys of identities, as the digests that quotas keep.
 * A worker has those it was asked for last at hand.
 */

#ifndef _NGX_LLM_IDENTITY_H_INCLUDED_
#define _NGX_LLM_IDENTITY_H_INCLUDED_


#include <ngx_llm_claim.h>
#include <ngx_llm_digest.h>


typedef struct ngx_llm_identity_s  ngx_llm_identity_t;


/*
 * While the configuration is read; lives as long as it, and digest has to.
 * NULL: out of memory.
 */
ngx_llm_identity_t *ngx_llm_identity_create(ngx_conf_t *cf,
    ngx_llm_digest_t *digest);

/* of text, into NGX_LLM_QUOTA_KEY bytes */
void ngx_llm_identity(ngx_llm_identity_t *identity, ngx_str_t *text,
    u_char *key);


#endif /* _NGX_LLM_IDENTITY_H_INCLUDED_ */
