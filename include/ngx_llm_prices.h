/*
 * ngx_llm_prices.h: the price file, and whose price counts.
 */

#ifndef _NGX_LLM_PRICES_H_INCLUDED_
#define _NGX_LLM_PRICES_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <ngx_llm_price.h>


typedef struct ngx_llm_prices_s     ngx_llm_prices_t;


/*
 * Reads a file in LiteLLM's format while the configuration is parsed; its name
 * is relative to the folder of nginx.conf.  What it returns is in cf->pool and
 * never changes.  NULL: logged, with the place in both files.
 */
ngx_llm_prices_t *ngx_llm_prices_load(ngx_conf_t *cf, ngx_str_t *name);

/* by the name as it stands in the file; NULL: there is none */
const ngx_llm_price_t *ngx_llm_prices_find(const ngx_llm_prices_t *prices,
    const ngx_str_t *name);

/*
 * The price of a target, the first there is: own (its price=, or NULL), the
 * file's for TYPE/MODEL, for the target's model, for the model that the client
 * has asked for.  prices may be NULL, names may be empty.  NULL: not known.
 * Allocates nothing; with own it is that at once.
 */
const ngx_llm_price_t *ngx_llm_prices_of(const ngx_llm_prices_t *prices,
    const ngx_llm_price_t *own, const ngx_str_t *type,
    const ngx_str_t *model, const ngx_str_t *requested);


#endif /* _NGX_LLM_PRICES_H_INCLUDED_ */
