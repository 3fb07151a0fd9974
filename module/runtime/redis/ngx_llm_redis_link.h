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
 * Callbacks of the link, from the event loop.  ready: the first commands
 * succeeded, calls may be sent.  reply: a reply, which is freed afterwards; the
 * callback may close the link.  lost: the connection is closed or could not be
 * established; link->failure has the cause.
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

/* Sends the buffered commands at the end of this event loop iteration. */
void ngx_llm_redis_link_post(ngx_llm_redis_link_t *link);

/* whatever goes on is over, on->lost is not called; may be called twice */
void ngx_llm_redis_link_close(ngx_llm_redis_link_t *link);


/*
 * The first commands of a new connection.  Both functions buffer the next
 * command.  They return NGX_OK after the last reply, NGX_AGAIN if another reply
 * is expected, or NGX_ERROR if the server rejects a command or memory is
 * exhausted (link->failure).
 */
ngx_int_t ngx_llm_redis_hello(ngx_llm_redis_link_t *link);
ngx_int_t ngx_llm_redis_hello_reply(ngx_llm_redis_link_t *link,
    redisReply *reply);


#endif /* _NGX_LLM_REDIS_LINK_H_INCLUDED_ */
