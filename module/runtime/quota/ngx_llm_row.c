/*
 * The rows of quotas in shared memory: one for each zone and identity, found
 * by their hash.  When memory is short only an idle row is evicted: its buckets
 * are full again, its window is over, and no hold points to it.
 */


#include "ngx_llm_row.h"


#define NGX_LLM_ROW_TRIES  32        /* rows looked at to evict one */


static ngx_llm_row_t *ngx_llm_row_find(ngx_llm_quota_sh_t *sh,
    ngx_rbtree_key_t hash, uint64_t zone, u_char *key);
static ngx_int_t ngx_llm_row_evict(ngx_llm_quota_t *quota, int64_t now);
static ngx_uint_t ngx_llm_row_idle(ngx_llm_row_t *row, int64_t now);


uint64_t
ngx_llm_row_hash(ngx_str_t *zone)
{
    return ((uint64_t) ngx_murmur_hash2(zone->data, zone->len) << 32)
           | ngx_crc32_short(zone->data, zone->len);
}


ngx_llm_row_t *
ngx_llm_row_get(ngx_llm_quota_t *quota, ngx_llm_claim_t *claim, int64_t now,
    ngx_uint_t *new)
{
    uint64_t             key;
    ngx_llm_row_t       *row;
    ngx_rbtree_key_t     hash;
    ngx_llm_quota_sh_t  *sh;

    sh = quota->sh;

    ngx_memcpy(&key, claim->key, sizeof(uint64_t));
    hash = (ngx_rbtree_key_t) (key ^ claim->hash);

    row = ngx_llm_row_find(sh, hash, claim->hash, claim->key);

    if (row) {
        ngx_queue_remove(&row->queue);
        ngx_queue_insert_head(&sh->rows, &row->queue);
        return row;
    }

    for ( ;; ) {
        row = ngx_slab_calloc_locked(sh->row_pool, sizeof(ngx_llm_row_t));

        if (row) {
            break;
        }

        if (ngx_llm_row_evict(quota, now) != NGX_OK) {
            return NULL;
        }
    }

    row->node.key = hash;
    row->zone = claim->hash;
    ngx_memcpy(row->key, claim->key, NGX_LLM_QUOTA_KEY);

    ngx_rbtree_insert(&sh->rbtree, &row->node);
    ngx_queue_insert_head(&sh->rows, &row->queue);

    *new = 1;

    return row;
}


void
ngx_llm_row_marks(ngx_llm_quota_t *quota, ngx_llm_row_t *row, ngx_uint_t i)
{
    ngx_slab_pool_t   *pool;
    ngx_llm_bucket_t  *b;

    pool = quota->sh->row_pool;
    b = &row->buckets[i];

    if (b->used == 0 || ngx_llm_limit_calendar(&row->limits[i])) {

        if (b->marks) {
            ngx_slab_free_locked(pool, b->marks);
            b->marks = NULL;
        }

    } else if (b->marks == NULL) {
        b->marks = ngx_slab_calloc_locked(pool, sizeof(ngx_llm_marks_t));
    }
}


void
ngx_llm_row_free(ngx_llm_quota_t *quota, ngx_llm_row_t *row)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {

        if (row->buckets[i].marks) {
            ngx_slab_free_locked(quota->sh->row_pool, row->buckets[i].marks);
        }
    }

    ngx_queue_remove(&row->queue);
    ngx_rbtree_delete(&quota->sh->rbtree, &row->node);

    ngx_slab_free_locked(quota->sh->row_pool, row);
}


/* equal hashes lie in the right subtree, as ngx_rbtree_insert_value() has it */

static ngx_llm_row_t *
ngx_llm_row_find(ngx_llm_quota_sh_t *sh, ngx_rbtree_key_t hash, uint64_t zone,
    u_char *key)
{
    ngx_llm_row_t      *row;
    ngx_rbtree_node_t  *node;

    node = sh->rbtree.root;

    while (node != sh->rbtree.sentinel) {

        if (hash == node->key) {
            row = ngx_rbtree_data(node, ngx_llm_row_t, node);

            if (row->zone == zone
                && ngx_memcmp(row->key, key, NGX_LLM_QUOTA_KEY) == 0)
            {
                return row;
            }
        }

        node = (hash < node->key) ? node->left : node->right;
    }

    return NULL;
}


/* the ones that were used last are the least likely to be idle */

static ngx_int_t
ngx_llm_row_evict(ngx_llm_quota_t *quota, int64_t now)
{
    ngx_uint_t      i;
    ngx_queue_t    *q;
    ngx_llm_row_t  *row;

    for (i = 0; i < NGX_LLM_ROW_TRIES; i++) {

        if (ngx_queue_empty(&quota->sh->rows)) {
            break;
        }

        q = ngx_queue_last(&quota->sh->rows);
        row = ngx_queue_data(q, ngx_llm_row_t, queue);

        if (ngx_llm_row_idle(row, now)) {
            ngx_llm_row_free(quota, row);
            return NGX_OK;
        }

        ngx_queue_remove(q);
        ngx_queue_insert_head(&quota->sh->rows, q);
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_llm_row_idle(ngx_llm_row_t *row, int64_t now)
{
    ngx_uint_t         i;
    ngx_llm_bucket_t  *b;

    if (row->holds) {
        return 0;
    }

    for (i = 0; i < NGX_LLM_QUOTA_AMOUNTS; i++) {
        b = &row->buckets[i];

        if (b->at == 0) {
            /* never used */
            continue;
        }

        ngx_llm_bucket_turn(b, &row->limits[i], now);

        if (b->used || (ngx_llm_limit_calendar(&row->limits[i]) && b->rest)) {
            return 0;
        }
    }

    return 1;
}
