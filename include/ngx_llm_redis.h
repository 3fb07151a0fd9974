/*
 * ngx_llm_redis.h: one Redis server, as one worker sees it.
 *
 * One pipelined connection: calls of one event loop iteration are sent in one
 * write, and replies arrive in order.  hiredis formats and parses the protocol;
 * socket, TLS, names and timers are nginx's.  No function blocks, and no
 * handler is called before the call that passed it returns.
 */

#ifndef _NGX_LLM_REDIS_H_INCLUDED_
#define _NGX_LLM_REDIS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <hiredis/hiredis.h>

#include <ngx_llm_resolve.h>


#define NGX_LLM_REDIS_ARGS    128    /* of one script, keys included */
#define NGX_LLM_REDIS_REPLY   (1024 * 1024)  /* of a script with numbers */


typedef struct {                     /* as configured; read-only */
    ngx_str_t              directive;  /* for logs, what configures it */
    ngx_str_t              url;      /* the same, without its secrets */
    ngx_addr_t             addr;     /* fixed: an address, or unix:PATH */
    ngx_llm_name_t        *name;     /* a host to be asked for, or NULL */
    ngx_str_t              user;
    ngx_str_t              password;
    ngx_int_t              db;       /* SELECTed if not 0 */
    ngx_str_t              prefix;   /* of all keys */
    ngx_msec_t             timeout;  /* what one call waits */
    size_t                 reply;    /* the longest one, bytes */
    ngx_int_t              instances;  /* nodes that share it */
    ngx_flag_t             evicts;   /* it may: nothing is lost by it */
#if (NGX_SSL)
    ngx_ssl_t             *ssl;      /* NULL: plain */
    ngx_str_t              ssl_name; /* SNI, and whom the certificate names */
    ngx_flag_t             ssl_verify;
#endif
} ngx_llm_redis_conf_t;


typedef struct ngx_llm_redis_s       ngx_llm_redis_t;
typedef struct ngx_llm_redis_call_s  ngx_llm_redis_call_t;


typedef struct {
    ngx_str_t              text;     /* Lua */
    ngx_str_t              sha1;     /* in hex; set by the client */
    u_char                 hex[40];
    unsigned               echo:1;   /* it answers with an array that ends in
                                        its first ARGV: see the client */
} ngx_llm_redis_script_t;


/*
 * The end of a call.  NGX_OK: reply is the script's, valid until the handler
 * returns, and no error.  NGX_DECLINED: reply is an error, already logged;
 * Redis, or a proxy before it, may have sent the error after the script ran.
 * NGX_AGAIN: the time of the call is over, its answer will be ignored.
 * NGX_ERROR: the connection is lost; it may or may not have been executed.
 * In the last two reply is NULL.
 */
typedef void (*ngx_llm_redis_handler_pt)(void *data, ngx_int_t rc,
    redisReply *reply);


/* while the configuration is read; conf is kept by reference.  NULL: memory */
ngx_llm_redis_t *ngx_llm_redis_create(ngx_conf_t *cf,
    ngx_llm_redis_conf_t *conf);

/* in each worker: connects, and goes on trying.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_llm_redis_worker(ngx_llm_redis_t *redis, ngx_cycle_t *cycle);

/* Called by exit_process: requests in flight may need the connection until
   then.  Does nothing in a process that is not a worker. */
void ngx_llm_redis_exit(ngx_llm_redis_t *redis);

/*
 * Calls a script: args are its keys, then its ARGV; they are copied.  Sends
 * EVALSHA, and EVAL once the server says NOSCRIPT.  The handler is called once
 * and later; within conf->timeout.  NULL: the server is down or too far behind
 * (the breaker is open, or the connection is not ready); nothing was sent.
 */
ngx_llm_redis_call_t *ngx_llm_redis_call(ngx_llm_redis_t *redis,
    ngx_llm_redis_script_t *script, ngx_uint_t nkeys, ngx_str_t *args,
    ngx_uint_t nargs, ngx_llm_redis_handler_pt handler, void *data);

/* Detaches the caller, which has ended: its handler is not called. */
void ngx_llm_redis_detach(ngx_llm_redis_call_t *call);

/*
 * Calls a script that has to arrive.  The call is repeated after a lost
 * connection until Redis replies, so the script must be idempotent.  An exiting
 * worker waits for the reply for at most 5 s; the handler of a call that is
 * lost with the process is not called.  handler may be NULL.  The call is sent
 * after all earlier calls of this connection.  Returns NGX_OK, or NGX_ERROR if
 * too many calls wait: the call is then dropped and logged.
 */
ngx_int_t ngx_llm_redis_deliver(ngx_llm_redis_t *redis,
    ngx_llm_redis_script_t *script, ngx_uint_t nkeys, ngx_str_t *args,
    ngx_uint_t nargs, ngx_llm_redis_handler_pt handler, void *data);

typedef struct {
    unsigned               up:1;
    ngx_msec_t             last_ok;  /* the last good answer; 0: never */
    ngx_uint_t             waiting;  /* calls without an answer yet */
    size_t                 bytes;    /* of them, deliveries apart */
    uint64_t               latency;  /* of answers, averaged, microseconds */
} ngx_llm_redis_state_t;

void ngx_llm_redis_state(ngx_llm_redis_t *redis,
    ngx_llm_redis_state_t *state);


#endif /* _NGX_LLM_REDIS_H_INCLUDED_ */
