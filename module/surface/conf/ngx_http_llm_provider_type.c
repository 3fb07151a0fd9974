/*
 * Which language a provider speaks: type and api choose its dialect, and what
 * follows from them - the endpoint by default, the directives that mean
 * nothing to it, and what its host is known to lack.
 */


#include "../ngx_http_llm_provider_conf.h"
#include <ngx_http_llm_dialect.h>


/* index of a type's dialects */

#define NGX_HTTP_LLM_API_OPENAI  0
#define NGX_HTTP_LLM_API_NATIVE  1


typedef struct {
    ngx_str_t                      name;
    ngx_uint_t                     api;          /* by default */
    const ngx_http_llm_dialect_t  *dialects[2];  /* NULL: not built in */
} ngx_http_llm_provider_type_t;


typedef struct {
    ngx_str_t                      domain;       /* and all below it */
    ngx_uint_t                     quirks;
} ngx_http_llm_provider_quirk_t;


static char *ngx_http_llm_provider_type_choose(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_provider_type_takes(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);
static ngx_uint_t ngx_http_llm_provider_type_known(ngx_str_t *host);


/* the first one is the default */

static ngx_http_llm_provider_type_t  ngx_http_llm_provider_types[] = {

    { ngx_string("openai"), NGX_HTTP_LLM_API_OPENAI,
      { &ngx_http_llm_openai, NULL } },

    { ngx_string("azure"), NGX_HTTP_LLM_API_OPENAI,
      { &ngx_http_llm_azure, NULL } },

    { ngx_string("bedrock"), NGX_HTTP_LLM_API_NATIVE,
      { &ngx_http_llm_bedrock, NULL } },

    { ngx_string("vertex"), NGX_HTTP_LLM_API_NATIVE,
      { NULL, NULL } },

    { ngx_string("gemini"), NGX_HTTP_LLM_API_NATIVE,
      { &ngx_http_llm_gemini, NULL } },

    { ngx_string("anthropic"), NGX_HTTP_LLM_API_NATIVE,
      { &ngx_http_llm_anthropic, NULL } },

    { ngx_string("oci"), NGX_HTTP_LLM_API_NATIVE,
      { &ngx_http_llm_oci, NULL } },

    { ngx_null_string, 0, { NULL, NULL } }
};


/* servers of type openai; what one does not tell, "quirks" says */

static ngx_http_llm_provider_quirk_t  ngx_http_llm_provider_quirks[] = {

    { ngx_string("deepseek.com"), NGX_HTTP_LLM_QUIRK_MAX_TOKENS },

    { ngx_string("mistral.ai"), NGX_HTTP_LLM_QUIRK_MAX_TOKENS
                                |NGX_HTTP_LLM_QUIRK_NO_STREAM_OPTIONS },

    { ngx_string("ollama.com"), NGX_HTTP_LLM_QUIRK_MAX_TOKENS },

    { ngx_null_string, 0 }
};


char *
ngx_http_llm_provider_type(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_provider_t  *provider = conf;

    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_http_llm_provider_type_t  *type;

    if (provider->type != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    type = ngx_http_llm_provider_types;

    for (i = 0; type[i].name.len; i++) {

        if (type[i].name.len != value[1].len
            || ngx_strcmp(type[i].name.data, value[1].data) != 0)
        {
            continue;
        }

        if (type[i].dialects[NGX_HTTP_LLM_API_OPENAI] == NULL
            && type[i].dialects[NGX_HTTP_LLM_API_NATIVE] == NULL)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "type \"%V\" of llm_provider \"%V\" is not "
                               "built in", &value[1], &provider->name);
            return NGX_CONF_ERROR;
        }

        provider->type = i;

        return (provider->api == NGX_CONF_UNSET_UINT)
               ? NGX_CONF_OK
               : ngx_http_llm_provider_type_choose(cf, provider);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "unknown type \"%V\" of llm_provider \"%V\"",
                       &value[1], &provider->name);

    return NGX_CONF_ERROR;
}


char *
ngx_http_llm_provider_type_api(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_provider_t  *provider = conf;

    ngx_str_t  *value;

    if (provider->api != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "openai") == 0) {
        provider->api = NGX_HTTP_LLM_API_OPENAI;

    } else if (ngx_strcmp(value[1].data, "native") == 0) {
        provider->api = NGX_HTTP_LLM_API_NATIVE;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown api \"%V\" of llm_provider \"%V\"",
                           &value[1], &provider->name);
        return NGX_CONF_ERROR;
    }

    return (provider->type == NGX_CONF_UNSET_UINT)
           ? NGX_CONF_OK : ngx_http_llm_provider_type_choose(cf, provider);
}


/* both directives are known, or the block has ended */

static char *
ngx_http_llm_provider_type_choose(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                     api;
    ngx_http_llm_provider_type_t  *type;

    type = ngx_http_llm_provider_types;

    if (provider->type != NGX_CONF_UNSET_UINT) {
        type += provider->type;
    }

    api = (provider->api == NGX_CONF_UNSET_UINT) ? type->api : provider->api;

    provider->dialect = type->dialects[api];

    if (provider->dialect) {
        return NGX_CONF_OK;
    }

    if (provider->api == NGX_CONF_UNSET_UINT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "type \"%V\" of llm_provider \"%V\" speaks its "
                           "native API by default, which is not built in; "
                           "set \"api openai\"", &type->name,
                           &provider->name);
        return NGX_CONF_ERROR;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "api \"native\" of llm_provider \"%V\" is not built "
                       "in for type \"%V\"", &provider->name, &type->name);

    return NGX_CONF_ERROR;
}


/* letters, digits, "-": these stand in host names and queries */

char *
ngx_http_llm_provider_type_word(ngx_conf_t *cf, void *post, void *data)
{
    ngx_str_t  *word = data;

    size_t  i;
    u_char  ch;

    for (i = 0; i < word->len; i++) {
        ch = word->data[i];

        if (!(ch >= '0' && ch <= '9') && !(ch >= 'a' && ch <= 'z')
            && !(ch >= 'A' && ch <= 'Z') && ch != '-')
        {
            break;
        }
    }

    if (i == word->len && i > 0 && i < 64) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\", 1 to 63 letters, digits and "
                       "\"-\" are expected", word);

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_http_llm_provider_type_done(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    if (provider->dialect == NULL
        && ngx_http_llm_provider_type_choose(cf, provider) != NGX_CONF_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_provider_type_takes(cf, provider);
}


/* a region that is not looked at would be taken for a promise */

static ngx_int_t
ngx_http_llm_provider_type_takes(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t  i, takes;

    struct {
        ngx_uint_t   bit;
        ngx_uint_t   set;
        const char  *name;
    } some[] = {
        { NGX_HTTP_LLM_TAKES_REGION, provider->region.len, "\"region\"" },
        { NGX_HTTP_LLM_TAKES_PROJECT, provider->project.len, "\"project\"" },
        { NGX_HTTP_LLM_TAKES_API_VERSION, provider->api_version.len,
          "\"api_version\"" },
        { NGX_HTTP_LLM_TAKES_QUIRKS, provider->quirks, "\"quirks\"" },
        { NGX_HTTP_LLM_TAKES_PATH, provider->path.len,
          "a path in \"endpoint\"" }
    };

    takes = provider->dialect->takes;

    for (i = 0; i < sizeof(some) / sizeof(some[0]); i++) {

        if (some[i].set && !(takes & some[i].bit)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s of llm_provider \"%V\" has no meaning for "
                               "type \"%V\"", some[i].name, &provider->name,
                               &provider->dialect->type);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_provider_type_endpoint(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_str_t *endpoint)
{
    const ngx_http_llm_dialect_t  *dialect;

    dialect = provider->dialect;

    if (dialect->endpoint.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"endpoint\" in llm_provider \"%V\", type "
                           "\"%V\" has none by default", &provider->name,
                           &dialect->type);
        return NGX_ERROR;
    }

    if (dialect->domain.len && provider->region.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"region\" and no \"endpoint\" in "
                           "llm_provider \"%V\", type \"%V\" needs one of "
                           "them", &provider->name, &dialect->type);
        return NGX_ERROR;
    }

    /* a type without a region in its endpoint rejects "region" */

    endpoint->len = dialect->endpoint.len + provider->region.len
                    + dialect->domain.len;

    endpoint->data = ngx_pnalloc(cf->pool, endpoint->len);
    if (endpoint->data == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(endpoint->data, "%V%V%V", &dialect->endpoint,
                &provider->region, &dialect->domain);

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_provider_type_quirks(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    if (provider->quirks & NGX_HTTP_LLM_QUIRK_OFF) {

        if (provider->quirks != NGX_HTTP_LLM_QUIRK_OFF) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"quirks\" of llm_provider \"%V\" are off "
                               "and some are named", &provider->name);
            return NGX_ERROR;
        }

        provider->quirks = 0;

        return NGX_OK;
    }

    if (provider->quirks == 0
        && (provider->dialect->takes & NGX_HTTP_LLM_TAKES_QUIRKS))
    {
        provider->quirks =
                       ngx_http_llm_provider_type_known(&provider->url.host);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_provider_type_known(ngx_str_t *host)
{
    u_char                         *tail;
    ngx_http_llm_provider_quirk_t  *quirk;

    for (quirk = ngx_http_llm_provider_quirks; quirk->domain.len; quirk++) {

        if (host->len < quirk->domain.len) {
            continue;
        }

        tail = host->data + host->len - quirk->domain.len;

        if ((tail == host->data || tail[-1] == '.')
            && ngx_strncasecmp(tail, quirk->domain.data, quirk->domain.len)
               == 0)
        {
            return quirk->quirks;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_llm_provider_type_check(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t                      i, n;
    ngx_http_llm_model_t          **model;
    ngx_http_llm_target_t          *target;
    const ngx_http_llm_dialect_t   *dialect;

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {

            dialect = target[n].provider->dialect;

            if (target[n].model.len == 0 || target[n].wildcard
                || dialect->fits == NULL
                || dialect->fits(target[n].provider, &target[n].model))
            {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "target model \"%V\" cannot stand in a URL of "
                          "llm_provider \"%V\" in %V:%ui", &target[n].model,
                          &target[n].name, &model[i]->file, target[n].line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
