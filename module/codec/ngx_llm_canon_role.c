/*
 * ngx_llm_canon_role.c: what members mean to the canonical form of a body, by
 * their names: which are left out, and which tell that an answer is not for a
 * cache.  Called while the nodes are made, with each key and each value.
 */

#include "ngx_llm_canon_tree.h"


/* what we know about the value of a member, or about a container */
#define NGX_LLM_CANON_OUTER      0x0001   /* it is the outer object */
#define NGX_LLM_CANON_OUT        0x0002   /* left out */
#define NGX_LLM_CANON_NULL_OUT   0x0004   /* null is left out */
#define NGX_LLM_CANON_ONE_OUT    0x0008   /* so is null, and 1 by value */
#define NGX_LLM_CANON_ZERO       0x0010   /* "zero" if it is */
#define NGX_LLM_CANON_STORE      0x0020   /* "stored", "unstored" */
#define NGX_LLM_CANON_STATE      0x0040   /* "stateful" unless null */
#define NGX_LLM_CANON_TEMPLATE   0x0080   /* "stateful" if an object */
#define NGX_LLM_CANON_BACK       0x0100   /* "stateful" if true */
#define NGX_LLM_CANON_HOSTED     0x0200   /* "hosted" unless null */
#define NGX_LLM_CANON_TOOLS      0x0400   /* an array of TOOL */
#define NGX_LLM_CANON_TOOL       0x0800   /* an object, its type is a TYPE */
#define NGX_LLM_CANON_TYPE       0x1000   /* "function" or "custom" */
#define NGX_LLM_CANON_CONTENT    0x2000   /* a LINK, or an object with one */
#define NGX_LLM_CANON_LINK       0x4000   /* "reference" if a remote URL */
#define NGX_LLM_CANON_AUDIO      0x8000   /* an object, its id is an ID */
#define NGX_LLM_CANON_ID         0x10000  /* "reference", a value */

/* the longest name in the tables, and a final NUL */
#define NGX_LLM_CANON_NAME       32


typedef struct {
    size_t                   len;
    const char              *name;
    ngx_uint_t               within;    /* what it must be in, 0: anything */
    ngx_uint_t               role;      /* NGX_LLM_CANON_OUT... of its value */
} ngx_llm_canon_name_t;


static ngx_int_t ngx_llm_canon_leave_out(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t *v);
static void ngx_llm_canon_learn(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t *v);
static ngx_uint_t ngx_llm_canon_number_is(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v, ngx_uint_t n);
static size_t ngx_llm_canon_begin(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v, u_char *buf);
static ngx_uint_t ngx_llm_canon_remote(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v);


#define ngx_llm_canon_name(str)          sizeof(str) - 1, str
#define ngx_llm_canon_top(str, role)                                          \
    { ngx_llm_canon_name(str), NGX_LLM_CANON_OUTER, role }


/* those of the outer object: the others are in the second table too */

static const ngx_llm_canon_name_t  ngx_llm_canon_outer[] = {
    ngx_llm_canon_top("model", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top("temperature", NGX_LLM_CANON_ZERO),
    ngx_llm_canon_top("tools", NGX_LLM_CANON_TOOLS),
    ngx_llm_canon_top("stream", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("stream_options", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("max_tokens", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top("max_completion_tokens", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top("max_output_tokens", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top("n", NGX_LLM_CANON_ONE_OUT),
    ngx_llm_canon_top("user", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("metadata", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("safety_identifier", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("prompt_cache_key", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("prompt_cache_retention", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("prompt_cache_options", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("service_tier", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top("store", NGX_LLM_CANON_OUT|NGX_LLM_CANON_STORE),
    ngx_llm_canon_top("previous_response_id", NGX_LLM_CANON_STATE),
    ngx_llm_canon_top("conversation", NGX_LLM_CANON_STATE),
    ngx_llm_canon_top("container", NGX_LLM_CANON_STATE),
    ngx_llm_canon_top("prompt", NGX_LLM_CANON_TEMPLATE),
    ngx_llm_canon_top("background", NGX_LLM_CANON_BACK),
    ngx_llm_canon_top("web_search_options", NGX_LLM_CANON_HOSTED),
    ngx_llm_canon_top("mcp_servers", NGX_LLM_CANON_HOSTED),
    { 0, NULL, 0, 0 }
};


static const ngx_llm_canon_name_t  ngx_llm_canon_inner[] = {
    { ngx_llm_canon_name("url"), NGX_LLM_CANON_CONTENT, NGX_LLM_CANON_LINK },
    { ngx_llm_canon_name("id"), NGX_LLM_CANON_AUDIO, NGX_LLM_CANON_ID },
    { ngx_llm_canon_name("type"), NGX_LLM_CANON_TOOL, NGX_LLM_CANON_TYPE },
    { ngx_llm_canon_name("file_id"), 0, NGX_LLM_CANON_ID },
    { ngx_llm_canon_name("audio"), 0, NGX_LLM_CANON_AUDIO },
    { ngx_llm_canon_name("image_url"), 0, NGX_LLM_CANON_CONTENT },
    { ngx_llm_canon_name("file_url"), 0, NGX_LLM_CANON_CONTENT },
    { ngx_llm_canon_name("video_url"), 0, NGX_LLM_CANON_CONTENT },
    { ngx_llm_canon_name("audio_url"), 0, NGX_LLM_CANON_CONTENT },
    { ngx_llm_canon_name("document_url"), 0, NGX_LLM_CANON_CONTENT },
    { ngx_llm_canon_name("source"), 0, NGX_LLM_CANON_CONTENT },
    { 0, NULL, 0, 0 }
};


/* of the table above: how long names are, the low bits of first letters */

#define NGX_LLM_CANON_LENGTHS                                                 \
    (1u << 2 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8      \
     | 1u << 9 | 1u << 12)

#define ngx_llm_canon_letter(ch)         (1u << ((ch) & 0x1f))

#define NGX_LLM_CANON_LETTERS                                                 \
    (ngx_llm_canon_letter('a') | ngx_llm_canon_letter('d')                    \
     | ngx_llm_canon_letter('f') | ngx_llm_canon_letter('i')                  \
     | ngx_llm_canon_letter('s') | ngx_llm_canon_letter('t')                  \
     | ngx_llm_canon_letter('u') | ngx_llm_canon_letter('v'))


uint32_t
ngx_llm_canon_container_role(ngx_llm_canon_pass_t *s)
{
    const ngx_llm_canon_frame_t  *f;

    if (s->depth == 0) {
        return NGX_LLM_CANON_OUTER;
    }

    f = &s->frames[s->depth - 1];

    if (f->closer == '}') {
        return f->member;
    }

    return (f->role & NGX_LLM_CANON_TOOLS) ? NGX_LLM_CANON_TOOL : 0;
}


uint32_t
ngx_llm_canon_role(ngx_llm_canon_pass_t *s, const ngx_llm_canon_node_t *key)
{
    size_t                       len;
    u_char                       buf[NGX_LLM_CANON_NAME];
    uint32_t                     within;
    const u_char                *text;
    const ngx_llm_canon_name_t  *name;

    within = s->frames[s->depth - 1].role;
    text = s->body + key->pos + 1;
    len = key->len - 2;

    if (key->type & NGX_LLM_CANON_ESCAPED) {
        len = ngx_llm_canon_begin(s, key, buf);
        text = buf;
    }

    if (within & NGX_LLM_CANON_OUTER) {
        for (name = ngx_llm_canon_outer; name->len; name++) {
            if (name->len == len && ngx_memcmp(name->name, text, len) == 0) {
                return (uint32_t) name->role;
            }
        }
    }

    if (len >= NGX_LLM_CANON_NAME
        || !(NGX_LLM_CANON_LENGTHS >> len & 1)
        || !(NGX_LLM_CANON_LETTERS >> (*text & 0x1f) & 1))
    {
        return 0;
    }

    for (name = ngx_llm_canon_inner; name->len; name++) {
        if (name->len == len
            && (name->within == 0 || (within & name->within))
            && ngx_memcmp(name->name, text, len) == 0)
        {
            return (uint32_t) name->role;
        }
    }

    return 0;
}


void
ngx_llm_canon_ended(ngx_llm_canon_pass_t *s, const ngx_llm_canon_frame_t *f)
{
    if ((f->role & NGX_LLM_CANON_TOOL) && !f->typed) {
        s->c->hosted = 1;
    }
}


ngx_int_t
ngx_llm_canon_value(ngx_llm_canon_pass_t *s, uint32_t v)
{
    ngx_llm_canon_node_t   *node;
    ngx_llm_canon_frame_t  *f;

    f = &s->frames[s->depth - 1];
    node = &s->c->nodes[v];

    if (f->closer == ']') {
        if ((f->role & NGX_LLM_CANON_TOOLS)
            && !ngx_llm_canon_container(node))
        {
            s->c->hosted = 1;
        }

        return NGX_OK;
    }

    if (f->member == 0) {
        return NGX_OK;
    }

    ngx_llm_canon_learn(s, f, node);

    return ngx_llm_canon_leave_out(s, f, node);
}


/* a member that is left out is checked here, as it will not be written */

static ngx_int_t
ngx_llm_canon_leave_out(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t *v)
{
    const u_char          *p;
    ngx_llm_canon_node_t  *node, *end;

    if (!(f->member & NGX_LLM_CANON_OUT)
        && !((f->member & (NGX_LLM_CANON_NULL_OUT|NGX_LLM_CANON_ONE_OUT))
             && ngx_llm_canon_type(v) == NGX_LLM_CANON_NULL)
        && !((f->member & NGX_LLM_CANON_ONE_OUT)
             && ngx_llm_canon_number_is(s, v, 1)))
    {
        return NGX_OK;
    }

    node = &s->c->nodes[f->key];
    end = &s->c->nodes[s->used];

    node->type |= NGX_LLM_CANON_LEFT_OUT;

    for ( /* void */ ; node < end; node++) {
        if (ngx_llm_canon_type(node) != NGX_LLM_CANON_STRING
            || !(node->type & NGX_LLM_CANON_REWRITTEN))
        {
            continue;
        }

        p = s->body + node->pos;

        if (ngx_llm_canon_rewrite(s->scan, NULL, p + 1, p + node->len - 1,
                                  s->end)
            != NGX_OK)
        {
            return ngx_llm_canon_refuse(s, NGX_LLM_CANON_SURROGATE);
        }
    }

    return NGX_OK;
}


static void
ngx_llm_canon_learn(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    const ngx_llm_canon_node_t *v)
{
    u_char            name[NGX_LLM_CANON_NAME];
    size_t            len;
    ngx_uint_t        role, type;
    ngx_llm_canon_t  *c;

    c = s->c;
    role = f->member;
    type = ngx_llm_canon_type(v);

    if (type != NGX_LLM_CANON_NULL) {
        c->stateful |= (role & NGX_LLM_CANON_STATE) != 0;
        c->hosted |= (role & NGX_LLM_CANON_HOSTED) != 0;

        if ((role & NGX_LLM_CANON_TOOLS) && type != NGX_LLM_CANON_ARRAY) {
            c->hosted = 1;
        }
    }

    /* an object is the schema of a tool that has such a parameter */

    if ((role & NGX_LLM_CANON_ID) && type != NGX_LLM_CANON_NULL
        && type != NGX_LLM_CANON_OBJECT)
    {
        c->reference = 1;
    }

    if (role & NGX_LLM_CANON_STORE) {
        c->stored = (type == NGX_LLM_CANON_TRUE);
        c->unstored = (type == NGX_LLM_CANON_FALSE);
    }

    if (role & NGX_LLM_CANON_ZERO) {
        c->zero = ngx_llm_canon_number_is(s, v, 0);
    }

    if (((role & NGX_LLM_CANON_TEMPLATE) && type == NGX_LLM_CANON_OBJECT)
        || ((role & NGX_LLM_CANON_BACK) && type == NGX_LLM_CANON_TRUE))
    {
        c->stateful = 1;
    }

    if ((role & (NGX_LLM_CANON_CONTENT|NGX_LLM_CANON_LINK))
        && ngx_llm_canon_remote(s, v))
    {
        c->reference = 1;
    }

    if ((role & NGX_LLM_CANON_TYPE) && type == NGX_LLM_CANON_STRING) {
        len = ngx_llm_canon_begin(s, v, name);

        f->typed = (len == 8 && ngx_memcmp(name, "function", 8) == 0)
                   || (len == 6 && ngx_memcmp(name, "custom", 6) == 0);
    }
}


/* n is 0 or 1 */

static ngx_uint_t
ngx_llm_canon_number_is(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v, ngx_uint_t n)
{
    ngx_llm_canon_decimal_t  d;

    if (ngx_llm_canon_type(v) != NGX_LLM_CANON_NUMBERS
        || ngx_llm_canon_decimal(&d, s->body + v->pos, s->end) == NULL
        || d.nwhole + d.npart != n)
    {
        return 0;
    }

    return n == 0
           || (!d.negative && !d.huge && d.exponent == 0
               && *(d.nwhole ? d.whole : d.part) == '1');
}


/*
 * Decodes a string of at most NGX_LLM_CANON_NAME bytes, or the first of them
 * if there are more, which makes the length one more.
 */

static size_t
ngx_llm_canon_begin(ngx_llm_canon_pass_t *s, const ngx_llm_canon_node_t *v,
    u_char *buf)
{
    const u_char  *p;

    ngx_memzero(buf, NGX_LLM_CANON_NAME);

    p = s->body + v->pos;

    return ngx_llm_canon_decode(buf, NGX_LLM_CANON_NAME, p + 1,
                                p + v->len - 1);
}


static ngx_uint_t
ngx_llm_canon_remote(ngx_llm_canon_pass_t *s, const ngx_llm_canon_node_t *v)
{
    u_char                  url[NGX_LLM_CANON_NAME];
    ngx_uint_t              i;
    static const ngx_str_t  schemes[] = {
        ngx_string("http://"),
        ngx_string("https://"),
        ngx_string("gs://"),
        ngx_string("s3://")
    };

    if (ngx_llm_canon_type(v) != NGX_LLM_CANON_STRING) {
        return 0;
    }

    (void) ngx_llm_canon_begin(s, v, url);

    for (i = 0; i < NGX_LLM_CANON_NAME; i++) {
        if ((u_char) (url[i] - 'A') < 26) {
            url[i] |= 0x20;
        }
    }

    for (i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (ngx_memcmp(url, schemes[i].data, schemes[i].len) == 0) {
            return 1;
        }
    }

    return 0;
}
