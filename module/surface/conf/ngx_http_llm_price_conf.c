/*
 * llm_prices and the price parameter of a target; and what is known about
 * prices once the whole configuration is.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_dialect.h>


char *
ngx_http_llm_price_conf_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    ngx_str_t  *value;

    if (lmcf->prices) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "needs the name of a file";
    }

    lmcf->prices = ngx_llm_prices_load(cf, &value[1]);
    if (lmcf->prices == NULL) {
        return NGX_CONF_ERROR;
    }

    lmcf->priced = 1;

    return NGX_CONF_OK;
}


char *
ngx_http_llm_price_conf_param(ngx_conf_t *cf, ngx_http_llm_target_t *target,
    ngx_str_t *value)
{
    ngx_llm_price_t           *price;
    ngx_http_llm_main_conf_t  *lmcf;

    if (target->price) {
        return "has a duplicate price=";
    }

    price = ngx_palloc(cf->pool, sizeof(ngx_llm_price_t));
    if (price == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_llm_price_parse(value->data, value->len, price) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid price \"%V\", it is IN,OUT[,CACHED] in $ "
                           "per million tokens", value);
        return NGX_CONF_ERROR;
    }

    target->price = price;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    lmcf->priced = 1;

    return NGX_CONF_OK;
}


void
ngx_http_llm_price_conf_init(ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t              i, n;
    ngx_http_llm_model_t  **model;
    ngx_http_llm_target_t  *target;

    static const ngx_str_t  none = ngx_null_string;

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {

            if (target[n].model.len == 0 || target[n].wildcard) {
                continue;
            }

            target[n].price = ngx_llm_prices_of(lmcf->prices, target[n].price,
                                          &target[n].provider->dialect->type,
                                          &target[n].model, &none);
        }
    }
}
