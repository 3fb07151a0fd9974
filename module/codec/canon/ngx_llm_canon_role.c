/*
 * ngx_llm_canon_role.c: what members mean to the canonical form of a body, by
 * their names: which are left out, and which tell that an answer is not for a
 * cache.  Called while the nodes are made, with each key and each value.
 */

#include "ngx_llm_canon_role.h"


/* what we know about a value: NGX_LLM_CANON_OUTER... of containers, and */
#define NGX_LLM_CANON_OUT        0x0002   /* left out */
#define NGX_LLM_CANON_NULL_OUT   0x0004   /* null is left out */
#define NGX_LLM_CANON_ONE_OUT    0x0008   /* so is null, and 1 by value */
#define NGX_LLM_CANON_ZERO       0x0010   /* "zero" if it is */
#define NGX_LLM_CANON_STORE      0x0020   /* "stored", "unstored" */
#define NGX_LLM_CANON_STATE      0x0040   /* "stateful" unless null */
#define NGX_LLM_CANON_TEMPLATE   0x0080   /* "stateful" if an object */
#define NGX_LLM_CANON_BACK       0x0100   /* "stateful" if true */
#define NGX_LLM_CANON_HOSTED     0x0200   /* "hosted" unless null or false */
#define NGX_LLM_CANON_TYPE       0x1000   /* of a TOOL: which one it is */
#define NGX_LLM_CANON_CONTENT    0x2000   /* a LINK, or an object with one */
#define NGX_LLM_CANON_LINK       0x4000   /* "reference" if a remote URL */
#define NGX_LLM_CANON_AUDIO      0x8000   /* an object, its id is an ID */
#define NGX_LLM_CANON_ID         0x10000  /* "reference", a value */

/* of members that may be left out */
#define NGX_LLM_CANON_OUTS                                                    \
    (NGX_LLM_CANON_OUT|NGX_LLM_CANON_NULL_OUT|NGX_LLM_CANON_ONE_OUT)

/* the longest name in the table, and a final NUL */
#define NGX_LLM_CANON_NAME       24

/* the most names of one length, and an end */
#define NGX_LLM_CANON_NAMES      6


typedef struct {
    u_char                   name[NGX_LLM_CANON_NAME];
    uint32_t                 within;    /* role of the container, 0: any */
    uint32_t                 role;      /* NGX_LLM_CANON_OUT... of its value */
} ngx_llm_canon_name_t;


static ngx_int_t ngx_llm_canon_role_leave_out(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t *v);
static void ngx_llm_canon_role_learn(ngx_llm_canon_pass_t *s,
    ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t *v);
static ngx_uint_t ngx_llm_canon_role_search(const u_char *text, size_t len);
static ngx_uint_t ngx_llm_canon_role_typed(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v);
static size_t ngx_llm_canon_role_begin(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v, u_char *buf);
static ngx_uint_t ngx_llm_canon_role_remote(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v);


/*
 * Names are indexed by their length, and by a place among the names of that
 * length, from 0 on without a gap.  Two names in one place do not compile.
 */

#define ngx_llm_canon_in(within, place, name, role)                           \
    [sizeof(name) - 1][place] = { name, within, role }
#define ngx_llm_canon_top(place, name, role)                                  \
    ngx_llm_canon_in(NGX_LLM_CANON_OUTER, place, name, role)

static const ngx_llm_canon_name_t
    ngx_llm_canon_names[NGX_LLM_CANON_NAME][NGX_LLM_CANON_NAMES] =
{
    ngx_llm_canon_top(0, "model", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top(0, "temperature", NGX_LLM_CANON_ZERO),
    ngx_llm_canon_top(1, "tools", NGX_LLM_CANON_TOOLS),
    ngx_llm_canon_top(0, "stream", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "stream_options", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "max_tokens", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top(0, "max_completion_tokens", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top(0, "max_output_tokens", NGX_LLM_CANON_NULL_OUT),
    ngx_llm_canon_top(0, "n", NGX_LLM_CANON_ONE_OUT),
    ngx_llm_canon_top(0, "user", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "metadata", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(1, "safety_identifier", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "prompt_cache_key", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "prompt_cache_retention", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "prompt_cache_options", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(0, "service_tier", NGX_LLM_CANON_OUT),
    ngx_llm_canon_top(2, "store", NGX_LLM_CANON_OUT|NGX_LLM_CANON_STORE),
    ngx_llm_canon_top(1, "previous_response_id", NGX_LLM_CANON_STATE),
    ngx_llm_canon_top(1, "conversation", NGX_LLM_CANON_STATE),
    ngx_llm_canon_top(0, "container", NGX_LLM_CANON_STATE),
    ngx_llm_canon_top(1, "prompt", NGX_LLM_CANON_TEMPLATE),
    ngx_llm_canon_top(1, "background", NGX_LLM_CANON_BACK),
    ngx_llm_canon_top(1, "mcp_servers", NGX_LLM_CANON_HOSTED),
    ngx_llm_canon_top(1, "plugins", NGX_LLM_CANON_HOSTED),
    ngx_llm_canon_top(2, "extra_body", NGX_LLM_CANON_HOSTED),
    ngx_llm_canon_top(3, "connectors", NGX_LLM_CANON_HOSTED),
    ngx_llm_canon_top(2, "dataSources", NGX_LLM_CANON_HOSTED),
    ngx_llm_canon_top(3, "data_sources", NGX_LLM_CANON_HOSTED),

    ngx_llm_canon_in(NGX_LLM_CANON_CONTENT, 0, "url", NGX_LLM_CANON_LINK),
    ngx_llm_canon_in(NGX_LLM_CANON_AUDIO, 0, "id", NGX_LLM_CANON_ID),
    ngx_llm_canon_in(NGX_LLM_CANON_TOOL, 1, "type", NGX_LLM_CANON_TYPE),
    ngx_llm_canon_in(0, 4, "properties", NGX_LLM_CANON_SCHEMA),
    ngx_llm_canon_in(0, 0, "file_id", NGX_LLM_CANON_ID),
    ngx_llm_canon_in(0, 3, "audio", NGX_LLM_CANON_AUDIO),
    ngx_llm_canon_in(0, 1, "image_url", NGX_LLM_CANON_CONTENT),
    ngx_llm_canon_in(0, 1, "file_url", NGX_LLM_CANON_CONTENT),
    ngx_llm_canon_in(0, 2, "video_url", NGX_LLM_CANON_CONTENT),
    ngx_llm_canon_in(0, 3, "audio_url", NGX_LLM_CANON_CONTENT),
    ngx_llm_canon_in(0, 2, "document_url", NGX_LLM_CANON_CONTENT),
    ngx_llm_canon_in(0, 2, "source", NGX_LLM_CANON_CONTENT)
};


/*
 * Returns 1 if the member asks for live data by its name: web_search...,
 * search_..., enable_search, enable_web_search.
 */

static ngx_uint_t
ngx_llm_canon_role_search(const u_char *text, size_t len)
{
    ngx_uint_t        i;
    const ngx_str_t  *s;

    static const ngx_str_t  starts[] = {
        ngx_string("web_search"),
        ngx_string("search_"),
        ngx_string("enable_search"),
        ngx_string("enable_web_search")
    };

    for (i = 0; i < sizeof(starts) / sizeof(starts[0]); i++) {
        s = &starts[i];

        if (len >= s->len && ngx_memcmp(text, s->data, s->len) == 0) {
            return 1;
        }
    }

    return 0;
}


uint32_t
ngx_llm_canon_role(uint32_t within, const u_char *text, size_t len)
{
    size_t                       n;
    const ngx_llm_canon_name_t  *name;

    if ((within & NGX_LLM_CANON_OUTER) && ngx_llm_canon_role_search(text, len))
    {
        return NGX_LLM_CANON_HOSTED;
    }

    if (len >= NGX_LLM_CANON_NAME) {
        return 0;
    }

    for (name = ngx_llm_canon_names[len]; name->role; name++) {

        /* few have a last letter in common: a call would cost more */

        for (n = len - 1; name->name[n] == text[n]; n--) {

            if (n == 0) {
                if (name->within == 0 || (name->within & within)) {
                    return name->role;
                }

                break;
            }
        }
    }

    return 0;
}


uint32_t
ngx_llm_canon_role_escaped(ngx_llm_canon_pass_t *s, uint32_t within,
    const ngx_llm_canon_node_t *key)
{
    size_t  len;
    u_char  buf[NGX_LLM_CANON_NAME];

    len = ngx_llm_canon_role_begin(s, key, buf);

    return ngx_llm_canon_role(within, buf, len);
}


ngx_int_t
ngx_llm_canon_role_member(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    uint32_t v)
{
    ngx_llm_canon_node_t  *node;

    node = &s->nodes[v];

    if (f->member & ~NGX_LLM_CANON_OUTS) {
        ngx_llm_canon_role_learn(s, f, node);
    }

    if (f->member & NGX_LLM_CANON_OUTS) {
        return ngx_llm_canon_role_leave_out(s, f, node);
    }

    return NGX_OK;
}


/* a member that is left out is checked here, as it will not be written */

static ngx_int_t
ngx_llm_canon_role_leave_out(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_frame_t *f, const ngx_llm_canon_node_t *v)
{
    const u_char          *p;
    ngx_llm_canon_node_t  *node, *end;

    if (!(f->member & NGX_LLM_CANON_OUT)
        && !((f->member & (NGX_LLM_CANON_NULL_OUT|NGX_LLM_CANON_ONE_OUT))
             && ngx_llm_canon_type(v) == NGX_LLM_CANON_NULL)
        && !((f->member & NGX_LLM_CANON_ONE_OUT)
             && ngx_llm_canon_type(v) == NGX_LLM_CANON_NUMBERS
             && ngx_llm_canon_number_one(s->body + v->pos, s->end)))
    {
        return NGX_OK;
    }

    node = &s->nodes[f->key];
    end = &s->nodes[s->used];

    node->type |= NGX_LLM_CANON_LEFT_OUT;

    for ( /* void */ ; node < end; node++) {
        if (ngx_llm_canon_type(node) != NGX_LLM_CANON_STRING
            || !(node->type & NGX_LLM_CANON_REWRITTEN))
        {
            continue;
        }

        p = s->body + node->pos;

        if (ngx_llm_canon_string_rewrite(&s->text, NULL, p + 1,
                                         p + node->len - 1)
            != NGX_OK)
        {
            return ngx_llm_canon_refuse(s, NGX_LLM_CANON_SURROGATE);
        }
    }

    return NGX_OK;
}


static void
ngx_llm_canon_role_learn(ngx_llm_canon_pass_t *s, ngx_llm_canon_frame_t *f,
    const ngx_llm_canon_node_t *v)
{
    ngx_uint_t        role, type;
    ngx_llm_canon_t  *c;

    c = s->c;
    role = f->member;
    type = ngx_llm_canon_type(v);

    if ((role & NGX_LLM_CANON_STATE) && type != NGX_LLM_CANON_NULL) {
        c->stateful = 1;
    }

    if (((role & NGX_LLM_CANON_HOSTED) && type != NGX_LLM_CANON_NULL
         && type != NGX_LLM_CANON_FALSE)
        || ((role & NGX_LLM_CANON_TOOLS) && type != NGX_LLM_CANON_NULL
            && type != NGX_LLM_CANON_ARRAY)
        || ((role & NGX_LLM_CANON_TOOL) && type > NGX_LLM_CANON_ARRAY))
    {
        c->hosted = 1;
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
        c->zero = (type == NGX_LLM_CANON_NUMBERS
                   && ngx_llm_canon_number_zero(s->body + v->pos, s->end));
    }

    if (((role & NGX_LLM_CANON_TEMPLATE) && type == NGX_LLM_CANON_OBJECT)
        || ((role & NGX_LLM_CANON_BACK) && type == NGX_LLM_CANON_TRUE))
    {
        c->stateful = 1;
    }

    if ((role & (NGX_LLM_CANON_CONTENT|NGX_LLM_CANON_LINK))
        && ngx_llm_canon_role_remote(s, v))
    {
        c->reference = 1;
    }

    if ((role & NGX_LLM_CANON_TYPE) && type == NGX_LLM_CANON_STRING) {
        f->typed = ngx_llm_canon_role_typed(s, v);
    }
}


/* it is a type of tools that are not hosted */

static ngx_uint_t
ngx_llm_canon_role_typed(ngx_llm_canon_pass_t *s, const ngx_llm_canon_node_t *v)
{
    size_t         len;
    const u_char  *p;

    p = s->body + v->pos + 1;
    len = v->len - 2;

    return ngx_llm_canon_string_compare(p, len, (u_char *) "function", 8) == 0
           || ngx_llm_canon_string_compare(p, len, (u_char *) "custom", 6) == 0;
}


/*
 * Decodes the first NGX_LLM_CANON_NAME bytes of a string.  Returns its length,
 * or NGX_LLM_CANON_NAME + 1 if the string is longer.
 */

static size_t
ngx_llm_canon_role_begin(ngx_llm_canon_pass_t *s, const ngx_llm_canon_node_t *v,
    u_char *buf)
{
    const u_char  *p;

    ngx_memzero(buf, NGX_LLM_CANON_NAME);

    p = s->body + v->pos;

    return ngx_llm_canon_string_decode(buf, NGX_LLM_CANON_NAME, p + 1,
                                       p + v->len - 1);
}


static ngx_uint_t
ngx_llm_canon_role_remote(ngx_llm_canon_pass_t *s,
    const ngx_llm_canon_node_t *v)
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

    (void) ngx_llm_canon_role_begin(s, v, url);

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
