/*
 * What a provider's error answer says, by its status.
 */


#include <ngx_llm_blame.h>


ngx_llm_blame_e
ngx_llm_blame(ngx_uint_t status, const u_char *body, size_t len,
    int64_t *hint_ms)
{
    *hint_ms = -1;

    switch (status) {

    case 401:
    case 402:
    case 403:
        return NGX_LLM_BLAME_CREDENTIAL;

    case 404:
    case 405:
        return NGX_LLM_BLAME_NOT_FOUND;

    case 408:
        return NGX_LLM_BLAME_TIMEOUT;

    case 429:
        return NGX_LLM_BLAME_RATE;

    default:
        return (status >= 500) ? NGX_LLM_BLAME_OVERLOAD
                               : (status >= 400) ? NGX_LLM_BLAME_REQUEST
                                                 : NGX_LLM_BLAME_NOBODY;
    }
}
