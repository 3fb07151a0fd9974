/*
 * The end of a leader's time: it has its answer, or has none that others could
 * use.  Requests that wait for it look at once.
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

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    ngx_llm_flight_land(lmcf->cache.flight, charge->cache.key);
}
