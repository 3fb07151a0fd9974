/*
 * llm_caller_cache WORD: what the cache does with llm_cache_redis and
 * llm_cache_secret, one call for each request, its parts as query arguments:
 * k, a key in hex; s, a scope; v, a text, n times; i and c, a counter.
 */


#include <ngx_http_llm_caller.h>


#define NGX_HTTP_LLM_CALLER_CACHE_MOST  (1024 * 1024)


typedef ngx_int_t (*ngx_http_llm_caller_cache_pt)(ngx_http_request_t *r);

typedef struct {
    ngx_str_t                       word;
    ngx_http_llm_caller_cache_pt    handler;
} ngx_http_llm_caller_cache_word_t;


typedef struct {                     /* of one nginx, as its worker sees it */
    ngx_llm_cache_fleet_sync_t      sync;
    ngx_uint_t                      synced;
    uint32_t                        counters[NGX_LLM_CACHE_FLEET_COUNTERS];
} ngx_http_llm_caller_cache_main_t;


typedef struct {
    ngx_http_llm_caller_cache_pt    handler;
} ngx_http_llm_caller_cache_loc_t;


typedef struct {
    ngx_http_request_t             *request;
    ngx_llm_cache_fleet_ask_t       ask;
    ngx_str_t                       scope;
    u_char                          key[NGX_LLM_CACHE_FLEET_KEY];
} ngx_http_llm_caller_cache_ctx_t;


static ngx_int_t ngx_http_llm_caller_cache_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_cache_get(ngx_http_request_t *r);
static void ngx_http_llm_caller_cache_got(void *data, ngx_int_t rc,
    ngx_str_t *value);
static void ngx_http_llm_caller_cache_cleanup(void *data);
static ngx_int_t ngx_http_llm_caller_cache_put(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_cache_forget(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_cache_purge(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_cache_counters(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_cache_mac(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_cache_key(ngx_http_request_t *r,
    u_char *key);
static ngx_int_t ngx_http_llm_caller_cache_number(ngx_http_request_t *r,
    const char *name, ngx_int_t absent);
static ngx_int_t ngx_http_llm_caller_cache_say(ngx_http_request_t *r,
    const char *word, ngx_str_t *text);
static void ngx_http_llm_caller_cache_counter(void *data, ngx_uint_t index,
    uint32_t value);
static void ngx_http_llm_caller_cache_lost(void *data);
static void ngx_http_llm_caller_cache_synced(void *data);
static ngx_int_t ngx_http_llm_caller_cache_init_process(ngx_cycle_t *cycle);
static void *ngx_http_llm_caller_cache_create_main(ngx_conf_t *cf);
static void *ngx_http_llm_caller_cache_create_loc(ngx_conf_t *cf);
static char *ngx_http_llm_caller_cache(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static const ngx_http_llm_caller_cache_word_t
    ngx_http_llm_caller_cache_words[] =
{
    { ngx_string("get"), ngx_http_llm_caller_cache_get },
    { ngx_string("put"), ngx_http_llm_caller_cache_put },
    { ngx_string("forget"), ngx_http_llm_caller_cache_forget },
    { ngx_string("purge"), ngx_http_llm_caller_cache_purge },
    { ngx_string("counters"), ngx_http_llm_caller_cache_counters },
    { ngx_string("mac"), ngx_http_llm_caller_cache_mac },
    { ngx_null_string, NULL }
};


static ngx_command_t  ngx_http_llm_caller_cache_commands[] = {

    { ngx_string("llm_caller_cache"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_caller_cache,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_llm_caller_cache_module_ctx = {
    NULL,                                   /* preconfiguration */
    NULL,                                   /* postconfiguration */

    ngx_http_llm_caller_cache_create_main,  /* create main configuration */
    NULL,                                   /* init main configuration */

    NULL,                                   /* create server configuration */
    NULL,                                   /* merge server configuration */

    ngx_http_llm_caller_cache_create_loc,   /* create location configuration */
    NULL                                    /* merge location configuration */
};


ngx_module_t  ngx_http_llm_caller_cache_module = {
    NGX_MODULE_V1,
    &ngx_http_llm_caller_cache_module_ctx,  /* module context */
    ngx_http_llm_caller_cache_commands,     /* module directives */
    NGX_HTTP_MODULE,                        /* module type */
    NULL,                                   /* init master */
    NULL,                                   /* init module */
    ngx_http_llm_caller_cache_init_process, /* init process */
    NULL,                                   /* init thread */
    NULL,                                   /* exit thread */
    NULL,                                   /* exit process */
    NULL,                                   /* exit master */
    NGX_MODULE_V1_PADDING
};


#define ngx_http_llm_caller_cache_llm(r)                                      \
    ((ngx_http_llm_main_conf_t *)                                             \
     ngx_http_get_module_main_conf(r, ngx_http_llm_module))


static ngx_int_t
ngx_http_llm_caller_cache_handler(ngx_http_request_t *r)
{
    ngx_http_llm_caller_cache_loc_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_caller_cache_module);

    return clcf->handler(r);
}


static ngx_int_t
ngx_http_llm_caller_cache_get(ngx_http_request_t *r)
{
    ngx_http_cleanup_t               *cln;
    ngx_http_llm_main_conf_t         *lmcf;
    ngx_http_llm_caller_cache_ctx_t  *ctx;

    lmcf = ngx_http_llm_caller_cache_llm(r);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_caller_cache_ctx_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL
        || ngx_http_llm_caller_cache_key(r, ctx->key) != NGX_OK)
    {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_http_llm_caller_arg(r, "s", &ctx->scope);

    ctx->request = r;
    ctx->ask.handler = ngx_http_llm_caller_cache_got;
    ctx->ask.data = ctx;

    cln->handler = ngx_http_llm_caller_cache_cleanup;
    cln->data = ctx;

    if (ngx_llm_cache_fleet_get(lmcf->cache.fleet, ctx->key, &ctx->ask)
        != NGX_AGAIN)
    {
        return ngx_http_llm_caller_cache_say(r, "down", NULL);
    }

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


static void
ngx_http_llm_caller_cache_got(void *data, ngx_int_t rc, ngx_str_t *value)
{
    ngx_http_llm_caller_cache_ctx_t *ctx = data;

    ngx_str_t                  text;
    const char                *word;
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_llm_main_conf_t  *lmcf;

    r = ctx->request;
    c = r->connection;
    lmcf = ngx_http_llm_caller_cache_llm(r);

    ngx_str_null(&text);
    word = (rc == NGX_DECLINED) ? "absent" : "error";

    if (rc == NGX_OK) {
        text.data = value->data + NGX_LLM_SEAL_FRONT;

        rc = ngx_llm_unseal(lmcf->cache.seal, &ctx->scope, ctx->key, value,
                            text.data);

        if (rc == NGX_OK) {
            word = "hit ";
            text.len = value->len - NGX_LLM_SEAL_EXTRA;

        } else if (rc == NGX_DECLINED) {
            word = "refused";
        }
    }

    ngx_http_finalize_request(r, ngx_http_llm_caller_cache_say(r, word,
                                                               &text));
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_llm_caller_cache_cleanup(void *data)
{
    ngx_http_llm_caller_cache_ctx_t *ctx = data;

    ngx_llm_cache_fleet_cancel(&ctx->ask);
}


/* the text in three pieces: its first byte, none, the others */

static ngx_int_t
ngx_http_llm_caller_cache_put(ngx_http_request_t *r)
{
    u_char                    *p;
    ngx_int_t                  n, i, ttl;
    ngx_str_t                  scope, one, pieces[3], sealed;
    ngx_http_llm_main_conf_t  *lmcf;
    u_char                     key[NGX_LLM_CACHE_FLEET_KEY];

    lmcf = ngx_http_llm_caller_cache_llm(r);

    ngx_http_llm_caller_arg(r, "s", &scope);
    ngx_http_llm_caller_arg(r, "v", &one);

    n = ngx_http_llm_caller_cache_number(r, "n", 1);
    ttl = ngx_http_llm_caller_cache_number(r, "ttl", 60000);

    if (n < 1 || one.len == 0 || ttl < 0
        || n * one.len > NGX_HTTP_LLM_CALLER_CACHE_MOST
        || ngx_http_llm_caller_cache_key(r, key) != NGX_OK)
    {
        return NGX_HTTP_BAD_REQUEST;
    }

    sealed.len = n * one.len + NGX_LLM_SEAL_EXTRA;
    sealed.data = ngx_pnalloc(r->pool, sealed.len);

    pieces[0].data = ngx_pnalloc(r->pool, n * one.len);

    if (sealed.data == NULL || pieces[0].data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = pieces[0].data;

    for (i = 0; i < n; i++) {
        p = ngx_cpymem(p, one.data, one.len);
    }

    pieces[0].len = 1;
    ngx_str_null(&pieces[1]);
    pieces[2].data = pieces[0].data + 1;
    pieces[2].len = n * one.len - 1;

    if (ngx_llm_seal(lmcf->cache.seal, &scope, key, pieces, 3, sealed.data)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_llm_cache_fleet_put(lmcf->cache.fleet, key, &sealed, ttl);

    return ngx_http_llm_caller_cache_say(r, "sent", NULL);
}


static ngx_int_t
ngx_http_llm_caller_cache_forget(ngx_http_request_t *r)
{
    u_char  key[NGX_LLM_CACHE_FLEET_KEY];

    if (ngx_http_llm_caller_cache_key(r, key) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ngx_llm_cache_fleet_forget(ngx_http_llm_caller_cache_llm(r)->cache.fleet,
                               key);

    return ngx_http_llm_caller_cache_say(r, "sent", NULL);
}


static ngx_int_t
ngx_http_llm_caller_cache_purge(ngx_http_request_t *r)
{
    ngx_int_t                  i, c;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_llm_caller_cache_llm(r);

    i = ngx_http_llm_caller_cache_number(r, "i", 0);
    c = ngx_http_llm_caller_cache_number(r, "c", 1);

    return ngx_http_llm_caller_cache_say(r,
               ngx_llm_cache_fleet_purge(lmcf->cache.fleet, i, c, 1) == NGX_OK
               ? "taken" : "dropped", NULL);
}


/* a line for each counter that is not 0, before them how often it was asked */

static ngx_int_t
ngx_http_llm_caller_cache_counters(ngx_http_request_t *r)
{
    u_char                            *p;
    ngx_str_t                          text;
    ngx_uint_t                         i;
    ngx_http_llm_caller_cache_main_t  *cmcf;

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_caller_cache_module);

    p = ngx_pnalloc(r->pool, (NGX_LLM_CACHE_FLEET_COUNTERS + 1)
                             * 2 * NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.data = p;
    p = ngx_sprintf(p, "%ui\n", cmcf->synced);

    for (i = 0; i < NGX_LLM_CACHE_FLEET_COUNTERS; i++) {
        if (cmcf->counters[i]) {
            p = ngx_sprintf(p, "%ui %uD\n", i, cmcf->counters[i]);
        }
    }

    text.len = p - text.data;

    return ngx_http_llm_caller_cache_say(r, "", &text);
}


/* k: any key, none: the product's own */

static ngx_int_t
ngx_http_llm_caller_cache_mac(ngx_http_request_t *r)
{
    ngx_str_t                  key, pieces[2], text;
    ngx_llm_digest_key_t       worked_out;
    ngx_http_llm_main_conf_t  *lmcf;
    u_char                     mac[NGX_LLM_SEAL_KEY];
    u_char                     hex[2 * NGX_LLM_SEAL_KEY];

    lmcf = ngx_http_llm_caller_cache_llm(r);

    ngx_http_llm_caller_arg(r, "k", &key);
    ngx_http_llm_caller_arg(r, "s", &pieces[0]);
    ngx_http_llm_caller_arg(r, "v", &pieces[1]);

    ngx_llm_digest_key(lmcf->cache.digest, &key, &worked_out);
    ngx_llm_digest_mac(lmcf->cache.digest, &worked_out);
    ngx_llm_digest_add(lmcf->cache.digest, pieces[0].data, pieces[0].len);
    ngx_llm_digest_add(lmcf->cache.digest, pieces[1].data, pieces[1].len);
    ngx_llm_digest_mac_end(lmcf->cache.digest, mac);

    text.data = hex;
    text.len = ngx_hex_dump(hex, mac, sizeof(mac)) - hex;

    return ngx_http_llm_caller_cache_say(r, "", &text);
}


static ngx_int_t
ngx_http_llm_caller_cache_key(ngx_http_request_t *r, u_char *key)
{
    ngx_int_t   n;
    ngx_str_t   hex;
    ngx_uint_t  i;

    ngx_http_llm_caller_arg(r, "k", &hex);

    if (hex.len != 2 * NGX_LLM_CACHE_FLEET_KEY) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_LLM_CACHE_FLEET_KEY; i++) {
        n = ngx_hextoi(&hex.data[2 * i], 2);
        key[i] = (u_char) n;

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_caller_cache_number(ngx_http_request_t *r, const char *name,
    ngx_int_t absent)
{
    ngx_str_t  value;

    ngx_http_llm_caller_arg(r, name, &value);

    return value.len ? ngx_atoi(value.data, value.len) : absent;
}


/* text is copied; it may be NULL */

static ngx_int_t
ngx_http_llm_caller_cache_say(ngx_http_request_t *r, const char *word,
    ngx_str_t *text)
{
    size_t                     len;
    u_char                    *p;
    ngx_http_complex_value_t   cv;

    static ngx_str_t  type = ngx_string("text/plain");

    len = ngx_strlen(word);

    p = ngx_pnalloc(r->pool, len + (text ? text->len : 0) + 1);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value.data = p;

    p = ngx_cpymem(p, word, len);

    if (text && text->len) {
        p = ngx_cpymem(p, text->data, text->len);
    }

    cv.value.len = p - cv.value.data;

    return ngx_http_send_response(r, NGX_HTTP_OK, &type, &cv);
}


static void
ngx_http_llm_caller_cache_counter(void *data, ngx_uint_t index,
    uint32_t value)
{
    ngx_http_llm_caller_cache_main_t *cmcf = data;

    if (cmcf->counters[index] < value) {
        cmcf->counters[index] = value;
    }
}


/* the counters here are Redis' own */

static void
ngx_http_llm_caller_cache_lost(void *data)
{
}


static void
ngx_http_llm_caller_cache_synced(void *data)
{
    ngx_http_llm_caller_cache_main_t *cmcf = data;

    cmcf->synced++;
}


static ngx_int_t
ngx_http_llm_caller_cache_init_process(ngx_cycle_t *cycle)
{
    ngx_http_llm_main_conf_t          *lmcf;
    ngx_http_llm_caller_cache_main_t  *cmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_llm_module);
    cmcf = ngx_http_cycle_get_module_main_conf(cycle,
                                            ngx_http_llm_caller_cache_module);

    if (lmcf == NULL || lmcf->cache.fleet == NULL) {
        return NGX_OK;
    }

    cmcf->sync.counter = ngx_http_llm_caller_cache_counter;
    cmcf->sync.synced = ngx_http_llm_caller_cache_synced;
    cmcf->sync.lost = ngx_http_llm_caller_cache_lost;
    cmcf->sync.data = cmcf;

    ngx_llm_cache_fleet_sync(lmcf->cache.fleet, &cmcf->sync, cycle);

    return NGX_OK;
}


static void *
ngx_http_llm_caller_cache_create_main(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_caller_cache_main_t));
}


static void *
ngx_http_llm_caller_cache_create_loc(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_caller_cache_loc_t));
}


static char *
ngx_http_llm_caller_cache(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_caller_cache_loc_t *clcf = conf;

    ngx_str_t                               *value;
    ngx_http_core_loc_conf_t                *core;
    const ngx_http_llm_caller_cache_word_t  *word;

    value = cf->args->elts;

    for (word = ngx_http_llm_caller_cache_words; word->handler; word++) {

        if (word->word.len == value[1].len
            && ngx_strncmp(word->word.data, value[1].data, value[1].len) == 0)
        {
            break;
        }
    }

    if (word->handler == NULL) {
        return "has an unknown word";
    }

    clcf->handler = word->handler;

    core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    core->handler = ngx_http_llm_caller_cache_handler;

    return NGX_CONF_OK;
}
