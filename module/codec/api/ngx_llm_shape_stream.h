/*
 * ngx_llm_shape_stream.h: an event stream that is all there, read as often as
 * one likes.  For ngx_llm_to_document.c.
 */

#ifndef _NGX_LLM_SHAPE_STREAM_H_INCLUDED_
#define _NGX_LLM_SHAPE_STREAM_H_INCLUDED_


#include <ngx_llm_sse.h>

#include "ngx_llm_shape_parts.h"


typedef struct {
    ngx_uint_t              form;    /* ngx_llm_shape_delta or _text */
    ngx_uint_t              index;   /* the choice whose pieces are read,
                                        set by the caller */
    const u_char           *start;    /* of the stream */
    u_char                 *pos;
    u_char                 *last;
    size_t                  work;     /* bytes that passes have read */
    ngx_llm_sse_t           sse;
    ngx_llm_shape_text_t    chunk;    /* the event that was read last, */
    const u_char           *choices;  /* where in its choices; NULL: behind */
    ngx_llm_shape_choice_t  choice;   /* and that choice */
} ngx_llm_shape_stream_t;


/* the stream must outlive s; it is not written to */
void ngx_llm_shape_stream_init(ngx_llm_shape_stream_t *s, ngx_uint_t form,
    const u_char *start, size_t len);

/* to its start; NGX_DECLINED: too much has been read already */
ngx_int_t ngx_llm_shape_stream_rewind(ngx_llm_shape_stream_t *s);

/*
 * These read the next piece, choice, chunk or event.  They return NGX_OK,
 * NGX_DONE if there is none, or NGX_DECLINED if it is not accepted.  A piece is
 * the value of a part in the choice with this index, unless it is absent or
 * null.  Choices belong to one chunk.  Chunks end at [DONE], which ends the
 * stream.  Events end with the text, and have one line of data.
 */

ngx_int_t ngx_llm_shape_stream_part(ngx_llm_shape_stream_t *s,
    ngx_uint_t part);
ngx_int_t ngx_llm_shape_stream_choice(ngx_llm_shape_stream_t *s);
ngx_int_t ngx_llm_shape_stream_chunk(ngx_llm_shape_stream_t *s);
ngx_int_t ngx_llm_shape_stream_event(ngx_llm_shape_stream_t *s,
    ngx_str_t *data);

/* NGX_DONE if this data is [DONE] and nothing is behind it */
ngx_int_t ngx_llm_shape_stream_done(ngx_llm_shape_stream_t *s, ngx_str_t *data);


#endif /* _NGX_LLM_SHAPE_STREAM_H_INCLUDED_ */
