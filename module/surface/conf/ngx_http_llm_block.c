/*
 * Common parts of llm_provider and llm_model: a name, and a block.  The
 * directives of a block are rows of the module's table with a separate context.
 */


#include "../ngx_http_llm_surface.h"


char *
ngx_http_llm_block_parse(ngx_conf_t *cf, ngx_uint_t cmd_type, void *conf)
{
    char                 *rv;
    ngx_conf_t            save;
    ngx_http_conf_ctx_t   ctx, *http;

    http = cf->ctx;
    ctx = *http;

    ctx.loc_conf = ngx_pcalloc(cf->temp_pool,
                               sizeof(void *) * ngx_http_max_module);
    if (ctx.loc_conf == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx.loc_conf[ngx_http_llm_module.ctx_index] = conf;

    save = *cf;
    cf->ctx = &ctx;
    cf->cmd_type = cmd_type;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


ngx_int_t
ngx_http_llm_block_name(ngx_conf_t *cf, const char *what, ngx_str_t *name,
    ngx_uint_t ascii)
{
    size_t      i;
    ngx_uint_t  good;

    if ((name->len == 4 && ngx_strncmp(name->data, "none", 4) == 0)
        || (name->len == 5 && ngx_strncmp(name->data, "other", 5) == 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s cannot be named \"%V\"", what, name);
        return NGX_ERROR;
    }

    good = ngx_llm_facts_is_name(name->data, name->len);

    for (i = 0; ascii && i < name->len; i++) {
        good = good && name->data[i] > ' ' && name->data[i] < 0x7f;
    }

    if (good) {
        return NGX_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid name of %s \"%V\"",
                       what, name);

    return NGX_ERROR;
}
