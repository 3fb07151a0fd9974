/*
 * The operation and the deployment of a path, and the llm_model that a name
 * resolves to.  Called by the flow while it admits a request.
 */


#include <ngx_http_llm_client.h>


/* bytes of a path in an error message, at most */
#define NGX_HTTP_LLM_ROUTE_PATH  256


static u_char *ngx_http_llm_route_end(u_char *start, u_char *last);
static u_char *ngx_http_llm_route_start(u_char *start, u_char *last,
    ngx_str_t *suffix);
static ngx_int_t ngx_http_llm_route_regex(ngx_http_llm_main_conf_t *lmcf,
    ngx_log_t *log, ngx_str_t *name, ngx_http_llm_model_t **model);


#define ngx_http_llm_op(name, suffix, methods, allow, api, usage, form,       \
                        generates, cached)                                    \
    { ngx_string(name), ngx_string(suffix), methods, allow, api, usage,       \
      form, generates, NGX_HTTP_LLM_CACHED_##cached }

#define NGX_HTTP_LLM_GET   (NGX_HTTP_GET|NGX_HTTP_HEAD)


/* A suffix precedes the shorter suffixes that it ends in. */

static ngx_http_llm_operation_t  ngx_http_llm_operations[] = {

    ngx_http_llm_op("chat", "chat/completions", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_chat, 1, 0, 1, SAMPLED),
    ngx_http_llm_op("completions", "completions", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_completions, 1, 0, 1, SAMPLED),
    ngx_http_llm_op("embeddings", "embeddings", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_embeddings, 0, 0, 0, FIXED),
    ngx_http_llm_op("responses", "responses", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_responses, 0, 0, 1, SAMPLED),
    ngx_http_llm_op("moderations", "moderations", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_moderations, 0, 0, 0, UNCOUNTED),
    ngx_http_llm_op("images", "images/generations", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_images, 0, 0, 0, NEVER),
    ngx_http_llm_op("images", "images/edits", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_images, 0, 1, 0, NEVER),
    ngx_http_llm_op("audio", "audio/transcriptions", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_transcriptions, 0, 1, 0, NEVER),
    ngx_http_llm_op("audio", "audio/translations", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_translations, 0, 1, 0, NEVER),
    ngx_http_llm_op("audio", "audio/speech", NGX_HTTP_POST, "POST",
                    &ngx_llm_api_speech, 0, 0, 0, NEVER),
    ngx_http_llm_op("models", "models", NGX_HTTP_LLM_GET, "GET, HEAD",
                    &ngx_llm_api_models, 0, 0, 0, NEVER),

    { ngx_null_string, ngx_null_string, 0, NULL, NULL, 0, 0, 0,
      NGX_HTTP_LLM_CACHED_NEVER }
};


ngx_http_llm_operation_t *
ngx_http_llm_route_operation(ngx_http_request_t *r)
{
    ngx_str_t                  name;
    ngx_http_llm_operation_t  *op;

    op = ngx_http_llm_route_suffix(&r->uri);

    if (op) {
        ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                       "llm operation \"%V\" of path \"%V\"",
                       &op->suffix, &r->uri);
        return op;
    }

    ngx_http_llm_route_models_name(r, &name);

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm operation \"%s\" of path \"%V\"",
                   name.len ? "models/NAME" : "none", &r->uri);

    if (name.len == 0) {
        return NULL;
    }

    /* models is the last row of the table */

    return &ngx_http_llm_operations[sizeof(ngx_http_llm_operations)
                                    / sizeof(ngx_http_llm_operation_t) - 2];
}


ngx_http_llm_operation_t *
ngx_http_llm_route_suffix(ngx_str_t *path)
{
    u_char                    *last;
    ngx_http_llm_operation_t  *op;

    last = ngx_http_llm_route_end(path->data, path->data + path->len);

    for (op = ngx_http_llm_operations; op->name.len; op++) {

        if (ngx_http_llm_route_start(path->data, last, &op->suffix)) {
            return op;
        }
    }

    return NULL;
}


/* Returns the end of a path without its trailing slashes. */

static u_char *
ngx_http_llm_route_end(u_char *start, u_char *last)
{
    while (last > start && last[-1] == '/') {
        last--;
    }

    return last;
}


/*
 * Returns the start of the suffix, behind a slash, if the path in start..last
 * ends in it, or NULL.  Several slashes in a row count as one: nginx leaves
 * them in r->uri if merge_slashes is off.
 */

static u_char *
ngx_http_llm_route_start(u_char *start, u_char *last, ngx_str_t *suffix)
{
    u_char  *p, *s;

    p = last;
    s = suffix->data + suffix->len;

    while (s > suffix->data) {

        if (p == start || *--p != *--s) {
            return NULL;
        }

        if (*p == '/') {
            p = ngx_http_llm_route_end(start, p);
        }
    }

    return (p > start && p[-1] == '/') ? p : NULL;
}


void
ngx_http_llm_route_deployment(ngx_http_request_t *r,
    ngx_http_llm_operation_t *operation, ngx_str_t *name)
{
    u_char  *p, *start, *last;

    static ngx_str_t  deployments = ngx_string("openai/deployments");

    ngx_str_null(name);

    start = r->uri.data;
    last = ngx_http_llm_route_end(start, start + r->uri.len);
    last = ngx_http_llm_route_start(start, last, &operation->suffix);

    if (last == NULL) {
        return;
    }

    last = ngx_http_llm_route_end(start, last);

    for (p = start; p < last; p++) {

        if (*p != '/' || !ngx_http_llm_route_start(start, p, &deployments)) {
            continue;
        }

        while (p < last && *p == '/') {
            p++;
        }

        name->data = p;
        name->len = last - p;

        return;
    }
}


void
ngx_http_llm_route_models_name(ngx_http_request_t *r, ngx_str_t *name)
{
    u_char  *p, *last;

    ngx_str_null(name);

    last = ngx_http_llm_route_end(r->uri.data, r->uri.data + r->uri.len);

    for (p = r->uri.data; (size_t) (last - p) > sizeof("/models/") - 1; p++) {

        if (ngx_memcmp(p, "/models/", sizeof("/models/") - 1) == 0) {
            p += sizeof("/models/") - 1;

            while (*p == '/') {
                p++;
            }

            name->data = p;
            name->len = last - p;
            return;
        }
    }
}


ngx_int_t
ngx_http_llm_route_unknown(ngx_http_request_t *r, ngx_str_t *message)
{
    u_char                    *p;
    size_t                     len;
    ngx_str_t                  path;
    ngx_http_llm_operation_t  *op;

    static const char  text[] = "The path \"\" is not the path of an "
                                "operation. A path must end in one of: .";

    path = r->uri;

    if (path.len > NGX_HTTP_LLM_ROUTE_PATH) {
        path.len = NGX_HTTP_LLM_ROUTE_PATH;
    }

    len = sizeof(text) + path.len;

    for (op = ngx_http_llm_operations; op->name.len; op++) {
        len += op->suffix.len + sizeof(", ") - 1;
    }

    p = ngx_pnalloc(r->pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    message->data = p;
    p = ngx_sprintf(p, "The path \"%V\" is not the path of an operation. "
                       "A path must end in one of: ", &path);

    for (op = ngx_http_llm_operations; op->name.len; op++) {
        p = ngx_sprintf(p, "%V, ", &op->suffix);
    }

    p[-2] = '.';
    message->len = p - 1 - message->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_llm_route_model(ngx_http_llm_main_conf_t *lmcf, ngx_log_t *log,
    ngx_str_t *name, ngx_http_llm_model_t **model, ngx_str_t *rest)
{
    ngx_int_t             rc;
    ngx_uint_t            i, left, right, middle;
    ngx_http_llm_name_t  *exact, *prefix;

    ngx_str_null(rest);

    exact = lmcf->exact.elts;
    left = 0;
    right = lmcf->exact.nelts;

    while (left < right) {
        middle = left + (right - left) / 2;
        rc = ngx_http_llm_route_compare(name, &exact[middle].name);

        if (rc == 0) {
            *model = exact[middle].model;
            return NGX_OK;
        }

        if (rc < 0) {
            right = middle;

        } else {
            left = middle + 1;
        }
    }

    prefix = lmcf->prefixes.elts;

    for (i = 0; i < lmcf->prefixes.nelts; i++) {

        if (name->len >= prefix[i].name.len
            && ngx_memcmp(name->data, prefix[i].name.data, prefix[i].name.len)
               == 0)
        {
            rest->data = name->data + prefix[i].name.len;
            rest->len = name->len - prefix[i].name.len;
            *model = prefix[i].model;
            return NGX_OK;
        }
    }

    rc = ngx_http_llm_route_regex(lmcf, log, name, model);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    *model = lmcf->fallback;

    return *model ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_http_llm_route_regex(ngx_http_llm_main_conf_t *lmcf, ngx_log_t *log,
    ngx_str_t *name, ngx_http_llm_model_t **model)
{
#if (NGX_PCRE)

    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_http_llm_regex_t  *regex;

    regex = lmcf->regexes.elts;

    for (i = 0; i < lmcf->regexes.nelts; i++) {

        rc = ngx_regex_exec(regex[i].regex, name, NULL, 0);

        if (rc >= 0) {
            *model = regex[i].model;
            return NGX_OK;
        }

        if (rc == NGX_REGEX_NO_MATCHED) {
            continue;
        }

        /* the name may match: a later model must not get the request */

        ngx_log_error(NGX_LOG_ERR, log, 0,
                      ngx_regex_exec_n " failed: %i on \"%V\" using "
                      "llm_model \"%V\"", rc, name, &regex[i].model->pattern);

        return NGX_ERROR;
    }

#endif

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_llm_route_compare(ngx_str_t *one, ngx_str_t *two)
{
    if (one->len != two->len) {
        return (one->len < two->len) ? -1 : 1;
    }

    return ngx_memcmp(one->data, two->data, one->len);
}
