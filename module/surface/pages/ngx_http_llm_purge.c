/*
 * cache/purge of llm_admin: invalidates the cached responses of a model, of a
 * scope, of a key, or all.  No entry is changed: the tag gets a new generation,
 * and old entries are evicted later.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_body.h>
#include <ngx_http_llm_cache_key.h>
#include <jansson.h>


static void ngx_http_llm_purge_body(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_purge(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_purge_member(ngx_http_request_t *r,
    const char *name, json_t *value);
static ngx_int_t ngx_http_llm_purge_tag(const char *name, json_t *value,
    uint32_t *tag);
static ngx_int_t ngx_http_llm_purge_key(ngx_str_t *hex, u_char *key);
static ngx_int_t ngx_http_llm_purge_done(ngx_http_request_t *r,
    const char *name);


ngx_int_t
ngx_http_llm_purge_handler(ngx_http_request_t *r)
{
    ngx_int_t  rc;

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_llm_purge_body);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static void
ngx_http_llm_purge_body(ngx_http_request_t *r)
{
    ngx_http_finalize_request(r, ngx_http_llm_purge(r));
}


static ngx_int_t
ngx_http_llm_purge(ngx_http_request_t *r)
{
    json_t               *root, *value;
    ngx_int_t             rc;
    const char           *name;
    json_error_t          err;
    ngx_http_llm_view_t   body;

    /* its parts may lie in several buffers, and in a temp file */

    if (ngx_http_llm_body_view(r, &body) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* bytes behind the value are an error, too */

    root = json_loadb((char *) body.data, body.len, JSON_REJECT_DUPLICATES,
                      &err);

    if (!json_is_object(root)) {
        json_decref(root);
        return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_INVALID_JSON, NULL,
                                        NULL);
    }

    rc = NGX_DECLINED;

    if (json_object_size(root) == 1) {

        json_object_foreach(root, name, value) {
            rc = ngx_http_llm_purge_member(r, name, value);
        }
    }

    json_decref(root);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    return ngx_http_llm_page_refuse(r, NGX_HTTP_LLM_INVALID_TYPE, NULL,
                      "The body takes one of model, scope, key (64 hex "
                      "digits) and all (true).");
}


/* Returns NGX_DECLINED if there is no such member or its value is invalid. */

static ngx_int_t
ngx_http_llm_purge_member(ngx_http_request_t *r, const char *name,
    json_t *value)
{
    uint32_t                   tag, generation;
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    if (ngx_http_llm_purge_tag(name, value, &tag) != NGX_OK) {
        return NGX_DECLINED;
    }

    generation = ngx_llm_cache_purge(lmcf->cache.store, tag);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm cache purge by %s, tag:%uD generation:%uD", name, tag,
                   generation);

    if (lmcf->cache.fleet
        && ngx_llm_cache_fleet_purge(lmcf->cache.fleet, tag, generation, 1)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_log_error(NGX_LOG_NOTICE, r->connection->log, 0,
                  "llm_cache: purged by %s", name);

    return ngx_http_llm_purge_done(r, name);
}


static ngx_int_t
ngx_http_llm_purge_tag(const char *name, json_t *value, uint32_t *tag)
{
    u_char     kind, key[NGX_LLM_CACHE_KEY];
    ngx_str_t  text;

    if (ngx_strcmp(name, "all") == 0) {
        *tag = 0;
        return json_is_true(value) ? NGX_OK : NGX_DECLINED;
    }

    if (!json_is_string(value) || json_string_length(value) == 0) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) json_string_value(value);
    text.len = json_string_length(value);

    if (ngx_strcmp(name, "model") == 0) {
        kind = NGX_HTTP_LLM_TAG_MODEL;

    } else if (ngx_strcmp(name, "scope") == 0) {
        kind = NGX_HTTP_LLM_TAG_SCOPE;

    } else if (ngx_strcmp(name, "key") == 0
               && ngx_http_llm_purge_key(&text, key) == NGX_OK)
    {
        kind = NGX_HTTP_LLM_TAG_KEY;
        text.data = key;
        text.len = NGX_LLM_CACHE_KEY;

    } else {
        return NGX_DECLINED;
    }

    *tag = ngx_http_llm_cache_key_tag(kind, &text);

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_purge_key(ngx_str_t *hex, u_char *key)
{
    ngx_int_t   n;
    ngx_uint_t  i;

    if (hex->len != 2 * NGX_LLM_CACHE_KEY) {
        return NGX_DECLINED;
    }

    for (i = 0; i < NGX_LLM_CACHE_KEY; i++) {
        n = ngx_hextoi(&hex->data[2 * i], 2);

        if (n == NGX_ERROR) {
            return NGX_DECLINED;
        }

        key[i] = (u_char) n;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_purge_done(ngx_http_request_t *r, const char *name)
{
    u_char                    *p;
    ngx_http_complex_value_t   cv;

    static ngx_str_t  json = ngx_string("application/json");

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    p = ngx_pnalloc(r->pool, sizeof("{\"purged\":\"\"}\n")
                             + ngx_strlen(name));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cv.value.data = p;
    cv.value.len = ngx_sprintf(p, "{\"purged\":\"%s\"}\n", name) - p;

    return ngx_http_send_response(r, NGX_HTTP_OK, &json, &cv);
}
