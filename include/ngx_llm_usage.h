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

    int64_t         cache_write_1h;  /* of cache_write */
    int64_t         audio_in;        /* of prompt */
    int64_t         image_in;        /* of prompt */
    int64_t         audio_out;       /* of completion */
    int64_t         image_out;       /* of completion */

    int64_t         images;          /* units beside tokens */
    int64_t         seconds;
    int64_t         characters;
    int64_t         queries;
    int64_t         pages;

    int64_t         tier;            /* NGX_LLM_PRICE_DEFAULT, ... */
    int64_t         cost;            /* nano-USD, by the provider */
} ngx_llm_usage_t;


/*
 * Makes a usage of the members of a usage object, of which tokens[] has the
 * values by slot of ngx_llm_members.h, -1 if absent.  Returns NGX_DECLINED if
 * the object has neither tokens nor another unit.
 */
ngx_int_t ngx_llm_usage_normalise(ngx_llm_usage_t *usage,
    const int64_t *tokens);


#endif /* _NGX_LLM_USAGE_H_INCLUDED_ */
