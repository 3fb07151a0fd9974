/*
 * ngx_llm_price_unit.h: the units, tiers and thresholds that prices are for.
 */

#ifndef _NGX_LLM_PRICE_UNIT_H_INCLUDED_
#define _NGX_LLM_PRICE_UNIT_H_INCLUDED_


#include <ngx_llm_codec.h>


/* units that have a price of their own */

typedef enum {
    NGX_LLM_PRICE_INPUT = 0,         /* tokens of the prompt */
    NGX_LLM_PRICE_OUTPUT,            /* tokens of the completion */
    NGX_LLM_PRICE_CACHED,
    NGX_LLM_PRICE_CACHE_WRITE,       /* kept for 5 minutes */
    NGX_LLM_PRICE_CACHE_WRITE_1H,
    NGX_LLM_PRICE_REASONING,
    NGX_LLM_PRICE_AUDIO_IN,          /* tokens */
    NGX_LLM_PRICE_AUDIO_OUT,
    NGX_LLM_PRICE_IMAGE_IN,          /* tokens */
    NGX_LLM_PRICE_IMAGE_OUT,
    NGX_LLM_PRICE_PICTURE_IN,        /* images */
    NGX_LLM_PRICE_PICTURE_OUT,
    NGX_LLM_PRICE_SECOND_IN,
    NGX_LLM_PRICE_SECOND_OUT,
    NGX_LLM_PRICE_CHARACTER_IN,
    NGX_LLM_PRICE_CHARACTER_OUT,
    NGX_LLM_PRICE_QUERY,
    NGX_LLM_PRICE_PAGE,
    NGX_LLM_PRICE_UNITS
} ngx_llm_price_unit_e;


/* service tiers that have prices of their own; see ngx_llm_usage_t.tier */

typedef enum {
    NGX_LLM_PRICE_DEFAULT = 0,
    NGX_LLM_PRICE_PRIORITY,
    NGX_LLM_PRICE_FLEX,
    NGX_LLM_PRICE_BATCH
} ngx_llm_price_tier_e;


/* kinds of responses, by the units that their usage may have */

typedef enum {
    NGX_LLM_PRICE_FOR_ANY = 0,       /* one of the following */
    NGX_LLM_PRICE_FOR_TEXT,          /* prompt and completion */
    NGX_LLM_PRICE_FOR_VECTORS,       /* prompt: embeddings, rerank */
    NGX_LLM_PRICE_FOR_IMAGES,
    NGX_LLM_PRICE_FOR_SPEECH,
    NGX_LLM_PRICE_FOR_TRANSCRIPT
} ngx_llm_price_for_e;


typedef struct {
    int64_t     price;               /* pico-USD per unit */
    uint32_t    above;               /* applies to prompts of more tokens */
    uint8_t     unit;                /* NGX_LLM_PRICE_INPUT, ... */
    uint8_t     tier;                /* NGX_LLM_PRICE_DEFAULT, ... */
} ngx_llm_price_rate_t;


#endif /* _NGX_LLM_PRICE_UNIT_H_INCLUDED_ */
