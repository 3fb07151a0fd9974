/*
 * The $llm_* variables: computed from the charge when they are asked for,
 * never cached, so that the access log sees how it all ended.
 */


#include "ngx_http_llm_surface.h"
#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_cache_key.h>


typedef ngx_int_t (*ngx_http_llm_value_pt)(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);


static ngx_int_t ngx_http_llm_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_llm_variable_consumer(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_llm_variable_var(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_llm_value_operation(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_model(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_pattern(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_provider(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_target(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_stream(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_attempts(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_status(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_request_id(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_tokens(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_llm_value_source(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_cost(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_ttft(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_finish(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_quota(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_quota_zone(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_cache_status(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_cache_key(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);
static ngx_int_t ngx_http_llm_value_end(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value);


#define ngx_http_llm_var(name, function)                                      \
    { ngx_string("llm_" name), NULL, ngx_http_llm_variable,                   \
      (uintptr_t) function, NGX_HTTP_VAR_NOCACHEABLE, 0 }

#define ngx_http_llm_tokens(name, member)                                     \
    { ngx_string("llm_" name "_tokens"), NULL, ngx_http_llm_value_tokens,     \
      offsetof(ngx_llm_usage_t, member), NGX_HTTP_VAR_NOCACHEABLE, 0 }


static ngx_http_variable_t  ngx_http_llm_vars[] = {
    { ngx_string("llm_consumer"), NULL, ngx_http_llm_variable_consumer, 0,
      NGX_HTTP_VAR_NOCACHEABLE, 0 },
    { ngx_string("llm_consumer_"), NULL, ngx_http_llm_variable_var, 0,
      NGX_HTTP_VAR_NOCACHEABLE|NGX_HTTP_VAR_PREFIX, 0 },
    ngx_http_llm_var("operation", ngx_http_llm_value_operation),
    ngx_http_llm_var("model", ngx_http_llm_value_model),
    ngx_http_llm_var("pattern", ngx_http_llm_value_pattern),
    ngx_http_llm_var("provider", ngx_http_llm_value_provider),
    ngx_http_llm_var("target_model", ngx_http_llm_value_target),
    ngx_http_llm_var("stream", ngx_http_llm_value_stream),
    ngx_http_llm_var("attempts", ngx_http_llm_value_attempts),
    ngx_http_llm_var("upstream_status", ngx_http_llm_value_status),
    ngx_http_llm_var("upstream_request_id", ngx_http_llm_value_request_id),
    ngx_http_llm_tokens("prompt", prompt),
    ngx_http_llm_tokens("cached", cached),
    ngx_http_llm_tokens("completion", completion),
    ngx_http_llm_tokens("reasoning", reasoning),
    ngx_http_llm_tokens("total", total),
    ngx_http_llm_var("usage_source", ngx_http_llm_value_source),
    ngx_http_llm_var("cost", ngx_http_llm_value_cost),
    ngx_http_llm_var("ttft", ngx_http_llm_value_ttft),
    ngx_http_llm_var("finish_reason", ngx_http_llm_value_finish),
    ngx_http_llm_var("stream_end", ngx_http_llm_value_end),
    ngx_http_llm_var("quota_status", ngx_http_llm_value_quota),
    ngx_http_llm_var("quota_zone", ngx_http_llm_value_quota_zone),
    ngx_http_llm_var("cache_status", ngx_http_llm_value_cache_status),
    ngx_http_llm_var("cache_key", ngx_http_llm_value_cache_key),
    ngx_http_null_variable
};


ngx_int_t
ngx_http_llm_variables_add(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_llm_vars; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/* limit_req and map may use the variable before the access phase */

static ngx_int_t
ngx_http_llm_variable_consumer(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_llm_consumer_t  *consumer;

    if (ngx_http_llm_auth_consumer(r, &consumer) != NGX_OK) {
        return NGX_ERROR;
    }

    if (consumer == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = consumer->name.len;
    v->data = consumer->name.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


/* $llm_consumer_NAME */

static ngx_int_t
ngx_http_llm_variable_var(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t  *variable = (ngx_str_t *) data;

    ngx_str_t            name, *value;
    ngx_llm_consumer_t  *consumer;

    name.data = variable->data + sizeof("llm_consumer_") - 1;
    name.len = variable->len - (sizeof("llm_consumer_") - 1);

    if (ngx_http_llm_auth_consumer(r, &consumer) != NGX_OK) {
        return NGX_ERROR;
    }

    value = consumer ? ngx_llm_keys_var(consumer, &name) : NULL;

    if (value == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = value->len;
    v->data = value->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_http_llm_value_pt  get = (ngx_http_llm_value_pt) data;

    ngx_int_t               rc;
    ngx_str_t               value;
    ngx_http_llm_charge_t  *charge;

    charge = ngx_http_llm_charge_find(r);

    ngx_str_null(&value);

    rc = charge ? get(r, charge, &value) : NGX_DECLINED;

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DECLINED || value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->len = value.len;
    v->data = value.data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_operation(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    if (charge->operation) {
        *value = charge->operation->name;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_model(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_str_t *value)
{
    *value = charge->requested;

    return NGX_OK;
}


/* the llm_model of the request, known before quotas are evaluated */

static ngx_int_t
ngx_http_llm_value_pattern(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    if (charge->model) {
        *value = charge->model->pattern;
    }

    return NGX_OK;
}


static ngx_http_llm_attempt_t *
ngx_http_llm_value_attempt(ngx_http_llm_charge_t *charge)
{
    ngx_http_llm_attempt_t  *attempt;

    if (charge->attempts.nelts == 0) {
        return NULL;
    }

    attempt = charge->attempts.elts;

    return &attempt[charge->attempts.nelts - 1];
}


static ngx_int_t
ngx_http_llm_value_provider(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    ngx_http_llm_attempt_t  *attempt;

    attempt = ngx_http_llm_value_attempt(charge);

    if (charge->cache.replayed) {
        *value = charge->cache.entry->provider;

    } else if (attempt) {
        *value = attempt->provider->name;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_target(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    ngx_http_llm_attempt_t  *attempt;

    attempt = ngx_http_llm_value_attempt(charge);

    if (charge->cache.replayed) {
        *value = charge->cache.entry->model;

    } else if (attempt) {
        *value = attempt->model;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_stream(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    if (!charge->parsed) {
        return NGX_DECLINED;
    }

    if (charge->facts.stream) {
        ngx_str_set(value, "1");

    } else {
        ngx_str_set(value, "0");
    }

    return NGX_OK;
}


/* azure:429:12ms,openai:200:840ms, and " : " where a new pass begins */

static ngx_int_t
ngx_http_llm_value_attempts(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    u_char                  *p;
    size_t                   len;
    ngx_uint_t               i;
    ngx_http_llm_attempt_t  *attempt;

    attempt = charge->attempts.elts;
    len = 0;

    for (i = 0; i < charge->attempts.nelts; i++) {
        len += attempt[i].provider->name.len + attempt[i].outcome.len
               + NGX_INT_T_LEN + NGX_INT_T_LEN + sizeof(" : ::ms");
    }

    if (len == 0) {
        return NGX_DECLINED;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value->data = p;

    for (i = 0; i < charge->attempts.nelts; i++) {

        if (i) {
            p = (attempt[i].pass == attempt[i - 1].pass)
                ? ngx_cpymem(p, ",", 1) : ngx_cpymem(p, " : ", 3);
        }

        p = ngx_sprintf(p, "%V:", &attempt[i].provider->name);

        if (attempt[i].outcome.len) {
            p = ngx_sprintf(p, "%V", &attempt[i].outcome);

        } else if (attempt[i].status) {
            p = ngx_sprintf(p, "%ui", attempt[i].status);

        } else {
            *p++ = '-';
        }

        p = ngx_sprintf(p, ":%Mms", attempt[i].time);
    }

    value->len = p - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_status(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    ngx_http_llm_attempt_t  *attempt;

    attempt = ngx_http_llm_value_attempt(charge);

    if (attempt == NULL || attempt->status == 0) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, "%ui", attempt->status)
                 - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_request_id(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    *value = charge->upstream_request_id;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_tokens(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    int64_t                 n;
    const ngx_llm_usage_t  *usage;
    ngx_http_llm_charge_t  *charge;

    charge = ngx_http_llm_charge_find(r);
    usage = charge ? ngx_http_llm_cost_tokens_of(charge) : NULL;

    if (usage == NULL) {
        v->not_found = 1;
        return NGX_OK;
    }

    n = *(int64_t *) ((char *) usage + data);

    if (n < 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (v->data == NULL) {
        return NGX_ERROR;
    }

    v->len = ngx_sprintf(v->data, "%L", n) - v->data;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_source(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    static ngx_str_t  sources[] = {
        ngx_string("none"),
        ngx_string("provider"),
        ngx_string("estimated"),
        ngx_string("unknown"),
        ngx_string("cache")
    };

    *value = sources[ngx_http_llm_cost_usage(charge)];

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_cost(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_str_t *value)
{
    int64_t  cost;

    cost = ngx_http_llm_cost(charge);

    if (cost == NGX_LLM_PRICE_UNKNOWN) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, NGX_LLM_PRICE_LEN);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_llm_price_print(value->data, cost) - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_ttft(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_str_t *value)
{
    if (!charge->timed) {
        return NGX_DECLINED;
    }

    value->data = ngx_pnalloc(r->pool, NGX_TIME_T_LEN + 4);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_sprintf(value->data, "%T.%03M",
                             (time_t) (charge->ttft / 1000),
                             charge->ttft % 1000)
                 - value->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_finish(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    if (charge->cache.replayed) {
        *value = charge->cache.entry->finish;

    } else if (charge->answer) {
        value->data = charge->answer->finish_reason;
        value->len = charge->answer->finish_len;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_end(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_str_t *value)
{
    static ngx_str_t  ends[] = {
        ngx_null_string,
        ngx_string("complete"),
        ngx_string("truncated"),
        ngx_string("aborted"),
        ngx_string("drained"),
        ngx_string("error")
    };

    *value = ends[charge->end];

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_quota(ngx_http_request_t *r, ngx_http_llm_charge_t *charge,
    ngx_str_t *value)
{
    static ngx_str_t  states[] = {
        ngx_null_string,
        ngx_string("ok"),
        ngx_string("limited"),
        ngx_string("unenforced"),
        ngx_string("shadow")
    };

    *value = states[charge->quota.status];

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_quota_zone(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    *value = charge->quota.zone;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_value_cache_status(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    static ngx_str_t  states[] = {
        ngx_null_string,
        ngx_string("HIT"),
        ngx_string("MISS"),
        ngx_string("BYPASS"),
        ngx_string("STALE"),
        ngx_string("EXPIRED")
    };

    *value = states[charge->cache.status];

    return NGX_OK;
}


/* without sharing the cache key is not valid for other requests */

static ngx_int_t
ngx_http_llm_value_cache_key(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge, ngx_str_t *value)
{
    u_char                     *key, unique[NGX_LLM_CACHE_KEY];
    ngx_str_t                   id;
    ngx_http_llm_loc_conf_t    *llcf;
    ngx_http_variable_value_t  *vv;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    /* an operation that is no question is shared no more */

    if (charge->cache.status == NGX_HTTP_LLM_CACHE_NONE && !llcf->cache.on) {
        return NGX_DECLINED;
    }

    key = charge->cache.key;

    if (!charge->cache.keyed) {
        key = unique;
        vv = ngx_http_llm_header_request_id(r);

        if (vv == NULL) {
            return NGX_ERROR;
        }

        id.data = vv->data;
        id.len = vv->len;

        ngx_http_llm_cache_key_unique(r, &id, unique);
    }

    value->data = ngx_pnalloc(r->pool, 2 * NGX_LLM_CACHE_KEY);
    if (value->data == NULL) {
        return NGX_ERROR;
    }

    value->len = ngx_hex_dump(value->data, key, NGX_LLM_CACHE_KEY)
                 - value->data;

    return NGX_OK;
}
