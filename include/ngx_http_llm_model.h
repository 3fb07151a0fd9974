/*
 * ngx_http_llm_model.h: operations, models and the names that lead to them,
 * as configured.
 */

#ifndef _NGX_HTTP_LLM_MODEL_H_INCLUDED_
#define _NGX_HTTP_LLM_MODEL_H_INCLUDED_


#include <ngx_http_llm_provider.h>


typedef struct {
    ngx_str_t                      name;         /* "chat", a metric's label */
    ngx_str_t                      suffix;       /* "chat/completions" */
    ngx_uint_t                     methods;      /* NGX_HTTP_POST, ... */
    const char                    *allow;        /* the same, for Allow */
    ngx_uint_t                     ends;         /* NGX_LLM_ENDS_... */
    unsigned                       usage:1;      /* stream_options known */
} ngx_http_llm_operation_t;


typedef struct {
    ngx_str_t                      pattern;      /* as written */
    ngx_str_t                      file;         /* where it is configured */
    ngx_array_t                    targets;      /* target_t, in file order */
    ngx_array_t                    aliases;      /* ngx_str_t */
    unsigned                       wildcard:1;   /* a target is "*" */
} ngx_http_llm_model_t;


typedef struct {                                 /* a name that resolves */
    ngx_str_t                      name;         /* less the final '*' */
    ngx_http_llm_model_t          *model;
} ngx_http_llm_name_t;


#endif /* _NGX_HTTP_LLM_MODEL_H_INCLUDED_ */
