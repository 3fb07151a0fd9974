/*
 * ngx_llm_estimate.h: how many tokens a prompt will turn out to be, from the
 * classes of its bytes; and what was learned from those that did.
 *
 * A ratio is tokens per byte.  What was seen is a histogram over their
 * logarithm, so that a high quantile can be asked for, and fades by halves.
 * Integers only; all of it may lie in shared memory and be written by several
 * workers at once: a lost count does no harm, a torn one is impossible.
 */

#ifndef _NGX_LLM_ESTIMATE_H_INCLUDED_
#define _NGX_LLM_ESTIMATE_H_INCLUDED_


#include <ngx_llm_facts.h>


#define NGX_LLM_ESTIMATE_STEPS   96  /* of a histogram */
#define NGX_LLM_ESTIMATE_MAX     ((int64_t) 1 << 40)  /* tokens, at most */
#define NGX_LLM_ESTIMATE_IMAGE   1056   /* tokens of a picture, unknown */
#define NGX_LLM_ESTIMATE_SECOND  10     /* tokens of a second of audio */
#define NGX_LLM_ESTIMATE_SPOKEN  4      /* tokens of text spoken in it */
#define NGX_LLM_ESTIMATE_OUTPUT  1024   /* while nothing is known */


typedef struct {                     /* zeroed: nothing learned yet */
    uint16_t   steps[NGX_LLM_ESTIMATE_STEPS];
    uint16_t   sum;                  /* of them */
    uint16_t   news;                 /* samples since what follows was set */
    int64_t    usual;                /* the median; 0: too few samples */
    int64_t    high;                 /* what is rarely exceeded */
} ngx_llm_histogram16_t;


typedef struct {                     /* of one model */
    ngx_llm_histogram16_t  classes[NGX_LLM_CLASS_N];
} ngx_llm_ratios_t;


typedef struct {                     /* of one key and model */
    ngx_llm_histogram16_t  output;   /* tokens of one choice */
} ngx_llm_outputs_t;


/*
 * Returns the tokens of a prompt with these facts, from 1 to
 * NGX_LLM_ESTIMATE_MAX: for each class of bytes the 90th percentile of the
 * ratios that this identity has had with the model ("own"), otherwise of all
 * identities ("others"), otherwise a constant.  Others raise the constant by a
 * half at most, and never lower it.  Both may be NULL.  Facts without text (all
 * counts 0) are estimated by len, the bytes of the body.
 */
int64_t ngx_llm_estimate_prompt(const ngx_llm_ratios_t *own,
    const ngx_llm_ratios_t *others, const ngx_llm_facts_t *facts, size_t len);

/*
 * Tokens of the output, from 0 (an operation that has none) to
 * NGX_LLM_ESTIMATE_MAX: n choices of max_tokens, max_completion_tokens or
 * max_output_tokens, the largest that is given.  With outputs (learned) not
 * more than n times the 95th percentile of what was seen, or than n times
 * NGX_LLM_ESTIMATE_OUTPUT while nothing was.  *declared is 1 where the result
 * is what the client has asked for.
 */
int64_t ngx_llm_estimate_output(const ngx_llm_outputs_t *outputs,
    const ngx_llm_facts_t *facts, ngx_uint_t *declared);

/*
 * Returns the tokens of n answers that are not text by the usage that was
 * learned, or tokens, the estimate for all of them, if nothing was.
 */
int64_t ngx_llm_estimate_learned(const ngx_llm_outputs_t *outputs, int64_t n,
    int64_t tokens);

/*
 * Returns the tokens of an output without usage, from the bytes of its text and
 * the events it came in: an event is a token at least.
 */
int64_t ngx_llm_estimate_seen(uint64_t bytes, ngx_uint_t events);

/* a prompt with these facts had so many tokens, as its provider says */
void ngx_llm_estimate_learn_prompt(ngx_llm_ratios_t *ratios,
    const ngx_llm_facts_t *facts, int64_t tokens);

/* an answer had so many, in all its n choices (n < 1 counts as 1) */
void ngx_llm_estimate_learn_output(ngx_llm_outputs_t *outputs, ngx_int_t n,
    int64_t tokens);


#endif /* _NGX_LLM_ESTIMATE_H_INCLUDED_ */
