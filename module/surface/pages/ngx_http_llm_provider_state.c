/*
 * The state of a provider for the status page and the metrics: one word from
 * its health record and the records of its keys.  Without llm_pass there are no
 * records, and the state is "up".
 */


#include "ngx_http_llm_provider_state.h"


static ngx_llm_health_state_e ngx_http_llm_provider_state_credentials_state(
    ngx_http_llm_provider_t *provider, ngx_msec_t now);
static ngx_msec_t ngx_http_llm_provider_state_credentials_left(
    ngx_http_llm_provider_t *provider, ngx_msec_t now);


ngx_llm_health_state_e
ngx_http_llm_provider_state(ngx_http_llm_provider_t *provider)
{
    ngx_msec_t              now;
    ngx_llm_health_state_e  own, keys;

    if (provider->health == NULL) {
        return NGX_LLM_HEALTH_UP;
    }

    now = ngx_current_msec;
    own = ngx_llm_health_record_state(provider->health, now);
    keys = ngx_http_llm_provider_state_credentials_state(provider, now);

    return ngx_max(own, keys);
}


/* Returns the best state of all keys, since one key is enough. */

static ngx_llm_health_state_e
ngx_http_llm_provider_state_credentials_state(ngx_http_llm_provider_t *provider,
    ngx_msec_t now)
{
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;
    ngx_llm_health_state_e      state, best;

    credential = provider->credentials.elts;
    best = ngx_llm_health_record_state(credential[0].health, now);

    for (i = 1; i < provider->credentials.nelts; i++) {
        state = ngx_llm_health_record_state(credential[i].health, now);
        best = ngx_min(best, state);
    }

    return best;
}


ngx_msec_t
ngx_http_llm_provider_state_left(ngx_http_llm_provider_t *provider)
{
    ngx_msec_t  now, own, keys;

    if (provider->health == NULL) {
        return 0;
    }

    now = ngx_current_msec;
    own = ngx_llm_health_record_left(provider->health, now);
    keys = ngx_http_llm_provider_state_credentials_left(provider, now);

    return ngx_max(own, keys);
}


/* Returns the time until the first key may be used, ms. */

static ngx_msec_t
ngx_http_llm_provider_state_credentials_left(ngx_http_llm_provider_t *provider,
    ngx_msec_t now)
{
    ngx_msec_t                  left, least;
    ngx_uint_t                  i;
    ngx_http_llm_credential_t  *credential;

    credential = provider->credentials.elts;
    least = ngx_llm_health_record_left(credential[0].health, now);

    for (i = 1; i < provider->credentials.nelts; i++) {
        left = ngx_llm_health_record_left(credential[i].health, now);
        least = ngx_min(least, left);
    }

    return least;
}


ngx_uint_t
ngx_http_llm_provider_state_cooldowns(ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i, n;
    ngx_http_llm_credential_t  *credential;

    if (provider->health == NULL) {
        return 0;
    }

    n = ngx_llm_health_record_cooldowns(provider->health);
    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {
        n += ngx_llm_health_record_cooldowns(credential[i].health);
    }

    return n;
}


ngx_uint_t
ngx_http_llm_provider_state_inflight(ngx_http_llm_provider_t *provider)
{
    return provider->health
           ? ngx_llm_health_record_inflight(provider->health) : 0;
}


const char *
ngx_http_llm_provider_state_name(ngx_llm_health_state_e state)
{
    static const char  *names[] = { "up", "probing", "cooling", "drained" };

    return names[state];
}
