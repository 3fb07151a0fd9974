/*
 * ngx_llm_cache_fleet.h: the cache that nginx nodes share in one Redis, entries
 * and counters of purges.  The caller encrypts entries (ngx_llm_seal.h).  If
 * Redis is down, every function returns at once.
 */

#ifndef _NGX_LLM_CACHE_FLEET_H_INCLUDED_
#define _NGX_LLM_CACHE_FLEET_H_INCLUDED_


#include <ngx_llm_redis.h>


#define NGX_LLM_CACHE_FLEET_KEY       32             /* bytes */
#define NGX_LLM_CACHE_FLEET_VALUE     (1024 * 1024)  /* bytes, at most */
#define NGX_LLM_CACHE_FLEET_COUNTERS  4097           /* of purges */

/* bytes of a reply, for ngx_llm_redis_conf_t: a value and its framing */
#define NGX_LLM_CACHE_FLEET_REPLY     (NGX_LLM_CACHE_FLEET_VALUE + 65536)


typedef struct ngx_llm_cache_fleet_s  ngx_llm_cache_fleet_t;


/*
 * Called at the end of a look-up, once, after ngx_llm_cache_fleet_get() has
 * returned.  rc is NGX_OK: value is the entry, may be changed, and is valid
 * until the handler returns.  NGX_DECLINED: Redis has no entry.  NGX_ERROR: the
 * call to Redis failed or timed out.  Without NGX_OK value is NULL.
 */
typedef void (*ngx_llm_cache_fleet_handler_pt)(void *data, ngx_int_t rc,
    ngx_str_t *value);


typedef struct {                     /* a look-up; valid until its end */
    ngx_llm_cache_fleet_handler_pt   handler;
    void                            *data;
    ngx_llm_redis_call_t            *call;     /* NULL: no look-up is running */
} ngx_llm_cache_fleet_ask_t;


/*
 * The worker that reads the counters of purges; valid as long as the worker
 * runs.  The event loop calls the handlers, no function here calls them before
 * it returns.
 */
typedef struct {
    /* Redis has this counter; the node's own may be higher */
    void                           (*counter)(void *data, ngx_uint_t index,
                                              uint32_t value);

    /* Redis has no counters: the node sends the counters that it has */
    void                           (*lost)(void *data);

    /* all counters of Redis were read; called after each read */
    void                           (*synced)(void *data);

    void                            *data;

    ngx_llm_cache_fleet_t           *fleet;    /* private from here on */
    ngx_llm_redis_call_t            *call;     /* NULL: none is running */
    ngx_event_t                      timer;
    u_char                           version[NGX_INT64_LEN];
    size_t                           len;      /* bytes of version */
} ngx_llm_cache_fleet_sync_t;


/*
 * Creates the client while the configuration is read.  redis and prefix are
 * kept by reference.  kind: a letter in the names of the keys, so that two
 * clients of one Redis do not share them.  Returns NULL if memory is short.
 */
ngx_llm_cache_fleet_t *ngx_llm_cache_fleet_create(ngx_conf_t *cf,
    ngx_llm_redis_t *redis, ngx_str_t *prefix, u_char kind);

/*
 * Looks up an entry.  Returns NGX_AGAIN if ask->handler will be called, within
 * the timeout of the Redis; returns NGX_ERROR if Redis is down.
 */
ngx_int_t ngx_llm_cache_fleet_get(ngx_llm_cache_fleet_t *fleet,
    const u_char *key, ngx_llm_cache_fleet_ask_t *ask);

/* Cancels a look-up: its handler is not called.  May be called again. */
void ngx_llm_cache_fleet_cancel(ngx_llm_cache_fleet_ask_t *ask);

/*
 * Stores a copy of value for ttl milliseconds, 30 days at most, and does not
 * wait for the reply.  Drops the value if it is too long, or if Redis is down
 * or has more than NGX_LLM_CACHE_FLEET_VALUE bytes still to receive.
 */
void ngx_llm_cache_fleet_put(ngx_llm_cache_fleet_t *fleet, const u_char *key,
    ngx_str_t *value, ngx_msec_t ttl);

/* Deletes an entry; does nothing if Redis is down. */
void ngx_llm_cache_fleet_forget(ngx_llm_cache_fleet_t *fleet,
    const u_char *key);

/*
 * Raises a counter in Redis by more, and to value at least; more is 0 if Redis
 * has lost the counter.  The call is repeated until Redis has received it.
 * Returns NGX_OK, or NGX_ERROR if too many calls are waiting (logged).
 */
ngx_int_t ngx_llm_cache_fleet_purge(ngx_llm_cache_fleet_t *fleet,
    ngx_uint_t index, uint32_t value, ngx_uint_t more);

/*
 * Starts reading the counters twice a second, in one worker of each node; does
 * nothing in the others.  Called from init_process.  The caller sets the three
 * handlers and data, and zeroes the rest.
 */
void ngx_llm_cache_fleet_sync(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_sync_t *sync, ngx_cycle_t *cycle);


#endif /* _NGX_LLM_CACHE_FLEET_H_INCLUDED_ */
