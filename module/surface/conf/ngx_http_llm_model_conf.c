/*
 * llm_model: names, aliases and targets, and their checks after the whole
 * configuration is read.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_client.h>


static char *ngx_http_llm_model_conf_pattern(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_model_t *model);
static char *ngx_http_llm_model_conf_printable(ngx_conf_t *cf,
    ngx_str_t *pattern);
static char *ngx_http_llm_model_conf_regex(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_model_t *model);
static char *ngx_http_llm_model_conf_name(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_llm_model_t *model);
static ngx_int_t ngx_http_llm_model_conf_targets(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_model_t *model);
static uint64_t ngx_http_llm_model_conf_seed(ngx_http_llm_target_t *target);
static ngx_int_t ngx_http_llm_model_conf_listed(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf);
static ngx_int_t ngx_http_llm_model_conf_show(ngx_http_llm_main_conf_t *lmcf,
    ngx_str_t *name, ngx_http_llm_model_t *model);
static ngx_int_t ngx_http_llm_model_conf_leads(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_str_t *name,
    ngx_http_llm_model_t *model);
static int ngx_libc_cdecl ngx_http_llm_model_conf_compare(const void *one,
    const void *two);
static int ngx_libc_cdecl ngx_http_llm_model_conf_longer(const void *one,
    const void *two);


#define ngx_http_llm_model_is_prefix(name)                                    \
    ((name)->data[(name)->len - 1] == '*')


char *
ngx_http_llm_model_conf_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_http_llm_model_t   *model, **slot;

    value = cf->args->elts;

    if (value[1].data[0] == '~') {
        rv = ngx_http_llm_model_conf_printable(cf, &value[1]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }

    } else if (ngx_http_llm_block_name(cf, "llm_model", &value[1], 0)
               != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (value[1].data[0] != '~'
        && ngx_strlchr(value[1].data, value[1].data + value[1].len - 1, '*'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid pattern \"%V\" of llm_model, \"*\" may "
                           "only stand at its end", &value[1]);
        return NGX_CONF_ERROR;
    }

    model = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_model_t));
    if (model == NULL) {
        return NGX_CONF_ERROR;
    }

    model->pattern = value[1];
    model->file = cf->conf_file->file.name;
    model->line = cf->conf_file->line;

    if (ngx_array_init(&model->targets, cf->pool, 2,
                       sizeof(ngx_http_llm_target_t))
        != NGX_OK
        || ngx_array_init(&model->aliases, cf->pool, 1, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&model->list, cf->pool, 1, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_llm_model_conf_pattern(cf, lmcf, model);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_http_llm_block_parse(cf, NGX_HTTP_LLM_MODEL_CONF, model);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (model->targets.nelts == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no target in llm_model \"%V\"", &model->pattern);
        return NGX_CONF_ERROR;
    }

    if (model->policy == NULL) {
        model->policy = &ngx_http_llm_policies[0];
    }

    slot = ngx_array_push(&lmcf->models);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    *slot = model;

    return NGX_CONF_OK;
}


/* metrics, status pages and logs print the expression as it is */

static char *
ngx_http_llm_model_conf_printable(ngx_conf_t *cf, ngx_str_t *pattern)
{
    size_t  i;

    for (i = 0; i < pattern->len; i++) {

        if (pattern->data[i] < ' ' || pattern->data[i] >= 0x7f) {
            break;
        }
    }

    if (i == pattern->len && pattern->len <= NGX_LLM_MODEL_LEN) {
        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid expression of llm_model \"%V\"", pattern);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_llm_model_conf_pattern(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_model_t *model)
{
    ngx_str_t  *name;

    name = &model->pattern;

    if (name->data[0] == '~') {
        return ngx_http_llm_model_conf_regex(cf, lmcf, model);
    }

    if (name->len != sizeof("default") - 1
        || ngx_strncmp(name->data, "default", name->len) != 0)
    {
        model->exact = !ngx_http_llm_model_is_prefix(name);
        model->prefix = !model->exact;

        return ngx_http_llm_model_conf_name(cf, name, model);
    }

    if (lmcf->fallback) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate llm_model \"default\"");
        return NGX_CONF_ERROR;
    }

    lmcf->fallback = model;

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_model_conf_regex(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_model_t *model)
{
#if (NGX_PCRE)

    u_char                errstr[NGX_MAX_CONF_ERRSTR];
    ngx_uint_t            i;
    ngx_regex_compile_t   rc;
    ngx_http_llm_regex_t *slot;

    slot = lmcf->regexes.elts;

    for (i = 0; i < lmcf->regexes.nelts; i++) {

        if (ngx_http_llm_route_compare(&slot[i].model->pattern,
                                       &model->pattern)
            == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate llm_model \"%V\"",
                               &model->pattern);
            return NGX_CONF_ERROR;
        }
    }

    ngx_memzero(&rc, sizeof(ngx_regex_compile_t));

    rc.pattern.data = model->pattern.data + 1;
    rc.pattern.len = model->pattern.len - 1;

    if (rc.pattern.len && rc.pattern.data[0] == '*') {
        rc.options = NGX_REGEX_CASELESS;
        rc.pattern.data++;
        rc.pattern.len--;
    }

    rc.pool = cf->pool;
    rc.err.len = NGX_MAX_CONF_ERRSTR;
    rc.err.data = errstr;

    if (rc.pattern.len == 0 || ngx_regex_compile(&rc) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid expression of llm_model \"%V\": %V",
                           &model->pattern, &rc.err);
        return NGX_CONF_ERROR;
    }

    slot = ngx_array_push(&lmcf->regexes);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    slot->regex = rc.regex;
    slot->model = model;

    return NGX_CONF_OK;

#else

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "llm_model \"%V\" needs an nginx with PCRE",
                       &model->pattern);
    return NGX_CONF_ERROR;

#endif
}


/* a name that leads to the model; twins are refused where they stand */

static char *
ngx_http_llm_model_conf_name(ngx_conf_t *cf, ngx_str_t *name,
    ngx_http_llm_model_t *model)
{
    ngx_str_t                  key;
    ngx_uint_t                 i;
    ngx_array_t               *names;
    ngx_http_llm_name_t       *slot;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);

    key = *name;
    names = &lmcf->exact;

    if (ngx_http_llm_model_is_prefix(name)) {
        key.len--;
        names = &lmcf->prefixes;
    }

    slot = names->elts;

    for (i = 0; i < names->nelts; i++) {

        if (ngx_http_llm_route_compare(&slot[i].name, &key) == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate llm_model or alias \"%V\"", name);
            return NGX_CONF_ERROR;
        }
    }

    slot = ngx_array_push(names);
    if (slot == NULL) {
        return NGX_CONF_ERROR;
    }

    slot->name = key;
    slot->model = model;

    return NGX_CONF_OK;
}


char *
ngx_http_llm_model_conf_alias(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_model_t  *model = conf;

    char        *rv;
    ngx_str_t   *value, *name;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_llm_block_name(cf, "alias", &value[i], 0) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '*')) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "alias \"%V\" must not have \"*\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(&model->aliases);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];

        rv = ngx_http_llm_model_conf_name(cf, name, model);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


/* list NAME... */

char *
ngx_http_llm_model_conf_list(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_model_t  *model = conf;

    ngx_str_t   *value, *name;
    ngx_uint_t   i, n;

    if (model->exact) {
        return "is for prefixes, regular expressions and \"default\", an exact "
               "name is listed without it";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_llm_block_name(cf, "list", &value[i], 0) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        if (ngx_strlchr(value[i].data, value[i].data + value[i].len, '*')) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"%V\" in \"list\" of llm_model \"%V\" has "
                               "\"*\", use names", &value[i],
                               &model->pattern);
            return NGX_CONF_ERROR;
        }

        name = model->list.elts;

        for (n = 0; n < model->list.nelts; n++) {

            if (ngx_http_llm_route_compare(&name[n], &value[i]) == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "duplicate name \"%V\" in \"list\" of "
                                   "llm_model \"%V\"", &value[i],
                                   &model->pattern);
                return NGX_CONF_ERROR;
            }
        }

        name = ngx_array_push(&model->list);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_llm_model_conf_init(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t              i;
    ngx_http_llm_model_t  **model;

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        if (ngx_http_llm_model_conf_targets(cf, lmcf, model[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_qsort(lmcf->exact.elts, lmcf->exact.nelts,
              sizeof(ngx_http_llm_name_t), ngx_http_llm_model_conf_compare);

    ngx_qsort(lmcf->prefixes.elts, lmcf->prefixes.nelts,
              sizeof(ngx_http_llm_name_t), ngx_http_llm_model_conf_longer);

    return ngx_http_llm_model_conf_listed(cf, lmcf);
}


static ngx_int_t
ngx_http_llm_model_conf_targets(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_model_t *model)
{
    ngx_uint_t                 i, n;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_provider_t  **provider;

    target = model->targets.elts;
    provider = lmcf->providers.elts;

    for (i = 0; i < model->targets.nelts; i++) {

        for (n = 0; n < lmcf->providers.nelts; n++) {

            if (provider[n]->name.len == target[i].name.len
                && ngx_memcmp(provider[n]->name.data, target[i].name.data,
                              target[i].name.len)
                   == 0)
            {
                target[i].provider = provider[n];
                break;
            }
        }

        if (target[i].provider == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown llm_provider \"%V\" in llm_model \"%V\" "
                          "in %V:%ui", &target[i].name, &model->pattern,
                          &model->file, target[i].line);
            return NGX_ERROR;
        }

        target[i].seed = ngx_http_llm_model_conf_seed(&target[i]);
    }

    return NGX_OK;
}


/*
 * The place of a target in the hash ring does not depend on the file's order:
 * it is FNV-1a of the provider's name and the model, equal in each process and
 * generation.
 */

static uint64_t
ngx_http_llm_model_conf_seed(ngx_http_llm_target_t *target)
{
    size_t       i;
    uint64_t     seed;
    ngx_uint_t   n;

    ngx_str_t  *parts[] = { &target->name, &target->model };

    seed = 0xcbf29ce484222325;

    for (n = 0; n < 2; n++) {

        for (i = 0; i < parts[n]->len; i++) {
            seed = (seed ^ parts[n]->data[i]) * 0x100000001b3;
        }

        seed = (seed ^ 0xff) * 0x100000001b3;
    }

    return seed;
}


/* the names of GET models: exact, aliases and list, in the order of the file */

static ngx_int_t
ngx_http_llm_model_conf_listed(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_str_t              *name;
    ngx_uint_t              i, n;
    ngx_http_llm_model_t  **model;

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        if (model[i]->exact
            && ngx_http_llm_model_conf_show(lmcf, &model[i]->pattern, model[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        name = model[i]->aliases.elts;

        for (n = 0; n < model[i]->aliases.nelts; n++) {

            if (ngx_http_llm_model_conf_show(lmcf, &name[n], model[i])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        name = model[i]->list.elts;

        for (n = 0; n < model[i]->list.nelts; n++) {

            if (ngx_http_llm_model_conf_leads(cf, lmcf, &name[n], model[i])
                != NGX_OK
                || ngx_http_llm_model_conf_show(lmcf, &name[n], model[i])
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_model_conf_show(ngx_http_llm_main_conf_t *lmcf, ngx_str_t *name,
    ngx_http_llm_model_t *model)
{
    ngx_http_llm_name_t  *listed;

    listed = ngx_array_push(&lmcf->listed);
    if (listed == NULL) {
        return NGX_ERROR;
    }

    listed->name = *name;
    listed->model = model;

    return NGX_OK;
}


/* checks that requests for a name of "list" would be the model's */

static ngx_int_t
ngx_http_llm_model_conf_leads(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_str_t *name, ngx_http_llm_model_t *model)
{
    ngx_str_t              rest;
    ngx_http_llm_model_t  *found;

    if (ngx_http_llm_route_model(lmcf, cf->log, name, &found, &rest) == NGX_OK
        && found == model && (rest.len || !model->wildcard))
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%V\" in \"list\" of llm_model \"%V\" is not a name that "
                  "leads to this model in %V:%ui", name, &model->pattern,
                  &model->file, model->line);

    return NGX_ERROR;
}


static int ngx_libc_cdecl
ngx_http_llm_model_conf_compare(const void *one, const void *two)
{
    ngx_http_llm_name_t  *first = (ngx_http_llm_name_t *) one;
    ngx_http_llm_name_t  *second = (ngx_http_llm_name_t *) two;

    return (int) ngx_http_llm_route_compare(&first->name, &second->name);
}


static int ngx_libc_cdecl
ngx_http_llm_model_conf_longer(const void *one, const void *two)
{
    return - ngx_http_llm_model_conf_compare(one, two);
}
