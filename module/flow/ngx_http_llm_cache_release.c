/*
 * Ends the lead of a request: its response is stored, or cannot be.  Requests
 * that wait for it look up the cache at once.
 */


#include <ngx_http_llm_flow.h>
#include "ngx_http_llm_flow_cache.h"


void
ngx_http_llm_cache_release(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_main_conf_t  *lmcf;

    if (!charge->cache.leading) {
        return;
    }

    charge->cache.leading = 0;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache: requests that wait for this response are "
                   "released, %s", charge->cache.stored ? "it is stored"
                                                        : "it is not stored");

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    ngx_llm_flight_land(lmcf->cache.flight, charge->cache.key);
}
