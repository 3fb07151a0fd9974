/*
 * llm_admin: commands of an operator, by POST below the prefix of the location.
 * A client's address must match from=, which defaults to the loopback addresses
 * and unix sockets.
 */


#include "../ngx_http_llm_surface.h"


typedef struct {
    ngx_str_t                      word;
    const char                    *state;        /* state after the command */
    void                         (*act)(ngx_http_llm_main_conf_t *lmcf,
                                        ngx_http_llm_provider_t *provider);
} ngx_http_llm_action_t;


static ngx_uint_t ngx_http_llm_admin_allowed(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_admin_act(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_action_t *action);
static void ngx_http_llm_admin_path(ngx_http_request_t *r, ngx_str_t *path);
static ngx_uint_t ngx_http_llm_admin_purge(ngx_http_request_t *r,
    ngx_str_t *path);
static ngx_http_llm_provider_t *ngx_http_llm_admin_provider(
    ngx_http_request_t *r, ngx_str_t *path, ngx_http_llm_action_t **action);
static void ngx_http_llm_admin_drain(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider);
static void ngx_http_llm_admin_resume(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider);
static char *ngx_http_llm_admin_from(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf, ngx_str_t *text);


static ngx_http_llm_action_t  ngx_http_llm_actions[] = {
    { ngx_string("drain"), "drained", ngx_http_llm_admin_drain },
    { ngx_string("resume"), "up", ngx_http_llm_admin_resume },
    { ngx_null_string, NULL, NULL }
};


/* the host itself; a unix socket is always near */

static const char  *ngx_http_llm_admin_near[] = {
    "127.0.0.0/8",
    "::1",
    NULL
};


ngx_int_t
ngx_http_llm_admin_handler(ngx_http_request_t *r)
{
    ngx_int_t                 rc;
    ngx_str_t                 path;
    ngx_uint_t                allowed, purge;
    ngx_http_llm_action_t    *action;
    ngx_http_llm_provider_t  *provider;

    action = NULL;
    ngx_http_llm_admin_path(r, &path);

    allowed = ngx_http_llm_admin_allowed(r);
    purge = ngx_http_llm_admin_purge(r, &path);

    if (purge && allowed && (r->method & NGX_HTTP_POST)) {
        return ngx_http_llm_purge_handler(r);
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (!allowed) {
        return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_FORBIDDEN, NULL,
                                        "You may not do that from there.");
    }

    provider = ngx_http_llm_admin_provider(r, &path, &action);

    if (provider == NULL && !purge) {
        return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_UNKNOWN_OPERATION, NULL,
                                        "There is nothing of that name.");
    }

    if (!(r->method & NGX_HTTP_POST)) {
        return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_METHOD_NOT_ALLOWED,
                                        "POST", NULL);
    }

    return ngx_http_llm_admin_act(r, provider, action);
}


static ngx_int_t
ngx_http_llm_admin_act(ngx_http_request_t *r,
    ngx_http_llm_provider_t *provider, ngx_http_llm_action_t *action)
{
    u_char                    *p;
    ngx_http_complex_value_t   cv;

    static ngx_str_t  json = ngx_string("application/json");

    action->act(ngx_http_get_module_main_conf(r, ngx_http_llm_module),
                provider);

    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                  "llm_provider \"%V\": %V", &provider->name, &action->word);

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    p = ngx_pnalloc(r->pool, sizeof("{\"provider\":\"\",\"state\":\"drained\"}")
                             + provider->name.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cv.value.data = p;
    cv.value.len = ngx_sprintf(p, "{\"provider\":\"%V\",\"state\":\"%s\"}\n",
                               &provider->name, action->state)
                   - p;

    return ngx_http_send_response(r, NGX_HTTP_OK, &json, &cv);
}


static ngx_uint_t
ngx_http_llm_admin_allowed(ngx_http_request_t *r)
{
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

#if (NGX_HAVE_UNIX_DOMAIN)

    if (r->connection->sockaddr->sa_family == AF_UNIX) {
        return llcf->admin_near;
    }

#endif

    if (ngx_cidr_match(r->connection->sockaddr, llcf->admin_from) == NGX_OK) {
        return 1;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm admin: address %V is not in \"from\"",
                   &r->connection->addr_text);

    return 0;
}


/* what stands behind the location's prefix; empty: it has none */

static void
ngx_http_llm_admin_path(ngx_http_request_t *r, ngx_str_t *path)
{
    u_char                    *p, *last;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_str_null(path);

    /* what a regular expression has matched is no prefix */

    if (clcf->name.len > r->uri.len
        || ngx_memcmp(r->uri.data, clcf->name.data, clcf->name.len) != 0)
    {
        return;
    }

    p = r->uri.data + clcf->name.len;
    last = r->uri.data + r->uri.len;

    if ((clcf->name.len == 0 || p[-1] != '/') && (p == last || *p++ != '/')) {
        return;
    }

    path->data = p;
    path->len = last - p;
}


static ngx_uint_t
ngx_http_llm_admin_purge(ngx_http_request_t *r, ngx_str_t *path)
{
    ngx_http_llm_main_conf_t  *lmcf;

    static ngx_str_t  purge = ngx_string("cache/purge");

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    return lmcf->cache.store && path->len == purge.len
           && ngx_memcmp(path->data, purge.data, purge.len) == 0;
}


/* providers/NAME/WORD */

static ngx_http_llm_provider_t *
ngx_http_llm_admin_provider(ngx_http_request_t *r, ngx_str_t *path,
    ngx_http_llm_action_t **action)
{
    u_char                     *p, *last;
    ngx_str_t                   name;
    ngx_uint_t                  i;
    ngx_http_llm_main_conf_t   *lmcf;
    ngx_http_llm_provider_t   **provider;

    p = path->data;
    last = p + path->len;

    if ((size_t) (last - p) < sizeof("providers/") - 1
        || ngx_memcmp(p, "providers/", sizeof("providers/") - 1) != 0)
    {
        return NULL;
    }

    name.data = p + sizeof("providers/") - 1;

    p = ngx_strlchr(name.data, last, '/');

    if (p == NULL) {
        return NULL;
    }

    name.len = p - name.data;
    p++;

    for (*action = ngx_http_llm_actions; (*action)->word.len; (*action)++) {

        if ((*action)->word.len == (size_t) (last - p)
            && ngx_memcmp((*action)->word.data, p, last - p) == 0)
        {
            break;
        }
    }

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {

        if ((*action)->word.len
            && provider[i]->health
            && provider[i]->name.len == name.len
            && ngx_memcmp(provider[i]->name.data, name.data, name.len) == 0)
        {
            return provider[i];
        }
    }

    return NULL;
}


/* no new attempts; what runs there goes on */

static void
ngx_http_llm_admin_drain(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    ngx_llm_health_record_drain(provider->health, 1);
}


/* to be asked again at once, whatever it has done before */

static void
ngx_http_llm_admin_resume(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    ngx_uint_t                  i, n;
    ngx_http_llm_credential_t  *credential;
    ngx_http_llm_model_t      **model;
    ngx_http_llm_target_t      *target;

    ngx_llm_health_record_renew(provider->health);

    credential = provider->credentials.elts;

    for (i = 0; i < provider->credentials.nelts; i++) {
        ngx_llm_health_record_renew(credential[i].health);
    }

    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        target = model[i]->targets.elts;

        for (n = 0; n < model[i]->targets.nelts; n++) {
            if (target[n].provider == provider) {
                ngx_llm_health_record_renew(target[n].health);
            }
        }
    }
}


/* llm_admin [from=CIDR...] */

char *
ngx_http_llm_conf_admin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    char                      *rv;
    ngx_str_t                 *value, near;
    ngx_cidr_t                *cidr;
    ngx_uint_t                 i;
    const char               **text;
    ngx_http_core_loc_conf_t  *clcf;

    rv = ngx_http_llm_page_conf(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->exact_match) {
        return "needs a location with a prefix, remove \"=\", the commands are "
               "below it";
    }

    llcf->admin_from = ngx_array_create(cf->pool, 2, sizeof(ngx_cidr_t));
    if (llcf->admin_from == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_llm_admin_from(cf, llcf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (cf->args->nelts > 1) {
        return NGX_CONF_OK;
    }

    llcf->admin_near = 1;

    for (text = ngx_http_llm_admin_near; *text; text++) {

        near.data = (u_char *) *text;
        near.len = ngx_strlen(*text);

        cidr = ngx_array_push(llcf->admin_from);

        if (cidr == NULL || ngx_ptocidr(&near, cidr) == NGX_ERROR) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_admin_from(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf,
    ngx_str_t *text)
{
    ngx_int_t    rc;
    ngx_str_t    net;
    ngx_cidr_t  *cidr;

    if (text->len <= 5 || ngx_strncmp(text->data, "from=", 5) != 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", text);
        return NGX_CONF_ERROR;
    }

    net.data = text->data + 5;
    net.len = text->len - 5;

    if (net.len == 5 && ngx_strncmp(net.data, "unix:", 5) == 0) {
        llcf->admin_near = 1;
        return NGX_CONF_OK;
    }

    cidr = ngx_array_push(llcf->admin_from);
    if (cidr == NULL) {
        return NGX_CONF_ERROR;
    }

    rc = ngx_ptocidr(&net, cidr);

    if (rc == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid network \"%V\"",
                           &net);
        return NGX_CONF_ERROR;
    }

    if (rc == NGX_DONE) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "low address bits of %V are meaningless", &net);
    }

    return NGX_CONF_OK;
}
