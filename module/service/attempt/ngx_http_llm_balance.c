/*
 * Whose turn it is.  Targets are sorted into sets by what this pass has tried
 * and by what all workers know of their health; the first set that is not
 * empty is handed to the model's policy, and what that picks is claimed: a
 * place in flight, the probe of a breaker, a key.
 */


#include <ngx_http_llm_attempt.h>
#include <ngx_http_llm_draw.h>


/* in the order in which they are asked */

typedef enum {
    NGX_HTTP_LLM_SET_FRESH = 0,      /* provider not tried in this pass */
    NGX_HTTP_LLM_SET_KEY,            /* tried: a key or target was refused */
    NGX_HTTP_LLM_SET_BACKUP,         /* these two once more, of backups */
    NGX_HTTP_LLM_SET_BACKUP_KEY,
    NGX_HTTP_LLM_SET_RESTING,        /* not now, but there is nobody else */
    NGX_HTTP_LLM_SET_FAILED,         /* its provider failed in this pass */
    NGX_HTTP_LLM_SETS
} ngx_http_llm_set_e;


typedef struct {
    uint64_t    sets[NGX_HTTP_LLM_SETS];
    ngx_uint_t  attempts;            /* of this pass */
} ngx_http_llm_candidates_t;


static void ngx_http_llm_balance_sort(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_candidates_t *candidates);
static ngx_http_llm_attempt_t *ngx_http_llm_balance_attempts(
    ngx_http_llm_ctx_t *ctx, ngx_uint_t *n);
static ngx_uint_t ngx_http_llm_balance_history(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target);
static ngx_uint_t ngx_http_llm_balance_met(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target);
static ngx_uint_t ngx_http_llm_balance_rests(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_msec_t now);
static ngx_http_llm_credential_t *ngx_http_llm_balance_credential(
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_target_t *target, ngx_msec_t now,
    ngx_uint_t any);
static ngx_uint_t ngx_http_llm_balance_tried(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_http_llm_credential_t *credential);
static ngx_uint_t ngx_http_llm_balance_owns(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider);
static ngx_uint_t ngx_http_llm_balance_rested(ngx_http_llm_model_t *model,
    uint64_t set);
static ngx_int_t ngx_http_llm_balance_take(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_http_llm_target_t *target,
    ngx_uint_t forced);
static ngx_int_t ngx_http_llm_balance_claim(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_msec_t now);
static ngx_uint_t ngx_http_llm_balance_free(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_uint_t attempts);


ngx_int_t
ngx_http_llm_balance_next(ngx_http_request_t *r)
{
    ngx_uint_t                      i, n, forced;
    uint64_t                       *set;
    ngx_http_llm_ctx_t             *ctx;
    ngx_http_llm_model_t           *model;
    ngx_http_llm_target_t          *target;
    const ngx_http_llm_policy_t    *policy;
    ngx_http_llm_main_conf_t       *lmcf;
    ngx_http_llm_candidates_t       candidates;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    model = ctx->charge->model;
    policy = ctx->stateful ? &ngx_http_llm_policy_state : model->policy;
    target = model->targets.elts;

    ctx->balance.affinity = policy->affinity ? policy->affinity(r, model) : 0;

    ngx_http_llm_balance_sort(r, ctx, &candidates);

    for (n = 0; n < NGX_HTTP_LLM_SETS; n++) {

        set = &candidates.sets[n];
        forced = (n >= NGX_HTTP_LLM_SET_RESTING);

        while (*set) {

            i = forced ? ngx_http_llm_balance_rested(model, *set)
                       : (*set & (*set - 1)) ? policy->pick(r, model, *set)
                                             : (ngx_uint_t)
                                               __builtin_ctzll(*set);

            *set &= ~((uint64_t) 1 << i);

            if (forced
                && !ngx_http_llm_balance_free(ctx, &target[i],
                                              candidates.attempts)
                && ngx_llm_health_spend(lmcf->health, 1) != NGX_OK)
            {
                continue;
            }

            if (ngx_http_llm_balance_take(r, ctx, &target[i], forced)
                == NGX_OK)
            {
                return NGX_OK;
            }

            if (!forced) {

                /* somebody else has its probe, or its last place */

                candidates.sets[NGX_HTTP_LLM_SET_RESTING] |=
                                                         (uint64_t) 1 << i;
            }
        }
    }

    return NGX_DECLINED;
}


void
ngx_http_llm_balance_again(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (!ctx->balance.held) {
        (void) ngx_llm_health_record_acquire(
            ctx->balance.target->provider->health, 0);
        (void) ngx_llm_health_record_acquire(ctx->balance.target->health, 0);
        ctx->balance.held = 1;
    }
}


void
ngx_http_llm_balance_release(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->balance.held) {
        ngx_llm_health_record_release(ctx->balance.target->provider->health);
        ngx_llm_health_record_release(ctx->balance.target->health);
        ctx->balance.held = 0;
    }
}


ngx_uint_t
ngx_http_llm_balance_more(ngx_http_request_t *r)
{
    uint64_t                    rest;
    ngx_uint_t                  i;
    ngx_http_llm_ctx_t         *ctx;
    ngx_http_llm_target_t      *target;
    ngx_http_llm_main_conf_t   *lmcf;
    ngx_http_llm_candidates_t   candidates;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_balance_sort(r, ctx, &candidates);

    for (i = 0; i < NGX_HTTP_LLM_SET_RESTING; i++) {
        if (candidates.sets[i]) {
            return 1;
        }
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    target = ctx->charge->model->targets.elts;

    rest = candidates.sets[NGX_HTTP_LLM_SET_RESTING]
           | candidates.sets[NGX_HTTP_LLM_SET_FAILED];

    for ( /* void */ ; rest; rest &= rest - 1) {

        if (ngx_http_llm_balance_free(ctx, &target[__builtin_ctzll(rest)],
                                      candidates.attempts)
            || ngx_llm_health_spend(lmcf->health, 0) == NGX_OK)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_llm_balance_sort(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_candidates_t *candidates)
{
    uint64_t                  bit;
    ngx_msec_t                now;
    ngx_uint_t                i, set, before, rests;
    ngx_http_llm_target_t    *target;
    ngx_http_llm_provider_t  *provider;

    ngx_memzero(candidates, sizeof(ngx_http_llm_candidates_t));

    (void) ngx_http_llm_balance_attempts(ctx, &candidates->attempts);

    target = ctx->charge->model->targets.elts;
    now = ngx_current_msec;

    for (i = 0; i < ctx->charge->model->targets.nelts; i++) {

        bit = (uint64_t) 1 << i;
        provider = target[i].provider;

        if (!(ctx->balance.allowed & bit)) {
            continue;
        }

        if (ctx->balance.owner && !ngx_http_llm_balance_owns(ctx, provider)) {
            ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "llm balance: provider \"%V\" is passed over, "
                           "another one has the state", &provider->name);
            continue;
        }

        if (ngx_llm_health_record_state(provider->health, now)
            == NGX_LLM_HEALTH_DRAINED)
        {
            continue;
        }

        if (provider->max_concurrency
            && ngx_llm_health_record_inflight(provider->health)
               >= (ngx_uint_t) provider->max_concurrency
            && !(ctx->balance.held
                 && ctx->balance.target->provider == provider))
        {
            continue;
        }

        before = candidates->attempts
                 ? ngx_http_llm_balance_history(ctx, &target[i]) : 0;

        rests = ngx_http_llm_balance_rests(ctx, &target[i], now);

        if ((before & NGX_HTTP_LLM_NEXT_TIMEOUT)
            || ((before & NGX_HTTP_LLM_NEXT_CONDITIONS)
                && ngx_http_llm_balance_met(ctx, &target[i]))
            || (rests
                && ngx_http_llm_balance_credential(ctx, &target[i], now, 1)
                   == NULL))
        {
            /* never the same one after a timeout; no key it was not tried */
            continue;
        }

        if (before & ~(NGX_HTTP_LLM_NEXT_CREDENTIAL|NGX_HTTP_LLM_NEXT_429
                       |NGX_HTTP_LLM_NEXT_NOT_FOUND
                       |NGX_HTTP_LLM_NEXT_CONDITIONS
                       |NGX_CONF_BITMASK_SET))
        {
            set = NGX_HTTP_LLM_SET_FAILED;

        } else if (rests) {
            set = NGX_HTTP_LLM_SET_RESTING;

        } else {
            set = (target[i].backup ? NGX_HTTP_LLM_SET_BACKUP
                                    : NGX_HTTP_LLM_SET_FRESH)
                  + (before ? 1 : 0);
        }

        candidates->sets[set] |= bit;
    }
}


/* those of this pass: the last n there are */

static ngx_http_llm_attempt_t *
ngx_http_llm_balance_attempts(ngx_http_llm_ctx_t *ctx, ngx_uint_t *n)
{
    ngx_uint_t               i;
    ngx_http_llm_attempt_t  *attempt;

    attempt = ctx->charge->attempts.elts;

    for (i = ctx->charge->attempts.nelts; i > 0; i--) {
        if (attempt[i - 1].pass != ctx->charge->passes) {
            break;
        }
    }

    *n = ctx->charge->attempts.nelts - i;

    return attempt + i;
}


/* how its provider has failed in this pass; NGX_CONF_BITMASK_SET: was tried */

static ngx_uint_t
ngx_http_llm_balance_history(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target)
{
    ngx_uint_t               i, n, failures;
    ngx_http_llm_attempt_t  *attempt;

    attempt = ngx_http_llm_balance_attempts(ctx, &n);
    failures = 0;

    for (i = 0; i < n; i++) {
        if (attempt[i].provider == target->provider) {
            failures |= attempt[i].failure | NGX_CONF_BITMASK_SET;
        }
    }

    return failures;
}


/* Returns 1 if a response of the target has met a condition in this pass. */

static ngx_uint_t
ngx_http_llm_balance_met(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target)
{
    ngx_uint_t               i, n;
    ngx_http_llm_attempt_t  *attempt;

    attempt = ngx_http_llm_balance_attempts(ctx, &n);

    for (i = 0; i < n; i++) {
        if (attempt[i].target == target
            && (attempt[i].failure & NGX_HTTP_LLM_NEXT_CONDITIONS))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_llm_balance_rests(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_msec_t now)
{
    ngx_http_llm_provider_t  *provider;

    provider = target->provider;

    if (ngx_llm_health_record_left(provider->health, now)
        || ngx_llm_health_record_left(target->health, now)
        || ngx_http_llm_balance_credential(ctx, target, now, 0) == NULL)
    {
        return 1;
    }

    /* its address is being asked for */

    return provider->uscf == provider->block
           && ngx_llm_resolve_check(provider->resolve) == NGX_AGAIN;
}


/*
 * Returns 1 if one of the provider's keys made the state that the request
 * refers to.
 */

static ngx_uint_t
ngx_http_llm_balance_owns(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;

    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {
        if (credential[i].owner == ctx->balance.owner) {
            return 1;
        }
    }

    return 0;
}


/*
 * Returns a key that was not tried with the target, or NULL: the key that made
 * the state, the highest one by affinity, or the next one in turn.  any: also a
 * key in cooldown if there is no other.
 */

static ngx_http_llm_credential_t *
ngx_http_llm_balance_credential(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_msec_t now, ngx_uint_t any)
{
    uint64_t                    drawn, highest;
    ngx_uint_t                  i, n, turn;
    ngx_http_llm_credential_t  *credential, *best, *nearest;
    ngx_http_llm_provider_t    *provider;

    provider = target->provider;
    credential = provider->credentials.elts;
    n = provider->credentials.nelts;
    turn = provider->turn;
    best = NULL;
    nearest = NULL;
    highest = 0;

    for (i = 0; i < n; i++, turn++) {

        /* no more than n */

        turn = (turn < n) ? turn : 0;

        if (ngx_http_llm_balance_tried(ctx, target, &credential[turn])) {
            continue;
        }

        if (ctx->balance.owner
            && credential[turn].owner != ctx->balance.owner)
        {
            continue;
        }

        if (ngx_llm_health_record_left(credential[turn].health, now) == 0) {

            if (ctx->balance.affinity == 0) {
                return &credential[turn];
            }

            drawn = ngx_http_llm_draw(ctx->balance.affinity,
                                      credential[turn].owner);

            if (nearest == NULL || drawn > highest) {
                nearest = &credential[turn];
                highest = drawn;
            }

            continue;
        }

        if (any
            && (best == NULL
                || ngx_llm_health_record_failed_at(credential[turn].health)
                   < ngx_llm_health_record_failed_at(best->health)))
        {
            best = &credential[turn];
        }
    }

    return nearest ? nearest : best;
}


static ngx_uint_t
ngx_http_llm_balance_tried(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_http_llm_credential_t *credential)
{
    ngx_uint_t               i, n;
    ngx_http_llm_attempt_t  *attempt;

    attempt = ngx_http_llm_balance_attempts(ctx, &n);

    for (i = 0; i < n; i++) {
        if (attempt[i].target == target
            && attempt[i].credential == credential)
        {
            return 1;
        }
    }

    return 0;
}


/* of those that rest, the one whose last failure is the longest ago */

static ngx_uint_t
ngx_http_llm_balance_rested(ngx_http_llm_model_t *model, uint64_t set)
{
    ngx_uint_t              i, best;
    ngx_msec_t              failed, own, oldest;
    ngx_http_llm_target_t  *target;

    target = model->targets.elts;
    best = __builtin_ctzll(set);
    oldest = (ngx_msec_t) -1;

    for ( /* void */ ; set; set &= set - 1) {
        i = __builtin_ctzll(set);

        failed = ngx_llm_health_record_failed_at(target[i].provider->health);
        own = ngx_llm_health_record_failed_at(target[i].health);
        failed = ngx_max(failed, own);

        if (failed < oldest) {
            oldest = failed;
            best = i;
        }
    }

    return best;
}


/* NGX_OK: it is ours; NGX_BUSY: another request was faster */

static ngx_int_t
ngx_http_llm_balance_take(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_uint_t forced)
{
    ngx_msec_t                  now;
    ngx_http_llm_credential_t  *credential;
    ngx_http_llm_provider_t    *provider;

    now = ngx_current_msec;
    provider = target->provider;

    if (ngx_llm_health_record_acquire(provider->health,
                                      provider->max_concurrency)
        != NGX_OK)
    {
        return NGX_BUSY;
    }

    credential = NULL;

    if (forced || ngx_http_llm_balance_claim(ctx, target, now) == NGX_OK) {
        credential = ngx_http_llm_balance_credential(ctx, target, now, forced);
    }

    if (credential == NULL
        || (!forced && ngx_llm_health_record_probe(credential->health, now)
                       == NGX_BUSY))
    {
        ngx_llm_health_record_release(provider->health);
        return NGX_BUSY;
    }

    (void) ngx_llm_health_record_acquire(target->health, 0);

    provider->turn = (credential - (ngx_http_llm_credential_t *)
                                   provider->credentials.elts) + 1;

    ctx->balance.target = target;
    ctx->balance.credential = credential;
    ctx->balance.held = 1;
    ctx->balance.forced = forced;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm balance: provider \"%V\", model \"%V\", key %ui%s",
                   &provider->name, &target->model, provider->turn - 1,
                   forced ? ", although it rests" : "");

    return NGX_OK;
}


/* the probe, where provider or target are to be probed */

static ngx_int_t
ngx_http_llm_balance_claim(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_msec_t now)
{
    if (ngx_llm_health_record_probe(target->provider->health, now) == NGX_BUSY
        || ngx_llm_health_record_probe(target->health, now) == NGX_BUSY)
    {
        return NGX_BUSY;
    }

    return NGX_OK;
}


/*
 * An attempt beyond the first one on a provider whose breaker is open counts
 * against the retry budget; but the first switch away from one that has just
 * died is free.
 */

static ngx_uint_t
ngx_http_llm_balance_free(ngx_http_llm_ctx_t *ctx,
    ngx_http_llm_target_t *target, ngx_uint_t attempts)
{
    return attempts == 0 || (attempts == 1 && !ctx->balance.forced)
           || !ngx_llm_health_record_open(target->provider->health);
}
