/*
 * Copies a response while it is sent to the client, and stores it in the cache.
 * The flow stores only after a transfer without error; this file reads the
 * copied bytes again and proves that they are a complete response.
 */


#include <ngx_http_llm_copy.h>
#include <ngx_http_llm_list.h>


#define NGX_HTTP_LLM_COPY_FIRST  4096    /* bytes, then twice as many */

/* percent of the lifetime, more or less: entries do not expire at once */
#define NGX_HTTP_LLM_COPY_JITTER  10


static void ngx_http_llm_copy_share(ngx_http_request_t *r,
    ngx_http_llm_cache_charge_t *cache, ngx_str_t *pieces, int64_t ttl);
static void ngx_http_llm_copy_lifetime(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_llm_entry_t *entry);


const char *
ngx_http_llm_copy_refused(ngx_list_t *headers)
{
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor = ngx_http_llm_list_start(headers);

    for ( ;; ) {
        h = ngx_http_llm_list_next(&cursor);

        if (h == NULL) {
            return NULL;
        }

        if (h->key.len == sizeof("Set-Cookie") - 1
            && ngx_strncasecmp(h->key.data, (u_char *) "Set-Cookie",
                               h->key.len)
               == 0)
        {
            return "set_cookie";
        }

        if (h->key.len == sizeof("Cache-Control") - 1
            && ngx_strncasecmp(h->key.data, (u_char *) "Cache-Control",
                               h->key.len)
               == 0
            && (ngx_strlcasestrn(h->value.data, h->value.data + h->value.len,
                                 (u_char *) "no-store", 8 - 1)
                || ngx_strlcasestrn(h->value.data,
                                    h->value.data + h->value.len,
                                    (u_char *) "private", 7 - 1)))
        {
            return "cache_control";
        }
    }
}


void
ngx_http_llm_copy_start(ngx_http_llm_ctx_t *ctx)
{
    ctx->copy.active = 1;
    ctx->copy.len = 0;
}


void
ngx_http_llm_copy_drop(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    const char *why)
{
    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache: response is not stored: %s", why);

    ctx->copy.active = 0;
    ctx->charge->cache.write = 0;
    ctx->charge->cache.refused = why;
}


void
ngx_http_llm_copy_feed(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    u_char *pos, u_char *last)
{
    size_t                    len, size;
    u_char                   *p;
    ngx_http_llm_copy_ctx_t  *copy;
    ngx_http_llm_loc_conf_t  *llcf;

    copy = &ctx->copy;
    len = last - pos;

    if (!copy->active || len == 0) {
        return;
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (len > llcf->cache.max_size - copy->len) {
        ngx_http_llm_copy_drop(r, ctx, "size");
        return;
    }

    if (copy->len + len > copy->size) {

        size = ngx_max(2 * (copy->len + len), NGX_HTTP_LLM_COPY_FIRST);
        size = ngx_min(size, llcf->cache.max_size);

        p = ngx_palloc(r->pool, size);
        if (p == NULL) {
            ngx_http_llm_copy_drop(r, ctx, "memory");
            return;
        }

        if (copy->len) {
            ngx_memcpy(p, copy->data, copy->len);
            (void) ngx_pfree(r->pool, copy->data);
        }

        copy->data = p;
        copy->size = size;
    }

    ngx_memcpy(copy->data + copy->len, pos, len);
    copy->len += len;
}


void
ngx_http_llm_copy_chain(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_chain_t *in)
{
    for ( /* void */ ; in && ctx->copy.active; in = in->next) {

        if (ngx_buf_in_memory(in->buf)) {
            ngx_http_llm_copy_feed(r, ctx, in->buf->pos, in->buf->last);

        } else if (ngx_buf_size(in->buf)) {
            ngx_http_llm_copy_drop(r, ctx, "file");
        }
    }
}


ngx_uint_t
ngx_http_llm_copy_oversize(const ngx_http_llm_loc_conf_t *llcf,
    const ngx_llm_entry_t *entry)
{
    return llcf->pass && llcf->max_size
           && (off_t) entry->body.len > llcf->max_size;
}


ngx_int_t
ngx_http_llm_copy_prove(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_entry_t *entry, u_char *finish)
{
    ngx_int_t                  rc;
    ngx_uint_t                 usage;
    const char                *why;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_loc_conf_t   *llcf;
    ngx_http_llm_operation_t  *operation;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    charge = ctx->charge;
    operation = charge->operation;

    if (entry->body.len > llcf->cache.max_size
        || ngx_http_llm_copy_oversize(llcf, entry))
    {
        ngx_http_llm_copy_drop(r, ctx, "size");
        return NGX_DECLINED;
    }

    usage = (operation->cached != NGX_HTTP_LLM_CACHED_UNCOUNTED);

    /* the replay of a stream needs the position of its usage chunk */

    rc = entry->stream
         ? ngx_llm_entry_prove(entry, operation->api, charge->facts.n, usage,
                               finish, &why)
         : ngx_llm_entry_judge(entry, charge->answer, usage, finish, &why);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    ngx_http_llm_copy_drop(r, ctx, why);

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_llm_copy_store(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_entry_t *entry)
{
    u_char                        head[NGX_LLM_ENTRY_HEAD];
    ngx_str_t                     pieces[2];
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    ngx_http_llm_copy_lifetime(r, ctx->charge, entry);

    ngx_memcpy(entry->tags, cache->tags, sizeof(entry->tags));
    ngx_memcpy(entry->generations, cache->generations,
               sizeof(entry->generations));

    pieces[0].data = head;
    pieces[0].len = ngx_llm_entry_write(entry, head);
    pieces[1] = entry->body;

    if (pieces[0].len == 0
        || ngx_llm_cache_put(lmcf->cache.store, cache->key, pieces, 2,
                             r->connection->log)
           != NGX_OK)
    {
        ngx_http_llm_copy_drop(r, ctx, "size");
        return NGX_DECLINED;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache: response of %uz bytes is stored for %L ms",
                   entry->body.len, entry->ttl);

    ctx->copy.active = 0;
    cache->write = 0;
    cache->stored = 1;

    ngx_llm_flight_stored(lmcf->cache.flight, cache->key);

    if (lmcf->cache.fleet) {
        ngx_http_llm_copy_share(r, cache, pieces, entry->ttl + entry->stale);
    }

    return NGX_OK;
}


/* Sends the entry to Redis, and does not wait for the reply. */

static void
ngx_http_llm_copy_share(ngx_http_request_t *r,
    ngx_http_llm_cache_charge_t *cache, ngx_str_t *pieces, int64_t ttl)
{
    ngx_str_t                  sealed;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    sealed.len = pieces[0].len + pieces[1].len + NGX_LLM_SEAL_EXTRA;

    if (sealed.len > NGX_LLM_CACHE_FLEET_VALUE) {
        return;
    }

    sealed.data = ngx_pnalloc(r->pool, sealed.len);
    if (sealed.data == NULL) {
        return;
    }

    if (ngx_llm_seal(lmcf->cache.seal, &cache->scope, cache->key, pieces, 2,
                     sealed.data)
        == NGX_OK)
    {
        ngx_llm_cache_fleet_put(lmcf->cache.fleet, cache->key, &sealed,
                                (ngx_msec_t) ttl);
    }

    (void) ngx_pfree(r->pool, sealed.data);
}


/* Sets the times of the entry; the jitter of a key is equal on all nodes. */

static void
ngx_http_llm_copy_lifetime(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_llm_entry_t *entry)
{
    int64_t                   ttl, jitter;
    u_char                   *key;
    ngx_time_t               *tp;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    tp = ngx_timeofday();
    entry->created = (int64_t) tp->sec * 1000 + tp->msec;

    key = charge->cache.key;
    ttl = (int64_t) llcf->cache.ttl;
    jitter = (key[2] << 8 | key[3]) % (2 * NGX_HTTP_LLM_COPY_JITTER + 1);

    entry->ttl = ttl + ttl * (jitter - NGX_HTTP_LLM_COPY_JITTER) / 100;
    entry->stale = (int64_t) llcf->cache.stale;
}
