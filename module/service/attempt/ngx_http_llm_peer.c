/*
 * The balancer of a provider's own upstream block: the addresses of its host
 * in turns, as they are known now.  A request pins the set it began with, so
 * that an answer of the resolver never pulls an address from under it.
 */


#include <ngx_http_llm_endpoint.h>


#define NGX_HTTP_LLM_PEER_FAILED  10    /* seconds a failed address rests */


typedef struct {
    ngx_http_llm_provider_t  *provider;
    ngx_llm_addrs_t          *addrs;
    ngx_llm_addr_t           *addr;      /* being tried */
} ngx_http_llm_peer_t;


static void ngx_http_llm_peer_unpin(void *data);
static ngx_int_t ngx_http_llm_peer_get(ngx_peer_connection_t *pc, void *data);
static void ngx_http_llm_peer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
#if (NGX_SSL)
static ngx_int_t ngx_http_llm_peer_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_llm_peer_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif
static void ngx_http_llm_peer_timer(ngx_event_t *ev);
static void ngx_http_llm_peer_resolved(void *data);
static void ngx_http_llm_peer_cancel(void *data);


ngx_int_t
ngx_http_llm_peer_init(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_llm_peer_t    *peer;
    ngx_peer_connection_t  *pc;

    pc = &r->upstream->peer;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_llm_peer_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    peer = cln->data;
    peer->provider = us->srv_conf[ngx_http_llm_module.ctx_index];
    peer->addr = NULL;
    peer->addrs = ngx_llm_resolve_pin(peer->provider->resolve);

    if (peer->addrs) {
        cln->handler = ngx_http_llm_peer_unpin;
    }

    pc->data = peer;
    pc->get = ngx_http_llm_peer_get;
    pc->free = ngx_http_llm_peer_free;
    pc->tries = peer->addrs ? peer->addrs->naddrs : 0;
#if (NGX_SSL)
    pc->set_session = ngx_http_llm_peer_set_session;
    pc->save_session = ngx_http_llm_peer_save_session;
#endif

    return NGX_OK;
}


static void
ngx_http_llm_peer_unpin(void *data)
{
    ngx_http_llm_peer_t  *peer = data;

    ngx_llm_resolve_unpin(peer->addrs);
}


/* in turns; one that has failed just now only if all have */

static ngx_int_t
ngx_http_llm_peer_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_llm_peer_t  *peer = data;

    time_t            now;
    ngx_uint_t        i;
    ngx_llm_addr_t   *addr, *oldest;
    ngx_llm_addrs_t  *addrs;

    addrs = peer->addrs;

    if (addrs == NULL) {
        return NGX_BUSY;
    }

    now = ngx_time();
    oldest = NULL;

    for (i = 0; i < addrs->naddrs; i++) {

        addr = &addrs->addrs[addrs->next++ % addrs->naddrs];

        if (addr->failed == 0
            || now - addr->failed >= NGX_HTTP_LLM_PEER_FAILED)
        {
            oldest = addr;
            break;
        }

        if (addr != peer->addr
            && (oldest == NULL || addr->failed < oldest->failed))
        {
            oldest = addr;
        }
    }

    if (oldest == NULL) {
        oldest = &addrs->addrs[0];
    }

    peer->addr = oldest;

    pc->cached = 0;
    pc->connection = NULL;
    pc->sockaddr = &oldest->sockaddr.sockaddr;
    pc->socklen = oldest->socklen;
    pc->name = &oldest->name;

    return NGX_OK;
}


static void
ngx_http_llm_peer_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_llm_peer_t  *peer = data;

    if (peer->addr) {
        peer->addr->failed = (state & NGX_PEER_FAILED) ? ngx_time() : 0;
    }

    if (pc->tries) {
        pc->tries--;
    }
}


#if (NGX_SSL)

/* one session for the provider: its addresses are one server's */

static ngx_int_t
ngx_http_llm_peer_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_llm_peer_t  *peer = data;

    if (peer->provider->session == NULL) {
        return NGX_OK;
    }

    return ngx_ssl_set_session(pc->connection, peer->provider->session);
}


static void
ngx_http_llm_peer_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_llm_peer_t  *peer = data;

    ngx_ssl_session_t  *session;

    session = ngx_ssl_get_session(pc->connection);

    if (session == NULL) {
        return;
    }

    if (peer->provider->session) {
        ngx_ssl_free_session(peer->provider->session);
    }

    peer->provider->session = session;
}

#endif


ngx_int_t
ngx_http_llm_peer_wait(ngx_http_request_t *r,
    void (*resume)(ngx_http_request_t *r))
{
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    ngx_http_cleanup_t       *cln;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_target_t    *target;
    ngx_http_llm_provider_t  *provider;
    ngx_http_llm_loc_conf_t  *llcf;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    target = ctx->charge->model->targets.elts;
    n = ctx->charge->model->targets.nelts;
    provider = NULL;

    for (i = 0; i < n; i++) {
        provider = target[i].provider;

        if (!(ctx->balance.allowed & (uint64_t) 1 << i)) {
            continue;
        }

        if (provider->uscf != provider->block) {
            return NGX_OK;
        }

        rc = ngx_llm_resolve_check(provider->resolve);

        if (rc == NGX_OK) {
            return NGX_OK;
        }

        if (rc == NGX_AGAIN) {
            break;
        }
    }

    if (i == n || ctx->wait.timedout) {
        return NGX_OK;
    }

    ctx->wait.resume = resume;
    ctx->wait.waiter.handler = ngx_http_llm_peer_resolved;
    ctx->wait.waiter.data = r;

    if (!ctx->wait.timer.timer_set) {

        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NGX_OK;
        }

        cln->handler = ngx_http_llm_peer_cancel;
        cln->data = ctx;

        ctx->wait.timer.handler = ngx_http_llm_peer_timer;
        ctx->wait.timer.data = r;
        ctx->wait.timer.log = r->connection->log;

        llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

        ngx_add_timer(&ctx->wait.timer,
                      (provider->timeouts.connect != NGX_CONF_UNSET_MSEC)
                      ? provider->timeouts.connect : llcf->timeouts.connect);
    }

    ngx_llm_resolve_wait(provider->resolve, &ctx->wait.waiter);

    return NGX_AGAIN;
}


static void
ngx_http_llm_peer_timer(ngx_event_t *ev)
{
    ngx_http_request_t  *r = ev->data;

    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->wait.timedout = 1;
    ngx_llm_resolve_cancel(&ctx->wait.waiter);

    ngx_http_llm_peer_resolved(r);
}


static void
ngx_http_llm_peer_resolved(void *data)
{
    ngx_http_request_t  *r = data;

    ngx_connection_t    *c;
    ngx_http_llm_ctx_t  *ctx;

    c = r->connection;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_set_log_request(c->log, r);

    if (ngx_http_llm_peer_wait(r, ctx->wait.resume) == NGX_AGAIN) {
        /* the next target's name is being asked for */
        return;
    }

    ngx_http_llm_peer_cancel(ctx);

    ctx->wait.resume(r);

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_llm_peer_cancel(void *data)
{
    ngx_http_llm_peer_done(data);
}


void
ngx_http_llm_peer_done(ngx_http_llm_ctx_t *ctx)
{
    ngx_llm_resolve_cancel(&ctx->wait.waiter);

    if (ctx->wait.timer.timer_set) {
        ngx_del_timer(&ctx->wait.timer);
    }
}
