/*
 * ngx_llm_prices.h: the price file and the lookup of a target's price.
 */

#ifndef _NGX_LLM_PRICES_H_INCLUDED_
#define _NGX_LLM_PRICES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_llm_price.h>


typedef struct ngx_llm_prices_s     ngx_llm_prices_t;


/*
 * Reads a file in LiteLLM's format while the configuration is parsed; its name
 * is relative to the directory of nginx.conf.  The result is allocated from
 * cf->pool and never changes.  Returns NULL after an error, which is logged.
 */
ngx_llm_prices_t *ngx_llm_prices_load(ngx_conf_t *cf, ngx_str_t *name);

/* Returns the entry of this name in the file, or NULL. */
const ngx_llm_price_t *ngx_llm_prices_find(const ngx_llm_prices_t *prices,
    const ngx_str_t *name);

/*
 * Returns the price of a target: own (its price=) if it is not NULL, else the
 * first of these entries that has a price: PREFIX/MODEL, the target's model,
 * the model that the client requested.  prices may be NULL, names may be
 * empty.  Returns NULL if the price is unknown.  Allocates nothing.
 */
const ngx_llm_price_t *ngx_llm_prices_of(const ngx_llm_prices_t *prices,
    const ngx_llm_price_t *own, const ngx_str_t *prefix,
    const ngx_str_t *model, const ngx_str_t *requested);

/*
 * Returns max_input_tokens of the first of these entries that has it, in the
 * same order, or 0.
 */
ngx_uint_t ngx_llm_prices_context(const ngx_llm_prices_t *prices,
    const ngx_str_t *prefix, const ngx_str_t *model,
    const ngx_str_t *requested);


#endif /* _NGX_LLM_PRICES_H_INCLUDED_ */
