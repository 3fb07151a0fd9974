/*
 * ngx_llm_shape.c: reads an answer, a chunk of one and a choice in them into
 * tables of places, strictly.  Under ngx_llm_to_document.c and
 * ngx_llm_to_stream.c, which decide what a member means; here a member of no
 * known name is kept as an extra, or refused where an extra could mean
 * anything.
 */

#include "ngx_llm_shape_parts.h"


#define NGX_LLM_SHAPE_INDEX_DIGITS  2


typedef struct {
    ngx_str_t    name;
    u_char       slot;
    u_char       type;               /* of the value: its first byte, or: */
} ngx_llm_shape_name_t;

#define NGX_LLM_SHAPE_ANY     0
#define NGX_LLM_SHAPE_NUMBER  '0'
#define NGX_LLM_SHAPE_INDEX   'i'
#define NGX_LLM_SHAPE_NEVER   '!'

#define ngx_llm_shape_name(name, slot, type)                                  \
    { ngx_string(name), ngx_llm_shape_##slot, type }


static ngx_int_t ngx_llm_shape_document(ngx_llm_shape_text_t *t,
    const u_char *p, size_t len, const ngx_llm_shape_name_t *names,
    ngx_llm_shape_span_t *slots);
static ngx_int_t ngx_llm_shape_nulls(const ngx_llm_shape_extras_t *extras);
static const u_char *ngx_llm_shape_members(ngx_llm_lexer_t *w, const u_char *p,
    const ngx_llm_shape_name_t *names, ngx_llm_shape_span_t *slots,
    ngx_llm_shape_extras_t *extras);
static ngx_int_t ngx_llm_shape_member(const ngx_llm_shape_extra_t *m,
    const ngx_llm_shape_name_t *names, ngx_llm_shape_span_t *slots,
    ngx_llm_shape_extras_t *extras);
static ngx_uint_t ngx_llm_shape_typed(const ngx_llm_shape_span_t *s,
    u_char type);


static const ngx_llm_shape_name_t  ngx_llm_shape_top[] = {
    ngx_llm_shape_name("id", id, '"'),
    ngx_llm_shape_name("object", object, '"'),
    ngx_llm_shape_name("created", created, NGX_LLM_SHAPE_NUMBER),
    ngx_llm_shape_name("model", model, '"'),
    ngx_llm_shape_name("choices", choices, '['),
    ngx_llm_shape_name("usage", usage, '{'),
    ngx_llm_shape_name("system_fingerprint", fingerprint, '"'),
    ngx_llm_shape_name("service_tier", tier, '"'),
    ngx_llm_shape_name("obfuscation", padding, '"'),
    ngx_llm_shape_name("error", top_n, NGX_LLM_SHAPE_NEVER),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_choice[] = {
    ngx_llm_shape_name("index", index, NGX_LLM_SHAPE_INDEX),
    ngx_llm_shape_name("delta", delta, '{'),
    ngx_llm_shape_name("message", message, '{'),
    ngx_llm_shape_name("text", text, '"'),
    ngx_llm_shape_name("logprobs", logprobs, '{'),
    ngx_llm_shape_name("finish_reason", finish_reason, '"'),
    ngx_llm_shape_name("stop_reason", stop_reason, NGX_LLM_SHAPE_ANY),
    ngx_llm_shape_name("native_finish_reason", native_reason,
                       NGX_LLM_SHAPE_ANY),
    ngx_llm_shape_name("matched_stop", matched_stop, NGX_LLM_SHAPE_ANY),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_message_names[] = {
    ngx_llm_shape_name("role", role, '"'),
    ngx_llm_shape_name("content", content, '"'),
    ngx_llm_shape_name("refusal", refusal, '"'),
    ngx_llm_shape_name("reasoning_content", reasoning_content, '"'),
    ngx_llm_shape_name("reasoning", reasoning, '"'),
    ngx_llm_shape_name("tool_calls", tool_calls, '['),
    ngx_llm_shape_name("function_call", function_call, '{'),
    ngx_llm_shape_name("annotations", annotations, '['),
    ngx_llm_shape_name("obfuscation", obfuscation, '"'),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_chat_logprobs[] = {
    ngx_llm_shape_name("content", content_logprobs, '['),
    ngx_llm_shape_name("refusal", refusal_logprobs, '['),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_text_logprobs[] = {
    ngx_llm_shape_name("tokens", tokens, '['),
    ngx_llm_shape_name("token_logprobs", token_logprobs, '['),
    ngx_llm_shape_name("top_logprobs", top_logprobs, '['),
    ngx_llm_shape_name("text_offset", text_offset, '['),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_call[] = {
    ngx_llm_shape_name("index", call_index, NGX_LLM_SHAPE_INDEX),
    ngx_llm_shape_name("id", call_id, '"'),
    ngx_llm_shape_name("type", call_type, '"'),
    ngx_llm_shape_name("function", call_function, '{'),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_function[] = {
    ngx_llm_shape_name("name", call_name, '"'),
    ngx_llm_shape_name("arguments", call_arguments, '"'),
    { ngx_null_string, 0, 0 }
};


static const ngx_llm_shape_name_t  ngx_llm_shape_event[] = {
    { ngx_string("type"), 0, '"' },
    { ngx_string("response"), 1, '{' },
    { ngx_null_string, 0, 0 }
};


ngx_int_t
ngx_llm_shape_read(ngx_llm_shape_text_t *t, const u_char *p, size_t len)
{
    ngx_memzero(t->top, sizeof(t->top));

    return ngx_llm_shape_document(t, p, len, ngx_llm_shape_top, t->top);
}


ngx_int_t
ngx_llm_shape_read_event(ngx_llm_shape_text_t *t, const u_char *p, size_t len,
    ngx_llm_shape_span_t *event)
{
    ngx_memzero(event, 2 * sizeof(ngx_llm_shape_span_t));

    return ngx_llm_shape_document(t, p, len, ngx_llm_shape_event, event);
}


static ngx_int_t
ngx_llm_shape_document(ngx_llm_shape_text_t *t, const u_char *p, size_t len,
    const ngx_llm_shape_name_t *names, ngx_llm_shape_span_t *slots)
{
    t->extras.n = 0;

    ngx_llm_lexer_init(&t->lexer, NGX_LLM_SCAN_BEST, p, p + len);
    t->lexer.depth = 1;

    p = ngx_llm_lexer_space(&t->lexer, p);
    p = ngx_llm_shape_members(&t->lexer, p, names, slots, &t->extras);

    if (p == NULL || ngx_llm_lexer_space(&t->lexer, p) != t->lexer.string.end) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_shape_read_choice(ngx_llm_shape_text_t *t, const u_char *value,
    ngx_uint_t form, ngx_llm_shape_choice_t *c)
{
    ngx_llm_shape_span_t        *part;
    const ngx_llm_shape_name_t  *logprobs;

    part = c->part;
    c->extras.n = 0;
    c->message_extras.n = 0;
    ngx_memzero(part, sizeof(c->part));

    if (ngx_llm_shape_members(&t->lexer, value, ngx_llm_shape_choice, part,
                              &c->extras)
        == NULL
        || ngx_llm_shape_nulls(&c->extras) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (part[ngx_llm_shape_index].start == NULL
        || ngx_llm_shape_rank(&part[form]) < NGX_LLM_SHAPE_EMPTY
        || (part[ngx_llm_shape_message].start != NULL)
           + (part[ngx_llm_shape_delta].start != NULL)
           + (part[ngx_llm_shape_text].start != NULL) != 1)
    {
        return NGX_DECLINED;
    }

    c->index = ngx_llm_shape_number(&part[ngx_llm_shape_index]);

    if (form != ngx_llm_shape_text
        && (ngx_llm_shape_members(&t->lexer, part[form].start,
                                  ngx_llm_shape_message_names, part,
                                  &c->message_extras)
            == NULL
            || ngx_llm_shape_nulls(&c->message_extras) != NGX_OK))
    {
        return NGX_DECLINED;
    }

    logprobs = (form == ngx_llm_shape_text) ? ngx_llm_shape_text_logprobs
                                           : ngx_llm_shape_chat_logprobs;

    if (ngx_llm_shape_rank(&part[ngx_llm_shape_logprobs]) == NGX_LLM_SHAPE_VALUE
        && ngx_llm_shape_members(&t->lexer, part[ngx_llm_shape_logprobs].start,
                                 logprobs, part, NULL)
           == NULL)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_shape_nulls(const ngx_llm_shape_extras_t *extras)
{
    ngx_uint_t  i;

    for (i = 0; i < extras->n; i++) {
        if (ngx_llm_shape_rank(&extras->extra[i].value) != NGX_LLM_SHAPE_NULL) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_shape_read_call(ngx_llm_shape_text_t *t, const u_char *value,
    ngx_llm_shape_span_t *call)
{
    ngx_llm_shape_span_t  *function;

    ngx_memzero(call, ngx_llm_shape_call_n * sizeof(ngx_llm_shape_span_t));

    if (ngx_llm_shape_members(&t->lexer, value, ngx_llm_shape_call, call, NULL)
        == NULL)
    {
        return NGX_DECLINED;
    }

    function = &call[ngx_llm_shape_call_function];

    if (ngx_llm_shape_rank(function) != NGX_LLM_SHAPE_VALUE) {
        return NGX_DECLINED;
    }

    return ngx_llm_shape_read_function(t, function->start, call);
}


ngx_int_t
ngx_llm_shape_read_function(ngx_llm_shape_text_t *t, const u_char *value,
    ngx_llm_shape_span_t *call)
{
    ngx_memzero(&call[ngx_llm_shape_call_name],
                2 * sizeof(ngx_llm_shape_span_t));

    if (ngx_llm_shape_members(&t->lexer, value, ngx_llm_shape_function, call,
                              NULL)
        == NULL)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_shape_next(ngx_llm_shape_text_t *t, const u_char **array,
    const u_char **element)
{
    u_char         ch;
    const u_char  *p;

    p = *array;
    ch = ngx_llm_lexer_peek(&t->lexer, p);

    /* an element's end is before a comma or the bracket, never at a '[' */

    if (ch == '[' || ch == ',') {
        p = ngx_llm_lexer_space(&t->lexer, p + 1);
    }

    if (ngx_llm_lexer_peek(&t->lexer, p) == ']') {
        return NGX_DONE;
    }

    *element = p;

    p = ngx_llm_lexer_value(&t->lexer, p);
    if (p == NULL) {
        return NGX_DECLINED;
    }

    *array = ngx_llm_lexer_space(&t->lexer, p);

    return NGX_OK;
}


/* Reads the object at p.  Returns its end, or NULL if it is not accepted. */

static const u_char *
ngx_llm_shape_members(ngx_llm_lexer_t *w, const u_char *p,
    const ngx_llm_shape_name_t *names, ngx_llm_shape_span_t *slots,
    ngx_llm_shape_extras_t *extras)
{
    ngx_uint_t             first;
    ngx_llm_shape_extra_t  m;

    if (ngx_llm_lexer_peek(w, p) != '{') {
        return NULL;
    }

    p++;

    for (first = 1; ; first = 0) {

        p = ngx_llm_lexer_next(w, p, first);

        if (p == NULL || w->key == NULL) {
            return p;
        }

        m.key.start = w->key;
        m.key.end = w->key_end;
        m.value.start = p;

        p = ngx_llm_lexer_value(w, p);
        if (p == NULL) {
            return NULL;
        }

        m.value.end = p;

        if (ngx_llm_shape_member(&m, names, slots, extras) != NGX_OK) {
            return NULL;
        }
    }
}


static ngx_int_t
ngx_llm_shape_member(const ngx_llm_shape_extra_t *m,
    const ngx_llm_shape_name_t *names, ngx_llm_shape_span_t *slots,
    ngx_llm_shape_extras_t *extras)
{
    size_t      len;
    ngx_uint_t  i;

    len = m->key.end - m->key.start;

    for ( /* void */ ; names->name.len; names++) {

        if (names->name.len == len
            && ngx_memcmp(names->name.data, m->key.start, len) == 0)
        {
            if (!ngx_llm_shape_typed(&m->value, names->type)
                || slots[names->slot].start != NULL)
            {
                return NGX_DECLINED;
            }

            slots[names->slot] = m->value;
            return NGX_OK;
        }
    }

    /* an escape might spell one of the names */

    if (extras == NULL || extras->n == NGX_LLM_SHAPE_EXTRAS
        || memchr(m->key.start, '\\', len) != NULL)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < extras->n; i++) {
        if (ngx_llm_shape_equal(&extras->extra[i].key, &m->key)) {
            return NGX_DECLINED;
        }
    }

    extras->extra[extras->n++] = *m;

    return NGX_OK;
}


static ngx_uint_t
ngx_llm_shape_typed(const ngx_llm_shape_span_t *s, u_char type)
{
    size_t  len;
    u_char  ch;

    ch = *s->start;
    len = s->end - s->start;

    if (type == NGX_LLM_SHAPE_NEVER) {
        return 0;
    }

    if (type == NGX_LLM_SHAPE_INDEX) {
        return len <= NGX_LLM_SHAPE_INDEX_DIGITS
               && (u_char) (ch - '0') < 10
               && (u_char) (s->end[-1] - '0') < 10;
    }

    if (type == NGX_LLM_SHAPE_ANY || ch == 'n') {
        return 1;
    }

    if (type == NGX_LLM_SHAPE_NUMBER) {
        return ch == '-' || (u_char) (ch - '0') < 10;
    }

    return ch == type;
}


ngx_uint_t
ngx_llm_shape_number(const ngx_llm_shape_span_t *s)
{
    ngx_uint_t     n;
    const u_char  *p;

    for (n = 0, p = s->start; p < s->end; p++) {
        n = n * 10 + (*p - '0');
    }

    return n;
}
