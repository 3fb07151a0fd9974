/*
 * Estimates of tokens by the classes of the bytes of a prompt, corrected by the
 * usage of earlier answers.
 */


#include <ngx_llm_estimate.h>


#define NGX_LLM_ESTIMATE_ONE     1024    /* token per byte, fixed point */
#define NGX_LLM_ESTIMATE_BASE    8       /* tokens of any request */
#define NGX_LLM_ESTIMATE_OUTSIDE 4       /* bytes of structure per token */
#define NGX_LLM_ESTIMATE_BYTES   4       /* bytes per token without facts */
#define NGX_LLM_ESTIMATE_FORM    64      /* the same for a form */
#define NGX_LLM_ESTIMATE_ENOUGH  8       /* samples before their first use */
#define NGX_LLM_ESTIMATE_OFTEN   32      /* samples; above, percentiles are */
#define NGX_LLM_ESTIMATE_NEWS    16      /* computed once in so many samples */
#define NGX_LLM_ESTIMATE_FADE    256     /* samples before they are halved */
#define NGX_LLM_ESTIMATE_TEXT    16      /* bytes at least of a sample */

/* steps to a doubling, and where they begin */
#define NGX_LLM_RATIO_STEPS      16
#define NGX_LLM_RATIO_LEAST      (NGX_LLM_ESTIMATE_ONE / 16)
#define NGX_LLM_OUTPUT_STEPS     6
#define NGX_LLM_OUTPUT_LEAST     1024    /* one token */


typedef struct {
    int64_t  least;                  /* where the first step begins */
    int64_t  steps;                  /* to a doubling */
    int64_t  stride;                 /* 48ths of a doubling in one */
    int64_t  high;                   /* the percentile that is reserved */
} ngx_llm_scale_t;


static int64_t ngx_llm_estimate_ratio(const ngx_llm_ratios_t *own,
    const ngx_llm_ratios_t *others, ngx_uint_t class, ngx_uint_t usual);
static int64_t ngx_llm_estimate_text(const ngx_llm_ratios_t *own,
    const ngx_llm_ratios_t *others, const ngx_llm_facts_t *facts,
    ngx_uint_t usual);
static int64_t ngx_llm_estimate_rest(const ngx_llm_facts_t *facts);
static void ngx_llm_estimate_sample(ngx_llm_histogram16_t *h,
    const ngx_llm_scale_t *scale, int64_t value);
static ngx_uint_t ngx_llm_estimate_step(const ngx_llm_scale_t *scale,
    int64_t value);
static void ngx_llm_estimate_percentiles(ngx_llm_histogram16_t *h,
    const ngx_llm_scale_t *scale);
static int64_t ngx_llm_estimate_percentile(const uint16_t *steps, int64_t sum,
    const ngx_llm_scale_t *scale, int64_t percent);
static int64_t ngx_llm_estimate_edge(const ngx_llm_scale_t *scale,
    int64_t step);
static int64_t ngx_llm_estimate_part(const ngx_llm_scale_t *scale,
    int64_t step);


static const ngx_llm_scale_t  ngx_llm_estimate_ratios = {
    NGX_LLM_RATIO_LEAST, NGX_LLM_RATIO_STEPS, 48 / NGX_LLM_RATIO_STEPS, 90
};

static const ngx_llm_scale_t  ngx_llm_estimate_outputs = {
    NGX_LLM_OUTPUT_LEAST, NGX_LLM_OUTPUT_STEPS, 48 / NGX_LLM_OUTPUT_STEPS, 95
};


/*
 * Ratios before the first samples: the median and the reserved percentile.  By
 * class: English words of 4.5 characters; code and JSON; Cyrillic and accents,
 * two bytes each; a character of CJK, three bytes, is about a token.  The last
 * column limits learned ratios: a token per byte, four per character.
 */

static const struct {
    int64_t  usual;
    int64_t  reserve;
    int64_t  most;
} ngx_llm_estimate_priors[NGX_LLM_CLASS_N] = {
    { 230, 280, 1024 },
    { 400, 560, 1024 },
    { 290, 400, 2048 },
    { 340, 460, 1365 }
};


int64_t
ngx_llm_estimate_prompt(const ngx_llm_ratios_t *own,
    const ngx_llm_ratios_t *others, const ngx_llm_facts_t *facts, size_t len)
{
    int64_t  tokens;

    tokens = ngx_llm_estimate_text(own, others, facts, 0);

    if (tokens == 0 && facts->media == 0) {
        tokens = (int64_t) len / (facts->form ? NGX_LLM_ESTIMATE_FORM
                                              : NGX_LLM_ESTIMATE_BYTES);
    }

    tokens += ngx_llm_estimate_rest(facts);

    return tokens < NGX_LLM_ESTIMATE_MAX ? tokens : NGX_LLM_ESTIMATE_MAX;
}


/* braces, numbers, media, and the tokens that a provider adds */

static int64_t
ngx_llm_estimate_rest(const ngx_llm_facts_t *facts)
{
    return NGX_LLM_ESTIMATE_BASE
           + (int64_t) facts->outside / NGX_LLM_ESTIMATE_OUTSIDE
           + facts->media;
}


/* The sums cannot overflow, since the body is in memory. */

static int64_t
ngx_llm_estimate_text(const ngx_llm_ratios_t *own,
    const ngx_llm_ratios_t *others, const ngx_llm_facts_t *facts,
    ngx_uint_t usual)
{
    int64_t     tokens;
    ngx_uint_t  i;

    tokens = 0;

    for (i = 0; i < NGX_LLM_CLASS_N; i++) {

        if (facts->counts[i]) {
            tokens += (int64_t) facts->counts[i]
                      * ngx_llm_estimate_ratio(own, others, i, usual);
        }
    }

    return (tokens + NGX_LLM_ESTIMATE_ONE - 1) / NGX_LLM_ESTIMATE_ONE;
}


static int64_t
ngx_llm_estimate_ratio(const ngx_llm_ratios_t *own,
    const ngx_llm_ratios_t *others, ngx_uint_t class, ngx_uint_t usual)
{
    int64_t                       ratio, prior;
    const ngx_llm_histogram16_t  *h;

    if (own) {
        h = &own->classes[class];
        ratio = usual ? h->usual : h->high;

        if (ratio) {
            return ngx_min(ratio, ngx_llm_estimate_priors[class].most);
        }
    }

    prior = usual ? ngx_llm_estimate_priors[class].usual
                  : ngx_llm_estimate_priors[class].reserve;

    if (others == NULL || usual) {
        return prior;
    }

    ratio = others->classes[class].high;

    return ngx_max(prior, ngx_min(ratio, prior + prior / 2));
}


int64_t
ngx_llm_estimate_output(const ngx_llm_outputs_t *outputs,
    const ngx_llm_facts_t *facts, ngx_uint_t *declared)
{
    int64_t  tokens, usual, n;

    tokens = facts->max_tokens;

    if (facts->max_completion_tokens > tokens) {
        tokens = facts->max_completion_tokens;
    }

    if (facts->max_output_tokens > tokens) {
        tokens = facts->max_output_tokens;
    }

    *declared = (tokens >= 0);
    usual = 0;

    if (outputs) {
        usual = outputs->output.high / NGX_LLM_OUTPUT_LEAST;
    }

    if (usual == 0) {
        usual = NGX_LLM_ESTIMATE_OUTPUT;
    }

    if (tokens < 0 || (outputs && tokens > usual)) {
        tokens = usual;
        *declared = 0;
    }

    /* neither is more than 2^31 */

    n = facts->n < 1 ? 1 : facts->n;
    tokens = n * tokens;

    return tokens < NGX_LLM_ESTIMATE_MAX ? tokens : NGX_LLM_ESTIMATE_MAX;
}


int64_t
ngx_llm_estimate_learned(const ngx_llm_outputs_t *outputs, int64_t n,
    int64_t tokens)
{
    int64_t  usual;

    usual = outputs->output.high / NGX_LLM_OUTPUT_LEAST;

    if (usual) {
        tokens = ngx_max(n, 1) * usual;
    }

    return ngx_min(tokens, NGX_LLM_ESTIMATE_MAX);
}


int64_t
ngx_llm_estimate_seen(uint64_t bytes, ngx_uint_t events)
{
    uint64_t  tokens;

    tokens = (bytes + NGX_LLM_ESTIMATE_BYTES - 1) / NGX_LLM_ESTIMATE_BYTES;

    if (tokens < events) {
        tokens = events;
    }

    return tokens < NGX_LLM_ESTIMATE_MAX ? (int64_t) tokens
                                         : NGX_LLM_ESTIMATE_MAX;
}


/*
 * Divides the error of the estimate among the classes by their tokens.  A class
 * with less than a fifth of the tokens takes no sample.
 */

void
ngx_llm_estimate_learn_prompt(ngx_llm_ratios_t *ratios,
    const ngx_llm_facts_t *facts, int64_t tokens)
{
    int64_t     text, part, ratio;
    uint64_t    bytes;
    ngx_uint_t  i;

    text = ngx_llm_estimate_text(ratios, NULL, facts, 1);
    tokens -= ngx_llm_estimate_rest(facts);
    bytes = 0;

    for (i = 0; i < NGX_LLM_CLASS_N; i++) {
        bytes += facts->counts[i];
    }

    if (bytes < NGX_LLM_ESTIMATE_TEXT || text == 0 || tokens <= 0
        || tokens > NGX_LLM_ESTIMATE_MAX)
    {
        return;
    }

    for (i = 0; i < NGX_LLM_CLASS_N; i++) {

        if (facts->counts[i] == 0) {
            continue;
        }

        ratio = ngx_llm_estimate_ratio(ratios, NULL, i, 1);
        part = (int64_t) facts->counts[i] * ratio / NGX_LLM_ESTIMATE_ONE;

        if (part * 5 < text) {
            continue;
        }

        ratio = (int64_t) ((__int128) ratio * tokens / text);

        if (ratio > ngx_llm_estimate_priors[i].most) {
            ratio = ngx_llm_estimate_priors[i].most;
        }

        ngx_llm_estimate_sample(&ratios->classes[i], &ngx_llm_estimate_ratios,
                                ratio);
    }
}


void
ngx_llm_estimate_learn_output(ngx_llm_outputs_t *outputs, ngx_int_t n,
    int64_t tokens)
{
    if (tokens <= 0 || tokens > NGX_LLM_ESTIMATE_MAX) {
        return;
    }

    tokens = tokens * NGX_LLM_OUTPUT_LEAST / (n < 1 ? 1 : n);

    ngx_llm_estimate_sample(&outputs->output, &ngx_llm_estimate_outputs,
                            tokens);
}


/* Adds a sample; the percentiles are computed once in a few samples. */

static void
ngx_llm_estimate_sample(ngx_llm_histogram16_t *h, const ngx_llm_scale_t *scale,
    int64_t value)
{
    ngx_uint_t  i, sum;

    h->steps[ngx_llm_estimate_step(scale, value)]++;
    h->sum++;
    h->news++;

    if (h->sum < NGX_LLM_ESTIMATE_ENOUGH
        || (h->sum > NGX_LLM_ESTIMATE_OFTEN
            && h->news < NGX_LLM_ESTIMATE_NEWS))
    {
        return;
    }

    h->news = 0;

    ngx_llm_estimate_percentiles(h, scale);

    if (h->sum < NGX_LLM_ESTIMATE_FADE) {
        return;
    }

    sum = 0;

    for (i = 0; i < NGX_LLM_ESTIMATE_STEPS; i++) {
        h->steps[i] /= 2;
        sum += h->steps[i];
    }

    h->sum = (uint16_t) sum;
}


static ngx_uint_t
ngx_llm_estimate_step(const ngx_llm_scale_t *scale, int64_t value)
{
    int64_t  doublings, step;

    doublings = 0;

    while (doublings < NGX_LLM_ESTIMATE_STEPS / scale->steps - 1
           && value >= scale->least << (doublings + 1))
    {
        doublings++;
    }

    value >>= doublings;

    for (step = 1; step < scale->steps; step++) {
        if (value < ngx_llm_estimate_part(scale, step)) {
            break;
        }
    }

    return doublings * scale->steps + step - 1;
}


/*
 * Computes the percentiles from a copy: other workers may add samples, halve
 * the counts or clear the row at the same time.
 */

static void
ngx_llm_estimate_percentiles(ngx_llm_histogram16_t *h,
    const ngx_llm_scale_t *scale)
{
    int64_t                   sum;
    uint16_t                  steps[NGX_LLM_ESTIMATE_STEPS];
    ngx_uint_t                i;
    const volatile uint16_t  *shared;

    shared = h->steps;
    sum = 0;

    for (i = 0; i < NGX_LLM_ESTIMATE_STEPS; i++) {
        steps[i] = shared[i];
        sum += steps[i];
    }

    h->usual = ngx_llm_estimate_percentile(steps, sum, scale, 50);
    h->high = ngx_llm_estimate_percentile(steps, sum, scale, scale->high);
}


/* Interpolates within a step; returns 0 if there are no samples. */

static int64_t
ngx_llm_estimate_percentile(const uint16_t *steps, int64_t sum,
    const ngx_llm_scale_t *scale, int64_t percent)
{
    int64_t     below, want, low, high;
    ngx_uint_t  i;

    if (sum == 0) {
        return 0;
    }

    want = sum * percent;
    below = 0;

    /* below * 100 < want <= sum * 100: it ends at a step with samples */

    for (i = 0; (below + steps[i]) * 100 < want; i++) {
        below += steps[i];
    }

    low = ngx_llm_estimate_edge(scale, i);
    high = ngx_llm_estimate_edge(scale, i + 1);

    return low + (high - low) * (want - below * 100) / (steps[i] * 100);
}


/* least * 2^(step / steps) */

static int64_t
ngx_llm_estimate_edge(const ngx_llm_scale_t *scale, int64_t step)
{
    return ngx_llm_estimate_part(scale, step % scale->steps)
           << (step / scale->steps);
}


/* the same below a doubling, by 48ths of it, which 6 and 16 divide */

static int64_t
ngx_llm_estimate_part(const ngx_llm_scale_t *scale, int64_t step)
{
    /* 2^(i / 48) * 2^16 */

    static const int64_t  parts[] = {
        65536, 66489, 67456, 68438, 69433, 70443, 71468, 72507,
        73562, 74632, 75717, 76819, 77936, 79069, 80220, 81386,
        82570, 83771, 84990, 86226, 87480, 88752, 90043, 91353,
        92682, 94030, 95398, 96785, 98193, 99621, 101070, 102540,
        104032, 105545, 107080, 108638, 110218, 111821, 113448, 115098,
        116772, 118470, 120194, 121942, 123715, 125515, 127341, 129193
    };

    return scale->least * parts[step * scale->stride] >> 16;
}
