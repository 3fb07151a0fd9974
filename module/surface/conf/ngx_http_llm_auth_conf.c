/*
 * llm_keys: the file with the consumers and the hashes of their keys.
 */


#include "../ngx_http_llm_surface.h"


char *
ngx_http_llm_auth_conf_keys(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    ngx_str_t  *value;

    if (lmcf->keys) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "needs the name of a file";
    }

    lmcf->keys = ngx_llm_keys_load(cf, &value[1]);

    return lmcf->keys ? NGX_CONF_OK : NGX_CONF_ERROR;
}
