/*
 * ngx_llm_canon_pass.h: a body on its way to its canonical form: nodes,
 * and the containers that are open.  For ngx_llm_canon*.c only.
 */

#ifndef _NGX_LLM_CANON_PASS_H_INCLUDED_
#define _NGX_LLM_CANON_PASS_H_INCLUDED_


#include "ngx_llm_canon_number.h"


/* ngx_llm_canon_node_t.type: one of these, with flags */
#define NGX_LLM_CANON_OBJECT     1
#define NGX_LLM_CANON_ARRAY      2
#define NGX_LLM_CANON_STRING     3
#define NGX_LLM_CANON_NUMBERS    4   /* a number, or several in an array */
#define NGX_LLM_CANON_TRUE       5
#define NGX_LLM_CANON_FALSE      6
#define NGX_LLM_CANON_NULL       7

#define ngx_llm_canon_type(node)         ((node)->type & 0x0f)
#define ngx_llm_canon_container(node)                                         \
    (ngx_llm_canon_type(node) <= NGX_LLM_CANON_ARRAY)

/* NGX_LLM_CANON_ESCAPED, NGX_LLM_CANON_REWRITTEN: 0x10, 0x20 */
#define NGX_LLM_CANON_LEFT_OUT   0x40   /* a key: with its value */
#define NGX_LLM_CANON_ORDERED    0x80   /* an object: its members keep their
                                           order */

/* roles of containers; ngx_llm_canon_role.c has the roles of other values */
#define NGX_LLM_CANON_OUTER      0x0001   /* it is the outer object */
#define NGX_LLM_CANON_TOOLS      0x0400   /* an array of TOOL */
#define NGX_LLM_CANON_TOOL       0x0800   /* an object that has a type */
#define NGX_LLM_CANON_SCHEMA     0x20000  /* properties of a JSON schema */


/* a container that is open */

typedef struct {
    uint32_t                 node;      /* its own */
    uint32_t                 key;       /* that was read last */
    uint32_t                 first;     /* keys in order, 0: none yet */
    uint32_t                 last;
    uint32_t                 role;      /* NGX_LLM_CANON_... */
    uint32_t                 member;    /* role of its next value */
    u_char                   closer;
    u_char                   unsorted;
    u_char                   ordered;   /* members are written as they came */
    u_char                   typed;     /* a TOOL: it has a type we know */
} ngx_llm_canon_frame_t;


typedef struct {
    ngx_llm_canon_t             *c;
    const u_char                *body;
    const u_char                *end;

    ngx_llm_canon_node_t        *nodes;     /* nodes of c */
    size_t                       nnodes;
    uint32_t                     used;      /* used nodes */
    ngx_int_t                    rc;        /* why it went no further */
    ngx_llm_canon_text_t         text;
    ngx_llm_canon_frame_t        frames[1 + NGX_LLM_CANON_DEPTH];
} ngx_llm_canon_pass_t;


static ngx_inline ngx_int_t
ngx_llm_canon_refuse(ngx_llm_canon_pass_t *s, ngx_uint_t reason)
{
    s->c->refused = reason;
    s->rc = NGX_DECLINED;

    return NGX_DECLINED;
}


#endif /* _NGX_LLM_CANON_PASS_H_INCLUDED_ */
