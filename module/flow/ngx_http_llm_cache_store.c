/*
 * Stores responses in the cache: complete responses with status 200 of targets
 * that are not backups, in a form that this module reads.  A document that is
 * held complete before its header is sent is stored before the header, so that
 * Cache-Status says "stored"; any other response is stored at its end.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include <ngx_http_llm_copy.h>


static const char *ngx_http_llm_cache_store_refused(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_cache_store_put(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_entry_t *entry);


void
ngx_http_llm_cache_store_begin(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    const char  *why;

    if (!ctx->charge->cache.write) {
        return;
    }

    why = ngx_http_llm_cache_store_refused(r, ctx);

    if (why) {
        ngx_http_llm_copy_drop(r, ctx, why);
        ngx_http_llm_cache_release(r, ctx->charge);
        return;
    }

    ngx_http_llm_copy_start(ctx);
}


static const char *
ngx_http_llm_cache_store_refused(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (!llcf->pass) {

        if (r->headers_out.status != NGX_HTTP_OK) {
            return "status";
        }

        if (ctx->charge->answer == NULL) {
            return "unread";
        }

        /* a part that the range filter has cut out may look whole */

        if (r->headers_in.range && r->allow_ranges) {
            return "partial";
        }

        return ngx_http_llm_copy_refused(&r->headers_out.headers);
    }

    if (ctx->response.status.code != NGX_HTTP_OK) {
        return "status";
    }

    if (ctx->judge.substitute.data) {
        return "error";
    }

    if (ctx->charge->answer == NULL) {
        return "unread";
    }

    if (ctx->upstream.target->backup) {
        return "backup";
    }

    /*
     * with llm_pass, Set-Cookie and Cache-Control come from the edge of the
     * provider, which adds them to every response
     */

    return llcf->cache.honor
           ? ngx_http_llm_copy_refused(&r->upstream->headers_in.headers)
           : NULL;
}


void
ngx_http_llm_cache_store_whole(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *body, size_t len)
{
    ngx_llm_entry_t  entry;

    if (!ctx->copy.active) {
        return;
    }

    ngx_memzero(&entry, sizeof(ngx_llm_entry_t));

    entry.stream = ctx->response.stream;
    entry.body.data = body;
    entry.body.len = len;

    ngx_http_llm_cache_store_put(r, ctx, &entry);
}


void
ngx_http_llm_cache_store_end(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_llm_entry_t         entry;
    ngx_http_llm_charge_t  *charge;

    charge = ctx->charge;

    if (ctx->copy.active) {

        if (charge->end != NGX_HTTP_LLM_END_COMPLETE
            && charge->end != NGX_HTTP_LLM_END_DRAINED)
        {
            ngx_http_llm_copy_drop(r, ctx,
                                   charge->end == NGX_HTTP_LLM_END_ERROR
                                   ? "error" : "partial");

        } else if (charge->answer == NULL) {

            /* the body is of another kind than its Content-Type */

            ngx_http_llm_copy_drop(r, ctx, "unread");

        } else {
            ngx_memzero(&entry, sizeof(ngx_llm_entry_t));

            entry.stream = charge->stream;
            entry.body.data = ctx->copy.data;
            entry.body.len = ctx->copy.len;

            ngx_http_llm_cache_store_put(r, ctx, &entry);
        }
    }

    ngx_http_llm_cache_release(r, charge);
}


static void
ngx_http_llm_cache_store_put(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_entry_t *entry)
{
    u_char                   finish[NGX_LLM_FINISH_REASON];
    ngx_http_llm_charge_t   *charge;
    ngx_http_llm_attempt_t  *attempt;

    charge = ctx->charge;

    if (ngx_http_llm_copy_prove(r, ctx, entry, finish) == NGX_OK) {

        if (!ctx->include_usage
            && charge->facts.include_usage != NGX_LLM_USAGE_TRUE)
        {
            /* the provider sends usage unasked: it is part of the response */
            entry->usage_len = 0;
        }

        entry->cost = ngx_http_llm_cost_price(charge, &entry->usage);
        entry->type = ctx->meter.active ? r->headers_out.content_type
                                        : ctx->response.content_type;

        if (charge->attempts.nelts) {
            attempt = charge->attempts.elts;
            attempt += charge->attempts.nelts - 1;

            entry->provider = attempt->provider->name;
            entry->model = attempt->model;
        }

        (void) ngx_http_llm_copy_store(r, ctx, entry);
    }

    /* waiting requests find the entry, or go to a provider */

    ngx_http_llm_cache_release(r, charge);
}
