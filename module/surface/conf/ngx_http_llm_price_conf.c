/*
 * llm_prices, the price parameter of a target, and the price and context of
 * constant targets after the whole configuration has been read.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_dialect.h>


typedef struct {
    ngx_str_t   domain;              /* with its subdomains */
    ngx_str_t   prefix;              /* of model names in the price map */
} ngx_http_llm_price_host_t;


static void ngx_http_llm_price_conf_used(ngx_conf_t *cf);
static const ngx_str_t *ngx_http_llm_price_conf_prefix(
    ngx_http_llm_provider_t *provider);


/* a subdomain stands before its domain */

static const ngx_http_llm_price_host_t  ngx_http_llm_price_hosts[] = {
    { ngx_string("codestral.mistral.ai"), ngx_string("codestral") },
    { ngx_string("mistral.ai"), ngx_string("mistral") },
    { ngx_string("groq.com"), ngx_string("groq") },
    { ngx_string("x.ai"), ngx_string("xai") },
    { ngx_string("together.xyz"), ngx_string("together_ai") },
    { ngx_string("together.ai"), ngx_string("together_ai") },
    { ngx_string("moonshot.ai"), ngx_string("moonshot") },
    { ngx_string("moonshot.cn"), ngx_string("moonshot") },
    { ngx_string("deepinfra.com"), ngx_string("deepinfra") },
    { ngx_string("fireworks.ai"), ngx_string("fireworks_ai") },
    { ngx_string("deepseek.com"), ngx_string("deepseek") },
    { ngx_string("openrouter.ai"), ngx_string("openrouter") },
    { ngx_string("perplexity.ai"), ngx_string("perplexity") },
    { ngx_string("cerebras.ai"), ngx_string("cerebras") },
    { ngx_string("sambanova.ai"), ngx_string("sambanova") },
    { ngx_string("cohere.com"), ngx_string("cohere") },
    { ngx_string("cohere.ai"), ngx_string("cohere") },
    { ngx_string("voyageai.com"), ngx_string("voyage") },
    { ngx_string("novita.ai"), ngx_string("novita") },
    { ngx_string("nebius.ai"), ngx_string("nebius") },
    { ngx_string("nebius.com"), ngx_string("nebius") },
    { ngx_string("hyperbolic.xyz"), ngx_string("hyperbolic") },
    { ngx_string("lambda.ai"), ngx_string("lambda_ai") },
    { ngx_string("nscale.com"), ngx_string("nscale") },
    { ngx_string("baseten.co"), ngx_string("baseten") },
    { ngx_string("integrate.api.nvidia.com"), ngx_string("nvidia_nim") },
    { ngx_string("z.ai"), ngx_string("zai") },
    { ngx_string("minimax.io"), ngx_string("minimax") },
    { ngx_string("dashscope.aliyuncs.com"), ngx_string("dashscope") },
    { ngx_string("dashscope-intl.aliyuncs.com"), ngx_string("dashscope") },
    { ngx_string("generativelanguage.googleapis.com"),
      ngx_string("gemini") },
    { ngx_string("aiplatform.googleapis.com"), ngx_string("vertex_ai") },
    { ngx_string("openai.azure.com"), ngx_string("azure") },
    { ngx_string("services.ai.azure.com"), ngx_string("azure_ai") },
    { ngx_string("api.anthropic.com"), ngx_string("anthropic") },
    { ngx_string("api.openai.com"), ngx_string("openai") },
    { ngx_null_string, ngx_null_string }
};


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
    ngx_llm_price_t  *price;

    if (target->price || target->reported) {
        return "has a duplicate price=";
    }

    if (value->len == sizeof("provider") - 1
        && ngx_strncmp(value->data, "provider", value->len) == 0)
    {
        target->reported = 1;
        ngx_http_llm_price_conf_used(cf);

        return NGX_CONF_OK;
    }

    price = ngx_palloc(cf->pool, sizeof(ngx_llm_price_t));
    if (price == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_llm_price_parse(value->data, value->len, price) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid price \"%V\", IN,OUT[,CACHED] in $ per "
                           "million tokens or \"provider\" is expected",
                           value);
        return NGX_CONF_ERROR;
    }

    target->price = price;
    ngx_http_llm_price_conf_used(cf);

    return NGX_CONF_OK;
}


/* Enables the metrics of cost. */

static void
ngx_http_llm_price_conf_used(ngx_conf_t *cf)
{
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    lmcf->priced = 1;
}


void
ngx_http_llm_price_conf_init(ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t                 i, n;
    const ngx_str_t           *prefix;
    ngx_http_llm_model_t     **model;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_provider_t  **provider;

    static const ngx_str_t  none = ngx_null_string;

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {

        if (provider[i]->price_prefix.data == NULL) {
            provider[i]->price_prefix =
                                 *ngx_http_llm_price_conf_prefix(provider[i]);
        }
    }

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {

            if (target[n].model.len == 0 || target[n].wildcard) {
                continue;
            }

            prefix = &target[n].provider->price_prefix;

            if (target[n].context == 0) {
                target[n].context = ngx_llm_prices_context(lmcf->prices,
                                           prefix, &target[n].model, &none);
            }

            target[n].price = ngx_llm_prices_of(lmcf->prices, target[n].price,
                                                prefix, &target[n].model,
                                                &none);
        }
    }
}


/* Returns the prefix that LiteLLM's price map has for a provider. */

static const ngx_str_t *
ngx_http_llm_price_conf_prefix(ngx_http_llm_provider_t *provider)
{
    u_char                            *tail;
    ngx_str_t                         *host;
    const ngx_http_llm_price_host_t   *known;

    host = &provider->url.host;

    for (known = ngx_http_llm_price_hosts; known->domain.len; known++) {

        if (host->len < known->domain.len) {
            continue;
        }

        tail = host->data + host->len - known->domain.len;

        if ((tail == host->data || tail[-1] == '.')
            && ngx_strncasecmp(tail, known->domain.data, known->domain.len)
               == 0)
        {
            return &known->prefix;
        }
    }

    return &provider->dialect->type;
}
