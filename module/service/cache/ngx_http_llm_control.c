/*
 * Reads Cache-Control of a request; adds Cache-Status and Age to a response.
 */


#include <ngx_http_llm_cache_key.h>
#include <ngx_http_llm_header_set.h>


/* a year in seconds, the longest max-age */
#define NGX_HTTP_LLM_CONTROL_YEAR  31536000


static void ngx_http_llm_control_value(ngx_http_llm_control_t *control,
    ngx_str_t *value);
static void ngx_http_llm_control_word(ngx_http_llm_control_t *control,
    u_char *p, u_char *last);
static ngx_int_t ngx_http_llm_control_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_control_status(ngx_http_request_t *r,
    ngx_http_llm_cache_charge_t *cache);
static ngx_int_t ngx_http_llm_control_aged(ngx_http_request_t *r,
    const ngx_llm_entry_t *entry);


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;


void
ngx_http_llm_control(ngx_http_request_t *r, ngx_http_llm_control_t *control)
{
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    ngx_memzero(control, sizeof(ngx_http_llm_control_t));
    control->max_age = -1;

    for ( ;; ) {
        h = ngx_http_llm_list_find(&cursor, "Cache-Control",
                                   sizeof("Cache-Control") - 1);
        if (h == NULL) {
            return;
        }

        ngx_http_llm_control_value(control, &h->value);
    }
}


static void
ngx_http_llm_control_value(ngx_http_llm_control_t *control, ngx_str_t *value)
{
    u_char  *p, *end, *last;

    last = value->data + value->len;

    for (p = value->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        ngx_http_llm_control_word(control, p, end);
    }
}


static void
ngx_http_llm_control_word(ngx_http_llm_control_t *control, u_char *p,
    u_char *last)
{
    size_t     len;
    ngx_int_t  n;

    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) {
        last--;
    }

    len = last - p;

    if (len == 8 && ngx_strncasecmp(p, (u_char *) "no-cache", 8) == 0) {
        control->no_cache = 1;

    } else if (len == 8 && ngx_strncasecmp(p, (u_char *) "no-store", 8) == 0) {
        control->no_store = 1;

    } else if (len == 14
               && ngx_strncasecmp(p, (u_char *) "only-if-cached", 14) == 0)
    {
        control->only_if_cached = 1;

    } else if (len > 8 && ngx_strncasecmp(p, (u_char *) "max-age=", 8) == 0) {
        n = ngx_atoi(p + 8, len - 8);
        control->max_age = (n == NGX_ERROR) ? NGX_HTTP_LLM_CONTROL_YEAR : n;
    }
}


int64_t
ngx_http_llm_control_now(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + tp->msec;
}


int64_t
ngx_http_llm_control_age(const ngx_llm_entry_t *entry)
{
    int64_t  age;

    age = ngx_http_llm_control_now() - entry->created;

    return ngx_max(age, 0);
}


ngx_int_t
ngx_http_llm_control_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_control_header_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_control_header_filter(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_cache_charge_t  *cache;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (r != r->main || ctx == NULL || ctx->charge == NULL
        || ctx->charge->cache.status == NGX_HTTP_LLM_CACHE_NONE
        || (r->headers_out.status >= 300 && !ctx->charge->cache.replayed
            && ctx->charge->attempts.nelts == 0 && r->upstream == NULL))
    {
        return ngx_http_llm_next_header_filter(r);
    }

    cache = &ctx->charge->cache;

    if (ngx_http_llm_control_status(r, cache) != NGX_OK) {
        return NGX_ERROR;
    }

    if (cache->replayed && ngx_http_llm_control_aged(r, cache->entry) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_next_header_filter(r);
}


static ngx_int_t
ngx_http_llm_control_status(ngx_http_request_t *r,
    ngx_http_llm_cache_charge_t *cache)
{
    int64_t    left;
    ngx_str_t  value;

    if (cache->replayed && !cache->collapsed) {

        value.data = ngx_pnalloc(r->pool, sizeof("llm; hit; ttl=-")
                                          + NGX_INT64_LEN);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        /* a part of a second counts as a second, before and after the end */

        left = cache->entry->ttl - ngx_http_llm_control_age(cache->entry);
        left = (left > 0) ? (left + 999) / 1000 : -((999 - left) / 1000);

        value.len = ngx_sprintf(value.data, "llm; hit; ttl=%L", left)
                    - value.data;

    } else if (cache->replayed) {
        ngx_str_set(&value, "llm; fwd=miss; collapsed");

    } else if (cache->status == NGX_HTTP_LLM_CACHE_BYPASS) {
        ngx_str_set(&value, "llm; fwd=bypass");

    } else if (cache->stored) {
        ngx_str_set(&value, "llm; fwd=miss; stored");

    } else {
        ngx_str_set(&value, "llm; fwd=miss");
    }

    return ngx_http_llm_set_header(r, "Cache-Status", &value);
}


static ngx_int_t
ngx_http_llm_control_aged(ngx_http_request_t *r, const ngx_llm_entry_t *entry)
{
    ngx_str_t  value;

    value.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    value.len = ngx_sprintf(value.data, "%L",
                            ngx_http_llm_control_age(entry) / 1000)
                - value.data;

    return ngx_http_llm_set_header(r, "Age", &value);
}
