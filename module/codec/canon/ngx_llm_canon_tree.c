/*
 * ngx_llm_canon_tree.c: one pass over the text of a body, which makes a node
 * of each key, value and row of numbers.  Members are sorted when their object
 * is closed: a key that comes in order costs one comparison.
 */

#include "ngx_llm_canon_tree.h"
#include "ngx_llm_canon_role.h"


static ngx_llm_canon_frame_t *ngx_llm_canon_tree_open(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, u_char ch);
static const u_char *ngx_llm_canon_tree_blank(const u_char *p,
    const u_char *end);
static const u_char *ngx_llm_canon_tree_key(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, const u_char *p);
static ngx_int_t ngx_llm_canon_tree_append(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, uint32_t key);
static const u_char *ngx_llm_canon_tree_scalar(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, const u_char *p);
static ngx_int_t ngx_llm_canon_tree_shut(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f);

static uint32_t ngx_llm_canon_tree_sort(ngx_llm_canon_pass_t *s, uint32_t key);
static uint32_t ngx_llm_canon_tree_merge(ngx_llm_canon_pass_t *s, uint32_t one,
    uint32_t two);
static ngx_int_t ngx_llm_canon_tree_order_long(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *a, const ngx_llm_canon_node_t *b);


static ngx_inline u_char
ngx_llm_canon_tree_peek(ngx_llm_canon_pass_t *s, const u_char *p)
{
    return p < s->end ? *p : '\0';
}


/* Skips white space, which is rare, and returns the byte after it. */

static ngx_inline u_char
ngx_llm_canon_tree_next(ngx_llm_canon_pass_t *s, const u_char **p)
{
    if (*p < s->end && **p > ' ') {
        return **p;
    }

    *p = ngx_llm_canon_tree_blank(*p, s->end);

    return ngx_llm_canon_tree_peek(s, *p);
}


/* a node for the text from p to end, or NULL */

static ngx_inline ngx_llm_canon_node_t *
ngx_llm_canon_tree_node(ngx_llm_canon_pass_t *s, const u_char *p,
    const u_char *end, ngx_uint_t type)
{
    ngx_llm_canon_node_t  *node;

    if (s->used == s->nnodes) {
        s->rc = NGX_AGAIN;
        return NULL;
    }

    node = &s->nodes[s->used++];

    node->pos = (uint32_t) (p - s->body);
    node->len = (uint32_t) (end - p);
    node->next = 0;
    node->type = (uint32_t) type;

    return node;
}


/* p is at the opening quote */

static ngx_inline const u_char *
ngx_llm_canon_tree_string(ngx_llm_canon_pass_t *s, const u_char *p,
    ngx_uint_t *flags)
{
    const u_char  *quote;

    *flags = NGX_LLM_CANON_STRING;
    quote = ngx_llm_canon_close(&s->text, p + 1, flags);

    if (quote == NULL
        || ngx_llm_canon_tree_node(s, p, quote + 1, *flags) == NULL)
    {
        return NULL;
    }

    return quote + 1;
}


/* a value in f is complete: few mean anything */

static ngx_inline ngx_int_t
ngx_llm_canon_tree_value(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    uint32_t v)
{
    return f->member ? ngx_llm_canon_role_member(s, f, v) : NGX_OK;
}


/* two keys of one object; if they are equal this is refused */

static ngx_inline ngx_int_t
ngx_llm_canon_tree_order(ngx_llm_canon_pass_t *s, uint32_t one, uint32_t two)
{
    u_char  p, q;

    p = s->body[s->nodes[one].pos + 1];
    q = s->body[s->nodes[two].pos + 1];

    /* small letters are above these, and mean no escape and no end of a key */

    if (p != q && p > '\\' && q > '\\') {
        return (ngx_int_t) p - q;
    }

    return ngx_llm_canon_tree_order_long(s, &s->nodes[one], &s->nodes[two]);
}


ngx_int_t
ngx_llm_canon_tree_read(ngx_llm_canon_pass_t *s)
{
    u_char                  ch;
    uint32_t                v;
    const u_char           *p;
    ngx_llm_canon_frame_t  *f;

    /* the outer object is read as a value in the first frame */

    f = s->frames;
    f->member = NGX_LLM_CANON_OUTER;
    f->closer = '\0';

    p = s->body;

    if (ngx_llm_canon_tree_next(s, &p) != '{') {
        return NGX_ERROR;
    }

    for ( ;; ) {

        if (f->closer == '}') {
            p = ngx_llm_canon_tree_key(s, f, p);
            if (p == NULL) {
                return s->rc;
            }
        }

        ch = ngx_llm_canon_tree_next(s, &p);

        if (ch == '{' || ch == '[') {
            f = ngx_llm_canon_tree_open(s, f, ch);
            if (f == NULL) {
                return s->rc;
            }

            p++;

            if (ngx_llm_canon_tree_next(s, &p) != f->closer) {
                continue;
            }

        } else {
            p = ngx_llm_canon_tree_scalar(s, f, p);
            if (p == NULL) {
                return s->rc;
            }
        }

        /* close all that ends here */

        while (ngx_llm_canon_tree_next(s, &p) == f->closer) {

            if (ngx_llm_canon_tree_shut(s, f) != NGX_OK) {
                return s->rc;
            }

            v = f->node;
            f--;
            p++;

            if (f == s->frames) {
                return NGX_OK;
            }

            if (ngx_llm_canon_tree_value(s, f, v) != NGX_OK) {
                return s->rc;
            }
        }

        if (ngx_llm_canon_tree_peek(s, p) != ',') {
            return NGX_ERROR;
        }

        p++;
    }
}


/* Returns the frame of the container in f that ch, '{' or '[', opens. */

static ngx_llm_canon_frame_t *
ngx_llm_canon_tree_open(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    u_char ch)
{
    ngx_uint_t  type;

    if (f == &s->frames[NGX_LLM_CANON_DEPTH]) {
        (void) ngx_llm_canon_refuse(s, NGX_LLM_CANON_DEEP);
        return NULL;
    }

    f++;

    f->node = s->used;
    f->key = 0;
    f->first = 0;
    f->last = 0;
    f->closer = (ch == '{') ? '}' : ']';
    f->unsorted = 0;
    f->typed = 0;

    f->role = f[-1].member;
    f->member = (ch == '[' && (f->role & NGX_LLM_CANON_TOOLS))
                ? NGX_LLM_CANON_TOOL : 0;

    type = (ch == '{') ? NGX_LLM_CANON_OBJECT : NGX_LLM_CANON_ARRAY;
    type |= NGX_LLM_CANON_REWRITTEN;

    if (ch == '{' && (f->role & NGX_LLM_CANON_SCHEMA)) {
        type |= NGX_LLM_CANON_ORDERED;
    }

    if (ngx_llm_canon_tree_node(s, s->body, s->body, type) == NULL) {
        return NULL;
    }

    return f;
}


/* apart, so that the common way through ngx_llm_canon_tree_read() has no
   loop */

static const u_char *
ngx_llm_canon_tree_blank(const u_char *p, const u_char *end)
{
    return ngx_llm_canon_space(p, end);
}


/* Reads the key at p.  Returns the position after its colon. */

static const u_char *
ngx_llm_canon_tree_key(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    const u_char *p)
{
    uint32_t       key;
    ngx_uint_t     flags;
    const u_char  *start;

    if (ngx_llm_canon_tree_next(s, &p) != '"') {
        return NULL;
    }

    key = s->used;
    start = p;

    p = ngx_llm_canon_tree_string(s, p, &flags);
    if (p == NULL) {
        return NULL;
    }

    f->key = key;

    if (f->first == 0) {
        f->first = key;
        f->last = key;

    } else if (ngx_llm_canon_tree_append(s, f, key) != NGX_OK) {
        return NULL;
    }

    f->member = (flags & NGX_LLM_CANON_ESCAPED)
                ? ngx_llm_canon_role_escaped(s, f->role, &s->nodes[key])
                : ngx_llm_canon_role(f->role, start + 1, p - start - 2);

    return (ngx_llm_canon_tree_next(s, &p) == ':') ? p + 1 : NULL;
}


/* puts a key into the list, which stays in order if it goes to an end */

static ngx_int_t
ngx_llm_canon_tree_append(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    uint32_t key)
{
    ngx_int_t              order;
    ngx_llm_canon_node_t  *nodes;

    nodes = s->nodes;

    if (!f->unsorted) {
        order = ngx_llm_canon_tree_order(s, f->last, key);

        if (order > 0 && f->first != f->last) {
            order = ngx_llm_canon_tree_order(s, f->first, key);
            f->unsorted = (order < 0);
        }

        if (order == 0) {
            return NGX_DECLINED;
        }

        if (order > 0) {
            nodes[key].next = f->first;
            f->first = key;
            return NGX_OK;
        }
    }

    nodes[f->last].next = key;
    f->last = key;

    return NGX_OK;
}


/* p is where a value must start that is no container */

static const u_char *
ngx_llm_canon_tree_scalar(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    const u_char *p)
{
    size_t         len;
    uint32_t       v;
    ngx_uint_t     plain, type;
    const u_char  *start;

    v = s->used;
    start = p;
    len = 4;

    switch (ngx_llm_canon_tree_peek(s, p)) {

    case '"':
        p = ngx_llm_canon_tree_string(s, p, &type);
        if (p == NULL) {
            return NULL;
        }

        return ngx_llm_canon_tree_value(s, f, v) == NGX_OK ? p : NULL;

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
        p = ngx_llm_canon_number_row(p, s->end, f->closer == ']', &plain);
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

    if (ngx_llm_canon_tree_node(s, start, p, type) == NULL) {
        return NULL;
    }

    return ngx_llm_canon_tree_value(s, f, v) == NGX_OK ? p : NULL;
}


/* the innermost container has ended */

static ngx_int_t
ngx_llm_canon_tree_shut(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f)
{
    ngx_llm_canon_node_t  *node;

    node = &s->nodes[f->node];

    node->next = s->used;

    if (f->unsorted) {
        f->first = ngx_llm_canon_tree_sort(s, f->first);

        if (f->first == 0) {
            return NGX_DECLINED;
        }
    }

    if (f->closer == '}') {
        node->pos = f->first;
    }

    if ((f->role & NGX_LLM_CANON_TOOL) && !f->typed) {
        s->c->hosted = 1;
    }

    return NGX_OK;
}


/*
 * Sorts a list of keys and returns its first one, or 0 if a key is in it
 * twice.  Lists of 1, 2, 4... keys wait in "sorted" for one of their size, so
 * that most is merged while it is in the processor's cache.
 */

static uint32_t
ngx_llm_canon_tree_sort(ngx_llm_canon_pass_t *s, uint32_t key)
{
    uint32_t    list, next, sorted[32];
    ngx_uint_t  i, n;

    n = 0;

    for ( /* void */ ; key; key = next) {
        next = s->nodes[key].next;
        s->nodes[key].next = 0;
        list = key;

        for (i = 0; i < n && sorted[i]; i++) {
            list = ngx_llm_canon_tree_merge(s, sorted[i], list);
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
            list = ngx_llm_canon_tree_merge(s, sorted[i], list);
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
ngx_llm_canon_tree_merge(ngx_llm_canon_pass_t *s, uint32_t one, uint32_t two)
{
    uint32_t               head, *link;
    ngx_int_t              order;
    ngx_llm_canon_node_t  *nodes;

    nodes = s->nodes;
    link = &head;

    while (one && two) {
        order = ngx_llm_canon_tree_order(s, one, two);

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


static ngx_int_t
ngx_llm_canon_tree_order_long(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *a, const ngx_llm_canon_node_t *b)
{
    size_t         len, two_len;
    ngx_int_t      order;
    const u_char  *p, *q;

    p = s->body + a->pos + 1;
    q = s->body + b->pos + 1;
    len = a->len - 2;
    two_len = b->len - 2;

    if ((a->type | b->type) & NGX_LLM_CANON_ESCAPED) {
        order = ngx_llm_canon_string_compare(p, len, q, two_len);

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
