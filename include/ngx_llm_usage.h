/*
 * ngx_llm_usage.h: the tokens of one answer.
 */

#ifndef _NGX_LLM_USAGE_H_INCLUDED_
#define _NGX_LLM_USAGE_H_INCLUDED_


#include <ngx_llm_codec.h>


typedef struct {                     /* tokens; -1: not given */
    int64_t         prompt;
    int64_t         completion;
    int64_t         total;           /* not given: prompt + completion */
    int64_t         cached;          /* of prompt */
    int64_t         cache_write;     /* of prompt, beside cached */
    int64_t         reasoning;       /* of completion (xAI: beside it) */
} ngx_llm_usage_t;


#endif /* _NGX_LLM_USAGE_H_INCLUDED_ */
