/*
 * The price file: a JSON object by model name in the format of LiteLLM's price
 * map.  It is read once per configuration into a hash table.  An entry that is
 * malformed is skipped with a warning, so that one bad entry among thousands
 * does not stop nginx; its model has no price.
 */


#include <ngx_llm_prices.h>

#include "ngx_llm_json_file.h"


#define NGX_LLM_PRICES_MAX      (64 * 1024 * 1024)  /* bytes of a file */
#define NGX_LLM_PRICES_NAME     512  /* of PREFIX/MODEL; longer: no match */
#define NGX_LLM_PRICES_RATES    256  /* prices of one model */
#define NGX_LLM_PRICES_CONTEXT  1000000000  /* tokens */

/* an entry of LiteLLM's file that documents the format */
#define NGX_LLM_PRICES_SPEC     "sample_spec"

/* charges for long prompts from the threshold on, not above it */
#define NGX_LLM_PRICES_INCLUSIVE  "xai"


typedef struct ngx_llm_prices_entry_s  ngx_llm_prices_entry_t;

struct ngx_llm_prices_entry_s {
    ngx_llm_prices_entry_t  *next;   /* of its bucket */
    ngx_str_t                name;
    uint32_t                 hash;
    ngx_llm_price_t          price;
};


struct ngx_llm_prices_s {
    ngx_llm_prices_entry_t **buckets;
    uint32_t                 mask;   /* number of buckets less one, 2^n - 1 */
};


typedef struct {                     /* while a file is read */
    ngx_conf_t              *cf;
    ngx_str_t                name;   /* full */
    const char              *model;  /* the entry that is being read */
    uint32_t                 less;   /* 1: thresholds are inclusive */
    ngx_uint_t               n;
    ngx_llm_price_rate_t     rates[NGX_LLM_PRICES_RATES];
} ngx_llm_prices_file_t;


static ngx_llm_prices_t *ngx_llm_prices_table(ngx_llm_prices_file_t *file,
    json_t *root);
static ngx_int_t ngx_llm_prices_model(ngx_llm_prices_file_t *file,
    json_t *model, ngx_llm_price_t *price);
static ngx_int_t ngx_llm_prices_members(ngx_llm_prices_file_t *file,
    json_t *object, uint32_t above, ngx_llm_price_t *price);
static ngx_int_t ngx_llm_prices_rate(ngx_llm_prices_file_t *file,
    ngx_llm_price_rate_t *rate, ngx_llm_price_t *price);
static ngx_int_t ngx_llm_prices_ranges(ngx_llm_prices_file_t *file,
    json_t *ranges, ngx_llm_price_t *price);
static void ngx_llm_prices_attributes(json_t *model, ngx_llm_price_t *price);
static ngx_int_t ngx_llm_prices_bad(ngx_llm_prices_file_t *file,
    const char *member, const char *why);
static ngx_int_t ngx_llm_prices_add(ngx_llm_prices_file_t *file,
    ngx_llm_prices_t *prices, ngx_llm_price_t *price);
static const ngx_llm_price_t *ngx_llm_prices_first(
    const ngx_llm_prices_t *prices, const ngx_str_t *prefix,
    const ngx_str_t *model, const ngx_str_t *requested,
    ngx_uint_t (*wanted)(const ngx_llm_price_t *price));
static ngx_uint_t ngx_llm_prices_priced(const ngx_llm_price_t *price);
static ngx_uint_t ngx_llm_prices_sized(const ngx_llm_price_t *price);


ngx_llm_prices_t *
ngx_llm_prices_load(ngx_conf_t *cf, ngx_str_t *name)
{
    json_t                 *root;
    ngx_llm_prices_t       *prices;
    ngx_llm_prices_file_t  *file;

    file = ngx_pcalloc(cf->temp_pool, sizeof(ngx_llm_prices_file_t));
    if (file == NULL) {
        return NULL;
    }

    file->cf = cf;
    file->name = *name;

    /* releases of LiteLLM's file have had the same name twice */

    root = ngx_llm_json_file(cf, &file->name, NGX_LLM_PRICES_MAX, 1);
    if (root == NULL) {
        return NULL;
    }

    prices = ngx_llm_prices_table(file, root);

    json_decref(root);

    return prices;
}


static ngx_llm_prices_t *
ngx_llm_prices_table(ngx_llm_prices_file_t *file, json_t *root)
{
    size_t             size;
    json_t            *model;
    ngx_int_t          rc;
    const char        *name;
    ngx_llm_price_t    price;
    ngx_llm_prices_t  *prices;

    prices = ngx_palloc(file->cf->pool, sizeof(ngx_llm_prices_t));
    if (prices == NULL) {
        return NULL;
    }

    size = 16;

    while (size < 2 * json_object_size(root)) {
        size *= 2;
    }

    prices->mask = (uint32_t) (size - 1);

    prices->buckets = ngx_pcalloc(file->cf->pool, size * sizeof(void *));
    if (prices->buckets == NULL) {
        return NULL;
    }

    json_object_foreach(root, name, model) {

        if (ngx_strcmp(name, NGX_LLM_PRICES_SPEC) == 0) {
            continue;
        }

        file->model = name;

        rc = ngx_llm_prices_model(file, model, &price);

        if (rc == NGX_OK) {
            rc = ngx_llm_prices_add(file, prices, &price);
        }

        if (rc == NGX_ERROR) {
            return NULL;
        }
    }

    return prices;
}


/* Returns NGX_DECLINED if the entry is malformed. */

static ngx_int_t
ngx_llm_prices_model(ngx_llm_prices_file_t *file, json_t *model,
    ngx_llm_price_t *price)
{
    json_t  *value;

    ngx_llm_price_init(price);

    file->n = 0;

    if (!json_is_object(model)) {
        return ngx_llm_prices_bad(file, NULL, "not an object");
    }

    value = json_object_get(model, "litellm_provider");

    file->less = (json_is_string(value)
                  && ngx_strcmp(json_string_value(value),
                                NGX_LLM_PRICES_INCLUSIVE)
                     == 0);

    if (ngx_llm_prices_members(file, model, 0, price) != NGX_OK
        || ngx_llm_prices_ranges(file, json_object_get(model,
                                                       "tiered_pricing"),
                                 price)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_llm_prices_attributes(model, price);

    return NGX_OK;
}


/* Reads the prices of an object; above is the threshold of all of them. */

static ngx_int_t
ngx_llm_prices_members(ngx_llm_prices_file_t *file, json_t *object,
    uint32_t above, ngx_llm_price_t *price)
{
    json_t                *value;
    const char            *key;
    ngx_llm_price_rate_t   rate;

    json_object_foreach(object, key, value) {

        if (json_is_null(value)
            || ngx_llm_price_member(key, ngx_strlen(key), &rate) != NGX_OK)
        {
            continue;
        }

        rate.price = json_is_number(value)
                     ? ngx_llm_price_per_token(json_number_value(value))
                     : NGX_LLM_PRICE_UNKNOWN;

        if (rate.price == NGX_LLM_PRICE_UNKNOWN) {
            return ngx_llm_prices_bad(file, key, "not a number from 0 to 1");
        }

        rate.above = above ? above
                           : rate.above - (rate.above ? file->less : 0);

        if (ngx_llm_prices_rate(file, &rate, price) != NGX_OK) {
            return ngx_llm_prices_bad(file, key, "beyond the limit of prices");
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_prices_rate(ngx_llm_prices_file_t *file, ngx_llm_price_rate_t *rate,
    ngx_llm_price_t *price)
{
    if (rate->above == 0 && rate->tier == NGX_LLM_PRICE_DEFAULT) {

        switch (rate->unit) {

        case NGX_LLM_PRICE_INPUT:
            price->input = rate->price;
            return NGX_OK;

        case NGX_LLM_PRICE_OUTPUT:
            price->output = rate->price;
            return NGX_OK;

        case NGX_LLM_PRICE_CACHED:
            price->cached = rate->price;
            return NGX_OK;

        case NGX_LLM_PRICE_CACHE_WRITE:
            price->cache_write = rate->price;
            return NGX_OK;

        default:
            break;
        }
    }

    if (file->n == NGX_LLM_PRICES_RATES) {
        return NGX_ERROR;
    }

    file->rates[file->n++] = *rate;

    return NGX_OK;
}


/*
 * Reads "tiered_pricing": [{"range": [FROM, TO], ...}, ...].  The range with
 * the largest FROM below the tokens of the prompt prices the whole request.
 */

static ngx_int_t
ngx_llm_prices_ranges(ngx_llm_prices_file_t *file, json_t *ranges,
    ngx_llm_price_t *price)
{
    size_t   i;
    double   from;
    json_t  *range, *limits;

    if (ranges == NULL || json_is_null(ranges)) {
        return NGX_OK;
    }

    if (!json_is_array(ranges)) {
        return ngx_llm_prices_bad(file, "tiered_pricing", "not an array");
    }

    json_array_foreach(ranges, i, range) {

        limits = json_object_get(range, "range");

        /* other kinds of ranges, as by results, do not price tokens */

        if (limits == NULL) {
            continue;
        }

        limits = json_array_get(limits, 0);
        from = json_number_value(limits);

        if (!json_is_number(limits)
            || !(from >= 0 && from <= NGX_LLM_PRICES_CONTEXT))
        {
            return ngx_llm_prices_bad(file, "tiered_pricing",
                                      "without a valid \"range\"");
        }

        if (ngx_llm_prices_members(file, range, (uint32_t) from, price)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* Reads the size of the context and the mode; other members are ignored. */

static void
ngx_llm_prices_attributes(json_t *model, ngx_llm_price_t *price)
{
    double       tokens;
    json_t      *value;
    ngx_uint_t   i;

    static const struct {
        const char           *name;
        ngx_llm_price_for_e   mode;
    } modes[] = {
        { "chat", NGX_LLM_PRICE_FOR_TEXT },
        { "completion", NGX_LLM_PRICE_FOR_TEXT },
        { "responses", NGX_LLM_PRICE_FOR_TEXT },
        { "embedding", NGX_LLM_PRICE_FOR_VECTORS },
        { "moderation", NGX_LLM_PRICE_FOR_VECTORS },
        { "rerank", NGX_LLM_PRICE_FOR_VECTORS },
        { "image_generation", NGX_LLM_PRICE_FOR_IMAGES },
        { "image_edit", NGX_LLM_PRICE_FOR_IMAGES },
        { "audio_speech", NGX_LLM_PRICE_FOR_SPEECH },
        { "audio_transcription", NGX_LLM_PRICE_FOR_TRANSCRIPT }
    };

    value = json_object_get(model, "max_input_tokens");

    if (json_is_number(value)) {
        tokens = json_number_value(value);

        if (tokens >= 1 && tokens <= NGX_LLM_PRICES_CONTEXT) {
            price->context = (uint32_t) tokens;
        }
    }

    value = json_object_get(model, "mode");

    for (i = 0; json_is_string(value) && i < sizeof(modes) / sizeof(modes[0]);
         i++)
    {
        if (ngx_strcmp(json_string_value(value), modes[i].name) == 0) {
            price->mode = modes[i].mode;
        }
    }
}


/* Logs why the entry is skipped; returns NGX_DECLINED. */

static ngx_int_t
ngx_llm_prices_bad(ngx_llm_prices_file_t *file, const char *member,
    const char *why)
{
    if (member) {
        ngx_conf_log_error(NGX_LOG_WARN, file->cf, 0,
                           "model \"%s\" in \"%V\" is skipped: \"%s\" is %s",
                           file->model, &file->name, member, why);

    } else {
        ngx_conf_log_error(NGX_LOG_WARN, file->cf, 0,
                           "model \"%s\" in \"%V\" is skipped: its entry is "
                           "%s", file->model, &file->name, why);
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_llm_prices_add(ngx_llm_prices_file_t *file, ngx_llm_prices_t *prices,
    ngx_llm_price_t *price)
{
    size_t                    size;
    ngx_pool_t               *pool;
    ngx_llm_prices_entry_t   *entry, **bucket;
    ngx_llm_price_rate_t     *rates;

    pool = file->cf->pool;

    entry = ngx_palloc(pool, sizeof(ngx_llm_prices_entry_t));
    if (entry == NULL) {
        return NGX_ERROR;
    }

    entry->name.len = ngx_strlen(file->model);

    entry->name.data = ngx_pnalloc(pool, entry->name.len);
    if (entry->name.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(entry->name.data, file->model, entry->name.len);

    if (file->n) {
        size = file->n * sizeof(ngx_llm_price_rate_t);

        rates = ngx_palloc(pool, size);
        if (rates == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(rates, file->rates, size);

        price->rates = rates;
        price->nrates = (uint32_t) file->n;
    }

    entry->hash = ngx_murmur_hash2(entry->name.data, entry->name.len);
    entry->price = *price;
    entry->price.priced = ngx_llm_price_covers(price, NGX_LLM_PRICE_FOR_ANY);

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
    const ngx_str_t *prefix, const ngx_str_t *model,
    const ngx_str_t *requested)
{
    if (own || prices == NULL) {
        return own;
    }

    return ngx_llm_prices_first(prices, prefix, model, requested,
                                ngx_llm_prices_priced);
}


ngx_uint_t
ngx_llm_prices_context(const ngx_llm_prices_t *prices,
    const ngx_str_t *prefix, const ngx_str_t *model,
    const ngx_str_t *requested)
{
    const ngx_llm_price_t  *price;

    if (prices == NULL) {
        return 0;
    }

    price = ngx_llm_prices_first(prices, prefix, model, requested,
                                 ngx_llm_prices_sized);

    return price ? price->context : 0;
}


static const ngx_llm_price_t *
ngx_llm_prices_first(const ngx_llm_prices_t *prices, const ngx_str_t *prefix,
    const ngx_str_t *model, const ngx_str_t *requested,
    ngx_uint_t (*wanted)(const ngx_llm_price_t *price))
{
    u_char                  name[NGX_LLM_PRICES_NAME];
    ngx_str_t               full;
    ngx_uint_t              i;
    const ngx_str_t        *names[] = { &full, model, requested };
    const ngx_llm_price_t  *price;

    full.len = 0;
    full.data = name;

    if (prefix->len && model->len
        && prefix->len + 1 + model->len <= NGX_LLM_PRICES_NAME)
    {
        full.len = ngx_sprintf(name, "%V/%V", prefix, model) - name;
    }

    for (i = 0; i < 3; i++) {

        if (names[i]->len == 0) {
            continue;
        }

        price = ngx_llm_prices_find(prices, names[i]);

        if (price && wanted(price)) {
            return price;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_llm_prices_priced(const ngx_llm_price_t *price)
{
    return price->priced;
}


static ngx_uint_t
ngx_llm_prices_sized(const ngx_llm_price_t *price)
{
    return price->context != 0;
}
