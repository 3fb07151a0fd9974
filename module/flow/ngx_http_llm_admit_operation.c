/*
 * The first step of admission: the operation of the path, and the rejection of
 * methods, content types and senders that it does not accept.  Runs before the
 * body is read.
 */


#include "ngx_http_llm_admit_operation.h"
#include <ngx_http_llm_client.h>
#include <ngx_http_llm_body.h>
#include <ngx_http_llm_list.h>


static ngx_int_t ngx_http_llm_admit_operation_method(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_uint_t ngx_http_llm_admit_operation_websocket(
    ngx_http_request_t *r, ngx_http_llm_operation_t *operation);
static ngx_uint_t ngx_http_llm_admit_operation_cross_site(
    ngx_http_request_t *r);
static ngx_uint_t ngx_http_llm_admit_operation_credential(
    ngx_http_request_t *r);


ngx_int_t
ngx_http_llm_admit_operation(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_str_t                  message;
    ngx_http_llm_charge_t     *charge;
    ngx_http_llm_operation_t  *operation;

    charge = ctx->charge;
    operation = ngx_http_llm_route_operation(r);

    if (operation == NULL) {

        if (ngx_http_llm_route_unknown(r, &message) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_http_llm_fault(&charge->error,
                                  NGX_HTTP_LLM_UNKNOWN_OPERATION, NULL,
                                  &message);
    }

    charge->operation = operation;

    rc = ngx_http_llm_admit_operation_method(r, charge);

    if (rc != NGX_OK || !(r->method & NGX_HTTP_POST)) {
        return rc;
    }

    if (ngx_http_llm_admit_operation_cross_site(r)) {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_CROSS_SITE,
                                  NULL, NULL);
    }

    if (ngx_http_llm_body_plain(r) != NGX_OK) {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_CODED_BODY,
                                  NULL, NULL);
    }

    if (ngx_http_llm_body_taken(r, operation->form) != NGX_OK) {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_CONTENT_TYPE,
                                  NULL, NULL);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_admit_operation_method(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    u_char                    *p;
    ngx_int_t                  rc;
    ngx_str_t                  message;
    ngx_http_llm_operation_t  *operation;

    operation = charge->operation;

    if (r->method & operation->methods) {
        return NGX_OK;
    }

    if (ngx_http_llm_admit_operation_websocket(r, operation)) {
        return ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_NO_WEBSOCKET,
                                  NULL, NULL);
    }

    p = ngx_pnalloc(r->pool, sizeof("The operation \"\" does not take this "
                                    "method.  Use GET, HEAD instead.")
                             + operation->suffix.len);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    message.data = p;
    message.len = ngx_sprintf(p, "The operation \"%V\" does not take this "
                                 "method. Use %s instead.",
                              &operation->suffix, operation->allow)
                  - p;

    rc = ngx_http_llm_fault(&charge->error, NGX_HTTP_LLM_METHOD_NOT_ALLOWED,
                            NULL, &message);
    charge->error.allow = operation->allow;

    return rc;
}


/*
 * Returns 1 if a client tries to open the Responses API over WebSocket.  It
 * goes on with POST after 426.  HTTP/2 and later have no Upgrade.
 */

static ngx_uint_t
ngx_http_llm_admit_operation_websocket(ngx_http_request_t *r,
    ngx_http_llm_operation_t *operation)
{
    return operation->api == &ngx_llm_api_responses
           && r->method == NGX_HTTP_GET
           && r->http_version < NGX_HTTP_VERSION_20
           && r->headers_in.upgrade
           && ngx_strcasestrn(r->headers_in.upgrade->value.data, "websocket",
                              sizeof("websocket") - 2)
              != NULL;
}


/*
 * Returns 1 if a page of another site made a browser send the request, and the
 * request has no credential.  Such a page needs the server's consent to set
 * one of these headers, but not to send a POST.
 */

static ngx_uint_t
ngx_http_llm_admit_operation_cross_site(ngx_http_request_t *r)
{
    ngx_table_elt_t          *h;
    ngx_http_llm_cursor_t     cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->allow_cross_site) {
        return 0;
    }

    h = ngx_http_llm_list_find(&cursor, "Sec-Fetch-Site",
                               sizeof("Sec-Fetch-Site") - 1);

    if (h == NULL
        || ngx_strcasecmp(h->value.data, (u_char *) "cross-site") != 0
        || ngx_http_llm_admit_operation_credential(r))
    {
        return 0;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "request from a page of another site rejected: it has no "
                  "credential and \"llm_allow_cross_site\" is off");

    return 1;
}


/* Returns 1 if a header of the request has a credential, right or wrong. */

static ngx_uint_t
ngx_http_llm_admit_operation_credential(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    static ngx_str_t  names[] = {
        ngx_string("Authorization"),
        ngx_string("x-api-key"),
        ngx_string("api-key")
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        ngx_http_llm_cursor_t  cursor =
                               ngx_http_llm_list_start(&r->headers_in.headers);

        h = ngx_http_llm_list_find(&cursor, (char *) names[i].data,
                                   names[i].len);

        if (h && h->value.len) {
            return 1;
        }
    }

    return 0;
}
