/*
 * ngx_llm_pull.c: pulls the values a table names out of a JSON object that
 * comes in pieces.
 *
 * Used by the answer reader.  On a named path it goes token by token; below
 * anything else it only counts brackets outside of strings, sixteen bytes at
 * a step.
 */

#include <ngx_llm_pull.h>

#if (__SSE2__)
#include <emmintrin.h>
#endif


enum {
    ngx_llm_pull_start = 0,
    ngx_llm_pull_first_name,        /* behind an opening brace */
    ngx_llm_pull_name,              /* behind a comma */
    ngx_llm_pull_in_name,
    ngx_llm_pull_colon,
    ngx_llm_pull_first_value,       /* behind an opening bracket */
    ngx_llm_pull_value,
    ngx_llm_pull_in_string,
    ngx_llm_pull_in_scalar,
    ngx_llm_pull_after,             /* a comma or the end has to come */
    ngx_llm_pull_skip,
    ngx_llm_pull_skip_string,
    ngx_llm_pull_closed,
    ngx_llm_pull_bad
};


static ngx_int_t ngx_llm_pull_token(ngx_llm_pull_t *pl, u_char ch);
static ngx_int_t ngx_llm_pull_open(ngx_llm_pull_t *pl, u_char ch);
static ngx_int_t ngx_llm_pull_close(ngx_llm_pull_t *pl, u_char ch,
    ngx_uint_t empty);
static ngx_int_t ngx_llm_pull_read_members(ngx_llm_pull_t *pl, u_char **pos,
    u_char *last);
static ngx_int_t ngx_llm_pull_read_plain(ngx_llm_pull_t *pl, u_char **pos,
    u_char *last);
static ngx_int_t ngx_llm_pull_tell(ngx_llm_pull_t *pl, u_char *p, size_t len);
static ngx_int_t ngx_llm_pull_scalar_type(ngx_llm_pull_t *pl, u_char *p,
    size_t len);
static ngx_int_t ngx_llm_pull_end_text(ngx_llm_pull_t *pl, u_char **pos,
    u_char *last);
static void ngx_llm_pull_want_element(ngx_llm_pull_t *pl);
static ngx_inline void ngx_llm_pull_want_named(ngx_llm_pull_t *pl,
    u_char *name, size_t len);
static u_char *ngx_llm_pull_read_skipped(ngx_llm_pull_t *pl, u_char *p,
    u_char *last);
static void ngx_llm_pull_keep(ngx_llm_pull_t *pl, u_char *p, size_t len);
static ngx_inline ngx_uint_t ngx_llm_pull_push(ngx_llm_pull_t *pl, u_char ch);
static ngx_inline ngx_uint_t ngx_llm_pull_pop(ngx_llm_pull_t *pl, u_char ch);
static ngx_inline ngx_uint_t ngx_llm_pull_in_object(ngx_llm_pull_t *pl);
static ngx_inline ngx_uint_t ngx_llm_pull_is_scalar(u_char ch);
static ngx_inline u_char *ngx_llm_pull_scalar(u_char *p, u_char *last);
static ngx_inline u_char *ngx_llm_pull_quote(u_char *p, u_char *last);
static ngx_inline u_char *ngx_llm_pull_bracket(u_char *p, u_char *last);


/* letters, digits, '+', '-', '.' and '/' */

static const uint32_t  ngx_llm_pull_scalars[] = {
    0x00000000, 0x03ffe800, 0x07fffffe, 0x07fffffe, 0, 0, 0, 0
};


void
ngx_llm_pull_init(ngx_llm_pull_t *pl, const ngx_llm_pull_key_t *const *nodes)
{
    /* the arrays are written before they are read */

    pl->nodes = nodes;
    pl->kept = 0;
    pl->at.state = ngx_llm_pull_start;
    pl->at.want = 0;
    pl->at.inside = 1;
    pl->at.escape = 0;
    pl->at.depth = 0;
    pl->at.base = 0;
}


ngx_int_t
ngx_llm_pull_next(ngx_llm_pull_t *pl, u_char **pos, u_char *last)
{
    u_char     *p;
    ngx_int_t   rc;

    p = *pos;
    rc = NGX_AGAIN;

    while (p < last && rc == NGX_AGAIN) {

        switch (pl->at.state) {

        case ngx_llm_pull_in_name:
        case ngx_llm_pull_in_string:
        case ngx_llm_pull_in_scalar:
            rc = ngx_llm_pull_read_plain(pl, &p, last);
            break;

        case ngx_llm_pull_skip:
        case ngx_llm_pull_skip_string:
            p = ngx_llm_pull_read_skipped(pl, p, last);
            break;

        case ngx_llm_pull_bad:
            p = last;
            break;

        case ngx_llm_pull_first_name:
        case ngx_llm_pull_name:
            rc = ngx_llm_pull_read_members(pl, &p, last);

            if (rc != NGX_AGAIN || p == last) {
                break;
            }

            /* fall through */

        default:
            rc = ngx_llm_pull_token(pl, *p++);
            break;
        }
    }

    *pos = p;

    if (rc != NGX_AGAIN) {
        return rc;
    }

    switch (pl->at.state) {

    case ngx_llm_pull_closed:
        return NGX_DONE;

    case ngx_llm_pull_bad:
        *pos = last;
        return NGX_ERROR;

    default:
        return NGX_AGAIN;
    }
}


/* one byte outside of strings, numbers and literals */

static ngx_int_t
ngx_llm_pull_token(ngx_llm_pull_t *pl, u_char ch)
{
    if (ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t') {
        return NGX_AGAIN;
    }

    switch (pl->at.state) {

    case ngx_llm_pull_start:

        if (ch == '{') {
            return ngx_llm_pull_open(pl, ch);
        }

        break;

    case ngx_llm_pull_first_name:

        if (ch == '}') {
            return ngx_llm_pull_close(pl, ch, 1);
        }

        /* fall through */

    case ngx_llm_pull_name:

        if (ch == '"') {
            pl->kept = 0;
            pl->at.state = ngx_llm_pull_in_name;
            return NGX_AGAIN;
        }

        break;

    case ngx_llm_pull_colon:

        if (ch == ':') {
            pl->at.state = ngx_llm_pull_value;
            return NGX_AGAIN;
        }

        break;

    case ngx_llm_pull_first_value:

        if (ch == ']') {
            return ngx_llm_pull_close(pl, ch, 1);
        }

        /* fall through */

    case ngx_llm_pull_value:

        if (ch == '"') {
            pl->kept = 0;
            pl->at.state = ngx_llm_pull_in_string;
            return NGX_AGAIN;
        }

        if (ch == '{' || ch == '[') {
            return ngx_llm_pull_open(pl, ch);
        }

        if (!ngx_llm_pull_is_scalar(ch)) {
            break;
        }

        pl->kept = 1;
        pl->buf[0] = ch;
        pl->at.state = ngx_llm_pull_in_scalar;

        return NGX_AGAIN;

    case ngx_llm_pull_after:

        if (ch != ',') {
            return ngx_llm_pull_close(pl, ch, 0);
        }

        if (ngx_llm_pull_in_object(pl)) {
            pl->at.state = ngx_llm_pull_name;

        } else {
            ngx_llm_pull_want_element(pl);
            pl->at.state = ngx_llm_pull_value;
        }

        return NGX_AGAIN;

    default: /* closed */
        break;
    }

    pl->at.state = ngx_llm_pull_bad;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_llm_pull_open(ngx_llm_pull_t *pl, u_char ch)
{
    u_char  want;

    want = pl->at.want;

    if (ngx_llm_pull_push(pl, ch) != NGX_OK) {
        pl->at.state = ngx_llm_pull_bad;
        return NGX_AGAIN;
    }

    if (pl->at.inside == 0 || pl->at.depth > NGX_LLM_PULL_LEVELS) {
        pl->at.base = pl->at.depth - 1;
        pl->at.state = ngx_llm_pull_skip;

    } else {
        pl->at.node[pl->at.depth - 1] = pl->at.inside;
        pl->at.name[pl->at.depth - 1] = want;

        if (ch == '{') {
            pl->at.state = ngx_llm_pull_first_name;

        } else {
            ngx_llm_pull_want_element(pl);
            pl->at.state = ngx_llm_pull_first_value;
        }
    }

    if (want == 0) {
        return NGX_AGAIN;
    }

    pl->slot = want;
    pl->type = (ch == '{') ? NGX_LLM_PULL_OBJECT : NGX_LLM_PULL_ARRAY;

    return NGX_OK;
}


static ngx_int_t
ngx_llm_pull_close(ngx_llm_pull_t *pl, u_char ch, ngx_uint_t empty)
{
    if ((ch != '}' && ch != ']') || ngx_llm_pull_pop(pl, ch) != NGX_OK) {
        pl->at.state = ngx_llm_pull_bad;
        return NGX_AGAIN;
    }

    if (pl->at.depth == 0) {
        pl->at.state = ngx_llm_pull_closed;
        return NGX_DONE;
    }

    pl->at.state = ngx_llm_pull_after;
    pl->slot = pl->at.name[pl->at.depth];
    pl->type = (ch == '}') ? NGX_LLM_PULL_OBJECT_END
                           : NGX_LLM_PULL_ARRAY_END;
    pl->empty = (u_char) empty;

    return pl->slot ? NGX_OK : NGX_AGAIN;
}


/*
 * The shortcut: members that are here in one piece and without white space to
 * speak of, one after the other.  Most of a short object is read here.  What
 * is not that plain is left where it starts, for the general way.
 */

static ngx_int_t
ngx_llm_pull_read_members(ngx_llm_pull_t *pl, u_char **pos, u_char *last)
{
    u_char  *p, *start, *end;

    p = *pos;

    while (last - p > 4 && *p == '"') {
        end = ngx_llm_pull_quote(p + 1, last);

        if (last - end < 4 || *end != '"' || end[1] != ':') {
            break;
        }

        ngx_llm_pull_want_named(pl, p + 1, end - p - 1);

        pl->at.state = ngx_llm_pull_value;
        p = end + 2;
        p += (*p == ' ');

        if (*p == '"') {
            start = p + 1;
            end = ngx_llm_pull_quote(start, last);

            if (last - end < 3 || *end != '"') {
                break;
            }

            p = end + 1;
            pl->type = NGX_LLM_PULL_STRING;

        } else {
            start = p;
            end = ngx_llm_pull_scalar(p, last);

            if (last - end < 2 || end == start
                || ngx_llm_pull_scalar_type(pl, start, end - start) != NGX_OK)
            {
                break;
            }

            p = end;
        }

        pl->at.state = ngx_llm_pull_after;

        if (*p == ',') {
            p++;
            p += (*p == ' ');
            pl->at.state = ngx_llm_pull_name;
        }

        if (pl->at.want && pl->type) {
            *pos = p;
            return ngx_llm_pull_tell(pl, start, end - start);
        }

        if (pl->at.state == ngx_llm_pull_after) {
            break;
        }
    }

    *pos = p;

    return NGX_AGAIN;
}


/* a name, string, number or literal that has begun */

static ngx_int_t
ngx_llm_pull_read_plain(ngx_llm_pull_t *pl, u_char **pos, u_char *last)
{
    u_char      *start;
    ngx_int_t    rc;
    ngx_uint_t   state;

    start = *pos;
    state = pl->at.state;

    if (state == ngx_llm_pull_in_scalar) {
        *pos = ngx_llm_pull_scalar(start, last);
        rc = (*pos < last) ? NGX_OK : NGX_AGAIN;

    } else {
        rc = ngx_llm_pull_end_text(pl, pos, last);
    }

    ngx_llm_pull_keep(pl, start, *pos - start);

    if (rc != NGX_OK) {
        return NGX_AGAIN;
    }

    if (state == ngx_llm_pull_in_name) {
        *pos += 1;
        pl->at.state = ngx_llm_pull_colon;
        ngx_llm_pull_want_named(pl, pl->buf, pl->kept);
        return NGX_AGAIN;
    }

    pl->at.state = ngx_llm_pull_after;

    if (state == ngx_llm_pull_in_string) {
        *pos += 1;
        pl->type = NGX_LLM_PULL_STRING;

    } else if (ngx_llm_pull_scalar_type(pl, pl->buf, pl->kept) != NGX_OK) {
        pl->at.state = ngx_llm_pull_bad;
        return NGX_AGAIN;
    }

    if (pl->at.want == 0 || pl->type == 0) {
        return NGX_AGAIN;
    }

    return ngx_llm_pull_tell(pl, pl->buf, pl->kept);
}


static ngx_int_t
ngx_llm_pull_tell(ngx_llm_pull_t *pl, u_char *p, size_t len)
{
    pl->slot = pl->at.want;
    pl->value.data = p;
    pl->value.len = (len > NGX_LLM_PULL_VALUE) ? NGX_LLM_PULL_VALUE : len;

    return NGX_OK;
}


/* a null is of no type: it is as if it were not there */

static ngx_int_t
ngx_llm_pull_scalar_type(ngx_llm_pull_t *pl, u_char *p, size_t len)
{
    if (*p <= '9') {
        pl->type = NGX_LLM_PULL_NUMBER;
        return (*p == '-' || *p >= '0') ? NGX_OK : NGX_ERROR;
    }

    if (len == 4 && ngx_memcmp(p, "null", 4) == 0) {
        pl->type = 0;
        return NGX_OK;
    }

    if (len == 4 && ngx_memcmp(p, "true", 4) == 0) {
        pl->type = NGX_LLM_PULL_TRUE;
        return NGX_OK;
    }

    if (len == 5 && ngx_memcmp(p, "false", 5) == 0) {
        pl->type = NGX_LLM_PULL_FALSE;
        return NGX_OK;
    }

    return NGX_ERROR;
}


/* NGX_OK: *pos is at the closing quote */

static ngx_int_t
ngx_llm_pull_end_text(ngx_llm_pull_t *pl, u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos + pl->at.escape;
    pl->at.escape = 0;

    for ( ;; ) {
        p = ngx_llm_pull_quote(p, last);

        if (p == last || *p == '"') {
            break;
        }

        if (last - p < 2) {
            pl->at.escape = 1;
            p = last;
            break;
        }

        p += 2;
    }

    *pos = p;

    return (p < last) ? NGX_OK : NGX_AGAIN;
}


static void
ngx_llm_pull_want_element(ngx_llm_pull_t *pl)
{
    const ngx_llm_pull_key_t  *key;

    /* an element's key is as long as the null key, which wants nothing */

    key = pl->nodes[pl->at.node[pl->at.depth - 1]];

    pl->at.want = 0;
    pl->at.inside = 0;

    if (key->len == 255) {
        pl->at.want = key->slot;
        pl->at.inside = key->node;
    }
}


static ngx_inline void
ngx_llm_pull_want_named(ngx_llm_pull_t *pl, u_char *name, size_t len)
{
    const ngx_llm_pull_key_t  *key;

    if (len > NGX_LLM_PULL_VALUE) {
        len = NGX_LLM_PULL_VALUE + 1;
    }

    key = pl->nodes[pl->at.node[pl->at.depth - 1]];

    pl->at.want = 0;
    pl->at.inside = 0;

    while (key->len < len) {
        key++;
    }

    for ( /* void */ ; key->len == len; key++) {

        if (key->key[0] == (char) name[0]
            && ngx_memcmp(key->key, name, len) == 0)
        {
            pl->at.want = key->slot;
            pl->at.inside = key->node;
            return;
        }
    }
}


/* below a value that has no node, to its closing bracket */

static u_char *
ngx_llm_pull_read_skipped(ngx_llm_pull_t *pl, u_char *p, u_char *last)
{
    if (pl->at.state == ngx_llm_pull_skip_string) {

        if (ngx_llm_pull_end_text(pl, &p, last) != NGX_OK) {
            return p;
        }

        p++;
        pl->at.state = ngx_llm_pull_skip;
    }

    p = ngx_llm_pull_bracket(p, last);

    if (p == last) {
        return p;
    }

    switch (*p) {

    case '"':
        pl->at.state = ngx_llm_pull_skip_string;
        break;

    case '{':
    case '[':

        if (ngx_llm_pull_push(pl, *p) != NGX_OK) {
            pl->at.state = ngx_llm_pull_bad;
        }

        break;

    default:

        if (ngx_llm_pull_pop(pl, *p) != NGX_OK) {
            pl->at.state = ngx_llm_pull_bad;

        } else if (pl->at.depth == pl->at.base) {
            pl->at.state = ngx_llm_pull_after;
        }
    }

    return p + 1;
}


/* a piece of a key or value whose end has not come */

static void
ngx_llm_pull_keep(ngx_llm_pull_t *pl, u_char *p, size_t len)
{
    size_t  n;

    if (pl->kept > NGX_LLM_PULL_VALUE) {
        return;
    }

    n = NGX_LLM_PULL_VALUE - pl->kept;

    if (len > n) {
        ngx_memcpy(pl->buf + pl->kept, p, n);
        pl->kept = NGX_LLM_PULL_VALUE + 1;
        return;
    }

    ngx_memcpy(pl->buf + pl->kept, p, len);
    pl->kept += len;
}


static ngx_inline ngx_uint_t
ngx_llm_pull_push(ngx_llm_pull_t *pl, u_char ch)
{
    uint64_t  bit;

    if (pl->at.depth == NGX_LLM_PULL_DEPTH) {
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


/* 0 if ch closes what was opened last */

static ngx_inline ngx_uint_t
ngx_llm_pull_pop(ngx_llm_pull_t *pl, u_char ch)
{
    if (ngx_llm_pull_in_object(pl) != (ch == '}')) {
        return 1;
    }

    pl->at.depth--;

    return 0;
}


static ngx_inline ngx_uint_t
ngx_llm_pull_in_object(ngx_llm_pull_t *pl)
{
    ngx_uint_t  n;

    n = pl->at.depth - 1;

    return (pl->at.braces[n / 64] >> (n % 64)) & 1;
}


static ngx_inline ngx_uint_t
ngx_llm_pull_is_scalar(u_char ch)
{
    return (ngx_llm_pull_scalars[ch / 32] >> (ch % 32)) & 1;
}


/* the first byte that is no letter, digit, '+', '-' or '.' (nor '/') */

static ngx_inline u_char *
ngx_llm_pull_scalar(u_char *p, u_char *last)
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

    while (p < last && ngx_llm_pull_is_scalar(*p)) {
        p++;
    }

    return p;
}


static ngx_inline u_char *
ngx_llm_pull_quote(u_char *p, u_char *last)
{
#if (__SSE2__)
    int      mask;
    __m128i  x, quote, slash;

    quote = _mm_set1_epi8('"');
    slash = _mm_set1_epi8('\\');

    for ( /* void */ ; last - p >= 16; p += 16) {
        x = _mm_loadu_si128((const __m128i *) p);
        mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(x, quote),
                                              _mm_cmpeq_epi8(x, slash)));
        if (mask) {
            return p + __builtin_ctz(mask);
        }
    }
#endif

    while (p < last && *p != '"' && *p != '\\') {
        p++;
    }

    return p;
}


/* a quote or any of the four brackets: '[' and '{' differ in 0x20 only */

static ngx_inline u_char *
ngx_llm_pull_bracket(u_char *p, u_char *last)
{
    u_char   ch;
#if (__SSE2__)
    int      mask;
    __m128i  x, y, quote, open, close, lower;

    quote = _mm_set1_epi8('"');
    open = _mm_set1_epi8('{');
    close = _mm_set1_epi8('}');
    lower = _mm_set1_epi8(0x20);

    for ( /* void */ ; last - p >= 16; p += 16) {
        x = _mm_loadu_si128((const __m128i *) p);
        y = _mm_or_si128(x, lower);
        mask = _mm_movemask_epi8(
                   _mm_or_si128(_mm_cmpeq_epi8(x, quote),
                                _mm_or_si128(_mm_cmpeq_epi8(y, open),
                                             _mm_cmpeq_epi8(y, close))));
        if (mask) {
            return p + __builtin_ctz(mask);
        }
    }
#endif

    for ( /* void */ ; p < last; p++) {
        ch = *p | 0x20;

        if (ch == '{' || ch == '}' || *p == '"') {
            break;
        }
    }

    return p;
}
