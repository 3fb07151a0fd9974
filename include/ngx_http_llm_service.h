/*
 * ngx_http_llm_service.h: what the services offer to the flow.
 *
 * One section per file of module/service; services do not call each other.
 * A function that may return NGX_AGAIN or NGX_DONE says who goes on.
 */

#ifndef _NGX_HTTP_LLM_SERVICE_H_INCLUDED_
#define _NGX_HTTP_LLM_SERVICE_H_INCLUDED_


#include <ngx_http_llm.h>


/* --- body: the request body as one contiguous view --- */

/*
 * NGX_OK: no Content-Encoding, or identity.  NGX_DECLINED: it is coded.
 */
ngx_int_t ngx_http_llm_body_plain(ngx_http_request_t *r);

/*
 * Makes the view of r->request_body, which has been read: memory as it is,
 * one buffer in a temp file mapped, anything else gathered.  The view lives
 * as long as r->pool.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_body_view(ngx_http_request_t *r,
    ngx_http_llm_view_t *view);


/* --- route: operation and model --- */

/* the operation whose suffix ends r->uri, or NULL */
ngx_http_llm_operation_t *ngx_http_llm_route_operation(ngx_http_request_t *r);

/*
 * What name resolves to: exact names and aliases, then the longest prefix,
 * then default; NULL: nothing matches.  rest becomes what '*' matched.
 */
ngx_http_llm_model_t *ngx_http_llm_route_model(ngx_http_llm_main_conf_t *lmcf,
    ngx_str_t *name, ngx_str_t *rest);

/* the order of lmcf->exact: shorter names first, as lengths compare fastest */
ngx_int_t ngx_http_llm_route_compare(ngx_str_t *one, ngx_str_t *two);

/* 1: a name we route by, 1 to 256 bytes of 0x21-0x7e without '"' and '\' */
ngx_uint_t ngx_http_llm_route_valid(ngx_str_t *name);

/* NAME of GET .../models/NAME; empty for the list itself */
void ngx_http_llm_route_models_name(ngx_http_request_t *r, ngx_str_t *name);


/* --- header: what travels, and what every answer carries --- */

/*
 * Builds the hash of client headers that travel on: ours and those of
 * llm_pass_header.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_header_travel(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);

/* NULL, or why a header of this name must not be set or passed */
const char *ngx_http_llm_header_refused(ngx_str_t *name, ngx_uint_t set);

ngx_int_t ngx_http_llm_header_init(ngx_conf_t *cf);


/* --- request: one attempt's request, written for one provider --- */

/*
 * NGX_OK: *out is the chain to send, head first, the body spliced around
 * call->edits; it points into the view.  NGX_ERROR: out of memory, or a
 * header value that must not be sent (logged).
 */
ngx_int_t ngx_http_llm_request_create(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_http_llm_view_t *view, ngx_chain_t **out);


/* --- upstream: attempt after attempt, one ngx_http_upstream_t --- */

/*
 * Makes r->upstream and starts the first attempt; the exchange must be
 * static.  Returns NGX_DONE (the request is held, r->main->count is one
 * more) or an HTTP status.
 */
ngx_int_t ngx_http_llm_upstream_start(ngx_http_request_t *r,
    const ngx_http_llm_exchange_t *exchange);

/* 1: another target could be tried after the present one */
ngx_uint_t ngx_http_llm_upstream_more(ngx_http_request_t *r);

/* peer.init of llmcf->outer */
ngx_int_t ngx_http_llm_upstream_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);


/* --- endpoint: the upstream block made for a provider --- */

/* while http {} is being parsed; NGX_OK or NGX_ERROR (logged) */
ngx_int_t ngx_http_llm_endpoint_create(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);

/*
 * After http {} is parsed: two providers of different TLS identity must not
 * share a block.  NGX_OK or NGX_ERROR (logged).
 */
ngx_int_t ngx_http_llm_endpoint_check(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);


/* --- response: the provider's answer up to the point of no return --- */

ngx_int_t ngx_http_llm_response_reinit(ngx_http_request_t *r);

/* u->process_header; NGX_HTTP_UPSTREAM_INVALID_HEADER: response.soft, and
   response.verdict says what is wrong */
ngx_int_t ngx_http_llm_response_read(ngx_http_request_t *r);

/* takes a span of the decoded body, valid until the next read */
typedef ngx_int_t (*ngx_http_llm_span_pt)(ngx_http_request_t *r, u_char *pos,
    u_char *last);

/*
 * u->input_filter: decodes the framing of the bytes read at u->buffer.last
 * and hands each span of the body to span.  Sets u->length to 0 at its end.
 */
ngx_int_t ngx_http_llm_response_filter(ngx_http_request_t *r, ssize_t bytes,
    ngx_http_llm_span_pt span);

/* u->input_filter_init: sets u->length; NGX_OK */
ngx_int_t ngx_http_llm_response_filter_init(ngx_http_request_t *r);

/*
 * Keeps an error's status, headers and body for the case that no other
 * provider answers.  NGX_OK, NGX_DECLINED: not complete, or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_response_keep(ngx_http_request_t *r,
    ngx_http_llm_kept_t *kept);


/* --- relay: the answer's way to the client --- */

/*
 * Sends a span of the decoded body on, through u->out_bufs; the bytes stay
 * where they are.  Fills charge->answer, ttft.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_relay_span(ngx_http_request_t *r, u_char *pos,
    u_char *last);

/*
 * The body has ended with rc (as u->finalize_request) after the header was
 * sent: sends what was held back, and judges charge->end.  NGX_OK: complete,
 * or the client is gone; NGX_DECLINED: a stream was cut, the client wants an
 * error event; NGX_ERROR: anything else was cut.
 */
ngx_int_t ngx_http_llm_relay_end(ngx_http_request_t *r, ngx_int_t rc);

/* writes body as the last event of a cut stream */
void ngx_http_llm_relay_error(ngx_http_request_t *r, ngx_str_t *body);


#endif /* _NGX_HTTP_LLM_SERVICE_H_INCLUDED_ */
