/*
 * llm_redis and llm_cache_redis: where the Redis is that a fleet shares, for
 * quotas and for the cache, and how it is spoken to; llm_cache_secret, for
 * what the second one must not read.  The URL has no secret, so it may be
 * printed.
 */


#include "../ngx_http_llm_surface.h"
#include "../ngx_http_llm_cache_conf.h"
#include "../ngx_http_llm_provider_conf.h"
#include <ngx_http_llm_endpoint.h>
#include <ngx_llm_secret.h>


#define NGX_HTTP_LLM_REDIS_PORT       6379
#define NGX_HTTP_LLM_REDIS_TIMEOUT    50
#define NGX_HTTP_LLM_REDIS_LONGEST    60000  /* no request waits longer */
#define NGX_HTTP_LLM_REDIS_DBS        65535
#define NGX_HTTP_LLM_REDIS_INSTANCES  10000
#define NGX_HTTP_LLM_REDIS_PREFIX     64

#define NGX_HTTP_LLM_CACHE_REDIS_TIMEOUT  10
#define NGX_HTTP_LLM_CACHE_SECRET         16  /* bytes, at least */


/* the configured parameters, and their state while they are parsed */

typedef struct {
    ngx_llm_redis_conf_t   conf;     /* the first: the client has it */
    ngx_str_t              file;     /* where it is written */
    ngx_uint_t             line;
    ngx_url_t              host;     /* of conf.name */
    ngx_str_t              trusted;  /* ssl_trusted_certificate */
    unsigned               ssl:1;    /* rediss:// */
    unsigned               ssl_set:1;  /* there is a parameter for it */
} ngx_http_llm_redis_conf_t;


typedef struct {
    ngx_str_t              name;     /* with its = */
    const char          *(*set)(ngx_conf_t *cf,
                                ngx_http_llm_redis_conf_t *rcf,
                                ngx_str_t *value);
} ngx_http_llm_redis_param_t;


static char *ngx_http_llm_redis_conf_read(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_redis_conf_t *rcf);
static ngx_http_llm_redis_conf_t *ngx_http_llm_redis_conf(ngx_conf_t *cf);
static const char *ngx_http_llm_redis_conf_params(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf);
static const char *ngx_http_llm_redis_conf_password(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_user(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_timeout(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_prefix(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_instances(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_ssl_verify(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_ssl_trusted(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_ssl_name(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value);
static const char *ngx_http_llm_redis_conf_url(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf);
static ngx_int_t ngx_http_llm_redis_conf_db(ngx_http_llm_redis_conf_t *rcf,
    u_char *p, u_char *last);
static const char *ngx_http_llm_redis_conf_host(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *host);
static ngx_int_t ngx_http_llm_redis_conf_seed(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf);
static void ngx_http_llm_redis_conf_forget(void *data);
static ngx_int_t ngx_http_llm_redis_conf_tls(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_redis_conf_t *rcf);
static void ngx_http_llm_redis_conf_ask(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_llm_redis_conf_t *conf);


static const ngx_http_llm_redis_param_t  ngx_http_llm_redis_table[] = {
    { ngx_string("password="), ngx_http_llm_redis_conf_password },
    { ngx_string("user="), ngx_http_llm_redis_conf_user },
    { ngx_string("timeout="), ngx_http_llm_redis_conf_timeout },
    { ngx_string("prefix="), ngx_http_llm_redis_conf_prefix },
    { ngx_string("instances="), ngx_http_llm_redis_conf_instances },
    { ngx_string("ssl_verify="), ngx_http_llm_redis_conf_ssl_verify },
    { ngx_string("ssl_trusted_certificate="),
      ngx_http_llm_redis_conf_ssl_trusted },
    { ngx_string("ssl_name="), ngx_http_llm_redis_conf_ssl_name },
    { ngx_null_string, NULL }
};


char *
ngx_http_llm_redis_conf_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    char                       *rv;
    ngx_http_llm_redis_conf_t  *rcf;

    if (lmcf->redis) {
        return "is duplicate";
    }

    rcf = ngx_http_llm_redis_conf(cf);
    if (rcf == NULL) {
        return NGX_CONF_ERROR;
    }

    rv = ngx_http_llm_redis_conf_read(cf, lmcf, rcf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    lmcf->redis_conf = &rcf->conf;
    lmcf->redis = ngx_llm_redis_create(cf, &rcf->conf);

    return lmcf->redis ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_llm_redis_conf_cache_redis(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    char                       *rv;
    ngx_http_llm_redis_conf_t  *rcf;

    if (lmcf->cache.redis) {
        return "is duplicate";
    }

    rcf = ngx_http_llm_redis_conf(cf);
    if (rcf == NULL) {
        return NGX_CONF_ERROR;
    }

    rcf->conf.timeout = NGX_HTTP_LLM_CACHE_REDIS_TIMEOUT;
    rcf->conf.reply = NGX_LLM_CACHE_FLEET_REPLY;
    rcf->conf.evicts = 1;

    rv = ngx_http_llm_redis_conf_read(cf, lmcf, rcf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    lmcf->cache.redis_conf = &rcf->conf;
    lmcf->cache.redis = ngx_llm_redis_create(cf, &rcf->conf);
    if (lmcf->cache.redis == NULL) {
        return NGX_CONF_ERROR;
    }

    lmcf->cache.fleet = ngx_llm_cache_fleet_create(cf, lmcf->cache.redis,
                                                   &rcf->conf.prefix, 'c');

    return lmcf->cache.fleet ? NGX_CONF_OK : NGX_CONF_ERROR;
}


char *
ngx_http_llm_redis_conf_cache_secret(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_llm_main_conf_t  *lmcf = conf;

    ngx_str_t  *value, *secret;

    if (lmcf->cache.seal) {
        return "is duplicate";
    }

    value = cf->args->elts;
    secret = &lmcf->cache.secret;

    if (ngx_llm_secret_read(cf, &value[1], secret) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (secret->len < NGX_HTTP_LLM_CACHE_SECRET) {
        return "is too short, it is at least 16 bytes";
    }

    lmcf->cache.seal = ngx_llm_seal_create(cf, secret);

    return lmcf->cache.seal ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* with its defaults */

static ngx_http_llm_redis_conf_t *
ngx_http_llm_redis_conf(ngx_conf_t *cf)
{
    ngx_str_t                  *value;
    ngx_http_llm_redis_conf_t  *rcf;

    rcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_redis_conf_t));
    if (rcf == NULL) {
        return NULL;
    }

    value = cf->args->elts;

    rcf->file = cf->conf_file->file.name;
    rcf->line = cf->conf_file->line;

    rcf->conf.directive = value[0];
    rcf->conf.url = value[1];
    rcf->conf.timeout = NGX_HTTP_LLM_REDIS_TIMEOUT;
    rcf->conf.reply = NGX_LLM_REDIS_REPLY;
    rcf->conf.instances = 1;
    rcf->conf.ssl_verify = 1;
    ngx_str_set(&rcf->conf.prefix, "llm:");

    return rcf;
}


static char *
ngx_http_llm_redis_conf_read(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_redis_conf_t *rcf)
{
    const char  *why;

    why = ngx_http_llm_redis_conf_url(cf, rcf);

    if (why == NULL) {
        why = ngx_http_llm_redis_conf_params(cf, rcf);
    }

    if (why) {
        return (char *) why;
    }

    if (rcf->conf.user.len && rcf->conf.password.len == 0) {
        return "has a \"user\" without a \"password\"";
    }

    if (rcf->ssl_set && !rcf->ssl) {
        return "has an \"ssl_\" parameter, but its URL is not rediss://";
    }

    if (rcf->ssl && ngx_http_llm_redis_conf_tls(cf, lmcf, rcf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static const char *
ngx_http_llm_redis_conf_params(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf)
{
    ngx_str_t                         *value, rest;
    const char                        *why;
    ngx_uint_t                         i, seen;
    const ngx_http_llm_redis_param_t  *param;

    value = cf->args->elts;
    seen = 0;

    for (i = 2; i < cf->args->nelts; i++) {

        for (param = ngx_http_llm_redis_table; param->set; param++) {

            if (value[i].len >= param->name.len
                && ngx_strncmp(value[i].data, param->name.data,
                               param->name.len)
                   == 0)
            {
                break;
            }
        }

        /* not printed: it may be a secret in the wrong place */

        if (param->set == NULL) {
            return "has an unknown parameter";
        }

        if (seen & (1 << (param - ngx_http_llm_redis_table))) {
            return "has a parameter twice";
        }

        seen |= 1 << (param - ngx_http_llm_redis_table);

        rest.data = value[i].data + param->name.len;
        rest.len = value[i].len - param->name.len;

        why = param->set(cf, rcf, &rest);

        if (why) {
            return why;
        }
    }

    return NULL;
}


static const char *
ngx_http_llm_redis_conf_password(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf,
    ngx_str_t *value)
{
    if (ngx_llm_secret_read(cf, value, &rcf->conf.password) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NULL;
}


static const char *
ngx_http_llm_redis_conf_user(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf,
    ngx_str_t *value)
{
    rcf->conf.user = *value;

    return value->len ? NULL : "has an empty \"user\"";
}


static const char *
ngx_http_llm_redis_conf_timeout(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf,
    ngx_str_t *value)
{
    ngx_int_t  timeout;

    timeout = ngx_parse_time(value, 0);

    if (timeout < 1 || timeout > NGX_HTTP_LLM_REDIS_LONGEST) {
        return "has an invalid \"timeout\", it is 1ms to 60s";
    }

    rcf->conf.timeout = timeout;

    return NULL;
}


static const char *
ngx_http_llm_redis_conf_prefix(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf,
    ngx_str_t *value)
{
    ngx_uint_t  i;

    rcf->conf.prefix = *value;

    if (value->len == 0 || value->len > NGX_HTTP_LLM_REDIS_PREFIX) {
        return "has an invalid \"prefix\", it is 1 to 64 characters";
    }

    for (i = 0; i < value->len; i++) {

        /* braces mean something in the keys of Redis */

        if (value->data[i] <= ' ' || value->data[i] > '~'
            || value->data[i] == '{' || value->data[i] == '}')
        {
            return "has an invalid \"prefix\", it is printable ASCII without "
                   "spaces and braces";
        }
    }

    return NULL;
}


static const char *
ngx_http_llm_redis_conf_instances(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value)
{
    rcf->conf.instances = ngx_atoi(value->data, value->len);

    if (rcf->conf.instances < 1
        || rcf->conf.instances > NGX_HTTP_LLM_REDIS_INSTANCES)
    {
        return "has an invalid \"instances\", it is 1 to 10000";
    }

    return NULL;
}


static const char *
ngx_http_llm_redis_conf_ssl_verify(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value)
{
    rcf->ssl_set = 1;

    if (value->len == 2 && ngx_strncmp(value->data, "on", 2) == 0) {
        return NULL;
    }

    if (value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0) {
        rcf->conf.ssl_verify = 0;
        return NULL;
    }

    return "has an \"ssl_verify\" that is neither on nor off";
}


static const char *
ngx_http_llm_redis_conf_ssl_trusted(ngx_conf_t *cf,
    ngx_http_llm_redis_conf_t *rcf, ngx_str_t *value)
{
    rcf->ssl_set = 1;
    rcf->trusted = *value;

    return value->len ? NULL : "has an empty \"ssl_trusted_certificate\"";
}


static const char *
ngx_http_llm_redis_conf_ssl_name(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf,
    ngx_str_t *value)
{
    rcf->ssl_set = 1;
    rcf->conf.ssl_name = *value;

    return value->len ? NULL : "has an empty \"ssl_name\"";
}


/* redis://HOST[:PORT][/DB], rediss:// the same, unix:PATH */

static const char *
ngx_http_llm_redis_conf_url(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf)
{
    u_char     *p, *last, *slash;
    ngx_str_t  *url, host;

    url = &rcf->conf.url;
    p = url->data;
    last = p + url->len;

    if (url->len > 5 && ngx_strncmp(p, "unix:", 5) == 0) {
        return ngx_http_llm_redis_conf_host(cf, rcf, url);
    }

    if (ngx_strncasecmp(p, (u_char *) "redis://", 8) == 0) {
        p += 8;

    } else if (ngx_strncasecmp(p, (u_char *) "rediss://", 9) == 0) {
        p += 9;
        rcf->ssl = 1;

    } else {
        return "is not redis://, rediss:// or unix:";
    }

    host.data = p;

    for (slash = NULL; p < last; p++) {

        /* the URL is not printed, because it can contain a password */

        if (*p == '@') {
            return "has a URL with a user or a password, they are parameters "
                   "of its own";
        }

        if (*p <= ' ' || *p > '~' || *p == '?' || *p == '#') {
            return "has an invalid URL";
        }

        if (*p == '/' && slash == NULL) {
            slash = p;
        }
    }

    if (slash == NULL) {
        slash = last;

    } else if (ngx_http_llm_redis_conf_db(rcf, slash + 1, last) != NGX_OK) {
        return "has an invalid database in its URL, it is 0 to 65535";
    }

    host.len = slash - host.data;

    return ngx_http_llm_redis_conf_host(cf, rcf, &host);
}


static ngx_int_t
ngx_http_llm_redis_conf_db(ngx_http_llm_redis_conf_t *rcf, u_char *p,
    u_char *last)
{
    if (p == last) {
        return NGX_OK;
    }

    rcf->conf.db = ngx_atoi(p, last - p);

    return (rcf->conf.db < 0 || rcf->conf.db > NGX_HTTP_LLM_REDIS_DBS)
           ? NGX_ERROR : NGX_OK;
}


static const char *
ngx_http_llm_redis_conf_host(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf,
    ngx_str_t *host)
{
    ngx_url_t           *u;
    ngx_pool_cleanup_t  *cln;

    u = &rcf->host;
    u->url = *host;
    u->default_port = NGX_HTTP_LLM_REDIS_PORT;
    u->no_resolve = 1;

    if (host->len == 0 || ngx_parse_url(cf->pool, u) != NGX_OK) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in \"%V\" of the \"%V\" directive",
                           u->err ? u->err : "no host", &rcf->conf.url,
                           &rcf->conf.directive);
        return NGX_CONF_ERROR;
    }

    rcf->conf.ssl_name = u->host;

    if (u->naddrs) {
        rcf->conf.addr = u->addrs[0];
        return NULL;
    }

    rcf->conf.name = ngx_llm_resolve_create(cf->pool, &u->host, u->port);
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (rcf->conf.name == NULL || cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_llm_redis_conf_forget;
    cln->data = rcf->conf.name;

    return ngx_http_llm_redis_conf_seed(cf, rcf) == NGX_OK ? NULL
                                                      : NGX_CONF_ERROR;
}


/* the addresses to begin with; a name that has none yet is a warning */

static ngx_int_t
ngx_http_llm_redis_conf_seed(ngx_conf_t *cf, ngx_http_llm_redis_conf_t *rcf)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = rcf->host.url;
    u.default_port = NGX_HTTP_LLM_REDIS_PORT;

    if (ngx_parse_url(cf->pool, &u) == NGX_OK) {
        return ngx_llm_resolve_seed(rcf->conf.name, u.addrs, u.naddrs,
                                    cf->log);
    }

    ngx_conf_log_error(NGX_LOG_WARN, cf, 0, "%s in \"%V\" of \"%V\"",
                       u.err ? u.err : "no address", &rcf->conf.url,
                       &rcf->conf.directive);

    return NGX_OK;
}


static void
ngx_http_llm_redis_conf_forget(void *data)
{
    ngx_llm_resolve_done(data);
}


static ngx_int_t
ngx_http_llm_redis_conf_tls(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_redis_conf_t *rcf)
{
    u_char     *name;
    ngx_int_t   rc;
    ngx_ssl_t  *ssl;

    ssl = ngx_http_llm_provider_tls_create(cf);
    name = ngx_pnalloc(cf->pool, rcf->conf.ssl_name.len + 1);

    if (ssl == NULL || name == NULL) {
        return NGX_ERROR;
    }

    /* OpenSSL wants an end to it */

    ngx_cpystrn(name, rcf->conf.ssl_name.data, rcf->conf.ssl_name.len + 1);
    rcf->conf.ssl_name.data = name;

    rcf->conf.ssl = ssl;

    if (!rcf->conf.ssl_verify) {
        return NGX_OK;
    }

    rc = ngx_http_llm_provider_tls_trust(cf, lmcf, ssl, &rcf->trusted);

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no bundle of trusted certificates is installed, "
                           "set \"ssl_trusted_certificate\" of \"%V\"",
                           &rcf->conf.directive);
    }

    return (rc == NGX_OK) ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_llm_redis_conf_init(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_http_llm_redis_conf_t  *rcf;

    if (lmcf->cache.redis && lmcf->cache.seal == NULL) {
        rcf = (ngx_http_llm_redis_conf_t *) lmcf->cache.redis_conf;

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"llm_cache_redis\" without \"llm_cache_secret\" in "
                      "%V:%ui", &rcf->file, rcf->line);
        return NGX_ERROR;
    }

    ngx_http_llm_redis_conf_ask(cf, lmcf, lmcf->redis_conf);
    ngx_http_llm_redis_conf_ask(cf, lmcf, lmcf->cache.redis_conf);

    return NGX_OK;
}


static void
ngx_http_llm_redis_conf_ask(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_llm_redis_conf_t *conf)
{
    ngx_http_llm_redis_conf_t  *rcf;

    if (conf == NULL || conf->name == NULL) {
        return;
    }

    rcf = (ngx_http_llm_redis_conf_t *) conf;

    if (ngx_http_llm_endpoint_ask(cf, lmcf, &rcf->host, conf->name)
        == NGX_DECLINED)
    {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "no \"resolver\" at the http level and no nameserver "
                      "in /etc/resolv.conf: \"%V\" of \"%V\" is resolved "
                      "only at start", &conf->url, &conf->directive);
    }
}
