/*
 * The consumer of a client request: the key in Authorization, x-api-key or
 * api-key is looked up in the keys file once, at the first use.  The result
 * holds until the request has been logged, whether the key expires meanwhile
 * or an internal redirect clears the contexts.  The key itself is not stored.
 */


#include <ngx_http_llm_client.h>
#include <ngx_http_llm_header_set.h>


#define NGX_HTTP_LLM_AUTH_KEY  1024      /* bytes of a key, at most */


/* the result of the lookup, kept by a cleanup of r->main->pool */

typedef struct {
    ngx_llm_consumer_t  *consumer;       /* NULL if no consumer has the key */
} ngx_http_llm_auth_result_t;


static ngx_http_llm_auth_result_t *ngx_http_llm_auth_find(
    ngx_http_request_t *r);
static void ngx_http_llm_auth_cleanup(void *data);
static void ngx_http_llm_auth_value(ngx_table_elt_t *h, ngx_str_t *value);
static void ngx_http_llm_auth_bearer(ngx_str_t *value);


ngx_int_t
ngx_http_llm_auth_consumer(ngx_http_request_t *r,
    ngx_llm_consumer_t **consumer)
{
    ngx_str_t                    key;
    ngx_pool_cleanup_t          *cln;
    ngx_http_llm_main_conf_t    *lmcf;
    ngx_http_llm_auth_result_t  *result;

    *consumer = NULL;

    r = r->main;
    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);

    if (lmcf->keys == NULL) {
        return NGX_OK;
    }

    result = ngx_http_llm_auth_find(r);

    if (result == NULL) {
        cln = ngx_pool_cleanup_add(r->pool,
                                   sizeof(ngx_http_llm_auth_result_t));
        if (cln == NULL) {
            return NGX_ERROR;
        }

        result = cln->data;
        result->consumer = NULL;

        if (ngx_http_llm_auth_key(r, &key) == NGX_OK) {
            result->consumer = ngx_llm_keys_find(lmcf->keys, &key,
                                                 ngx_time());
        }

        cln->handler = ngx_http_llm_auth_cleanup;

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm consumer of the request: %s",
                       result->consumer ? "found" : "none");
    }

    *consumer = result->consumer;

    return NGX_OK;
}


static ngx_http_llm_auth_result_t *
ngx_http_llm_auth_find(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler == ngx_http_llm_auth_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


/*
 * Frees nothing: the handler marks the result in the list of cleanups, which
 * internal redirects keep and the access log can still read.
 */

static void
ngx_http_llm_auth_cleanup(void *data)
{
    return;
}


ngx_uint_t
ngx_http_llm_auth_allowed(ngx_http_request_t *r, ngx_str_t *requested,
    ngx_http_llm_model_t *model)
{
    ngx_llm_consumer_t        *consumer;
    ngx_http_llm_loc_conf_t   *llcf;
    ngx_http_core_loc_conf_t  *clcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (!llcf->auth) {
        return 1;
    }

    if (ngx_http_llm_auth_consumer(r, &consumer) != NGX_OK) {
        return 0;
    }

    if (consumer == NULL) {

        /*
         * with "satisfy any", another access module has accepted the request;
         * without it, a subrequest is here, for which nginx skips ACCESS
         */

        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

        ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm auth: no consumer, satisfy any:%d",
                       clcf->satisfy == NGX_HTTP_SATISFY_ANY);

        return clcf->satisfy == NGX_HTTP_SATISFY_ANY;
    }

    return ngx_llm_keys_allowed(consumer, requested)
           && (!model->exact
               || ngx_llm_keys_allowed(consumer, &model->pattern));
}


ngx_int_t
ngx_http_llm_auth_key(ngx_http_request_t *r, ngx_str_t *key)
{
    ngx_str_t               value;
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

    ngx_str_null(key);

    for ( ;; ) {
        h = ngx_http_llm_list_next(&cursor);

        if (h == NULL) {
            break;
        }

        ngx_http_llm_auth_value(h, &value);

        if (value.len == 0) {
            continue;
        }

        if (key->len
            && (key->len != value.len
                || ngx_memcmp(key->data, value.data, value.len) != 0))
        {
            ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                           "llm auth: two different keys in the request");
            return NGX_DECLINED;
        }

        *key = value;
    }

    return (key->len && key->len <= NGX_HTTP_LLM_AUTH_KEY)
           ? NGX_OK : NGX_DECLINED;
}


/* the key in a header; empty: it is no header for one */

static void
ngx_http_llm_auth_value(ngx_table_elt_t *h, ngx_str_t *value)
{
    const char  *name;

    ngx_str_null(value);

    /* the length tells most headers from all of these */

    switch (h->key.len) {

    case sizeof("api-key") - 1:
        name = "api-key";
        break;

    case sizeof("x-api-key") - 1:
        name = "x-api-key";
        break;

    case sizeof("authorization") - 1:
        name = "authorization";
        break;

    default:
        return;
    }

    if (ngx_memcmp(h->lowcase_key, name, h->key.len) != 0) {
        return;
    }

    *value = h->value;

    if (h->key.len == sizeof("authorization") - 1) {
        ngx_http_llm_auth_bearer(value);
    }
}


/* of "Bearer KEY" the key, of anything else nothing */

static void
ngx_http_llm_auth_bearer(ngx_str_t *value)
{
    if (value->len <= sizeof("Bearer ") - 1
        || ngx_strncasecmp(value->data, (u_char *) "Bearer ",
                           sizeof("Bearer ") - 1)
           != 0)
    {
        ngx_str_null(value);
        return;
    }

    value->data += sizeof("Bearer ") - 1;
    value->len -= sizeof("Bearer ") - 1;

    while (value->len && *value->data == ' ') {
        value->data++;
        value->len--;
    }
}


ngx_int_t
ngx_http_llm_auth_challenge(ngx_http_request_t *r)
{
    ngx_table_elt_t  *h;

    static ngx_str_t  bearer = ngx_string("Bearer");

    h = ngx_http_llm_header_set(r, "WWW-Authenticate",
                                sizeof("WWW-Authenticate") - 1, &bearer);
    if (h == NULL) {
        return NGX_ERROR;
    }

    r->headers_out.www_authenticate = h;

    return NGX_OK;
}
