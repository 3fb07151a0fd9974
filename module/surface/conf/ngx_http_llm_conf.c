/*
 * Main and location configuration: creating, merging, and the directives that
 * are neither a provider's nor a model's.
 */


#include "../ngx_http_llm_surface.h"
#include "../ngx_http_llm_cache_conf.h"
#include "../ngx_http_llm_provider_conf.h"
#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_attempt.h>
#include <ngx_http_llm_endpoint.h>
#include <ngx_http_llm_client.h>


static ngx_int_t ngx_http_llm_conf_zone(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);
static char *ngx_http_llm_conf_check_pass(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);
static char *ngx_http_llm_conf_check_name(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf);
static ngx_int_t ngx_http_llm_conf_status(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf, ngx_str_t *value);


static ngx_conf_bitmask_t  ngx_http_llm_next_conditions[] = {
    { ngx_string("error"), NGX_HTTP_LLM_NEXT_ERROR },
    { ngx_string("timeout"), NGX_HTTP_LLM_NEXT_TIMEOUT },
    { ngx_string("credential"), NGX_HTTP_LLM_NEXT_CREDENTIAL },
    { ngx_string("not_found"), NGX_HTTP_LLM_NEXT_NOT_FOUND },
    { ngx_string("bad_answer"), NGX_HTTP_LLM_NEXT_BAD_ANSWER },
    { ngx_string("http_408"), NGX_HTTP_LLM_NEXT_408 },
    { ngx_string("http_429"), NGX_HTTP_LLM_NEXT_429 },
    { ngx_string("http_5xx"), NGX_HTTP_LLM_NEXT_5XX },
    { ngx_string("context_length"), NGX_HTTP_LLM_NEXT_CONTEXT },
    { ngx_string("content_filter"), NGX_HTTP_LLM_NEXT_FILTER },
    { ngx_string("no_content"), NGX_HTTP_LLM_NEXT_NO_CONTENT },
    { ngx_string("length"), NGX_HTTP_LLM_NEXT_LENGTH },
    { ngx_string("invalid_json"), NGX_HTTP_LLM_NEXT_INVALID_JSON },
    { ngx_string("off"), NGX_HTTP_LLM_NEXT_OFF },
    { ngx_null_string, 0 }
};


void *
ngx_http_llm_conf_create_main(ngx_conf_t *cf)
{
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_main_conf_t));
    if (lmcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&lmcf->providers, cf->pool, 4, sizeof(void *))
        != NGX_OK
        || ngx_array_init(&lmcf->models, cf->pool, 4, sizeof(void *))
           != NGX_OK
        || ngx_array_init(&lmcf->exact, cf->pool, 4,
                          sizeof(ngx_http_llm_name_t))
           != NGX_OK
        || ngx_array_init(&lmcf->prefixes, cf->pool, 4,
                          sizeof(ngx_http_llm_name_t))
           != NGX_OK
        || ngx_array_init(&lmcf->listed, cf->pool, 4,
                          sizeof(ngx_http_llm_name_t))
           != NGX_OK)
    {
        return NULL;
    }

#if (NGX_PCRE)

    if (ngx_array_init(&lmcf->regexes, cf->pool, 4,
                       sizeof(ngx_http_llm_regex_t))
        != NGX_OK)
    {
        return NULL;
    }

#endif

    if (ngx_array_init(&lmcf->quota_zones, cf->pool, 4, sizeof(void *))
        != NGX_OK)
    {
        return NULL;
    }

    lmcf->zone_size = NGX_CONF_UNSET_SIZE;
    lmcf->cache.size = NGX_CONF_UNSET_SIZE;

    lmcf->outer.peer.init = ngx_http_llm_upstream_init_peer;
    ngx_str_set(&lmcf->outer.host, "llm");

    return lmcf;
}


char *
ngx_http_llm_conf_init_main(ngx_conf_t *cf, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    if (lmcf->pass_line && lmcf->models.nelts == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"llm_pass\" without any \"llm_model\" in %V:%ui",
                      &lmcf->pass_file, lmcf->pass_line);
        return NGX_CONF_ERROR;
    }

    if (ngx_http_llm_model_conf_init(cf, lmcf) != NGX_OK
        || ngx_http_llm_provider_type_check(cf, lmcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_llm_price_conf_init(lmcf);

    if (ngx_http_llm_endpoint_check(cf, lmcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_llm_redis_conf_init(cf, lmcf) != NGX_OK
        || ngx_http_llm_quota_conf_init(cf, lmcf) != NGX_CONF_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_llm_cache_conf_init(cf, lmcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if ((lmcf->count || lmcf->pass_line || lmcf->charged)
        && ngx_http_llm_conf_zone(cf, lmcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Adds the state zone and its parts. */

static ngx_int_t
ngx_http_llm_conf_zone(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    static ngx_str_t  name = ngx_string("llm_zone");

    ngx_conf_init_size_value(lmcf->zone_size, 16 * 1024 * 1024);

    lmcf->zone = ngx_llm_zone_add(cf, &name, lmcf->zone_size,
                                  &ngx_http_llm_module);
    if (lmcf->zone == NULL) {
        return NGX_ERROR;
    }

    if (lmcf->count) {
        lmcf->metrics = ngx_llm_metrics_create(cf, lmcf->zone);
        if (lmcf->metrics == NULL) {
            return NGX_ERROR;
        }
    }

    if (lmcf->charged && ngx_http_llm_quota_conf_store(cf, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_llm_health_conf_init(cf, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    return lmcf->pass_line ? ngx_http_llm_state_conf_init(cf, lmcf) : NGX_OK;
}


void *
ngx_http_llm_conf_create_loc(ngx_conf_t *cf)
{
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_loc_conf_t));
    if (llcf == NULL) {
        return NULL;
    }

    llcf->hold_timeout = NGX_CONF_UNSET_MSEC;
    llcf->timeouts.connect = NGX_CONF_UNSET_MSEC;
    llcf->timeouts.header = NGX_CONF_UNSET_MSEC;
    llcf->timeouts.first_token = NGX_CONF_UNSET_MSEC;
    llcf->timeouts.idle = NGX_CONF_UNSET_MSEC;
    llcf->timeouts.total = NGX_CONF_UNSET_MSEC;
    llcf->pass_headers = NGX_CONF_UNSET_PTR;
    llcf->hide.hidden = NGX_CONF_UNSET_PTR;
    llcf->hide.shown = NGX_CONF_UNSET_PTR;
    llcf->ping = NGX_CONF_UNSET_MSEC;
    llcf->drain = NGX_CONF_UNSET_MSEC;
    llcf->max_size = NGX_CONF_UNSET;
    llcf->auth = NGX_CONF_UNSET;
    llcf->allow_cross_site = NGX_CONF_UNSET;
    llcf->meter = NGX_CONF_UNSET;
    llcf->quota = NGX_CONF_UNSET_PTR;
    llcf->quota_output = NGX_CONF_UNSET_UINT;
    llcf->log_level = NGX_CONF_UNSET_UINT;
    ngx_http_llm_cache_conf_create(&llcf->cache);
    llcf->provider_header = NGX_CONF_UNSET;
    llcf->intercept_errors = NGX_CONF_UNSET;
    llcf->next_tries = NGX_CONF_UNSET;
    llcf->next_timeout = NGX_CONF_UNSET_MSEC;

    return llcf;
}


char *
ngx_http_llm_conf_merge_loc(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_llm_loc_conf_t  *prev = parent;
    ngx_http_llm_loc_conf_t  *conf = child;

    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_llm_main_conf_t  *lmcf;

    ngx_conf_merge_msec_value(conf->hold_timeout, prev->hold_timeout, 10000);
    ngx_conf_merge_msec_value(conf->timeouts.connect,
                              prev->timeouts.connect, 5000);
    ngx_conf_merge_msec_value(conf->timeouts.header,
                              prev->timeouts.header, 300000);
    ngx_conf_merge_msec_value(conf->timeouts.first_token,
                              prev->timeouts.first_token, 60000);
    ngx_conf_merge_msec_value(conf->timeouts.idle, prev->timeouts.idle,
                              60000);

    /* unset has a meaning: 600s, but for streams */

    if (conf->timeouts.total == NGX_CONF_UNSET_MSEC) {
        conf->timeouts.total = prev->timeouts.total;
    }

    ngx_conf_merge_msec_value(conf->ping, prev->ping, 0);
    ngx_conf_merge_msec_value(conf->drain, prev->drain, 0);
    ngx_conf_merge_off_value(conf->max_size, prev->max_size, 0);
    ngx_conf_merge_value(conf->auth, prev->auth, 0);
    ngx_conf_merge_value(conf->allow_cross_site, prev->allow_cross_site, 0);
    ngx_conf_merge_value(conf->meter, prev->meter, 0);
    ngx_conf_merge_value(conf->provider_header, prev->provider_header, 1);
    ngx_conf_merge_value(conf->intercept_errors, prev->intercept_errors, 0);
    ngx_conf_merge_value(conf->next_tries, prev->next_tries, 3);
    ngx_conf_merge_msec_value(conf->next_timeout, prev->next_timeout, 0);

    if (conf->next == 0) {
        conf->next_statuses = prev->next_statuses;
    }

    ngx_conf_merge_bitmask_value(conf->next, prev->next,
                                 (NGX_CONF_BITMASK_SET
                                  |NGX_HTTP_LLM_NEXT_DEFAULT));

    if (conf->pass_headers == NGX_CONF_UNSET_PTR) {
        conf->pass_headers = prev->pass_headers;
        conf->travel = prev->travel;
    }

    if (conf->pass_headers == NGX_CONF_UNSET_PTR) {
        conf->pass_headers = NULL;
    }

    if (conf->travel.names == NULL
        && ngx_http_llm_header_travel(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_llm_hide_conf_merge(cf, &prev->hide, &conf->hide) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (ngx_http_llm_conf_check_pass(cf, conf) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    /* as proxy_pass: the hidden locations of "if" and limit_except */

    if (clcf->noname && !conf->pass && conf->page == NULL) {
        conf->pass = prev->pass;
        conf->model = prev->model;
        conf->page = prev->page;
        conf->admin_from = prev->admin_from;
        conf->admin_near = prev->admin_near;
    }

    if (clcf->lmt_excpt && clcf->handler == NULL) {
        clcf->handler = conf->pass ? ngx_http_llm_pass_handler : conf->page;
    }

    if (conf->require == NULL) {
        conf->require = prev->require;
        conf->require_file = prev->require_file;
        conf->require_line = prev->require_line;
    }

    if (conf->auth) {
        lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);

        if (lmcf->keys == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"llm_auth on\" without \"llm_keys\"");
            return NGX_CONF_ERROR;
        }
    }

    if (conf->pass && conf->require) {
        ngx_http_llm_require_conf_check(cf, conf);
    }

    if (conf->quota == NGX_CONF_UNSET_PTR) {
        conf->quota = prev->quota;
        conf->quota_shadow = prev->quota_shadow;
    }

    if (conf->page || conf->quota == NGX_CONF_UNSET_PTR
        || (conf->quota && conf->quota->nelts == 0))
    {
        conf->quota = NULL;
    }

    ngx_conf_merge_uint_value(conf->quota_output, prev->quota_output,
                              NGX_HTTP_LLM_OUTPUT_LEARNED);
    ngx_conf_merge_uint_value(conf->log_level, prev->log_level, NGX_LOG_WARN);

    ngx_http_llm_cache_conf_merge(&prev->cache, &conf->cache);

    if (conf->page) {
        /* what an operator asks is no client's request */
        conf->meter = 0;
        conf->cache.on = 0;
    }

    if (conf->cache.on) {
        conf->meter = 1;
    }

    if (conf->quota == NULL) {
        return NGX_CONF_OK;
    }

    conf->meter = 1;

    return ngx_http_llm_quota_conf_check(cf, conf);
}


/*
 * Checks an llm_pass of this level when the location is complete: "proxy_pass"
 * may stand before or after it, and the last content handler would win.
 */

static char *
ngx_http_llm_conf_check_pass(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf)
{
    ngx_http_core_loc_conf_t  *clcf;

    if (llcf->pass_line == 0) {
        return NGX_CONF_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (llcf->pass_other || clcf->handler != ngx_http_llm_pass_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"llm_pass\" and another content handler, such as "
                      "\"proxy_pass\", in location \"%V\", remove one of "
                      "them in %V:%ui", &clcf->name, &llcf->pass_file,
                      llcf->pass_line);
        return NGX_CONF_ERROR;
    }

    if (llcf->model && llcf->model->lengths == NULL) {
        return ngx_http_llm_conf_check_name(cf, llcf);
    }

    return NGX_CONF_OK;
}


/* Checks that a constant model of llm_pass is one, not a provider's name. */

static char *
ngx_http_llm_conf_check_name(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf)
{
    ngx_str_t                  rest, *name;
    ngx_uint_t                 i;
    ngx_http_llm_name_t       *exact;
    ngx_http_llm_model_t      *model;
    ngx_http_llm_provider_t  **provider;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    name = &llcf->model->value;

    exact = lmcf->exact.elts;

    for (i = 0; i < lmcf->exact.nelts; i++) {

        if (ngx_http_llm_route_compare(&exact[i].name, name) == 0) {
            return NGX_CONF_OK;
        }
    }

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {

        if (ngx_http_llm_route_compare(&provider[i]->name, name) == 0) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"llm_pass %V\" names an llm_provider, but the "
                          "parameter is a model, use \"llm_pass;\" and "
                          "\"target %V;\" in an llm_model in %V:%ui", name,
                          name, &llcf->pass_file, llcf->pass_line);
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_llm_route_model(lmcf, cf->log, name, &model, &rest)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no llm_model for the model \"%V\" of \"llm_pass\" in "
                      "%V:%ui", name, &llcf->pass_file, llcf->pass_line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_llm_conf_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_str_t                         *value;
    ngx_http_core_loc_conf_t          *clcf;
    ngx_http_llm_main_conf_t          *lmcf;
    ngx_http_compile_complex_value_t   ccv;

    if (llcf->pass) {
        return "is duplicate";
    }

    if (llcf->page) {
        return "needs a location of its own";
    }

    llcf->pass = 1;
    llcf->pass_file = cf->conf_file->file.name;
    llcf->pass_line = cf->conf_file->line;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);

    if (lmcf->pass_line == 0) {
        lmcf->pass_file = cf->conf_file->file.name;
        lmcf->pass_line = cf->conf_file->line;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    llcf->pass_other = (clcf->handler != NULL);
    clcf->handler = ngx_http_llm_pass_handler;

    if (cf->args->nelts == 1) {
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    llcf->model = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (llcf->model == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[1];
    ccv.complex_value = llcf->model;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (llcf->model->lengths == NULL
        && !ngx_llm_facts_is_name(value[1].data, value[1].len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid model \"%V\" in \"llm_pass\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_llm_conf_zone_size(ngx_conf_t *cf, void *post, void *data)
{
    size_t  *size = data;

    if (*size < 8 * ngx_pagesize) {
        return "is too small, it takes 8 pages of memory at least";
    }

    return NGX_CONF_OK;
}


char *
ngx_http_llm_conf_pass_header(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_str_t   *value, *name;
    const char  *why;
    ngx_uint_t   i;

    if (llcf->pass_headers == NGX_CONF_UNSET_PTR) {

        llcf->pass_headers = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (llcf->pass_headers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        why = ngx_http_llm_header_refused(&value[i], 0);

        if (why) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "header \"%V\" %s", &value[i], why);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(llcf->pass_headers);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
    }

    return NGX_CONF_OK;
}


/* llm_ping T | off */

char *
ngx_http_llm_conf_ping(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_str_t  *value;

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {

        if (llcf->ping != NGX_CONF_UNSET_MSEC) {
            return "is duplicate";
        }

        llcf->ping = 0;
        return NGX_CONF_OK;
    }

    return ngx_conf_set_msec_slot(cf, cmd, conf);
}


/* llm_on_abort cancel | drain T */

char *
ngx_http_llm_conf_on_abort(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_int_t   ms;
    ngx_str_t  *value;

    if (llcf->drain != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "cancel") == 0) {
        llcf->drain = 0;
        return NGX_CONF_OK;
    }

    if (cf->args->nelts != 3 || ngx_strcmp(value[1].data, "drain") != 0) {
        return "takes \"cancel\", or \"drain\" and a time";
    }

    ms = ngx_parse_time(&value[2], 0);

    if (ms == NGX_ERROR || ms == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid time \"%V\" of \"llm_on_abort\"",
                           &value[2]);
        return NGX_CONF_ERROR;
    }

    llcf->drain = ms;

    return NGX_CONF_OK;
}


char *
ngx_http_llm_conf_next(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_int_t            status;
    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_conf_bitmask_t  *mask;

    if (llcf->next) {
        return "is duplicate";
    }

    llcf->next = NGX_CONF_BITMASK_SET;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (mask = ngx_http_llm_next_conditions; mask->name.len; mask++) {

            if (mask->name.len == value[i].len
                && ngx_strcmp(mask->name.data, value[i].data) == 0)
            {
                break;
            }
        }

        if (mask->name.len == 0) {

            status = ngx_http_llm_conf_status(cf, llcf, &value[i]);

            if (status == NGX_OK) {
                continue;
            }

            if (status == NGX_ERROR) {
                return NGX_CONF_ERROR;
            }

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid condition \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        llcf->next |= mask->mask;
    }

    if ((llcf->next & NGX_HTTP_LLM_NEXT_OFF) && cf->args->nelts > 2) {
        return "takes \"off\" only alone";
    }

    return NGX_CONF_OK;
}


/* http_NNN; NGX_DECLINED: it is something else */

static ngx_int_t
ngx_http_llm_conf_status(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf,
    ngx_str_t *value)
{
    ngx_int_t    status;
    ngx_uint_t  *slot;

    if (value->len != sizeof("http_NNN") - 1
        || ngx_strncmp(value->data, "http_", 5) != 0)
    {
        return NGX_DECLINED;
    }

    status = ngx_atoi(value->data + 5, 3);

    if (status < 400 || status > 599) {
        return NGX_DECLINED;
    }

    if (llcf->next_statuses == NULL) {
        llcf->next_statuses = ngx_array_create(cf->pool, 4,
                                               sizeof(ngx_uint_t));
        if (llcf->next_statuses == NULL) {
            return NGX_ERROR;
        }
    }

    slot = ngx_array_push(llcf->next_statuses);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    *slot = status;

    return NGX_OK;
}
