/*
 * ngx_http_llm_provider.h: a provider as configured, read-only at run time.
 */

#ifndef _NGX_HTTP_LLM_PROVIDER_H_INCLUDED_
#define _NGX_HTTP_LLM_PROVIDER_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include <ngx_llm_resolve.h>
#include <ngx_llm_health.h>
#include <ngx_llm_price.h>


typedef struct ngx_http_llm_dialect_s   ngx_http_llm_dialect_t;


/* the five limits of a request; NGX_CONF_UNSET_MSEC: not set here */

typedef struct {
    ngx_msec_t                     connect;      /* TCP and TLS */
    ngx_msec_t                     header;       /* answer, no stream */
    ngx_msec_t                     first_token;  /* stream: first event */
    ngx_msec_t                     idle;         /* between two reads */
    ngx_msec_t                     total;        /* all of the request */
} ngx_http_llm_timeouts_t;


typedef struct {
    ngx_str_t                      name;
    ngx_str_t                      lowcase;
    ngx_uint_t                     hash;
    ngx_http_complex_value_t       value;
    unsigned                       secret:1;     /* value is a credential */
} ngx_http_llm_set_header_t;


/* one credential of a provider */

typedef struct {
    ngx_str_t                      secret;       /* "": none is sent */
    ngx_str_t                      head;         /* constant header lines */
    ngx_llm_health_record_t       *health;       /* NULL: not used */
    uint64_t                       owner;        /* of state made with it */
} ngx_http_llm_credential_t;


/* what a server lacks of OpenAI's API, by its host or the quirks directive */

#define NGX_HTTP_LLM_QUIRK_MAX_TOKENS         0x0001  /* reads only that */
#define NGX_HTTP_LLM_QUIRK_NO_STREAM_OPTIONS  0x0002  /* refuses the member */
#define NGX_HTTP_LLM_QUIRK_OFF                0x0004  /* only while parsing */


typedef struct {
    ngx_str_t                      name;
    const ngx_http_llm_dialect_t  *dialect;

    ngx_uint_t                     type;         /* these two choose it: an */
    ngx_uint_t                     api;          /* index of provider_type.c */
    ngx_str_t                      region;       /* each of these "": none */
    ngx_str_t                      project;
    ngx_str_t                      api_version;

    ngx_str_t                      endpoint;     /* as written */
    ngx_str_t                      host;         /* Host, and SNI less port */
    ngx_str_t                      path;         /* no slash at its end */
    ngx_array_t                    credentials; /* credential_t, one at least */
    ngx_uint_t                     quirks;       /* NGX_HTTP_LLM_QUIRK_... */
    ngx_int_t                      max_concurrency;  /* 0: no limit */

    ngx_array_t                   *headers;      /* set_header_t */
    ngx_array_t                   *labels;       /* ngx_keyval_t, as listed */
    ngx_http_llm_timeouts_t        timeouts;
    ngx_flag_t                     stream_usage; /* may include_usage go in */
    ngx_str_t                      price_prefix; /* of names in llm_prices */

    /* the upstream each attempt is delegated to */

    ngx_url_t                      url;          /* of the endpoint's host */
    ngx_http_upstream_srv_conf_t  *block;        /* its own, llm:NAME */
    ngx_http_upstream_srv_conf_t  *uscf;         /* that, or an upstream {} */
    ngx_http_upstream_conf_t       conf;
    ngx_http_upstream_conf_t       intercept;    /* with intercept_errors */

    ngx_flag_t                     ssl_verify;
    ngx_str_t                      ssl_trusted_certificate;
    ngx_str_t                      ssl_name;     /* SNI and name to verify */
    ngx_str_t                      ssl_certificate;
    ngx_str_t                      ssl_certificate_key;

    ngx_str_t                      file;         /* where it was configured */
    ngx_uint_t                     line;

    unsigned                       ssl:1;

    ngx_llm_health_record_t       *health;       /* NULL: not used */

    /* state of a worker */

    ngx_uint_t                     turn;         /* of its keys, the next */
    ngx_llm_name_t                *resolve;      /* the private block's */
#if (NGX_SSL)
    ngx_ssl_session_t             *session;      /* to be resumed */
#endif
} ngx_http_llm_provider_t;


#endif /* _NGX_HTTP_LLM_PROVIDER_H_INCLUDED_ */
