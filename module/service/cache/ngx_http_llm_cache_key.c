/*
 * The key of a cached response.  Everything that can change the response is
 * part of the key: the scope (consumer or credential), the operation, the
 * targets and the headers they would receive, and the canonical body.  A
 * request whose response might depend on anything else bypasses the cache.
 */


#include <ngx_http_llm_cache_key.h>
#include <ngx_http_llm_list.h>
#include <ngx_http_llm_dialect.h>
#include <ngx_llm_canon.h>
#include <ngx_http_llm_value.h>


/* nodes of a canonical body: on the stack, and at most */
#define NGX_HTTP_LLM_CACHE_KEY_NODES  128
#define NGX_HTTP_LLM_CACHE_KEY_MOST   65536


static ngx_int_t ngx_http_llm_cache_key_scope(ngx_http_request_t *r,
    ngx_str_t *consumer, ngx_str_t *credential, ngx_str_t *scope);
static const ngx_llm_digest_key_t *ngx_http_llm_cache_key_own(
    ngx_http_llm_main_conf_t *lmcf, ngx_http_llm_cache_charge_t *cache,
    ngx_llm_digest_key_t *own);
static void ngx_http_llm_cache_key_tags(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_cache_key_body(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_cache_key_put(void *data, const u_char *p, size_t len);
static const char *ngx_http_llm_cache_key_uncacheable(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_llm_canon_t *canon);
static ngx_int_t ngx_http_llm_cache_key_targets(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_cache_key_target(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_llm_digest_t *digest,
    ngx_http_llm_target_t *target);
static void ngx_http_llm_cache_key_headers(ngx_http_request_t *r,
    ngx_llm_digest_t *digest);
static void ngx_http_llm_cache_key_location(ngx_http_request_t *r,
    ngx_llm_digest_t *digest);
static ngx_uint_t ngx_http_llm_cache_key_neutral(ngx_table_elt_t *h);
static ngx_uint_t ngx_http_llm_cache_key_named(ngx_str_t *names,
    ngx_str_t *name);


/* credentials are not part of the key, the scope tells clients apart */

static ngx_str_t  ngx_http_llm_cache_key_credentials[] = {
    ngx_string("authorization"),
    ngx_string("api-key"),
    ngx_string("x-api-key"),
    ngx_null_string
};


/*
 * Headers of a client that proxy_pass forwards and that do not change an
 * answer: framing and the connection, caching, tracing, the SDK and the hop
 * before nginx.  Every other header is part of the key.
 */

static ngx_str_t  ngx_http_llm_cache_key_neutrals[] = {
    ngx_string("host"),
    ngx_string("connection"),
    ngx_string("keep-alive"),
    ngx_string("proxy-connection"),
    ngx_string("proxy-authorization"),
    ngx_string("te"),
    ngx_string("trailer"),
    ngx_string("transfer-encoding"),
    ngx_string("upgrade"),
    ngx_string("expect"),
    ngx_string("content-length"),
    ngx_string("content-type"),
    ngx_string("accept"),
    ngx_string("accept-encoding"),
    ngx_string("user-agent"),
    ngx_string("origin"),
    ngx_string("referer"),
    ngx_string("dnt"),
    ngx_string("priority"),
    ngx_string("date"),
    ngx_string("range"),
    ngx_string("if-range"),
    ngx_string("if-match"),
    ngx_string("if-none-match"),
    ngx_string("if-modified-since"),
    ngx_string("if-unmodified-since"),
    ngx_string("cache-control"),
    ngx_string("pragma"),
    ngx_string("idempotency-key"),
    ngx_string("x-client-request-id"),
    ngx_string("x-request-id"),
    ngx_string("x-correlation-id"),
    ngx_string("traceparent"),
    ngx_string("tracestate"),
    ngx_string("baggage"),
    ngx_string("b3"),
    ngx_string("sentry-trace"),
    ngx_string("uber-trace-id"),
    ngx_string("x-amzn-trace-id"),
    ngx_string("x-cloud-trace-context"),
    ngx_string("via"),
    ngx_string("forwarded"),
    ngx_string("x-real-ip"),
    ngx_string("cf-ray"),
    ngx_string("cf-connecting-ip"),
    ngx_string("true-client-ip"),
    ngx_null_string
};


/* headers with these prefixes do not change an answer either */

static ngx_str_t  ngx_http_llm_cache_key_neutral_prefixes[] = {
    ngx_string("x-stainless-"),
    ngx_string("x-forwarded-"),
    ngx_string("x-b3-"),
    ngx_string("x-datadog-"),
    ngx_string("sec-"),
    ngx_null_string
};


/* ends a list of names in the digest, as no name is empty */

static ngx_str_t  ngx_http_llm_cache_key_end = ngx_string("");


ngx_int_t
ngx_http_llm_cache_key_make(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_str_t *consumer, ngx_str_t *credential)
{
    ngx_int_t                     rc;
    ngx_llm_digest_key_t          own;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_cache_charge_t  *cache;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    cache = &ctx->charge->cache;

    rc = ngx_http_llm_cache_key_scope(r, consumer, credential, &cache->scope);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_llm_digest_mac(lmcf->cache.digest,
                       ngx_http_llm_cache_key_own(lmcf, cache, &own));

    if (ngx_http_llm_cache_key_targets(r, ctx) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_http_llm_cache_key_body(r, ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_llm_digest_mac_end(lmcf->cache.digest, cache->key);

    ngx_llm_cache_prefetch(lmcf->cache.store, cache->key);
    ngx_llm_flight_prefetch(lmcf->cache.flight, cache->key);
    ngx_http_llm_cache_key_tags(lmcf, ctx->charge);

    cache->keyed = 1;

    return NGX_OK;
}


/*
 * Sets the scope: a letter for its source, then the consumer, the credential or
 * the value of llm_cache_scope.  The letter keeps a credential apart that is
 * spelled as the name of a consumer.  Returns NGX_DECLINED if it is empty.
 */

static ngx_int_t
ngx_http_llm_cache_key_scope(ngx_http_request_t *r, ngx_str_t *consumer,
    ngx_str_t *credential, ngx_str_t *scope)
{
    u_char                    source;
    ngx_str_t                 value;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->cache.shared) {
        ngx_str_set(scope, "sshared");
        return NGX_OK;
    }

    if (llcf->cache.scope) {
        source = 'v';

        if (ngx_http_llm_value(r, llcf->cache.scope, &value) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (consumer) {
        source = 'c';
        value = *consumer;

    } else {
        source = 'k';
        value = *credential;
    }

    if (value.len == 0) {
        return NGX_DECLINED;
    }

    scope->len = 1 + value.len;
    scope->data = ngx_pnalloc(r->pool, scope->len);
    if (scope->data == NULL) {
        return NGX_ERROR;
    }

    scope->data[0] = source;
    ngx_memcpy(scope->data + 1, value.data, value.len);

    return NGX_OK;
}


/*
 * Sets the tag of the scope and returns the HMAC key of the scope's keys.  The
 * worker keeps the HMAC keys of some scopes; another one is computed in *own.
 */

static const ngx_llm_digest_key_t *
ngx_http_llm_cache_key_own(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_cache_charge_t *cache, ngx_llm_digest_key_t *own)
{
    u_char                       mac[NGX_LLM_DIGEST_LEN];
    ngx_str_t                   *scope, name;
    ngx_llm_digest_t            *digest;
    ngx_http_llm_cache_scope_t  *known;

    static ngx_str_t  label = ngx_string("llm cache 1");

    scope = &cache->scope;

    name.data = scope->data + 1;
    name.len = scope->len - 1;

    cache->tags[3] = ngx_http_llm_cache_key_tag(NGX_HTTP_LLM_TAG_SCOPE, &name);

    known = &lmcf->cache.scopes[cache->tags[3] % NGX_HTTP_LLM_CACHE_SCOPES];

    if (known->len == scope->len
        && ngx_memcmp(known->scope, scope->data, scope->len) == 0)
    {
        return &known->own;
    }

    digest = lmcf->cache.digest;

    ngx_llm_digest_key(digest, &lmcf->cache.secret, own);
    ngx_llm_digest_mac(digest, own);
    ngx_llm_digest_add_text(digest, &label);
    ngx_llm_digest_add_text(digest, scope);
    ngx_llm_digest_mac_end(digest, mac);

    name.data = mac;
    name.len = NGX_LLM_DIGEST_LEN;

    ngx_llm_digest_key(digest, &name, own);

    if (scope->len <= NGX_HTTP_LLM_CACHE_SCOPE) {
        known->len = scope->len;
        ngx_memcpy(known->scope, scope->data, scope->len);
        known->own = *own;
    }

    return own;
}


static void
ngx_http_llm_cache_key_tags(ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_charge_t *charge)
{
    uint32_t    *tags;
    ngx_str_t    key;
    ngx_uint_t   i;

    key.data = charge->cache.key;
    key.len = NGX_LLM_CACHE_KEY;

    tags = charge->cache.tags;

    tags[0] = 0;
    tags[1] = ngx_http_llm_cache_key_tag(NGX_HTTP_LLM_TAG_MODEL,
                                         &charge->requested);
    tags[2] = charge->model
              ? ngx_http_llm_cache_key_tag(NGX_HTTP_LLM_TAG_MODEL,
                                           &charge->model->pattern)
              : tags[1];
    tags[4] = ngx_http_llm_cache_key_tag(NGX_HTTP_LLM_TAG_KEY, &key);

    for (i = 0; i < NGX_LLM_ENTRY_TAGS; i++) {
        charge->cache.generations[i] =
                         ngx_llm_cache_generation(lmcf->cache.store, tags[i]);
    }
}


/* Names with one tag are purged together, which only costs a miss. */

uint32_t
ngx_http_llm_cache_key_tag(u_char kind, ngx_str_t *name)
{
    u_char    *p;
    uint32_t   hash;

    p = name->data;

    /* any bytes of an HMAC are a hash */

    hash = (kind == NGX_HTTP_LLM_TAG_KEY)
           ? (uint32_t) p[4] << 8 | p[5]
           : ngx_murmur_hash2(p, name->len) ^ kind * 0x9e3779b1u;

    return 1 + hash % NGX_LLM_CACHE_TAGS;
}


static ngx_int_t
ngx_http_llm_cache_key_body(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                  rc;
    const char                *why;
    ngx_llm_canon_t            canon;
    ngx_llm_canon_node_t       nodes[NGX_HTTP_LLM_CACHE_KEY_NODES];
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ngx_memzero(&canon, sizeof(ngx_llm_canon_t));

    canon.put = ngx_http_llm_cache_key_put;
    canon.data = lmcf->cache.digest;
    canon.nodes = nodes;
    canon.nnodes = NGX_HTTP_LLM_CACHE_KEY_NODES;

    rc = ngx_llm_canon(&canon, ctx->view.data, ctx->view.len);

    while (rc == NGX_AGAIN) {

        canon.nnodes *= 8;

        if (canon.nnodes > NGX_HTTP_LLM_CACHE_KEY_MOST) {
            return NGX_DECLINED;
        }

        canon.nodes = ngx_palloc(r->pool, canon.nnodes
                                          * sizeof(ngx_llm_canon_node_t));
        if (canon.nodes == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_llm_canon(&canon, ctx->view.data, ctx->view.len);

        (void) ngx_pfree(r->pool, canon.nodes);
    }

    if (rc != NGX_OK) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache bypass: body is refused, reason %ui "
                       "(1 duplicate key, 2 lone surrogate, 3 too deep)",
                       canon.refused);
        return rc;
    }

    why = ngx_http_llm_cache_key_uncacheable(r, ctx->charge, &canon);

    if (why) {
        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm cache bypass: %s", why);
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static void
ngx_http_llm_cache_key_put(void *data, const u_char *p, size_t len)
{
    ngx_llm_digest_t  *digest = data;

    ngx_llm_digest_add(digest, p, len);
}


/* Returns NULL if the response may be cached, otherwise the reason. */

static const char *
ngx_http_llm_cache_key_uncacheable(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_llm_canon_t *canon)
{
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (canon->stateful) {
        return "request refers to state of the provider";
    }

    if (canon->hosted) {
        return "request asks the provider for live data or tools";
    }

    if (canon->reference) {
        return "request refers to a file or a remote URL";
    }

    if (canon->stored) {
        return "\"store\" is true";
    }

    if (charge->operation->api == &ngx_llm_api_responses
        && !canon->unstored)
    {
        /* the Responses API stores a response unless "store" is false */

        return "\"store\" is not false";
    }

    if (llcf->cache.sampling != NGX_HTTP_LLM_CACHE_ANY && !canon->zero
        && charge->operation->cached != NGX_HTTP_LLM_CACHED_FIXED)
    {
        return "\"temperature\" is not 0";
    }

    return NULL;
}


/*
 * Adds the operation and all candidates but backups, whose responses are not
 * stored; or the location under proxy_pass.
 */

static ngx_int_t
ngx_http_llm_cache_key_targets(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_uint_t                 i;
    ngx_llm_digest_t          *digest;
    ngx_http_llm_model_t      *model;
    ngx_http_llm_target_t     *target;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    digest = lmcf->cache.digest;
    model = ctx->charge->model;

    ngx_llm_digest_add_text(digest, &ctx->charge->operation->suffix);

    if (model == NULL) {
        ngx_http_llm_cache_key_location(r, digest);
        return NGX_OK;
    }

    ngx_llm_digest_add_text(digest, &model->pattern);
    ngx_http_llm_cache_key_headers(r, digest);

    target = model->targets.elts;

    for (i = 0; i < model->targets.nelts; i++) {

        if ((ctx->balance.allowed & (uint64_t) 1 << i)
            && !target[i].backup
            && ngx_http_llm_cache_key_target(r, ctx, digest, &target[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_llm_digest_add_text(digest, &ngx_http_llm_cache_key_end);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_cache_key_target(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_llm_digest_t *digest, ngx_http_llm_target_t *target)
{
    ngx_str_t                  value;
    ngx_uint_t                 i, n;
    ngx_http_llm_provider_t   *provider;
    ngx_http_llm_set_header_t *header;

    provider = target->provider;

    ngx_llm_digest_add_text(digest, &provider->name);
    ngx_llm_digest_add_text(digest, &provider->endpoint);
    ngx_llm_digest_add_text(digest, &provider->api_version);
    ngx_llm_digest_add_text(digest, ngx_http_llm_model_for(ctx, target));

    header = provider->headers ? provider->headers->elts : NULL;
    n = provider->headers ? provider->headers->nelts : 0;

    for (i = 0; i < n; i++) {

        if (ngx_http_llm_cache_key_named(ngx_http_llm_cache_key_credentials,
                                         &header[i].lowcase))
        {
            continue;
        }

        if (ngx_http_llm_value(r, &header[i].value, &value) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_llm_digest_add_text(digest, &header[i].lowcase);
        ngx_llm_digest_add_text(digest, &value);
    }

    ngx_llm_digest_add_text(digest, &ngx_http_llm_cache_key_end);

    return NGX_OK;
}


/*
 * Adds the headers of the client that may change the answer.  llm_pass forwards
 * a fixed set and the headers of llm_pass_header, proxy_pass forwards all.
 */

static void
ngx_http_llm_cache_key_headers(ngx_http_request_t *r, ngx_llm_digest_t *digest)
{
    ngx_str_t                 name;
    ngx_table_elt_t          *h;
    ngx_http_llm_cursor_t     cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    for ( ;; ) {
        h = ngx_http_llm_list_next(&cursor);

        if (h == NULL) {
            ngx_llm_digest_add_text(digest, &ngx_http_llm_cache_key_end);
            return;
        }

        if (llcf->pass ? (ngx_http_llm_travels(&llcf->travel, h)
                          == NGX_HTTP_LLM_TRAVELS_KEYED)
                       : !ngx_http_llm_cache_key_neutral(h))
        {
            name.data = h->lowcase_key;
            name.len = h->key.len;

            ngx_llm_digest_add_text(digest, &name);
            ngx_llm_digest_add_text(digest, &h->value);
        }
    }
}


/* Returns 1 if the header does not change the answer under proxy_pass. */

static ngx_uint_t
ngx_http_llm_cache_key_neutral(ngx_table_elt_t *h)
{
    ngx_str_t  *prefix, name;

    name.data = h->lowcase_key;
    name.len = h->key.len;

    for (prefix = ngx_http_llm_cache_key_neutral_prefixes;
         prefix->len;
         prefix++)
    {
        if (name.len > prefix->len
            && ngx_memcmp(name.data, prefix->data, prefix->len) == 0)
        {
            return 1;
        }
    }

    return ngx_http_llm_cache_key_named(ngx_http_llm_cache_key_neutrals, &name)
           || ngx_http_llm_cache_key_named(ngx_http_llm_cache_key_credentials,
                                           &name);
}


/*
 * Adds the server, the location and the URI of a request under proxy_pass.  The
 * upstream is not known yet: proxy_pass evaluates its variables later.
 */

static void
ngx_http_llm_cache_key_location(ngx_http_request_t *r, ngx_llm_digest_t *digest)
{
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    ngx_llm_digest_add_text(digest, &ngx_http_llm_cache_key_end);
    ngx_llm_digest_add_text(digest, &cscf->server_name);
    ngx_llm_digest_add_text(digest, &r->headers_in.server);
    ngx_llm_digest_add_text(digest, &clcf->name);
    ngx_llm_digest_add_text(digest, &r->unparsed_uri);

    ngx_http_llm_cache_key_headers(r, digest);
}


static ngx_uint_t
ngx_http_llm_cache_key_named(ngx_str_t *names, ngx_str_t *name)
{
    for ( /* void */ ; names->len; names++) {

        if (names->len == name->len
            && ngx_memcmp(names->data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


void
ngx_http_llm_cache_key_unique(ngx_http_request_t *r, ngx_str_t *id, u_char *key)
{
    ngx_llm_digest_key_t       own;
    ngx_http_llm_main_conf_t  *lmcf;

    static ngx_str_t  label = ngx_string("llm bypass 1");

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    ngx_llm_digest_key(lmcf->cache.digest, &label, &own);
    ngx_llm_digest_mac(lmcf->cache.digest, &own);
    ngx_llm_digest_add_text(lmcf->cache.digest, id);
    ngx_llm_digest_mac_end(lmcf->cache.digest, key);
}
