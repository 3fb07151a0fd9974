/*
 * Answers in shared memory.  All of the zone is one array of blocks and one of
 * their slots; a value is a chain of blocks, and the slot of its first block
 * says what it is.  slot->seq is odd while an entry is written and differs
 * afterwards, so a reader that took no lock knows whether its copy is whole.
 */


#include <ngx_llm_cache.h>


#define NGX_LLM_CACHE_BLOCK    2048
#define NGX_LLM_CACHE_BUCKETS  4       /* or half of it, for each block: most
                                          misses end at an empty one */
#define NGX_LLM_CACHE_NONE     0xffffffff
#define NGX_LLM_CACHE_CHAIN    64      /* entries looked at under one hash */
#define NGX_LLM_CACHE_RETRIES  3       /* copies, if they are overtaken */


typedef struct {
    ngx_atomic_t         seq;
    u_char               key[NGX_LLM_CACHE_KEY];
    uint32_t             len;          /* of the value; 0: no entry */
    uint32_t             next;         /* block of the value, or free one */
    uint32_t             same;         /* hash: the next entry */
    uint32_t             newer;        /* the queue of SIEVE */
    uint32_t             older;
    uint32_t             visited;
} ngx_llm_cache_slot_t;


struct ngx_llm_cache_sh_s {
    uint32_t             nblocks;
    uint32_t             nbuckets;     /* a power of two */
    uint32_t             free;         /* the first free block */
    uint32_t             nfree;
    uint32_t             newest;
    uint32_t             oldest;
    uint32_t             hand;
    ngx_uint_t           busy;         /* a store is under way, or died */
    ngx_msec_t           synced;       /* ngx_current_msec; 0: never */
    ngx_atomic_t         entries;
    ngx_atomic_t         bytes;
    ngx_atomic_t         evicted;
    ngx_atomic_t         emptied;
    ngx_atomic_t         tokens;
    ngx_atomic_t         cost;
    ngx_atomic_t         generations[1 + NGX_LLM_CACHE_TAGS];
    ngx_llm_cache_slot_t *slots;
    uint32_t            *buckets;
    u_char              *blocks;
};


static ngx_int_t ngx_llm_cache_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static void ngx_llm_cache_empty(ngx_llm_cache_sh_t *sh);
static uint32_t ngx_llm_cache_find(ngx_llm_cache_sh_t *sh, const u_char *key);
static ngx_int_t ngx_llm_cache_copy(ngx_llm_cache_sh_t *sh, uint32_t i,
    u_char *dst, size_t len);
static void ngx_llm_cache_lock(ngx_llm_cache_t *cache, ngx_log_t *log);
static void ngx_llm_cache_unlock(ngx_llm_cache_t *cache);
static void ngx_llm_cache_room(ngx_llm_cache_sh_t *sh, uint32_t need);
static void ngx_llm_cache_remove(ngx_llm_cache_sh_t *sh, uint32_t i);
static uint32_t ngx_llm_cache_write(ngx_llm_cache_sh_t *sh, ngx_str_t *pieces,
    ngx_uint_t n);
static void ngx_llm_cache_insert(ngx_llm_cache_sh_t *sh, uint32_t i,
    const u_char *key, size_t len);


/* keys are HMACs: any bytes of them are a hash */

static ngx_inline uint32_t *
ngx_llm_cache_bucket(ngx_llm_cache_sh_t *sh, const u_char *key)
{
    uint32_t  hash;

    ngx_memcpy(&hash, key, sizeof(uint32_t));

    return &sh->buckets[hash & (sh->nbuckets - 1)];
}


ngx_llm_cache_t *
ngx_llm_cache_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_llm_cache_t  *cache;

    cache = ngx_pcalloc(cf->pool, sizeof(ngx_llm_cache_t));
    if (cache == NULL) {
        return NULL;
    }

    cache->zone = zone;

    if (ngx_llm_zone_use(zone, NGX_LLM_ZONE_CACHE, ngx_llm_cache_init, cache)
        != NGX_OK)
    {
        return NULL;
    }

    return cache;
}


static ngx_int_t
ngx_llm_cache_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_cache_t  *cache = data;

    size_t               size, left;
    uint32_t             n, nbuckets;
    u_char              *p;
    ngx_llm_cache_sh_t  *sh;

    cache->sh = *root;

    if (cache->sh) {
        return NGX_OK;
    }

    /* what the slab has left, less a few pages of its own */

    left = zone->pool->pfree * ngx_pagesize;
    size = sizeof(ngx_llm_cache_sh_t) + 2 * ngx_pagesize;

    if (left < size + 64 * NGX_LLM_CACHE_BLOCK) {
        return NGX_ERROR;
    }

    n = (left - size) / (NGX_LLM_CACHE_BLOCK + sizeof(ngx_llm_cache_slot_t)
                         + NGX_LLM_CACHE_BUCKETS * sizeof(uint32_t));

    for (nbuckets = 1;
         nbuckets * 2 <= n * NGX_LLM_CACHE_BUCKETS;
         nbuckets *= 2) { /* void */ }

    size = sizeof(ngx_llm_cache_sh_t) + ngx_pagesize
           + n * (NGX_LLM_CACHE_BLOCK + sizeof(ngx_llm_cache_slot_t))
           + nbuckets * sizeof(uint32_t);

    p = ngx_slab_alloc(zone->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    sh = (ngx_llm_cache_sh_t *) p;
    ngx_memzero(sh, sizeof(ngx_llm_cache_sh_t));

    p = ngx_align_ptr(p + sizeof(ngx_llm_cache_sh_t), ngx_cacheline_size);

    sh->nblocks = n;
    sh->nbuckets = nbuckets;
    sh->slots = (ngx_llm_cache_slot_t *) p;
    sh->buckets = (uint32_t *) &sh->slots[n];
    sh->blocks = ngx_align_ptr(&sh->buckets[nbuckets], ngx_cacheline_size);

    ngx_memzero(sh->slots, n * sizeof(ngx_llm_cache_slot_t));
    ngx_llm_cache_empty(sh);

    cache->sh = sh;
    *root = sh;

    return NGX_OK;
}


/* seq goes on counting: who reads right now must notice */

static void
ngx_llm_cache_empty(ngx_llm_cache_sh_t *sh)
{
    uint32_t  i;

    for (i = 0; i < sh->nblocks; i++) {
        sh->slots[i].len = 0;
        ngx_memory_barrier();

        sh->slots[i].seq += 2 - (sh->slots[i].seq & 1);
        sh->slots[i].next = i + 1;
    }

    sh->slots[sh->nblocks - 1].next = NGX_LLM_CACHE_NONE;

    ngx_memset(sh->buckets, 0xff, sh->nbuckets * sizeof(uint32_t));

    sh->free = 0;
    sh->nfree = sh->nblocks;
    sh->newest = NGX_LLM_CACHE_NONE;
    sh->oldest = NGX_LLM_CACHE_NONE;
    sh->hand = NGX_LLM_CACHE_NONE;
    sh->entries = 0;
    sh->bytes = 0;
}


void
ngx_llm_cache_prefetch(ngx_llm_cache_t *cache, const u_char *key)
{
    __builtin_prefetch(ngx_llm_cache_bucket(cache->sh, key));
}


ngx_int_t
ngx_llm_cache_get(ngx_llm_cache_t *cache, const u_char *key, ngx_pool_t *pool,
    ngx_str_t *value)
{
    size_t                 len;
    uint32_t               i;
    ngx_uint_t             n;
    ngx_atomic_uint_t      seq;
    ngx_llm_cache_sh_t    *sh;
    ngx_llm_cache_slot_t  *slot;

    sh = cache->sh;

    for (n = 0; n < NGX_LLM_CACHE_RETRIES; n++) {

        i = ngx_llm_cache_find(sh, key);

        if (i == NGX_LLM_CACHE_NONE) {
            return NGX_DECLINED;
        }

        slot = &sh->slots[i];
        seq = slot->seq;
        ngx_memory_barrier();

        len = slot->len;

        if ((seq & 1) || len == 0
            || len / NGX_LLM_CACHE_BLOCK > sh->nblocks / 8
            || ngx_memcmp(slot->key, key, NGX_LLM_CACHE_KEY) != 0)
        {
            continue;
        }

        value->data = ngx_pnalloc(pool, len);
        if (value->data == NULL) {
            return NGX_ERROR;
        }

        value->len = len;

        if (ngx_llm_cache_copy(sh, i, value->data, len) == NGX_OK) {
            ngx_memory_barrier();

            if (slot->seq == seq) {
                slot->visited = 1;
                return NGX_OK;
            }
        }

        ngx_pfree(pool, value->data);
    }

    return NGX_DECLINED;
}


ngx_atomic_uint_t
ngx_llm_cache_stamp(ngx_llm_cache_t *cache, const u_char *key)
{
    uint32_t             i;
    ngx_llm_cache_sh_t  *sh;

    sh = cache->sh;
    i = ngx_llm_cache_find(sh, key);

    return (i == NGX_LLM_CACHE_NONE)
           ? 0 : sh->slots[i].seq * sh->nblocks + i + 1;
}


/* chains may change under a reader: it follows them for so long only */

static uint32_t
ngx_llm_cache_find(ngx_llm_cache_sh_t *sh, const u_char *key)
{
    uint32_t    i;
    ngx_uint_t  n;

    i = *ngx_llm_cache_bucket(sh, key);

    for (n = 0; i < sh->nblocks && n < NGX_LLM_CACHE_CHAIN; n++) {

        if (sh->slots[i].len
            && ngx_memcmp(sh->slots[i].key, key, NGX_LLM_CACHE_KEY) == 0)
        {
            return i;
        }

        i = sh->slots[i].same;
    }

    return NGX_LLM_CACHE_NONE;
}


static ngx_int_t
ngx_llm_cache_copy(ngx_llm_cache_sh_t *sh, uint32_t i, u_char *dst,
    size_t len)
{
    size_t  n;

    while (len) {

        if (i >= sh->nblocks) {
            return NGX_DECLINED;
        }

        n = ngx_min(len, NGX_LLM_CACHE_BLOCK);
        dst = ngx_cpymem(dst, sh->blocks + (size_t) i * NGX_LLM_CACHE_BLOCK,
                         n);
        len -= n;
        i = sh->slots[i].next;
    }

    return NGX_OK;
}


/* the master unlocks for a worker that is killed, but cannot mend */

static void
ngx_llm_cache_lock(ngx_llm_cache_t *cache, ngx_log_t *log)
{
    ngx_shmtx_lock(&cache->zone->pool->mutex);

    if (cache->sh->busy) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "a worker died while it stored an answer: "
                      "llm_cache_zone is emptied");

        ngx_llm_cache_empty(cache->sh);
        cache->sh->emptied++;
    }

    cache->sh->busy = 1;
    ngx_memory_barrier();
}


static void
ngx_llm_cache_unlock(ngx_llm_cache_t *cache)
{
    ngx_memory_barrier();
    cache->sh->busy = 0;

    ngx_shmtx_unlock(&cache->zone->pool->mutex);
}


ngx_int_t
ngx_llm_cache_put(ngx_llm_cache_t *cache, const u_char *key,
    ngx_str_t *pieces, ngx_uint_t n, ngx_log_t *log)
{
    size_t               len;
    uint32_t             i, need;
    ngx_uint_t           k;
    ngx_llm_cache_sh_t  *sh;

    sh = cache->sh;
    len = 0;

    for (k = 0; k < n; k++) {
        len += pieces[k].len;
    }

    if (len == 0 || len / NGX_LLM_CACHE_BLOCK >= sh->nblocks / 8) {
        return NGX_DECLINED;
    }

    need = (len + NGX_LLM_CACHE_BLOCK - 1) / NGX_LLM_CACHE_BLOCK;

    ngx_llm_cache_lock(cache, log);

    i = ngx_llm_cache_find(sh, key);

    if (i != NGX_LLM_CACHE_NONE) {
        ngx_llm_cache_remove(sh, i);
    }

    ngx_llm_cache_room(sh, need);
    i = ngx_llm_cache_write(sh, pieces, n);
    ngx_llm_cache_insert(sh, i, key, len);

    ngx_llm_cache_unlock(cache);

    return NGX_OK;
}


/* SIEVE: the hand goes from the oldest to newer ones */

static void
ngx_llm_cache_room(ngx_llm_cache_sh_t *sh, uint32_t need)
{
    uint32_t               i;
    ngx_llm_cache_slot_t  *slot;

    i = sh->hand;

    while (sh->nfree < need) {

        if (i == NGX_LLM_CACHE_NONE) {
            i = sh->oldest;
        }

        slot = &sh->slots[i];

        if (slot->visited) {
            slot->visited = 0;
            i = slot->newer;
            continue;
        }

        sh->hand = slot->newer;
        ngx_llm_cache_remove(sh, i);
        sh->evicted++;

        i = sh->hand;
    }

    sh->hand = i;
}


static void
ngx_llm_cache_remove(ngx_llm_cache_sh_t *sh, uint32_t i)
{
    uint32_t              *link, last, len;
    ngx_uint_t             n;
    ngx_llm_cache_slot_t  *slot;

    slot = &sh->slots[i];
    len = slot->len;

    /*
     * Before its blocks become another's, and in this order: who reads the new
     * seq must not find an entry any more.
     */

    slot->len = 0;
    ngx_memory_barrier();

    slot->seq += 2;
    ngx_memory_barrier();

    for (link = ngx_llm_cache_bucket(sh, slot->key);
         *link != i;
         link = &sh->slots[*link].same) { /* void */ }

    *link = slot->same;

    if (slot->newer == NGX_LLM_CACHE_NONE) {
        sh->newest = slot->older;

    } else {
        sh->slots[slot->newer].older = slot->older;
    }

    if (slot->older == NGX_LLM_CACHE_NONE) {
        sh->oldest = slot->newer;

    } else {
        sh->slots[slot->older].newer = slot->newer;
    }

    if (sh->hand == i) {
        sh->hand = slot->newer;
    }

    last = i;

    for (n = 1; n * NGX_LLM_CACHE_BLOCK < len; n++) {
        last = sh->slots[last].next;
    }

    sh->slots[last].next = sh->free;
    sh->free = i;
    sh->nfree += n;

    sh->entries--;
    sh->bytes -= len;
}


/* into free blocks, of which there are enough; the first one */

static uint32_t
ngx_llm_cache_write(ngx_llm_cache_sh_t *sh, ngx_str_t *pieces, ngx_uint_t n)
{
    size_t       len, size, room;
    u_char      *dst, *src;
    uint32_t     first, last;
    ngx_uint_t   k;

    first = sh->free;
    last = first;

    sh->slots[first].seq++;
    ngx_memory_barrier();

    dst = sh->blocks + (size_t) first * NGX_LLM_CACHE_BLOCK;
    room = NGX_LLM_CACHE_BLOCK;
    sh->nfree--;

    for (k = 0; k < n; k++) {

        src = pieces[k].data;
        len = pieces[k].len;

        while (len) {

            if (room == 0) {
                last = sh->slots[last].next;
                sh->nfree--;

                dst = sh->blocks + (size_t) last * NGX_LLM_CACHE_BLOCK;
                room = NGX_LLM_CACHE_BLOCK;
            }

            size = ngx_min(len, room);

            dst = ngx_cpymem(dst, src, size);
            src += size;
            len -= size;
            room -= size;
        }
    }

    sh->free = sh->slots[last].next;
    sh->slots[last].next = NGX_LLM_CACHE_NONE;

    return first;
}


static void
ngx_llm_cache_insert(ngx_llm_cache_sh_t *sh, uint32_t i, const u_char *key,
    size_t len)
{
    uint32_t              *bucket;
    ngx_llm_cache_slot_t  *slot;

    slot = &sh->slots[i];
    bucket = ngx_llm_cache_bucket(sh, key);

    ngx_memcpy(slot->key, key, NGX_LLM_CACHE_KEY);

    slot->len = len;
    slot->visited = 0;
    slot->same = *bucket;
    slot->newer = NGX_LLM_CACHE_NONE;
    slot->older = sh->newest;

    if (sh->newest == NGX_LLM_CACHE_NONE) {
        sh->oldest = i;

    } else {
        sh->slots[sh->newest].newer = i;
    }

    sh->newest = i;
    sh->entries++;
    sh->bytes += len;

    ngx_memory_barrier();
    slot->seq++;

    *bucket = i;
}


void
ngx_llm_cache_state(ngx_llm_cache_t *cache, ngx_llm_cache_state_t *state)
{
    ngx_llm_cache_sh_t  *sh;

    sh = cache->sh;

    state->entries = sh->entries;
    state->bytes = sh->bytes;
    state->size = (ngx_atomic_uint_t) sh->nblocks * NGX_LLM_CACHE_BLOCK;
    state->evicted = sh->evicted;
    state->emptied = sh->emptied;
    state->tokens = sh->tokens;
    state->cost = sh->cost;
}


void
ngx_llm_cache_saved(ngx_llm_cache_t *cache, int64_t tokens, int64_t cost)
{
    if (tokens > 0) {
        (void) ngx_atomic_fetch_add(&cache->sh->tokens, tokens);
    }

    if (cost > 0) {
        (void) ngx_atomic_fetch_add(&cache->sh->cost, cost);
    }
}


uint32_t
ngx_llm_cache_generation(ngx_llm_cache_t *cache, ngx_uint_t tag)
{
    return (uint32_t) cache->sh->generations[tag];
}


uint32_t
ngx_llm_cache_purge(ngx_llm_cache_t *cache, ngx_uint_t tag)
{
    return (uint32_t) ngx_atomic_fetch_add(&cache->sh->generations[tag], 1)
           + 1;
}


void
ngx_llm_cache_purged(ngx_llm_cache_t *cache, ngx_uint_t tag,
    uint32_t generation)
{
    ngx_atomic_t       *cell;
    ngx_atomic_uint_t   now;

    cell = &cache->sh->generations[tag];

    do {
        now = *cell;

        if (now >= generation) {
            return;
        }

    } while (!ngx_atomic_cmp_set(cell, now, generation));
}


void
ngx_llm_cache_synced(ngx_llm_cache_t *cache)
{
    /* 0 is never */
    cache->sh->synced = ngx_current_msec | 1;
}


ngx_uint_t
ngx_llm_cache_is_synced(ngx_llm_cache_t *cache)
{
    ngx_msec_t  synced;

    synced = cache->sh->synced;

    return synced && (ngx_msec_int_t) (ngx_current_msec - synced)
                     <= NGX_LLM_CACHE_SYNC;
}
