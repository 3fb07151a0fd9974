/*
 * ngx_llm_sse.h: where events and their data lie in a text/event-stream.
 *
 * The framer sees every byte once, in whatever pieces it comes, and keeps no
 * text but a field's and an event's short name: a line of any length costs
 * nothing.  It cuts as the official clients do: LF, CR and CRLF end a line (a
 * CRLF may be split), one space after the colon is dropped, a line that
 * starts with a colon is a comment, a byte-order mark at the start is
 * skipped.
 */

#ifndef _NGX_LLM_SSE_H_INCLUDED_
#define _NGX_LLM_SSE_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_SSE_FIELD  6     /* the longest known field name, plus one */
#define NGX_LLM_SSE_NAME   32    /* bytes kept of an event's name */


typedef struct {
    u_char         state;
    u_char         bom;             /* bytes of the mark seen at the start */
    u_char         field_len;       /* NGX_LLM_SSE_FIELD: an unknown one */
    u_char         name_len;        /* of the event's name, cut to the array */
    u_char         field[NGX_LLM_SSE_FIELD];

    /* of the event being read; valid until the call after its end */

    u_char        *start;           /* its first field, if that was seen since
                                       the caller has set this to NULL */

    u_char         name[NGX_LLM_SSE_NAME];

    unsigned       cr:1;            /* a LF right here belongs to the line */
    unsigned       fields:1;        /* event, data, id or retry was there */
    unsigned       data:1;          /* at least one data line */
    unsigned       ended:1;         /* reported; the next call begins anew */
} ngx_llm_sse_t;


void ngx_llm_sse_init(ngx_llm_sse_t *s);

/*
 * Reads from *pos and moves it.  Returns
 *
 *   NGX_DECLINED  *data is a piece of the event's data and points into the
 *                 input (or to a LF that joins two data lines);
 *   NGX_OK        the event is complete, *pos is after its blank line.  If the
 *                 LF of a CRLF has not been received yet, *pos is after the CR,
 *                 and the next call reads the LF;
 *   NGX_AGAIN     *pos == last, the event is not complete.
 *
 * Blocks without a known field (comments, empty lines) are skipped.  A block of
 * known fields without data is an event with data == 0.
 */
ngx_int_t ngx_llm_sse_next(ngx_llm_sse_t *s, u_char **pos, u_char *last,
    ngx_str_t *data);

/*
 * Returns 1 if a comment may be inserted: at the start of a line and outside of
 * an event.  Returns 0 after a CR: a LF that follows it would become a blank
 * line, which is an event for a client that has seen an id.
 */
ngx_uint_t ngx_llm_sse_boundary(const ngx_llm_sse_t *s);


#endif /* _NGX_LLM_SSE_H_INCLUDED_ */
