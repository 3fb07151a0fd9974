/*
 * ngx_llm_resolve.h: the addresses of a host name, kept fresh while they are
 * used.  A name is one struct, created while the configuration is read; each
 * worker resolves it separately.
 *
 * A set of addresses has a reference count.  A new set replaces the old one,
 * which is freed when its last reference is released.  If a query fails, the
 * last good set stays in use.
 */

#ifndef _NGX_LLM_RESOLVE_H_INCLUDED_
#define _NGX_LLM_RESOLVE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>


typedef struct {
    ngx_sockaddr_t         sockaddr;
    socklen_t              socklen;
    ngx_str_t              name;         /* for logs, "192.0.2.1:443" */
    time_t                 failed;       /* last seen to fail, or 0 */
    u_char                 text[NGX_SOCKADDR_STRLEN];
} ngx_llm_addr_t;


typedef struct {
    ngx_uint_t             refs;
    ngx_uint_t             next;         /* address to use next */
    ngx_uint_t             naddrs;
    ngx_llm_addr_t         addrs[1];     /* naddrs elements */
} ngx_llm_addrs_t;


typedef struct {
    ngx_str_t              host;
    in_port_t              port;
    ngx_resolver_t        *resolver;     /* NULL: never asked */
    ngx_llm_addrs_t       *addrs;        /* NULL: none is known */
    time_t                 valid;        /* fresh until then */
    time_t                 retry;        /* not asked again before */
    ngx_resolver_ctx_t    *query;        /* under way */
    ngx_queue_t            waiters;
} ngx_llm_name_t;


typedef struct {
    ngx_queue_t            queue;
    void                 (*handler)(void *data);
    void                  *data;
    unsigned               waiting:1;
} ngx_llm_waiter_t;


/* NULL: out of memory */
ngx_llm_name_t *ngx_llm_resolve_create(ngx_pool_t *pool, ngx_str_t *host,
    in_port_t port);

/* what getaddrinfo() said at start; used until a query answers */
ngx_int_t ngx_llm_resolve_seed(ngx_llm_name_t *name, ngx_addr_t *addrs,
    ngx_uint_t naddrs, ngx_log_t *log);

/* Frees the addresses; no reference may be held. */
void ngx_llm_resolve_done(ngx_llm_name_t *name);

/*
 * A resolver over the nameservers of /etc/resolv.conf.  NULL: out of memory,
 * or none is listed.
 */
ngx_resolver_t *ngx_llm_resolve_system(ngx_conf_t *cf);

/*
 * NGX_OK: there are addresses; NGX_AGAIN: none yet, a query is under way;
 * NGX_DECLINED: none, and it is not asked again just now.  Starts a query
 * when one is due.
 */
ngx_int_t ngx_llm_resolve_check(ngx_llm_name_t *name);

/*
 * After NGX_AGAIN: calls the handler once, from the event loop, when the
 * query has ended well or not.  The waiter is the caller's, until it is
 * called or cancelled.
 */
void ngx_llm_resolve_wait(ngx_llm_name_t *name, ngx_llm_waiter_t *waiter);
void ngx_llm_resolve_cancel(ngx_llm_waiter_t *waiter);

/* the present set, or NULL; to be unpinned */
ngx_llm_addrs_t *ngx_llm_resolve_pin(ngx_llm_name_t *name);
void ngx_llm_resolve_unpin(ngx_llm_addrs_t *addrs);


#endif /* _NGX_LLM_RESOLVE_H_INCLUDED_ */
