/*
 * The price file: a JSON object by model name, as LiteLLM keeps one for all
 * providers.  Read once per configuration into a table that finds a name with
 * one hash; the four prices per token count, everything else is skipped.
 */


#include <ngx_llm_prices.h>

#include "ngx_llm_json_file.h"


#define NGX_LLM_PRICES_MAX      (64 * 1024 * 1024)  /* bytes of a file */
#define NGX_LLM_PRICES_NAME     512  /* of TYPE/MODEL; longer ones: no match */

/* documents the format, in the format */
#define NGX_LLM_PRICES_SPEC     "sample_spec"


typedef struct ngx_llm_prices_entry_s  ngx_llm_prices_entry_t;

struct ngx_llm_prices_entry_s {
    ngx_llm_prices_entry_t  *next;   /* of its bucket */
    ngx_str_t                name;
    uint32_t                 hash;
    ngx_llm_price_t          price;
};


struct ngx_llm_prices_s {
    ngx_llm_prices_entry_t **buckets;
    uint32_t                 mask;   /* their number less one, 2^n - 1 */
};


typedef struct {                     /* while a file is read */
    ngx_conf_t              *cf;
    ngx_str_t                name;   /* full */
    ngx_uint_t               tiers;  /* models with prices by tier */
    ngx_uint_t               models;
} ngx_llm_prices_file_t;


static ngx_llm_prices_t *ngx_llm_prices_table(ngx_llm_prices_file_t *file,
    json_t *root);
static ngx_int_t ngx_llm_prices_model(ngx_llm_prices_file_t *file,
    const char *name, json_t *model, ngx_llm_price_t *price);
static ngx_int_t ngx_llm_prices_member(ngx_llm_prices_file_t *file,
    const char *name, const char *member, json_t *value, int64_t *price);
static ngx_uint_t ngx_llm_prices_tiered(json_t *model);
static ngx_int_t ngx_llm_prices_add(ngx_pool_t *pool,
    ngx_llm_prices_t *prices, const char *name, ngx_llm_price_t *price);


/* the members that count, and what they are to us */

static const struct {
    const char  *name;
    size_t       offset;
} ngx_llm_prices_members[] = {
    { "input_cost_per_token", offsetof(ngx_llm_price_t, input) },
    { "output_cost_per_token", offsetof(ngx_llm_price_t, output) },
    { "cache_read_input_token_cost", offsetof(ngx_llm_price_t, cached) },
    { "cache_creation_input_token_cost",
      offsetof(ngx_llm_price_t, cache_write) },
    { NULL, 0 }
};


ngx_llm_prices_t *
ngx_llm_prices_load(ngx_conf_t *cf, ngx_str_t *name)
{
    json_t                 *root;
    ngx_llm_prices_t       *prices;
    ngx_llm_prices_file_t   file;

    ngx_memzero(&file, sizeof(ngx_llm_prices_file_t));

    file.cf = cf;
    file.name = *name;

    /* LiteLLM's own file has had a name twice: no reason to stop */

    root = ngx_llm_json_file(cf, &file.name, NGX_LLM_PRICES_MAX, 1);
    if (root == NULL) {
        return NULL;
    }

    prices = ngx_llm_prices_table(&file, root);

    json_decref(root);

    if (prices && file.tiers) {
        ngx_conf_log_error(NGX_LOG_NOTICE, cf, 0,
                           "%ui of %ui models in \"%V\" have prices by tier "
                           "(_above_..., _batches, _flex, _priority): these "
                           "are not used", file.tiers, file.models,
                           &file.name);
    }

    return prices;
}


static ngx_llm_prices_t *
ngx_llm_prices_table(ngx_llm_prices_file_t *file, json_t *root)
{
    size_t             size;
    json_t            *model;
    ngx_int_t          rc;
    const char        *name;
    ngx_pool_t        *pool;
    ngx_llm_price_t    price;
    ngx_llm_prices_t  *prices;

    pool = file->cf->pool;

    prices = ngx_palloc(pool, sizeof(ngx_llm_prices_t));
    if (prices == NULL) {
        return NULL;
    }

    for (size = 16; size < 2 * json_object_size(root); size *= 2) { /* void */ }

    prices->mask = (uint32_t) (size - 1);

    prices->buckets = ngx_pcalloc(pool, size * sizeof(void *));
    if (prices->buckets == NULL) {
        return NULL;
    }

    json_object_foreach(root, name, model) {

        if (ngx_strcmp(name, NGX_LLM_PRICES_SPEC) == 0) {
            continue;
        }

        rc = ngx_llm_prices_model(file, name, model, &price);

        if (rc == NGX_OK) {
            rc = ngx_llm_prices_add(pool, prices, name, &price);
        }

        if (rc == NGX_ERROR) {
            return NULL;
        }
    }

    return prices;
}


/* NGX_DECLINED: it is not sold by the token */

static ngx_int_t
ngx_llm_prices_model(ngx_llm_prices_file_t *file, const char *name,
    json_t *model, ngx_llm_price_t *price)
{
    int64_t     *slot;
    ngx_uint_t   i;

    if (!json_is_object(model)) {
        ngx_conf_log_error(NGX_LOG_EMERG, file->cf, 0,
                           "\"%s\" is no object in \"%V\"", name,
                           &file->name);
        return NGX_ERROR;
    }

    for (i = 0; ngx_llm_prices_members[i].name; i++) {

        slot = (int64_t *) ((u_char *) price
                            + ngx_llm_prices_members[i].offset);

        if (ngx_llm_prices_member(file, name, ngx_llm_prices_members[i].name,
                                  json_object_get(model,
                                               ngx_llm_prices_members[i].name),
                                  slot)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    file->models++;
    file->tiers += ngx_llm_prices_tiered(model);

    return (price->input < 0 && price->output < 0) ? NGX_DECLINED : NGX_OK;
}


static ngx_int_t
ngx_llm_prices_member(ngx_llm_prices_file_t *file, const char *name,
    const char *member, json_t *value, int64_t *price)
{
    *price = NGX_LLM_PRICE_UNKNOWN;

    if (value == NULL || json_is_null(value)) {
        return NGX_OK;
    }

    if (json_is_number(value)) {
        *price = ngx_llm_price_per_token(json_number_value(value));
    }

    if (*price == NGX_LLM_PRICE_UNKNOWN) {
        ngx_conf_log_error(NGX_LOG_EMERG, file->cf, 0,
                           "\"%s\" of \"%s\" is no number from 0 to 1 in "
                           "\"%V\"", member, name, &file->name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* 1: a member is one of ours with something behind its name */

static ngx_uint_t
ngx_llm_prices_tiered(json_t *model)
{
    size_t       len;
    json_t      *value;
    ngx_uint_t   i;
    const char  *key;

    json_object_foreach(model, key, value) {

        for (i = 0; ngx_llm_prices_members[i].name; i++) {

            len = ngx_strlen(ngx_llm_prices_members[i].name);

            if (ngx_strncmp(key, ngx_llm_prices_members[i].name, len) == 0
                && key[len] == '_')
            {
                return 1;
            }
        }
    }

    return 0;
}


static ngx_int_t
ngx_llm_prices_add(ngx_pool_t *pool, ngx_llm_prices_t *prices,
    const char *name, ngx_llm_price_t *price)
{
    ngx_llm_prices_entry_t  *entry, **bucket;

    entry = ngx_palloc(pool, sizeof(ngx_llm_prices_entry_t));
    if (entry == NULL) {
        return NGX_ERROR;
    }

    entry->name.len = ngx_strlen(name);

    entry->name.data = ngx_pnalloc(pool, entry->name.len);
    if (entry->name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(entry->name.data, name, entry->name.len);

    entry->hash = ngx_murmur_hash2(entry->name.data, entry->name.len);
    entry->price = *price;

    bucket = &prices->buckets[entry->hash & prices->mask];

    entry->next = *bucket;
    *bucket = entry;

    return NGX_OK;
}


const ngx_llm_price_t *
ngx_llm_prices_find(const ngx_llm_prices_t *prices, const ngx_str_t *name)
{
    uint32_t                       hash;
    const ngx_llm_prices_entry_t  *entry;

    hash = ngx_murmur_hash2(name->data, name->len);

    entry = prices->buckets[hash & prices->mask];

    for ( /* void */ ; entry; entry = entry->next) {

        if (entry->hash == hash && entry->name.len == name->len
            && ngx_memcmp(entry->name.data, name->data, name->len) == 0)
        {
            return &entry->price;
        }
    }

    return NULL;
}


const ngx_llm_price_t *
ngx_llm_prices_of(const ngx_llm_prices_t *prices, const ngx_llm_price_t *own,
    const ngx_str_t *type, const ngx_str_t *model, const ngx_str_t *requested)
{
    u_char                  name[NGX_LLM_PRICES_NAME];
    ngx_str_t               typed;
    const ngx_llm_price_t  *price;

    if (own || prices == NULL) {
        return own;
    }

    price = NULL;

    if (type->len && model->len
        && type->len + 1 + model->len <= NGX_LLM_PRICES_NAME)
    {
        typed.data = name;
        typed.len = ngx_sprintf(name, "%V/%V", type, model) - name;

        price = ngx_llm_prices_find(prices, &typed);
    }

    if (price == NULL && model->len) {
        price = ngx_llm_prices_find(prices, model);
    }

    if (price == NULL && requested->len) {
        price = ngx_llm_prices_find(prices, requested);
    }

    return price;
}
