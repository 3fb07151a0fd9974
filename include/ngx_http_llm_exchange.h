/*
 * ngx_http_llm_exchange.h: what happens with one attempt, as a table.
 */

#ifndef _NGX_HTTP_LLM_EXCHANGE_H_INCLUDED_
#define _NGX_HTTP_LLM_EXCHANGE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_http_llm_charge.h>
#include <ngx_http_llm_next.h>


/* the flow wires it, a static const table */

typedef struct {
    /*
     * Takes the target of the next attempt; same: the one of the attempt
     * before.  NGX_OK, or NGX_DECLINED: there is none.
     */
    ngx_int_t                    (*choose)(ngx_http_request_t *r,
                                           ngx_uint_t same);

    /* writes u->request_bufs for upstream.target; NGX_OK or NGX_ERROR */
    ngx_int_t                    (*create)(ngx_http_request_t *r);

    /* as the members of ngx_http_upstream_t */
    ngx_int_t                    (*reinit)(ngx_http_request_t *r);
    ngx_int_t                    (*process_header)(ngx_http_request_t *r);
    ngx_int_t                    (*input_filter_init)(void *data);
    ngx_int_t                    (*input_filter)(void *data, ssize_t bytes);
    void                         (*finalize)(ngx_http_request_t *r,
                                             ngx_int_t rc);

    /* the last attempt has ended, with its outcome; gives the target back */
    void                         (*ended)(ngx_http_request_t *r,
                                          ngx_http_llm_attempt_t *attempt);

    /* an attempt has failed so (NGX_HTTP_LLM_NEXT_...): 1 to try the next */
    ngx_uint_t                   (*judge)(ngx_http_request_t *r,
                                          ngx_uint_t failure);

    /* 1: a failure of that class would be followed by another attempt */
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
