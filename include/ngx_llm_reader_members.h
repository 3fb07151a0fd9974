/*
 * ngx_llm_reader_members.h: the table of what the scanner shall tell, and how a
 * name is looked up in it.
 */

#ifndef _NGX_LLM_READER_MEMBERS_H_INCLUDED_
#define _NGX_LLM_READER_MEMBERS_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_READER_VALUE    32   /* bytes kept of a key or value */
#define NGX_LLM_READER_MEMBERS  24   /* of a node */


typedef struct {
    const char                 *name;
    u_char                      len;
    u_char                      slot;   /* the value's name; 0: no call */
    u_char                      node;   /* of its members; 0: skip them */
} ngx_llm_reader_member_t;


/*
 * A node names the members of an object or array.  Keys are numbered from 1,
 * keys of one length side by side: the first is found by its length, the others
 * (twins) follow it.  Key 0 stands for all other names, see
 * ngx_llm_reader_others().  A table is an array of nodes: node 1 is the
 * document, node 0 is not used.  The handler is called for both values of a key
 * that occurs twice.
 */
typedef struct {
    u_char                      first[NGX_LLM_READER_VALUE + 1];
    ngx_llm_reader_member_t     keys[1 + NGX_LLM_READER_MEMBERS + 1];
    ngx_llm_reader_member_t     element;        /* of an array */
} ngx_llm_reader_node_t;


#define ngx_llm_reader_member(n, name, slot, node)                            \
    .first[sizeof(name) - 1] = n, ngx_llm_reader_twin(n, name, slot, node)

#define ngx_llm_reader_twin(n, name, slot, node)                              \
    .keys[n] = { name, sizeof(name) - 1, slot, node }

#define ngx_llm_reader_others(slot, node)                                     \
    .keys[0] = { NULL, 0, slot, node }

#define ngx_llm_reader_element(slot, node)                                    \
    .element = { NULL, 0, slot, node }


/* Compares n bytes in registers; n is a constant, 4 or 8. */

static ngx_inline ngx_uint_t
ngx_llm_reader_same(const void *a, const void *b, size_t n)
{
    uint64_t  x = 0, y = 0;

    ngx_memcpy(&x, a, n);
    ngx_memcpy(&y, b, n);

    return x == y;
}

/* Compares len <= NGX_LLM_READER_VALUE bytes; the two may overlap. */

static ngx_inline ngx_uint_t
ngx_llm_reader_equal(const char *a, u_char *b, size_t len)
{
    size_t  i;

    if (len >= 8) {
        i = len - 8;

        return ngx_llm_reader_same(a, b, 8)
               && ngx_llm_reader_same(a + i, b + i, 8)
               && (len <= 16
                   || (ngx_llm_reader_same(a + 8, b + 8, 8)
                       && ngx_llm_reader_same(a + i - 8, b + i - 8, 8)));
    }

    if (len >= 4) {
        i = len - 4;

        return ngx_llm_reader_same(a, b, 4)
               && ngx_llm_reader_same(a + i, b + i, 4);
    }

    for (i = 0; i < len && a[i] == (char) b[i]; i++) { /* void */ }

    return i == len;
}

/* Returns keys[0] for a name that the node does not have. */

static inline __attribute__((always_inline)) const ngx_llm_reader_member_t *
ngx_llm_reader_find(const ngx_llm_reader_node_t *node, u_char *name, size_t len)
{
    ngx_uint_t                      n;
    const ngx_llm_reader_member_t  *key;

    n = (len > NGX_LLM_READER_VALUE) ? 0 : node->first[len];

    for (key = &node->keys[n]; n; key++) {

        if (ngx_llm_reader_equal(key->name, name, len)) {
            return key;
        }

        if (key[1].len != len) {
            return &node->keys[0];
        }
    }

    return key;
}


#endif /* _NGX_LLM_READER_MEMBERS_H_INCLUDED_ */
