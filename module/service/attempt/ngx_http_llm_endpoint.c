/*
 * The upstream block of a provider.  Each provider gets a block with keepalive
 * while http {} is parsed.  A provider whose endpoint names an upstream {} of
 * the configuration uses that block instead.  Called by the surface.
 */


#include <ngx_http_llm_endpoint.h>


#define NGX_HTTP_LLM_KEEPALIVE  "64"


static ngx_int_t ngx_http_llm_endpoint_confs(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *uscf, ngx_http_conf_ctx_t *ctx);
static ngx_int_t ngx_http_llm_endpoint_keepalive(ngx_conf_t *cf,
    ngx_http_conf_ctx_t *ctx);
static ngx_int_t ngx_http_llm_endpoint_init(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_http_upstream_srv_conf_t *ngx_http_llm_endpoint_find(
    ngx_conf_t *cf, ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_endpoint_resolve(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider);
static ngx_int_t ngx_http_llm_endpoint_resolver(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_provider_t *provider);
static void ngx_http_llm_endpoint_done(void *data);
static const char *ngx_http_llm_endpoint_differ(ngx_http_llm_provider_t *one,
    ngx_http_llm_provider_t *two);


ngx_int_t
ngx_http_llm_endpoint_create(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider, ngx_http_upstream_init_peer_pt init)
{
    u_char                        *p;
    ngx_url_t                      u;
    ngx_pool_cleanup_t            *cln;
    ngx_http_conf_ctx_t            ctx;
    ngx_http_upstream_srv_conf_t  *uscf;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.host.len = sizeof("llm:") - 1 + provider->name.len;
    u.host.data = ngx_pnalloc(cf->pool, u.host.len);
    if (u.host.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(u.host.data, "llm:", sizeof("llm:") - 1);
    ngx_memcpy(p, provider->name.data, provider->name.len);

    u.no_resolve = 1;
    u.no_port = 1;

    uscf = ngx_http_upstream_add(cf, &u, NGX_HTTP_UPSTREAM_CREATE
                                         |NGX_HTTP_UPSTREAM_WEIGHT
                                         |NGX_HTTP_UPSTREAM_MAX_CONNS
                                         |NGX_HTTP_UPSTREAM_MAX_FAILS
                                         |NGX_HTTP_UPSTREAM_FAIL_TIMEOUT
                                         |NGX_HTTP_UPSTREAM_DOWN
                                         |NGX_HTTP_UPSTREAM_BACKUP);
    if (uscf == NULL) {
        return NGX_ERROR;
    }

    provider->block = uscf;
    provider->uscf = uscf;

    if (ngx_http_llm_endpoint_confs(cf, uscf, &ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    uscf->srv_conf[ngx_http_llm_module.ctx_index] = provider;

    /* the keepalive directive wraps the methods that are set before it */

    uscf->peer.init_upstream = ngx_http_llm_endpoint_init;
    uscf->peer.init = init;

    provider->resolve = ngx_llm_resolve_create(cf->pool, &provider->url.host,
                                               provider->url.port);
    cln = ngx_pool_cleanup_add(cf->pool, 0);

    if (provider->resolve == NULL || cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_llm_endpoint_done;
    cln->data = provider;

    return ngx_http_llm_endpoint_keepalive(cf, &ctx);
}


/* Creates the configurations of the block, as ngx_http_upstream() does. */

static ngx_int_t
ngx_http_llm_endpoint_confs(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *uscf, ngx_http_conf_ctx_t *ctx)
{
    void                 *conf;
    ngx_uint_t            m;
    ngx_http_module_t    *module;
    ngx_http_conf_ctx_t  *http;

    http = cf->ctx;

    ctx->main_conf = http->main_conf;
    ctx->srv_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);
    ctx->loc_conf = ngx_pcalloc(cf->pool, sizeof(void *) * ngx_http_max_module);

    if (ctx->srv_conf == NULL || ctx->loc_conf == NULL) {
        return NGX_ERROR;
    }

    ctx->srv_conf[ngx_http_upstream_module.ctx_index] = uscf;
    uscf->srv_conf = ctx->srv_conf;

    for (m = 0; cf->cycle->modules[m]; m++) {

        if (cf->cycle->modules[m]->type != NGX_HTTP_MODULE) {
            continue;
        }

        module = cf->cycle->modules[m]->ctx;

        if (module->create_srv_conf
            && ctx->srv_conf[cf->cycle->modules[m]->ctx_index] == NULL)
        {
            conf = module->create_srv_conf(cf);
            if (conf == NULL) {
                return NGX_ERROR;
            }

            ctx->srv_conf[cf->cycle->modules[m]->ctx_index] = conf;
        }
    }

    return NGX_OK;
}


/* Calls the handler of the keepalive directive of nginx for the block. */

static ngx_int_t
ngx_http_llm_endpoint_keepalive(ngx_conf_t *cf, ngx_http_conf_ctx_t *ctx)
{
    char           *rc;
    ngx_str_t      *value;
    ngx_uint_t      m;
    ngx_conf_t      save;
    ngx_array_t     args;
    ngx_module_t   *module;
    ngx_command_t  *cmd;

    for (m = 0; cf->cycle->modules[m]; m++) {
        if (ngx_strcmp(cf->cycle->modules[m]->name,
                       "ngx_http_upstream_keepalive_module")
            == 0)
        {
            break;
        }
    }

    module = cf->cycle->modules[m];

    if (module == NULL) {
        return NGX_OK;
    }

    for (cmd = module->commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, "keepalive") == 0) {
            break;
        }
    }

    if (cmd->name.len == 0) {
        return NGX_OK;
    }

    if (ngx_array_init(&args, cf->pool, 2, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_ERROR;
    }

    value = ngx_array_push_n(&args, 2);
    if (value == NULL) {
        return NGX_ERROR;
    }

    ngx_str_set(&value[0], "keepalive");
    ngx_str_set(&value[1], NGX_HTTP_LLM_KEEPALIVE);

    save = *cf;
    cf->ctx = ctx;
    cf->args = &args;
    cf->cmd_type = NGX_HTTP_UPS_CONF;

    rc = cmd->set(cf, cmd, ctx->srv_conf[module->ctx_index]);

    *cf = save;

    return (rc == NGX_CONF_OK) ? NGX_OK : NGX_ERROR;
}


/* peer.init_upstream: nginx calls it after http {} and each upstream {} is
   parsed. */

static ngx_int_t
ngx_http_llm_endpoint_init(ngx_conf_t *cf, ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_llm_provider_t       *provider;
    ngx_http_upstream_srv_conf_t  *uscf;

    provider = us->srv_conf[ngx_http_llm_module.ctx_index];

    uscf = ngx_http_llm_endpoint_find(cf, provider);

    if (uscf) {
        provider->uscf = uscf;
        return NGX_OK;
    }

    return ngx_http_llm_endpoint_resolve(cf, provider);
}


static ngx_http_upstream_srv_conf_t *
ngx_http_llm_endpoint_find(ngx_conf_t *cf, ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    if (!provider->url.no_port) {
        return NULL;
    }

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        /* blocks without the flag are from proxy_pass with a host name */

        if ((uscfp[i]->flags & NGX_HTTP_UPSTREAM_CREATE)
            && uscfp[i]->host.len == provider->url.host.len
            && ngx_strncasecmp(uscfp[i]->host.data, provider->url.host.data,
                               provider->url.host.len)
               == 0)
        {
            return uscfp[i];
        }
    }

    return NULL;
}


/* Sets the first addresses; later addresses come from the resolver. */

static ngx_int_t
ngx_http_llm_endpoint_resolve(ngx_conf_t *cf,
    ngx_http_llm_provider_t *provider)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = provider->url.url;
    u.default_port = provider->url.default_port;

    if (ngx_parse_url(cf->pool, &u) == NGX_OK) {
        return ngx_llm_resolve_seed(provider->resolve, u.addrs, u.naddrs,
                                    cf->log);
    }

    ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                  "%s in endpoint \"%V\" of llm_provider \"%V\" in %V:%ui",
                  u.err ? u.err : "no address", &provider->endpoint,
                  &provider->name, &provider->file, provider->line);

    return NGX_OK;
}


static void
ngx_http_llm_endpoint_done(void *data)
{
    ngx_http_llm_provider_t  *provider = data;

    ngx_llm_resolve_done(provider->resolve);

#if (NGX_SSL)
    if (provider->session) {
        ngx_ssl_free_session(provider->session);
        provider->session = NULL;
    }
#endif
}


/*
 * The keepalive cache of a block finds a connection by its address alone.  So
 * providers that share a block must have the same TLS name and verification.
 */

ngx_int_t
ngx_http_llm_endpoint_check(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf)
{
    ngx_uint_t                 i, j;
    const char                *what;
    ngx_http_llm_provider_t  **provider;

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {

        if (ngx_http_llm_endpoint_resolver(cf, lmcf, provider[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        for (j = 0; j < i; j++) {

            if (provider[i]->uscf != provider[j]->uscf) {
                continue;
            }

            what = ngx_http_llm_endpoint_differ(provider[i], provider[j]);

            if (what) {
                ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                              "llm_provider \"%V\" and \"%V\" use upstream "
                              "\"%V\" with different %s in %V:%ui",
                              &provider[j]->name, &provider[i]->name,
                              &provider[i]->uscf->host, what,
                              &provider[i]->file, provider[i]->line);
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_endpoint_resolver(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    ngx_int_t  rc;

    if (provider->uscf != provider->block) {
        return NGX_OK;
    }

    rc = ngx_http_llm_endpoint_ask(cf, lmcf, &provider->url,
                                   provider->resolve);

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                      "no \"resolver\" at the http level and no nameserver "
                      "in /etc/resolv.conf: endpoint \"%V\" of llm_provider "
                      "\"%V\" is resolved only at start in %V:%ui",
                      &provider->endpoint, &provider->name, &provider->file,
                      provider->line);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_endpoint_ask(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_url_t *url, ngx_llm_name_t *name)
{
    ngx_http_core_loc_conf_t  *clcf;

    static ngx_str_t  localhost = ngx_string("localhost");

    if (url->naddrs
        || (url->host.len == localhost.len
            && ngx_strncasecmp(url->host.data, localhost.data, localhost.len)
               == 0))
    {
        return NGX_OK;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        name->resolver = clcf->resolver;
        return NGX_OK;
    }

    if (lmcf->resolver == NULL) {
        lmcf->resolver = ngx_llm_resolve_system(cf);
    }

    name->resolver = lmcf->resolver;

    return name->resolver ? NGX_OK : NGX_DECLINED;
}


static const char *
ngx_http_llm_endpoint_differ(ngx_http_llm_provider_t *one,
    ngx_http_llm_provider_t *two)
{
    ngx_uint_t  i;
    ngx_str_t  *a, *b;

    static struct {
        size_t       offset;
        const char  *name;
    } identity[] = {
        { offsetof(ngx_http_llm_provider_t, ssl_name), "\"ssl_name\"" },
        { offsetof(ngx_http_llm_provider_t, ssl_trusted_certificate),
          "\"ssl_trusted_certificate\"" },
        { offsetof(ngx_http_llm_provider_t, ssl_certificate),
          "\"ssl_certificate\"" }
    };

    if (one->ssl != two->ssl) {
        return "schemes, http and https";
    }

    if (!one->ssl) {
        return NULL;
    }

    if (one->ssl_verify != two->ssl_verify) {
        return "\"ssl_verify\"";
    }

    for (i = 0; i < sizeof(identity) / sizeof(identity[0]); i++) {
        a = (ngx_str_t *) ((char *) one + identity[i].offset);
        b = (ngx_str_t *) ((char *) two + identity[i].offset);

        if (a->len != b->len
            || (a->len && ngx_memcmp(a->data, b->data, a->len) != 0))
        {
            return identity[i].name;
        }
    }

    return NULL;
}
