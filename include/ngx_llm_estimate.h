/*
 * ngx_llm_estimate.h: estimates of tokens from the classes of the bytes of a
 * prompt, and the samples of usage that correct them.
 *
 * A ratio is tokens per byte.  Samples are a histogram over the logarithm of
 * the ratio, which has percentiles and forgets by halving its counts.  All
 * numbers are integers.  Several workers may write a histogram in shared memory
 * at the same time: a lost sample does no harm, and no count is written in
 * parts.
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
    uint16_t   news;                 /* samples since the last percentiles */
    int64_t    usual;                /* the median; 0: too few samples */
    int64_t    high;                 /* the reserved percentile */
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
 * Returns the tokens of the output, at most NGX_LLM_ESTIMATE_MAX: n choices of
 * the largest of max_tokens, max_completion_tokens and max_output_tokens.  If
 * outputs is not NULL, a choice has at most the 95th percentile of its samples,
 * or NGX_LLM_ESTIMATE_OUTPUT without samples.  Sets *declared to 1 if the
 * result is the limit that the client declares.
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

/* Adds the tokens of a prompt with these facts, as its provider reports. */
void ngx_llm_estimate_learn_prompt(ngx_llm_ratios_t *ratios,
    const ngx_llm_facts_t *facts, int64_t tokens);

/* Adds the tokens of an answer with n choices (n < 1 counts as 1). */
void ngx_llm_estimate_learn_output(ngx_llm_outputs_t *outputs, ngx_int_t n,
    int64_t tokens);


#endif /* _NGX_LLM_ESTIMATE_H_INCLUDED_ */
