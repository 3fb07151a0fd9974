/*
 * The charge of a client request: made once, found again after an internal
 * redirect has wiped every module's ctx, and still readable in the access log,
 * where r->cleanup is gone.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_endpoint.h>
#include <ngx_http_llm_relay.h>
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_copy.h>


static ngx_int_t ngx_http_llm_settle_header_filter(ngx_http_request_t *r);
static ngx_http_llm_charge_t *ngx_http_llm_settle_create(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_settle_init(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_settle_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_llm_settle_closed(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_chain_t *in);
static void ngx_http_llm_settle_charge(ngx_http_llm_charge_t *charge);
static void ngx_http_llm_settle_end(ngx_http_llm_charge_t *charge);
static void ngx_http_llm_settle_cleanup(void *data);


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_llm_next_body_filter;


ngx_int_t
ngx_http_llm_settle_filter(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_settle_header_filter;

    ngx_http_llm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_llm_settle_body_filter;

    return NGX_OK;
}


/*
 * An answer that leaves one of our locations without having been admitted,
 * refused by another module before: a client request as well.
 */

static ngx_int_t
ngx_http_llm_settle_header_filter(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (r == r->main && ngx_http_llm_ours(llcf) && llcf->page == NULL) {

        ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

        if (ctx == NULL || ctx->charge == NULL) {

            ctx = ngx_http_llm_settle_ctx(r);
            if (ctx == NULL) {
                return NGX_ERROR;
            }

            if (ctx->charge->operation == NULL) {
                ctx->charge->operation = ngx_http_llm_route_operation(r);
            }
        }

        if (!llcf->pass) {
            ngx_http_llm_keep_begin(r, ctx);
        }
    }

    return ngx_http_llm_next_header_filter(r);
}


ngx_http_llm_ctx_t *
ngx_http_llm_settle_ctx(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t     *ctx;
    ngx_http_llm_charge_t  *charge;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx && ctx->charge) {
        return ctx;
    }

    if (ngx_http_llm_is_client(r)) {
        charge = ngx_http_llm_settle_find(r);

        if (charge == NULL) {
            charge = ngx_http_llm_settle_create(r);
        }

    } else {
        charge = ngx_palloc(r->pool, sizeof(ngx_http_llm_charge_t));

        if (charge && ngx_http_llm_settle_init(r, charge) != NGX_OK) {
            return NULL;
        }

        if (charge) {
            charge->aside = 1;
        }
    }

    if (charge == NULL) {
        return NULL;
    }

    if (ctx == NULL) {
        /* of its own: with it the pool would need one more block of 4 KiB */

        ctx = ngx_pmemalign(r->pool, sizeof(ngx_http_llm_ctx_t),
                            NGX_POOL_ALIGNMENT);
        if (ctx == NULL) {
            return NULL;
        }

        ngx_memzero(ctx, sizeof(ngx_http_llm_ctx_t));
        ngx_http_set_ctx(r, ctx, ngx_http_llm_module);
    }

    ctx->charge = charge;
    charge->ctx = ctx;

    /* what the pass before has left is not this one's */

    charge->error.fault = NGX_HTTP_LLM_OK;
    charge->kept.status = 0;
    charge->kept.use = 0;
    charge->bad_answer = 0;

    return ctx;
}


ngx_http_llm_charge_t *
ngx_http_llm_settle_find(ngx_http_request_t *r)
{
    ngx_http_cleanup_t  *cln;
    ngx_http_llm_ctx_t  *ctx;

    r = r->main;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx && ctx->charge && !ctx->charge->aside) {
        return ctx->charge;
    }

    for (cln = r->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_llm_settle_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static ngx_http_llm_charge_t *
ngx_http_llm_settle_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t     *cln;
    ngx_http_llm_charge_t  *charge;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_llm_charge_t));
    if (cln == NULL) {
        return NULL;
    }

    charge = cln->data;

    if (ngx_http_llm_settle_init(r, charge) != NGX_OK) {
        return NULL;
    }

    cln->handler = ngx_http_llm_settle_cleanup;

    return charge;
}


static ngx_int_t
ngx_http_llm_settle_init(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_memzero(charge, offsetof(ngx_http_llm_charge_t, facts));
    ngx_llm_facts_init(&charge->facts);

    charge->request = r;
    charge->start = ngx_current_msec;

    return ngx_array_init(&charge->attempts, r->pool, 1,
                          sizeof(ngx_http_llm_attempt_t));
}


/*
 * Settles as soon as the response is complete, so that a slow client or
 * lingering close holds no quota and no slot.
 */

static ngx_int_t
ngx_http_llm_settle_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_uint_t           last;
    ngx_chain_t         *cl;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx && ctx->relay.closed && r == r->main) {
        return ngx_http_llm_settle_closed(r, ctx, in);
    }

    if (ctx == NULL || ctx->charge == NULL || r != r->main
        || (ctx->charge->quota.reserve.hold == NULL && !ctx->tee.active))
    {
        return ngx_http_llm_next_body_filter(r, in);
    }

    if (ctx->meter.active) {
        ngx_http_llm_tee_chain(r, ctx, in);
    }

    last = 0;

    for (cl = in; cl; cl = cl->next) {
        last |= cl->buf->last_buf;
    }

    if (last) {

        if (ctx->meter.active) {
            ngx_http_llm_keep_end(r, ctx);
        }

        ngx_http_llm_settle_charge(ctx->charge);

    } else {

        /* the client may have all of it before the last buffer comes */

        ngx_http_llm_amount_progress(ctx->charge);
    }

    return ngx_http_llm_next_body_filter(r, in);
}


/*
 * Passes the last buffer of a response that its last event has ended, and drops
 * the output of nginx that comes after it.  The addition filter sends a last
 * buffer of its own while the first one is being passed.
 */

static ngx_int_t
ngx_http_llm_settle_closed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_chain_t *in)
{
    ngx_int_t     rc;
    ngx_uint_t    last;
    ngx_chain_t  *cl;

    if (ctx->relay.ended) {
        return ngx_http_llm_next_body_filter(r, NULL);
    }

    last = 0;

    for (cl = in; cl; cl = cl->next) {
        last |= cl->buf->last_buf;
    }

    if (last && ctx->charge->quota.reserve.hold) {
        ngx_http_llm_settle_charge(ctx->charge);
    }

    rc = ngx_http_llm_next_body_filter(r, in);

    ctx->relay.ended |= last;

    return rc;
}


static void
ngx_http_llm_settle_charge(ngx_http_llm_charge_t *charge)
{
    if (charge->settled || charge->quota.reserve.nclaims == 0) {
        return;
    }

    charge->settled = 1;

    ngx_http_llm_amount_settle(charge, ngx_http_llm_amount_cost(charge));
    ngx_http_llm_amount_learn(charge);
}


ngx_int_t
ngx_http_llm_settle_post_action(ngx_http_request_t *r)
{
    ngx_http_llm_charge_t  *charge;

    if (!r->post_action) {
        return NGX_DECLINED;
    }

    charge = ngx_http_llm_settle_find(r);

    if (charge && !charge->ended) {

        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm request ends before post_action");

        ngx_http_llm_settle_end(charge);
    }

    return NGX_DECLINED;
}


/*
 * Ends the client request: after this, no timer, queue or call of Redis refers
 * to it.  An aborted request may have been waiting.
 */

static void
ngx_http_llm_settle_end(ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = charge->ctx;
    charge->ended = 1;

    ngx_http_llm_fetch_done(charge->request, ctx);
    ngx_http_llm_peer_done(ctx);
    ngx_http_llm_ping_stop(ctx);
    ngx_http_llm_meter_done(charge->request, charge);

    if (ctx->tee.active) {
        ngx_http_llm_tee_drop(ctx, "partial");
    }

    ngx_http_llm_land(charge->request, charge);
    ngx_http_llm_settle_charge(charge);
    ngx_http_llm_count(charge->request, charge);
}


/* the access log comes next, and finds the charge by the ctx only */

static void
ngx_http_llm_settle_cleanup(void *data)
{
    ngx_http_llm_charge_t  *charge = data;

    if (!charge->ended) {
        ngx_http_llm_settle_end(charge);
    }

    ngx_http_set_ctx(charge->request, charge->ctx, ngx_http_llm_module);
}
