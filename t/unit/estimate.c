/*
 * estimate.c: prompts are rarely longer than estimated, estimates learn, and
 * no body and no provider makes one that is 0, negative or absurd.
 */

#include <ngx_llm_estimate.h>

#include "tap.h"


static void priors(void);
static void limits(void);
static void learns(void);
static void mixtures(void);
static void insane(void);
static void outputs(void);
static void facts_of(ngx_llm_facts_t *facts, uint64_t prose, uint64_t punct,
    uint64_t other, uint64_t cjk);
static uint64_t next(uint64_t *seed);


int
main(void)
{
    priors();
    limits();
    learns();
    mixtures();
    insane();
    outputs();

    return done_testing();
}


static void
facts_of(ngx_llm_facts_t *facts, uint64_t prose, uint64_t punct,
    uint64_t other, uint64_t cjk)
{
    ngx_llm_facts_init(facts);

    facts->counts[NGX_LLM_CLASS_PROSE] = prose;
    facts->counts[NGX_LLM_CLASS_PUNCT] = punct;
    facts->counts[NGX_LLM_CLASS_OTHER] = other;
    facts->counts[NGX_LLM_CLASS_CJK] = cjk;
}


static uint64_t
next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;

    return *seed >> 33;
}


/* an estimate before anything is learned lies in a plausible range */

static void
priors(void)
{
    size_t           i;
    int64_t          got;
    ngx_llm_facts_t  facts;

    static const struct {
        const char  *what;
        uint64_t     prose, punct, other, cjk;
        int64_t      least, most;
    } cases[] = {
        { "4,000 letters of English", 3900, 100, 0, 0, 900, 1400 },
        { "4,000 bytes of code", 2800, 1200, 0, 0, 1100, 1900 },
        { "1,000 characters of Chinese", 0, 0, 0, 3000, 900, 1500 },
        { "2,000 letters of Russian", 300, 100, 3400, 0, 1000, 1700 },
        { "one word", 5, 0, 0, 0, 8, 16 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        facts_of(&facts, cases[i].prose, cases[i].punct, cases[i].other,
                 cases[i].cjk);

        got = ngx_llm_estimate_prompt(NULL, &facts, 0);

        ok(got >= cases[i].least && got <= cases[i].most,
           "%s: %lld tokens", cases[i].what, (long long) got);
    }
}


static void
limits(void)
{
    ngx_llm_facts_t  facts;

    facts_of(&facts, 0, 0, 0, 0);

    ok(ngx_llm_estimate_prompt(NULL, &facts, 0) >= 1, "nothing is not 0");
    ok(ngx_llm_estimate_prompt(NULL, &facts, 4000) >= 1000,
       "an unknown body is charged by its bytes");

    facts.form = 1;
    ok(ngx_llm_estimate_prompt(NULL, &facts, 64000) >= 1000
       && ngx_llm_estimate_prompt(NULL, &facts, 64000) < 2000,
       "a form by fewer, it is files");

    facts_of(&facts, (uint64_t) 1 << 40, (uint64_t) 1 << 40, 0, 0);
    ok(ngx_llm_estimate_prompt(NULL, &facts, 0) <= NGX_LLM_ESTIMATE_MAX
       && ngx_llm_estimate_prompt(NULL, &facts, 0) > 0,
       "no size overflows");
}


/* 50 answers with 10 % of noise, then 1,000 more prompts of their kind */

static void
learns(void)
{
    int                c, i, covered;
    int64_t            ratio, bytes, tokens, got, error;
    uint64_t           seed, counts[NGX_LLM_CLASS_N];
    ngx_llm_facts_t    facts;
    ngx_llm_ratios_t   ratios;

    static const struct {
        const char  *what;
        int64_t      ratio;          /* tokens in 1,000 bytes */
    } kinds[NGX_LLM_CLASS_N] = {
        { "prose", 180 }, { "code", 300 }, { "Cyrillic", 220 },
        { "CJK", 500 }
    };

    for (c = 0; c < NGX_LLM_CLASS_N; c++) {
        memset(&ratios, 0, sizeof(ratios));
        seed = 42 + c;
        covered = 0;
        error = 0;

        for (i = 0; i < 1050; i++) {
            bytes = 2000 + next(&seed) % 8000;
            ratio = kinds[c].ratio * (900 + next(&seed) % 201) / 1000;
            tokens = bytes * ratio / 1000 + 8;

            memset(counts, 0, sizeof(counts));
            counts[c] = bytes;
            facts_of(&facts, counts[0], counts[1], counts[2], counts[3]);

            if (i < 50) {
                ngx_llm_estimate_learn_prompt(&ratios, &facts, tokens);
                continue;
            }

            got = ngx_llm_estimate_prompt(&ratios, &facts, 0);
            covered += (got >= tokens);
            error += 1000 * (got > tokens ? got - tokens : tokens - got)
                     / tokens;
        }

        ok(covered >= 850 && covered <= 995,
           "%s: after 50 answers %d of 1000 prompts are covered",
           kinds[c].what, covered);
        ok(error / 1000 <= 150, "  and what is reserved is %lld in 1000 off",
           (long long) (error / 1000));
    }
}


/* classes that only come together are told together */

static void
mixtures(void)
{
    int                i, covered;
    int64_t            tokens, prose, punct;
    uint64_t           seed;
    ngx_llm_facts_t    facts;
    ngx_llm_ratios_t   ratios;

    memset(&ratios, 0, sizeof(ratios));
    seed = 7;
    covered = 0;

    for (i = 0; i < 600; i++) {
        prose = 1000 + next(&seed) % 4000;
        punct = 500 + next(&seed) % 1500;
        tokens = prose * 170 / 1000 + punct * 300 / 1000 + 8;

        facts_of(&facts, prose, punct, 0, 0);

        if (i >= 100) {
            covered += (ngx_llm_estimate_prompt(&ratios, &facts, 0) >= tokens
                        && ngx_llm_estimate_prompt(&ratios, &facts, 0)
                           <= tokens * 14 / 10);
        }

        ngx_llm_estimate_learn_prompt(&ratios, &facts, tokens);
    }

    ok(covered >= 400, "a mixture: %d of 500 covered, by less than 40 %%",
       covered);
}


static void
insane(void)
{
    int               i;
    int64_t           before, after;
    ngx_llm_facts_t   facts;
    ngx_llm_ratios_t  ratios;

    memset(&ratios, 0, sizeof(ratios));
    facts_of(&facts, 4000, 0, 0, 0);

    for (i = 0; i < 50; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, 1000);
    }

    before = ngx_llm_estimate_prompt(&ratios, &facts, 0);

    ngx_llm_estimate_learn_prompt(&ratios, &facts, 0);
    ngx_llm_estimate_learn_prompt(&ratios, &facts, -5);
    ngx_llm_estimate_learn_prompt(&ratios, &facts, INT64_MAX);
    ngx_llm_estimate_learn_prompt(&ratios, &facts, (int64_t) 1 << 39);

    after = ngx_llm_estimate_prompt(&ratios, &facts, 0);

    ok(after <= before * 11 / 10, "an answer with insane usage changes little");

    for (i = 0; i < 5000; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, (int64_t) 1 << 39);
    }

    after = ngx_llm_estimate_prompt(&ratios, &facts, 0);
    ok(after <= 4000 + 8, "nor do many exceed a token per byte");

    for (i = 0; i < 5000; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, 9);
    }

    after = ngx_llm_estimate_prompt(&ratios, &facts, 0);
    ok(after >= 4000 / 16, "or fall below a sixteenth");
}


static void
outputs(void)
{
    int                i;
    int64_t            got;
    ngx_uint_t         declared;
    ngx_llm_facts_t    facts;
    ngx_llm_outputs_t  learned;

    memset(&learned, 0, sizeof(learned));
    facts_of(&facts, 100, 0, 0, 0);

    got = ngx_llm_estimate_output(&learned, &facts, &declared);
    ok(got == NGX_LLM_ESTIMATE_OUTPUT && !declared, "nothing is known: 1024");

    got = ngx_llm_estimate_output(NULL, &facts, &declared);
    ok(got == NGX_LLM_ESTIMATE_OUTPUT && !declared, "the same of what is "
       "declared by nobody");

    facts.max_tokens = 77;
    facts.max_completion_tokens = 99;
    got = ngx_llm_estimate_output(NULL, &facts, &declared);
    ok(got == 99 && declared, "of two that are declared the larger one");

    got = ngx_llm_estimate_output(&learned, &facts, &declared);
    ok(got == 99 && declared, "less than is usual is believed");

    facts.max_tokens = 100000;
    got = ngx_llm_estimate_output(&learned, &facts, &declared);
    ok(got == NGX_LLM_ESTIMATE_OUTPUT && !declared, "more is not");

    for (i = 0; i < 100; i++) {
        ngx_llm_estimate_learn_output(&learned, 2, 2 * (100 + i));
    }

    got = ngx_llm_estimate_output(&learned, &facts, &declared);
    ok(got >= 190 && got <= 260, "what was usual: %lld of 100 to 199",
       (long long) got);

    facts.n = 3;
    ok(ngx_llm_estimate_output(&learned, &facts, &declared) == 3 * got,
       "for each of n choices");

    facts.n = INT32_MAX;
    facts.max_tokens = INT32_MAX;
    got = ngx_llm_estimate_output(NULL, &facts, &declared);
    ok(got == NGX_LLM_ESTIMATE_MAX, "REQ-16: n times max_tokens does not "
       "overflow");

    facts.n = 1;
    facts.max_tokens = 0;
    facts.max_completion_tokens = 0;
    ok(ngx_llm_estimate_output(NULL, &facts, &declared) == 0 && declared,
       "0 is a number");

    for (i = 0; i < 1000; i++) {
        ngx_llm_estimate_learn_output(&learned, 0, INT64_MAX);
        ngx_llm_estimate_learn_output(&learned, 1, -1);
        ngx_llm_estimate_learn_output(&learned, 1, (int64_t) 1 << 40);
    }

    facts.max_tokens = -1;
    facts.max_completion_tokens = -1;
    got = ngx_llm_estimate_output(&learned, &facts, &declared);
    ok(got > 0 && got <= 70000, "insane outputs end at the last step: %lld",
       (long long) got);
}
