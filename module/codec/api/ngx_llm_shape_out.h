/*
 * ngx_llm_shape_out.h: places of raw JSON values in a text, and the writing of
 * another text with them.  For ngx_llm_to_document.c and ngx_llm_to_stream.c.
 */

#ifndef _NGX_LLM_SHAPE_OUT_H_INCLUDED_
#define _NGX_LLM_SHAPE_OUT_H_INCLUDED_


#include <ngx_llm_shape.h>


#define NGX_LLM_SHAPE_EXTRAS  16     /* members we have no name for */
#define NGX_LLM_SHAPE_BUFFER  1024

/* what a value says, in this order; the value of a higher rank counts */
#define NGX_LLM_SHAPE_ABSENT  0
#define NGX_LLM_SHAPE_NULL    1
#define NGX_LLM_SHAPE_EMPTY   2      /* the string "" */
#define NGX_LLM_SHAPE_VALUE   3

/* how two values of a member are one */
#define NGX_LLM_SHAPE_SAME   0       /* if they are the same */
#define NGX_LLM_SHAPE_LAST   1       /* the later one counts */


typedef struct {                     /* a value, raw, quotes included */
    const u_char          *start;    /* NULL: absent */
    const u_char          *end;
} ngx_llm_shape_span_t;


typedef struct {
    ngx_llm_shape_span_t   key;      /* without quotes */
    ngx_llm_shape_span_t   value;
} ngx_llm_shape_extra_t;


typedef struct {
    ngx_uint_t             n;
    ngx_llm_shape_extra_t  extra[NGX_LLM_SHAPE_EXTRAS];
} ngx_llm_shape_extras_t;


typedef struct {
    ngx_llm_shape_put_pt   put;      /* set by the caller, as data is */
    void                  *data;
    size_t                 len;      /* bytes in buf; 0 at first */
    u_char                 buf[NGX_LLM_SHAPE_BUFFER];
} ngx_llm_shape_out_t;


/* NGX_LLM_SHAPE_ABSENT to _VALUE */
ngx_uint_t ngx_llm_shape_rank(const ngx_llm_shape_span_t *s);

/* byte by byte, both present */
ngx_uint_t ngx_llm_shape_equal(const ngx_llm_shape_span_t *a,
    const ngx_llm_shape_span_t *b);
ngx_uint_t ngx_llm_shape_is(const ngx_llm_shape_span_t *s, const char *raw);

/*
 * Replaces the kept value by s if s has the same rank or a higher one.  Extras
 * are compared by name with NGX_LLM_SHAPE_SAME.  Returns NGX_DECLINED if the
 * values differ or there are too many names.
 */
ngx_int_t ngx_llm_shape_keep(ngx_llm_shape_span_t *kept,
    const ngx_llm_shape_span_t *s, ngx_uint_t rule);
ngx_int_t ngx_llm_shape_keep_extras(ngx_llm_shape_extras_t *kept,
    const ngx_llm_shape_extras_t *extras);


void ngx_llm_shape_put(ngx_llm_shape_out_t *out, const u_char *p, size_t len);
void ngx_llm_shape_put_text(ngx_llm_shape_out_t *out, const char *text);
void ngx_llm_shape_put_number(ngx_llm_shape_out_t *out, ngx_uint_t n);

/* the value without the line ends between its tokens */
void ngx_llm_shape_put_value(ngx_llm_shape_out_t *out,
    const ngx_llm_shape_span_t *s);

/* before is all up to the value; nothing is written if that is absent */
void ngx_llm_shape_put_member(ngx_llm_shape_out_t *out, const char *before,
    const ngx_llm_shape_span_t *s);

/* each with a comma before it */
void ngx_llm_shape_put_extras(ngx_llm_shape_out_t *out,
    const ngx_llm_shape_extras_t *extras);

/* Passes the bytes in buf to put; the last call of a writer. */
void ngx_llm_shape_flush(ngx_llm_shape_out_t *out);


#endif /* _NGX_LLM_SHAPE_OUT_H_INCLUDED_ */
