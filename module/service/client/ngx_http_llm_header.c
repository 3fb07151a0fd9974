/*
 * Headers: the list of client headers that are passed to a provider, the names
 * that the configuration must not set, and the header filter that hides a
 * provider's headers and adds those of the module.  ngx_http_llm_error.c has
 * the filters of error pages.
 */


#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_header_set.h>


static void ngx_http_llm_header_travel_add(ngx_http_llm_travel_t *travel,
    ngx_uint_t place, ngx_str_t *lowcase, ngx_uint_t how);
static ngx_int_t ngx_http_llm_header_filter(ngx_http_request_t *r);
static void ngx_http_llm_header_digits(u_char *dst, const u_char *src);
static ngx_int_t ngx_http_llm_header_answer(ngx_http_request_t *r,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_charge_t *charge);
static void ngx_http_llm_header_hide(ngx_http_request_t *r,
    ngx_http_llm_loc_conf_t *llcf);
static void ngx_http_llm_header_theirs(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_header_stream(ngx_http_request_t *r);


/* ngx_http_llm_travel_sdk() adds x-stainless-* */

static const struct {
    ngx_str_t   name;
    ngx_uint_t  how;
} ngx_http_llm_travelling[] = {
    { ngx_string("content-type"), NGX_HTTP_LLM_TRAVELS_ALIKE },
    { ngx_string("accept"), NGX_HTTP_LLM_TRAVELS_ALIKE },
    { ngx_string("user-agent"), NGX_HTTP_LLM_TRAVELS_ALIKE },
    { ngx_string("openai-beta"), NGX_HTTP_LLM_TRAVELS_KEYED },
    { ngx_string("anthropic-version"), NGX_HTTP_LLM_TRAVELS_KEYED },
    { ngx_string("anthropic-beta"), NGX_HTTP_LLM_TRAVELS_KEYED },
    { ngx_string("idempotency-key"), NGX_HTTP_LLM_TRAVELS_ALIKE },
    { ngx_string("traceparent"), NGX_HTTP_LLM_TRAVELS_ALIKE },
    { ngx_string("tracestate"), NGX_HTTP_LLM_TRAVELS_ALIKE }
};

#define NGX_HTTP_LLM_TRAVELLING                                               \
    (sizeof(ngx_http_llm_travelling) / sizeof(ngx_http_llm_travelling[0]))


/* headers of framing and of the connection, which no directive may set */

static ngx_str_t  ngx_http_llm_hop_by_hop[] = {
    ngx_string("connection"),
    ngx_string("content-length"),
    ngx_string("transfer-encoding"),
    ngx_string("keep-alive"),
    ngx_string("proxy-connection"),
    ngx_string("te"),
    ngx_string("trailer"),
    ngx_string("upgrade"),
    ngx_string("expect"),
    ngx_null_string
};


/* client headers that would replace a header of the module */

static ngx_str_t  ngx_http_llm_not_passed[] = {
    ngx_string("host"),
    ngx_string("accept-encoding"),
    ngx_string("content-encoding"),
    ngx_string("authorization"),
    ngx_string("proxy-authorization"),
    ngx_string("x-api-key"),
    ngx_string("api-key"),
    ngx_null_string
};


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;


ngx_int_t
ngx_http_llm_header_travel(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf)
{
    ngx_str_t              *passed, name;
    ngx_uint_t              i, n;
    ngx_http_llm_travel_t  *travel;

    travel = &llcf->travel;

    n = llcf->pass_headers ? llcf->pass_headers->nelts : 0;
    passed = n ? llcf->pass_headers->elts : NULL;

    ngx_memzero(travel, sizeof(ngx_http_llm_travel_t));

    travel->names = ngx_palloc(cf->pool, sizeof(ngx_http_llm_travel_name_t)
                                         * (NGX_HTTP_LLM_TRAVELLING + n));
    if (travel->names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {
        name.len = passed[i].len;
        name.data = ngx_pnalloc(cf->pool, name.len);
        if (name.data == NULL) {
            return NGX_ERROR;
        }

        ngx_strlow(name.data, passed[i].data, name.len);

        ngx_http_llm_header_travel_add(travel, i + 1, &name,
                                       NGX_HTTP_LLM_TRAVELS_KEYED);
    }

    /* the default names are found first, also if llm_pass_header has them */

    for (i = 0; i < NGX_HTTP_LLM_TRAVELLING; i++) {
        name = ngx_http_llm_travelling[i].name;

        ngx_http_llm_header_travel_add(travel, n + i + 1, &name,
                                       ngx_http_llm_travelling[i].how);
    }

    return NGX_OK;
}


/* Adds a name as the first one of its slot. */

static void
ngx_http_llm_header_travel_add(ngx_http_llm_travel_t *travel, ngx_uint_t place,
    ngx_str_t *lowcase, ngx_uint_t how)
{
    u_short                     *slot;
    ngx_http_llm_travel_name_t  *name;

    name = &travel->names[place - 1];

    name->name = *lowcase;
    name->hash = ngx_hash_key(lowcase->data, lowcase->len);
    name->how = how;

    slot = &travel->slots[name->hash % NGX_HTTP_LLM_TRAVEL_SLOTS];

    name->next = *slot;
    *slot = (u_short) place;
}


const char *
ngx_http_llm_header_refused(ngx_str_t *name, ngx_uint_t set)
{
    ngx_str_t  *s;

    for (s = ngx_http_llm_hop_by_hop; s->len; s++) {

        if (s->len == name->len
            && ngx_strncasecmp(s->data, name->data, s->len) == 0)
        {
            return "is hop-by-hop, the connection to a provider is ours";
        }
    }

    if (set) {
        return NULL;
    }

    for (s = ngx_http_llm_not_passed; s->len; s++) {

        if (s->len == name->len
            && ngx_strncasecmp(s->data, name->data, s->len) == 0)
        {
            return "does not travel; use \"header\" of llm_provider";
        }
    }

    return NULL;
}


ngx_uint_t
ngx_http_llm_header_secret(ngx_str_t *lowcase)
{
    size_t      i;
    ngx_uint_t  n;

    static ngx_str_t  words[] = {
        ngx_string("auth"),
        ngx_string("cookie"),
        ngx_string("key"),
        ngx_string("secret"),
        ngx_string("token"),
        ngx_null_string
    };

    for (n = 0; words[n].len; n++) {

        for (i = 0; i + words[n].len <= lowcase->len; i++) {
            if (ngx_memcmp(lowcase->data + i, words[n].data, words[n].len)
                == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


ngx_int_t
ngx_http_llm_header_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_header_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_header_filter(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_loc_conf_t  *llcf;

    if (r != r->main) {
        return ngx_http_llm_next_header_filter(r);
    }

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (!ngx_http_llm_ours(llcf)) {
        return ngx_http_llm_next_header_filter(r);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ngx_http_llm_header_answer(r, llcf, ctx ? ctx->charge : NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx
        && (ctx->ping.sending
            || (ctx->charge && ctx->charge->cache.replayed
                && ctx->charge->stream)
            || (ctx->upstream.committed && ctx->response.stream
                && ctx->judge.substitute.data == NULL))
        && ngx_http_llm_header_stream(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_next_header_filter(r);
}


/*
 * Returns $request_id.  Random bytes are read for many requests at a time, as
 * RAND_bytes() takes a system call and 6000 instructions for any length.
 */

ngx_http_variable_value_t *
ngx_http_llm_header_request_id(ngx_http_request_t *r)
{
    u_char                     *id, *random;
    ngx_uint_t                  i;
    ngx_http_variable_value_t  *vv;
    ngx_http_llm_main_conf_t   *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    vv = &r->variables[lmcf->request_id];

    if (vv->valid) {
        return vv;
    }

    if (lmcf->random_len == 0) {

        if (RAND_bytes(lmcf->random, NGX_HTTP_LLM_RANDOM) != 1) {
            return ngx_http_get_indexed_variable(r, lmcf->request_id);
        }

        lmcf->random_len = NGX_HTTP_LLM_RANDOM;
    }

    id = ngx_pnalloc(r->pool, 32);
    if (id == NULL) {
        return NULL;
    }

    lmcf->random_len -= 16;
    random = lmcf->random + lmcf->random_len;

    for (i = 0; i < 4; i++) {
        ngx_http_llm_header_digits(id + 8 * i, random + 4 * i);
    }

    vv->len = 32;
    vv->data = id;
    vv->valid = 1;
    vv->no_cacheable = 0;
    vv->not_found = 0;

    return vv;
}


/* Writes four random bytes as eight hexadecimal digits, in any order. */

static void
ngx_http_llm_header_digits(u_char *dst, const u_char *src)
{
    uint32_t  bits;
    uint64_t  digits, letters;

    ngx_memcpy(&bits, src, sizeof(uint32_t));

    digits = (uint64_t) (bits >> 4 & 0x0f0f0f0f) << 32 | (bits & 0x0f0f0f0f);

    /* 1 in each byte above 9 */

    letters = (digits + 0x0606060606060606) >> 4 & 0x0101010101010101;
    digits += 0x3030303030303030 + letters * ('a' - '9' - 1);

    ngx_memcpy(dst, &digits, sizeof(uint64_t));
}


static ngx_int_t
ngx_http_llm_header_answer(ngx_http_request_t *r,
    ngx_http_llm_loc_conf_t *llcf, ngx_http_llm_charge_t *charge)
{
    ngx_str_t                  value;
    ngx_http_llm_attempt_t    *attempt;
    ngx_http_variable_value_t *vv;

    vv = ngx_http_llm_header_request_id(r);
    if (vv == NULL) {
        return NGX_ERROR;
    }

    value.len = vv->len;
    value.data = vv->data;

    if (!llcf->pass) {
        ngx_http_llm_header_theirs(r, charge);

    } else if (r->upstream && r->upstream->cleanup) {

        /* the upstream is not finalized: this is its response, no page */

        ngx_http_llm_header_hide(r, llcf);
    }

    if (ngx_http_llm_set_header(r, "x-request-id", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (charge == NULL) {
        return NGX_OK;
    }

    if (charge->upstream_request_id.len
        && ngx_http_llm_set_header(r, "x-llm-upstream-request-id",
                                   &charge->upstream_request_id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (!llcf->provider_header) {
        return NGX_OK;
    }

    if (charge->cache.replayed) {
        return charge->cache.entry->provider.len
               ? ngx_http_llm_set_header(r, "x-llm-provider",
                                         &charge->cache.entry->provider)
               : NGX_OK;
    }

    if (charge->attempts.nelts == 0) {
        return NGX_OK;
    }

    attempt = charge->attempts.elts;
    attempt += charge->attempts.nelts - 1;

    return ngx_http_llm_set_header(r, "x-llm-provider",
                                   &attempt->provider->name);
}


/* Removes the headers of a provider that are hidden in this location. */

static void
ngx_http_llm_header_hide(ngx_http_request_t *r, ngx_http_llm_loc_conf_t *llcf)
{
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                              ngx_http_llm_list_start(&r->headers_out.headers);

    while ((h = ngx_http_llm_list_next(&cursor)) != NULL) {

        /* modules set a hash of 1, and no lowcase_key */

        if (h->hash <= 1 || !ngx_http_llm_hide(&llcf->hide, h))
        {
            continue;
        }

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm header: \"%V\" of the provider is hidden",
                       &h->key);

        h->hash = 0;

        /* ngx_http_header_filter() writes its own if there is none */

        if (h == r->headers_out.server) {
            r->headers_out.server = NULL;

        } else if (h == r->headers_out.date) {
            r->headers_out.date = NULL;

        } else if (h == r->headers_out.location) {
            r->headers_out.location = NULL;
        }
    }
}


/* Takes the provider's x-request-id from a response of proxy_pass. */

static void
ngx_http_llm_header_theirs(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                              ngx_http_llm_list_start(&r->headers_out.headers);

    h = ngx_http_llm_list_find(&cursor, "x-request-id",
                               sizeof("x-request-id") - 1);

    if (h && charge) {
        h->hash = 0;
        charge->upstream_request_id = h->value;
    }
}


/* Keeps gzip, brotli and a proxy before nginx from buffering events. */

static ngx_int_t
ngx_http_llm_header_stream(ngx_http_request_t *r)
{
    static ngx_str_t  no = ngx_string("no");
    static ngx_str_t  no_cache = ngx_string("no-cache");

    /* gzip reads the flags, other modules (brotli) the request header */

    r->gzip_tested = 1;
    r->gzip_ok = 0;
    r->headers_in.accept_encoding = NULL;

    ngx_http_clear_content_length(r);
    ngx_http_clear_accept_ranges(r);

    if (ngx_http_llm_set_header(r, "Cache-Control", &no_cache) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_llm_set_header(r, "X-Accel-Buffering", &no);
}
