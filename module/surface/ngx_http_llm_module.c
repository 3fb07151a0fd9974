/*
 * The module: its directives, phase handlers and filters.  module/README.md
 * lists the files that implement them.
 */


#include "ngx_http_llm_surface.h"
#include "ngx_http_llm_cache_conf.h"
#include "ngx_http_llm_provider_conf.h"
#include <ngx_http_llm_flow.h>
#include <ngx_http_llm_filter.h>
#include <ngx_http_llm_quota.h>
#include <ngx_http_llm_cache_key.h>


static ngx_int_t ngx_http_llm_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_llm_postconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_http_llm_init_process(ngx_cycle_t *cycle);
static void ngx_http_llm_exit_process(ngx_cycle_t *cycle);


#define NGX_HTTP_LLM_ANY_CONF                                                 \
    NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF

#define NGX_HTTP_LLM_PASS_CONF                                                \
    NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_HTTP_LMT_CONF

#define ngx_http_llm_loc_offset(name)                                         \
    NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_llm_loc_conf_t, name), NULL

#define ngx_http_llm_provider_offset(name)                                    \
    ngx_http_llm_provider_post(name, NULL)

#define ngx_http_llm_provider_post(name, post)                                \
    NGX_HTTP_LOC_CONF_OFFSET, offsetof(ngx_http_llm_provider_t, name), post


static ngx_conf_num_bounds_t  ngx_http_llm_tries_bounds = {
    ngx_conf_check_num_bounds, 1, 100
};


static ngx_conf_num_bounds_t  ngx_http_llm_concurrency_bounds = {
    ngx_conf_check_num_bounds, 1, NGX_MAX_INT32_VALUE
};


static ngx_conf_enum_t  ngx_http_llm_quota_outputs[] = {
    { ngx_string("learned"), NGX_HTTP_LLM_OUTPUT_LEARNED },
    { ngx_string("declared"), NGX_HTTP_LLM_OUTPUT_DECLARED },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_llm_log_levels[] = {
    { ngx_string("info"), NGX_LOG_INFO },
    { ngx_string("notice"), NGX_LOG_NOTICE },
    { ngx_string("warn"), NGX_LOG_WARN },
    { ngx_string("error"), NGX_LOG_ERR },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_llm_cache_samplings[] = {
    { ngx_string("deterministic"), NGX_HTTP_LLM_CACHE_DETERMINISTIC },
    { ngx_string("any"), NGX_HTTP_LLM_CACHE_ANY },
    { ngx_null_string, 0 }
};


static ngx_conf_post_t  ngx_http_llm_zone_size = {
    ngx_http_llm_conf_zone_size
};


static ngx_conf_post_t  ngx_http_llm_cache_zone_size = {
    ngx_http_llm_cache_conf_size
};


static ngx_conf_post_t  ngx_http_llm_word = { ngx_http_llm_provider_type_word };


static ngx_conf_bitmask_t  ngx_http_llm_quirks[] = {
    { ngx_string("max_tokens"), NGX_HTTP_LLM_QUIRK_MAX_TOKENS },
    { ngx_string("no_stream_options"), NGX_HTTP_LLM_QUIRK_NO_STREAM_OPTIONS },
    { ngx_string("off"), NGX_HTTP_LLM_QUIRK_OFF },
    { ngx_null_string, 0 }
};


static ngx_http_handler_pt  ngx_http_llm_metrics = ngx_http_llm_metrics_handler;
static ngx_http_handler_pt  ngx_http_llm_status = ngx_http_llm_status_handler;
static ngx_http_handler_pt  ngx_http_llm_admin = ngx_http_llm_admin_handler;


static ngx_command_t  ngx_http_llm_commands[] = {

    { ngx_string("llm_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_llm_main_conf_t, zone_size),
      &ngx_http_llm_zone_size },

    { ngx_string("llm_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_llm_redis_conf_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_cache_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_llm_redis_conf_cache_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_cache_secret"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_redis_conf_cache_secret,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_prices"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_price_conf_file,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_provider"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_llm_provider_conf_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_model"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_llm_model_conf_block,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_pass"),
      NGX_HTTP_LLM_PASS_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_llm_conf_pass,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_metrics"),
      NGX_HTTP_LLM_PASS_CONF|NGX_CONF_NOARGS,
      ngx_http_llm_page_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      &ngx_http_llm_metrics },

    { ngx_string("llm_status"),
      NGX_HTTP_LLM_PASS_CONF|NGX_CONF_NOARGS,
      ngx_http_llm_page_conf,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      &ngx_http_llm_status },

    { ngx_string("llm_admin"),
      NGX_HTTP_LLM_PASS_CONF|NGX_CONF_ANY,
      ngx_http_llm_conf_admin,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      &ngx_http_llm_admin },

    { ngx_string("llm_meter"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_loc_offset(meter) },

    { ngx_string("llm_pass_header"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_llm_conf_pass_header,
      ngx_http_llm_loc_offset(pass_headers) },

    { ngx_string("llm_hide_header"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_llm_hide_conf_header,
      ngx_http_llm_loc_offset(hide.hidden) },

    { ngx_string("llm_show_header"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_llm_hide_conf_header,
      ngx_http_llm_loc_offset(hide.shown) },

    { ngx_string("llm_provider_header"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_loc_offset(provider_header) },

    { ngx_string("llm_intercept_errors"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_loc_offset(intercept_errors) },

    { ngx_string("llm_ping"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_conf_ping,
      ngx_http_llm_loc_offset(ping) },

    { ngx_string("llm_on_abort"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE12,
      ngx_http_llm_conf_on_abort,
      ngx_http_llm_loc_offset(drain) },

    { ngx_string("llm_max_response_size"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      ngx_http_llm_loc_offset(max_size) },

    { ngx_string("llm_keys"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_auth_conf_keys,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_auth"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_loc_offset(auth) },

    { ngx_string("llm_allow_cross_site"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_loc_offset(allow_cross_site) },

    { ngx_string("llm_quota_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_http_llm_quota_conf_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_quota"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_llm_quota_conf_apply,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_quota_output"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_llm_loc_conf_t, quota_output),
      &ngx_http_llm_quota_outputs },

    { ngx_string("llm_log_level"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_llm_loc_conf_t, log_level),
      &ngx_http_llm_log_levels },

    { ngx_string("llm_cache_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_llm_main_conf_t, cache.size),
      &ngx_http_llm_cache_zone_size },

    { ngx_string("llm_cache"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_http_llm_cache_conf_flag,
      ngx_http_llm_loc_offset(cache.on) },

    { ngx_string("llm_cache_ttl"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(cache.ttl) },

    { ngx_string("llm_cache_max_size"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_size_slot,
      ngx_http_llm_loc_offset(cache.max_size) },

    { ngx_string("llm_cache_scope"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_cache_conf_scope,
      ngx_http_llm_loc_offset(cache.scope) },

    { ngx_string("llm_cache_sampling"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_llm_loc_conf_t, cache.sampling),
      &ngx_http_llm_cache_samplings },

    { ngx_string("llm_cache_bypass"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_set_predicate_slot,
      ngx_http_llm_loc_offset(cache.bypass) },

    { ngx_string("llm_cache_honor_headers"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_loc_offset(cache.honor) },

    { ngx_string("llm_cache_stale_if_error"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(cache.stale) },

    { ngx_string("llm_cache_lock_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(cache.lock) },

    { ngx_string("llm_require"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
                        |NGX_HTTP_LIF_CONF|NGX_CONF_1MORE,
      ngx_http_llm_require_conf_require,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("llm_next_provider"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_1MORE,
      ngx_http_llm_conf_next,
      ngx_http_llm_loc_offset(next) },

    { ngx_string("llm_next_provider_tries"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_llm_loc_conf_t, next_tries),
      &ngx_http_llm_tries_bounds },

    { ngx_string("llm_next_provider_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(next_timeout) },

    { ngx_string("llm_connect_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(timeouts.connect) },

    { ngx_string("llm_header_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(timeouts.header) },

    { ngx_string("llm_first_token_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(timeouts.first_token) },

    { ngx_string("llm_hold_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(hold_timeout) },

    { ngx_string("llm_idle_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(timeouts.idle) },

    { ngx_string("llm_timeout"),
      NGX_HTTP_LLM_ANY_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_loc_offset(timeouts.total) },

    /* inside llm_provider */

    { ngx_string("type"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_provider_type,
      ngx_http_llm_provider_offset(type) },

    { ngx_string("api"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_provider_type_api,
      ngx_http_llm_provider_offset(api) },

    { ngx_string("endpoint"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_provider_conf_endpoint,
      ngx_http_llm_provider_offset(endpoint) },

    { ngx_string("region"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_post(region, &ngx_http_llm_word) },

    { ngx_string("project"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_post(project, &ngx_http_llm_word) },

    { ngx_string("api_version"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_post(api_version, &ngx_http_llm_word) },

    { ngx_string("key"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_http_llm_provider_credential,
      ngx_http_llm_provider_offset(credentials) },

    { ngx_string("label"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_1MORE,
      ngx_http_llm_provider_conf_label,
      ngx_http_llm_provider_offset(labels) },

    { ngx_string("header"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE2,
      ngx_http_llm_provider_conf_set_header,
      ngx_http_llm_provider_offset(headers) },

    { ngx_string("quirks"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_1MORE,
      ngx_conf_set_bitmask_slot,
      ngx_http_llm_provider_post(quirks, ngx_http_llm_quirks) },

    { ngx_string("max_concurrency"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      ngx_http_llm_provider_post(max_concurrency,
                                 &ngx_http_llm_concurrency_bounds) },

    { ngx_string("price_prefix"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_offset(price_prefix) },

    { ngx_string("stream_usage"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_provider_offset(stream_usage) },

    { ngx_string("connect_timeout"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_provider_offset(timeouts.connect) },

    { ngx_string("header_timeout"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_provider_offset(timeouts.header) },

    { ngx_string("first_token_timeout"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_provider_offset(timeouts.first_token) },

    { ngx_string("idle_timeout"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_provider_offset(timeouts.idle) },

    { ngx_string("timeout"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      ngx_http_llm_provider_offset(timeouts.total) },

    { ngx_string("ssl_verify"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      ngx_http_llm_provider_offset(ssl_verify) },

    { ngx_string("ssl_trusted_certificate"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_offset(ssl_trusted_certificate) },

    { ngx_string("ssl_name"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_offset(ssl_name) },

    { ngx_string("ssl_certificate"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_offset(ssl_certificate) },

    { ngx_string("ssl_certificate_key"),
      NGX_HTTP_LLM_PROVIDER_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      ngx_http_llm_provider_offset(ssl_certificate_key) },

    /* inside llm_model */

    { ngx_string("target"),
      NGX_HTTP_LLM_MODEL_CONF|NGX_CONF_1MORE,
      ngx_http_llm_target_conf_target,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("balance"),
      NGX_HTTP_LLM_MODEL_CONF|NGX_CONF_TAKE12,
      ngx_http_llm_target_conf_balance,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("alias"),
      NGX_HTTP_LLM_MODEL_CONF|NGX_CONF_1MORE,
      ngx_http_llm_model_conf_alias,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("list"),
      NGX_HTTP_LLM_MODEL_CONF|NGX_CONF_1MORE,
      ngx_http_llm_model_conf_list,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_llm_module_ctx = {
    ngx_http_llm_preconfiguration,         /* preconfiguration */
    ngx_http_llm_postconfiguration,        /* postconfiguration */

    ngx_http_llm_conf_create_main,         /* create main configuration */
    ngx_http_llm_conf_init_main,           /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_llm_conf_create_loc,          /* create location configuration */
    ngx_http_llm_conf_merge_loc            /* merge location configuration */
};


ngx_module_t  ngx_http_llm_module = {
    NGX_MODULE_V1,
    &ngx_http_llm_module_ctx,              /* module context */
    ngx_http_llm_commands,                 /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_http_llm_init_process,             /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_http_llm_exit_process,             /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_llm_preconfiguration(ngx_conf_t *cf)
{
    return ngx_http_llm_variables_add(cf);
}


static ngx_int_t
ngx_http_llm_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_llm_main_conf_t   *lmcf;
    ngx_http_core_main_conf_t  *cmcf;

    static ngx_str_t  request_id = ngx_string("request_id");

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    lmcf->request_id = ngx_http_get_variable_index(cf, &request_id);
    if (lmcf->request_id == NGX_ERROR) {
        return NGX_ERROR;
    }

    lmcf->random = ngx_palloc(cf->pool, NGX_HTTP_LLM_RANDOM);
    if (lmcf->random == NULL) {
        return NGX_ERROR;
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_llm_settle_post_action;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_REWRITE_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_llm_settle_post_action;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_ACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_llm_access_handler;

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PRECONTENT_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_llm_admit_handler;

    /* the filter that is added last runs first */

    if (ngx_http_llm_settle_filter(cf) != NGX_OK
        || ngx_http_llm_meter_init(cf) != NGX_OK
        || ngx_http_llm_error_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_http_llm_control_init(cf) != NGX_OK
        || ngx_http_llm_ratelimit_init(cf) != NGX_OK
        || ngx_http_llm_header_init(cf) != NGX_OK
        || ngx_http_llm_ping_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_drain_init(cf);
}


/* Starts the worker: names are resolved before the first request. */

static ngx_int_t
ngx_http_llm_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                  i;
    ngx_http_llm_provider_t   **provider;
    ngx_http_llm_main_conf_t   *lmcf;

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_llm_module);

    if (lmcf == NULL) {
        return NGX_OK;
    }

    if (lmcf->health) {
        ngx_llm_health_worker(lmcf->health);
    }

    if (lmcf->redis && ngx_llm_redis_worker(lmcf->redis, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    if (ngx_http_llm_cache_conf_worker(cycle, lmcf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (lmcf->quota && ngx_llm_quota_worker(lmcf->quota, cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    provider = lmcf->providers.elts;

    for (i = 0; i < lmcf->providers.nelts; i++) {
        (void) ngx_llm_resolve_check(provider[i]->resolve);
    }

    return NGX_OK;
}


static void
ngx_http_llm_exit_process(ngx_cycle_t *cycle)
{
    ngx_http_llm_main_conf_t  *lmcf;

    lmcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_llm_module);

    if (lmcf == NULL) {
        return;
    }

    if (lmcf->redis) {
        ngx_llm_redis_exit(lmcf->redis);
    }

    if (lmcf->cache.redis) {
        ngx_llm_redis_exit(lmcf->cache.redis);
    }
}
