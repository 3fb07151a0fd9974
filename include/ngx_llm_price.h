/*
 * ngx_llm_price.h: what tokens cost, in integers.
 */

#ifndef _NGX_LLM_PRICE_H_INCLUDED_
#define _NGX_LLM_PRICE_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_PRICE_UNKNOWN  (-1)


typedef struct {                     /* pico-USD per token; -1: not known */
    int64_t     input;
    int64_t     output;
    int64_t     cached;              /* -1: as input */
    int64_t     cache_write;         /* -1: as input */
} ngx_llm_price_t;


#endif /* _NGX_LLM_PRICE_H_INCLUDED_ */
