/*
 * ngx_llm_blame.h: what a provider's error answer says, and about whom.
 */

#ifndef _NGX_LLM_BLAME_H_INCLUDED_
#define _NGX_LLM_BLAME_H_INCLUDED_


#include <ngx_llm_codec.h>


typedef enum {
    NGX_LLM_BLAME_NOBODY = 0,        /* nothing is known of it */
    NGX_LLM_BLAME_REQUEST,           /* the client's: would fail anywhere */
    NGX_LLM_BLAME_CREDENTIAL,        /* our key is refused */
    NGX_LLM_BLAME_QUOTA,             /* our key has no money left */
    NGX_LLM_BLAME_NOT_FOUND,         /* there is no such model there */
    NGX_LLM_BLAME_RATE,              /* too much, for now */
    NGX_LLM_BLAME_OVERLOAD,          /* the provider's own trouble */
    NGX_LLM_BLAME_TIMEOUT
} ngx_llm_blame_e;


/* hint_ms: how long to wait, or -1 */
ngx_llm_blame_e ngx_llm_blame(ngx_uint_t status, const u_char *body,
    size_t len, int64_t *hint_ms);


#endif /* _NGX_LLM_BLAME_H_INCLUDED_ */
