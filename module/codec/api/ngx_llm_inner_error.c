/*
 * ngx_llm_inner_error.c: finds the error in a 2xx that is no answer, and
 * writes it in OpenAI's shape if it has another one.
 *
 * Used once a request has failed, so it reads the text as often as it needs.
 */

#include <ngx_llm_inner_error.h>

#include "../ngx_llm_lexer.h"


#define NGX_LLM_INNER_ERROR_CHOICES  64


/* the members of an error, in the order in which they are written */

enum {
    ngx_llm_inner_error_message = 0,
    ngx_llm_inner_error_type,
    ngx_llm_inner_error_param,
    ngx_llm_inner_error_code,
    ngx_llm_inner_error_n
};


typedef struct {
    const u_char  *start;            /* NULL: absent */
    const u_char  *end;
} ngx_llm_inner_error_span_t;


static ngx_uint_t ngx_llm_inner_error_find(const u_char *p, const u_char *end,
    const char *name, ngx_llm_inner_error_span_t *span);
static ngx_uint_t ngx_llm_inner_error_of_choice(
    ngx_llm_inner_error_span_t *choices, ngx_llm_inner_error_span_t *error);
static ngx_uint_t ngx_llm_inner_error_write(
    const ngx_llm_inner_error_span_t *error, ngx_str_t *out);
static ngx_uint_t ngx_llm_inner_error_is(const ngx_llm_inner_error_span_t *s,
    const char *raw);


ngx_int_t
ngx_llm_inner_error(const u_char *data, size_t len, ngx_str_t *out)
{
    ngx_llm_inner_error_span_t  root, error, outer;

    root.start = data;
    root.end = data + len;

    if (ngx_llm_inner_error_find(root.start, root.end, "error", &error)
        && *error.start == '{' && error.end - error.start > 2)
    {
        return NGX_DONE;
    }

    if (ngx_llm_inner_error_find(root.start, root.end, "response", &outer)
        && ngx_llm_inner_error_find(outer.start, outer.end, "error", &error)
        && ngx_llm_inner_error_write(&error, out))
    {
        return NGX_OK;
    }

    if (ngx_llm_inner_error_find(root.start, root.end, "choices", &outer)
        && ngx_llm_inner_error_of_choice(&outer, &error)
        && ngx_llm_inner_error_write(&error, out))
    {
        return NGX_OK;
    }

    return ngx_llm_inner_error_write(&root, out) ? NGX_OK : NGX_DECLINED;
}


/* finds the last member of that name of the object at p */

static ngx_uint_t
ngx_llm_inner_error_find(const u_char *p, const u_char *end, const char *name,
    ngx_llm_inner_error_span_t *span)
{
    size_t           len;
    ngx_uint_t       first, found;
    const u_char    *value;
    ngx_llm_lexer_t  lexer;

    span->start = NULL;
    span->end = NULL;
    len = ngx_strlen(name);

    ngx_llm_lexer_init(&lexer, NGX_LLM_SCAN_BEST, p, end);

    p = ngx_llm_lexer_space(&lexer, p);

    if (ngx_llm_lexer_peek(&lexer, p) != '{') {
        return 0;
    }

    lexer.depth = 1;
    p++;

    for (first = 1; /* void */ ; first = 0) {
        p = ngx_llm_lexer_next(&lexer, p, first);

        if (p == NULL || lexer.key == NULL) {
            return span->start != NULL;
        }

        /* a value has keys of its own */

        found = ((size_t) (lexer.key_end - lexer.key) == len
                 && ngx_memcmp(lexer.key, name, len) == 0);

        value = ngx_llm_lexer_space(&lexer, p);
        p = ngx_llm_lexer_value(&lexer, value);

        if (p == NULL) {
            return span->start != NULL;
        }

        if (found) {
            span->start = value;
            span->end = p;
        }
    }
}


static ngx_uint_t
ngx_llm_inner_error_of_choice(ngx_llm_inner_error_span_t *choices,
    ngx_llm_inner_error_span_t *error)
{
    ngx_uint_t       n;
    const u_char    *p, *choice;
    ngx_llm_lexer_t  lexer;

    if (*choices->start != '[') {
        return 0;
    }

    ngx_llm_lexer_init(&lexer, NGX_LLM_SCAN_BEST, choices->start, choices->end);

    lexer.depth = 1;
    p = choices->start;

    for (n = 0; n < NGX_LLM_INNER_ERROR_CHOICES; n++) {
        choice = ngx_llm_lexer_space(&lexer, p + 1);
        p = ngx_llm_lexer_value(&lexer, choice);

        if (p == NULL) {
            return 0;
        }

        if (ngx_llm_inner_error_find(choice, p, "error", error)
            && *error->start == '{')
        {
            return 1;
        }

        p = ngx_llm_lexer_space(&lexer, p);

        if (ngx_llm_lexer_peek(&lexer, p) != ',') {
            return 0;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_llm_inner_error_write(const ngx_llm_inner_error_span_t *error,
    ngx_str_t *out)
{
    u_char                      *p;
    size_t                       len;
    ngx_uint_t                   i, quote;
    ngx_llm_inner_error_span_t   value;

    static const char  *names[] = { "message", "type", "param", "code" };

    /* "error" is the type of the event then */

    static const char  *instead[] = { NULL, "\"server_error\"", "null",
                                      "null" };

    p = out->data;
    ngx_memcpy(p, "{\"error\":", sizeof("{\"error\":") - 1);
    p += sizeof("{\"error\":") - 1;

    for (i = 0; i < ngx_llm_inner_error_n; i++) {

        if (ngx_llm_inner_error_find(error->start, error->end, names[i],
                                     &value)
            && (i == ngx_llm_inner_error_code ? *value.start == '{'
                                                || *value.start == '['
                                              : *value.start != '"'))
        {
            value.start = NULL;
        }

        if (value.start
            && (ngx_llm_inner_error_is(&value, "\"error\"")
                && i == ngx_llm_inner_error_type))
        {
            value.start = NULL;
        }

        if (value.start == NULL) {

            if (instead[i] == NULL) {
                return 0;
            }

            value.start = (const u_char *) instead[i];
            value.end = value.start + ngx_strlen(instead[i]);
        }

        *p++ = i ? ',' : '{';
        *p++ = '"';
        len = ngx_strlen(names[i]);
        ngx_memcpy(p, names[i], len);
        p += len;
        *p++ = '"';
        *p++ = ':';

        /* a code is a string to OpenAI's clients */

        quote = (i == ngx_llm_inner_error_code && *value.start != '"'
                 && !ngx_llm_inner_error_is(&value, "null"));

        if (quote) {
            *p++ = '"';
        }

        len = value.end - value.start;
        ngx_memcpy(p, value.start, len);
        p += len;

        if (quote) {
            *p++ = '"';
        }
    }

    *p++ = '}';
    *p++ = '}';

    out->len = p - out->data;

    return 1;
}


static ngx_uint_t
ngx_llm_inner_error_is(const ngx_llm_inner_error_span_t *s, const char *raw)
{
    size_t  len;

    len = ngx_strlen(raw);

    return (size_t) (s->end - s->start) == len
           && ngx_memcmp(s->start, raw, len) == 0;
}
