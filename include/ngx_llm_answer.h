/*
 * ngx_llm_answer.h: what a provider's answer says, read while it passes.
 *
 * An event stream, one JSON document or a document a line (NDJSON), of any
 * api.  Each byte is read once, nothing is kept but this struct, and results
 * do not depend on where the pieces end.  An event is evaluated when it has
 * ended and was a well-formed object, so that a cut answer does not look
 * complete.  Events that are no such object change nothing.
 */

#ifndef _NGX_LLM_ANSWER_H_INCLUDED_
#define _NGX_LLM_ANSWER_H_INCLUDED_


#include <ngx_llm_event.h>
#include <ngx_llm_reader.h>
#include <ngx_llm_sse.h>
#include <ngx_llm_usage.h>


#define NGX_LLM_ANSWER_JSON     0
#define NGX_LLM_ANSWER_STREAM   1
#define NGX_LLM_ANSWER_LINES    2

#define NGX_LLM_FINISH_REASON   32
#define NGX_LLM_ANSWER_TOKENS   18   /* members of usage, from 1 */
#define NGX_LLM_ANSWER_START    256  /* of an event, remembered */


typedef struct {
    ngx_llm_event_t event;           /* the one that has just ended */
    ngx_llm_usage_t usage;           /* the last good one */
    unsigned        usage_seen:1;    /* there was a good one */
    unsigned        usage_bad:1;     /* the last one was rejected */
    unsigned        shown:1;         /* it has proved to be an answer */
    unsigned        over:1;          /* its last event has come */
    unsigned        finished:1;      /* every choice seen has a reason */
    unsigned        done:1;          /* [DONE] has come */
    unsigned        terminal:1;      /* a terminal event has come */
    unsigned        content:1;       /* the model has said something */
    unsigned        failed:1;        /* an error event has come */
    unsigned        cut:1;           /* the last event lacks its blank line */
    unsigned        malformed:1;     /* data that is no object has come */
    unsigned        odd:1;           /* a finish reason but stop, tool_calls,
                                        length, or a status but completed */
    unsigned        beside:1;        /* a document's answer has an error too */
    unsigned        tier:3;          /* service tier, NGX_LLM_PRICE_... + 1;
                                        0: not given */
    u_char          finish_reason[NGX_LLM_FINISH_REASON];
    uint32_t        output;          /* bytes of text in whole events */
    size_t          finish_len;      /* the last one; Responses: the status */
    ngx_uint_t      events;          /* with data that is not empty */
    ngx_uint_t      spoken;          /* events with a part of the output */

    /* the reader's own */

    const ngx_llm_api_t  *api;
    ngx_uint_t      kind;
    uint32_t        n;               /* choices that were requested */
    uint32_t        ends;            /* last events of one of them */
    unsigned        closed:1;        /* the document's last brace has come */
    unsigned        beyond:1;        /* choice 64 or up was without reason */
    uint64_t        seen;            /* choices 0..63 */
    uint64_t        ended;           /* of them, with a finish reason */
    ngx_llm_reader_t  reader;
    ngx_llm_sse_t   sse;

    /* of the event being read; what draft does not mark is not set */

    ngx_llm_answer_draft_t  draft;
    ngx_llm_usage_t pending;
    int64_t         tokens[NGX_LLM_ANSWER_TOKENS];
    u_char          reason[NGX_LLM_FINISH_REASON];

    /* how events begin, and what is known behind that */

    u_char          start[NGX_LLM_ANSWER_START];
    size_t          start_len;
    u_char         *from;            /* the event's first byte, if it is here */
    ngx_llm_answer_draft_t  start_draft;
    ngx_llm_reader_place_t  start_place;
} ngx_llm_answer_t;


/* n is the number of choices that the client requested, 0: unknown */
void ngx_llm_answer_init(ngx_llm_answer_t *a, ngx_uint_t kind,
    const ngx_llm_api_t *api, ngx_uint_t n);

/*
 * Stream: reads to the end of one event, NGX_OK: *pos is behind it (behind the
 * CR if the LF has not come), a->event is about it; else NGX_AGAIN.  Where its
 * first field stands is in a->sse.start, NULL: in an earlier call.  Comments
 * and empty lines between events are part of the next event's bytes.
 * Lines: the same, the event is a document without its line end.
 * Document: reads everything, NGX_OK once it is closed, else NGX_AGAIN.  If a
 * second document follows the first, a->kind becomes NGX_LLM_ANSWER_LINES.
 */
ngx_int_t ngx_llm_answer_feed(ngx_llm_answer_t *a, u_char **pos,
    u_char *last);

/* the body has ended: an event without its blank line counts if it is whole */
void ngx_llm_answer_eof(ngx_llm_answer_t *a);

/* returns 1 for a closed document, or a stream that ends as its api does */
ngx_uint_t ngx_llm_answer_complete(const ngx_llm_answer_t *a);

/*
 * Returns the bytes of text, reasoning and tool calls that have come so far,
 * those of an event that has not ended included; escapes count as written.
 */
uint64_t ngx_llm_answer_text_bytes(const ngx_llm_answer_t *a);

/* returns 1 if no event is being read */
ngx_uint_t ngx_llm_answer_between(const ngx_llm_answer_t *a);

/* returns 1 if a comment may be inserted here, see ngx_llm_sse_boundary() */
ngx_uint_t ngx_llm_answer_boundary(const ngx_llm_answer_t *a);


#endif /* _NGX_LLM_ANSWER_H_INCLUDED_ */
