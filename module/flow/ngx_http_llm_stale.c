/*
 * llm_cache_stale_if_error: a stale entry of the cache instead of an error.  If
 * no attempt was made, the entry is replayed.  If attempts have failed, nginx
 * makes an error page, which the filters of ngx_http_llm_error.c replace by
 * the entry.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"
#include <ngx_http_llm_copy.h>


static void ngx_http_llm_stale_use(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);


ngx_uint_t
ngx_http_llm_stale_wanted(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_uint_t status)
{
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_cache_charge_t  *cache;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    return cache->entry && !cache->replayed && llcf->cache.stale
           && ngx_http_llm_is_client(r) && !ctx->drain.active
           && (status == NGX_HTTP_TOO_MANY_REQUESTS || status >= 500);
}


ngx_int_t
ngx_http_llm_stale_replay(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_stale_use(r, ctx);

    return ngx_http_llm_replay(r);
}


ngx_int_t
ngx_http_llm_stale_keep(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    off_t                 size;
    u_char               *p;
    ngx_chain_t          *cl;
    ngx_http_llm_kept_t   kept;

    ngx_memzero(&kept, sizeof(ngx_http_llm_kept_t));

    if (ngx_http_llm_replay_body(r, ctx, &cl, &size) != NGX_OK
        || ngx_list_init(&kept.headers, r->pool, 1, sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_pnalloc(r->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    /* ngx_http_special_response_handler() makes a page, no redirect */

    r->error_page = 1;

    kept.status = NGX_HTTP_OK;
    kept.content_type = ctx->charge->cache.entry->type;
    kept.use = 1;
    kept.body.data = p;
    kept.body.len = size;

    for ( /* void */ ; cl; cl = cl->next) {
        p = ngx_cpymem(p, cl->buf->pos, cl->buf->last - cl->buf->pos);
    }

    ctx->charge->kept = kept;
    ctx->ping.error = kept.body;

    ngx_http_llm_stale_use(r, ctx);

    return NGX_OK;
}


static void
ngx_http_llm_stale_use(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                  "no provider of llm_model \"%V\" has answered, a stale "
                  "response is sent", &ctx->charge->model->pattern);

    ngx_http_llm_cache_lookup_found(r, ctx, ctx->charge->cache.entry,
                                    NGX_HTTP_LLM_CACHE_STALE);
}
