/*
 * ngx_llm_reader.c: pulls the values a table names out of a JSON object that
 * comes in pieces.
 *
 * Used by the answer reader.  On a named path it goes token by token; below
 * anything else it only counts brackets outside of strings, sixteen bytes at
 * a step.
 */

#include <ngx_llm_reader.h>

#include "ngx_llm_reader_scan.h"


enum {
    ngx_llm_reader_start = 0,
    ngx_llm_reader_first_name,      /* after an opening brace */
    ngx_llm_reader_name,            /* after a comma */
    ngx_llm_reader_in_name,
    ngx_llm_reader_colon,
    ngx_llm_reader_first_value,     /* after an opening bracket */
    ngx_llm_reader_value,
    ngx_llm_reader_in_string,
    ngx_llm_reader_in_scalar,
    ngx_llm_reader_after,           /* before a comma or an end */
    ngx_llm_reader_skip,
    ngx_llm_reader_skip_string,
    ngx_llm_reader_closed,
    ngx_llm_reader_bad
};


static u_char *ngx_llm_reader_read_members(ngx_llm_reader_t *pl, u_char *p,
    u_char *last);
static ngx_inline ngx_int_t ngx_llm_reader_short_scalar(u_char **pos,
    u_char *last);
static u_char *ngx_llm_reader_leave(ngx_llm_reader_t *pl, u_char *p,
    const ngx_llm_reader_member_t *key);
static u_char *ngx_llm_reader_read_text(ngx_llm_reader_t *pl, u_char *p,
    u_char *last);
static ngx_inline ngx_int_t ngx_llm_reader_scalar_type(u_char *p, size_t len);
static u_char *ngx_llm_reader_text_end(ngx_llm_reader_t *pl, u_char *p,
    u_char *last);
static void ngx_llm_reader_keep(ngx_llm_reader_t *pl, u_char *p, size_t len);
static u_char *ngx_llm_reader_read_skipped(ngx_llm_reader_t *pl, u_char *p,
    u_char *last);
static void ngx_llm_reader_read_token(ngx_llm_reader_t *pl, u_char *p);
static ngx_inline void ngx_llm_reader_begin_value(ngx_llm_reader_t *pl,
    u_char *p);
static ngx_inline u_char *ngx_llm_reader_read_ends(ngx_llm_reader_t *pl,
    u_char *p, u_char *last);
static void ngx_llm_reader_space(ngx_llm_reader_t *pl, u_char ch);
static void ngx_llm_reader_open(ngx_llm_reader_t *pl, u_char *p);
static ngx_inline void ngx_llm_reader_close(ngx_llm_reader_t *pl, u_char *p,
    ngx_uint_t empty);
static ngx_inline void ngx_llm_reader_tell(ngx_llm_reader_t *pl, u_char slot,
    u_char type, u_char *p);
static ngx_inline void ngx_llm_reader_tell_text(ngx_llm_reader_t *pl,
    u_char slot, ngx_int_t type, u_char *p, u_char *text, size_t len);
static ngx_inline const ngx_llm_reader_node_t *ngx_llm_reader_node(
    ngx_llm_reader_t *pl);
static ngx_inline ngx_uint_t ngx_llm_reader_push(ngx_llm_reader_t *pl,
    u_char ch);
static ngx_inline ngx_uint_t ngx_llm_reader_pop(ngx_llm_reader_t *pl,
    u_char ch);
static ngx_inline u_char *ngx_llm_reader_scalar(u_char *p, u_char *last);


/* members of the document itself, which has the first node, and of a null, for
   which the handler is not called */

static const ngx_llm_reader_member_t  ngx_llm_reader_root = { NULL, 0, 0, 1 };
static const ngx_llm_reader_member_t  ngx_llm_reader_null = { NULL, 0, 0, 0 };


void
ngx_llm_reader_init(ngx_llm_reader_t *pl, const ngx_llm_reader_node_t *nodes)
{
    /* the arrays are written before they are read */

    pl->nodes = nodes;
    pl->kept = 0;
    pl->at.state = ngx_llm_reader_start;
    pl->at.escape = 0;
    pl->at.depth = 0;
    pl->at.base = 0;
    pl->at.key = &ngx_llm_reader_root;
}


ngx_int_t
ngx_llm_reader_read(ngx_llm_reader_t *pl, u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos;

    /* the call that closes the document ends there */

    while (p < last && pl->at.state == ngx_llm_reader_closed) {
        ngx_llm_reader_space(pl, *p++);
    }

    while (p < last) {

        switch (pl->at.state) {

        case ngx_llm_reader_first_name:
        case ngx_llm_reader_name:
            p = ngx_llm_reader_read_members(pl, p, last);
            break;

        case ngx_llm_reader_first_value:
        case ngx_llm_reader_value:
            ngx_llm_reader_begin_value(pl, p++);
            break;

        case ngx_llm_reader_after:
            p = ngx_llm_reader_read_ends(pl, p, last);
            break;

        case ngx_llm_reader_in_name:
        case ngx_llm_reader_in_string:
        case ngx_llm_reader_in_scalar:
            p = ngx_llm_reader_read_text(pl, p, last);
            break;

        case ngx_llm_reader_skip:
        case ngx_llm_reader_skip_string:
            p = ngx_llm_reader_read_skipped(pl, p, last);
            break;

        case ngx_llm_reader_start:
        case ngx_llm_reader_colon:
            ngx_llm_reader_read_token(pl, p++);
            break;

        case ngx_llm_reader_closed:
            *pos = p;
            return NGX_DONE;

        default: /* bad */
            p = last;
        }
    }

    *pos = last;

    switch (pl->at.state) {

    case ngx_llm_reader_closed:
        return NGX_DONE;

    case ngx_llm_reader_bad:
        return NGX_ERROR;

    default:
        return NGX_AGAIN;
    }
}


size_t
ngx_llm_reader_partial(const ngx_llm_reader_t *pl, u_char first, u_char last)
{
    return (pl->at.state == ngx_llm_reader_in_string
            && pl->at.key->slot >= first
            && pl->at.key->slot <= last) ? pl->length : 0;
}


/*
 * Reads members that are complete and without white space, as most of a short
 * object.  A name ends six bytes before last or earlier, a value two: the code
 * reads that far.
 */

static u_char *
ngx_llm_reader_read_members(ngx_llm_reader_t *pl, u_char *p, u_char *last)
{
    u_char                         *name, *text, *end;
    ngx_int_t                       type;
    const ngx_llm_reader_member_t  *key;
    const ngx_llm_reader_node_t    *node;

    node = ngx_llm_reader_node(pl);

    while (last - p >= 8) {

        name = p + 1;

        if (*p != '"') {

            if (*p != ' ' || *name != '"') {
                break;
            }

            name++;
        }

        end = ngx_llm_reader_quote(name, last - 6);

        if (ngx_memcmp(end, "\":", 2) != 0) {
            break;
        }

        key = ngx_llm_reader_find(node, name, end - name);

        text = end + 2;

        if (*text == ' ') {
            text++;
        }

        if (*text == '"') {
            text++;
            end = ngx_llm_reader_quote(text, last - 2);
            p = end + 1;

            if (*end != '"') {
                return ngx_llm_reader_leave(pl, text - 1, key);
            }

            type = NGX_LLM_READER_STRING;

        } else if (*text == '{' || *text == '[') {
            pl->at.key = key;
            ngx_llm_reader_open(pl, text);
            p = text + 1;

            if (pl->at.state != ngx_llm_reader_first_name) {
                return p;
            }

            node = &pl->nodes[key->node];
            continue;

        } else {
            end = text;
            type = ngx_llm_reader_short_scalar(&end, last - 1);

            if (type == NGX_ERROR || (*end != ',' && *end != '}')) {
                return ngx_llm_reader_leave(pl, text, key);
            }

            if (type == 0) {
                key = &ngx_llm_reader_null;
            }

            p = end;
        }

        if (*p != ',') {
            pl->at.state = ngx_llm_reader_after;

            if (key->slot) {
                ngx_llm_reader_tell_text(pl, key->slot, type, p, text,
                                         end - text);
            }

            return p;
        }

        p++;
        pl->at.state = ngx_llm_reader_name;

        if (key->slot) {
            ngx_llm_reader_tell_text(pl, key->slot, type, p, text, end - text);
        }
    }

    if (p < last) {
        ngx_llm_reader_read_token(pl, p++);
    }

    return p;
}


/* Returns its type, with *pos after it, or NGX_ERROR for the general way. */

static ngx_inline ngx_int_t
ngx_llm_reader_short_scalar(u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos;

    if (*p >= '0' && *p <= '9') {

        do {
            p++;
        } while (p < last && *p >= '0' && *p <= '9');

        if (*p != ',' && *p != '}') {
            p = ngx_llm_reader_scalar(p, last);
        }

        *pos = p;

        return NGX_LLM_READER_NUMBER;
    }

    if (last - p > 4 && ngx_memcmp(p, "null", 4) == 0) {
        *pos = p + 4;
        return 0;
    }

    *pos = ngx_llm_reader_scalar(p, last);

    return (*pos != p) ? ngx_llm_reader_scalar_type(p, *pos - p) : NGX_ERROR;
}


/* Starts the general way for the value at p. */

static u_char *
ngx_llm_reader_leave(ngx_llm_reader_t *pl, u_char *p,
    const ngx_llm_reader_member_t *key)
{
    pl->at.key = key;
    pl->at.state = ngx_llm_reader_value;

    return p;
}


/* Goes on with a name, string, number or literal that has begun. */

static u_char *
ngx_llm_reader_read_text(ngx_llm_reader_t *pl, u_char *p, u_char *last)
{
    u_char     *end;
    ngx_int_t   type;

    end = (pl->at.state == ngx_llm_reader_in_scalar)
          ? ngx_llm_reader_scalar(p, last)
          : ngx_llm_reader_text_end(pl, p, last);

    ngx_llm_reader_keep(pl, p, end - p);

    if (end == last) {
        return last;
    }

    switch (pl->at.state) {

    case ngx_llm_reader_in_name:
        pl->at.state = ngx_llm_reader_colon;
        pl->at.key = ngx_llm_reader_find(ngx_llm_reader_node(pl), pl->buf,
                                         pl->kept);
        return end + 1;

    case ngx_llm_reader_in_string:
        type = NGX_LLM_READER_STRING;
        end++;
        break;

    default: /* in_scalar */
        type = ngx_llm_reader_scalar_type(pl->buf, pl->kept);
    }

    if (type == NGX_ERROR) {
        pl->at.state = ngx_llm_reader_bad;
        return end;
    }

    pl->at.state = ngx_llm_reader_after;

    if (pl->at.key->slot && type) {
        ngx_llm_reader_tell_text(pl, pl->at.key->slot, type, end, pl->buf,
                                 pl->length);
    }

    return end;
}


/* Calls the handler, except for null, which counts as absent. */

static ngx_inline ngx_int_t
ngx_llm_reader_scalar_type(u_char *p, size_t len)
{
    if (*p <= '9') {
        return (*p == '-' || *p >= '0') ? NGX_LLM_READER_NUMBER : NGX_ERROR;
    }

    if (len == 4) {

        if (ngx_memcmp(p, "null", 4) == 0) {
            return 0;
        }

        if (ngx_memcmp(p, "true", 4) == 0) {
            return NGX_LLM_READER_TRUE;
        }

    } else if (len == 5 && ngx_memcmp(p, "false", 5) == 0) {
        return NGX_LLM_READER_FALSE;
    }

    return NGX_ERROR;
}


/* Returns the closing quote, or last. */

static u_char *
ngx_llm_reader_text_end(ngx_llm_reader_t *pl, u_char *p, u_char *last)
{
    p += pl->at.escape;
    pl->at.escape = 0;

    for ( ;; ) {
        p = ngx_llm_reader_quote(p, last);

        if (p == last || *p == '"') {
            return p;
        }

        if (last - p < 2) {
            pl->at.escape = 1;
            return last;
        }

        p += 2;
    }
}


/* Keeps a piece of a key or value that is not complete. */

static void
ngx_llm_reader_keep(ngx_llm_reader_t *pl, u_char *p, size_t len)
{
    size_t  n;

    pl->length += len;

    if (pl->kept > NGX_LLM_READER_VALUE) {
        return;
    }

    n = NGX_LLM_READER_VALUE - pl->kept;

    if (len > n) {
        ngx_memcpy(pl->buf + pl->kept, p, n);
        pl->kept = NGX_LLM_READER_VALUE + 1;
        return;
    }

    ngx_memcpy(pl->buf + pl->kept, p, len);
    pl->kept += len;
}


/* Skips a value without a node up to its closing bracket. */

static u_char *
ngx_llm_reader_read_skipped(ngx_llm_reader_t *pl, u_char *p, u_char *last)
{
    if (pl->at.state == ngx_llm_reader_skip_string) {
        p = ngx_llm_reader_text_end(pl, p, last);

        if (p == last) {
            return p;
        }

        p++;
        pl->at.state = ngx_llm_reader_skip;
    }

    p = ngx_llm_reader_bracket(p, last);

    if (p == last) {
        return p;
    }

    switch (*p) {

    case '"':
        pl->at.state = ngx_llm_reader_skip_string;
        break;

    case '{':
    case '[':

        if (ngx_llm_reader_push(pl, *p) != NGX_OK) {
            pl->at.state = ngx_llm_reader_bad;
        }

        break;

    default:

        if (ngx_llm_reader_pop(pl, *p) != NGX_OK) {
            pl->at.state = ngx_llm_reader_bad;

        } else if (pl->at.depth == pl->at.base) {
            pl->at.state = ngx_llm_reader_after;
        }
    }

    return p + 1;
}


/* Reads one byte outside of strings, numbers and literals. */

static void
ngx_llm_reader_read_token(ngx_llm_reader_t *pl, u_char *p)
{
    switch (pl->at.state) {

    case ngx_llm_reader_start:

        if (*p == '{') {
            ngx_llm_reader_open(pl, p);
            return;
        }

        break;

    case ngx_llm_reader_first_name:

        if (*p == '}') {
            ngx_llm_reader_close(pl, p, 1);
            return;
        }

        /* fall through */

    case ngx_llm_reader_name:

        if (*p == '"') {
            pl->kept = 0;
            pl->length = 0;
            pl->at.state = ngx_llm_reader_in_name;
            return;
        }

        break;

    default: /* colon */

        if (*p == ':') {
            pl->at.state = ngx_llm_reader_value;
            return;
        }
    }

    ngx_llm_reader_space(pl, *p);
}


static ngx_inline void
ngx_llm_reader_begin_value(ngx_llm_reader_t *pl, u_char *p)
{
    if (*p == '{' || *p == '[') {
        ngx_llm_reader_open(pl, p);
        return;
    }

    if (*p == '"') {
        pl->kept = 0;
        pl->length = 0;
        pl->at.state = ngx_llm_reader_in_string;
        return;
    }

    if (ngx_llm_reader_is_scalar(*p)) {
        pl->kept = 1;
        pl->length = 1;
        pl->buf[0] = *p;
        pl->at.state = ngx_llm_reader_in_scalar;
        return;
    }

    if (*p == ']' && pl->at.state == ngx_llm_reader_first_value) {
        ngx_llm_reader_close(pl, p, 1);
        return;
    }

    ngx_llm_reader_space(pl, *p);
}


/* Reads the closing brackets and the comma after a value. */

static ngx_inline u_char *
ngx_llm_reader_read_ends(ngx_llm_reader_t *pl, u_char *p, u_char *last)
{
    while (*p == '}' || *p == ']') {
        ngx_llm_reader_close(pl, p++, 0);

        if (p == last || pl->at.state != ngx_llm_reader_after) {
            return p;
        }
    }

    if (*p != ',') {
        ngx_llm_reader_space(pl, *p);

    } else if (pl->at.closer[pl->at.depth - 1] == '}') {
        pl->at.state = ngx_llm_reader_name;

    } else {
        pl->at.state = ngx_llm_reader_value;
        pl->at.key = &ngx_llm_reader_node(pl)->element;
    }

    return p + 1;
}


/* Skips the white space between tokens. */

static void
ngx_llm_reader_space(ngx_llm_reader_t *pl, u_char ch)
{
    if (ch != ' ' && ch != '\n' && ch != '\r' && ch != '\t') {
        pl->at.state = ngx_llm_reader_bad;
    }
}


static void
ngx_llm_reader_open(ngx_llm_reader_t *pl, u_char *p)
{
    ngx_uint_t                      n;
    const ngx_llm_reader_member_t  *key;

    n = pl->at.depth;
    key = pl->at.key;

    if (key->node == 0 || n == NGX_LLM_READER_LEVELS) {
        pl->at.base = n;
        pl->at.state = ngx_llm_reader_skip;
        ngx_llm_reader_push(pl, *p);

    } else {
        pl->at.node[n] = key->node;
        pl->at.name[n] = key->slot;
        pl->at.closer[n] = *p + ('}' - '{');     /* as much as ']' - '[' */
        pl->at.depth = n + 1;

        if (*p == '{') {
            pl->at.state = ngx_llm_reader_first_name;

        } else {
            pl->at.state = ngx_llm_reader_first_value;
            pl->at.key = &pl->nodes[key->node].element;
        }
    }

    if (key->slot) {
        ngx_llm_reader_tell(pl, key->slot, (*p == '{') ? NGX_LLM_READER_OBJECT
                                                     : NGX_LLM_READER_ARRAY,
                            p + 1);
    }
}


static ngx_inline void
ngx_llm_reader_close(ngx_llm_reader_t *pl, u_char *p, ngx_uint_t empty)
{
    ngx_uint_t  n;

    n = pl->at.depth - 1;

    if (*p != pl->at.closer[n]) {
        pl->at.state = ngx_llm_reader_bad;
        return;
    }

    pl->at.depth = n;

    if (n == 0) {
        pl->at.state = ngx_llm_reader_closed;
        return;
    }

    pl->at.state = ngx_llm_reader_after;

    if (pl->at.name[n]) {
        pl->empty = (u_char) empty;
        ngx_llm_reader_tell(pl, pl->at.name[n],
                            (*p == '}') ? NGX_LLM_READER_OBJECT_END
                                      : NGX_LLM_READER_ARRAY_END,
                            p + 1);
    }
}


static ngx_inline void
ngx_llm_reader_tell(ngx_llm_reader_t *pl, u_char slot, u_char type, u_char *p)
{
    pl->slot = slot;
    pl->type = type;
    pl->handler(pl, p);
}


static ngx_inline void
ngx_llm_reader_tell_text(ngx_llm_reader_t *pl, u_char slot, ngx_int_t type,
    u_char *p, u_char *text, size_t len)
{
    pl->slot = slot;
    pl->type = (u_char) type;
    pl->value.data = text;
    pl->length = len;
    pl->value.len = (len > NGX_LLM_READER_VALUE) ? NGX_LLM_READER_VALUE : len;
    pl->handler(pl, p);
}


static ngx_inline const ngx_llm_reader_node_t *
ngx_llm_reader_node(ngx_llm_reader_t *pl)
{
    return &pl->nodes[pl->at.node[pl->at.depth - 1]];
}


static ngx_inline ngx_uint_t
ngx_llm_reader_push(ngx_llm_reader_t *pl, u_char ch)
{
    uint64_t  bit;

    if (pl->at.depth == NGX_LLM_READER_DEPTH) {
        return 1;
    }

    bit = (uint64_t) 1 << (pl->at.depth % 64);

    if (ch == '{') {
        pl->at.braces[pl->at.depth / 64] |= bit;

    } else {
        pl->at.braces[pl->at.depth / 64] &= ~bit;
    }

    pl->at.depth++;

    return 0;
}


static ngx_inline ngx_uint_t
ngx_llm_reader_pop(ngx_llm_reader_t *pl, u_char ch)
{
    ngx_uint_t  n;

    n = pl->at.depth - 1;

    if (((pl->at.braces[n / 64] >> (n % 64)) & 1) != (ch == '}')) {
        return 1;
    }

    pl->at.depth--;

    return 0;
}


/* Returns the first byte that is no letter, digit, '+', '-', '.' or '/'. */

static ngx_inline u_char *
ngx_llm_reader_scalar(u_char *p, u_char *last)
{
#if (__SSE2__)
    int      mask;
    __m128i  x, letter, digit;

    for ( /* void */ ; last - p >= 16; p += 16) {
        x = _mm_loadu_si128((const __m128i *) p);

        letter = _mm_sub_epi8(_mm_or_si128(x, _mm_set1_epi8(0x20)),
                              _mm_set1_epi8('a'));
        letter = _mm_cmpeq_epi8(_mm_min_epu8(letter, _mm_set1_epi8(25)),
                                letter);

        digit = _mm_sub_epi8(x, _mm_set1_epi8('+'));
        digit = _mm_cmpeq_epi8(_mm_min_epu8(digit, _mm_set1_epi8('9' - '+')),
                               digit);
        digit = _mm_andnot_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8(',')), digit);

        mask = _mm_movemask_epi8(_mm_or_si128(letter, digit)) ^ 0xffff;

        if (mask) {
            return p + __builtin_ctz(mask);
        }
    }
#endif

    while (p < last && ngx_llm_reader_is_scalar(*p)) {
        p++;
    }

    return p;
}
