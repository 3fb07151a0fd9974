/*
 * llm_hide_header and llm_show_header: the response headers of a provider that
 * a location hides from the client.  The merged lists become one hash and two
 * lists of prefixes, which the header filter reads.
 */


#include "../ngx_http_llm_surface.h"
#include "../ngx_http_llm_provider_conf.h"


static ngx_int_t ngx_http_llm_hide_conf_name(ngx_conf_t *cf, ngx_str_t *name);
static ngx_uint_t ngx_http_llm_hide_conf_shown(ngx_array_t *shown,
    ngx_str_t *name);
static ngx_int_t ngx_http_llm_hide_conf_add(ngx_array_t *keys,
    ngx_array_t *prefixes, ngx_str_t *name, char *value);


/* headers that describe a provider's host or account, or steer the client */

static ngx_str_t  ngx_http_llm_hide_default[] = {
    ngx_string("set-cookie"),
    ngx_string("server"),
    ngx_string("strict-transport-security"),
    ngx_string("alt-svc"),
    ngx_string("nel"),
    ngx_string("report-to"),
    ngx_string("reporting-endpoints"),
    ngx_string("via"),
    ngx_string("openai-organization"),
    ngx_string("openai-project"),
    ngx_string("clear-site-data"),
    ngx_string("access-control-*"),
    ngx_string("x-litellm-*"),
    ngx_string("x-accel-*"),
    ngx_null_string
};


/* llm_hide_header NAME..., llm_show_header NAME... */

char *
ngx_http_llm_hide_conf_header(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char  *p = conf;

    ngx_str_t    *value, *name;
    ngx_uint_t    i;
    ngx_array_t **list;

    list = (ngx_array_t **) (p + cmd->offset);

    if (*list == NGX_CONF_UNSET_PTR) {
        *list = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (*list == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_llm_hide_conf_name(cf, &value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid header name \"%V\" in \"%V\"",
                               &value[i], &value[0]);
            return NGX_CONF_ERROR;
        }

        if (cmd->offset == offsetof(ngx_http_llm_loc_conf_t, hide.shown)
            && ngx_http_llm_provider_conf_hidden(&value[i]))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "header \"%V\" cannot be shown, it is "
                               "hop-by-hop or set by this module", &value[i]);
            return NGX_CONF_ERROR;
        }

        name = ngx_array_push(*list);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = value[i];
    }

    return NGX_CONF_OK;
}


/* Makes the name lower case; an asterisk is allowed at its end. */

static ngx_int_t
ngx_http_llm_hide_conf_name(ngx_conf_t *cf, ngx_str_t *name)
{
    size_t  i, len;

    len = name->len;

    if (len && name->data[len - 1] == '*') {
        len--;
    }

    if (len == 0) {
        return NGX_DECLINED;
    }

    for (i = 0; i < len; i++) {

        if (name->data[i] <= ' ' || name->data[i] >= 0x7f
            || ngx_strchr(":*$\"(),/;<=>?@[\\]{}", name->data[i]))
        {
            return NGX_DECLINED;
        }
    }

    ngx_strlow(name->data, name->data, name->len);

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_hide_conf_merge(ngx_conf_t *cf, ngx_http_llm_hide_t *prev,
    ngx_http_llm_hide_t *conf)
{
    ngx_str_t        *name;
    ngx_uint_t        i;
    ngx_array_t       keys, shown_prefix, hidden_prefix;
    ngx_hash_init_t   hash;

    if (prev->names.buckets && conf->hidden == NGX_CONF_UNSET_PTR
        && conf->shown == NGX_CONF_UNSET_PTR)
    {
        *conf = *prev;
        return NGX_OK;
    }

    ngx_conf_merge_ptr_value(conf->hidden, prev->hidden, NULL);
    ngx_conf_merge_ptr_value(conf->shown, prev->shown, NULL);

    if (ngx_array_init(&keys, cf->temp_pool, 32, sizeof(ngx_hash_key_t))
        != NGX_OK
        || ngx_array_init(&shown_prefix, cf->pool, 2, sizeof(ngx_str_t))
           != NGX_OK
        || ngx_array_init(&hidden_prefix, cf->pool, 4, sizeof(ngx_str_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (name = ngx_http_llm_hide_default; name->len; name++) {
        if (!ngx_http_llm_hide_conf_shown(conf->shown, name)
            && ngx_http_llm_hide_conf_add(&keys, &hidden_prefix, name, "")
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    name = conf->hidden ? conf->hidden->elts : NULL;

    for (i = 0; name && i < conf->hidden->nelts; i++) {
        if (!ngx_http_llm_hide_conf_shown(conf->shown, &name[i])
            && ngx_http_llm_hide_conf_add(&keys, &hidden_prefix, &name[i], "")
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    name = conf->shown ? conf->shown->elts : NULL;

    for (i = 0; name && i < conf->shown->nelts; i++) {
        if (ngx_http_llm_hide_conf_add(&keys, &shown_prefix, &name[i], "s")
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* an empty name ends a list of prefixes */

    if (ngx_http_llm_hide_conf_add(NULL, &shown_prefix, NULL, NULL) != NGX_OK
        || ngx_http_llm_hide_conf_add(NULL, &hidden_prefix, NULL, NULL)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    conf->shown_prefix = shown_prefix.elts;
    conf->hidden_prefix = hidden_prefix.elts;

    hash.hash = &conf->names;
    hash.key = ngx_hash_key_lc;
    hash.max_size = 512;
    hash.bucket_size = ngx_align(512, ngx_cacheline_size);
    hash.name = "llm_hide_header_hash";
    hash.pool = cf->pool;
    hash.temp_pool = NULL;

    return ngx_hash_init(&hash, keys.elts, keys.nelts);
}


/* Returns 1 if llm_show_header names all that the name stands for. */

static ngx_uint_t
ngx_http_llm_hide_conf_shown(ngx_array_t *shown, ngx_str_t *name)
{
    size_t       len;
    ngx_str_t   *pattern;
    ngx_uint_t   i;

    if (shown == NULL) {
        return 0;
    }

    pattern = shown->elts;

    for (i = 0; i < shown->nelts; i++) {
        len = pattern[i].len;

        if (pattern[i].data[len - 1] == '*') {
            len--;

        } else if (len != name->len) {
            continue;
        }

        if (name->len >= len
            && ngx_memcmp(pattern[i].data, name->data, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_llm_hide_conf_add(ngx_array_t *keys, ngx_array_t *prefixes,
    ngx_str_t *name, char *value)
{
    ngx_str_t       *prefix;
    ngx_hash_key_t  *key;

    if (name == NULL || name->data[name->len - 1] == '*') {

        prefix = ngx_array_push(prefixes);
        if (prefix == NULL) {
            return NGX_ERROR;
        }

        ngx_str_null(prefix);

        if (name) {
            prefix->data = name->data;
            prefix->len = name->len - 1;
        }

        return NGX_OK;
    }

    key = ngx_array_push(keys);
    if (key == NULL) {
        return NGX_ERROR;
    }

    key->key = *name;
    key->key_hash = ngx_hash_key_lc(name->data, name->len);
    key->value = value;

    return NGX_OK;
}
