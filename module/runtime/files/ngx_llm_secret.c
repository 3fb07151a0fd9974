/*
 * Where secrets come from: the environment nginx was started with, the first
 * line of a file, or the configuration itself.  What is read here is printed
 * nowhere.
 */


#include <ngx_llm_secret.h>


#define NGX_LLM_SECRET_MAX  16384


static ngx_int_t ngx_llm_secret_env(ngx_conf_t *cf, ngx_str_t *name,
    ngx_str_t *secret);
static ngx_int_t ngx_llm_secret_file(ngx_conf_t *cf, ngx_str_t *path,
    ngx_str_t *secret);
static ngx_int_t ngx_llm_secret_check(ngx_conf_t *cf, const char *what,
    ngx_str_t *name, ngx_str_t *secret);


ngx_int_t
ngx_llm_secret_read(ngx_conf_t *cf, ngx_str_t *source, ngx_str_t *secret)
{
    ngx_str_t  name, none;

    if (source->len >= 4 && ngx_strncmp(source->data, "env:", 4) == 0) {
        name.data = source->data + 4;
        name.len = source->len - 4;
        return ngx_llm_secret_env(cf, &name, secret);
    }

    if (source->len >= 5 && ngx_strncmp(source->data, "file:", 5) == 0) {
        name.data = source->data + 5;
        name.len = source->len - 5;
        return ngx_llm_secret_file(cf, &name, secret);
    }

    if (source->len && source->data[0] == '$') {

        /* printed without its value, which may be a password */

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "variables are not supported in \"%V\", use "
                           "\"env:NAME\" or \"file:PATH\"",
                           (ngx_str_t *) cf->args->elts);
        return NGX_ERROR;
    }

    *secret = *source;
    ngx_str_null(&none);

    return ngx_llm_secret_check(cf, "literal secret", &none, secret);
}


static ngx_int_t
ngx_llm_secret_env(ngx_conf_t *cf, ngx_str_t *name, ngx_str_t *secret)
{
    size_t            len;
    char            **p;
    ngx_str_t        *keep;
    ngx_core_conf_t  *ccf;

    ngx_str_null(secret);

    /* whole in a master; without one, cut down to the names listed below */

    for (p = environ; p && *p; p++) {

        if (name->len && ngx_strncmp(*p, name->data, name->len) == 0
            && (*p)[name->len] == '=')
        {
            len = ngx_strlen(*p) - name->len - 1;

            secret->data = ngx_pnalloc(cf->pool, len + 1);
            if (secret->data == NULL) {
                return NGX_ERROR;
            }

            ngx_memcpy(secret->data, *p + name->len + 1, len + 1);
            secret->len = len;
            break;
        }
    }

    if (ngx_llm_secret_check(cf, "environment variable", name, secret)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* as "env NAME;" would do it: the next binary starts with it too */

    ccf = (ngx_core_conf_t *) ngx_get_conf(cf->cycle->conf_ctx,
                                           ngx_core_module);

    keep = ngx_array_push(&ccf->env);
    if (keep == NULL) {
        return NGX_ERROR;
    }

    *keep = *name;

    return NGX_OK;
}


static ngx_int_t
ngx_llm_secret_file(ngx_conf_t *cf, ngx_str_t *path, ngx_str_t *secret)
{
    u_char     *p;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_str_t   name;

    ngx_str_null(secret);

    name = *path;

    if (name.len == 0
        || ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK)
    {
        return ngx_llm_secret_check(cf, "file", path, secret);
    }

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &name);
        return NGX_ERROR;
    }

    secret->data = ngx_pnalloc(cf->pool, NGX_LLM_SECRET_MAX);
    if (secret->data == NULL) {
        ngx_close_file(fd);
        return NGX_ERROR;
    }

    n = ngx_read_fd(fd, secret->data, NGX_LLM_SECRET_MAX);

    ngx_close_file(fd);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", &name);
        return NGX_ERROR;
    }

    secret->len = (size_t) n;

    p = ngx_strlchr(secret->data, secret->data + n, LF);

    if (p) {
        secret->len = p - secret->data;
    }

    if (secret->len && secret->data[secret->len - 1] == CR) {
        secret->len--;
    }

    return ngx_llm_secret_check(cf, "file", path, secret);
}


static ngx_int_t
ngx_llm_secret_check(ngx_conf_t *cf, const char *what, ngx_str_t *name,
    ngx_str_t *secret)
{
    size_t  i;

    if (secret->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s \"%V\" is not set or empty", what, name);
        return NGX_ERROR;
    }

    /* it will stand in a header line */

    for (i = 0; i < secret->len; i++) {

        if (secret->data[i] < ' ' || secret->data[i] == 0x7f) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s \"%V\" has a control byte in it",
                               what, name);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
