/*
 * estimate.c: prompts are rarely longer than estimated, estimates learn, and
 * no body and no provider makes one that is 0, negative or absurd.
 */

#include <ngx_llm_estimate.h>

#include <pthread.h>
#include <stdlib.h>

#include "tap.h"


#define MODELS  200
#define SHARED  2000000              /* samples of each worker */


typedef struct {
    ngx_uint_t  class;
    int64_t     ratio;               /* tokens in 1,000 bytes */
    int         covered;             /* prompts */
    int64_t     error;               /* of the median, 1/1000 */
    int64_t     reserved;            /* of what is reserved, the same */
} kind_t;


static void priors(void);
static void known(void);
static void limits(void);
static void learns(void);
static void learn_model(kind_t *kind, uint64_t *seed);
static void fades(void);
static void shared(void);
static void *count(void *data);
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
    known();
    limits();
    learns();
    fades();
    shared();
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

        got = ngx_llm_estimate_prompt(NULL, NULL, &facts, 0);

        ok(got >= cases[i].least && got <= cases[i].most,
           "%s: %lld tokens", cases[i].what, (long long) got);
    }
}


/* bytes whose tokens are published: by the encoding, and of a whole chat */

static void
known(void)
{
    size_t           i;
    int64_t          got;
    ngx_llm_facts_t  facts;

    static const struct {
        const char  *what;
        uint64_t     prose, punct, cjk;
        size_t       outside;
        int64_t      times;          /* a text so often in one prompt */
        int64_t      tokens;         /* cl100k */
    } cases[] = {
        { "a word of 28 letters", 28, 0, 0, 0, 100, 6 },
        { "a birthday greeting in Japanese", 0, 0, 27, 0, 100, 9 },
        { "a chat of six short messages", 637, 19, 0, 130, 1, 129 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        facts_of(&facts, cases[i].prose * cases[i].times,
                 cases[i].punct * cases[i].times, 0,
                 cases[i].cjk * cases[i].times);
        facts.outside = cases[i].outside;

        got = ngx_llm_estimate_prompt(NULL, NULL, &facts, 0) / cases[i].times;

        ok(got >= cases[i].tokens && got <= 2 * cases[i].tokens,
           "%s: %lld of %lld tokens", cases[i].what, (long long) got,
           (long long) cases[i].tokens);
    }
}


static void
limits(void)
{
    ngx_llm_facts_t  facts;

    facts_of(&facts, 0, 0, 0, 0);

    ok(ngx_llm_estimate_prompt(NULL, NULL, &facts, 0) >= 1, "nothing is not 0");
    ok(ngx_llm_estimate_prompt(NULL, NULL, &facts, 4000) >= 1000,
       "an unknown body is charged by its bytes");

    facts.form = 1;
    ok(ngx_llm_estimate_prompt(NULL, NULL, &facts, 64000) >= 1000
       && ngx_llm_estimate_prompt(NULL, NULL, &facts, 64000) < 2000,
       "a form by fewer, it is files");

    facts_of(&facts, (uint64_t) 1 << 40, (uint64_t) 1 << 40, 0, 0);
    ok(ngx_llm_estimate_prompt(NULL, NULL, &facts, 0) <= NGX_LLM_ESTIMATE_MAX
       && ngx_llm_estimate_prompt(NULL, NULL, &facts, 0) > 0,
       "no size overflows");
}


/*
 * 50 answers with 10 % of noise, then 100 more prompts of their kind: over many
 * models, since 50 answers of one say where its 90th percentile is to 4 %.
 */

static void
learns(void)
{
    int       c, i;
    kind_t    kind;
    uint64_t  seed;

    static const struct {
        const char  *what;
        int64_t      ratio;          /* tokens in 1,000 bytes, the least */
    } kinds[NGX_LLM_CLASS_N] = {
        { "prose", 130 }, { "code", 210 }, { "Cyrillic", 160 },
        { "CJK", 350 }
    };

    for (c = 0; c < NGX_LLM_CLASS_N; c++) {
        memset(&kind, 0, sizeof(kind));
        kind.class = c;
        seed = 42 + c;

        for (i = 0; i < MODELS; i++) {
            kind.ratio = kinds[c].ratio * (1000 + next(&seed) % 1000) / 1000;
            learn_model(&kind, &seed);
        }

        ok(kind.covered >= 88 * MODELS && kind.covered <= 95 * MODELS,
           "REQ-16: %s: after 50 answers %d of %d prompts are covered",
           kinds[c].what, kind.covered, MODELS * 100);
        ok(kind.error <= 80 * MODELS * 100,
           "  what is usual is %lld in 1000 off",
           (long long) kind.error / (MODELS * 100));
        ok(kind.reserved <= 120 * MODELS * 100,
           "  and what is reserved %lld in 1000",
           (long long) kind.reserved / (MODELS * 100));
    }
}


static void
learn_model(kind_t *kind, uint64_t *seed)
{
    int               i;
    int64_t           bytes, tokens, got;
    ngx_llm_facts_t   facts;
    ngx_llm_ratios_t  ratios;

    memset(&ratios, 0, sizeof(ratios));

    for (i = 0; i < 150; i++) {
        bytes = 2000 + next(seed) % 8000;
        tokens = bytes * kind->ratio * (9000 + next(seed) % 2001) / 10000000
                 + 8;

        facts_of(&facts, 0, 0, 0, 0);
        facts.counts[kind->class] = bytes;

        if (i < 50) {
            ngx_llm_estimate_learn_prompt(&ratios, &facts, tokens);
            continue;
        }

        got = ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0);
        kind->covered += (got >= tokens);
        kind->reserved += 1000 * llabs(got - tokens) / tokens;

        got = bytes * ratios.classes[kind->class].usual / 1024 + 8;
        kind->error += 1000 * llabs(got - tokens) / tokens;
    }
}


/* what a model was like fades */

static void
fades(void)
{
    int               i, first;
    int64_t           got;
    ngx_llm_facts_t   facts;
    ngx_llm_ratios_t  ratios;

    memset(&ratios, 0, sizeof(ratios));
    facts_of(&facts, 10000, 0, 0, 0);

    for (i = 0; i < 5000; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, 1500);
    }

    ok(ratios.classes[NGX_LLM_CLASS_PROSE].sum < 256,
       "however many answers, it is the last few hundred that count");

    for (first = 0; first < 1000; first++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, 3000);

        if (ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0) >= 3000) {
            break;
        }
    }

    ok(first < 64, "twice as many tokens are believed after %d answers",
       first + 1);

    for (i = 0; i < 1000; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, 1500);
    }

    got = ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0);
    ok(got >= 1500 && got <= 1600, "and half as many after 1,000: %lld",
       (long long) got);
}


/* two workers count the same answer, again and again, while the row is lost */

static void
shared(void)
{
    int                i;
    pthread_t          worker;
    int64_t            got, most;
    ngx_uint_t         declared;
    ngx_llm_facts_t    facts;
    ngx_llm_outputs_t  learned;

    memset(&learned, 0, sizeof(learned));
    facts_of(&facts, 100, 0, 0, 0);
    most = 0;

    if (!ok(pthread_create(&worker, NULL, count, &learned) == 0,
            "a second worker"))
    {
        return;
    }

    for (i = 0; i < SHARED; i++) {
        ngx_llm_estimate_learn_output(&learned, 1, 2000);

        got = ngx_llm_estimate_output(&learned, &facts, &declared);
        most = got > most ? got : most;

        if (i % 4096 == 0) {
            memset(&learned, 0, sizeof(learned));
        }
    }

    pthread_join(worker, NULL);

    ok(most >= 2000 && most <= 2400,
       "what two workers learn at once is what was seen: %lld of 2000",
       (long long) most);
}


static void *
count(void *data)
{
    int                 i;
    ngx_llm_outputs_t  *learned = data;

    for (i = 0; i < SHARED; i++) {
        ngx_llm_estimate_learn_output(learned, 1, 2000);
    }

    return NULL;
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
            covered += (ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0) >= tokens
                        && ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0)
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

    before = ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0);

    ngx_llm_estimate_learn_prompt(&ratios, &facts, 0);
    ngx_llm_estimate_learn_prompt(&ratios, &facts, -5);
    ngx_llm_estimate_learn_prompt(&ratios, &facts, INT64_MAX);
    ngx_llm_estimate_learn_prompt(&ratios, &facts, (int64_t) 1 << 39);

    after = ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0);

    ok(after <= before * 11 / 10, "an answer with insane usage changes little");

    for (i = 0; i < 5000; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, (int64_t) 1 << 39);
    }

    after = ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0);
    ok(after <= 4000 + 8, "nor do many exceed a token per byte");

    for (i = 0; i < 5000; i++) {
        ngx_llm_estimate_learn_prompt(&ratios, &facts, 9);
    }

    after = ngx_llm_estimate_prompt(&ratios, NULL, &facts, 0);
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

    ok(ngx_llm_estimate_seen(0, 0) == 0, "no output seen: no tokens");
    ok(ngx_llm_estimate_seen(4001, 2) == 1001, "output seen: by its bytes");
    ok(ngx_llm_estimate_seen(9, 7) == 7, "  a token for each event at least");
    ok(ngx_llm_estimate_seen(UINT64_MAX - 7, 0) == NGX_LLM_ESTIMATE_MAX,
       "  and not more than the largest estimate");
}
