/*
 * ngx_http_llm_meter.h: usage of answers that are not llm_pass's.
 */

#ifndef _NGX_HTTP_LLM_METER_H_INCLUDED_
#define _NGX_HTTP_LLM_METER_H_INCLUDED_


#include <ngx_http_llm.h>


/* puts the meter's filters into the chain; NGX_OK */
ngx_int_t ngx_http_llm_meter_init(ngx_conf_t *cf);

/* the request is over: an answer that did not reach its end was cut */
void ngx_http_llm_meter_done(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);


#endif /* _NGX_HTTP_LLM_METER_H_INCLUDED_ */
