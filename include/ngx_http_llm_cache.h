/*
 * ngx_http_llm_cache.h: what the response cache knows of a request.
 */

#ifndef _NGX_HTTP_LLM_CACHE_H_INCLUDED_
#define _NGX_HTTP_LLM_CACHE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_llm_cache.h>
#include <ngx_llm_cache_fleet.h>
#include <ngx_llm_digest.h>
#include <ngx_llm_flight.h>
#include <ngx_llm_seal.h>
#include <ngx_llm_entry.h>


typedef enum {
    NGX_HTTP_LLM_CACHE_NONE = 0,     /* it does not apply */
    NGX_HTTP_LLM_CACHE_HIT,
    NGX_HTTP_LLM_CACHE_MISS,
    NGX_HTTP_LLM_CACHE_BYPASS,       /* not looked for */
    NGX_HTTP_LLM_CACHE_STALE,        /* too old, but all else has failed */
    NGX_HTTP_LLM_CACHE_EXPIRED       /* too old, so asked for again */
} ngx_http_llm_cache_e;


/* part of the charge */

typedef struct {
    ngx_http_llm_cache_e           status;
    u_char                         key[NGX_LLM_CACHE_KEY];
    ngx_str_t                      scope;        /* its source, and whose */
    uint32_t                       tags[NGX_LLM_ENTRY_TAGS];
    uint32_t                       generations[NGX_LLM_ENTRY_TAGS];
    ngx_llm_entry_t               *entry;        /* found, perhaps stale */
    const char                    *refused;      /* why it is not stored */
    int64_t                        max_age;      /* s, of the client; or -1 */
    unsigned                       keyed:1;      /* key, scope, tags are set */
    unsigned                       read:1;       /* an entry may be used */
    unsigned                       write:1;      /* the answer may be kept */
    unsigned                       only:1;       /* nobody is to be asked */
    unsigned                       stored:1;     /* it is */
    unsigned                       leading:1;    /* others may wait for it */
    unsigned                       collapsed:1;  /* it has waited itself */
    unsigned                       replayed:1;   /* entry is the answer */
} ngx_http_llm_cache_charge_t;


/* service/cache/ngx_http_llm_copy.c: a copy of the answer, as it comes */

typedef struct {
    u_char                        *data;
    size_t                         len;
    size_t                         size;
    unsigned                       active:1;
} ngx_http_llm_copy_ctx_t;


/* a scope that the worker knows the key of */

#define NGX_HTTP_LLM_CACHE_SCOPES  64
#define NGX_HTTP_LLM_CACHE_SCOPE   256           /* bytes, at most */

typedef struct {
    size_t                         len;
    u_char                         scope[NGX_HTTP_LLM_CACHE_SCOPE];
    ngx_llm_digest_key_t           own;          /* of its keys */
} ngx_http_llm_cache_scope_t;


/* of http {} */

typedef struct {
    size_t                         size;         /* llm_cache_zone */
    ngx_llm_cache_t               *store;        /* NULL: no llm_cache */
    ngx_llm_flight_t              *flight;       /* the same */
    ngx_llm_digest_t              *digest;       /* the same */
    ngx_str_t                      secret;       /* llm_cache_secret, or "" */
    ngx_llm_seal_t                *seal;         /* by it, or NULL */
    ngx_llm_redis_conf_t          *redis_conf;   /* llm_cache_redis, or NULL */
    ngx_llm_redis_t               *redis;
    ngx_llm_cache_fleet_t         *fleet;        /* over it, or NULL */
    ngx_llm_cache_fleet_sync_t     sync;         /* the worker's */
    ngx_http_llm_cache_scope_t    *scopes;       /* that the worker knows */
    unsigned                       used:1;       /* there is an llm_cache */
} ngx_http_llm_cache_main_t;


/* of one location, or inherited */

typedef struct {
    ngx_flag_t                     on;
    ngx_msec_t                     ttl;
    size_t                         max_size;
    ngx_http_complex_value_t      *scope;        /* NULL: the default */
    ngx_flag_t                     shared;       /* scope is everybody's */
    ngx_uint_t                     sampling;     /* ..._DETERMINISTIC, _ANY */
    ngx_array_t                   *bypass;       /* of predicates, or NULL */
    ngx_flag_t                     honor;        /* llm_cache_honor_headers */
    ngx_msec_t                     stale;        /* llm_cache_stale_if_error */
    ngx_msec_t                     lock;         /* to wait for a leader */
} ngx_http_llm_cache_conf_t;

#define NGX_HTTP_LLM_CACHE_DETERMINISTIC  0
#define NGX_HTTP_LLM_CACHE_ANY            1


#endif /* _NGX_HTTP_LLM_CACHE_H_INCLUDED_ */
