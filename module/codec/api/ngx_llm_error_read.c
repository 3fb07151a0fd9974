/*
 * ngx_llm_error_read.c: the codes, the message and the hints of an error body,
 * in every shape that providers give it.
 *
 * Read in the order: the first element of an array, "error", "message",
 * "detail", "errors", each an object, a list or a text; a message that is JSON
 * itself is read once more.  What it means is not decided here.
 */

#include "ngx_llm_error_read.h"

#include "../ngx_llm_lexer.h"


#define NGX_LLM_ERROR_READ_DOCUMENT                                           \
    4096  /* of a message that is JSON itself */
#define NGX_LLM_ERROR_READ_ELEMENTS  16    /* looked at in an array */
#define NGX_LLM_ERROR_READ_LEVELS    4     /* from the document to the text */


/* the members we read, at whichever level; the last six hold codes */

enum {
    ngx_llm_error_read_error = 0,     /* these four lead to the text, */
    ngx_llm_error_read_message,       /* the first one that is there does */
    ngx_llm_error_read_detail,
    ngx_llm_error_read_errors,

    ngx_llm_error_read_details,
    ngx_llm_error_read_delay,
    ngx_llm_error_read_violations,
    ngx_llm_error_read_quota,
    ngx_llm_error_read_inner,
    ngx_llm_error_read_metadata,
    ngx_llm_error_read_flagged,
    ngx_llm_error_read_original,

    ngx_llm_error_read_status_code,   /* of these three the last number */
    ngx_llm_error_read_status,        /* counts */
    ngx_llm_error_read_code,
    ngx_llm_error_read_type,
    ngx_llm_error_read_reason,
    ngx_llm_error_read_error_type,

    ngx_llm_error_read_members_n
};


typedef struct {
    const char           *name;
    size_t                len;
    ngx_uint_t            member;
} ngx_llm_error_read_key_t;


typedef struct {                      /* the inside of a string */
    const u_char         *start;
    const u_char         *end;
} ngx_llm_error_read_span_t;


typedef struct {
    ngx_llm_error_read_said_t  *said;
    ngx_llm_error_read_span_t   text;  /* the message; NULL: none */
    ngx_llm_lexer_t             lexer;
} ngx_llm_error_read_reader_t;


static void ngx_llm_error_read_document(ngx_llm_error_read_reader_t *b,
    const u_char *p, const u_char *end, ngx_uint_t wrapped);
static void ngx_llm_error_read_descend(ngx_llm_error_read_reader_t *b,
    const u_char *p, const u_char *root);
static void ngx_llm_error_read_signals(ngx_llm_error_read_reader_t *b,
    const u_char *const *m);
static void ngx_llm_error_read_inner_signals(ngx_llm_error_read_reader_t *b,
    const u_char *const *m);
static void ngx_llm_error_read_all_details(ngx_llm_error_read_reader_t *b,
    const u_char *p);
static void ngx_llm_error_read_all_violations(ngx_llm_error_read_reader_t *b,
    const u_char *p);
static void ngx_llm_error_read_members(ngx_llm_error_read_reader_t *b,
    const u_char *p, const u_char **m);
static const u_char *ngx_llm_error_read_element(ngx_llm_error_read_reader_t *b,
    const u_char *p, ngx_uint_t first);
static ngx_uint_t ngx_llm_error_read_number(ngx_llm_error_read_reader_t *b,
    const u_char *p);
static void ngx_llm_error_read_word(ngx_llm_error_read_reader_t *b,
    const u_char *p);
static void ngx_llm_error_read_plain(ngx_llm_error_read_word_t *word);
static ngx_uint_t ngx_llm_error_read_string(ngx_llm_error_read_reader_t *b,
    const u_char *p, ngx_llm_error_read_span_t *span);
static size_t ngx_llm_error_read_lower(u_char *dst, size_t size,
    const ngx_llm_error_read_span_t *span);
static size_t ngx_llm_error_read_decode(u_char *dst, size_t size,
    const ngx_llm_error_read_span_t *span);


#define ngx_llm_error_read_key(name, member)                                  \
    { name, sizeof(name) - 1, ngx_llm_error_read_##member }


static const ngx_llm_error_read_key_t  ngx_llm_error_read_keys[] = {
    ngx_llm_error_read_key("error", error),
    ngx_llm_error_read_key("message", message),
    ngx_llm_error_read_key("Message", message),       /* AWS, at times */
    ngx_llm_error_read_key("detail", detail),
    ngx_llm_error_read_key("errors", errors),
    ngx_llm_error_read_key("code", code),
    ngx_llm_error_read_key("type", type),
    ngx_llm_error_read_key("__type", type),           /* AWS */
    ngx_llm_error_read_key("status", status),
    ngx_llm_error_read_key("statusCode", status_code),  /* Azure's front */
    ngx_llm_error_read_key("reason", reason),         /* Google */
    ngx_llm_error_read_key("details", details),
    ngx_llm_error_read_key("retryDelay", delay),
    ngx_llm_error_read_key("violations", violations),
    ngx_llm_error_read_key("quotaId", quota),
    ngx_llm_error_read_key("innererror", inner),      /* Azure */
    ngx_llm_error_read_key("metadata", metadata),     /* OpenRouter */
    ngx_llm_error_read_key("error_type", error_type),
    ngx_llm_error_read_key("flagged_input", flagged),
    ngx_llm_error_read_key("originalStatusCode", original) /* Bedrock */
};

#define NGX_LLM_ERROR_READ_KEYS                                               \
    (sizeof(ngx_llm_error_read_keys) / sizeof(ngx_llm_error_read_keys[0]))


void
ngx_llm_error_read(ngx_llm_error_read_said_t *said, const u_char *body,
    size_t len)
{
    size_t                       n;
    u_char                       document[NGX_LLM_ERROR_READ_DOCUMENT];
    ngx_llm_error_read_reader_t  b;

    ngx_memzero(said, offsetof(ngx_llm_error_read_said_t, delay));
    said->delay.len = 0;

    if (len == 0) {
        return;
    }

    b.said = said;
    b.text.start = NULL;

    ngx_llm_error_read_document(&b, body, body + len, 0);

    n = ngx_llm_error_read_decode(document, sizeof(document), &b.text);

    if (n && (document[0] == '{' || document[0] == '[')) {
        ngx_llm_error_read_document(&b, document, document + n, 1);
    }

    said->text_len = ngx_llm_error_read_lower(said->text, sizeof(said->text),
                                              &b.text);
}


/*
 * The whole document is checked first, so that what is read of it later is
 * known to be there.  A message that is a document itself (wrapped) is one of
 * a provider behind the provider: it must have an error object.
 */

static void
ngx_llm_error_read_document(ngx_llm_error_read_reader_t *b, const u_char *p,
    const u_char *end, ngx_uint_t wrapped)
{
    const u_char  *last, *root, *m[ngx_llm_error_read_members_n];

    ngx_llm_lexer_init(&b->lexer, NGX_LLM_SCAN_BEST, p, end);

    p = ngx_llm_lexer_space(&b->lexer, p);

    last = ngx_llm_lexer_value(&b->lexer, p);

    if (last == NULL || ngx_llm_lexer_space(&b->lexer, last) != end) {
        return;
    }

    if (*p == '[') {
        p = ngx_llm_error_read_element(b, p, 1);
    }

    if (p == NULL || *p != '{') {
        return;
    }

    root = p;

    if (wrapped) {
        ngx_llm_error_read_members(b, p, m);

        p = m[ngx_llm_error_read_error];

        if (p == NULL || *p != '{') {
            return;
        }
    }

    ngx_llm_error_read_descend(b, p, root);
}


/* from p, an object, down to the text, with the codes on the way */

static void
ngx_llm_error_read_descend(ngx_llm_error_read_reader_t *b, const u_char *p,
    const u_char *root)
{
    ngx_uint_t     i, n;
    const u_char  *m[ngx_llm_error_read_members_n];

    for (n = 0; n < NGX_LLM_ERROR_READ_LEVELS && p != NULL; n++) {

        if (ngx_llm_error_read_string(b, p, &b->text)) {
            return;
        }

        if (*p == '[') {
            p = ngx_llm_error_read_element(b, p, 1);
            continue;
        }

        if (*p != '{') {
            return;
        }

        ngx_llm_error_read_members(b, p, m);
        ngx_llm_error_read_signals(b, m);

        /* a Responses object echoes the client's own "metadata" */

        if (p != root) {
            ngx_llm_error_read_inner_signals(b, m);
        }

        p = NULL;

        for (i = ngx_llm_error_read_error; i <= ngx_llm_error_read_errors;
             i++)
        {
            if (m[i] && (*m[i] == '"' || *m[i] == '[' || *m[i] == '{')) {
                p = m[i];
                break;
            }
        }
    }
}


/* what an object says of itself; the inner object's number wins */

static void
ngx_llm_error_read_signals(ngx_llm_error_read_reader_t *b,
    const u_char *const *m)
{
    ngx_uint_t  i, number;

    for (i = ngx_llm_error_read_status_code; i < ngx_llm_error_read_type; i++) {
        number = ngx_llm_error_read_number(b, m[i]);

        if (number) {
            b->said->status = number;
        }
    }

    for (i = ngx_llm_error_read_status_code; i < ngx_llm_error_read_members_n;
         i++)
    {
        ngx_llm_error_read_word(b, m[i]);
    }

    number = ngx_llm_error_read_number(b, m[ngx_llm_error_read_original]);

    if (number) {
        b->said->original = number;
    }
}


static void
ngx_llm_error_read_inner_signals(ngx_llm_error_read_reader_t *b,
    const u_char *const *m)
{
    const u_char  *p, *inner[ngx_llm_error_read_members_n];

    p = m[ngx_llm_error_read_inner];

    if (p != NULL && *p == '{') {
        ngx_llm_error_read_members(b, p, inner);
        ngx_llm_error_read_word(b, inner[ngx_llm_error_read_code]);
    }

    p = m[ngx_llm_error_read_metadata];

    if (p != NULL && *p == '{') {
        ngx_llm_error_read_members(b, p, inner);
        ngx_llm_error_read_word(b, inner[ngx_llm_error_read_error_type]);

        /* only moderation has it; what it says is the client's own text */

        if (inner[ngx_llm_error_read_flagged] != NULL) {
            b->said->flagged = 1;
        }
    }

    p = m[ngx_llm_error_read_details];

    if (p != NULL && *p == '[') {
        ngx_llm_error_read_all_details(b, p);
    }
}


/* Google's: ErrorInfo, RetryInfo and QuotaFailure, told by their members */

static void
ngx_llm_error_read_all_details(ngx_llm_error_read_reader_t *b, const u_char *p)
{
    ngx_uint_t                  i;
    const u_char               *v, *m[ngx_llm_error_read_members_n];
    ngx_llm_error_read_span_t   span;
    ngx_llm_error_read_word_t  *delay;

    p = ngx_llm_error_read_element(b, p, 1);

    for (i = 0; i < NGX_LLM_ERROR_READ_ELEMENTS && p != NULL; i++) {

        if (*p == '{') {
            ngx_llm_error_read_members(b, p, m);
            ngx_llm_error_read_word(b, m[ngx_llm_error_read_reason]);

            if (ngx_llm_error_read_string(b, m[ngx_llm_error_read_delay],
                                          &span))
            {
                delay = &b->said->delay;
                delay->len = ngx_llm_error_read_lower(delay->data,
                                                      NGX_LLM_ERROR_READ_WORD,
                                                      &span);
            }

            v = m[ngx_llm_error_read_violations];

            if (v != NULL && *v == '[') {
                ngx_llm_error_read_all_violations(b, v);
            }
        }

        p = ngx_llm_error_read_element(b, p, 0);
    }
}


static void
ngx_llm_error_read_all_violations(ngx_llm_error_read_reader_t *b,
    const u_char *p)
{
    size_t                     n;
    u_char                     id[NGX_LLM_ERROR_READ_WORD];
    ngx_uint_t                 i;
    const u_char              *m[ngx_llm_error_read_members_n];
    ngx_llm_error_read_span_t  span;

    p = ngx_llm_error_read_element(b, p, 1);

    for (i = 0; i < NGX_LLM_ERROR_READ_ELEMENTS && p != NULL; i++) {

        if (*p == '{') {
            ngx_llm_error_read_members(b, p, m);

            if (ngx_llm_error_read_string(b, m[ngx_llm_error_read_quota],
                                          &span))
            {
                n = ngx_llm_error_read_lower(id, sizeof(id), &span);

                if (ngx_llm_error_read_find(id, id + n, "perday") != NULL) {
                    b->said->daily = 1;
                }
            }
        }

        p = ngx_llm_error_read_element(b, p, 0);
    }
}


/* *p == '{'; m is all members we know, NULL: not there, or null */

static void
ngx_llm_error_read_members(ngx_llm_error_read_reader_t *b, const u_char *p,
    const u_char **m)
{
    size_t                           len;
    ngx_uint_t                       i, first;
    const u_char                    *v;
    const ngx_llm_error_read_key_t  *key;

    for (i = 0; i < ngx_llm_error_read_members_n; i++) {
        m[i] = NULL;
    }

    p++;

    for (first = 1; p != NULL; first = 0) {

        v = ngx_llm_lexer_next(&b->lexer, p, first);

        if (v == NULL || b->lexer.key == NULL) {
            return;
        }

        len = b->lexer.key_end - b->lexer.key;

        for (i = 0; i < NGX_LLM_ERROR_READ_KEYS; i++) {
            key = &ngx_llm_error_read_keys[i];

            if (key->len == len
                && ngx_memcmp(key->name, b->lexer.key, len) == 0)
            {
                m[key->member] = (*v == 'n') ? NULL : v;
                break;
            }
        }

        p = ngx_llm_lexer_value(&b->lexer, v);
    }
}


/* first: *p == '[', else p is at an element; the next one, NULL: none */

static const u_char *
ngx_llm_error_read_element(ngx_llm_error_read_reader_t *b, const u_char *p,
    ngx_uint_t first)
{
    if (first) {
        p = ngx_llm_lexer_space(&b->lexer, p + 1);
        return ngx_llm_lexer_peek(&b->lexer, p) == ']' ? NULL : p;
    }

    p = ngx_llm_lexer_value(&b->lexer, p);

    if (p == NULL) {
        return NULL;
    }

    p = ngx_llm_lexer_space(&b->lexer, p);

    if (ngx_llm_lexer_peek(&b->lexer, p) != ',') {
        return NULL;
    }

    return ngx_llm_lexer_space(&b->lexer, p + 1);
}


/* a status, 400-599, as a number or (Azure) as a string; 0: it is none */

static ngx_uint_t
ngx_llm_error_read_number(ngx_llm_error_read_reader_t *b, const u_char *p)
{
    ngx_uint_t     i, n;
    const u_char  *end;

    if (p == NULL) {
        return 0;
    }

    end = ngx_llm_lexer_value(&b->lexer, p);

    if (end != NULL && *p == '"') {
        p++;
        end--;
    }

    if (end == NULL || end - p != 3) {
        return 0;
    }

    for (n = 0, i = 0; i < 3; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return 0;
        }

        n = n * 10 + (p[i] - '0');
    }

    return (n >= 400 && n <= 599) ? n : 0;
}


static void
ngx_llm_error_read_word(ngx_llm_error_read_reader_t *b, const u_char *p)
{
    ngx_llm_error_read_span_t   span;
    ngx_llm_error_read_word_t  *word;

    if (b->said->words_n == NGX_LLM_ERROR_READ_WORDS
        || !ngx_llm_error_read_string(b, p, &span))
    {
        return;
    }

    word = &b->said->words[b->said->words_n++];
    word->len = ngx_llm_error_read_lower(word->data, NGX_LLM_ERROR_READ_WORD,
                                         &span);

    ngx_llm_error_read_plain(word);
}


/* takes off what AWS puts around a word */

static void
ngx_llm_error_read_plain(ngx_llm_error_read_word_t *word)
{
    size_t               n;
    u_char              *p;
    static const u_char  suffix[] = "exception";

    p = memchr(word->data, ':', word->len);

    if (p != NULL) {
        word->len = p - word->data;
    }

    p = memchr(word->data, '#', word->len);

    if (p != NULL) {
        p++;
        word->len -= p - word->data;
        memmove(word->data, p, word->len);
    }

    n = sizeof(suffix) - 1;

    if (word->len > n
        && ngx_memcmp(word->data + word->len - n, suffix, n) == 0)
    {
        word->len -= n;
    }
}


/* 0, and span is untouched: p is NULL or at no string */

static ngx_uint_t
ngx_llm_error_read_string(ngx_llm_error_read_reader_t *b, const u_char *p,
    ngx_llm_error_read_span_t *span)
{
    const u_char  *end;

    if (p == NULL || *p != '"') {
        return 0;
    }

    end = ngx_llm_lexer_value(&b->lexer, p);

    if (end == NULL) {
        return 0;
    }

    span->start = p + 1;
    span->end = end - 1;

    return 1;
}


static size_t
ngx_llm_error_read_lower(u_char *dst, size_t size,
    const ngx_llm_error_read_span_t *span)
{
    size_t  i, n;

    n = ngx_llm_error_read_decode(dst, size, span);

    for (i = 0; i < n; i++) {
        if (dst[i] >= 'A' && dst[i] <= 'Z') {
            dst[i] |= 0x20;
        }
    }

    return n;
}


/* as much of it as surely fits into size bytes, no escape cut; the length */

static size_t
ngx_llm_error_read_decode(u_char *dst, size_t size,
    const ngx_llm_error_read_span_t *span)
{
    size_t         n;
    const u_char  *p, *end;

    if (span->start == NULL) {
        return 0;
    }

    end = span->end;

    if ((size_t) (end - span->start) > size) {
        end = span->start;

        for (p = end; (size_t) (p - span->start) <= size; p += n) {
            end = p;
            n = (*p != '\\') ? 1 : (p[1] == 'u') ? 6 : 2;
        }
    }

    return ngx_llm_string_decode(dst, size, span->start, end);
}


const u_char *
ngx_llm_error_read_find(const u_char *text, const u_char *last,
    const char *phrase)
{
    size_t         len;
    const u_char  *p;

    len = strlen(phrase);

    if ((size_t) (last - text) < len) {
        return NULL;
    }

    for (p = last - len; /* void */ ; p--) {

        if (ngx_memcmp(p, phrase, len) == 0) {
            return p + len;
        }

        if (p == text) {
            return NULL;
        }
    }
}
