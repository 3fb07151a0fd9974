/*
 * ngx_llm_metrics.h: counters and histograms in the state zone.
 *
 * A series is a row of numbers under the values of its labels.  It is found
 * without a lock, made under the zone's mutex when its labels come for the
 * first time, and never removed.  Labels must come from the configuration or
 * be constants: nothing here limits their number but the zone's size.  A
 * sample that finds no room is dropped and counted; nothing fails for it.
 */

#ifndef _NGX_LLM_METRICS_H_INCLUDED_
#define _NGX_LLM_METRICS_H_INCLUDED_


#include <ngx_llm_zone.h>
#include <ngx_llm_series.h>


typedef struct ngx_llm_metrics_sh_s  ngx_llm_metrics_sh_t;

typedef struct {                     /* of one generation */
    ngx_llm_zone_t       *zone;
    ngx_llm_metrics_sh_t *sh;
} ngx_llm_metrics_t;


/* a client request that has ended */

typedef struct {
    ngx_str_t         operation;
    ngx_str_t         model;
    ngx_str_t         provider;
    ngx_str_t         status;        /* its class */
    int64_t           tokens[4];     /* as above; -1: not known */
    int64_t           cost;          /* nano-USD; -1: not known */
    ngx_msec_t        duration;
    ngx_msec_t        ttft;          /* if timed */
    unsigned          timed:1;
    unsigned          unknown:1;     /* its usage could not be read */
    unsigned          unpriced:1;    /* it was, but its cost is not known */
} ngx_llm_sample_t;


/* upper bounds of the buckets, in milliseconds */
extern const ngx_msec_t  ngx_llm_metrics_bounds[NGX_LLM_METRICS_BOUNDS];


/* while the configuration is read; NULL: out of memory */
ngx_llm_metrics_t *ngx_llm_metrics_create(ngx_conf_t *cf,
    ngx_llm_zone_t *zone);

void ngx_llm_metrics_request(ngx_llm_metrics_t *metrics,
    ngx_llm_sample_t *sample, ngx_log_t *log);

/* one more of a kind with nothing but a count; second: NULL if there is none */
void ngx_llm_metrics_add(ngx_llm_metrics_t *metrics, ngx_llm_series_e kind,
    ngx_str_t *first, ngx_str_t *second, ngx_log_t *log);

/* of a request that has been settled */
void ngx_llm_metrics_amounts(ngx_llm_metrics_t *metrics, ngx_str_t *zone,
    ngx_str_t *limit, int64_t reserved, int64_t settled, ngx_log_t *log);

/* the series of a kind, newest first: before is NULL for the first one */
ngx_llm_series_t *ngx_llm_metrics_next(ngx_llm_metrics_t *metrics,
    ngx_llm_series_e kind, ngx_llm_series_t *before);

/* samples that found no room */
ngx_atomic_uint_t ngx_llm_metrics_dropped(ngx_llm_metrics_t *metrics);


#endif /* _NGX_LLM_METRICS_H_INCLUDED_ */
