/*
 * ngx_http_llm_model.h: operations, models and the names that lead to them,
 * as configured.
 */

#ifndef _NGX_HTTP_LLM_MODEL_H_INCLUDED_
#define _NGX_HTTP_LLM_MODEL_H_INCLUDED_


#include <ngx_llm_api.h>
#include <ngx_http_llm_provider.h>
#include <ngx_http_llm_quota_zone.h>


/* whether answers may be cached: never; as the request samples; the same, but
   they tell no usage; always */

#define NGX_HTTP_LLM_CACHED_NEVER      0
#define NGX_HTTP_LLM_CACHED_SAMPLED    1
#define NGX_HTTP_LLM_CACHED_UNCOUNTED  2
#define NGX_HTTP_LLM_CACHED_FIXED      3


typedef struct {
    ngx_str_t                      name;         /* "chat", a metric's label */
    ngx_str_t                      suffix;       /* "chat/completions" */
    ngx_uint_t                     methods;      /* NGX_HTTP_POST, ... */
    const char                    *allow;        /* the same, for Allow */
    const ngx_llm_api_t           *api;          /* wire format */
    unsigned                       usage:1;      /* stream_options known */
    unsigned                       form:1;       /* takes multipart, too */
    unsigned                       generates:1;  /* tokens, as many as asked */
    unsigned                       cached:2;     /* NGX_HTTP_LLM_CACHED_... */
} ngx_http_llm_operation_t;


typedef struct {
    ngx_http_llm_provider_t       *provider;
    ngx_str_t                      name;         /* the provider's */
    ngx_str_t                      model;        /* "": client's name */
    ngx_uint_t                     line;         /* of the configuration */
    ngx_int_t                      weight;
    const ngx_llm_price_t         *price;        /* price=, or of a constant
                                                    model; NULL: neither */
    ngx_uint_t                     context;      /* tokens of input at most:
                                                    context=, or the price
                                                    map's; 0: unknown */
    ngx_llm_health_record_t       *health;       /* NULL: not used */
    ngx_int_t                      current;      /* a worker's, of its turn */
    uint64_t                       seed;         /* of its place in a hash */
    unsigned                       wildcard:1;   /* "*": what the * matched */
    unsigned                       backup:1;
    unsigned                       reported:1;   /* price=provider */
} ngx_http_llm_target_t;


/* targets of one model; a set is a bit mask, uint64_t */

#define NGX_HTTP_LLM_TARGETS       64

typedef struct ngx_http_llm_model_s     ngx_http_llm_model_t;
typedef struct ngx_http_llm_policy_s    ngx_http_llm_policy_t;


struct ngx_http_llm_model_s {
    ngx_str_t                      pattern;      /* as written */
    ngx_str_t                      file;         /* where it is configured */
    ngx_uint_t                     line;
    ngx_array_t                    targets;      /* target_t, in file order */
    ngx_array_t                    aliases;      /* ngx_str_t */
    ngx_array_t                    list;         /* ngx_str_t, GET models */
    const ngx_http_llm_policy_t   *policy;       /* balance */
    ngx_http_complex_value_t      *value;        /* balance hash VALUE */
    unsigned                       wildcard:1;   /* a target is "*" */
    unsigned                       exact:1;      /* pattern is a name */
    unsigned                       prefix:1;     /* or ends with a '*' */
};


/* how to choose among targets; the surface picks one by the directive */

struct ngx_http_llm_policy_s {
    ngx_str_t                      name;         /* of the balance directive */
    unsigned                       value;        /* it takes a VALUE */

    /* one of set, a bit per target, never empty: its index */
    ngx_uint_t                   (*pick)(ngx_http_request_t *r,
                                         ngx_http_llm_model_t *model,
                                         uint64_t set);

    /* NULL: keys are used in turn; else the hash that chooses a key, or 0 */
    uint64_t                     (*affinity)(ngx_http_request_t *r,
                                             ngx_http_llm_model_t *model);
};


/* ends with an empty name; the first one is the default */
extern const ngx_http_llm_policy_t  ngx_http_llm_policies[];

/* by the state a provider keeps: previous_response_id, conversation */
extern const ngx_http_llm_policy_t  ngx_http_llm_policy_state;


#if (NGX_PCRE)

typedef struct {
    ngx_regex_t                   *regex;
    ngx_http_llm_model_t          *model;
} ngx_http_llm_regex_t;

#endif


typedef struct {                                 /* of llm_model, GET models */
    ngx_str_t                      name;         /* less the final '*' */
    ngx_http_llm_model_t          *model;
} ngx_http_llm_name_t;


#endif /* _NGX_HTTP_LLM_MODEL_H_INCLUDED_ */
