/*
 * State lives where it was made: a request with previous_response_id or
 * conversation goes to the provider and the key that made the response or the
 * conversation.  Admission looks them up, in shared memory and then in the
 * Redis of llm_redis; a successful response of the Responses API stores them.
 * An id that is unknown, or whose provider is no candidate any more, chooses
 * target and key by its hash.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_state.h"
#include <ngx_llm_state_id.h>


/*
 * Another node sends an id to Redis when it sends the response to its client,
 * so that the client's next request may be faster: an absent id is looked up
 * again after these milliseconds, each twice the one before.
 */
#define NGX_HTTP_LLM_STATE_AGAIN  10
#define NGX_HTTP_LLM_STATE_CALLS  4

#define NGX_HTTP_LLM_STATE_HEX  16       /* digits of an owner in Redis */
#define NGX_HTTP_LLM_STATE_TTL                                                \
    ((ngx_msec_t) NGX_LLM_STATE_TABLE_TTL * 1000)


static void ngx_http_llm_state_key(ngx_http_llm_main_conf_t *lmcf,
    ngx_str_t *id, u_char *key);
static void ngx_http_llm_state_own(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, uint64_t owner);
static ngx_int_t ngx_http_llm_state_ask(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, const u_char *key);
static void ngx_http_llm_state_answered(void *data, ngx_int_t rc,
    ngx_str_t *value);
static void ngx_http_llm_state_again(ngx_event_t *ev);
static void ngx_http_llm_state_resume(ngx_http_llm_state_wait_t *wait,
    uint64_t owner);
static uint64_t ngx_http_llm_state_parse(ngx_str_t *value);
static void ngx_http_llm_state_put(ngx_http_request_t *r, ngx_str_t *id,
    uint64_t owner);


ngx_int_t
ngx_http_llm_state(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    u_char                     key[NGX_LLM_STATE_TABLE_KEY];
    uint64_t                   owner;
    ngx_str_t                  id;
    ngx_llm_facts_t           *facts;
    ngx_http_llm_main_conf_t  *lmcf;

    if (!ctx->stateful || ctx->charge->model == NULL || ctx->state_wait) {
        return NGX_OK;
    }

    facts = &ctx->charge->facts;
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ngx_llm_state_id(ctx->view.data + facts->state_pos, facts->state_size,
                     &id);

    if (id.len == 0) {
        return NGX_OK;
    }

    ngx_http_llm_state_key(lmcf, &id, key);

    owner = ngx_llm_state_table_get(lmcf->state.table, key);

    if (owner == 0 && lmcf->state.fleet && ngx_http_llm_is_client(r)) {
        return ngx_http_llm_state_ask(r, ctx, key);
    }

    ngx_http_llm_state_own(r, ctx, owner);

    return NGX_OK;
}


/* Computes the key of an id: Redis and the zone have no ids of clients. */

static void
ngx_http_llm_state_key(ngx_http_llm_main_conf_t *lmcf, ngx_str_t *id,
    u_char *key)
{
    ngx_llm_digest_mac(lmcf->state.digest, &lmcf->state.own);
    ngx_llm_digest_add_text(lmcf->state.digest, id);
    ngx_llm_digest_mac_end(lmcf->state.digest, key);
}


/* Binds the request to the owner if the owner is one of its candidates. */

static void
ngx_http_llm_state_own(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    uint64_t owner)
{
    ngx_uint_t                  i, n;
    ngx_http_llm_model_t       *model;
    ngx_http_llm_target_t      *target;
    ngx_http_llm_credential_t  *credential;

    ctx->balance.owner = 0;

    model = ctx->charge->model;
    target = model->targets.elts;

    for (i = 0; owner && i < model->targets.nelts; i++) {

        if (!(ctx->balance.allowed & (uint64_t) 1 << i)) {
            continue;
        }

        credential = target[i].provider->credentials.elts;

        for (n = 0; n < target[i].provider->credentials.nelts; n++) {

            if (credential[n].owner == owner) {
                ctx->balance.owner = owner;

                ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                               "llm state: made by provider \"%V\", key %ui",
                               &target[i].provider->name, n);
                return;
            }
        }
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm state: %s, target and key are chosen by hash",
                   owner ? "its provider is not a candidate"
                         : "its provider is unknown");
}


static ngx_int_t
ngx_http_llm_state_ask(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    const u_char *key)
{
    ngx_http_llm_main_conf_t   *lmcf;
    ngx_http_llm_state_wait_t  *wait;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    wait = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_state_wait_t));
    if (wait == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    wait->request = r;
    wait->calls = 1;
    ngx_memcpy(wait->key, key, NGX_LLM_STATE_TABLE_KEY);

    wait->timer.handler = ngx_http_llm_state_again;
    wait->timer.data = wait;
    wait->timer.log = r->connection->log;

    wait->ask.handler = ngx_http_llm_state_answered;
    wait->ask.data = wait;

    ctx->state_wait = wait;

    if (ngx_llm_cache_fleet_get(lmcf->state.fleet, key, &wait->ask)
        != NGX_AGAIN)
    {
        ngx_http_llm_state_own(r, ctx, 0);
        return NGX_OK;
    }

    wait->waiting = 1;
    ngx_http_llm_suspend(r);

    return NGX_AGAIN;
}


static void
ngx_http_llm_state_answered(void *data, ngx_int_t rc, ngx_str_t *value)
{
    ngx_http_llm_state_wait_t  *wait = data;

    if (rc == NGX_DECLINED && wait->calls < NGX_HTTP_LLM_STATE_CALLS) {
        ngx_add_timer(&wait->timer,
                      NGX_HTTP_LLM_STATE_AGAIN << (wait->calls - 1));
        return;
    }

    ngx_http_llm_state_resume(wait, rc == NGX_OK
                                    ? ngx_http_llm_state_parse(value) : 0);
}


static void
ngx_http_llm_state_again(ngx_event_t *ev)
{
    ngx_http_llm_state_wait_t  *wait = ev->data;

    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(wait->request, ngx_http_llm_module);

    wait->calls++;

    if (ngx_llm_cache_fleet_get(lmcf->state.fleet, wait->key, &wait->ask)
        != NGX_AGAIN)
    {
        ngx_http_llm_state_resume(wait, 0);
    }
}


/* Goes on with admission; the step does not run a second look-up. */

static void
ngx_http_llm_state_resume(ngx_http_llm_state_wait_t *wait, uint64_t owner)
{
    ngx_http_llm_ctx_t  *ctx;
    ngx_http_request_t  *r;

    r = wait->request;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    wait->waiting = 0;

    ngx_http_set_log_request(r->connection->log, r);

    ngx_http_llm_state_own(r, ctx, owner);
    ngx_http_llm_resume(r);
}


/* Returns the owner, or 0 if the value was not written by this module. */

static uint64_t
ngx_http_llm_state_parse(ngx_str_t *value)
{
    ngx_int_t  high, low;

    if (value->len != NGX_HTTP_LLM_STATE_HEX) {
        return 0;
    }

    high = ngx_hextoi(value->data, NGX_HTTP_LLM_STATE_HEX / 2);
    low = ngx_hextoi(value->data + NGX_HTTP_LLM_STATE_HEX / 2,
                     NGX_HTTP_LLM_STATE_HEX / 2);

    if (high == NGX_ERROR || low == NGX_ERROR) {
        return 0;
    }

    return (uint64_t) (uint32_t) high << 32 | (uint32_t) low;
}


void
ngx_http_llm_state_done(ngx_http_llm_ctx_t *ctx)
{
    if (ctx->state_wait && ctx->state_wait->waiting) {
        ctx->state_wait->waiting = 0;
        ngx_llm_cache_fleet_cancel(&ctx->state_wait->ask);

        if (ctx->state_wait->timer.timer_set) {
            ngx_del_timer(&ctx->state_wait->timer);
        }
    }
}


void
ngx_http_llm_state_made(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *body, size_t len)
{
    uint64_t                owner;
    ngx_str_t               id;
    ngx_llm_facts_t        *facts;
    ngx_llm_state_ids_t     ids;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;

    if (charge->operation->api != &ngx_llm_api_responses
        || ctx->response.status.code >= 300 || ctx->judge.substitute.data
        || ctx->response.coded)
    {
        return;
    }

    owner = ctx->balance.credential->owner;

    ngx_llm_state_ids(body, len, &ids);

    if (ids.response.len) {
        ngx_http_llm_state_put(r, &ids.response, owner);
    }

    if (ids.conversation.len) {
        ngx_http_llm_state_put(r, &ids.conversation, owner);
    }

    if (!ctx->stateful || ctx->balance.owner == owner) {
        return;
    }

    /* the provider has accepted an id that was unknown here */

    facts = &charge->facts;

    ngx_llm_state_id(ctx->view.data + facts->state_pos, facts->state_size,
                     &id);

    if (id.len
        && (id.len != ids.conversation.len
            || ngx_memcmp(id.data, ids.conversation.data, id.len) != 0))
    {
        ngx_http_llm_state_put(r, &id, owner);
    }
}


static void
ngx_http_llm_state_put(ngx_http_request_t *r, ngx_str_t *id, uint64_t owner)
{
    u_char                     key[NGX_LLM_STATE_TABLE_KEY];
    u_char                     hex[NGX_HTTP_LLM_STATE_HEX];
    ngx_str_t                  value;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ngx_http_llm_state_key(lmcf, id, key);
    ngx_llm_state_table_put(lmcf->state.table, key, owner);

    if (lmcf->state.fleet) {
        value.data = hex;
        value.len = ngx_sprintf(hex, "%08xD%08xD", (uint32_t) (owner >> 32),
                                (uint32_t) owner)
                    - hex;

        ngx_llm_cache_fleet_put(lmcf->state.fleet, key, &value,
                                NGX_HTTP_LLM_STATE_TTL);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm state: an id is kept for its provider%s",
                   lmcf->state.fleet ? ", in Redis too" : "");
}
