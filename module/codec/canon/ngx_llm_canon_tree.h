/*
 * ngx_llm_canon_tree.h: the nodes of a body, for ngx_llm_canon*.c only.
 * Nodes are in the order of the text: a container precedes its members, a key
 * precedes its value.
 */

#ifndef _NGX_LLM_CANON_TREE_H_INCLUDED_
#define _NGX_LLM_CANON_TREE_H_INCLUDED_


#include "ngx_llm_canon_pass.h"


/*
 * Makes the nodes and sorts the members of each object.  NGX_OK: node 0 is the
 * outer object.  Otherwise what ngx_llm_canon() is to return.
 */
ngx_int_t ngx_llm_canon_tree_read(ngx_llm_canon_pass_t *s);


#endif /* _NGX_LLM_CANON_TREE_H_INCLUDED_ */
