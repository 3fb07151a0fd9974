/*
 * The ids of kept state in a response and in a request.  The scan stops at the
 * first byte that is not JSON and never reads past the end of the data, so that
 * it may run over a response whose end has not come yet.
 */


#include <ngx_llm_state_id.h>


/* an event, its response, and the conversation of that */
#define NGX_LLM_STATE_ID_LEVELS  3


static u_char *ngx_llm_state_id_object(u_char *p, u_char *last,
    ngx_uint_t levels, ngx_llm_state_ids_t *ids);
static u_char *ngx_llm_state_id_member(u_char *p, u_char *last,
    const ngx_str_t *key, ngx_uint_t levels, ngx_llm_state_ids_t *ids);
static u_char *ngx_llm_state_id_string(u_char *p, u_char *last,
    ngx_str_t *text);
static u_char *ngx_llm_state_id_skip(u_char *p, u_char *last);
static u_char *ngx_llm_state_id_blank(u_char *p, u_char *last);
static void ngx_llm_state_id_set(ngx_str_t *id, const ngx_str_t *text);


#define ngx_llm_state_id_is(key, name)                                        \
    ((key)->len == sizeof(name) - 1                                           \
     && ngx_memcmp((key)->data, name, sizeof(name) - 1) == 0)


void
ngx_llm_state_ids(u_char *data, size_t len, ngx_llm_state_ids_t *ids)
{
    u_char  *p, *last;

    ngx_memzero(ids, sizeof(ngx_llm_state_ids_t));

    last = data + len;
    p = ngx_llm_state_id_blank(data, last);

    if (p < last && *p == '{') {
        (void) ngx_llm_state_id_object(p, last, NGX_LLM_STATE_ID_LEVELS, ids);
        return;
    }

    while (p < last && ids->response.len == 0) {

        if (last - p > 5 && ngx_memcmp(p, "data:", 5) == 0) {
            p = ngx_llm_state_id_blank(p + 5, last);

            if (p < last && *p == '{') {
                (void) ngx_llm_state_id_object(p, last,
                                               NGX_LLM_STATE_ID_LEVELS, ids);
            }
        }

        while (p < last && *p != '\n' && *p != '\r') {
            p++;
        }

        while (p < last && (*p == '\n' || *p == '\r')) {
            p++;
        }
    }
}


void
ngx_llm_state_id(u_char *data, size_t len, ngx_str_t *id)
{
    u_char               *last;
    ngx_str_t             text;
    ngx_llm_state_ids_t   ids;

    id->len = 0;
    id->data = NULL;

    if (len == 0) {
        return;
    }

    last = data + len;

    if (*data == '"') {
        if (ngx_llm_state_id_string(data, last, &text)) {
            ngx_llm_state_id_set(id, &text);
        }

        return;
    }

    if (*data == '{') {
        ngx_memzero(&ids, sizeof(ngx_llm_state_ids_t));
        (void) ngx_llm_state_id_object(data, last, 1, &ids);
        *id = ids.response;
    }
}


/*
 * Reads the object at p.  levels: objects that are read, the outer one
 * included.  Returns the position after the object, or NULL if it is cut.
 */

static u_char *
ngx_llm_state_id_object(u_char *p, u_char *last, ngx_uint_t levels,
    ngx_llm_state_ids_t *ids)
{
    ngx_str_t  key;

    for (p++; p; p++) {
        p = ngx_llm_state_id_blank(p, last);

        if (p == last) {
            return NULL;
        }

        if (*p == '}') {
            return p + 1;
        }

        p = ngx_llm_state_id_string(p, last, &key);
        if (p == NULL) {
            return NULL;
        }

        p = ngx_llm_state_id_blank(p, last);

        if (p == last || *p != ':') {
            return NULL;
        }

        p = ngx_llm_state_id_blank(p + 1, last);
        p = ngx_llm_state_id_member(p, last, &key, levels, ids);
        if (p == NULL) {
            return NULL;
        }

        p = ngx_llm_state_id_blank(p, last);

        if (p == last || *p != ',') {
            return (p < last && *p == '}') ? p + 1 : NULL;
        }
    }

    return NULL;
}


/* Reads the value of key at p.  Returns the position after it, or NULL. */

static u_char *
ngx_llm_state_id_member(u_char *p, u_char *last, const ngx_str_t *key,
    ngx_uint_t levels, ngx_llm_state_ids_t *ids)
{
    u_char               *end;
    ngx_str_t             text;
    ngx_llm_state_ids_t   inner;

    if (p == last) {
        return NULL;
    }

    if (*p == '"') {
        end = ngx_llm_state_id_string(p, last, &text);

        if (end && ngx_llm_state_id_is(key, "id")) {
            ngx_llm_state_id_set(&ids->response, &text);

        } else if (end && ngx_llm_state_id_is(key, "conversation")) {
            ngx_llm_state_id_set(&ids->conversation, &text);
        }

        return end;
    }

    if (*p == '{' && levels > 1 && ngx_llm_state_id_is(key, "response")) {

        return ngx_llm_state_id_object(p, last, levels - 1, ids);
    }

    if (*p == '{' && levels > 1 && ngx_llm_state_id_is(key, "conversation")) {
        ngx_memzero(&inner, sizeof(ngx_llm_state_ids_t));

        end = ngx_llm_state_id_object(p, last, 1, &inner);
        ids->conversation = inner.response;

        return end;
    }

    return ngx_llm_state_id_skip(p, last);
}


/*
 * Reads the string at p, text is its undecoded inside.  Returns the position
 * after the closing quote, or NULL.
 */

static u_char *
ngx_llm_state_id_string(u_char *p, u_char *last, ngx_str_t *text)
{
    if (*p != '"') {
        return NULL;
    }

    text->data = ++p;

    for ( /* void */ ; p < last; p++) {

        if (*p == '"') {
            text->len = p - text->data;
            return p + 1;
        }

        if (*p == '\\') {
            p++;
        }
    }

    return NULL;
}


/* Returns the position after the value at p, or NULL if the value is cut. */

static u_char *
ngx_llm_state_id_skip(u_char *p, u_char *last)
{
    ngx_str_t   text;
    ngx_uint_t  depth;

    depth = 0;

    while (p < last) {

        switch (*p) {

        case '"':
            p = ngx_llm_state_id_string(p, last, &text);
            if (p == NULL) {
                return NULL;
            }

            if (depth == 0) {
                return p;
            }

            continue;

        case '{':
        case '[':
            depth++;
            break;

        case '}':
        case ']':
            if (depth == 0) {
                return p;
            }

            if (--depth == 0) {
                return p + 1;
            }

            break;

        case ',':
            if (depth == 0) {
                return p;
            }
        }

        p++;
    }

    return NULL;
}


static u_char *
ngx_llm_state_id_blank(u_char *p, u_char *last)
{
    while (p < last
           && (*p == ' ' || *p == '\t' || *p == '\n' || *p == '\r'))
    {
        p++;
    }

    return p;
}


static void
ngx_llm_state_id_set(ngx_str_t *id, const ngx_str_t *text)
{
    size_t  i;

    if (text->len == 0 || text->len > NGX_LLM_STATE_ID_LEN) {
        return;
    }

    for (i = 0; i < text->len; i++) {
        if (text->data[i] == '\\') {
            return;
        }
    }

    *id = *text;
}
