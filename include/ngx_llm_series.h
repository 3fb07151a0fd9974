/*
 * ngx_llm_series.h: the numbers of the metrics, as they lie in the state zone.
 */

#ifndef _NGX_LLM_SERIES_H_INCLUDED_
#define _NGX_LLM_SERIES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


#define NGX_LLM_METRICS_BOUNDS   13  /* of a histogram; one bucket more */

typedef enum {                       /* labels of such a series */
    NGX_LLM_SERIES_REQUESTS = 0,     /* operation, model, provider, status */
    NGX_LLM_SERIES_ANSWERS,          /* model, provider */
    NGX_LLM_SERIES_ATTEMPTS,         /* provider, outcome */
    NGX_LLM_SERIES_PROVIDERS,        /* provider */
    NGX_LLM_SERIES_QUOTA,            /* zone, result */
    NGX_LLM_SERIES_ALERTS,           /* zone, threshold */
    NGX_LLM_SERIES_AMOUNTS,          /* zone, limit */
    NGX_LLM_SERIES_REFUSED,          /* zone, limit */
    NGX_LLM_SERIES_CACHE,            /* result */
    NGX_LLM_SERIES_UNCACHED,         /* reason */
    NGX_LLM_SERIES_KINDS
} ngx_llm_series_e;


typedef struct {
    ngx_atomic_t      counts[NGX_LLM_METRICS_BOUNDS + 1];  /* not summed up */
    ngx_atomic_t      sum;           /* milliseconds */
} ngx_llm_histogram_t;


/* the numbers of a series, by kind */

typedef struct {
    ngx_atomic_t      count;
} ngx_llm_series_count_t;            /* all that are not below */


typedef struct {
    ngx_atomic_t      tokens[4];     /* prompt, cached, completion, reasoning */
    ngx_atomic_t      cost;          /* nano-USD */
    ngx_atomic_t      unpriced;      /* responses of unknown cost */
    ngx_llm_histogram_t ttft;
    ngx_llm_histogram_t duration;
} ngx_llm_series_answers_t;


typedef struct {
    ngx_atomic_t      unknown;       /* responses of unknown usage */
} ngx_llm_series_providers_t;


typedef struct {
    ngx_atomic_t      reserved;      /* units of the limit */
    ngx_atomic_t      settled;
} ngx_llm_series_amounts_t;


typedef struct ngx_llm_series_s  ngx_llm_series_t;
struct ngx_llm_series_s {            /* in the zone; fixed once published */
    ngx_llm_series_t *next;          /* of its bucket */
    ngx_llm_series_t *older;         /* of its kind */
    void             *cells;         /* ngx_llm_series_..._t */
    u_char           *labels;        /* each value ends with a NUL */
    uint32_t          hash;
    u_short           kind;
    u_short           len;           /* of labels, NULs included */
};


#endif /* _NGX_LLM_SERIES_H_INCLUDED_ */
