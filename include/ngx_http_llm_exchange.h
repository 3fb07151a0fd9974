/*
 * ngx_http_llm_exchange.h: the functions that carry out one attempt.
 */

#ifndef _NGX_HTTP_LLM_EXCHANGE_H_INCLUDED_
#define _NGX_HTTP_LLM_EXCHANGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_llm_charge.h>
#include <ngx_http_llm_next.h>


/* a static const table of the flow */

typedef struct {
    /*
     * Takes the target of the next attempt, or the target of the previous
     * attempt if "same" is set.  Returns NGX_DECLINED if no target is left.
     */
    ngx_int_t                    (*choose)(ngx_http_request_t *r,
                                           ngx_uint_t same);

    /* Sets u->request_bufs for upstream.target; NGX_OK or NGX_ERROR. */
    ngx_int_t                    (*create)(ngx_http_request_t *r);

    /* as the members of ngx_http_upstream_t */
    ngx_int_t                    (*reinit)(ngx_http_request_t *r);
    ngx_int_t                    (*process_header)(ngx_http_request_t *r);
    ngx_int_t                    (*input_filter_init)(void *data);
    ngx_int_t                    (*input_filter)(void *data, ssize_t bytes);
    void                         (*finalize)(ngx_http_request_t *r,
                                             ngx_int_t rc);

    /* Called once at the end of an attempt; releases its target. */
    void                         (*ended)(ngx_http_request_t *r,
                                          ngx_http_llm_attempt_t *attempt);

    /* Returns 1 if a failure, NGX_HTTP_LLM_NEXT_..., moves on. */
    ngx_uint_t                   (*judge)(ngx_http_request_t *r,
                                          ngx_uint_t failure);

    /*
     * No attempt is left.  Returns the status to finalize the request with,
     * or 0 for the one of ngx_http_upstream_next(), 502 or 504.
     */
    ngx_uint_t                   (*over)(ngx_http_request_t *r);

    /* Returns 1 if another attempt would follow such a failure. */
    ngx_uint_t                   (*next)(ngx_http_request_t *r,
                                         ngx_uint_t failure);

    /*
     * Returns a configured condition that the held response meets while
     * another target is left, or NULL.
     */
    const ngx_http_llm_condition_t *(*condition)(ngx_http_request_t *r,
                                         ngx_http_llm_condition_e part,
                                         u_char *start, u_char *last);
} ngx_http_llm_exchange_t;


#endif /* _NGX_HTTP_LLM_EXCHANGE_H_INCLUDED_ */
