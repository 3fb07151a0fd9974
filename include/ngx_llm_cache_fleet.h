/*
 * ngx_llm_cache_fleet.h: what the caches of all nodes share in one Redis, the
 * entries and what was purged.  Entries are sealed (ngx_llm_seal.h) before
 * they come here; nobody is made to wait for a Redis that is down.
 */

#ifndef _NGX_LLM_CACHE_FLEET_H_INCLUDED_
#define _NGX_LLM_CACHE_FLEET_H_INCLUDED_


#include <ngx_llm_redis.h>


#define NGX_LLM_CACHE_FLEET_KEY       32             /* bytes of a key */
#define NGX_LLM_CACHE_FLEET_VALUE     (1024 * 1024)  /* longest one */
#define NGX_LLM_CACHE_FLEET_COUNTERS  4097           /* of purges */

/* reply of its ngx_llm_redis_conf_t: a value and what is around it */
#define NGX_LLM_CACHE_FLEET_REPLY     (NGX_LLM_CACHE_FLEET_VALUE + 65536)


typedef struct ngx_llm_cache_fleet_s  ngx_llm_cache_fleet_t;


/*
 * The end of an ask.  NGX_OK: value, which may be written to, until the
 * handler returns; NGX_DECLINED: there is none; NGX_ERROR: Redis is in
 * trouble, or too late.  In the last two value is NULL.
 */
typedef void (*ngx_llm_cache_fleet_handler_pt)(void *data, ngx_int_t rc,
    ngx_str_t *value);


typedef struct {                     /* memory of the caller, until its end */
    ngx_llm_cache_fleet_handler_pt   handler;
    void                            *data;
    ngx_llm_redis_call_t            *call;     /* NULL: none is under way */
} ngx_llm_cache_fleet_ask_t;


/*
 * A worker that follows what is purged; memory of the caller, for as long as
 * the worker lives.  All are called from the event loop, and never back.
 */
typedef struct {
    /* of index the counter in Redis is value; it may be older than one's own */
    void                           (*counter)(void *data, ngx_uint_t index,
                                              uint32_t value);

    /* Redis knows of no purge, or not any more: what one knows is told it */
    void                           (*lost)(void *data);

    /* all that was purged is told; after each time that Redis was asked */
    void                           (*synced)(void *data);

    void                            *data;

    ngx_llm_cache_fleet_t           *fleet;    /* from here on its own */
    ngx_llm_redis_call_t            *call;     /* NULL: none is under way */
    ngx_event_t                      timer;
    u_char                           version[NGX_INT64_LEN];
    size_t                           len;      /* of the version */
} ngx_llm_cache_fleet_sync_t;


/*
 * Creates the client while the configuration is read.  redis and prefix are
 * kept by reference.  kind: a letter in the names of the keys, so that two
 * clients of one Redis do not share them.  Returns NULL if memory is short.
 */
ngx_llm_cache_fleet_t *ngx_llm_cache_fleet_create(ngx_conf_t *cf,
    ngx_llm_redis_t *redis, ngx_str_t *prefix, u_char kind);

/*
 * Asks for an entry.  NGX_AGAIN: ask->handler is called once and later, within
 * the timeout of llm_cache_redis.  NGX_ERROR: Redis is down, it is not called.
 */
ngx_int_t ngx_llm_cache_fleet_get(ngx_llm_cache_fleet_t *fleet,
    const u_char *key, ngx_llm_cache_fleet_ask_t *ask);

/* whoever asked is gone: the handler is not called any more.  Idempotent */
void ngx_llm_cache_fleet_cancel(ngx_llm_cache_fleet_ask_t *ask);

/*
 * Stores value, which is copied, for ttl ms, 30 days at most.  Nobody is told
 * whether it arrived; it is dropped if Redis is down or far behind, or the
 * value too long.
 */
void ngx_llm_cache_fleet_put(ngx_llm_cache_fleet_t *fleet, const u_char *key,
    ngx_str_t *value, ngx_msec_t ttl);

/* deletes an entry that nobody can open; dropped if Redis is down */
void ngx_llm_cache_fleet_forget(ngx_llm_cache_fleet_t *fleet,
    const u_char *key);

/*
 * Raises the counter of index in Redis, by more, and to value or higher; more
 * is 0 to tell it what it has lost.  It is kept until it has arrived.  NGX_OK,
 * or NGX_ERROR: too much is kept already (logged).
 */
ngx_int_t ngx_llm_cache_fleet_purge(ngx_llm_cache_fleet_t *fleet,
    ngx_uint_t index, uint32_t value, ngx_uint_t more);

/*
 * In init_process: one worker of each node follows what is purged from now on,
 * the others return at once.  The three functions and data are set, the rest
 * is zero.
 */
void ngx_llm_cache_fleet_sync(ngx_llm_cache_fleet_t *fleet,
    ngx_llm_cache_fleet_sync_t *sync, ngx_cycle_t *cycle);


#endif /* _NGX_LLM_CACHE_FLEET_H_INCLUDED_ */
