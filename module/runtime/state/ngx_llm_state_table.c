/*
 * The table of owners: sets of eight rows, a key belongs to one set.  The mutex
 * of the zone guards it; a look-up reads eight rows under the lock.
 */


#include <ngx_llm_state_table.h>


#define NGX_LLM_STATE_TABLE_WAYS   8
#define NGX_LLM_STATE_TABLE_PART   32    /* of the zone, the table is one */
#define NGX_LLM_STATE_TABLE_LEAST  16    /* sets */
#define NGX_LLM_STATE_TABLE_ID     16    /* bytes of a key that are kept */


typedef struct {
    u_char                     id[NGX_LLM_STATE_TABLE_ID];
    uint64_t                   owner;    /* 0: the row is free */
    int64_t                    used;     /* s since 1970 */
} ngx_llm_state_table_row_t;


struct ngx_llm_state_table_sh_s {
    ngx_uint_t                 sets;     /* a power of two */
    ngx_llm_state_table_row_t  rows[1];
};


static ngx_int_t ngx_llm_state_table_init(ngx_llm_zone_t *zone, void **root,
    void *data);
static ngx_llm_state_table_row_t *ngx_llm_state_table_set(
    ngx_llm_state_table_sh_t *sh, const u_char *key);


ngx_llm_state_table_t *
ngx_llm_state_table_create(ngx_conf_t *cf, ngx_llm_zone_t *zone)
{
    ngx_llm_state_table_t  *table;

    table = ngx_pcalloc(cf->pool, sizeof(ngx_llm_state_table_t));
    if (table == NULL) {
        return NULL;
    }

    table->zone = zone;

    if (ngx_llm_zone_use(zone, NGX_LLM_ZONE_STATE, ngx_llm_state_table_init,
                         table)
        != NGX_OK)
    {
        return NULL;
    }

    return table;
}


/* A zone that is too small for the table works without it. */

static ngx_int_t
ngx_llm_state_table_init(ngx_llm_zone_t *zone, void **root, void *data)
{
    ngx_llm_state_table_t  *table = data;

    size_t                     size, set;
    ngx_uint_t                 sets;
    ngx_llm_state_table_sh_t  *sh;

    if (*root == NULL) {
        size = (zone->pool->end - (u_char *) zone->pool)
               / NGX_LLM_STATE_TABLE_PART;
        set = NGX_LLM_STATE_TABLE_WAYS * sizeof(ngx_llm_state_table_row_t);

        sets = NGX_LLM_STATE_TABLE_LEAST;

        while (2 * sets * set <= size) {
            sets *= 2;
        }

        sh = NULL;

        for ( /* void */ ; sets >= NGX_LLM_STATE_TABLE_LEAST; sets /= 2) {
            sh = ngx_llm_zone_calloc(zone, sizeof(ngx_llm_state_table_sh_t)
                                           + sets * set);
            if (sh) {
                sh->sets = sets;
                break;
            }
        }

        *root = sh;
    }

    table->sh = *root;

    return NGX_OK;
}


uint64_t
ngx_llm_state_table_get(ngx_llm_state_table_t *table, const u_char *key)
{
    uint64_t                    owner;
    ngx_uint_t                  i;
    ngx_llm_state_table_row_t  *row;

    if (table->sh == NULL) {
        return 0;
    }

    row = ngx_llm_state_table_set(table->sh, key);
    owner = 0;

    ngx_shmtx_lock(&table->zone->pool->mutex);

    for (i = 0; i < NGX_LLM_STATE_TABLE_WAYS; i++) {

        if (row[i].owner
            && ngx_memcmp(row[i].id, key, NGX_LLM_STATE_TABLE_ID) == 0
            && ngx_time() - row[i].used < NGX_LLM_STATE_TABLE_TTL)
        {
            owner = row[i].owner;
            row[i].used = ngx_time();
            break;
        }
    }

    ngx_shmtx_unlock(&table->zone->pool->mutex);

    return owner;
}


void
ngx_llm_state_table_put(ngx_llm_state_table_t *table, const u_char *key,
    uint64_t owner)
{
    ngx_uint_t                  i;
    ngx_llm_state_table_row_t  *row, *place;

    if (table->sh == NULL) {
        return;
    }

    row = ngx_llm_state_table_set(table->sh, key);
    place = row;

    ngx_shmtx_lock(&table->zone->pool->mutex);

    for (i = 0; i < NGX_LLM_STATE_TABLE_WAYS; i++) {

        if (row[i].owner
            && ngx_memcmp(row[i].id, key, NGX_LLM_STATE_TABLE_ID) == 0)
        {
            place = &row[i];
            break;
        }

        /* a free row has never been used: used is 0 */

        if (row[i].used < place->used) {
            place = &row[i];
        }
    }

    ngx_memcpy(place->id, key, NGX_LLM_STATE_TABLE_ID);
    place->owner = owner;
    place->used = ngx_time();

    ngx_shmtx_unlock(&table->zone->pool->mutex);
}


/* Returns the first row of the key's set: the key is a digest. */

static ngx_llm_state_table_row_t *
ngx_llm_state_table_set(ngx_llm_state_table_sh_t *sh, const u_char *key)
{
    uint32_t  hash;

    /* bytes that are not part of the row's id */

    ngx_memcpy(&hash, key + NGX_LLM_STATE_TABLE_ID, sizeof(uint32_t));

    return &sh->rows[(hash & (sh->sets - 1)) * NGX_LLM_STATE_TABLE_WAYS];
}
