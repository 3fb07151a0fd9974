/*
 * ngx_llm_shape_stream.c: reads an event stream that is all there, as often as
 * ngx_llm_to_document.c wants to: event by event, chunk by chunk, or all that
 * one choice has of one part.  What reading may cost in all is bounded.
 */

#include "ngx_llm_shape_stream.h"


#define NGX_LLM_SHAPE_WORK  (16 * 1024 * 1024)   /* bytes read, all passes */


void
ngx_llm_shape_stream_init(ngx_llm_shape_stream_t *s, ngx_uint_t form,
    const u_char *start, size_t len)
{
    s->form = form;
    s->start = start;
    s->last = (u_char *) start + len;
    s->work = 0;
}


ngx_int_t
ngx_llm_shape_stream_rewind(ngx_llm_shape_stream_t *s)
{
    s->pos = (u_char *) s->start;
    s->choices = NULL;
    s->work += s->last - s->start;

    ngx_llm_sse_init(&s->sse);

    return (s->work <= NGX_LLM_SHAPE_WORK) ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_llm_shape_stream_part(ngx_llm_shape_stream_t *s, ngx_uint_t part)
{
    ngx_int_t  rc;

    for ( ;; ) {

        if (s->choices == NULL) {
            rc = ngx_llm_shape_stream_chunk(s);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        rc = ngx_llm_shape_stream_choice(s);

        if (rc == NGX_DONE) {
            s->choices = NULL;
            continue;
        }

        if (rc != NGX_OK) {
            return rc;
        }

        if (s->choice.index == s->index
            && ngx_llm_shape_rank(&s->choice.part[part]) >= NGX_LLM_SHAPE_EMPTY)
        {
            return NGX_OK;
        }
    }
}


ngx_int_t
ngx_llm_shape_stream_choice(ngx_llm_shape_stream_t *s)
{
    ngx_int_t      rc;
    const u_char  *element;

    rc = ngx_llm_shape_next(&s->chunk, &s->choices, &element);

    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_llm_shape_read_choice(&s->chunk, element, s->form, &s->choice);
}


ngx_int_t
ngx_llm_shape_stream_chunk(ngx_llm_shape_stream_t *s)
{
    ngx_int_t  rc;
    ngx_str_t  data;

    rc = ngx_llm_shape_stream_event(s, &data);

    if (rc != NGX_OK || s->sse.name_len) {
        return NGX_DECLINED;
    }

    if (*data.data == '[') {
        return ngx_llm_shape_stream_done(s, &data);
    }

    rc = ngx_llm_shape_read(&s->chunk, data.data, data.len);

    s->choices = s->chunk.top[ngx_llm_shape_choices].start;

    return rc;
}


ngx_int_t
ngx_llm_shape_stream_done(ngx_llm_shape_stream_t *s, ngx_str_t *data)
{
    ngx_str_t               rest;
    static const ngx_str_t  done = ngx_string("[DONE]");

    if (data->len == done.len
        && ngx_memcmp(data->data, done.data, done.len) == 0
        && ngx_llm_shape_stream_event(s, &rest) == NGX_DONE)
    {
        return NGX_DONE;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_llm_shape_stream_event(ngx_llm_shape_stream_t *s, ngx_str_t *data)
{
    ngx_int_t   rc;
    ngx_str_t   piece;
    ngx_uint_t  n;

    for (n = 0; ; n++) {
        rc = ngx_llm_sse_next(&s->sse, &s->pos, s->last, &piece);

        if (rc != NGX_DECLINED) {
            break;
        }

        *data = piece;
    }

    if (rc == NGX_AGAIN) {
        return ngx_llm_sse_boundary(&s->sse) ? NGX_DONE : NGX_DECLINED;
    }

    return (n == 1) ? NGX_OK : NGX_DECLINED;
}
