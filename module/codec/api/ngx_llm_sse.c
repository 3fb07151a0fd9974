/*
 * ngx_llm_sse.c: cuts a text/event-stream into events and pieces of data.
 *
 * Used by the answer reader.  Never keeps a line and never looks at what the
 * data says.
 */

#include <ngx_llm_sse.h>

#if (__SSE2__)
#include <emmintrin.h>
#endif


enum {
    ngx_llm_sse_start = 0,      /* before the first byte, or in the BOM */
    ngx_llm_sse_line,
    ngx_llm_sse_field,
    ngx_llm_sse_data_space,     /* a space here is not part of the value */
    ngx_llm_sse_data,
    ngx_llm_sse_name_space,
    ngx_llm_sse_name,
    ngx_llm_sse_ignore
};


static ngx_uint_t ngx_llm_sse_mark(ngx_llm_sse_t *s, u_char ch);
static ngx_int_t ngx_llm_sse_start_line(ngx_llm_sse_t *s, u_char **pos,
    u_char *last, ngx_str_t *data);
static ngx_int_t ngx_llm_sse_blank(ngx_llm_sse_t *s, u_char **pos,
    u_char *last);
static ngx_int_t ngx_llm_sse_read_field(ngx_llm_sse_t *s, u_char **pos,
    u_char *last, ngx_str_t *data);
static ngx_int_t ngx_llm_sse_start_data(ngx_llm_sse_t *s, ngx_uint_t state,
    ngx_str_t *data);
static ngx_int_t ngx_llm_sse_value(ngx_llm_sse_t *s, u_char **pos,
    u_char *last, ngx_str_t *data);
static ngx_inline u_char *ngx_llm_sse_line_end(u_char *p, u_char *last);


static const u_char  ngx_llm_sse_bom[] = { 0xef, 0xbb, 0xbf };
static u_char        ngx_llm_sse_lf[] = "\n";


void
ngx_llm_sse_init(ngx_llm_sse_t *s)
{
    ngx_memzero(s, sizeof(ngx_llm_sse_t));
}


ngx_int_t
ngx_llm_sse_next(ngx_llm_sse_t *s, u_char **pos, u_char *last, ngx_str_t *data)
{
    u_char     *p;
    ngx_int_t   rc;

    if (s->ended) {
        s->ended = 0;
        s->fields = 0;
        s->data = 0;
        s->name_len = 0;
    }

    p = *pos;
    rc = NGX_AGAIN;

    while (p < last && rc == NGX_AGAIN) {

        switch (s->state) {

        case ngx_llm_sse_start:
            p += ngx_llm_sse_mark(s, *p);
            break;

        case ngx_llm_sse_line:
            rc = ngx_llm_sse_start_line(s, &p, last, data);
            break;

        case ngx_llm_sse_field:
            rc = ngx_llm_sse_read_field(s, &p, last, data);
            break;

        case ngx_llm_sse_data_space:
        case ngx_llm_sse_name_space:
            p += (*p == ' ');
            s->state++;
            break;

        default: /* data, name, ignore */
            rc = ngx_llm_sse_value(s, &p, last, data);
            break;
        }
    }

    *pos = p;

    return rc;
}


ngx_uint_t
ngx_llm_sse_boundary(const ngx_llm_sse_t *s)
{
    if (s->state == ngx_llm_sse_start) {
        return s->bom == 0;
    }

    return s->state == ngx_llm_sse_line && !s->cr && (s->ended || !s->fields);
}


/* returns the number of bytes consumed */

static ngx_uint_t
ngx_llm_sse_mark(ngx_llm_sse_t *s, u_char ch)
{
    if (ch == ngx_llm_sse_bom[s->bom]) {

        if (++s->bom == sizeof(ngx_llm_sse_bom)) {
            s->state = ngx_llm_sse_line;
        }

        return 1;
    }

    if (s->bom == 0) {
        s->state = ngx_llm_sse_line;
        return 0;
    }

    /* a part of a mark is the start of an unknown field's name */

    s->field_len = NGX_LLM_SSE_FIELD;
    s->state = ngx_llm_sse_field;

    return 0;
}


static ngx_int_t
ngx_llm_sse_start_line(ngx_llm_sse_t *s, u_char **pos, u_char *last,
    ngx_str_t *data)
{
    u_char  *p;

    p = *pos;

    if (s->cr) {
        s->cr = 0;

        if (*p == '\n') {
            *pos = p + 1;
            return NGX_AGAIN;
        }
    }

    /* what nearly every line starts with, if it is here in one piece */

    if (last - p > 6 && ngx_memcmp(p, "data: ", 6) == 0) {

        if (!s->fields) {
            s->start = p;
        }

        *pos = p + 6;
        return ngx_llm_sse_start_data(s, ngx_llm_sse_data, data);
    }

    switch (*p) {

    case '\n':
    case '\r':
        return ngx_llm_sse_blank(s, pos, last);

    case ':':
        s->state = ngx_llm_sse_ignore;
        return NGX_AGAIN;

    default:

        if (!s->fields) {
            s->start = p;
        }

        s->field_len = 0;
        s->state = ngx_llm_sse_field;
        return NGX_AGAIN;
    }
}


static ngx_int_t
ngx_llm_sse_blank(ngx_llm_sse_t *s, u_char **pos, u_char *last)
{
    u_char  *p;

    p = *pos;

    if (*p++ == '\r') {

        if (p < last && *p == '\n') {
            p++;

        } else {
            s->cr = (p == last);
        }
    }

    *pos = p;

    if (!s->fields) {
        s->start = NULL;
        return NGX_AGAIN;
    }

    s->ended = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_llm_sse_read_field(ngx_llm_sse_t *s, u_char **pos, u_char *last,
    ngx_str_t *data)
{
    u_char  *p, ch;

    for (p = *pos; p < last; p++) {
        ch = *p;

        if (ch == ':' || ch == '\n' || ch == '\r') {
            break;
        }

        if (s->field_len < NGX_LLM_SSE_FIELD) {
            s->field[s->field_len++] = ch;
        }
    }

    *pos = p;

    if (p == last) {
        return NGX_AGAIN;
    }

    /* a line without a colon is a field with an empty value */

    *pos += (*p == ':');

    s->state = ngx_llm_sse_ignore;

    if (s->field_len == 4 && ngx_memcmp(s->field, "data", 4) == 0) {
        return ngx_llm_sse_start_data(s, ngx_llm_sse_data_space, data);
    }

    if (s->field_len == 5 && ngx_memcmp(s->field, "event", 5) == 0) {
        s->fields = 1;
        s->name_len = 0;
        s->state = ngx_llm_sse_name_space;

    } else if ((s->field_len == 2 && ngx_memcmp(s->field, "id", 2) == 0)
               || (s->field_len == 5 && ngx_memcmp(s->field, "retry", 5) == 0))
    {
        s->fields = 1;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_llm_sse_start_data(ngx_llm_sse_t *s, ngx_uint_t state, ngx_str_t *data)
{
    s->state = state;

    if (s->data) {
        data->data = ngx_llm_sse_lf;
        data->len = 1;
        return NGX_DECLINED;
    }

    s->data = 1;
    s->fields = 1;

    return NGX_AGAIN;
}


/* the rest of a line, as far as it is here, and one byte of its end */

static ngx_int_t
ngx_llm_sse_value(ngx_llm_sse_t *s, u_char **pos, u_char *last,
    ngx_str_t *data)
{
    u_char      *p, *end;
    ngx_uint_t   state;

    p = *pos;
    state = s->state;
    end = ngx_llm_sse_line_end(p, last);

    if (end < last) {
        s->cr = (*end == '\r');
        s->state = ngx_llm_sse_line;
        *pos = end + 1;

    } else {
        *pos = end;
    }

    if (state == ngx_llm_sse_data && end > p) {
        data->data = p;
        data->len = end - p;
        return NGX_DECLINED;
    }

    if (state == ngx_llm_sse_name) {
        while (p < end && s->name_len < NGX_LLM_SSE_NAME) {
            s->name[s->name_len++] = *p++;
        }
    }

    return NGX_AGAIN;
}


static ngx_inline u_char *
ngx_llm_sse_line_end(u_char *p, u_char *last)
{
#if (__SSE2__)
    __m128i   x, y, lf, cr;
    uint32_t  mask;

    lf = _mm_set1_epi8('\n');
    cr = _mm_set1_epi8('\r');

    for ( /* void */ ; last - p >= 32; p += 32) {
        x = _mm_loadu_si128((const __m128i *) p);
        y = _mm_loadu_si128((const __m128i *) (p + 16));

        x = _mm_or_si128(_mm_cmpeq_epi8(x, lf), _mm_cmpeq_epi8(x, cr));
        y = _mm_or_si128(_mm_cmpeq_epi8(y, lf), _mm_cmpeq_epi8(y, cr));

        if (_mm_movemask_epi8(_mm_or_si128(x, y))) {
            mask = _mm_movemask_epi8(x);
            mask |= (uint32_t) _mm_movemask_epi8(y) << 16;
            return p + __builtin_ctz(mask);
        }
    }
#endif

    while (p < last && *p != '\n' && *p != '\r') {
        p++;
    }

    return p;
}
