/*
 * ngx_llm_json.c: one strict pass over a request body, which finds the facts
 * that routing, quotas and the splice of a body need.  Called once per request
 * when the body is complete.  The pass does not recurse, allocate or modify.
 * It reads the names of members in two objects: the outer one and
 * stream_options.
 */

#include "../ngx_llm_lexer.h"
#include "ngx_llm_fold.h"
#include "ngx_llm_number.h"


typedef struct ngx_llm_json_member_s  ngx_llm_json_member_t;


typedef struct {
    const ngx_llm_json_member_t  *member;     /* the last one, or NULL if its */
    const u_char                 *value;      /* name is not known, and its   */
    const u_char                 *value_end;  /* raw value                    */

    const u_char                 *key;        /* its opening quote */
    const u_char                 *before;     /* end of the value before it */
    size_t                       *next;       /* set to the next key's place */
    const ngx_llm_json_member_t  *state;      /* row of facts->state_pos */

    ngx_uint_t                    seen;       /* bit per member of the seven */
    const char                   *ambiguous;  /* member a key may stand for */
    ngx_llm_facts_t              *facts;
    ngx_llm_json_error_t         *err;

    ngx_llm_lexer_t               lexer;      /* last: has its own init */
} ngx_llm_json_t;


/* Stores the value, which is JSON and not null.  Returns 0 if its type is
   wrong. */

typedef ngx_uint_t (*ngx_llm_json_set_pt)(ngx_llm_json_t *j);


struct ngx_llm_json_member_s {
    size_t                        len;
    const char                   *name;
    ngx_llm_json_set_pt           set;
    size_t                        offset;     /* of an integer in the facts */
    uint64_t                      min;
    size_t                        place;      /* offset of a place, or 0 */
    const char                   *expected;   /* NULL: may occur twice */
};


static ngx_int_t ngx_llm_json_scan(ngx_uint_t level, const u_char *body,
    size_t len, ngx_llm_facts_t *facts, ngx_llm_json_error_t *err);
static const u_char *ngx_llm_json_document(ngx_llm_json_t *j);
static const u_char *ngx_llm_json_top(ngx_llm_json_t *j, const u_char *p);
static ngx_int_t ngx_llm_json_match(ngx_llm_json_t *j);
static ngx_int_t ngx_llm_json_ambiguous(ngx_llm_json_t *j, const char *name,
    const char *reason);
static void ngx_llm_json_place(ngx_llm_json_t *j);
static void ngx_llm_json_take(ngx_llm_json_t *j);
static const u_char *ngx_llm_json_options(ngx_llm_json_t *j,
    const u_char *p);

static ngx_uint_t ngx_llm_json_set_model(ngx_llm_json_t *j);
static ngx_uint_t ngx_llm_json_set_stream(ngx_llm_json_t *j);
static ngx_uint_t ngx_llm_json_set_options(ngx_llm_json_t *j);
static ngx_uint_t ngx_llm_json_set_integer(ngx_llm_json_t *j);
static ngx_uint_t ngx_llm_json_set_stateful(ngx_llm_json_t *j);

static void ngx_llm_json_refuse(ngx_llm_json_t *j, ngx_uint_t code,
    const char *reason, const u_char *p);

static void ngx_llm_json_span(const ngx_llm_place_t *place,
    ngx_llm_json_span_t *span);


#define ngx_llm_json_name(str)      sizeof(str) - 1, str

#define NGX_LLM_JSON_USAGE      "include_usage"
#define NGX_LLM_JSON_USAGE_LEN  (sizeof(NGX_LLM_JSON_USAGE) - 1)

#define NGX_LLM_JSON_CASE   "a key differs from a known one only in case"
#define NGX_LLM_JSON_COUNT  "an integer from 0 to 2147483647 is expected"
#define NGX_LLM_JSON_ONE    "an integer from 1 to 2147483647 is expected"


static const ngx_llm_json_member_t  ngx_llm_json_members[] = {

    { ngx_llm_json_name("model"), ngx_llm_json_set_model, 0, 0, 0,
      "a string is expected" },

    { ngx_llm_json_name("stream"), ngx_llm_json_set_stream, 0, 0, 0,
      "true or false is expected" },

    { ngx_llm_json_name("stream_options"), ngx_llm_json_set_options, 0, 0,
      offsetof(ngx_llm_facts_t, options_place), "an object is expected" },

    { ngx_llm_json_name("max_tokens"), ngx_llm_json_set_integer,
      offsetof(ngx_llm_facts_t, max_tokens), 0,
      offsetof(ngx_llm_facts_t, max_tokens_place), NGX_LLM_JSON_COUNT },

    { ngx_llm_json_name("max_completion_tokens"), ngx_llm_json_set_integer,
      offsetof(ngx_llm_facts_t, max_completion_tokens), 0,
      offsetof(ngx_llm_facts_t, max_completion_place), NGX_LLM_JSON_COUNT },

    { ngx_llm_json_name("max_output_tokens"), ngx_llm_json_set_integer,
      offsetof(ngx_llm_facts_t, max_output_tokens), 0, 0,
      NGX_LLM_JSON_COUNT },

    { ngx_llm_json_name("n"), ngx_llm_json_set_integer,
      offsetof(ngx_llm_facts_t, n), 1, 0, NGX_LLM_JSON_ONE },

    /* if a body has both, the first row is the state of the request */

    { ngx_llm_json_name("previous_response_id"), ngx_llm_json_set_stateful,
      0, 0, 0, NULL },

    { ngx_llm_json_name("conversation"), ngx_llm_json_set_stateful,
      0, 0, 0, NULL }
};

#define NGX_LLM_JSON_MEMBERS                                                  \
    (sizeof(ngx_llm_json_members) / sizeof(ngx_llm_json_members[0]))


ngx_int_t
ngx_llm_json_facts(const u_char *body, size_t len, ngx_llm_facts_t *facts,
    ngx_llm_json_error_t *err)
{
    return ngx_llm_json_scan(NGX_LLM_SCAN_BEST, body, len, facts, err);
}


#if (NGX_LLM_STANDALONE)

ngx_int_t
ngx_llm_json_facts_with(ngx_uint_t level, const u_char *body, size_t len,
    ngx_llm_facts_t *facts, ngx_llm_json_error_t *err)
{
    return ngx_llm_json_scan(level, body, len, facts, err);
}

#endif


static ngx_int_t
ngx_llm_json_scan(ngx_uint_t level, const u_char *body, size_t len,
    ngx_llm_facts_t *facts, ngx_llm_json_error_t *err)
{
    ngx_uint_t      i;
    ngx_llm_json_t  j;

    ngx_memzero(err, sizeof(ngx_llm_json_error_t));
    ngx_llm_facts_init(facts);

    if (len == 0) {
        err->code = NGX_LLM_JSON_INVALID;
        err->reason = "body is empty";
        return NGX_ERROR;
    }

    ngx_memzero(&j, offsetof(ngx_llm_json_t, lexer));
    ngx_llm_lexer_init(&j.lexer, level, body, body + len);

    j.facts = facts;
    j.err = err;

    if (ngx_llm_json_document(&j) == NULL) {
        err->code = NGX_LLM_JSON_INVALID;
        err->param = j.ambiguous;
        err->reason = j.lexer.reason;
        err->pos = j.lexer.error - body;
    }

    if (err->code) {
        return NGX_ERROR;
    }

    facts->outside = len;

    for (i = 0; i < NGX_LLM_CLASS_N; i++) {
        facts->counts[i] = j.lexer.string.counts[i];
        facts->outside -= (size_t) j.lexer.string.counts[i];
    }

    facts->outside -= (size_t) j.lexer.media;
    facts->media = j.lexer.media_tokens;

    return NGX_OK;
}


static const u_char *
ngx_llm_json_document(ngx_llm_json_t *j)
{
    const u_char  *p;

    p = ngx_llm_lexer_space(&j->lexer, j->lexer.string.start);

    if (ngx_llm_lexer_peek(&j->lexer, p) != '{') {
        return ngx_llm_lexer_invalid(&j->lexer, p,
                                     *j->lexer.string.start == 0xef
                                     ? "byte order mark before the object"
                                     : "body is not an object");
    }

    p++;
    j->lexer.depth = 1;
    j->facts->members_pos = p - j->lexer.string.start;

    p = ngx_llm_json_top(j, p);
    if (p == NULL) {
        return NULL;
    }

    p = ngx_llm_lexer_space(&j->lexer, p);

    if (p != j->lexer.string.end) {
        return ngx_llm_lexer_invalid(&j->lexer, p,
                                     "trailing data behind the object");
    }

    return p;
}


/* Reads the outer object from after its '{'.  Returns the end of the object. */

static const u_char *
ngx_llm_json_top(ngx_llm_json_t *j, const u_char *p)
{
    ngx_uint_t     first;
    const u_char  *v;

    for (first = 1; /* void */; first = 0) {

        v = ngx_llm_lexer_next(&j->lexer, p, first);

        if (v == NULL) {
            return NULL;
        }

        if (j->lexer.key == NULL) {
            j->facts->empty = first;
            return v;
        }

        j->key = j->lexer.key - 1;
        j->before = first ? NULL : p;

        if (j->next != NULL) {
            *j->next = j->key - j->lexer.string.start;
            j->next = NULL;
        }

        if (ngx_llm_json_match(j) != NGX_OK) {
            return NULL;
        }

        if (j->member != NULL
            && j->member->set == ngx_llm_json_set_options
            && ngx_llm_lexer_peek(&j->lexer, v) == '{')
        {
            p = ngx_llm_json_options(j, v);

        } else {
            p = ngx_llm_lexer_value(&j->lexer, v);
        }

        if (p == NULL) {
            return NULL;
        }

        if (j->member != NULL) {
            j->value = v;
            j->value_end = p;
            ngx_llm_json_place(j);
            ngx_llm_json_take(j);
        }
    }
}


/*
 * Sets j->member if the key is the name of a member that the gateway acts on.
 * Returns NGX_ERROR if another parser could take the key for such a name, as
 * it is written with escapes or differs in case only.
 */

static ngx_int_t
ngx_llm_json_match(ngx_llm_json_t *j)
{
    size_t                        len;
    u_char                        buf[32];
    ngx_uint_t                    i, escapes;
    const u_char                 *key;
    const ngx_llm_json_member_t  *m;

    j->member = NULL;

    key = j->lexer.key;
    len = j->lexer.key_end - key;
    escapes = (memchr(key, '\\', len) != NULL);

    if (escapes) {
        len = ngx_llm_string_decode(buf, sizeof(buf), key, j->lexer.key_end);
        key = buf;

        if (len > sizeof(buf)) {
            return NGX_OK;
        }
    }

    for (i = 0; /* void */; i++) {

        if (i == NGX_LLM_JSON_MEMBERS) {
            return NGX_OK;
        }

        m = &ngx_llm_json_members[i];

        if (m->len == len && ngx_memcmp(m->name, key, len) == 0) {
            break;
        }

        if (ngx_llm_fold_possible(key, len, m->name, m->len)
            && ngx_llm_fold_equal(key, len, m->name, m->len))
        {
            return ngx_llm_json_ambiguous(j, m->name, NGX_LLM_JSON_CASE);
        }
    }

    j->member = m;

    if (m->expected == NULL) {
        return NGX_OK;
    }

    if (escapes) {
        return ngx_llm_json_ambiguous(j, m->name,
                                      "key is written with escapes");
    }

    if (j->seen & ((ngx_uint_t) 1 << i)) {
        ngx_llm_json_refuse(j, NGX_LLM_JSON_DUPLICATE,
                            "member is given twice", j->lexer.key);
    }

    j->seen |= (ngx_uint_t) 1 << i;

    return NGX_OK;
}


/* Ends the pass at the last key.  name is the member it may be read as. */

static ngx_int_t
ngx_llm_json_ambiguous(ngx_llm_json_t *j, const char *name,
    const char *reason)
{
    (void) ngx_llm_lexer_invalid(&j->lexer, j->lexer.key, reason);
    j->ambiguous = name;

    return NGX_ERROR;
}


/* Notes the place of a member.  A member of null has one, too: servers may
   reject it. */

static void
ngx_llm_json_place(ngx_llm_json_t *j)
{
    const u_char     *start;
    ngx_llm_place_t  *place;

    if (j->member->place == 0) {
        return;
    }

    place = (ngx_llm_place_t *) ((u_char *) j->facts + j->member->place);
    start = j->lexer.string.start;

    place->key = j->key - start;
    place->end = j->value_end - start;
    place->before = j->before ? j->before - start : 0;
    j->next = &place->next;
}


static void
ngx_llm_json_take(ngx_llm_json_t *j)
{
    if (*j->value != 'n') {

        if (!j->member->set(j)) {
            ngx_llm_json_refuse(j, NGX_LLM_JSON_TYPE, j->member->expected,
                                j->value);
        }

        return;
    }

    /* null counts as absent, but a spliced value must replace it */

    if (j->member->set == ngx_llm_json_set_model) {
        j->facts->model_null_pos = j->value - j->lexer.string.start;
        j->facts->model_null_size = j->value_end - j->value;

    } else if (j->member->set == ngx_llm_json_set_options) {
        j->facts->options_null_pos = j->value - j->lexer.string.start;
        j->facts->options_null_size = j->value_end - j->value;
    }
}


/* Reads stream_options at its '{'.  Returns the end of the object. */

static const u_char *
ngx_llm_json_options(ngx_llm_json_t *j, const u_char *p)
{
    size_t            len;
    u_char            name[32];
    ngx_uint_t        first, usage;
    const u_char     *v;
    ngx_llm_facts_t  *facts;

    p++;
    j->lexer.depth++;
    facts = j->facts;

    for (first = 1; /* void */; first = 0) {

        v = ngx_llm_lexer_next(&j->lexer, p, first);

        if (v == NULL) {
            return NULL;
        }

        if (j->lexer.key == NULL) {
            facts->options_empty = first;
            j->lexer.depth--;
            return v;
        }

        len = ngx_llm_string_decode(name, sizeof(name), j->lexer.key,
                                    j->lexer.key_end);
        usage = (len == NGX_LLM_JSON_USAGE_LEN
                 && ngx_memcmp(name, NGX_LLM_JSON_USAGE, len) == 0);

        if (!usage && len <= sizeof(name)
            && ngx_llm_fold_possible(name, len, NGX_LLM_JSON_USAGE,
                                     NGX_LLM_JSON_USAGE_LEN)
            && ngx_llm_fold_equal(name, len, NGX_LLM_JSON_USAGE,
                                  NGX_LLM_JSON_USAGE_LEN))
        {
            (void) ngx_llm_json_ambiguous(j, "stream_options",
                                          NGX_LLM_JSON_CASE);
            return NULL;
        }

        p = ngx_llm_lexer_value(&j->lexer, v);
        if (p == NULL) {
            return NULL;
        }

        if (usage) {
            facts->usage_twice = (facts->usage_size != 0);
            facts->usage_pos = v - j->lexer.string.start;
            facts->usage_size = p - v;
        }

        if (usage && facts->include_usage != NGX_LLM_USAGE_TRUE) {
            facts->include_usage = (*v == 't') ? NGX_LLM_USAGE_TRUE
                                               : NGX_LLM_USAGE_FALSE;
        }
    }
}


static ngx_uint_t
ngx_llm_json_set_model(ngx_llm_json_t *j)
{
    size_t            len;
    ngx_llm_facts_t  *facts;

    if (*j->value != '"') {
        return 0;
    }

    facts = j->facts;
    facts->model_pos = j->value - j->lexer.string.start;
    facts->model_size = j->value_end - j->value;

    len = ngx_llm_string_decode(facts->model, NGX_LLM_MODEL_LEN, j->value + 1,
                                j->value_end - 1);

    ngx_llm_facts_name(facts, len);

    return 1;
}


static ngx_uint_t
ngx_llm_json_set_stream(ngx_llm_json_t *j)
{
    if (*j->value != 't' && *j->value != 'f') {
        return 0;
    }

    j->facts->stream = (*j->value == 't');
    j->facts->stream_set = 1;

    return 1;
}


static ngx_uint_t
ngx_llm_json_set_options(ngx_llm_json_t *j)
{
    if (*j->value != '{') {
        return 0;
    }

    j->facts->options_pos = j->value - j->lexer.string.start;
    j->facts->options_size = j->value_end - j->value;

    return 1;
}


/* A negative maximum is sent by clients for "no limit": it counts as absent. */

static ngx_uint_t
ngx_llm_json_set_integer(ngx_llm_json_t *j)
{
    uint64_t       n;
    ngx_int_t      value;
    const u_char  *p;

    p = j->value;

    if (*p == '-' && j->member->min == 0
        && ngx_llm_number_negative(p, j->value_end))
    {
        return 1;
    }

    if (ngx_llm_number_integer(p, j->value_end, &n) != NGX_OK
        || n < j->member->min || n > 0x7fffffff)
    {
        return 0;
    }

    value = (ngx_int_t) n;
    ngx_memcpy((u_char *) j->facts + j->member->offset, &value,
               sizeof(ngx_int_t));

    return 1;
}


static ngx_uint_t
ngx_llm_json_set_stateful(ngx_llm_json_t *j)
{
    j->facts->stateful = 1;

    if (j->state == NULL || j->member <= j->state) {
        j->state = j->member;
        j->facts->state_pos = j->value - j->lexer.string.start;
        j->facts->state_size = j->value_end - j->value;
    }

    return 1;
}


/* Notes the first fault.  The pass goes on: invalid JSON takes precedence. */

static void
ngx_llm_json_refuse(ngx_llm_json_t *j, ngx_uint_t code, const char *reason,
    const u_char *p)
{
    if (j->err->code == 0) {
        j->err->code = code;
        j->err->param = j->member->name;
        j->err->reason = reason;
        j->err->pos = p - j->lexer.string.start;
    }
}


ngx_uint_t
ngx_llm_json_cut(const ngx_llm_place_t *one, const ngx_llm_place_t *two,
    ngx_llm_json_span_t *spans, ngx_uint_t *empty)
{
    ngx_uint_t              n;
    ngx_llm_place_t         last;
    const ngx_llm_place_t  *first;

    first = (one->key < two->key) ? one : two;
    last = (one->key < two->key) ? *two : *one;
    n = 0;

    if (first->key && first->end == last.before) {

        /* adjacent members share a comma: cut them as one span */

        last.key = first->key;
        last.before = first->before;

    } else if (first->key) {
        ngx_llm_json_span(first, &spans[n++]);
    }

    *empty = (n == 0 && last.key && last.before == 0 && last.next == 0);

    if (last.key) {
        ngx_llm_json_span(&last, &spans[n++]);
    }

    return n;
}


/* Sets the span of a member and the comma before it, or for the first member
   the comma after it. */

static void
ngx_llm_json_span(const ngx_llm_place_t *place, ngx_llm_json_span_t *span)
{
    if (place->before) {
        span->pos = place->before;
        span->len = place->end - place->before;
        return;
    }

    span->pos = place->key;
    span->len = (place->next ? place->next : place->end) - place->key;
}
