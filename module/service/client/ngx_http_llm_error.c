/*
 * Errors as error objects of OpenAI's API.  A handler that fails returns an
 * HTTP status, which error_page and the access log see.  A header filter and a
 * body filter replace the error page of nginx by the error object, or by the
 * error that a provider sent in an earlier attempt.
 */


#include <ngx_http_llm.h>
#include <ngx_http_llm_header_set.h>


/* an SDK must not wait longer without its user, milliseconds */
#define NGX_HTTP_LLM_RETRY  60000

/* nginx has no name for it */
#define NGX_HTTP_LLM_UPGRADE_REQUIRED  426


typedef struct {
    ngx_uint_t     status;
    const char    *type;
    const char    *code;
    ngx_str_t      message;
} ngx_http_llm_fault_t;


static ngx_int_t ngx_http_llm_error_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_error_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_llm_error_is_page(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_error_replace(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_error_kept(ngx_http_request_t *r,
    ngx_http_llm_kept_t *kept);
static ngx_uint_t ngx_http_llm_error_added(ngx_http_request_t *r,
    ngx_table_elt_t *kept, ngx_uint_t n);
static ngx_int_t ngx_http_llm_error_headers(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static ngx_int_t ngx_http_llm_error_retry(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge);
static void ngx_http_llm_error_general(ngx_uint_t status,
    ngx_http_llm_fault_t *fault);


static ngx_http_llm_fault_t  ngx_http_llm_faults[NGX_HTTP_LLM_FAULTS] = {

    { 0, NULL, NULL, ngx_null_string },

    { 400, "invalid_request_error", "invalid_json",
      ngx_string("The request body is not valid JSON. Send one JSON "
                 "object.") },
    { 400, "invalid_request_error", "invalid_form",
      ngx_string("The request body is not a valid form. Send "
                 "multipart/form-data with its boundary in Content-Type.") },
    { 400, "invalid_request_error", "duplicate_key",
      ngx_string("A member of the request body occurs twice. Send it once.") },
    { 400, "invalid_request_error", "invalid_type",
      ngx_string("A member of the request body has a wrong type.") },
    { 400, "invalid_request_error", "missing_model",
      ngx_string("The request has no model. Set \"model\" in the request "
                 "body.") },
    { 400, "invalid_request_error", "invalid_model",
      ngx_string("The model name is not valid. Use 1 to 256 bytes of "
                 "printable text without quotes and backslashes, and "
                 "without a blank at its start or end.") },
    { 404, "invalid_request_error", "model_not_found",
      ngx_string("The model does not exist. GET models lists the models that "
                 "exist.") },
    { 404, "invalid_request_error", "unknown_operation",
      ngx_string("The path is not the path of an operation.") },
    { 405, "invalid_request_error", "method_not_allowed",
      ngx_string("The operation does not take this method. Use a method from "
                 "the Allow header.") },
    { 415, "invalid_request_error", "unsupported_content_encoding",
      ngx_string("The request body has a Content-Encoding. Send the body "
                 "uncompressed, without that header.") },
    { 415, "invalid_request_error", "unsupported_content_type",
      ngx_string("The operation does not take this Content-Type. Send JSON "
                 "with \"Content-Type: application/json\", or "
                 "multipart/form-data where the operation uploads a file.") },
    { 426, "invalid_request_error", "websocket_not_supported",
      ngx_string("This operation is not available over WebSocket. Use POST, "
                 "with \"stream\": true for a stream of events.") },
    { 403, "permission_error", "cross_site_request",
      ngx_string("A web page of another site sent the request without an API "
                 "key. Send a key, or ask the operator to allow requests from "
                 "other sites.") },
    { 502, "upstream_error", "upstream_error",
      ngx_string("The connection to the model provider failed. Try again "
                 "later.") },
    { 502, "upstream_error", "upstream_auth",
      ngx_string("The model provider rejected the gateway's credential. The "
                 "operator of the gateway has to correct it.") },
    { 502, "upstream_error", "bad_answer",
      ngx_string("The model provider sent an invalid response.") },
    { 504, "upstream_error", "upstream_timeout",
      ngx_string("The model provider did not respond in time.") },
    { 503, "service_unavailable_error", "no_provider_available",
      ngx_string("No provider of this model is available now. Try again "
                 "later.") },
    { 503, "service_unavailable_error", "policy_unsatisfiable",
      ngx_string("No provider of this model meets the requirements of this "
                 "gateway.") },
    { 403, "permission_error", NULL,
      ngx_string("The gateway does not allow this request.") },
    { 401, "invalid_request_error", "invalid_api_key",
      ngx_string("The API key is missing or not valid. Send a valid key as "
                 "\"Authorization: Bearer KEY\".") },
    { 403, "permission_error", "model_not_allowed",
      ngx_string("The API key does not allow this model. GET models lists the "
                 "models that it allows.") },
    { 403, "permission_error", "model_not_priced",
      ngx_string("The price of this model is not known, but a cost budget "
                 "applies to the request. Use another model.") },
    { 403, "permission_error", "no_quota_identity",
      ngx_string("The quota key of this request is empty, so no quota can be "
                 "applied to it.") },
    { 400, "invalid_request_error", "request_too_large_for_quota",
      ngx_string("The request needs more than its whole quota. Shorten the "
                 "prompt or lower the maximum number of tokens.") },
    { 429, "rate_limit_error", "rate_limit_exceeded",
      ngx_string("The rate limit is reached. Try again after the time in "
                 "Retry-After.") },
    { 429, "insufficient_quota", "insufficient_quota",
      ngx_string("The budget is used up. Try again after the time in "
                 "Retry-After.") },
    { 503, "service_unavailable_error", "quota_unavailable",
      ngx_string("The quota of this request cannot be checked now. Try again "
                 "later.") },
    { 504, "invalid_request_error", "not_cached",
      ngx_string("The response is not in the cache, and the request allows "
                 "cached responses only.") },
    { 400, "invalid_request_error", "context_length_exceeded",
      ngx_string("The prompt exceeds the context of the model. Reduce its "
                 "length.") }
};


/* statuses that nginx or another module set */

static ngx_http_llm_fault_t  ngx_http_llm_statuses[] = {

    { 403, "permission_error", NULL,
      ngx_string("Access to this resource is not allowed.") },
    { 413, "invalid_request_error", "request_too_large",
      ngx_string("The request body is larger than this gateway accepts. Send "
                 "a shorter body.") },
    { 429, "rate_limit_error", "rate_limit_exceeded",
      ngx_string("The client sends too many requests. Try again after the "
                 "time in Retry-After.") },
    { 500, "server_error", "internal_error",
      ngx_string("An internal error occurred in the gateway.") },
    { 502, "upstream_error", "upstream_error",
      ngx_string("The connection to the model provider failed. Try again "
                 "later.") },
    { 503, "service_unavailable_error", NULL,
      ngx_string("The service is not available now. Try again later.") },
    { 504, "upstream_error", "upstream_timeout",
      ngx_string("The model provider did not respond in time.") },
    { 0, NULL, NULL, ngx_null_string }
};


static ngx_http_output_header_filter_pt  ngx_http_llm_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_llm_next_body_filter;


ngx_int_t
ngx_http_llm_fault(ngx_http_llm_error_t *err, ngx_http_llm_fault_e fault,
    const char *param, ngx_str_t *message)
{
    err->fault = fault;
    err->param = param;
    err->wait = 0;

    if (message) {
        err->message = *message;

    } else {
        ngx_str_null(&err->message);
    }

    return ngx_http_llm_faults[fault].status;
}


ngx_int_t
ngx_http_llm_error_body(ngx_pool_t *pool, ngx_http_llm_error_t *err,
    ngx_uint_t status, ngx_str_t *body)
{
    u_char                *p;
    size_t                 len;
    const char            *param;
    ngx_http_llm_fault_t   fault;

    param = NULL;

    if (err && err->fault && ngx_http_llm_faults[err->fault].status == status)
    {
        fault = ngx_http_llm_faults[err->fault];
        param = err->param;

        if (err->message.len) {
            fault.message = err->message;
        }

    } else {
        ngx_http_llm_error_general(status, &fault);
    }

    len = ngx_llm_json_escape(NULL, fault.message.data, fault.message.len);

    p = ngx_pnalloc(pool, len + 256);
    if (p == NULL) {
        return NGX_ERROR;
    }

    body->data = p;

    p = ngx_cpymem(p, "{\"error\":{\"message\":\"",
                   sizeof("{\"error\":{\"message\":\"") - 1);
    p += ngx_llm_json_escape(p, fault.message.data, fault.message.len);
    p = ngx_sprintf(p, "\",\"type\":\"%s\",\"param\":", fault.type);
    p = param ? ngx_sprintf(p, "\"%s\"", param) : ngx_sprintf(p, "null");
    p = ngx_sprintf(p, ",\"code\":");
    p = fault.code ? ngx_sprintf(p, "\"%s\"", fault.code)
                   : ngx_sprintf(p, "null");
    p = ngx_sprintf(p, "}}");

    body->len = p - body->data;

    return NGX_OK;
}


static void
ngx_http_llm_error_general(ngx_uint_t status, ngx_http_llm_fault_t *fault)
{
    ngx_http_llm_fault_t  *known;

    static ngx_str_t  client = ngx_string("The request is not valid.");
    static ngx_str_t  server = ngx_string("The gateway failed to process the "
                                          "request.");

    for (known = ngx_http_llm_statuses; known->status; known++) {

        if (known->status == status) {
            *fault = *known;
            return;
        }
    }

    fault->status = status;
    fault->code = NULL;
    fault->type = (status < 500) ? "invalid_request_error" : "server_error";
    fault->message = (status < 500) ? client : server;
}


ngx_uint_t
ngx_http_llm_error_paged(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    /* as in ngx_http_special_response_handler() */

    if (r->error_page || r->uri_changes == 0 || clcf->error_pages == NULL) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if ((ngx_uint_t) page[i].status == status) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_llm_error_init(ngx_conf_t *cf)
{
    ngx_http_llm_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_llm_error_header_filter;

    ngx_http_llm_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_llm_error_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_error_header_filter(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_charge_t    *charge;
    ngx_http_llm_loc_conf_t  *llcf;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (r != r->main || !ngx_http_llm_ours(llcf)) {
        return ngx_http_llm_next_header_filter(r);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    charge = ctx ? ctx->charge : NULL;

    if (ngx_http_llm_error_is_page(r)) {

        if (ctx == NULL) {
            ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_ctx_t));
            if (ctx == NULL) {
                return NGX_ERROR;
            }

            ngx_http_set_ctx(r, ctx, ngx_http_llm_module);
        }

        ctx->page.found = 1;

        if (r->error_page && r->internal) {

            /* the body distinguishes nginx's page from "return CODE TEXT" */

            ctx->page.deferred = 1;
            return NGX_OK;
        }

        if (ngx_http_llm_error_replace(r, charge) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (r->headers_out.status >= 400
        && ngx_http_llm_error_headers(r, charge) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_llm_next_header_filter(r);
}


/* Returns 1 if the response is an error page that nginx generates. */

static ngx_uint_t
ngx_http_llm_error_is_page(ngx_http_request_t *r)
{
    ngx_str_t  *type;

    if (r->err_status < 400
        || (r->upstream && r->upstream->cleanup)
        || r->headers_out.last_modified_time != -1
        || r->allow_ranges)
    {
        return 0;
    }

    type = &r->headers_out.content_type;

    return r->headers_out.content_length_n == 0
           || (type->len >= sizeof("text/html") - 1
               && ngx_strncasecmp(type->data, (u_char *) "text/html",
                                  sizeof("text/html") - 1)
                  == 0);
}


/* Sets the body of the page, its headers, and the status of a kept error. */

static ngx_int_t
ngx_http_llm_error_replace(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_str_t            body;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;
    ngx_str_null(&r->headers_out.charset);

    if (charge && charge->kept.use) {
        body = charge->kept.body;

        if (ngx_http_llm_error_kept(r, &charge->kept) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (ngx_http_llm_error_body(r->pool,
                                       charge ? &charge->error : NULL,
                                       r->err_status, &body)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->page.body = body;
    r->headers_out.content_length_n = body.len;

    if (r->headers_out.content_length) {
        r->headers_out.content_length->hash = 0;
        r->headers_out.content_length = NULL;
    }

    return NGX_OK;
}


/* Sets the status and the headers that the provider sent with its error. */

static ngx_int_t
ngx_http_llm_error_kept(ngx_http_request_t *r, ngx_http_llm_kept_t *kept)
{
    ngx_str_t                 *own;
    ngx_uint_t                 added;
    ngx_table_elt_t           *h;
    ngx_http_llm_cursor_t      cursor =
                                       ngx_http_llm_list_start(&kept->headers);
    ngx_http_llm_cursor_t      ours =
                              ngx_http_llm_list_start(&r->headers_out.headers);
    ngx_http_llm_loc_conf_t   *llcf;
    ngx_http_llm_main_conf_t  *lmcf;

    static ngx_str_t  owns[] = {
        ngx_string("content-type"),
        ngx_string("content-length"),
        ngx_string("transfer-encoding"),
        ngx_string("date"),
        ngx_null_string
    };

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    added = 0;

    while (ngx_http_llm_list_next(&ours)) {
        added++;
    }

    r->err_status = kept->status;
    r->headers_out.status = kept->status;
    ngx_str_null(&r->headers_out.status_line);

    if (kept->content_type.len) {
        r->headers_out.content_type = kept->content_type;
        r->headers_out.content_type_len = kept->content_type.len;
    }

    for ( ;; ) {
        h = ngx_http_llm_list_next(&cursor);

        if (h == NULL) {
            return NGX_OK;
        }

        if (ngx_hash_find(&lmcf->hide, h->hash, h->lowcase_key, h->key.len)
            || ngx_http_llm_hide(&llcf->hide, h)
            || ngx_http_llm_error_added(r, h, added))
        {
            continue;
        }

        for (own = owns; own->len; own++) {
            if (own->len == h->key.len
                && ngx_memcmp(own->data, h->lowcase_key, own->len) == 0)
            {
                break;
            }
        }

        if (own->len == 0
            && ngx_http_llm_list_add(&r->headers_out.headers,
                                     (char *) h->key.data, h->key.len,
                                     &h->value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }
}


/* Returns 1 if one of the first n response headers has the same name. */

static ngx_uint_t
ngx_http_llm_error_added(ngx_http_request_t *r, ngx_table_elt_t *kept,
    ngx_uint_t n)
{
    ngx_table_elt_t        *h;
    ngx_http_llm_cursor_t   cursor =
                              ngx_http_llm_list_start(&r->headers_out.headers);

    while (n--) {
        h = ngx_http_llm_list_next(&cursor);

        if (h->hash && h->key.len == kept->key.len
            && ngx_strncasecmp(h->key.data, kept->key.data, h->key.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_llm_error_headers(ngx_http_request_t *r,
    ngx_http_llm_charge_t *charge)
{
    ngx_str_t  value;

    static ngx_str_t  http = ngx_string("HTTP/1.1");

    if (r->headers_out.status == NGX_HTTP_LLM_UPGRADE_REQUIRED
        && charge && charge->error.fault == NGX_HTTP_LLM_NO_WEBSOCKET
        && ngx_http_llm_set_header(r, "Upgrade", &http) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (charge && charge->error.allow && r->headers_out.status == 405) {
        value.data = (u_char *) charge->error.allow;
        value.len = ngx_strlen(charge->error.allow);

        if (ngx_http_llm_set_header(r, "Allow", &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_http_llm_error_retry(r, charge);
}


/* Sets the headers that tell a client's SDK whether and when to retry. */

static ngx_int_t
ngx_http_llm_error_retry(ngx_http_request_t *r, ngx_http_llm_charge_t *charge)
{
    u_char                *p;
    int64_t                wait;
    ngx_str_t              seconds, ms;
    ngx_uint_t             status;
    ngx_http_llm_cursor_t  cursor =
                              ngx_http_llm_list_start(&r->headers_out.headers);
    ngx_http_llm_cursor_t  cursor_ms = cursor;

    static ngx_str_t  no = ngx_string("false");

    status = r->headers_out.status;
    wait = charge && charge->error.wait ? charge->error.wait : 1000;

    if (charge
        && (charge->attempts.nelts
            || charge->error.fault == NGX_HTTP_LLM_POLICY_UNSATISFIABLE
            || charge->error.fault == NGX_HTTP_LLM_NOT_CACHED
            || wait > NGX_HTTP_LLM_RETRY)
        && (status == 408 || status == 409 || status == 429 || status >= 500)
        && ngx_http_llm_set_header(r, "x-should-retry", &no) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (status != 429 && status != 503) {
        return NGX_OK;
    }

    if (ngx_http_llm_list_find(&cursor, "Retry-After",
                               sizeof("Retry-After") - 1)
        || ngx_http_llm_list_find(&cursor_ms, "retry-after-ms",
                                  sizeof("retry-after-ms") - 1))
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, 2 * NGX_INT64_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    seconds.data = p;
    seconds.len = ngx_sprintf(p, "%L", (wait + 999) / 1000) - p;
    ms.data = p + NGX_INT64_LEN;
    ms.len = ngx_sprintf(ms.data, "%L", wait) - ms.data;

    if (ngx_http_llm_set_header(r, "Retry-After", &seconds) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_llm_set_header(r, "retry-after-ms", &ms);
}


static ngx_int_t
ngx_http_llm_error_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t           *b;
    ngx_int_t            rc;
    ngx_chain_t          out;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx == NULL || !ctx->page.found || r != r->main) {
        return ngx_http_llm_next_body_filter(r, in);
    }

    if (ctx->page.sent) {
        /* drop the rest of nginx's page */
        return in ? NGX_OK : ngx_http_llm_next_body_filter(r, in);
    }

    if (in == NULL) {
        return ngx_http_llm_next_body_filter(r, in);
    }

    if (ctx->page.deferred) {
        ctx->page.deferred = 0;

        if (in->next == NULL && in->buf->last_buf && ngx_buf_size(in->buf)) {

            /* the text of "return" in the configuration */

            ctx->page.found = 0;

        } else if (ngx_http_llm_error_replace(r, ctx->charge) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_http_llm_error_headers(r, ctx->charge) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = ngx_http_llm_next_header_filter(r);

        if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
            return rc;
        }

        if (!ctx->page.found) {
            return ngx_http_llm_next_body_filter(r, in);
        }
    }

    ctx->page.sent = 1;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ctx->page.body.data;
    b->last = b->pos + ctx->page.body.len;
    b->memory = (ctx->page.body.len != 0);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_llm_next_body_filter(r, &out);
}
