/*
 * The TLS half of llm_provider: what a provider's certificate is verified
 * against, and the one it is shown.  llm_redis trusts as providers do.
 */


#include "../ngx_http_llm_provider_conf.h"


#if (NGX_HTTP_SSL)


/* Debian and Alpine, Red Hat, BSD, SUSE */

static ngx_str_t  ngx_http_llm_bundles[] = {
    ngx_string("/etc/ssl/certs/ca-certificates.crt"),
    ngx_string("/etc/pki/tls/certs/ca-bundle.crt"),
    ngx_string("/etc/ssl/cert.pem"),
    ngx_string("/etc/ssl/ca-bundle.pem"),
    ngx_null_string
};


ngx_int_t
ngx_http_llm_provider_tls(ngx_conf_t *cf, ngx_http_llm_main_conf_t *lmcf,
    ngx_http_llm_provider_t *provider)
{
    ngx_int_t                  rc;
    ngx_ssl_t                 *ssl;
    ngx_http_upstream_conf_t  *conf;

    conf = &provider->conf;

    if (provider->ssl_name.len == 0) {
        provider->ssl_name = provider->url.host;
    }

    ssl = ngx_http_llm_provider_tls_create(cf);
    if (ssl == NULL) {
        return NGX_ERROR;
    }

    if (provider->ssl_certificate.len) {

        if (provider->ssl_certificate_key.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no \"ssl_certificate_key\" for the "
                               "\"ssl_certificate\" of llm_provider \"%V\"",
                               &provider->name);
            return NGX_ERROR;
        }

        if (ngx_ssl_certificate(cf, ssl, &provider->ssl_certificate,
                                &provider->ssl_certificate_key, NULL)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (provider->ssl_verify) {

        rc = ngx_http_llm_provider_tls_trust(cf, lmcf, ssl,
                                          &provider->ssl_trusted_certificate);

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "no bundle of trusted certificates is "
                               "installed, set \"ssl_trusted_certificate\" "
                               "for llm_provider \"%V\"", &provider->name);
        }

        if (rc != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_ssl_client_session_cache(cf, ssl, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    conf->ssl = ssl;
    conf->ssl_session_reuse = 1;
    conf->ssl_server_name = 1;
    conf->ssl_verify = provider->ssl_verify;

    return NGX_OK;
}


/* the system's bundle is read once, however many trust it */

ngx_ssl_t *
ngx_http_llm_provider_tls_create(ngx_conf_t *cf)
{
    ngx_ssl_t           *ssl;
    ngx_pool_cleanup_t  *cln;

    ssl = ngx_pcalloc(cf->pool, sizeof(ngx_ssl_t));
    if (ssl == NULL) {
        return NULL;
    }

    ssl->log = cf->log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, NULL) != NGX_OK)
    {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(ssl);
        return NULL;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = ssl;

    return ssl;
}


ngx_int_t
ngx_http_llm_provider_tls_trust(ngx_conf_t *cf,
    ngx_http_llm_main_conf_t *lmcf, ngx_ssl_t *ssl, ngx_str_t *certificate)
{
    ngx_str_t        *bundle, file;
    ngx_file_info_t   fi;

    if (certificate->len) {
        return ngx_ssl_trusted_certificate(cf, ssl, certificate, 4);
    }

    if (lmcf->trusted) {
        X509_STORE_up_ref(lmcf->trusted);
        SSL_CTX_set_cert_store(ssl->ctx, lmcf->trusted);
        SSL_CTX_set_verify_depth(ssl->ctx, 4);
        return NGX_OK;
    }

    for (bundle = ngx_http_llm_bundles; bundle->len; bundle++) {

        if (ngx_file_info(bundle->data, &fi) == NGX_FILE_ERROR) {
            continue;
        }

        file = *bundle;

        if (ngx_ssl_trusted_certificate(cf, ssl, &file, 4) != NGX_OK) {
            return NGX_ERROR;
        }

        lmcf->trusted = SSL_CTX_get_cert_store(ssl->ctx);

        return NGX_OK;
    }

    return NGX_DECLINED;
}


#endif
