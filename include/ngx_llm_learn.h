/*
 * ngx_llm_learn.h: where in the state zone it is kept what models and their
 * users have turned out to need.  A fixed number of rows, found by hash and
 * without a lock; a new name takes the row that was not used for longest.
 */

#ifndef _NGX_LLM_LEARN_H_INCLUDED_
#define _NGX_LLM_LEARN_H_INCLUDED_


#include <ngx_llm_zone.h>
#include <ngx_llm_estimate.h>


typedef struct ngx_llm_learn_s       ngx_llm_learn_t;


/* while the configuration is read; NULL: out of memory */
ngx_llm_learn_t *ngx_llm_learn_create(ngx_conf_t *cf, ngx_llm_zone_t *zone);

/*
 * Returns the ratios of an identity (16 bytes of a digest) with a model, or of
 * all identities if key is NULL.  Never returns NULL.
 */
ngx_llm_ratios_t *ngx_llm_learn_ratios(ngx_llm_learn_t *learn, u_char *key,
    ngx_str_t *model);

/* of a key (16 bytes of a digest) and a model; never NULL */
ngx_llm_outputs_t *ngx_llm_learn_outputs(ngx_llm_learn_t *learn, u_char *key,
    ngx_str_t *model);


#endif /* _NGX_LLM_LEARN_H_INCLUDED_ */
