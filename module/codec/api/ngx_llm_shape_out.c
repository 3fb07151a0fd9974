/*
 * ngx_llm_shape_out.c: compares and keeps places in JSON, and writes other
 * JSON from them, in pieces of a kilobyte.  Used by ngx_llm_to_document.c and
 * ngx_llm_to_stream.c.  Values are copied as they are spelled, never decoded.
 */

#include "ngx_llm_shape_out.h"


ngx_uint_t
ngx_llm_shape_rank(const ngx_llm_shape_span_t *s)
{
    if (s->start == NULL) {
        return NGX_LLM_SHAPE_ABSENT;
    }

    if (*s->start == 'n') {
        return NGX_LLM_SHAPE_NULL;
    }

    if (*s->start == '"' && s->end - s->start == 2) {
        return NGX_LLM_SHAPE_EMPTY;
    }

    return NGX_LLM_SHAPE_VALUE;
}


ngx_uint_t
ngx_llm_shape_equal(const ngx_llm_shape_span_t *a,
    const ngx_llm_shape_span_t *b)
{
    size_t  len;

    len = a->end - a->start;

    return len == (size_t) (b->end - b->start)
           && ngx_memcmp(a->start, b->start, len) == 0;
}


ngx_uint_t
ngx_llm_shape_is(const ngx_llm_shape_span_t *s, const char *raw)
{
    ngx_llm_shape_span_t  other;

    other.start = (const u_char *) raw;
    other.end = other.start + ngx_strlen(raw);

    return s->start != NULL && ngx_llm_shape_equal(s, &other);
}


ngx_int_t
ngx_llm_shape_keep(ngx_llm_shape_span_t *kept, const ngx_llm_shape_span_t *s,
    ngx_uint_t rule)
{
    ngx_uint_t  rank, kept_rank;

    rank = ngx_llm_shape_rank(s);
    kept_rank = ngx_llm_shape_rank(kept);

    if (rank == NGX_LLM_SHAPE_VALUE && kept_rank == NGX_LLM_SHAPE_VALUE
        && rule == NGX_LLM_SHAPE_SAME && !ngx_llm_shape_equal(s, kept))
    {
        return NGX_DECLINED;
    }

    if (rank >= kept_rank) {
        *kept = *s;
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_shape_keep_extras(ngx_llm_shape_extras_t *kept,
    const ngx_llm_shape_extras_t *extras)
{
    ngx_uint_t                    i, k;
    const ngx_llm_shape_extra_t  *e;

    for (i = 0; i < extras->n; i++) {
        e = &extras->extra[i];

        for (k = 0; k < kept->n; k++) {
            if (ngx_llm_shape_equal(&kept->extra[k].key, &e->key)) {
                break;
            }
        }

        if (k == NGX_LLM_SHAPE_EXTRAS) {
            return NGX_DECLINED;
        }

        if (k == kept->n) {
            kept->extra[kept->n++] = *e;
            continue;
        }

        if (ngx_llm_shape_keep(&kept->extra[k].value, &e->value,
                               NGX_LLM_SHAPE_SAME)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


void
ngx_llm_shape_put(ngx_llm_shape_out_t *out, const u_char *p, size_t len)
{
    if (len > NGX_LLM_SHAPE_BUFFER - out->len) {
        ngx_llm_shape_flush(out);
    }

    if (len > NGX_LLM_SHAPE_BUFFER) {
        out->put(out->data, p, len);
        return;
    }

    ngx_memcpy(out->buf + out->len, p, len);
    out->len += len;
}


void
ngx_llm_shape_put_text(ngx_llm_shape_out_t *out, const char *text)
{
    ngx_llm_shape_put(out, (const u_char *) text, ngx_strlen(text));
}


void
ngx_llm_shape_put_number(ngx_llm_shape_out_t *out, ngx_uint_t n)
{
    u_char  buf[3 * sizeof(ngx_uint_t)], *p;

    p = buf + sizeof(buf);

    do {
        *--p = (u_char) ('0' + n % 10);
        n /= 10;
    } while (n);

    ngx_llm_shape_put(out, p, buf + sizeof(buf) - p);
}


void
ngx_llm_shape_put_value(ngx_llm_shape_out_t *out, const ngx_llm_shape_span_t *s)
{
    const u_char  *p, *start;

    /* a string has no line ends, so they can only be between tokens */

    for (start = p = s->start; p < s->end; p++) {

        if (*p == '\n' || *p == '\r') {
            ngx_llm_shape_put(out, start, p - start);
            start = p + 1;
        }
    }

    ngx_llm_shape_put(out, start, p - start);
}


void
ngx_llm_shape_put_member(ngx_llm_shape_out_t *out, const char *before,
    const ngx_llm_shape_span_t *s)
{
    if (s->start != NULL) {
        ngx_llm_shape_put_text(out, before);
        ngx_llm_shape_put_value(out, s);
    }
}


void
ngx_llm_shape_put_extras(ngx_llm_shape_out_t *out,
    const ngx_llm_shape_extras_t *extras)
{
    ngx_uint_t  i;

    for (i = 0; i < extras->n; i++) {
        ngx_llm_shape_put_text(out, ",\"");
        ngx_llm_shape_put_value(out, &extras->extra[i].key);
        ngx_llm_shape_put_text(out, "\":");
        ngx_llm_shape_put_value(out, &extras->extra[i].value);
    }
}


void
ngx_llm_shape_flush(ngx_llm_shape_out_t *out)
{
    if (out->len) {
        out->put(out->data, out->buf, out->len);
        out->len = 0;
    }
}
