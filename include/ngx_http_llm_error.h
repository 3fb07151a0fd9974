/*
 * ngx_http_llm_error.h: errors in the response to the client.
 *
 * A function that finds a fault fills the ngx_http_llm_error_t of the charge
 * with ngx_http_llm_fault() and returns the resulting HTTP status.  error_page
 * and the access log see that status.  The filters of
 * service/client/ngx_http_llm_error.c replace nginx's error page by an error
 * object of OpenAI's API.
 */

#ifndef _NGX_HTTP_LLM_ERROR_H_INCLUDED_
#define _NGX_HTTP_LLM_ERROR_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef enum {
    NGX_HTTP_LLM_OK = 0,             /* no fault */
    NGX_HTTP_LLM_INVALID_JSON,
    NGX_HTTP_LLM_INVALID_FORM,
    NGX_HTTP_LLM_DUPLICATE_KEY,
    NGX_HTTP_LLM_INVALID_TYPE,
    NGX_HTTP_LLM_MISSING_MODEL,
    NGX_HTTP_LLM_INVALID_MODEL,
    NGX_HTTP_LLM_MODEL_NOT_FOUND,
    NGX_HTTP_LLM_UNKNOWN_OPERATION,
    NGX_HTTP_LLM_METHOD_NOT_ALLOWED,
    NGX_HTTP_LLM_CODED_BODY,
    NGX_HTTP_LLM_CONTENT_TYPE,
    NGX_HTTP_LLM_NO_WEBSOCKET,
    NGX_HTTP_LLM_CROSS_SITE,
    NGX_HTTP_LLM_UPSTREAM_ERROR,
    NGX_HTTP_LLM_UPSTREAM_AUTH,
    NGX_HTTP_LLM_BAD_ANSWER,
    NGX_HTTP_LLM_UPSTREAM_TIMEOUT,
    NGX_HTTP_LLM_NO_PROVIDER,
    NGX_HTTP_LLM_POLICY_UNSATISFIABLE,
    NGX_HTTP_LLM_FORBIDDEN,
    NGX_HTTP_LLM_INVALID_API_KEY,
    NGX_HTTP_LLM_MODEL_NOT_ALLOWED,
    NGX_HTTP_LLM_MODEL_NOT_PRICED,
    NGX_HTTP_LLM_NO_IDENTITY,
    NGX_HTTP_LLM_TOO_LARGE_FOR_QUOTA,
    NGX_HTTP_LLM_RATE_LIMITED,
    NGX_HTTP_LLM_BUDGET_SPENT,
    NGX_HTTP_LLM_QUOTA_UNAVAILABLE,
    NGX_HTTP_LLM_NOT_CACHED,
    NGX_HTTP_LLM_CONTEXT_LENGTH,
    NGX_HTTP_LLM_FAULTS              /* how many there are */
} ngx_http_llm_fault_e;


typedef struct {
    ngx_http_llm_fault_e   fault;
    ngx_str_t              message;  /* empty: the default of the fault */
    const char            *param;    /* member of the body at fault, or NULL */
    const char            *allow;    /* 405: value of Allow, or NULL */
    int64_t                wait;     /* 429: ms until it may go; 0: not known */
} ngx_http_llm_error_t;


/* a response kept for the case that no attempt succeeds: the error of a
   provider or an expired cache entry */

typedef struct {
    ngx_uint_t             status;       /* 0: none is kept */
    ngx_str_t              content_type;
    ngx_list_t             headers;      /* table_elt_t, as it sent them; not
                                            of one that was cached */
    ngx_str_t              body;
    unsigned               use:1;        /* no other attempt was answered */
} ngx_http_llm_kept_t;


/*
 * Notes a fault.  Returns its HTTP status, which the phase or content handler
 * returns to nginx.  The bytes of message are not copied, NULL selects the
 * default text.  param and err->allow are static strings.
 */
ngx_int_t ngx_http_llm_fault(ngx_http_llm_error_t *err,
    ngx_http_llm_fault_e fault, const char *param, ngx_str_t *message);

/*
 * Writes the error object of err, or that for an HTTP status if err is NULL or
 * has no fault of that status.  Allocates from pool.  NGX_OK or NGX_ERROR.
 */
ngx_int_t ngx_http_llm_error_body(ngx_pool_t *pool, ngx_http_llm_error_t *err,
    ngx_uint_t status, ngx_str_t *body);

/* Returns 1 if nginx has an error_page for the status of this request. */
ngx_uint_t ngx_http_llm_error_paged(ngx_http_request_t *r, ngx_uint_t status);

/* Adds the filters that replace the error pages of nginx. */
ngx_int_t ngx_http_llm_error_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_ERROR_H_INCLUDED_ */
