/*
 * The variables in the key and the limits of llm_quota_zone: finds mistakes
 * that would leave a limit empty, and so without effect, at every request.
 * Called while the configuration is read.
 */


#include "../ngx_http_llm_surface.h"


#define NGX_HTTP_LLM_CONSUMER  "llm_consumer"


static ngx_int_t ngx_http_llm_quota_vars_text(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_quota_zone_t *zone,
    ngx_str_t *param, ngx_str_t *text);
static ngx_int_t ngx_http_llm_quota_vars_name(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_quota_zone_t *zone,
    ngx_str_t *param, ngx_str_t *text, ngx_str_t *name);
static u_char *ngx_http_llm_quota_vars_next(u_char *p, u_char *last,
    ngx_str_t *name);


ngx_uint_t
ngx_http_llm_quota_vars_capture(ngx_str_t *text)
{
    size_t  i;

    for (i = 1; i < text->len; i++) {

        if (text->data[i - 1] == '$' && text->data[i] >= '0'
            && text->data[i] <= '9')
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_http_llm_quota_vars_consumer(ngx_str_t *text)
{
    u_char     *p, *last;
    ngx_str_t   name;

    last = text->data + text->len;

    for (p = text->data; p < last; /* void */ ) {
        p = ngx_http_llm_quota_vars_next(p, last, &name);

        if (name.len == sizeof(NGX_HTTP_LLM_CONSUMER) - 1
            && ngx_strncasecmp(name.data, (u_char *) NGX_HTTP_LLM_CONSUMER,
                               name.len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_llm_quota_vars_check(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_quota_zone_t *zone)
{
    ngx_uint_t  i;

    static ngx_str_t  key = ngx_string("key=");

    if (ngx_http_llm_quota_vars_text(cf, lmcf, zone, &key, &zone->key.value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_LLM_QUOTA_LIMITS; i++) {

        if (zone->values[i]
            && ngx_http_llm_quota_vars_text(cf, lmcf, zone,
                                            &ngx_http_llm_quota_params[i],
                                            &zone->values[i]->value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_quota_vars_text(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_quota_zone_t *zone, ngx_str_t *param, ngx_str_t *text)
{
    u_char     *p, *last;
    ngx_str_t   name;

    static ngx_str_t  prefix = ngx_string(NGX_HTTP_LLM_CONSUMER "_");

    last = text->data + text->len;

    for (p = text->data; p < last; /* void */ ) {
        p = ngx_http_llm_quota_vars_next(p, last, &name);

        if (name.len <= prefix.len
            || ngx_strncasecmp(name.data, prefix.data, prefix.len) != 0)
        {
            continue;
        }

        name.data += prefix.len;
        name.len -= prefix.len;

        if (ngx_http_llm_quota_vars_name(cf, lmcf, zone, param, text, &name)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* checks one $llm_consumer_NAME of the text, name is NAME */

static ngx_int_t
ngx_http_llm_quota_vars_name(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_quota_zone_t *zone, ngx_str_t *param, ngx_str_t *text,
    ngx_str_t *name)
{
    ngx_uint_t  having, all;

    if (lmcf->keys == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "parameter \"%V%V\" of llm_quota_zone \"%V\" needs "
                      "\"llm_keys\", which has the vars of consumers, in "
                      "%V:%ui", param, text, &zone->name, &zone->file,
                      zone->line);
        return NGX_ERROR;
    }

    ngx_llm_keys_count(lmcf->keys, name, &having, &all);

    if (having == all) {
        return NGX_OK;
    }

    if (having == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "parameter \"%V%V\" of llm_quota_zone \"%V\" is always "
                      "empty, no consumer of \"llm_keys\" has the var \"%V\" "
                      "in %V:%ui", param, text, &zone->name, name,
                      &zone->file, zone->line);
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "parameter \"%V%V\" of llm_quota_zone \"%V\" is empty for "
                  "%ui of %ui consumers of \"llm_keys\", which have no var "
                  "\"%V\", in %V:%ui", param, text, &zone->name, all - having,
                  all, name, &zone->file, zone->line);

    return NGX_OK;
}


/*
 * Sets name to the next $NAME or ${NAME} at or after p, to an empty string if
 * there is none, and returns the position behind it.
 */

static u_char *
ngx_http_llm_quota_vars_next(u_char *p, u_char *last, ngx_str_t *name)
{
    ngx_str_null(name);

    p = ngx_strlchr(p, last, '$');

    if (p == NULL) {
        return last;
    }

    p++;

    if (p < last && *p == '{') {
        p++;
    }

    name->data = p;

    while (p < last && (((*p | 0x20) >= 'a' && (*p | 0x20) <= 'z')
                        || (*p >= '0' && *p <= '9') || *p == '_'))
    {
        p++;
    }

    name->len = p - name->data;

    return p;
}
