/*
 * ngx_http_llm_filter.h: filters of the response to the client.
 */

#ifndef _NGX_HTTP_LLM_FILTER_H_INCLUDED_
#define _NGX_HTTP_LLM_FILTER_H_INCLUDED_


#include <ngx_http_llm.h>


/* ngx_http_llm_header.c */

/*
 * Builds the hash of client headers that are passed to the provider: the
 * default list and the names of llm_pass_header.  Returns NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_header_travel(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);

/* Returns the reason why a header must not be set or passed, or NULL. */
const char *ngx_http_llm_header_refused(ngx_str_t *name, ngx_uint_t set);

/* Returns 1 if the value of a header of this name, in lower case, is secret. */
ngx_uint_t ngx_http_llm_header_secret(ngx_str_t *lowcase);

/* Returns $request_id, or NULL if out of memory. */
ngx_http_variable_value_t *ngx_http_llm_header_request_id(
    ngx_http_request_t *r);

ngx_int_t ngx_http_llm_header_init(ngx_conf_t *cf);


/* ngx_http_llm_ping.c */

/* puts the filters into the chain that follow a header sent early; NGX_OK */
ngx_int_t ngx_http_llm_ping_init(ngx_conf_t *cf);

/* from now on, every llm_ping of silence, until done; done is idempotent */
void ngx_http_llm_ping_start(ngx_http_request_t *r);
void ngx_http_llm_ping_done(ngx_http_request_t *r);

/* is done() of a ctx that an internal redirect may have detached from r */
void ngx_http_llm_ping_stop(ngx_http_llm_ctx_t *ctx);


/* ngx_http_llm_drain.c */

/* puts the filters into the chain that see a write fail; NGX_OK */
ngx_int_t ngx_http_llm_drain_init(ngx_conf_t *cf);

/*
 * Once upstream looks after the client, for each attempt: with llm_on_abort
 * drain, the client's leaving starts a drain.  started is called then, later
 * than this call and once; it may neither end the request nor write.
 */
void ngx_http_llm_drain_watch(ngx_http_request_t *r,
    void (*started)(ngx_http_request_t *r));

/* the answer has ended, drained or not: says how in the log; idempotent */
void ngx_http_llm_drain_done(ngx_http_request_t *r);


/* ngx_http_llm_meter.c */

/* puts the meter's filters into the chain; NGX_OK */
ngx_int_t ngx_http_llm_meter_init(ngx_conf_t *cf);

/* the request is over: an answer that did not reach its end was cut */
void ngx_http_llm_meter_done(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);


#endif /* _NGX_HTTP_LLM_FILTER_H_INCLUDED_ */
