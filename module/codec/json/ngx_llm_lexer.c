/*
 * ngx_llm_lexer.c: the grammar of RFC 8259 outside of strings, for the caller
 * of ngx_llm_lexer.h.  A value is walked with a stack of a byte per container;
 * names are looked at only by the caller, so that nested ones cost nothing.
 */

#include "../ngx_llm_lexer.h"
#include "../ngx_llm_media.h"


static const u_char *ngx_llm_lexer_key(ngx_llm_lexer_t *w, const u_char *p);
static const u_char *ngx_llm_lexer_scalar(ngx_llm_lexer_t *w, const u_char *p);
static const u_char *ngx_llm_lexer_text(ngx_llm_lexer_t *w, const u_char *p);
static const u_char *ngx_llm_lexer_string(ngx_llm_lexer_t *w, const u_char *p);
static const u_char *ngx_llm_lexer_number(ngx_llm_lexer_t *w, const u_char *p);
static const u_char *ngx_llm_lexer_word(ngx_llm_lexer_t *w, const u_char *p,
    const char *word, size_t len);


void
ngx_llm_lexer_init(ngx_llm_lexer_t *w, ngx_uint_t level, const u_char *start,
    const u_char *end)
{
    /* closers are written before they are read */

    ngx_memzero(w, offsetof(ngx_llm_lexer_t, closers));

    w->string.start = start;
    w->string.end = end;
    w->scan = ngx_llm_string_scanner(level);
}


const u_char *
ngx_llm_lexer_next(ngx_llm_lexer_t *w, const u_char *p, ngx_uint_t first)
{
    p = ngx_llm_lexer_space(w, p);

    if (ngx_llm_lexer_peek(w, p) == '}') {
        w->key = NULL;
        return p + 1;
    }

    if (!first) {
        if (ngx_llm_lexer_peek(w, p) != ',') {
            return ngx_llm_lexer_invalid(w, p, "',' or '}' is expected");
        }

        p = ngx_llm_lexer_space(w, p + 1);
    }

    return ngx_llm_lexer_key(w, p);
}


/* Reads the key that must start at p.  Returns the start of its value. */

static const u_char *
ngx_llm_lexer_key(ngx_llm_lexer_t *w, const u_char *p)
{
    if (ngx_llm_lexer_peek(w, p) != '"') {
        return ngx_llm_lexer_invalid(w, p, "a key in quotes is expected");
    }

    w->key = p + 1;

    p = ngx_llm_lexer_string(w, p);
    if (p == NULL) {
        return NULL;
    }

    w->key_end = p - 1;

    p = ngx_llm_lexer_space(w, p);

    if (ngx_llm_lexer_peek(w, p) != ':') {
        return ngx_llm_lexer_invalid(w, p, "':' is expected");
    }

    return ngx_llm_lexer_space(w, p + 1);
}


/* Reads the value that must start at p.  Returns its end. */

const u_char *
ngx_llm_lexer_value(ngx_llm_lexer_t *w, const u_char *p)
{
    u_char      ch, closer;
    ngx_uint_t  depth;

    depth = w->depth;

    for ( ;; ) {
        ch = ngx_llm_lexer_peek(w, p);

        if (ch == '{' || ch == '[') {

            if (w->depth == NGX_LLM_LEXER_DEPTH) {
                return ngx_llm_lexer_invalid(w, p, "nested too deep");
            }

            closer = (ch == '{') ? '}' : ']';
            w->closers[w->depth++] = closer;

            p = ngx_llm_lexer_space(w, p + 1);

            if (ngx_llm_lexer_peek(w, p) != closer) {

                if (ch == '{') {
                    p = ngx_llm_lexer_key(w, p);
                    if (p == NULL) {
                        return NULL;
                    }
                }

                continue;
            }

        } else {
            p = ngx_llm_lexer_scalar(w, p);
            if (p == NULL) {
                return NULL;
            }
        }

        /* close the containers that end at p */

        for ( ;; ) {
            if (w->depth == depth) {
                return p;
            }

            p = ngx_llm_lexer_space(w, p);
            ch = ngx_llm_lexer_peek(w, p);
            closer = w->closers[w->depth - 1];

            if (ch != closer) {
                break;
            }

            w->depth--;
            p++;
        }

        if (ch != ',') {
            return ngx_llm_lexer_invalid(w, p, closer == '}'
                                               ? "',' or '}' is expected"
                                               : "',' or ']' is expected");
        }

        p = ngx_llm_lexer_space(w, p + 1);

        if (closer == '}') {
            p = ngx_llm_lexer_key(w, p);
            if (p == NULL) {
                return NULL;
            }
        }
    }
}


static const u_char *
ngx_llm_lexer_scalar(ngx_llm_lexer_t *w, const u_char *p)
{
    switch (ngx_llm_lexer_peek(w, p)) {

    case '"':
        return ngx_llm_lexer_text(w, p);

    case 't':
        return ngx_llm_lexer_word(w, p, "true", 4);

    case 'f':
        return ngx_llm_lexer_word(w, p, "false", 5);

    case 'n':
        return ngx_llm_lexer_word(w, p, "null", 4);

    default:
        return ngx_llm_lexer_number(w, p);
    }
}


/* Reads a string value; the bytes of media are not counted as text. */

static const u_char *
ngx_llm_lexer_text(ngx_llm_lexer_t *w, const u_char *p)
{
    size_t         len;
    uint64_t       counts[NGX_LLM_CLASS_N];
    const u_char  *end;

    if (!ngx_llm_media_is(p + 1, w->string.end)) {
        return ngx_llm_lexer_string(w, p);
    }

    ngx_memcpy(counts, w->string.counts, sizeof(counts));

    end = ngx_llm_lexer_string(w, p);

    if (end == NULL) {
        return NULL;
    }

    len = end - p - 2;

    if (len >= NGX_LLM_MEDIA_LEAST
        && w->string.counts[NGX_LLM_CLASS_OTHER] == counts[NGX_LLM_CLASS_OTHER]
        && w->string.counts[NGX_LLM_CLASS_CJK] == counts[NGX_LLM_CLASS_CJK]
        && ngx_llm_media_encoded(p + 1, len))
    {
        ngx_memcpy(w->string.counts, counts, sizeof(counts));

        w->media += len;
        w->media_tokens += ngx_llm_media_tokens(p + 1, len, w->key,
                                                w->key
                                                ? (size_t) (w->key_end - w->key)
                                                : 0);
    }

    return end;
}


/* Reads the string with its opening quote at p. */

static const u_char *
ngx_llm_lexer_string(ngx_llm_lexer_t *w, const u_char *p)
{
    p = w->scan(&w->string, p + 1);

    if (p == NULL) {
        return ngx_llm_lexer_invalid(w, w->string.error, w->string.reason);
    }

    return p + 1;
}


static ngx_inline ngx_uint_t
ngx_llm_lexer_digit(ngx_llm_lexer_t *w, const u_char *p)
{
    return p < w->string.end && (u_char) (*p - '0') < 10;
}


static ngx_inline const u_char *
ngx_llm_lexer_digits(ngx_llm_lexer_t *w, const u_char *p)
{
    while (ngx_llm_lexer_digit(w, p)) {
        p++;
    }

    return p;
}


static const u_char *
ngx_llm_lexer_number(ngx_llm_lexer_t *w, const u_char *p)
{
    if (ngx_llm_lexer_peek(w, p) == '-') {
        p++;

    } else if (!ngx_llm_lexer_digit(w, p)) {
        return ngx_llm_lexer_invalid(w, p, "a value is expected");
    }

    if (!ngx_llm_lexer_digit(w, p)) {
        goto invalid;
    }

    p = (*p == '0') ? p + 1 : ngx_llm_lexer_digits(w, p);

    if (ngx_llm_lexer_peek(w, p) == '.') {
        p++;

        if (!ngx_llm_lexer_digit(w, p)) {
            goto invalid;
        }

        p = ngx_llm_lexer_digits(w, p);
    }

    if ((ngx_llm_lexer_peek(w, p) | 0x20) == 'e') {
        p++;

        if (ngx_llm_lexer_peek(w, p) == '+'
            || ngx_llm_lexer_peek(w, p) == '-')
        {
            p++;
        }

        if (!ngx_llm_lexer_digit(w, p)) {
            goto invalid;
        }

        p = ngx_llm_lexer_digits(w, p);
    }

    return p;

invalid:

    return ngx_llm_lexer_invalid(w, p, "invalid number");
}


static const u_char *
ngx_llm_lexer_word(ngx_llm_lexer_t *w, const u_char *p, const char *word,
    size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (ngx_llm_lexer_peek(w, p + i) != (u_char) word[i]) {
            return ngx_llm_lexer_invalid(w, p + i, "a value is expected");
        }
    }

    return p + len;
}


/* Skips white space.  The indent after a line break is skipped by eight bytes
   at a time. */

const u_char *
ngx_llm_lexer_spaces(ngx_llm_lexer_t *w, const u_char *p)
{
    uint64_t       word;
    const u_char  *end;

    end = w->string.end;

    while (p < end
           && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
    {
        if (*p++ != '\n') {
            continue;
        }

        while (end - p >= 8) {
            ngx_memcpy(&word, p, 8);

            if (word != 0x2020202020202020ull) {
                break;
            }

            p += 8;
        }
    }

    return p;
}


const u_char *
ngx_llm_lexer_invalid(ngx_llm_lexer_t *w, const u_char *p, const char *reason)
{
    w->error = p;
    w->reason = (p == w->string.end) ? "body ends too early" : reason;

    return NULL;
}
