/*
 * The charge of a client request: made once, found again after an internal
 * redirect has wiped every module's ctx, and still readable in the access log,
 * where r->cleanup is gone.
 */


#include <ngx_http_llm_flow.h>


static ngx_http_llm_charge_t *ngx_http_llm_charge_create(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_charge_init(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);


ngx_http_llm_ctx_t *
ngx_http_llm_charge_ctx(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t     *ctx;
    ngx_http_llm_charge_t  *charge;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx && ctx->charge) {
        return ctx;
    }

    if (ngx_http_llm_is_client(r)) {
        charge = ngx_http_llm_charge_find(r);

        if (charge == NULL) {
            charge = ngx_http_llm_charge_create(r);
        }

    } else {
        charge = ngx_palloc(r->pool, sizeof(ngx_http_llm_charge_t));

        if (charge && ngx_http_llm_charge_init(r, charge) != NGX_OK) {
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
        /* separate: in the pool it would need another block of 4 KiB */

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
ngx_http_llm_charge_find(ngx_http_request_t *r)
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
ngx_http_llm_charge_create(ngx_http_request_t *r)
{
    ngx_http_cleanup_t     *cln;
    ngx_http_llm_charge_t  *charge;

    cln = ngx_http_cleanup_add(r, sizeof(ngx_http_llm_charge_t));
    if (cln == NULL) {
        return NULL;
    }

    charge = cln->data;

    if (ngx_http_llm_charge_init(r, charge) != NGX_OK) {
        return NULL;
    }

    cln->handler = ngx_http_llm_settle_cleanup;

    return charge;
}


static ngx_int_t
ngx_http_llm_charge_init(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_memzero(charge, offsetof(ngx_http_llm_charge_t, facts));
    ngx_llm_facts_init(&charge->facts);

    charge->request = r;
    charge->start = ngx_current_msec;

    return ngx_array_init(&charge->attempts, r->pool, 1,
                          sizeof(ngx_http_llm_attempt_t));
}
