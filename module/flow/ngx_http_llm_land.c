/*
 * The end of a leader's time: it has its answer, or has none that others could
 * use.  Those of this worker who have waited for it look at once.
 */


#include <ngx_http_llm_flow.h>


void
ngx_http_llm_land(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_queue_t               *q;
    ngx_http_llm_ctx_t        *ctx;
    ngx_http_llm_fetch_t      *fetch;
    ngx_http_llm_main_conf_t  *lmcf;

    if (!charge->cache.leading) {
        return;
    }

    charge->cache.leading = 0;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    ngx_llm_flight_land(lmcf->cache.flight, charge->cache.key);

    for (q = ngx_queue_head(&lmcf->cache.followers);
         q != ngx_queue_sentinel(&lmcf->cache.followers);
         q = ngx_queue_next(q))
    {
        fetch = ngx_queue_data(q, ngx_http_llm_fetch_t, queue);
        ctx = ngx_http_get_module_ctx(fetch->request, ngx_http_llm_module);

        if (ngx_memcmp(ctx->charge->cache.key, charge->cache.key,
                       NGX_LLM_CACHE_KEY)
            != 0)
        {
            continue;
        }

        if (fetch->timer.timer_set) {
            ngx_del_timer(&fetch->timer);
        }

        ngx_post_event(&fetch->timer, &ngx_posted_events);
    }
}
