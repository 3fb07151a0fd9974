/*
 * ngx_llm_canon_tree.c: one pass over the text of a body, which makes a node
 * of each key, value and row of numbers.  Members are sorted when their object
 * is closed: a key that comes in order costs one comparison.
 */

#include "ngx_llm_canon_tree.h"


static ngx_int_t ngx_llm_canon_open(ngx_llm_canon_pass_t *s, const u_char *p);
static const u_char *ngx_llm_canon_key(ngx_llm_canon_pass_t *s,
    const u_char *p);
static ngx_int_t ngx_llm_canon_append(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f);
static const u_char *ngx_llm_canon_scalar(ngx_llm_canon_pass_t *s,
    const u_char *p);
static const u_char *ngx_llm_canon_string(ngx_llm_canon_pass_t *s,
    const u_char *p);
static ngx_int_t ngx_llm_canon_shut(ngx_llm_canon_pass_t *s);

static uint32_t ngx_llm_canon_sort(ngx_llm_canon_pass_t *s, uint32_t key);
static uint32_t ngx_llm_canon_merge(ngx_llm_canon_pass_t *s, uint32_t one,
    uint32_t two);
static ngx_int_t ngx_llm_canon_order(ngx_llm_canon_pass_t *s, uint32_t one,
    uint32_t two);


static ngx_inline u_char
ngx_llm_canon_peek(ngx_llm_canon_pass_t *s, const u_char *p)
{
    return p < s->end ? *p : '\0';
}


/* a node for the text from p to end, or NULL */

static ngx_inline ngx_llm_canon_node_t *
ngx_llm_canon_node(ngx_llm_canon_pass_t *s, const u_char *p,
    const u_char *end, ngx_uint_t type)
{
    ngx_llm_canon_node_t  *node;

    if (s->used == s->c->nnodes) {
        s->rc = NGX_AGAIN;
        return NULL;
    }

    node = &s->c->nodes[s->used++];

    node->pos = (uint32_t) (p - s->body);
    node->len = (uint32_t) (end - p);
    node->next = 0;
    node->type = (uint32_t) type;

    return node;
}


ngx_int_t
ngx_llm_canon_read(ngx_llm_canon_pass_t *s)
{
    u_char         ch, closer;
    const u_char  *p;

    p = ngx_llm_canon_space(s->body, s->end);

    if (ngx_llm_canon_peek(s, p) != '{') {
        return NGX_ERROR;
    }

    for ( ;; ) {
        ch = ngx_llm_canon_peek(s, p);

        if (ch == '{' || ch == '[') {

            if (ngx_llm_canon_open(s, p) != NGX_OK) {
                return s->rc;
            }

            closer = s->frames[s->depth - 1].closer;
            p = ngx_llm_canon_space(p + 1, s->end);

            if (ngx_llm_canon_peek(s, p) != closer) {

                if (ch == '{') {
                    p = ngx_llm_canon_key(s, p);
                    if (p == NULL) {
                        return s->rc;
                    }
                }

                continue;
            }

        } else {
            p = ngx_llm_canon_scalar(s, p);
            if (p == NULL) {
                return s->rc;
            }
        }

        /* close all that ends here */

        for ( ;; ) {
            p = ngx_llm_canon_space(p, s->end);
            ch = ngx_llm_canon_peek(s, p);
            closer = s->frames[s->depth - 1].closer;

            if (ch != closer) {
                break;
            }

            if (ngx_llm_canon_shut(s) != NGX_OK) {
                return s->rc;
            }

            p++;

            if (s->depth == 0) {
                return NGX_OK;
            }
        }

        if (ch != ',') {
            return NGX_ERROR;
        }

        p = ngx_llm_canon_space(p + 1, s->end);

        if (closer == '}') {
            p = ngx_llm_canon_key(s, p);
            if (p == NULL) {
                return s->rc;
            }
        }
    }
}


/* p is at '{' or '[' */

static ngx_int_t
ngx_llm_canon_open(ngx_llm_canon_pass_t *s, const u_char *p)
{
    ngx_uint_t              type;
    ngx_llm_canon_frame_t  *f;

    if (s->depth == NGX_LLM_CANON_DEPTH) {
        return ngx_llm_canon_refuse(s, NGX_LLM_CANON_DEEP);
    }

    f = &s->frames[s->depth];

    f->node = s->used;
    f->key = 0;
    f->first = 0;
    f->last = 0;
    f->role = ngx_llm_canon_container_role(s);
    f->member = 0;
    f->closer = (*p == '{') ? '}' : ']';
    f->unsorted = 0;
    f->typed = 0;

    type = (*p == '{') ? NGX_LLM_CANON_OBJECT : NGX_LLM_CANON_ARRAY;

    if (ngx_llm_canon_node(s, s->body, s->body, type) == NULL) {
        return NGX_ERROR;
    }

    s->depth++;

    return NGX_OK;
}


/* p is where a key must start; returns where its value must */

static const u_char *
ngx_llm_canon_key(ngx_llm_canon_pass_t *s, const u_char *p)
{
    uint32_t                key;
    ngx_llm_canon_frame_t  *f;

    if (ngx_llm_canon_peek(s, p) != '"') {
        return NULL;
    }

    key = s->used;

    p = ngx_llm_canon_string(s, p);
    if (p == NULL) {
        return NULL;
    }

    f = &s->frames[s->depth - 1];
    f->key = key;

    if (ngx_llm_canon_append(s, f) != NGX_OK) {
        return NULL;
    }

    f->member = ngx_llm_canon_role(s, &s->c->nodes[key]);

    p = ngx_llm_canon_space(p, s->end);

    if (ngx_llm_canon_peek(s, p) != ':') {
        return NULL;
    }

    return ngx_llm_canon_space(p + 1, s->end);
}


/* puts f->key into the list, which stays in order if it goes to an end */

static ngx_int_t
ngx_llm_canon_append(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f)
{
    ngx_int_t              order;
    ngx_llm_canon_node_t  *nodes;

    nodes = s->c->nodes;

    if (f->first == 0) {
        f->first = f->key;
        f->last = f->key;
        return NGX_OK;
    }

    if (!f->unsorted) {
        order = ngx_llm_canon_order(s, f->last, f->key);

        if (order > 0 && f->first != f->last) {
            order = ngx_llm_canon_order(s, f->first, f->key);
            f->unsorted = (order < 0);
        }

        if (order == 0) {
            return NGX_DECLINED;
        }

        if (order > 0) {
            nodes[f->key].next = f->first;
            f->first = f->key;
            return NGX_OK;
        }
    }

    nodes[f->last].next = f->key;
    f->last = f->key;

    return NGX_OK;
}


/* p is where a value must start that is no container */

static const u_char *
ngx_llm_canon_scalar(ngx_llm_canon_pass_t *s, const u_char *p)
{
    size_t         len;
    uint32_t       v;
    ngx_uint_t     plain, row, type;
    const u_char  *start;

    v = s->used;
    start = p;
    len = 4;

    switch (ngx_llm_canon_peek(s, p)) {

    case '"':
        p = ngx_llm_canon_string(s, p);
        if (p == NULL) {
            return NULL;
        }

        return ngx_llm_canon_value(s, v) == NGX_OK ? p : NULL;

    case 't':
        type = NGX_LLM_CANON_TRUE;
        break;

    case 'f':
        type = NGX_LLM_CANON_FALSE;
        len = 5;
        break;

    case 'n':
        type = NGX_LLM_CANON_NULL;
        break;

    default:
        row = (s->frames[s->depth - 1].closer == ']');

        p = ngx_llm_canon_row(p, s->end, row, &plain);
        if (p == NULL) {
            return NULL;
        }

        type = NGX_LLM_CANON_NUMBERS
               | (plain ? 0 : NGX_LLM_CANON_REWRITTEN);
        len = p - start;
    }

    if ((size_t) (s->end - start) < len) {
        return NULL;
    }

    p = start + len;

    if (ngx_llm_canon_node(s, start, p, type) == NULL) {
        return NULL;
    }

    return ngx_llm_canon_value(s, v) == NGX_OK ? p : NULL;
}


/* p is at the opening quote */

static const u_char *
ngx_llm_canon_string(ngx_llm_canon_pass_t *s, const u_char *p)
{
    ngx_uint_t     flags;
    const u_char  *start;

    start = p;
    flags = NGX_LLM_CANON_STRING;

    p = s->scan->close(p + 1, s->end, &flags);
    if (p == NULL) {
        return NULL;
    }

    if (ngx_llm_canon_node(s, start, ++p, flags) == NULL) {
        return NULL;
    }

    return p;
}


/* the innermost container has ended */

static ngx_int_t
ngx_llm_canon_shut(ngx_llm_canon_pass_t *s)
{
    ngx_llm_canon_node_t   *node;
    ngx_llm_canon_frame_t  *f;

    f = &s->frames[--s->depth];
    node = &s->c->nodes[f->node];

    node->next = s->used;

    if (f->unsorted) {
        f->first = ngx_llm_canon_sort(s, f->first);

        if (f->first == 0) {
            return NGX_DECLINED;
        }
    }

    if (f->closer == '}') {
        node->pos = f->first;
    }

    ngx_llm_canon_ended(s, f);

    return s->depth ? ngx_llm_canon_value(s, f->node) : NGX_OK;
}


/*
 * Sorts a list of keys and returns its first one, or 0 if a key is in it
 * twice.  Lists of 1, 2, 4... keys wait in "sorted" for one of their size, so
 * that most is merged while it is in the processor's cache.
 */

static uint32_t
ngx_llm_canon_sort(ngx_llm_canon_pass_t *s, uint32_t key)
{
    uint32_t    list, next, sorted[32];
    ngx_uint_t  i, n;

    n = 0;

    for ( /* void */ ; key; key = next) {
        next = s->c->nodes[key].next;
        s->c->nodes[key].next = 0;
        list = key;

        for (i = 0; i < n && sorted[i]; i++) {
            list = ngx_llm_canon_merge(s, sorted[i], list);
            if (list == 0) {
                return 0;
            }

            sorted[i] = 0;
        }

        if (i == n) {
            n++;
        }

        sorted[i] = list;
    }

    for (list = 0, i = 0; i < n; i++) {

        if (sorted[i] && list) {
            list = ngx_llm_canon_merge(s, sorted[i], list);
            if (list == 0) {
                return 0;
            }

        } else if (sorted[i]) {
            list = sorted[i];
        }
    }

    return list;
}


/* neither is empty */

static uint32_t
ngx_llm_canon_merge(ngx_llm_canon_pass_t *s, uint32_t one, uint32_t two)
{
    uint32_t               head, *link;
    ngx_int_t              order;
    ngx_llm_canon_node_t  *nodes;

    nodes = s->c->nodes;
    link = &head;

    while (one && two) {
        order = ngx_llm_canon_order(s, one, two);

        if (order == 0) {
            return 0;
        }

        if (order < 0) {
            *link = one;
            link = &nodes[one].next;
            one = nodes[one].next;

        } else {
            *link = two;
            link = &nodes[two].next;
            two = nodes[two].next;
        }
    }

    *link = one ? one : two;

    return head;
}


/* two keys of one object; if they are equal this is refused */

static ngx_int_t
ngx_llm_canon_order(ngx_llm_canon_pass_t *s, uint32_t one, uint32_t two)
{
    size_t                       len, two_len;
    ngx_int_t                    order;
    const u_char                *p, *q;
    const ngx_llm_canon_node_t  *a, *b;

    a = &s->c->nodes[one];
    b = &s->c->nodes[two];

    p = s->body + a->pos + 1;
    q = s->body + b->pos + 1;
    len = a->len - 2;
    two_len = b->len - 2;

    if ((a->type | b->type) & NGX_LLM_CANON_ESCAPED) {
        order = ngx_llm_canon_compare(p, len, q, two_len);

    } else {
        order = ngx_memcmp(p, q, len < two_len ? len : two_len);

        if (order == 0) {
            order = (len > two_len) - (len < two_len);
        }
    }

    if (order == 0) {
        (void) ngx_llm_canon_refuse(s, NGX_LLM_CANON_DUPLICATE);
    }

    return order;
}
