/*
 * ngx_http_llm_reading.h: the parts of the request's ctx that belong to the
 * readers of an answer.  Each is written by the service it is named after.
 */

#ifndef _NGX_HTTP_LLM_READING_H_INCLUDED_
#define _NGX_HTTP_LLM_READING_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_llm_error_class.h>


/* bytes of a body that decide its kind */
#define NGX_HTTP_LLM_METER_HEAD  8


/* service/attempt/ngx_http_llm_framing.c: where the body ends */

typedef struct {
    ngx_http_chunked_t             chunked;
    off_t                          rest;         /* -1: until close */
    size_t                         held;         /* decoded, in u->buffer */
    unsigned                       complete:1;
    unsigned                       begun:1;      /* held bytes were sent */
    unsigned                       broken:1;     /* an invalid chunk */
    unsigned                       distrust:1;   /* a 204 with a body */
} ngx_http_llm_framing_ctx_t;


/* service/attempt/ngx_http_llm_judge.c: is it an answer? */

typedef struct {
    ngx_uint_t                     verdict;      /* NGX_HTTP_LLM_NEXT_... */
    ngx_llm_error_class_e          error_class;  /* health scope */
    int64_t                        hint;         /* ms to wait, or -1 */
    size_t                         read;         /* of held, by answer */
    size_t                         event;        /* of held: the event read */
    ngx_str_t                      substitute;   /* body instead of theirs */
    const ngx_str_t               *condition;    /* name of the one met, if
                                                    the verdict is one */
    unsigned                       failed:1;     /* the body is an error */
    unsigned                       keeping:1;    /* reading an error's body */
    unsigned                       known:1;      /* the kind of the body */
    unsigned                       expired:1;    /* llm_hold_timeout has */
    unsigned                       unproven:1;   /* sent without output */
} ngx_http_llm_judge_ctx_t;


/* service/attempt/ngx_http_llm_relay.c: the answer's way to the client */

typedef struct {
    ngx_buf_t                     *tail;         /* start of an event, held */
    ngx_chain_t                   *tails;        /* all, the oldest first */
    ngx_chain_t                   *tails_last;
    ngx_chain_t                   *out_last;     /* of u->out_bufs */
    unsigned                       strip:1;      /* drop the usage chunk */
    size_t                         pending;      /* of an unfinished event */
    unsigned                       passing:1;    /* event too long to hold */
    unsigned                       lf:1;         /* after a dropped event */
    off_t                          size;         /* of the body, so far */
    unsigned                       begun:1;      /* first span was seen */
    unsigned                       oversize:1;   /* llm_max_response_size */
    unsigned                       ending:1;     /* but for its last LF, */
    unsigned                       over:1;       /* the last event is out */
    unsigned                       closed:1;     /* so is the last buffer, */
    unsigned                       ended:1;      /* filters included */
    ngx_uint_t                     events;       /* when it was complete */
} ngx_http_llm_relay_ctx_t;


/* service/client/ngx_http_llm_meter.c: an answer that is not llm_pass's */

typedef struct {
    size_t                         len;          /* of head */
    u_char                         head[NGX_HTTP_LLM_METER_HEAD];
    unsigned                       active:1;
    unsigned                       reading:1;    /* it may be readable */
    unsigned                       known:1;      /* the kind of the body */
} ngx_http_llm_meter_ctx_t;


#endif /* _NGX_HTTP_LLM_READING_H_INCLUDED_ */
