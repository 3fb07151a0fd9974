/*
 * ngx_llm_canon.c: the canonical form of a request body.  One pass over the
 * text creates nodes (ngx_llm_canon_tree.c); this file visits them in order and
 * puts their texts.  It is called for bodies that ngx_llm_json_facts() has
 * accepted, but never reads outside of a body that is invalid.
 */

#include "ngx_llm_canon_tree.h"


static ngx_int_t ngx_llm_canon_run(ngx_uint_t level, ngx_llm_canon_t *c,
    const u_char *body, size_t len);
static ngx_int_t ngx_llm_canon_write_all(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_out_t *out);
static ngx_int_t ngx_llm_canon_write_members(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_out_t *out, ngx_llm_canon_frame_t *f,
    const ngx_llm_canon_node_t **v);
static ngx_int_t ngx_llm_canon_write_elements(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_out_t *out, ngx_llm_canon_frame_t *f,
    const ngx_llm_canon_node_t **v);
static uint32_t ngx_llm_canon_write_after(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, uint32_t k);
static ngx_int_t ngx_llm_canon_write_node(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_out_t *out, const ngx_llm_canon_node_t *v);


ngx_int_t
ngx_llm_canon(ngx_llm_canon_t *c, const u_char *body, size_t len)
{
    return ngx_llm_canon_run(NGX_LLM_SCAN_BEST, c, body, len);
}


#if (NGX_LLM_STANDALONE)

ngx_int_t
ngx_llm_canon_with(ngx_uint_t level, ngx_llm_canon_t *c, const u_char *body,
    size_t len)
{
    return ngx_llm_canon_run(level, c, body, len);
}

#endif


static ngx_int_t
ngx_llm_canon_run(ngx_uint_t level, ngx_llm_canon_t *c, const u_char *body,
    size_t len)
{
    ngx_int_t             rc;
    ngx_llm_canon_out_t   out;
    ngx_llm_canon_pass_t  s;

    c->refused = 0;
    c->zero = 0;
    c->stored = 0;
    c->unstored = 0;
    c->stateful = 0;
    c->hosted = 0;
    c->reference = 0;

    s.c = c;
    s.body = body;
    s.end = body + len;
    s.nodes = c->nodes;
    s.nnodes = c->nnodes;
    s.used = 0;
    s.rc = NGX_ERROR;

    if (len > UINT32_MAX) {
        return ngx_llm_canon_refuse(&s, NGX_LLM_CANON_DEEP);
    }

    if (len == 0) {
        return NGX_ERROR;
    }

    ngx_llm_canon_string_text(&s.text, level, body, len);

    rc = ngx_llm_canon_tree_read(&s);
    if (rc != NGX_OK) {
        return rc;
    }

    out.put = c->put;
    out.data = c->data;
    out.len = 0;

    rc = ngx_llm_canon_write_all(&s, &out);

    if (rc == NGX_OK) {
        ngx_llm_canon_out_flush(&out);
    }

    return rc;
}


/* Visits the nodes; each open container has a frame. */

static ngx_int_t
ngx_llm_canon_write_all(ngx_llm_canon_pass_t *s, ngx_llm_canon_out_t *out)
{
    ngx_int_t                    rc;
    ngx_llm_canon_frame_t       *f;
    const ngx_llm_canon_node_t  *v;

    f = s->frames;
    v = s->nodes;

    for ( ;; ) {
        f++;
        f->member = 0;

        if (ngx_llm_canon_type(v) == NGX_LLM_CANON_OBJECT) {
            f->ordered = (v->type & NGX_LLM_CANON_ORDERED) ? 1 : 0;
            f->key = (f->ordered && v->pos) ? (uint32_t) (v - s->nodes) + 1
                                            : v->pos;
            f->last = v->next;
            f->closer = '}';
            ngx_llm_canon_write_char(out, '{');

        } else {
            f->key = (uint32_t) (v - s->nodes) + 1;
            f->last = v->next;
            f->closer = ']';
            ngx_llm_canon_write_char(out, '[');
        }

        for ( ;; ) {
            rc = (f->closer == '}')
                 ? ngx_llm_canon_write_members(s, out, f, &v)
                 : ngx_llm_canon_write_elements(s, out, f, &v);

            if (rc == NGX_AGAIN) {
                break;
            }

            if (rc != NGX_OK) {
                return rc;
            }

            ngx_llm_canon_write_char(out, f->closer);

            if (--f == s->frames) {
                return NGX_OK;
            }
        }
    }
}


/*
 * Writes the members of an object from f->key to its end and returns NGX_OK.
 * If a value is a container, stores it in *v and the next key in f->key, and
 * returns NGX_AGAIN.  f->member is 1 if a member has been written.
 */

static ngx_int_t
ngx_llm_canon_write_members(ngx_llm_canon_pass_t *s, ngx_llm_canon_out_t *out,
    ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t **v)
{
    uint32_t                     k;
    const ngx_llm_canon_node_t  *key, *value;

    for (k = f->key; k; k = ngx_llm_canon_write_after(s, f, k)) {
        key = &s->nodes[k];
        value = key + 1;

        if (key->type & NGX_LLM_CANON_LEFT_OUT) {
            continue;
        }

        if (f->member) {
            ngx_llm_canon_write_char(out, ',');
        }

        f->member = 1;

        if (!((key->type | value->type) & NGX_LLM_CANON_REWRITTEN)
            && value->pos == key->pos + key->len + 1)
        {
            /* the text is canonical, only the colon is between the two */

            ngx_llm_canon_write(out, s->body + key->pos,
                                key->len + 1 + value->len);
            continue;
        }

        if (ngx_llm_canon_write_node(s, out, key) != NGX_OK) {
            return NGX_DECLINED;
        }

        ngx_llm_canon_write_char(out, ':');

        if (ngx_llm_canon_container(value)) {
            f->key = ngx_llm_canon_write_after(s, f, k);
            *v = value;
            return NGX_AGAIN;
        }

        if (ngx_llm_canon_write_node(s, out, value) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/*
 * Returns the key after k: the next one by name, or the next one of the text
 * if the object is ordered; 0 after the last one.
 */

static ngx_inline uint32_t
ngx_llm_canon_write_after(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    uint32_t k)
{
    const ngx_llm_canon_node_t  *value;

    if (!f->ordered) {
        return s->nodes[k].next;
    }

    value = &s->nodes[k + 1];
    k = ngx_llm_canon_container(value) ? value->next : k + 2;

    return (k < f->last) ? k : 0;
}


/* Writes the elements of an array, f->key to f->last, in the same way. */

static ngx_int_t
ngx_llm_canon_write_elements(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_out_t *out, ngx_llm_canon_frame_t *f,
    const ngx_llm_canon_node_t **v)
{
    uint32_t                     k;
    const ngx_llm_canon_node_t  *node;

    for (k = f->key; k != f->last; k++) {
        node = &s->nodes[k];

        if (f->member) {
            ngx_llm_canon_write_char(out, ',');
        }

        f->member = 1;

        if (ngx_llm_canon_container(node)) {
            f->key = node->next;
            *v = node;
            return NGX_AGAIN;
        }

        if (ngx_llm_canon_write_node(s, out, node) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* Writes a key, or a value that is not a container. */

static ngx_int_t
ngx_llm_canon_write_node(ngx_llm_canon_pass_t *s, ngx_llm_canon_out_t *out,
    const ngx_llm_canon_node_t *v)
{
    const u_char  *p, *end;

    p = s->body + v->pos;
    end = p + v->len;

    if (!(v->type & NGX_LLM_CANON_REWRITTEN)) {
        ngx_llm_canon_write(out, p, end - p);
        return NGX_OK;
    }

    if (ngx_llm_canon_type(v) == NGX_LLM_CANON_NUMBERS) {
        ngx_llm_canon_number_write_row(out, p, end);
        return NGX_OK;
    }

    ngx_llm_canon_write_char(out, '"');

    if (ngx_llm_canon_string_rewrite(&s->text, out, p + 1, end - 1) != NGX_OK) {
        return ngx_llm_canon_refuse(s, NGX_LLM_CANON_SURROGATE);
    }

    ngx_llm_canon_write_char(out, '"');

    return NGX_OK;
}
