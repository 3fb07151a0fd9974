/*
 * ngx_llm_redis_link.h: one connection to Redis, made and greeted; what goes
 * over it is its user's, ngx_llm_redis.c.
 */

#ifndef _NGX_LLM_REDIS_LINK_H_INCLUDED_
#define _NGX_LLM_REDIS_LINK_H_INCLUDED_


#include <ngx_llm_redis.h>
#include "ngx_llm_redis_wire.h"
#include <ngx_event_connect.h>


/*
 * What the link tells; each from the event loop.  ready: greeted, anything may
 * be sent.  reply: one of them, freed afterwards; it may close the link.
 * lost: the connection is closed, or none was made; link->failure says why.
 */
typedef struct {
    void                       (*ready)(void *data);
    void                       (*reply)(void *data, redisReply *reply);
    void                       (*lost)(void *data);
} ngx_llm_redis_link_handlers_t;


typedef struct {
    ngx_llm_redis_conf_t                 *conf;
    const ngx_llm_redis_link_handlers_t  *on;
    void                                 *data;
    ngx_peer_connection_t                 peer;
    ngx_sockaddr_t                        sockaddr;  /* of this attempt */
    ngx_str_t                             name;      /* the same in text */
    u_char                                text[NGX_SOCKADDR_STRLEN];
    ngx_llm_waiter_t                      waiter;    /* for the name */
    ngx_llm_redis_wire_t                  wire;
    ngx_event_t                           timer;     /* see trying */
    ngx_event_t                           flush;     /* posted */
    ngx_uint_t                            step;      /* of the greeting */
    ngx_uint_t                            doubt;     /* ..._WRITE and on */
    ngx_llm_redis_failure_t               failure;
    ngx_log_t                             log;
    ngx_log_t                             quiet;     /* alerts only */
    unsigned                              trying:1;  /* timer is its limit */
    unsigned                              ready:1;
    unsigned                              informed:1;  /* of its memory */
    unsigned                              permitted:1;  /* scripts are run */
} ngx_llm_redis_link_t;


/* conf, on and data stay; nothing is begun.  Once in each worker */
void ngx_llm_redis_link_init(ngx_llm_redis_link_t *link,
    ngx_llm_redis_conf_t *conf, const ngx_llm_redis_link_handlers_t *on,
    void *data, ngx_log_t *log);

/* an attempt after delay ms; there must be no connection */
void ngx_llm_redis_link_retry(ngx_llm_redis_link_t *link, ngx_msec_t delay);

/* what is in the wire leaves at the end of this turn of the event loop */
void ngx_llm_redis_link_post(ngx_llm_redis_link_t *link);

/* whatever goes on is over, on->lost is not called; may be called twice */
void ngx_llm_redis_link_close(ngx_llm_redis_link_t *link);


/*
 * hello: the greeting, over a new connection.  Both put into the wire what is
 * to be sent.  NGX_OK: greeted; NGX_AGAIN: another reply is waited for;
 * NGX_ERROR: refused, or no memory (link->failure).
 */
ngx_int_t ngx_llm_redis_hello(ngx_llm_redis_link_t *link);
ngx_int_t ngx_llm_redis_hello_reply(ngx_llm_redis_link_t *link,
    redisReply *reply);


#endif /* _NGX_LLM_REDIS_LINK_H_INCLUDED_ */
