/*
 * ngx_llm_cache.h: answers in shared memory, by 32-byte keys.
 *
 * Values lie in blocks of one size, so that no store fails for fragments, and
 * are evicted by SIEVE: a hit sets a bit, and the hand passes over whoever has
 * it.  A look-up takes no lock: it copies the value out and believes it only
 * if nobody has touched it meanwhile.  A store holds the zone's mutex while it
 * copies; one that dies in it leaves a cache that the next one empties.
 *
 * Beside them lie the generations of tags, by which a purge takes no time.
 */

#ifndef _NGX_LLM_CACHE_H_INCLUDED_
#define _NGX_LLM_CACHE_H_INCLUDED_


#include <ngx_llm_zone.h>


#define NGX_LLM_CACHE_KEY    32      /* bytes */
#define NGX_LLM_CACHE_TAGS   4096    /* generations of tags; 0 is of all */
#define NGX_LLM_CACHE_SYNC   3000


typedef struct ngx_llm_cache_sh_s  ngx_llm_cache_sh_t;

typedef struct {                     /* of one generation */
    ngx_llm_zone_t       *zone;
    ngx_llm_cache_sh_t   *sh;
} ngx_llm_cache_t;


typedef struct {
    ngx_atomic_uint_t     entries;
    ngx_atomic_uint_t     bytes;     /* of their values */
    ngx_atomic_uint_t     size;      /* bytes there is room for */
    ngx_atomic_uint_t     evicted;   /* entries, to make room */
    ngx_atomic_uint_t     emptied;   /* times it was, see above */
    ngx_atomic_uint_t     tokens;    /* that hits have saved, and what they */
    ngx_atomic_uint_t     cost;      /* would have cost, nano-USD */
} ngx_llm_cache_state_t;


/* while the configuration is read; takes all of the zone.  NULL: memory */
ngx_llm_cache_t *ngx_llm_cache_create(ngx_conf_t *cf, ngx_llm_zone_t *zone);

/* a key that is looked up soon: its place is fetched from memory until then */
void ngx_llm_cache_prefetch(ngx_llm_cache_t *cache, const u_char *key);

/*
 * A copy of the value, in the pool.  NGX_OK; NGX_DECLINED: there is none, or
 * it was replaced meanwhile; NGX_ERROR: no memory.
 */
ngx_int_t ngx_llm_cache_get(ngx_llm_cache_t *cache, const u_char *key,
    ngx_pool_t *pool, ngx_str_t *value);

/* 0: there is no value; else a number that differs once it is replaced */
ngx_atomic_uint_t ngx_llm_cache_stamp(ngx_llm_cache_t *cache,
    const u_char *key);

/*
 * Stores n pieces as one value, in place of an earlier one.  NGX_OK, or
 * NGX_DECLINED: it is larger than an eighth of the zone.
 */
ngx_int_t ngx_llm_cache_put(ngx_llm_cache_t *cache, const u_char *key,
    ngx_str_t *pieces, ngx_uint_t n, ngx_log_t *log);

void ngx_llm_cache_state(ngx_llm_cache_t *cache,
    ngx_llm_cache_state_t *state);

/* what a hit has saved; negative: it is not known */
void ngx_llm_cache_saved(ngx_llm_cache_t *cache, int64_t tokens,
    int64_t cost);


/* a tag is 0, of all, or 1 to NGX_LLM_CACHE_TAGS; names may share one */
uint32_t ngx_llm_cache_generation(ngx_llm_cache_t *cache, ngx_uint_t tag);

/* what carries an earlier generation of the tag is no hit; returns the new */
uint32_t ngx_llm_cache_purge(ngx_llm_cache_t *cache, ngx_uint_t tag);

/* the same, as far as another node has come; never back */
void ngx_llm_cache_purged(ngx_llm_cache_t *cache, ngx_uint_t tag,
    uint32_t generation);

/*
 * What other nodes have purged is known, as of now.  What they have stored may
 * be used for NGX_LLM_CACHE_SYNC ms after that.
 */
void ngx_llm_cache_synced(ngx_llm_cache_t *cache);
ngx_uint_t ngx_llm_cache_is_synced(ngx_llm_cache_t *cache);


#endif /* _NGX_LLM_CACHE_H_INCLUDED_ */
