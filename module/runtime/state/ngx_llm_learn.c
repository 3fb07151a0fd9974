/*
 * Estimates learned for models, and for identities of models, in the state
 * zone: rows in sets of four, found by hash.  A row that was used lately keeps
 * its owner, so that a flood of names takes nothing from others; an older one
 * gets a new owner in one atomic step, and its estimates are lost.
 */


#include <ngx_llm_learn.h>


#define NGX_LLM_LEARN_WAYS     4         /* rows of a set */
#define NGX_LLM_LEARN_MODELS   1024      /* rows, at most */
#define NGX_LLM_LEARN_OUTPUTS  4096      /* the same */
#define NGX_LLM_LEARN_KEPT     600       /* seconds a row is kept unused */


typedef struct {                         /* in front of a row */
    ngx_atomic_t          hash;          /* 0: nobody's */
    ngx_atomic_t          used;          /* seconds */
} ngx_llm_learn_owner_t;


typedef struct {
    ngx_llm_learn_owner_t owner;
    ngx_llm_ratios_t      ratios;
} ngx_llm_learn_model_t;


typedef struct {
    ngx_llm_learn_owner_t owner;
    ngx_llm_outputs_t     outputs;
} ngx_llm_learn_output_t;


typedef struct {                         /* in the zone */
    ngx_uint_t            nmodels;
    ngx_uint_t            noutputs;
    u_char               *models;
    u_char               *outputs;
} ngx_llm_learn_sh_t;


struct ngx_llm_learn_s {
    ngx_llm_learn_sh_t   *sh;
};


static ngx_int_t ngx_llm_learn_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static u_char *ngx_llm_learn_rows(ngx_llm_zone_t *zone, size_t size,
    ngx_uint_t most, ngx_uint_t *n);
static void *ngx_llm_learn_row(u_char *rows, ngx_uint_t n, size_t size,
    ngx_atomic_uint_t hash);
static ngx_atomic_uint_t ngx_llm_learn_hash(u_char *key, ngx_str_t *model);


ngx_llm_learn_t *
ngx_llm_learn_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_llm_learn_t  *learn;

    learn = ngx_pcalloc(cf->pool, sizeof(ngx_llm_learn_t));
    if (learn == NULL) {
        return NULL;
    }

    if (ngx_llm_zone_use(zone, NGX_LLM_ZONE_LEARN, ngx_llm_learn_init, learn)
        != NGX_OK)
    {
        return NULL;
    }

    return learn;
}


static ngx_int_t
ngx_llm_learn_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_learn_t  *learn = data;

    ngx_llm_learn_sh_t  *sh;

    sh = *root;

    if (sh == NULL) {

        sh = ngx_llm_zone_calloc(zone, sizeof(ngx_llm_learn_sh_t));
        if (sh == NULL) {
            return NGX_ERROR;
        }

        sh->models = ngx_llm_learn_rows(zone, sizeof(ngx_llm_learn_model_t),
                                        NGX_LLM_LEARN_MODELS, &sh->nmodels);
        sh->outputs = ngx_llm_learn_rows(zone, sizeof(ngx_llm_learn_output_t),
                                         NGX_LLM_LEARN_OUTPUTS,
                                         &sh->noutputs);

        if (sh->models == NULL || sh->outputs == NULL) {
            return NGX_ERROR;
        }

        *root = sh;
    }

    learn->sh = sh;

    return NGX_OK;
}


/* not more than a sixteenth of the zone */

static u_char *
ngx_llm_learn_rows(ngx_llm_zone_t *zone, size_t size, ngx_uint_t most,
    ngx_uint_t *n)
{
    size_t  room;

    room = (zone->pool->end - (u_char *) zone->pool) / 16;

    for (*n = most; *n > NGX_LLM_LEARN_WAYS && *n * size > room; *n /= 2) {
        /* void */
    }

    /* one more, for owners that find no row */

    return ngx_llm_zone_calloc(zone, (*n + 1) * size);
}


ngx_llm_ratios_t *
ngx_llm_learn_ratios(ngx_llm_learn_t *learn, u_char *key, ngx_str_t *model)
{
    ngx_llm_learn_model_t  *row;

    row = ngx_llm_learn_row(learn->sh->models, learn->sh->nmodels,
                            sizeof(ngx_llm_learn_model_t),
                            ngx_llm_learn_hash(key, model));

    return &row->ratios;
}


ngx_llm_outputs_t *
ngx_llm_learn_outputs(ngx_llm_learn_t *learn, u_char *key, ngx_str_t *model)
{
    ngx_llm_learn_output_t  *row;

    row = ngx_llm_learn_row(learn->sh->outputs, learn->sh->noutputs,
                            sizeof(ngx_llm_learn_output_t),
                            ngx_llm_learn_hash(key, model));

    return &row->outputs;
}


/* the owner is the first of a row, whatever it holds */

static void *
ngx_llm_learn_row(u_char *rows, ngx_uint_t n, size_t size,
    ngx_atomic_uint_t hash)
{
    time_t                  now;
    u_char                 *set;
    ngx_uint_t              i;
    ngx_atomic_uint_t       before;
    ngx_llm_learn_owner_t  *owner, *oldest;

    now = ngx_time();

    set = rows + (hash % (n / NGX_LLM_LEARN_WAYS)) * NGX_LLM_LEARN_WAYS
                 * size;

    oldest = (ngx_llm_learn_owner_t *) set;

    for (i = 0; i < NGX_LLM_LEARN_WAYS; i++) {
        owner = (ngx_llm_learn_owner_t *) (set + i * size);

        if (owner->hash == hash) {
            owner->used = now;
            return owner;
        }

        if (owner->used < oldest->used) {
            oldest = owner;
        }
    }

    before = oldest->hash;

    if (before && now - (time_t) oldest->used < NGX_LLM_LEARN_KEPT) {

        /* in this row nothing is known, whoever used it before */

        oldest = (ngx_llm_learn_owner_t *) (rows + n * size);
        ngx_memzero(oldest, size);

        return oldest;
    }

    if (ngx_atomic_cmp_set(&oldest->hash, before, hash)) {
        oldest->used = now;
        ngx_memzero((u_char *) oldest + sizeof(ngx_llm_learn_owner_t),
                    size - sizeof(ngx_llm_learn_owner_t));
    }

    return oldest;
}


/* a key is a digest: any part of it is as good as a hash */

static ngx_atomic_uint_t
ngx_llm_learn_hash(u_char *key, ngx_str_t *model)
{
    uint64_t  hash, digest;

    hash = (uint64_t) ngx_murmur_hash2(model->data, model->len)
           * 0x9e3779b97f4a7c15;

    if (key) {
        ngx_memcpy(&digest, key, sizeof(uint64_t));
        hash ^= digest;
    }

    return (ngx_atomic_uint_t) (hash ? hash : 1);
}
