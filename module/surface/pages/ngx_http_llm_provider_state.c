/*
 * A provider as an operator sees it: its own record and those of its keys in
 * one word.  Where there is no llm_pass there are no records, and all is well.
 */


#include "ngx_http_llm_provider_state.h"


static ngx_llm_health_state_e ngx_http_llm_provider_keys_state(
    ngx_http_llm_provider_t *provider, ngx_msec_t now);
static ngx_msec_t ngx_http_llm_provider_keys_left(
    ngx_http_llm_provider_t *provider, ngx_msec_t now);


ngx_llm_health_state_e
ngx_http_llm_provider_state(ngx_http_llm_provider_t *provider)
{
    ngx_msec_t              now;
    ngx_llm_health_state_e  own, keys;

    if (provider->vital == NULL) {
        return NGX_LLM_HEALTH_UP;
    }

    now = ngx_current_msec;
    own = ngx_llm_vital_state(provider->vital, now);
    keys = ngx_http_llm_provider_keys_state(provider, now);

    return ngx_max(own, keys);
}


/* of the best of them: one is enough */

static ngx_llm_health_state_e
ngx_http_llm_provider_keys_state(ngx_http_llm_provider_t *provider,
    ngx_msec_t now)
{
    ngx_uint_t              i;
    ngx_http_llm_key_t     *key;
    ngx_llm_health_state_e  state, best;

    key = provider->keys.elts;
    best = ngx_llm_vital_state(key[0].vital, now);

    for (i = 1; i < provider->keys.nelts; i++) {
        state = ngx_llm_vital_state(key[i].vital, now);
        best = ngx_min(best, state);
    }

    return best;
}


ngx_msec_t
ngx_http_llm_provider_left(ngx_http_llm_provider_t *provider)
{
    ngx_msec_t  now, own, keys;

    if (provider->vital == NULL) {
        return 0;
    }

    now = ngx_current_msec;
    own = ngx_llm_vital_left(provider->vital, now);
    keys = ngx_http_llm_provider_keys_left(provider, now);

    return ngx_max(own, keys);
}


/* until the first of them may be used */

static ngx_msec_t
ngx_http_llm_provider_keys_left(ngx_http_llm_provider_t *provider,
    ngx_msec_t now)
{
    ngx_msec_t           left, least;
    ngx_uint_t           i;
    ngx_http_llm_key_t  *key;

    key = provider->keys.elts;
    least = ngx_llm_vital_left(key[0].vital, now);

    for (i = 1; i < provider->keys.nelts; i++) {
        left = ngx_llm_vital_left(key[i].vital, now);
        least = ngx_min(least, left);
    }

    return least;
}


ngx_uint_t
ngx_http_llm_provider_cooldowns(ngx_http_llm_provider_t *provider)
{
    ngx_uint_t           i, n;
    ngx_http_llm_key_t  *key;

    if (provider->vital == NULL) {
        return 0;
    }

    n = ngx_llm_vital_cooldowns(provider->vital);
    key = provider->keys.elts;

    for (i = 0; i < provider->keys.nelts; i++) {
        n += ngx_llm_vital_cooldowns(key[i].vital);
    }

    return n;
}


ngx_uint_t
ngx_http_llm_provider_inflight(ngx_http_llm_provider_t *provider)
{
    return provider->vital ? ngx_llm_vital_inflight(provider->vital) : 0;
}


const char *
ngx_http_llm_state_name(ngx_llm_health_state_e state)
{
    static const char  *names[] = { "up", "probing", "cooling", "drained" };

    return names[state];
}
