/*
 * ngx_http_llm_admit_operation.h: the first step of admission.
 */

#ifndef _NGX_HTTP_LLM_ADMIT_OPERATION_H_INCLUDED_
#define _NGX_HTTP_LLM_ADMIT_OPERATION_H_INCLUDED_


#include <ngx_http_llm.h>


/*
 * Sets the operation of the charge.  Returns NGX_OK, or the status of a fault
 * that is noted in the charge: 404, 405, 426, 403 or 415.
 */
ngx_int_t ngx_http_llm_admit_operation(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_ADMIT_OPERATION_H_INCLUDED_ */
