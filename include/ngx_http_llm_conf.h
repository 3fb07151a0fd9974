/*
 * ngx_http_llm_conf.h: main and location configuration.
 */

#ifndef _NGX_HTTP_LLM_CONF_H_INCLUDED_
#define _NGX_HTTP_LLM_CONF_H_INCLUDED_


#include <ngx_llm_metrics.h>
#include <ngx_llm_prices.h>
#include <ngx_llm_keys.h>
#include <ngx_llm_learn.h>
#include <ngx_http_llm_model.h>
#include <ngx_http_llm_cache.h>
#include <ngx_http_llm_next.h>
#include <ngx_http_llm_state.h>
#include <ngx_http_llm_travel.h>
#include <ngx_http_llm_hide.h>


#define NGX_HTTP_LLM_RANDOM           1024    /* random bytes drawn at a time */

typedef struct {
    ngx_array_t                    providers;    /* provider_t * */
    ngx_array_t                    models;       /* model_t *, file order */
    ngx_array_t                    exact;        /* name_t, sorted */
    ngx_array_t                    prefixes;     /* name_t, longest first */
    ngx_array_t                    regexes;      /* regex_t, file order */
    ngx_http_llm_model_t          *fallback;     /* llm_model default */
    ngx_http_upstream_srv_conf_t   outer;        /* gives each attempt away */
    ngx_array_t                    listed;       /* listed_t, GET models */
    ngx_int_t                      request_id;   /* index of $request_id */
    u_char                        *random;       /* the worker's, for ids */
    size_t                         random_len;   /* not used yet */
    ngx_str_t                      pass_file;    /* of the first llm_pass */
    ngx_uint_t                     pass_line;    /* 0: there is none */
    ngx_hash_t                     hide;         /* headers not passed back */
    ngx_resolver_t                *resolver;     /* the system's nameservers */
    size_t                         zone_size;
    ngx_llm_zone_t                *zone;         /* NULL if not used */
    ngx_llm_keys_t                *keys;         /* NULL: no llm_keys */
    ngx_llm_health_t              *health;       /* NULL: no llm_pass */
    ngx_llm_metrics_t             *metrics;      /* NULL: nothing is counted */
    ngx_llm_prices_t              *prices;       /* llm_prices, or NULL */
    ngx_llm_redis_conf_t          *redis_conf;   /* llm_redis, or NULL */
    ngx_llm_redis_t               *redis;
    ngx_array_t                    quota_zones;  /* quota_zone_t * */
    ngx_llm_quota_t               *quota;        /* NULL: no llm_quota */
    ngx_llm_learn_t               *learn;        /* the same */
    ngx_http_llm_cache_main_t      cache;
    ngx_http_llm_state_main_t      state;        /* kept by providers */
    unsigned                       count:1;      /* there is a page for it */
    unsigned                       charged:1;    /* there is an llm_quota */
    unsigned                       priced:1;     /* a target has a price */
#if (NGX_SSL)
    X509_STORE                    *trusted;      /* the system's bundle */
#endif
} ngx_http_llm_main_conf_t;


typedef struct {                                 /* of llm_require */
    ngx_str_t                      label;
    ngx_http_complex_value_t       value;
} ngx_http_llm_requirement_t;


typedef struct {
    ngx_http_complex_value_t      *model;        /* llm_pass MODEL, or NULL */
    ngx_str_t                      pass_file;    /* where llm_pass is written */
    ngx_uint_t                     pass_line;    /* 0: not at this level */
    ngx_uint_t                     log_level;    /* of refusals by quotas */
    ngx_http_llm_timeouts_t        timeouts;
    ngx_msec_t                     hold_timeout; /* of a stream, no output */
    ngx_array_t                   *pass_headers; /* ngx_str_t */
    ngx_http_llm_travel_t          travel;       /* headers that travel on */
    ngx_http_llm_hide_t            hide;         /* response headers */
    ngx_flag_t                     provider_header;
    ngx_flag_t                     intercept_errors;
    ngx_flag_t                     auth;
    ngx_flag_t                     allow_cross_site;
    ngx_flag_t                     meter;
    ngx_array_t                   *quota;        /* quota_zone_t *, or NULL */
    ngx_flag_t                     quota_shadow;
    ngx_uint_t                     quota_output; /* ..._DECLARED, _LEARNED */
    ngx_http_llm_cache_conf_t      cache;
    ngx_msec_t                     ping;         /* 0: off */
    ngx_msec_t                     drain;        /* 0: llm_on_abort cancel */
    off_t                          max_size;     /* of an answer; 0: any */
    ngx_uint_t                     next;         /* NGX_HTTP_LLM_NEXT_... */
    ngx_array_t                   *next_statuses;  /* ngx_uint_t, http_NNN */
    ngx_int_t                      next_tries;
    ngx_msec_t                     next_timeout;
    ngx_array_t                   *require;      /* requirement_t, or NULL */
    ngx_str_t                      require_file; /* where it is written */
    ngx_uint_t                     require_line;
    ngx_http_handler_pt            page;         /* an operator's */
    ngx_array_t                   *admin_from;   /* cidr_t, of llm_admin */
    unsigned                       pass:1;       /* llm_pass is here */
    unsigned                       pass_other:1; /* after another handler */
    unsigned                       admin_near:1; /* by a unix socket */
} ngx_http_llm_loc_conf_t;


/* what leaves such a location is ours: errors, headers, metrics */

#define ngx_http_llm_ours(llcf)                                               \
    ((llcf)->pass || (llcf)->meter || (llcf)->auth || (llcf)->quota           \
     || (llcf)->cache.on)


#endif /* _NGX_HTTP_LLM_CONF_H_INCLUDED_ */
