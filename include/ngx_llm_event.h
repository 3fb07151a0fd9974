/*
 * ngx_llm_event.h: what one event of a stream, or one document, says; and the
 * notes taken of it before it is known to be whole.
 */

#ifndef _NGX_LLM_EVENT_H_INCLUDED_
#define _NGX_LLM_EVENT_H_INCLUDED_


#include <ngx_llm_api.h>


typedef struct {
    unsigned        data:1;          /* it had a data line */
    unsigned        done:1;          /* data starts with [DONE] */
    unsigned        object:1;        /* data is one JSON object */
    unsigned        error:1;         /* REQ-22, see ngx_llm_members.h */
    unsigned        error_object:1;  /* the error is an object, or stands
                                        in one */
    unsigned        usage_only:1;    /* choices is [], usage is an object */
    unsigned        terminal:1;      /* the last one, or an error */
    unsigned        output:1;        /* a part of the answer */
    uint16_t        error_status;    /* 400..599, or 0 */
} ngx_llm_event_t;


typedef struct {                     /* what the event being read says */
    ngx_llm_event_t event;
    uint64_t        seen;            /* choices, as below */
    uint64_t        ended;
    int32_t         index;           /* of the choice being read, 0..64 */
    int32_t         position;        /* of the choice to come */
    uint16_t        seen_members;    /* NGX_LLM_SEEN_... */
    uint16_t        status[3];       /* error.code, error.status, code */
    u_char          finish_len;
    unsigned        marker:3;        /* bytes of [DONE] so far */
    unsigned        text:1;          /* it is not [DONE] */
    unsigned        bad:1;           /* it is not an object */
    unsigned        tokens_bad:1;    /* in the usage being read */
    unsigned        usage_bad:1;     /* in the last usage read */
    unsigned        usage_given:1;   /* the last usage read says something */
    unsigned        usage_object:1;  /* there is a top-level usage object */
    unsigned        means:4;         /* NGX_LLM_EVENT_..., by its type */
    unsigned        typed:1;         /* it has a type */
    unsigned        error_type:1;    /* type or object is "error" */
    unsigned        error_filled:1;  /* the error being read is not empty */
    unsigned        message:1;       /* message is a string */
    unsigned        complaint:1;     /* detail, msg, or base_resp's code */
    unsigned        choice_failed:1; /* a choice is an error */
    unsigned        no_choices:1;    /* choices is [] */
    unsigned        content:1;
    unsigned        choice_ended:1;  /* the choice being read has a reason */
    unsigned        beyond:1;
    unsigned        odd:1;           /* a reason that is none of ours */
    uint32_t        output;          /* bytes of text */
} ngx_llm_answer_draft_t;


#endif /* _NGX_LLM_EVENT_H_INCLUDED_ */
