/*
 * llm_provider: an endpoint, headers, labels, limits; checked as far as one
 * provider can be checked alone.
 */


#include "../ngx_http_llm_surface.h"
#include "../ngx_http_llm_provider_conf.h"
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_endpoint.h>
#include <ngx_http_llm_filter.h>
#include <ngx_llm_field.h>


#define NGX_HTTP_LLM_DAY  86400000


static ngx_http_llm_provider_t *ngx_http_llm_provider_conf_create(
    ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf, ngx_str_t *name);
static char *ngx_http_llm_provider_conf_done(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_provider_conf_url(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_str_t *endpoint);
static ngx_int_t ngx_http_llm_provider_conf_path(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_provider_conf_upstream(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);


/* hop-by-hop headers, headers for nginx, headers of this module */

static ngx_str_t  ngx_http_llm_hidden_headers[] = {
    ngx_string("X-Request-Id"),
    ngx_string("X-LLM-Provider"),
    ngx_string("X-LLM-Upstream-Request-Id"),
    ngx_string("X-Accel-Expires"),
    ngx_string("X-Accel-Redirect"),
    ngx_string("X-Accel-Limit-Rate"),
    ngx_string("X-Accel-Buffering"),
    ngx_string("X-Accel-Charset"),
    ngx_string("Connection"),
    ngx_string("Keep-Alive"),
    ngx_string("Proxy-Authenticate"),
    ngx_string("Proxy-Connection"),
    ngx_string("TE"),
    ngx_string("Trailer"),
    ngx_string("Upgrade"),
    ngx_null_string
};


char *
ngx_http_llm_provider_conf_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    char                      *rv;
    size_t                     i;
    u_char                     ch;
    ngx_str_t                 *value;
    ngx_uint_t                 n;
    ngx_http_llm_provider_t   *provider, **other;

    value = cf->args->elts;

    if (ngx_http_llm_block_name(cf, "llm_provider", &value[1], 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    for (i = 0; i < value[1].len; i++) {
        ch = value[1].data[i];

        if (!(ch >= '0' && ch <= '9') && !(ch >= 'a' && ch <= 'z')
            && !(ch >= 'A' && ch <= 'Z') && ch != '_' && ch != '-')
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid name of llm_provider \"%V\"",
                               &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    other = lmcf->providers.elts;

    for (n = 0; n < lmcf->providers.nelts; n++) {

        if (other[n]->name.len == value[1].len
            && ngx_memcmp(other[n]->name.data, value[1].data, value[1].len)
               == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate llm_provider \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    provider = ngx_http_llm_provider_conf_create(cf, lmcf, &value[1]);
    if (provider == NULL) {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_llm_block_parse(cf, NGX_HTTP_LLM_PROVIDER_CONF, provider);

    return (rv == NGX_CONF_OK)
           ? ngx_http_llm_provider_conf_done(cf, lmcf, provider) : rv;
}


static ngx_http_llm_provider_t *
ngx_http_llm_provider_conf_create(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_str_t *name)
{
    ngx_http_llm_provider_t  *provider, **slot;

    provider = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_provider_t));
    if (provider == NULL) {
        return NULL;
    }

    slot = ngx_array_push(&lmcf->providers);
    if (slot == NULL) {
        return NULL;
    }

    if (ngx_array_init(&provider->credentials, cf->pool, 1,
                       sizeof(ngx_http_llm_credential_t))
        != NGX_OK)
    {
        return NULL;
    }

    *slot = provider;

    provider->name = *name;
    provider->file = cf->conf_file->file.name;
    provider->line = cf->conf_file->line;

    provider->type = NGX_CONF_UNSET_UINT;
    provider->api = NGX_CONF_UNSET_UINT;
    provider->stream_usage = NGX_CONF_UNSET;
    provider->max_concurrency = NGX_CONF_UNSET;
    provider->ssl_verify = NGX_CONF_UNSET;
    provider->timeouts.connect = NGX_CONF_UNSET_MSEC;
    provider->timeouts.header = NGX_CONF_UNSET_MSEC;
    provider->timeouts.first_token = NGX_CONF_UNSET_MSEC;
    provider->timeouts.idle = NGX_CONF_UNSET_MSEC;
    provider->timeouts.total = NGX_CONF_UNSET_MSEC;

    return provider;
}


/* the closing brace */

static char *
ngx_http_llm_provider_conf_done(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    ngx_str_t  endpoint;

    ngx_conf_init_value(provider->stream_usage, 1);
    ngx_conf_init_value(provider->max_concurrency, 0);
    ngx_conf_init_value(provider->ssl_verify, 1);

    if (ngx_http_llm_provider_type_done(cf, provider) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (provider->endpoint.data == NULL
        && (ngx_http_llm_provider_type_endpoint(cf, provider, &endpoint)
            != NGX_OK
            || ngx_http_llm_provider_conf_url(cf, provider, &endpoint)
               != NGX_OK))
    {
        return NGX_CONF_ERROR;
    }

    if (ngx_http_llm_provider_type_quirks(cf, provider) != NGX_OK
        || ngx_http_llm_provider_credential_done(cf, provider) != NGX_OK
        || ngx_http_llm_endpoint_create(cf, provider, ngx_http_llm_peer_init)
           != NGX_OK
        || ngx_http_llm_provider_conf_upstream(cf, lmcf, provider) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


char *
ngx_http_llm_provider_conf_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_llm_provider_t  *provider = conf;

    ngx_str_t  *value;

    if (provider->endpoint.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    return (ngx_http_llm_provider_conf_url(cf, provider, &value[1]) == NGX_OK)
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* SCHEME://HOST[:PORT][/PATH], the whole base path of the operations */

static ngx_int_t
ngx_http_llm_provider_conf_url(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_str_t *endpoint)
{
    size_t       add;
    u_char      *p, *last;
    in_port_t    port;
    ngx_url_t   *u;

    provider->endpoint = *endpoint;
    u = &provider->url;

    if (endpoint->len > 7
        && ngx_strncasecmp(endpoint->data, (u_char *) "http://", 7) == 0)
    {
        add = 7;
        port = 80;

    } else if (endpoint->len > 8
               && ngx_strncasecmp(endpoint->data, (u_char *) "https://", 8)
                  == 0)
    {
        add = 8;
        port = 443;
        provider->ssl = 1;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "endpoint \"%V\" of llm_provider \"%V\" is not an "
                           "http:// or https:// URL", endpoint,
                           &provider->name);
        return NGX_ERROR;
    }

    last = endpoint->data + endpoint->len;

    for (p = endpoint->data + add; p < last; p++) {
        if (*p <= ' ' || *p >= 0x7f || *p == '?' || *p == '#' || *p == '@') {
            /* not printed: it may be a password or a key that is too much */

            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid endpoint of llm_provider \"%V\": a "
                               "scheme, a host and a path are all it may "
                               "have", &provider->name);
            return NGX_ERROR;
        }
    }

    p = ngx_strlchr(endpoint->data + add, last, '/');

    if (p) {
        provider->path.data = p;
        provider->path.len = last - p;

        while (provider->path.len
               && provider->path.data[provider->path.len - 1] == '/')
        {
            provider->path.len--;
        }

        last = p;

        if (ngx_http_llm_provider_conf_path(cf, provider) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    u->url.data = endpoint->data + add;
    u->url.len = last - u->url.data;
    u->default_port = port;
    u->no_resolve = 1;

    if (u->url.len == 0 || ngx_parse_url(cf->pool, u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in endpoint \"%V\" of llm_provider \"%V\"",
                           u->err ? u->err : "no host", endpoint,
                           &provider->name);
        return NGX_ERROR;
    }

    /* as a browser would write it: the default port goes without saying */

    provider->host = (u->no_port || u->port == port) ? u->host : u->url;

    return NGX_OK;
}


/*
 * Refuses a path that ends in an operation, which nginx would append again.
 * A path "/models" alone is accepted: hosts of Azure have their API below it.
 */

static ngx_int_t
ngx_http_llm_provider_conf_path(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    ngx_str_t                  base, suffix, *path;
    ngx_http_llm_operation_t  *operation;

    static ngx_str_t  messages = ngx_string("/v1/messages");

    path = &provider->path;
    operation = ngx_http_llm_route_suffix(path);

    if (operation) {
        suffix = operation->suffix;

    } else if (path->len >= messages.len
               && ngx_memcmp(path->data + path->len - messages.len,
                             messages.data, messages.len)
                  == 0)
    {
        ngx_str_set(&suffix, "messages");

    } else {
        return NGX_OK;
    }

    if (operation && operation->methods == (NGX_HTTP_GET|NGX_HTTP_HEAD)
        && path->len == suffix.len + 1)
    {
        return NGX_OK;
    }

    base.data = provider->endpoint.data;
    base.len = path->data + path->len - suffix.len - 1 - base.data;

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "endpoint \"%V\" of llm_provider \"%V\" ends in the "
                       "operation \"%V\", which nginx appends itself, use "
                       "\"%V\"", &provider->endpoint, &provider->name,
                       &suffix, &base);

    return NGX_ERROR;
}


char *
ngx_http_llm_provider_conf_label(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_provider_t  *provider = conf;

    u_char        *p;
    ngx_str_t     *value;
    ngx_uint_t     i;
    ngx_keyval_t  *label;

    if (provider->labels == NULL) {
        provider->labels = ngx_array_create(cf->pool, 2,
                                            sizeof(ngx_keyval_t));
        if (provider->labels == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        p = ngx_strlchr(value[i].data, value[i].data + value[i].len, '=');

        if (p == NULL || p == value[i].data
            || p + 1 == value[i].data + value[i].len)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid label \"%V\", NAME=VALUE[,VALUE] is "
                               "expected", &value[i]);
            return NGX_CONF_ERROR;
        }

        label = ngx_array_push(provider->labels);
        if (label == NULL) {
            return NGX_CONF_ERROR;
        }

        label->key.data = value[i].data;
        label->key.len = p - value[i].data;
        label->value.data = p + 1;
        label->value.len = value[i].data + value[i].len - (p + 1);
    }

    return NGX_CONF_OK;
}


char *
ngx_http_llm_provider_conf_set_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_llm_provider_t  *provider = conf;

    size_t                             i;
    ngx_str_t                         *value;
    const char                        *why;
    ngx_http_llm_set_header_t         *header;
    ngx_http_compile_complex_value_t   ccv;

    value = cf->args->elts;

    for (i = 0; i < value[1].len; i++) {
        if (value[1].data[i] <= ' ' || value[1].data[i] >= 0x7f
            || value[1].data[i] == ':')
        {
            break;
        }
    }

    why = (i < value[1].len || value[1].len == 0)
          ? "is not a name" : ngx_http_llm_header_refused(&value[1], 1);

    if (why) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "header \"%V\" of llm_provider \"%V\" %s",
                           &value[1], &provider->name, why);
        return NGX_CONF_ERROR;
    }

    if (provider->headers == NULL) {
        provider->headers = ngx_array_create(cf->pool, 2,
                                         sizeof(ngx_http_llm_set_header_t));
        if (provider->headers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    header = ngx_array_push(provider->headers);
    if (header == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(header, sizeof(ngx_http_llm_set_header_t));

    header->name = value[1];
    header->lowcase.len = value[1].len;
    header->lowcase.data = ngx_pnalloc(cf->pool, value[1].len);
    if (header->lowcase.data == NULL) {
        return NGX_CONF_ERROR;
    }

    header->hash = ngx_hash_strlow(header->lowcase.data, value[1].data,
                                   value[1].len);
    header->secret = ngx_http_llm_header_secret(&header->lowcase);

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &header->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (header->value.lengths == NULL
        && ngx_llm_field_invalid(value[2].data, value[2].data + value[2].len))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "control byte in the value of header \"%V\" of "
                           "llm_provider \"%V\"",
                           &value[1], &provider->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_llm_provider_conf_hidden(ngx_str_t *name)
{
    ngx_str_t  *hidden;

    for (hidden = ngx_http_llm_hidden_headers; hidden->len; hidden++) {

        if (hidden->len == name->len
            && ngx_strncasecmp(hidden->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * nginx's own limits are set out of reach: ours differ by location, while this
 * structure is the provider's identity for TLS and kept connections.
 */

static ngx_int_t
ngx_http_llm_provider_conf_upstream(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider)
{
    ngx_hash_init_t            hash;
    ngx_http_upstream_conf_t  *conf, prev;

    conf = &provider->conf;

    conf->upstream = &lmcf->outer;
    conf->connect_timeout = NGX_HTTP_LLM_DAY;
    conf->send_timeout = NGX_HTTP_LLM_DAY;
    conf->read_timeout = NGX_HTTP_LLM_DAY;
    conf->buffer_size = ngx_pagesize;
    conf->ignore_headers = NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT
                           |NGX_HTTP_UPSTREAM_IGN_XA_EXPIRES
                           |NGX_HTTP_UPSTREAM_IGN_XA_LIMIT_RATE
                           |NGX_HTTP_UPSTREAM_IGN_XA_BUFFERING
                           |NGX_HTTP_UPSTREAM_IGN_XA_CHARSET;
    conf->next_upstream = NGX_HTTP_UPSTREAM_FT_ERROR
                          |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                          |NGX_HTTP_UPSTREAM_FT_INVALID_HEADER
                          |NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT;
    ngx_str_set(&conf->module, "llm");

    if (lmcf->hide.buckets) {
        conf->hide_headers_hash = lmcf->hide;

    } else {
        ngx_memzero(&prev, sizeof(ngx_http_upstream_conf_t));

        prev.hide_headers = NGX_CONF_UNSET_PTR;
        prev.pass_headers = NGX_CONF_UNSET_PTR;
        conf->hide_headers = NGX_CONF_UNSET_PTR;
        conf->pass_headers = NGX_CONF_UNSET_PTR;

        hash.max_size = 512;
        hash.bucket_size = ngx_align(64, ngx_cacheline_size);
        hash.name = "llm_hide_headers_hash";

        if (ngx_http_upstream_hide_headers_hash(cf, conf, &prev,
                                                ngx_http_llm_hidden_headers,
                                                &hash)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        lmcf->hide = conf->hide_headers_hash;
    }

#if (NGX_HTTP_SSL)

    if (provider->ssl
        && ngx_http_llm_provider_tls(cf, lmcf, provider) != NGX_OK)
    {
        return NGX_ERROR;
    }

#endif

    provider->intercept = *conf;
    provider->intercept.intercept_errors = 1;

    return NGX_OK;
}
