/*
 * ngx_http_llm_quota_zone.h: llm_quota_zone, as configured.
 */

#ifndef _NGX_HTTP_LLM_QUOTA_ZONE_H_INCLUDED_
#define _NGX_HTTP_LLM_QUOTA_ZONE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_llm_quota.h>


/* llm_quota_output */
#define NGX_HTTP_LLM_OUTPUT_LEARNED   0
#define NGX_HTTP_LLM_OUTPUT_DECLARED  1


typedef enum {                       /* redis_down */
    NGX_HTTP_LLM_DOWN_LOCAL = 0,
    NGX_HTTP_LLM_DOWN_OPEN,
    NGX_HTTP_LLM_DOWN_CLOSED
} ngx_http_llm_down_e;


typedef struct {
    ngx_str_t                      name;
    uint64_t                       hash;         /* of it */
    ngx_http_complex_value_t       key;
    u_char                         digest[NGX_LLM_QUOTA_KEY];  /* of a key */
    ngx_http_complex_value_t      *values[NGX_LLM_QUOTA_LIMITS];  /* N, where
                                                    it is a variable, or NULL */
    ngx_llm_limit_t                limits[NGX_LLM_QUOTA_LIMITS];
    ngx_http_llm_down_e            down;
    ngx_str_t                      file;         /* where it is first named */
    ngx_uint_t                     line;
    unsigned                       known:1;      /* that is constant */
    unsigned                       defined:1;    /* by llm_quota_zone */
    unsigned                       consumer:1;   /* its key needs llm_auth */
} ngx_http_llm_quota_zone_t;


#endif /* _NGX_HTTP_LLM_QUOTA_ZONE_H_INCLUDED_ */
