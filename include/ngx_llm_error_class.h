/*
 * ngx_llm_error_class.h: what a provider's error answer says: whose fault it
 * is, and when to come back.
 *
 * Pure: nothing is allocated, logged or kept between calls.  Providers use the
 * same status for different things, so the body is read where its codes, or a
 * sentence known to the word, say more than the status does.
 */

#ifndef _NGX_LLM_ERROR_CLASS_H_INCLUDED_
#define _NGX_LLM_ERROR_CLASS_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_ERROR_CLASS_MAX  86400000  /* ms: no peer may ask for more */


typedef enum {
    NGX_LLM_ERROR_CLASS_NOBODY = 0,   /* nothing known: pass it */
    NGX_LLM_ERROR_CLASS_REQUEST,      /* bad, too long, filtered: at once */
    NGX_LLM_ERROR_CLASS_CREDENTIAL,   /* our key is refused */
    NGX_LLM_ERROR_CLASS_QUOTA,        /* our key has no money left */
    NGX_LLM_ERROR_CLASS_NOT_FOUND,    /* no such model or deployment */
    NGX_LLM_ERROR_CLASS_RATE,         /* too many requests */
    NGX_LLM_ERROR_CLASS_OVERLOAD,     /* the provider is down or full */
    NGX_LLM_ERROR_CLASS_TIMEOUT       /* the provider has timed out */
} ngx_llm_error_class_e;


/*
 * status is the answer's.  For a 2xx with an error inside, and for a 5xx, a
 * number from 400 to 599 that the error gives as its code or status takes its
 * place.  A 2xx with neither such a number nor a known code is NOBODY's.
 *
 * body is the decoded body (of a stream: the event's data), complete; it is
 * only read, and may be NULL if len is 0.  One that is not JSON, or is cut,
 * says nothing: the status decides.
 *
 * *hint_ms: milliseconds to wait as the body asks, 0..NGX_LLM_ERROR_CLASS_MAX,
 * or -1: it does not ask, or the blame is not RATE, OVERLOAD or QUOTA.
 *
 * A client can neither get a key nor a target blamed by what it writes: its
 * text may be quoted in a message, and messages are believed only where they
 * are one of the provider's own sentences as a whole.
 */
ngx_llm_error_class_e ngx_llm_error_class(ngx_uint_t status, const u_char *body,
    size_t len, int64_t *hint_ms);

typedef enum {
    NGX_LLM_ERROR_CAUSE_OTHER = 0,
    NGX_LLM_ERROR_CAUSE_CONTEXT,      /* the prompt exceeds the context */
    NGX_LLM_ERROR_CAUSE_FILTER        /* a content filter has refused */
} ngx_llm_error_cause_e;

/* Returns the cause of an error in the request; body as above, may be NULL. */
ngx_llm_error_cause_e ngx_llm_error_cause(const u_char *body, size_t len);

/*
 * A duration as Go writes it: "6m0s", "2m59.56s", "7.66s", "20ms", or a bare
 * number of seconds.  NGX_OK: *ms is milliseconds, rounded up, at most
 * NGX_LLM_ERROR_CLASS_MAX.  NGX_ERROR: it is none, *ms is untouched.
 */
ngx_int_t ngx_llm_error_class_duration(const u_char *p, size_t len,
    int64_t *ms);


#endif /* _NGX_LLM_ERROR_CLASS_H_INCLUDED_ */
