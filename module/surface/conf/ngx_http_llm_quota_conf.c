/*
 * llm_quota_zone and llm_quota: limits as they are configured, and where they
 * apply.  A zone may be named before it is defined, as an upstream block may.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_dialect.h>
#include <ngx_http_llm_client.h>


static ngx_http_llm_quota_zone_t *ngx_http_llm_quota_conf_zone_add(
    ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf, ngx_str_t *name);
static ngx_uint_t ngx_http_llm_quota_conf_zone_name(ngx_str_t *name);
static char *ngx_http_llm_quota_conf_zone_param(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_str_t *arg);
static char *ngx_http_llm_quota_conf_zone_key(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_str_t *value);
static char *ngx_http_llm_quota_conf_zone_down(ngx_http_llm_quota_zone_t *zone,
    ngx_str_t *value);
static char *ngx_http_llm_quota_conf_zone_limit(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_uint_t i, ngx_str_t *value);
static char *ngx_http_llm_quota_conf_zone_number(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_uint_t i, ngx_str_t *value);
static char *ngx_http_llm_quota_conf_zone_value(ngx_conf_t *cf,
    ngx_str_t *value, ngx_http_complex_value_t **cv);
static void ngx_http_llm_quota_conf_digests(ngx_http_llm_main_conf_t *lmcf);
static char *ngx_http_llm_quota_conf_check_prices(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_quota_zone_t *zone);
static ngx_uint_t ngx_http_llm_quota_conf_priced(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_model_t *model, ngx_http_llm_target_t *target);
static ngx_uint_t ngx_http_llm_quota_conf_reaches(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_model_t *model);


/* of llm_quota_zone, by the index of the limit */

ngx_str_t  ngx_http_llm_quota_params[NGX_LLM_QUOTA_LIMITS] = {
    ngx_string("requests="),
    ngx_string("tokens="),
    ngx_string("cost="),
    ngx_string("concurrency=")
};


/* llm_quota_zone NAME key=VALUE LIMIT... [redis_down=WORD] */

char *
ngx_http_llm_quota_conf_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    char                       *rv;
    ngx_str_t                  *value;
    ngx_uint_t                  i, limits;
    ngx_http_llm_quota_zone_t  *zone;

    value = cf->args->elts;

    zone = ngx_http_llm_quota_conf_zone_add(cf, lmcf, &value[1]);
    if (zone == NULL) {
        return NGX_CONF_ERROR;
    }

    if (zone->defined) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate llm_quota_zone \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    zone->defined = 1;

    for (i = 2; i < cf->args->nelts; i++) {

        rv = ngx_http_llm_quota_conf_zone_param(cf, zone, &value[i]);

        if (rv == NGX_CONF_OK) {
            continue;
        }

        if (rv != NGX_CONF_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "parameter \"%V\" of llm_quota_zone \"%V\" %s",
                               &value[i], &zone->name, rv);
        }

        return NGX_CONF_ERROR;
    }

    limits = 0;

    for (i = 0; i < NGX_LLM_QUOTA_LIMITS; i++) {
        limits += (zone->limits[i].n >= 0 || zone->values[i] != NULL);
    }

    if (zone->key.value.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no \"key\" parameter in llm_quota_zone \"%V\"",
                           &zone->name);
        return NGX_CONF_ERROR;
    }

    if (limits == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "llm_quota_zone \"%V\" has no limit", &zone->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* the zone of that name, made if there is none */

static ngx_http_llm_quota_zone_t *
ngx_http_llm_quota_conf_zone_add(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_str_t *name)
{
    ngx_uint_t                   i;
    ngx_http_llm_quota_zone_t   *zone, **zones;

    zones = lmcf->quota_zones.elts;

    for (i = 0; i < lmcf->quota_zones.nelts; i++) {

        if (zones[i]->name.len == name->len
            && ngx_memcmp(zones[i]->name.data, name->data, name->len) == 0)
        {
            return zones[i];
        }
    }

    if (!ngx_http_llm_quota_conf_zone_name(name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name \"%V\" of a quota zone, it is 1 to "
                           "64 letters, digits, \"_\" and \"-\"", name);
        return NULL;
    }

    zones = ngx_array_push(&lmcf->quota_zones);
    if (zones == NULL) {
        return NULL;
    }

    zone = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_quota_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    *zones = zone;

    zone->name = *name;
    zone->file = cf->conf_file->file.name;
    zone->line = cf->conf_file->line;

    for (i = 0; i < NGX_LLM_QUOTA_LIMITS; i++) {
        zone->limits[i].n = -1;
    }

    return zone;
}


/* it is a part of keys in Redis and a label of metrics */

static ngx_uint_t
ngx_http_llm_quota_conf_zone_name(ngx_str_t *name)
{
    size_t  i;
    u_char  ch;

    if (name->len == 0 || name->len > NGX_LLM_QUOTA_NAME) {
        return 0;
    }

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (!((ch | 0x20) >= 'a' && (ch | 0x20) <= 'z')
            && !(ch >= '0' && ch <= '9') && ch != '_' && ch != '-')
        {
            return 0;
        }
    }

    return 1;
}


static char *
ngx_http_llm_quota_conf_zone_param(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_str_t *arg)
{
    ngx_str_t   value, *name;
    ngx_uint_t  i;

    static ngx_str_t  key = ngx_string("key=");
    static ngx_str_t  down = ngx_string("redis_down=");

    if (arg->len >= key.len
        && ngx_strncmp(arg->data, key.data, key.len) == 0)
    {
        value.data = arg->data + key.len;
        value.len = arg->len - key.len;

        return ngx_http_llm_quota_conf_zone_key(cf, zone, &value);
    }

    if (arg->len >= down.len
        && ngx_strncmp(arg->data, down.data, down.len) == 0)
    {
        value.data = arg->data + down.len;
        value.len = arg->len - down.len;

        return ngx_http_llm_quota_conf_zone_down(zone, &value);
    }

    for (i = 0; i < NGX_LLM_QUOTA_LIMITS; i++) {
        name = &ngx_http_llm_quota_params[i];

        if (arg->len >= name->len
            && ngx_strncmp(arg->data, name->data, name->len) == 0)
        {
            value.data = arg->data + name->len;
            value.len = arg->len - name->len;

            return ngx_http_llm_quota_conf_zone_limit(cf, zone, i, &value);
        }
    }

    return "is unknown";
}


static char *
ngx_http_llm_quota_conf_zone_key(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_str_t *value)
{
    ngx_http_complex_value_t  *cv;

    if (zone->key.value.len) {
        return "is duplicate";
    }

    if (value->len == 0) {
        return "is empty";
    }

    if (ngx_http_llm_quota_conf_zone_value(cf, value, &cv) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    zone->key = *cv;
    zone->consumer = ngx_http_llm_quota_vars_consumer(value);

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_quota_conf_zone_down(ngx_http_llm_quota_zone_t *zone,
    ngx_str_t *value)
{
    if (value->len == 5 && ngx_strncmp(value->data, "local", 5) == 0) {
        zone->down = NGX_HTTP_LLM_DOWN_LOCAL;

    } else if (value->len == 4 && ngx_strncmp(value->data, "open", 4) == 0) {
        zone->down = NGX_HTTP_LLM_DOWN_OPEN;

    } else if (value->len == 6 && ngx_strncmp(value->data, "closed", 6) == 0)
    {
        zone->down = NGX_HTTP_LLM_DOWN_CLOSED;

    } else {
        return "is not \"local\", \"open\" or \"closed\"";
    }

    return NGX_CONF_OK;
}


/* N/T; of concurrency only N */

static char *
ngx_http_llm_quota_conf_zone_limit(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_uint_t i, ngx_str_t *value)
{
    u_char     *p;
    char       *rv;
    ngx_str_t   number;

    if (zone->limits[i].n >= 0 || zone->values[i]) {
        return "is duplicate";
    }

    number = *value;

    if (i != NGX_LLM_QUOTA_CONCURRENCY) {

        for (p = value->data + value->len; p > value->data; p--) {
            if (p[-1] == '/') {
                break;
            }
        }

        if (p == value->data
            || ngx_llm_limit_period(p, value->data + value->len - p,
                                    &zone->limits[i].period)
               != NGX_OK)
        {
            return "has no valid window, use \"/Ns\", \"/Nm\" or \"/Nh\" up "
                   "to 1h, \"/day\" or \"/month\"";
        }

        number.len = p - 1 - value->data;
    }

    rv = ngx_http_llm_quota_conf_zone_number(cf, zone, i, &number);

    if (rv != NGX_CONF_OK || zone->limits[i].n < 0) {
        return rv;
    }

    /* of money a bucket may hold more, its arithmetic is exact nevertheless */

    if (i < NGX_LLM_QUOTA_COST && zone->limits[i].period > 0
        && zone->limits[i].n > NGX_LLM_BUCKET_MAX / zone->limits[i].period)
    {
        return "is too large for this window, use a shorter one";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_quota_conf_zone_number(ngx_conf_t *cf,
    ngx_http_llm_quota_zone_t *zone, ngx_uint_t i, ngx_str_t *value)
{
    ngx_int_t  rc;

    if (ngx_http_llm_quota_vars_capture(value)) {
        return (i == NGX_LLM_QUOTA_COST)
               ? "has \"$\" before a digit, which is a capture of a regular "
                 "expression, write the amount of USD without \"$\""
               : "has \"$\" before a digit, which is a capture of a regular "
                 "expression, write the number without \"$\"";
    }

    if (value->len && ngx_strlchr(value->data, value->data + value->len, '$'))
    {
        return ngx_http_llm_quota_conf_zone_value(cf, value, &zone->values[i]);
    }

    rc = (i == NGX_LLM_QUOTA_COST)
         ? ngx_llm_limit_usd(value->data, value->len, &zone->limits[i].n)
         : ngx_llm_limit_number(value->data, value->len, &zone->limits[i].n);

    if (rc == NGX_OK) {
        return NGX_CONF_OK;
    }

    return (i == NGX_LLM_QUOTA_COST)
           ? "is not an amount of USD up to 4503599, such as \"50\" or "
             "\"0.5\""
           : "is not an integer, which may end in \"k\", \"m\" or \"g\", or "
             "is too large";
}


static char *
ngx_http_llm_quota_conf_zone_value(ngx_conf_t *cf, ngx_str_t *value,
    ngx_http_complex_value_t **cv)
{
    ngx_http_compile_complex_value_t  ccv;

    *cv = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*cv == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = value;
    ccv.complex_value = *cv;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    (*cv)->value = *value;

    return NGX_CONF_OK;
}


/* llm_quota NAME... [shadow] | off */

char *
ngx_http_llm_quota_conf_apply(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_str_t                   *value;
    ngx_uint_t                   i, j;
    ngx_http_llm_main_conf_t    *lmcf;
    ngx_http_llm_quota_zone_t   *zone, **zones;

    if (llcf->quota != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);

    llcf->quota = ngx_array_create(cf->pool, 2, sizeof(void *));
    if (llcf->quota == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    lmcf->charged = 1;

    for (i = 1; i < cf->args->nelts; i++) {

        if (i > 1 && i == cf->args->nelts - 1
            && ngx_strcmp(value[i].data, "shadow") == 0)
        {
            llcf->quota_shadow = 1;
            break;
        }

        zone = ngx_http_llm_quota_conf_zone_add(cf, lmcf, &value[i]);
        if (zone == NULL) {
            return NGX_CONF_ERROR;
        }

        zones = llcf->quota->elts;

        for (j = 0; j < llcf->quota->nelts; j++) {
            if (zones[j] == zone) {
                return "names a zone twice";
            }
        }

        if (llcf->quota->nelts == NGX_LLM_QUOTA_CLAIMS) {
            return "takes 8 zones at most";
        }

        zones = ngx_array_push(llcf->quota);
        if (zones == NULL) {
            return NGX_CONF_ERROR;
        }

        *zones = zone;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_llm_quota_conf_init(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t                   i, j;
    ngx_http_llm_quota_zone_t  **zone;

    zone = lmcf->quota_zones.elts;

    for (i = 0; i < lmcf->quota_zones.nelts; i++) {

        if (!zone[i]->defined) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown llm_quota_zone \"%V\" in %V:%ui",
                          &zone[i]->name, &zone[i]->file, zone[i]->line);
            return NGX_CONF_ERROR;
        }

        if (ngx_http_llm_quota_vars_check(cf, lmcf, zone[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        for (j = 0; j < NGX_LLM_QUOTA_AMOUNTS && !lmcf->redis; j++) {

            if (zone[i]->limits[j].period < 0) {
                ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                              "llm_quota_zone \"%V\" has a budget, but "
                              "without \"llm_redis\" a restart forgets what "
                              "was spent, in %V:%ui", &zone[i]->name,
                              &zone[i]->file, zone[i]->line);
                break;
            }
        }
    }

    return NGX_CONF_OK;
}


ngx_int_t
ngx_http_llm_quota_conf_store(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    lmcf->quota = ngx_llm_quota_create(cf, lmcf->zone);
    if (lmcf->quota == NULL) {
        return NGX_ERROR;
    }

    lmcf->learn = ngx_llm_learn_create(cf, lmcf->zone);
    if (lmcf->learn == NULL) {
        return NGX_ERROR;
    }

    lmcf->quota->metrics = lmcf->metrics;

    ngx_http_llm_quota_conf_digests(lmcf);

    if (lmcf->redis) {
        lmcf->quota->store = &ngx_llm_quota_fleet;
        lmcf->quota->redis = lmcf->redis;
        lmcf->quota->prefix = lmcf->redis_conf->prefix;
        lmcf->quota->instances = lmcf->redis_conf->instances;
    }

    return NGX_OK;
}


/* of names, and of keys that are the same for all requests */

static void
ngx_http_llm_quota_conf_digests(ngx_http_llm_main_conf_t *lmcf)
{
    u_char                       digest[NGX_LLM_DIGEST_LEN];
    ngx_uint_t                   i;
    ngx_http_llm_quota_zone_t  **zone;

    zone = lmcf->quota_zones.elts;

    for (i = 0; i < lmcf->quota_zones.nelts; i++) {

        zone[i]->hash = ngx_llm_row_hash(&zone[i]->name);

        if (zone[i]->key.lengths) {
            continue;
        }

        ngx_llm_digest(lmcf->quota->digest, &zone[i]->key.value, digest);
        ngx_memcpy(zone[i]->digest, digest, NGX_LLM_QUOTA_KEY);
        zone[i]->known = 1;
    }
}


char *
ngx_http_llm_quota_conf_check(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf)
{
    ngx_uint_t                   i;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_llm_quota_zone_t  **zone;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->name.len == 0 && !clcf->noname) {

        /* a server's, for its locations: they are checked themselves */

        return NGX_CONF_OK;
    }

    zone = llcf->quota->elts;

    for (i = 0; i < llcf->quota->nelts; i++) {

        if (zone[i]->consumer && !llcf->auth) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "llm_quota_zone \"%V\" has the key $llm_consumer, "
                          "but in location \"%V\" \"llm_auth\" is off",
                          &zone[i]->name, &clcf->name);
            return NGX_CONF_ERROR;
        }

        if ((zone[i]->limits[NGX_LLM_QUOTA_COST].n >= 0
             || zone[i]->values[NGX_LLM_QUOTA_COST])
            && llcf->pass && !llcf->quota_shadow
            && ngx_http_llm_quota_conf_check_prices(cf, llcf, zone[i])
               != NGX_CONF_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_quota_conf_check_prices(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_quota_zone_t *zone)
{
    ngx_uint_t                  i, j;
    ngx_http_llm_model_t      **model;
    ngx_http_llm_target_t      *target;
    ngx_http_llm_main_conf_t   *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        if (!ngx_http_llm_quota_conf_reaches(cf, llcf, model[i])) {
            continue;
        }

        target = model[i]->targets.elts;

        for (j = 0; j < model[i]->targets.nelts; j++) {

            if (ngx_http_llm_quota_conf_priced(lmcf, model[i], &target[j])) {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "llm_quota_zone \"%V\" limits cost, but the price "
                          "of target \"%V\" of llm_model \"%V\" is not known "
                          "in %V:%ui", &zone->name, &target[j].name,
                          &model[i]->pattern, &model[i]->file,
                          target[j].line);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* 1: it is, or only the request can tell */

static ngx_uint_t
ngx_http_llm_quota_conf_priced(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_model_t *model, ngx_http_llm_target_t *target)
{
    const ngx_llm_price_t  *price;

    if (target->wildcard || (target->model.len == 0 && !model->exact)) {
        return 1;
    }

    price = ngx_llm_prices_of(lmcf->prices, target->price,
                              &target->provider->price_prefix,
                              &target->model, &model->pattern);

    return price && ngx_llm_price_covers(price, price->mode);
}


/*
 * Returns 1 if requests of the location may be for the model.  If a regular
 * expression cannot be evaluated, the location serves no model.
 */

static ngx_uint_t
ngx_http_llm_quota_conf_reaches(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf,
    ngx_http_llm_model_t *model)
{
    ngx_str_t                  rest;
    ngx_http_llm_model_t      *named;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);

    if (llcf->model == NULL || llcf->model->lengths) {
        return 1;
    }

    return ngx_http_llm_route_model(lmcf, cf->log, &llcf->model->value,
                                    &named, &rest)
           == NGX_OK
           && named == model;
}
