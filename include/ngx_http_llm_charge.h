/*
 * ngx_http_llm_charge.h: the record of one client request.  Made once, it
 * survives internal redirects and holds all that a variable prints; owned by
 * the cleanup of r->main.
 */

#ifndef _NGX_HTTP_LLM_CHARGE_H_INCLUDED_
#define _NGX_HTTP_LLM_CHARGE_H_INCLUDED_


#include <ngx_llm_json.h>
#include <ngx_llm_answer.h>
#include <ngx_llm_quota.h>
#include <ngx_llm_estimate.h>
#include <ngx_http_llm_error.h>
#include <ngx_http_llm_model.h>
#include <ngx_http_llm_cache.h>


/* one attempt at one provider */

typedef struct {
    ngx_http_llm_provider_t       *provider;
    ngx_http_llm_target_t         *target;
    ngx_http_llm_credential_t     *credential;
    ngx_str_t                      model;        /* as the provider calls it */
    ngx_str_t                      outcome;      /* "200", "timeout", ... */
    ngx_msec_t                     start;        /* ngx_current_msec */
    ngx_msec_t                     time;         /* it took, milliseconds */
    ngx_uint_t                     pass;         /* of the client request */
    ngx_uint_t                     status;       /* 0: no answer */
    ngx_uint_t                     failure;      /* NGX_HTTP_LLM_NEXT_..., 0 */
} ngx_http_llm_attempt_t;


typedef enum {
    NGX_HTTP_LLM_END_NONE = 0,
    NGX_HTTP_LLM_END_COMPLETE,
    NGX_HTTP_LLM_END_TRUNCATED,
    NGX_HTTP_LLM_END_ABORTED,        /* by the client */
    NGX_HTTP_LLM_END_DRAINED,        /* so it was, but read to its end */
    NGX_HTTP_LLM_END_ERROR           /* error event of the provider */
} ngx_http_llm_end_e;


typedef enum {
    NGX_HTTP_LLM_QUOTA_NONE = 0,     /* none applies, or not asked yet */
    NGX_HTTP_LLM_QUOTA_OK,
    NGX_HTTP_LLM_QUOTA_LIMITED,      /* refused */
    NGX_HTTP_LLM_QUOTA_UNENFORCED,   /* redis_down=open */
    NGX_HTTP_LLM_QUOTA_SHADOW        /* would have been refused */
} ngx_http_llm_quota_e;

/* service/client/ngx_http_llm_quota.c: the reserved amounts */

typedef struct {
    ngx_llm_reserve_t              reserve;
    ngx_http_llm_quota_zone_t    **zones;        /* one for each claim */
    ngx_llm_ratios_t              *ratios;       /* of the identity, or NULL */
    ngx_llm_ratios_t              *others;       /* of all, or NULL */
    ngx_llm_outputs_t             *outputs;      /* the same */
    int64_t                        prompt;       /* tokens, estimated */
    int64_t                        cost;         /* nano-USD, of the prompt */
    ngx_http_llm_quota_e           status;
    ngx_str_t                      zone;         /* that refused, or would */
    int64_t                        wait;         /* until it would not, ms */
    ngx_http_llm_fault_e           fault;        /* why it is refused */
    ngx_str_t                      message;      /* or empty: the fault's own */
    void                         (*resume)(ngx_http_request_t *r);
    unsigned                       declared:1;   /* output is as asked for */
    unsigned                       waiting:1;    /* for the store */
    unsigned                       reported:1;   /* claims have an answer */
} ngx_http_llm_quota_charge_t;


/*
 * Is 1 for the client's own request, 0 for a subrequest and for post_action,
 * which runs on r->main after the response.
 */

#define ngx_http_llm_is_client(r)                                             \
    ((r) == (r)->main && !(r)->post_action)


/* the record of a client request, owned by the cleanup of r->main */

typedef struct {
    ngx_http_llm_operation_t      *operation;
    ngx_str_t                      requested;     /* model, by the client */
    ngx_http_llm_model_t          *model;         /* what that resolved to */
    ngx_array_t                    attempts;      /* attempt_t */
    ngx_uint_t                     passes;        /* through llm_pass */
    ngx_llm_answer_t              *answer;        /* NULL: could not be read */
    void                          *ctx;           /* of the last pass */
    ngx_http_request_t            *request;       /* the client's */
    ngx_msec_t                     start;         /* ngx_current_msec */
    ngx_msec_t                     ttft;          /* of the first event, ms */
    ngx_http_llm_end_e             end;
    ngx_str_t                      upstream_request_id;
    ngx_http_llm_error_t           error;         /* ours, of the last pass */
    ngx_http_llm_kept_t            kept;          /* a provider's, for later */
    ngx_llm_answer_t              *kept_answer;   /* of a kept 2xx */
    ngx_llm_usage_t                estimate;      /* of an answer without */
    ngx_http_llm_quota_charge_t    quota;
    ngx_http_llm_cache_charge_t    cache;
    unsigned                       parsed:1;      /* facts are valid */
    unsigned                       stream:1;      /* the answer is one */
    unsigned                       unread:1;      /* a line too long */
    unsigned                       answered:1;    /* with 2xx, so has usage */
    unsigned                       bad_answer:1;  /* no answer: ngx_llm_api.h */
    unsigned                       timed:1;      /* ttft is valid */
    unsigned                       bound:1;      /* usage was checked */
    unsigned                       settled:1;
    unsigned                       ended:1;      /* counted as well */
    unsigned                       aside:1;      /* of a subrequest */
    ngx_llm_facts_t                facts;        /* the last: not zeroed */
} ngx_http_llm_charge_t;


#endif /* _NGX_HTTP_LLM_CHARGE_H_INCLUDED_ */
