/*
 * Azure OpenAI.  The endpoint is a host.  Its v1 API takes the deployment from
 * the model of the body.  Its older API takes the deployment of most operations
 * from the path, and requires an API version.  Bodies are those of OpenAI.
 */


#include <ngx_http_llm_dialect.h>


static ngx_int_t ngx_http_llm_azure_uri(ngx_pool_t *pool,
    ngx_http_llm_provider_t *provider, ngx_http_llm_call_t *call,
    ngx_str_t *uri);
static ngx_uint_t ngx_http_llm_azure_deployed(ngx_str_t *operation);
static ngx_uint_t ngx_http_llm_azure_fits(ngx_http_llm_provider_t *provider,
    ngx_str_t *model);


const ngx_http_llm_dialect_t  ngx_http_llm_azure = {
    ngx_string("azure"),
    ngx_null_string,
    ngx_null_string,
    ngx_string("api-key"),
    ngx_null_string,
    NGX_HTTP_LLM_TAKES_API_VERSION,
    ngx_http_llm_azure_uri,
    ngx_http_llm_azure_fits
};


/* operations that the older API has below a deployment */

static ngx_str_t  ngx_http_llm_azure_operations[] = {
    ngx_string("chat/completions"),
    ngx_string("completions"),
    ngx_string("embeddings"),
    ngx_string("images/generations"),
    ngx_string("images/edits"),
    ngx_string("audio/transcriptions"),
    ngx_string("audio/translations"),
    ngx_string("audio/speech"),
    ngx_null_string
};


static ngx_int_t
ngx_http_llm_azure_uri(ngx_pool_t *pool, ngx_http_llm_provider_t *provider,
    ngx_http_llm_call_t *call, ngx_str_t *uri)
{
    u_char     *p;
    ngx_str_t  *version;

    version = &provider->api_version;

    p = ngx_pnalloc(pool, sizeof("/openai/deployments/" "/" "?api-version=")
                          + 3 * call->model.len + call->operation.len
                          + version->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    uri->data = p;

    if (version->len == 0) {
        p = ngx_sprintf(p, "/openai/v1/%V", &call->operation);

    } else if (ngx_http_llm_azure_deployed(&call->operation)) {

        if (!ngx_http_llm_azure_fits(provider, &call->model)) {
            return NGX_ERROR;
        }

        p = ngx_sprintf(p, "/openai/deployments/");
        p = (u_char *) ngx_escape_uri(p, call->model.data, call->model.len,
                                      NGX_ESCAPE_URI_COMPONENT);
        p = ngx_sprintf(p, "/%V?api-version=%V", &call->operation, version);

    } else {
        p = ngx_sprintf(p, "/openai/%V?api-version=%V", &call->operation,
                        version);
    }

    uri->len = p - uri->data;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_llm_azure_deployed(ngx_str_t *operation)
{
    ngx_str_t  *name;

    for (name = ngx_http_llm_azure_operations; name->len; name++) {

        if (name->len == operation->len
            && ngx_memcmp(name->data, operation->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * A deployment is one segment of the path, with escaped slashes.  Returns 0 for
 * an empty name, and for a name with "." or ".." between slashes: a server that
 * unescapes slashes before it resolves dots would leave /openai/deployments/.
 */

static ngx_uint_t
ngx_http_llm_azure_fits(ngx_http_llm_provider_t *provider, ngx_str_t *model)
{
    size_t   len;
    u_char  *p, *last, *end;

    if (provider->api_version.len == 0) {
        return 1;
    }

    if (model->len == 0) {
        return 0;
    }

    p = model->data;
    last = p + model->len;

    for ( ;; ) {
        end = ngx_strlchr(p, last, '/');
        len = (end ? end : last) - p;

        if ((len == 1 && p[0] == '.')
            || (len == 2 && p[0] == '.' && p[1] == '.'))
        {
            return 0;
        }

        if (end == NULL) {
            return 1;
        }

        p = end + 1;
    }
}
