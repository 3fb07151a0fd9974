/*
 * ngx_llm_redis_call.h: a call and its server, private to ngx_llm_redis.c.
 */

#ifndef _NGX_LLM_REDIS_CALL_H_INCLUDED_
#define _NGX_LLM_REDIS_CALL_H_INCLUDED_


#include "ngx_llm_redis_link.h"


#define NGX_LLM_REDIS_BYTES  (8 * 1024 * 1024)  /* of calls, of deliveries */
#define NGX_LLM_REDIS_TICK   500                /* ms */


struct ngx_llm_redis_call_s {
    ngx_queue_t                queue;    /* of sent or backlog */
    ngx_queue_t                order;
    ngx_llm_redis_t           *redis;
    ngx_llm_redis_script_t    *script;   /* NULL: a PING */
    ngx_llm_redis_handler_pt   handler;
    void                      *data;
    ngx_msec_t                 start;
    ngx_msec_t                 sent;
    uint64_t                   clock;    /* the same, microseconds */
    ngx_uint_t                 words;    /* in args */
    size_t                     len;      /* of args */
    size_t                     id;       /* in args, the first ARGV */
    size_t                     id_len;
    unsigned                   waiting:1;  /* in order */
    unsigned                   deliver:1;
    unsigned                   parked:1; /* no delivery, but in backlog */
    unsigned                   again:1;  /* sent after a lost connection */
    unsigned                   eval:1;   /* NOSCRIPT is no answer to it */
    u_char                     args[1];  /* nkeys and all that follows */
};


struct ngx_llm_redis_s {
    ngx_llm_redis_link_t       link;
    ngx_llm_redis_conf_t      *conf;
    ngx_pool_t                *pool;     /* NULL: not a worker's */
    ngx_queue_t                sent;
    ngx_queue_t                order;
    ngx_queue_t                backlog;
    ngx_event_t                timer;    /* while anything is unanswered */
    ngx_event_t                ping;
    ngx_uint_t                 calls;    /* and their bytes */
    size_t                     calls_size;
    ngx_uint_t                 deliveries;
    size_t                     deliveries_size;
    ngx_uint_t                 behind;   /* sent again, without an answer */
    ngx_uint_t                 faults;   /* in a row */
    ngx_msec_t                 heard;    /* anything at all */
    ngx_msec_t                 last_ok;
    uint64_t                   latency;  /* of answers, averaged, in us */
    ngx_msec_t                 leaving;  /* since when; 0: it is not */
    time_t                     logged;   /* of an error of a script */
    time_t                     refused;  /* of a delivery that was dropped */
    unsigned                   open:1;   /* the link is ready */
    unsigned                   up:1;     /* as was logged */
    unsigned                   down:1;
};


/*
 * Heap memory, args copied; in no queue, not counted.  script NULL: a PING.
 * NULL: no memory, or it is too large.
 */
ngx_llm_redis_call_t *ngx_llm_redis_call_make(ngx_llm_redis_t *redis,
    ngx_llm_redis_script_t *script, ngx_uint_t nkeys, ngx_str_t *args,
    ngx_uint_t nargs);

/* into the wire and sent; it is in no other of the two.  NGX_OK or NGX_ERROR */
ngx_int_t ngx_llm_redis_call_send(ngx_llm_redis_call_t *call);

/* 0: the reply is to something else */
ngx_uint_t ngx_llm_redis_call_answers(ngx_llm_redis_call_t *call,
    redisReply *reply);

/* a monotonic clock, microseconds: answers take less than the cached time
   can tell */
uint64_t ngx_llm_redis_call_clock(void);

/* once it is in its queues: it counts, and has a timer */
void ngx_llm_redis_call_begin(ngx_llm_redis_call_t *call);

/* Starts the timer while replies are expected.  It keeps an exiting worker
   alive while a request waits or a delivery has not arrived. */
void ngx_llm_redis_call_watch(ngx_llm_redis_t *redis);

/* Detaches the caller: the handler is not called. */
void ngx_llm_redis_call_forget(ngx_llm_redis_call_t *call);

/* Detaches the caller, and drops the call if it was not sent. */
void ngx_llm_redis_call_leave(ngx_llm_redis_call_t *call);

/* in no queue but order: its handler is called, its memory goes */
void ngx_llm_redis_call_end(ngx_llm_redis_call_t *call, ngx_int_t rc,
    redisReply *reply);

/* Drops all calls of sent or backlog without calling handlers. */
void ngx_llm_redis_call_drop(ngx_llm_redis_t *redis, ngx_queue_t *queue);


#endif /* _NGX_LLM_REDIS_CALL_H_INCLUDED_ */
