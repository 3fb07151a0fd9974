/*
 * Settles the charge of a client request, once: as soon as its response is
 * complete, otherwise when r->main is destroyed.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include "ngx_http_llm_flow_state.h"
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_endpoint.h>
#include <ngx_http_llm_relay.h>
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_copy.h>


static ngx_int_t ngx_http_llm_settle_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_settle_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_int_t ngx_http_llm_settle_closed(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_chain_t *in);
static void ngx_http_llm_settle_charge(ngx_http_llm_charge_t *charge);
static void ngx_http_llm_settle_end(ngx_http_llm_charge_t *charge);


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

            ctx = ngx_http_llm_charge_ctx(r);
            if (ctx == NULL) {
                return NGX_ERROR;
            }

            if (ctx->charge->operation == NULL) {
                ctx->charge->operation = ngx_http_llm_route_operation(r);
            }
        }

        if (!llcf->pass) {
            ngx_http_llm_cache_store_begin(r, ctx);
        }
    }

    return ngx_http_llm_next_header_filter(r);
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
        || (ctx->charge->quota.reserve.hold == NULL && !ctx->copy.active))
    {
        return ngx_http_llm_next_body_filter(r, in);
    }

    if (ctx->meter.active) {
        ngx_http_llm_copy_chain(r, ctx, in);
    }

    last = 0;

    for (cl = in; cl; cl = cl->next) {
        last |= cl->buf->last_buf;
    }

    if (last) {

        if (ctx->meter.active) {
            ngx_http_llm_cache_store_end(r, ctx);
        }

        ngx_http_llm_settle_charge(ctx->charge);

    } else {

        /* the client may have the whole body before the last buffer is sent */

        ngx_http_llm_cost_progress(ctx->charge);
    }

    return ngx_http_llm_next_body_filter(r, in);
}


/*
 * Passes the last buffer of a response that its last event has ended, and drops
 * the output of nginx that follows.  The addition filter sends another last
 * buffer while the first one is being passed.
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
    ngx_http_llm_cost_bound(charge);

    if (charge->settled || charge->quota.reserve.nclaims == 0) {
        return;
    }

    charge->settled = 1;

    ngx_http_llm_cost_settle(charge, ngx_http_llm_cost(charge));
    ngx_http_llm_cost_learn(charge);
}


ngx_int_t
ngx_http_llm_settle_post_action(ngx_http_request_t *r)
{
    ngx_http_llm_charge_t  *charge;

    if (!r->post_action) {
        return NGX_DECLINED;
    }

    charge = ngx_http_llm_charge_find(r);

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

    ngx_http_llm_cache_wait_done(charge->request, ctx);
    ngx_http_llm_state_done(ctx);
    ngx_http_llm_peer_done(ctx);
    ngx_http_llm_ping_stop(ctx);
    ngx_http_llm_meter_done(charge->request, charge);

    if (ctx->copy.active) {
        ngx_http_llm_copy_drop(charge->request, ctx, "partial");
    }

    ngx_http_llm_cache_release(charge->request, charge);
    ngx_http_llm_settle_charge(charge);
    ngx_http_llm_metrics_add(charge->request, charge);
}


/* the access log comes next, and finds the charge by the ctx only */

void
ngx_http_llm_settle_cleanup(void *data)
{
    ngx_http_llm_charge_t  *charge = data;

    if (!charge->ended) {
        ngx_http_llm_settle_end(charge);
    }

    ngx_http_set_ctx(charge->request, charge->ctx, ngx_http_llm_module);
}
