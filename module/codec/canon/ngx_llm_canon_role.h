/*
 * ngx_llm_canon_role.h: what the members of a body are to its canonical
 * form.  For ngx_llm_canon*.c only.
 */

#ifndef _NGX_LLM_CANON_ROLE_H_INCLUDED_
#define _NGX_LLM_CANON_ROLE_H_INCLUDED_


#include "ngx_llm_canon_pass.h"


/*
 * What the value of a key is, when this is read in a container that is
 * "within", by its text; by its node if there are escapes in it.
 */
uint32_t ngx_llm_canon_role(uint32_t within, const u_char *text, size_t len);
uint32_t ngx_llm_canon_role_escaped(ngx_llm_canon_pass_t *s, uint32_t within,
    const ngx_llm_canon_node_t *key);

/*
 * A value in f is complete, of which f->member is not 0.  NGX_DECLINED: it is
 * left out, and has a lone surrogate.
 */
ngx_int_t ngx_llm_canon_role_member(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, uint32_t v);


#endif /* _NGX_LLM_CANON_ROLE_H_INCLUDED_ */
