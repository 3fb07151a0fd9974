/*
 * One connection to Redis: the address, TCP or a unix socket, TLS, then the
 * greeting of ngx_llm_redis_hello.c.  Ends in on->ready or on->lost; when to
 * try again is its user's business.  It has the worker's log for what its user
 * says, and one that swallows what nginx would say of each attempt.
 */


#include "ngx_llm_redis_link.h"


#define NGX_LLM_REDIS_ATTEMPT    800    /* to be ready, ms */
#define NGX_LLM_REDIS_READ       16384


static void ngx_llm_redis_link_timer(ngx_event_t *ev);
static void ngx_llm_redis_link_begin(ngx_llm_redis_link_t *link);
static void ngx_llm_redis_link_resolved(void *data);
static void ngx_llm_redis_link_address(ngx_llm_redis_link_t *link,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name);
static void ngx_llm_redis_link_open(ngx_llm_redis_link_t *link);
static void ngx_llm_redis_link_connected(ngx_event_t *ev);
#if (NGX_SSL)
static void ngx_llm_redis_link_tls(ngx_llm_redis_link_t *link);
static void ngx_llm_redis_link_secured(ngx_connection_t *c);
static ngx_int_t ngx_llm_redis_link_trusted(ngx_llm_redis_link_t *link);
#endif
static void ngx_llm_redis_link_greet(ngx_llm_redis_link_t *link);
static void ngx_llm_redis_link_read(ngx_event_t *rev);
static ngx_int_t ngx_llm_redis_link_replies(ngx_llm_redis_link_t *link,
    ngx_connection_t *c);
static ngx_int_t ngx_llm_redis_link_greeted(ngx_llm_redis_link_t *link,
    redisReply *reply);
static void ngx_llm_redis_link_write(ngx_event_t *wev);
static void ngx_llm_redis_link_flush(ngx_event_t *ev);
static void ngx_llm_redis_link_fail(ngx_llm_redis_link_t *link,
    ngx_err_t err, const char *why, ngx_str_t *detail);
static u_char *ngx_llm_redis_link_log(ngx_log_t *log, u_char *buf,
    size_t len);


void
ngx_llm_redis_link_init(ngx_llm_redis_link_t *link,
    ngx_llm_redis_conf_t *conf, const ngx_llm_redis_link_handlers_t *on,
    void *data, ngx_log_t *log)
{
    link->conf = conf;
    link->on = on;
    link->data = data;

    link->log = *log;
    link->log.handler = ngx_llm_redis_link_log;
    link->log.data = link;

    link->quiet = link->log;
    link->quiet.log_level = ngx_min(log->log_level, NGX_LOG_ALERT);

    link->waiter.handler = ngx_llm_redis_link_resolved;
    link->waiter.data = link;

    link->timer.handler = ngx_llm_redis_link_timer;
    link->timer.data = link;
    link->timer.log = &link->log;
    link->timer.cancelable = 1;

    link->flush.handler = ngx_llm_redis_link_flush;
    link->flush.data = link;
    link->flush.log = &link->log;
}


void
ngx_llm_redis_link_retry(ngx_llm_redis_link_t *link, ngx_msec_t delay)
{
    ngx_add_timer(&link->timer, delay);
}


static void
ngx_llm_redis_link_timer(ngx_event_t *ev)
{
    ngx_llm_redis_link_t *link = ev->data;

    if (link->trying) {
        ngx_llm_redis_link_fail(link, NGX_ETIMEDOUT, "no answer", NULL);
        return;
    }

    ngx_llm_redis_link_begin(link);
}


static void
ngx_llm_redis_link_begin(ngx_llm_redis_link_t *link)
{
    ngx_int_t              rc;
    ngx_llm_redis_conf_t  *conf;

    conf = link->conf;
    link->trying = 1;

    ngx_add_timer(&link->timer, NGX_LLM_REDIS_ATTEMPT);

    if (conf->name == NULL) {
        ngx_llm_redis_link_address(link, conf->addr.sockaddr,
                                   conf->addr.socklen, &conf->addr.name);
        ngx_llm_redis_link_open(link);
        return;
    }

    rc = ngx_llm_resolve_check(conf->name);

    if (rc == NGX_AGAIN) {
        ngx_log_debug0(NGX_LOG_DEBUG_HTTP, &link->log, 0,
                       "llm redis waits for the addresses of its name");
        ngx_llm_resolve_wait(conf->name, &link->waiter);
        return;
    }

    ngx_llm_redis_link_resolved(link);
}


/* the addresses of a name take turns: one of them may be a replica */

static void
ngx_llm_redis_link_resolved(void *data)
{
    ngx_llm_redis_link_t *link = data;

    ngx_llm_addr_t   *addr;
    ngx_llm_addrs_t  *addrs;

    addrs = ngx_llm_resolve_pin(link->conf->name);

    if (addrs == NULL || addrs->naddrs == 0) {

        if (addrs) {
            ngx_llm_resolve_unpin(addrs);
        }

        ngx_llm_redis_link_fail(link, 0, "its name has no address", NULL);
        return;
    }

    addr = &addrs->addrs[addrs->next++ % addrs->naddrs];

    ngx_llm_redis_link_address(link, &addr->sockaddr.sockaddr, addr->socklen,
                               &addr->name);

    ngx_llm_resolve_unpin(addrs);

    ngx_llm_redis_link_open(link);
}


static void
ngx_llm_redis_link_address(ngx_llm_redis_link_t *link,
    struct sockaddr *sockaddr, socklen_t socklen, ngx_str_t *name)
{
    ngx_memzero(&link->peer, sizeof(ngx_peer_connection_t));

    ngx_memcpy(&link->sockaddr, sockaddr, socklen);

    link->name.data = link->text;
    link->name.len = ngx_min(name->len, sizeof(link->text));
    ngx_memcpy(link->text, name->data, link->name.len);

    link->peer.sockaddr = &link->sockaddr.sockaddr;
    link->peer.socklen = socklen;
    link->peer.name = &link->name;
    link->peer.get = ngx_event_get_peer;
    link->peer.log = &link->quiet;
    link->peer.log_error = NGX_ERROR_ERR;
    link->peer.so_keepalive = (sockaddr->sa_family != AF_UNIX);
}


static void
ngx_llm_redis_link_open(ngx_llm_redis_link_t *link)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, &link->log, 0,
                   "llm redis connects to %V", &link->name);

    rc = ngx_event_connect_peer(&link->peer);

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        link->peer.connection = NULL;
        ngx_llm_redis_link_fail(link, ngx_socket_errno, "connect() failed",
                                NULL);
        return;
    }

    c = link->peer.connection;
    c->data = link;
    c->read->handler = ngx_llm_redis_link_connected;
    c->write->handler = ngx_llm_redis_link_connected;

    c->pool = ngx_create_pool(512, &link->quiet);

    if (c->pool == NULL
        || ngx_llm_redis_wire_open(&link->wire, link->conf->reply) != NGX_OK)
    {
        ngx_llm_redis_link_fail(link, 0, "no memory", NULL);
        return;
    }

    if (rc == NGX_OK) {
        ngx_llm_redis_link_connected(c->write);
    }
}


static void
ngx_llm_redis_link_connected(ngx_event_t *ev)
{
    int                    err;
    socklen_t              len;
    ngx_connection_t      *c;
    ngx_llm_redis_link_t  *link;

    c = ev->data;
    link = c->data;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        ngx_llm_redis_link_fail(link, err, "connect() failed", NULL);
        return;
    }

    if (!c->write->ready) {
        return;
    }

    (void) ngx_tcp_nodelay(c);

    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, &link->log, 0,
                   "llm redis connection established");

#if (NGX_SSL)
    if (link->conf->ssl) {
        ngx_llm_redis_link_tls(link);
        return;
    }
#endif

    ngx_llm_redis_link_greet(link);
}


#if (NGX_SSL)

static void
ngx_llm_redis_link_tls(ngx_llm_redis_link_t *link)
{
    u_char            *name;
    ngx_connection_t  *c;

    c = link->peer.connection;

    if (ngx_ssl_create_connection(link->conf->ssl, c, NGX_SSL_CLIENT)
        != NGX_OK)
    {
        ngx_llm_redis_link_fail(link, 0, "no memory", NULL);
        return;
    }

    /* the buffer can have moved when a write is repeated */

    (void) SSL_set_mode(c->ssl->connection,
                        SSL_MODE_ENABLE_PARTIAL_WRITE
                        |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    name = link->conf->ssl_name.data;

    if (ngx_inet_addr(name, link->conf->ssl_name.len) == INADDR_NONE
        && SSL_set_tlsext_host_name(c->ssl->connection, (char *) name) == 0)
    {
        ngx_llm_redis_link_fail(link, 0, "no memory", NULL);
        return;
    }

    c->ssl->handler = ngx_llm_redis_link_secured;

    if (ngx_ssl_handshake(c) != NGX_AGAIN) {
        ngx_llm_redis_link_secured(c);
    }
}


static void
ngx_llm_redis_link_secured(ngx_connection_t *c)
{
    ngx_llm_redis_link_t *link = c->data;

    if (!c->ssl->handshaked) {
        ngx_llm_redis_link_fail(link, 0, "TLS handshake failed", NULL);
        return;
    }

    if (link->conf->ssl_verify
        && ngx_llm_redis_link_trusted(link) != NGX_OK)
    {
        return;
    }

    ngx_llm_redis_link_greet(link);
}


static ngx_int_t
ngx_llm_redis_link_trusted(ngx_llm_redis_link_t *link)
{
    long               rc;
    ngx_str_t          why;
    ngx_connection_t  *c;

    c = link->peer.connection;

    rc = SSL_get_verify_result(c->ssl->connection);

    if (rc != X509_V_OK) {
        why.data = (u_char *) X509_verify_cert_error_string(rc);
        why.len = ngx_strlen(why.data);

        ngx_llm_redis_link_fail(link, 0, "its certificate is not trusted",
                                &why);
        return NGX_ERROR;
    }

    if (ngx_ssl_check_host(c, &link->conf->ssl_name) != NGX_OK) {
        ngx_llm_redis_link_fail(link, 0, "its certificate does not name",
                                &link->conf->ssl_name);
        return NGX_ERROR;
    }

    return NGX_OK;
}

#endif


static void
ngx_llm_redis_link_greet(ngx_llm_redis_link_t *link)
{
    ngx_connection_t  *c;

    c = link->peer.connection;
    c->read->handler = ngx_llm_redis_link_read;
    c->write->handler = ngx_llm_redis_link_write;

    if (ngx_llm_redis_hello(link) == NGX_ERROR) {
        ngx_llm_redis_link_close(link);
        link->on->lost(link->data);
        return;
    }

    ngx_llm_redis_link_post(link);
}


static void
ngx_llm_redis_link_read(ngx_event_t *rev)
{
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_llm_redis_link_t  *link;
    u_char                 buf[NGX_LLM_REDIS_READ];

    c = rev->data;
    link = c->data;

    /*
     * worker_shutdown_timeout ends all connections.  This one ends with the
     * process, because requests that end now settle over it.
     */

    c->close = 0;
    c->error = 0;

    do {
        n = c->recv(c, buf, NGX_LLM_REDIS_READ);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_llm_redis_link_fail(link, n ? ngx_socket_errno : 0,
                                    n ? "recv() failed"
                                      : "it closed the connection",
                                    NULL);
            return;
        }

        if (ngx_llm_redis_wire_feed(&link->wire, buf, n) != NGX_OK) {
            ngx_llm_redis_link_fail(link, 0, "its answer is too long", NULL);
            return;
        }

        if (ngx_llm_redis_link_replies(link, c) != NGX_OK) {
            return;
        }

    } while (rev->ready);

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_llm_redis_link_fail(link, 0, "no memory", NULL);
    }
}


/* NGX_ERROR: the connection is closed */

static ngx_int_t
ngx_llm_redis_link_replies(ngx_llm_redis_link_t *link, ngx_connection_t *c)
{
    ngx_int_t    rc;
    redisReply  *reply;

    for ( ;; ) {
        rc = ngx_llm_redis_wire_reply(&link->wire, &reply);

        if (rc == NGX_AGAIN) {
            return NGX_OK;
        }

        if (rc != NGX_OK) {
            ngx_llm_redis_link_fail(link, 0, "its answer is no Redis' one",
                                    NULL);
            return NGX_ERROR;
        }

        if (link->ready) {
            link->on->reply(link->data, reply);
            rc = NGX_OK;

        } else {
            rc = ngx_llm_redis_link_greeted(link, reply);
        }

        freeReplyObject(reply);

        if (rc != NGX_OK) {
            ngx_llm_redis_link_close(link);
            link->on->lost(link->data);
            return NGX_ERROR;
        }

        if (link->peer.connection != c) {
            return NGX_ERROR;
        }
    }
}


/* NGX_ERROR: blamed, to be closed */

static ngx_int_t
ngx_llm_redis_link_greeted(ngx_llm_redis_link_t *link, redisReply *reply)
{
    ngx_int_t  rc;

    rc = ngx_llm_redis_hello_reply(link, reply);

    if (rc == NGX_AGAIN) {
        ngx_llm_redis_link_post(link);
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_del_timer(&link->timer);

    link->trying = 0;
    link->ready = 1;

    link->on->ready(link->data);

    return NGX_OK;
}


void
ngx_llm_redis_link_post(ngx_llm_redis_link_t *link)
{
    if (!link->flush.posted) {
        ngx_post_event(&link->flush, &ngx_posted_events);
    }
}


static void
ngx_llm_redis_link_write(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;

    ngx_llm_redis_link_post(c->data);
}


static void
ngx_llm_redis_link_flush(ngx_event_t *ev)
{
    ssize_t                n;
    ngx_connection_t      *c;
    ngx_llm_redis_link_t  *link;
    ngx_llm_redis_wire_t  *wire;

    link = ev->data;
    wire = &link->wire;
    c = link->peer.connection;

    while (wire->pos < wire->last) {

        n = c->send(c, wire->pos, wire->last - wire->pos);

        if (n == NGX_ERROR) {
            ngx_llm_redis_link_fail(link, ngx_socket_errno, "send() failed",
                                    NULL);
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        ngx_llm_redis_wire_sent(wire, n);
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        ngx_llm_redis_link_fail(link, 0, "no memory", NULL);
    }
}


void
ngx_llm_redis_link_close(ngx_llm_redis_link_t *link)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *c;

    link->trying = 0;
    link->ready = 0;

    ngx_llm_resolve_cancel(&link->waiter);

    if (link->timer.timer_set) {
        ngx_del_timer(&link->timer);
    }

    if (link->flush.posted) {
        ngx_delete_posted_event(&link->flush);
    }

    ngx_llm_redis_wire_close(&link->wire);

    c = link->peer.connection;

    if (c == NULL) {
        return;
    }

    link->peer.connection = NULL;

#if (NGX_SSL)
    if (c->ssl) {
        /* silently: the peer may be stuck */
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
        (void) ngx_ssl_shutdown(c);
    }
#endif

    pool = c->pool;

    ngx_close_connection(c);

    if (pool) {
        ngx_destroy_pool(pool);
    }
}


static void
ngx_llm_redis_link_fail(ngx_llm_redis_link_t *link, ngx_err_t err,
    const char *why, ngx_str_t *detail)
{
    ngx_llm_redis_wire_failure(&link->failure, err, why, detail);
    ngx_llm_redis_link_close(link);
    link->on->lost(link->data);
}


static u_char *
ngx_llm_redis_link_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                *p;
    ngx_llm_redis_link_t  *link;

    link = log->data;

    p = ngx_snprintf(buf, len, ", %V: \"%V\"", &link->conf->directive,
                     &link->conf->url);

    if (link->name.len) {
        p = ngx_snprintf(p, len - (p - buf), ", peer: %V", &link->name);
    }

    return p;
}
