/*
 * Resolves host names at run time with nginx's resolver.  A name is resolved
 * again on use after its TTL; the old addresses are used meanwhile.  There is
 * no timer that could keep an exiting worker.
 */


#include <ngx_llm_resolve.h>


#define NGX_LLM_RESOLVE_TIMEOUT  5000   /* of a query, ms */
#define NGX_LLM_RESOLVE_RETRY    2      /* after a failure, s */
#define NGX_LLM_RESOLVE_MAX      64     /* addresses of one name */


static ngx_int_t ngx_llm_resolve_query(ngx_llm_name_t *name);
static void ngx_llm_resolve_handler(ngx_resolver_ctx_t *ctx);
static ngx_uint_t ngx_llm_resolve_routed(ngx_resolver_addr_t *addr);
static void ngx_llm_resolve_wake(ngx_llm_name_t *name);
static ngx_llm_addrs_t *ngx_llm_resolve_alloc(ngx_uint_t n,
    ngx_log_t *log);
static void ngx_llm_resolve_add(ngx_llm_addrs_t *addrs,
    struct sockaddr *sockaddr, socklen_t socklen, in_port_t port);
static void ngx_llm_resolve_replace(ngx_llm_name_t *name,
    ngx_llm_addrs_t *addrs);


ngx_llm_name_t *
ngx_llm_resolve_create(ngx_pool_t *pool, ngx_str_t *host, in_port_t port)
{
    ngx_llm_name_t  *name;

    name = ngx_pcalloc(pool, sizeof(ngx_llm_name_t));
    if (name == NULL) {
        return NULL;
    }

    name->host = *host;
    name->port = port;

    ngx_queue_init(&name->waiters);

    return name;
}


ngx_int_t
ngx_llm_resolve_seed(ngx_llm_name_t *name, ngx_addr_t *addrs,
    ngx_uint_t naddrs, ngx_log_t *log)
{
    ngx_uint_t        i;
    ngx_llm_addrs_t  *set;

    set = ngx_llm_resolve_alloc(naddrs, log);
    if (set == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < naddrs && i < NGX_LLM_RESOLVE_MAX; i++) {
        ngx_llm_resolve_add(set, addrs[i].sockaddr, addrs[i].socklen,
                            name->port);
    }

    ngx_llm_resolve_replace(name, set);

    return NGX_OK;
}


void
ngx_llm_resolve_done(ngx_llm_name_t *name)
{
    if (name->addrs) {
        ngx_llm_resolve_unpin(name->addrs);
        name->addrs = NULL;
    }
}


ngx_resolver_t *
ngx_llm_resolve_system(ngx_conf_t *cf)
{
    u_char      *p, *last, *end;
    ssize_t      n;
    ngx_fd_t     fd;
    ngx_str_t    names[4];
    ngx_uint_t   count;
    u_char       text[4096];

    fd = ngx_open_file((u_char *) "/etc/resolv.conf", NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        return NULL;
    }

    n = ngx_read_fd(fd, text, sizeof(text));

    ngx_close_file(fd);

    if (n <= 0) {
        return NULL;
    }

    count = 0;
    last = text + n;

    for (p = text; p < last && count < 4; p = end + 1) {

        end = ngx_strlchr(p, last, LF);
        end = end ? end : last;

        if (end - p < (ssize_t) sizeof("nameserver 1::") - 1
            || ngx_strncmp(p, "nameserver", sizeof("nameserver") - 1) != 0)
        {
            continue;
        }

        for (p += sizeof("nameserver") - 1; p < end && *p <= ' '; p++) {
            /* void */
        }

        names[count].data = ngx_pnalloc(cf->pool, end - p + 2);
        if (names[count].data == NULL) {
            return NULL;
        }

        /* an IPv6 address stands in brackets in nginx */

        names[count].len = ngx_sprintf(names[count].data,
                                       ngx_strlchr(p, end, ':') ? "[%*s]"
                                                                : "%*s",
                                       (size_t) (end - p), p)
                           - names[count].data;
        count++;
    }

    return count ? ngx_resolver_create(cf, names, count) : NULL;
}


ngx_int_t
ngx_llm_resolve_check(ngx_llm_name_t *name)
{
    if (name->query == NULL && name->resolver
        && ngx_time() >= name->valid && ngx_time() >= name->retry)
    {
        (void) ngx_llm_resolve_query(name);
    }

    if (name->addrs) {
        return NGX_OK;
    }

    return name->query ? NGX_AGAIN : NGX_DECLINED;
}


static ngx_int_t
ngx_llm_resolve_query(ngx_llm_name_t *name)
{
    ngx_resolver_ctx_t  *ctx;

    /* no further query before this time, even if this one fails */
    name->retry = ngx_time() + NGX_LLM_RESOLVE_RETRY;

    ctx = ngx_resolve_start(name->resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        return NGX_ERROR;
    }

    ctx->name = name->host;
    ctx->handler = ngx_llm_resolve_handler;
    ctx->data = name;
    ctx->timeout = NGX_LLM_RESOLVE_TIMEOUT;
    ctx->cancelable = 1;

    name->query = ctx;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, name->resolver->log, 0,
                   "llm resolves \"%V\"", &name->host);

    if (ngx_resolve_name(ctx) != NGX_OK) {
        name->query = NULL;
        return NGX_ERROR;
    }

    /* the handler may have run already */

    return NGX_OK;
}


static void
ngx_llm_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t        i, n;
    ngx_llm_name_t   *name;
    ngx_llm_addrs_t  *addrs;

    name = ctx->data;
    name->query = NULL;

    if (ctx->state || ctx->naddrs == 0) {

        ngx_log_error(NGX_LOG_WARN, ctx->resolver->log, 0,
                      "\"%V\" could not be resolved (%i: %s)%s",
                      &name->host, ctx->state,
                      ngx_resolver_strerror(ctx->state),
                      name->addrs ? ", its last addresses are used" : "");

    } else {
        addrs = ngx_llm_resolve_alloc(ctx->naddrs, ctx->resolver->log);

        if (addrs) {
            for (n = 0; n < 2 && addrs->naddrs == 0; n++) {

                for (i = 0; i < ctx->naddrs && i < NGX_LLM_RESOLVE_MAX; i++) {

                    /* if there is no way to any, all are as good */

                    if (n || ngx_llm_resolve_routed(&ctx->addrs[i])) {
                        ngx_llm_resolve_add(addrs, ctx->addrs[i].sockaddr,
                                            ctx->addrs[i].socklen,
                                            name->port);
                    }
                }
            }

            ngx_llm_resolve_replace(name, addrs);

            ngx_log_debug3(NGX_LOG_DEBUG_HTTP, ctx->resolver->log, 0,
                           "llm resolved \"%V\", %ui addresses, valid for "
                           "%T s", &name->host, addrs->naddrs,
                           ctx->valid - ngx_time());

            name->valid = ctx->valid;
            name->retry = 0;
        }
    }

    ngx_resolve_name_done(ctx);

    ngx_llm_resolve_wake(name);
}


/*
 * Is there a route to it?  An IPv6 address of a host is of no use where only
 * IPv4 is configured, as AI_ADDRCONFIG has it.  A connected datagram socket
 * sends nothing.
 */

static ngx_uint_t
ngx_llm_resolve_routed(ngx_resolver_addr_t *addr)
{
#if (NGX_HAVE_INET6)
    int             rc;
    ngx_socket_t    s;
    ngx_sockaddr_t  sa;

    if (addr->sockaddr->sa_family != AF_INET6) {
        return 1;
    }

    s = ngx_socket(AF_INET6, SOCK_DGRAM, 0);

    if (s == (ngx_socket_t) -1) {
        return 0;
    }

    ngx_memcpy(&sa, addr->sockaddr, addr->socklen);
    ngx_inet_set_port(&sa.sockaddr, 443);

    rc = connect(s, &sa.sockaddr, addr->socklen);

    (void) ngx_close_socket(s);

    return rc == 0;
#else
    return 1;
#endif
}


/* Calls the handlers of all waiters; a handler may start a new wait. */

static void
ngx_llm_resolve_wake(ngx_llm_name_t *name)
{
    ngx_queue_t        queue, *q;
    ngx_llm_waiter_t  *waiter;

    ngx_queue_init(&queue);

    if (ngx_queue_empty(&name->waiters)) {
        return;
    }

    ngx_queue_add(&queue, &name->waiters);
    ngx_queue_init(&name->waiters);

    while (!ngx_queue_empty(&queue)) {
        q = ngx_queue_head(&queue);
        ngx_queue_remove(q);

        waiter = ngx_queue_data(q, ngx_llm_waiter_t, queue);
        waiter->waiting = 0;
        waiter->handler(waiter->data);
    }
}


void
ngx_llm_resolve_wait(ngx_llm_name_t *name, ngx_llm_waiter_t *waiter)
{
    waiter->waiting = 1;
    ngx_queue_insert_tail(&name->waiters, &waiter->queue);
}


void
ngx_llm_resolve_cancel(ngx_llm_waiter_t *waiter)
{
    if (waiter->waiting) {
        waiter->waiting = 0;
        ngx_queue_remove(&waiter->queue);
    }
}


ngx_llm_addrs_t *
ngx_llm_resolve_pin(ngx_llm_name_t *name)
{
    if (name->addrs) {
        name->addrs->refs++;
    }

    return name->addrs;
}


void
ngx_llm_resolve_unpin(ngx_llm_addrs_t *addrs)
{
    if (--addrs->refs == 0) {
        ngx_free(addrs);
    }
}


/* the name itself holds one reference */

static void
ngx_llm_resolve_replace(ngx_llm_name_t *name, ngx_llm_addrs_t *addrs)
{
    if (name->addrs) {
        ngx_llm_resolve_unpin(name->addrs);
    }

    addrs->refs = 1;
    name->addrs = addrs;
}


static ngx_llm_addrs_t *
ngx_llm_resolve_alloc(ngx_uint_t n, ngx_log_t *log)
{
    ngx_llm_addrs_t  *addrs;

    n = ngx_min(n, NGX_LLM_RESOLVE_MAX);

    addrs = ngx_alloc(sizeof(ngx_llm_addrs_t) + n * sizeof(ngx_llm_addr_t),
                      log);
    if (addrs) {
        ngx_memzero(addrs, sizeof(ngx_llm_addrs_t));
    }

    return addrs;
}


static void
ngx_llm_resolve_add(ngx_llm_addrs_t *addrs, struct sockaddr *sockaddr,
    socklen_t socklen, in_port_t port)
{
    ngx_llm_addr_t  *addr;

    addr = &addrs->addrs[addrs->naddrs++];

    ngx_memcpy(&addr->sockaddr, sockaddr, socklen);
    ngx_inet_set_port(&addr->sockaddr.sockaddr, port);

    addr->socklen = socklen;
    addr->failed = 0;
    addr->name.data = addr->text;
    addr->name.len = ngx_sock_ntop(&addr->sockaddr.sockaddr, socklen,
                                   addr->text, NGX_SOCKADDR_STRLEN, 1);
}
