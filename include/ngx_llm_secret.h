/*
 * ngx_llm_secret.h: SOURCE of the configuration, env:NAME, file:PATH or a
 * literal.
 */

#ifndef _NGX_LLM_SECRET_H_INCLUDED_
#define _NGX_LLM_SECRET_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Reads a secret while the configuration is parsed; *secret lives as long as
 * cf->pool.  A NAME of the environment is kept over a binary upgrade.
 * NGX_OK, or NGX_ERROR: it is absent, empty or holds a control byte (logged
 * with file and line; the secret itself is never printed).
 */
ngx_int_t ngx_llm_secret_read(ngx_conf_t *cf, ngx_str_t *source,
    ngx_str_t *secret);


#endif /* _NGX_LLM_SECRET_H_INCLUDED_ */
