/*
 * A JSON document of the configuration: prices, keys.  jansson reads it, piece
 * by piece; what goes wrong is said with the place in both files.
 */


#include "ngx_llm_json_file.h"

#include <jansson.h>


typedef struct {
    ngx_conf_t  *cf;
    ngx_str_t   *name;
    ngx_fd_t     fd;
    size_t       size;               /* read so far */
    size_t       max;
    ngx_err_t    err;
    unsigned     large:1;
} ngx_llm_json_file_t;


static json_t *ngx_llm_json_file_parse(ngx_llm_json_file_t *file,
    size_t flags, json_error_t *error);
static size_t ngx_llm_json_file_feed(void *buf, size_t size, void *data);
static json_t *ngx_llm_json_file_fail(ngx_llm_json_file_t *file,
    json_error_t *error);


json_t *
ngx_llm_json_file(ngx_conf_t *cf, ngx_str_t *name, size_t max,
    ngx_uint_t twice)
{
    json_t               *root;
    json_error_t          error;
    ngx_llm_json_file_t   file;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NULL;
    }

    ngx_memzero(&file, sizeof(ngx_llm_json_file_t));

    file.cf = cf;
    file.name = name;
    file.max = max;

    root = ngx_llm_json_file_parse(&file, JSON_REJECT_DUPLICATES, &error);

    if (root == NULL && twice && file.fd != NGX_INVALID_FILE && file.err == 0
        && json_error_code(&error) == json_error_duplicate_key)
    {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "a name twice in \"%V\", line %d: the last one "
                           "counts", name, error.line);

        root = ngx_llm_json_file_parse(&file, 0, &error);
    }

    if (file.fd == NGX_INVALID_FILE) {
        return NULL;
    }

    if (root == NULL || file.err || file.large) {
        json_decref(root);
        return ngx_llm_json_file_fail(&file, &error);
    }

    if (!json_is_object(root)) {
        json_decref(root);
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "no JSON object in \"%V\"", name);
        return NULL;
    }

    return root;
}


static json_t *
ngx_llm_json_file_parse(ngx_llm_json_file_t *file, size_t flags,
    json_error_t *error)
{
    json_t  *root;

    file->size = 0;
    file->fd = ngx_open_file(file->name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN,
                             0);

    if (file->fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, file->cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", file->name);
        return NULL;
    }

    root = json_load_callback(ngx_llm_json_file_feed, file, flags, error);

    if (ngx_close_file(file->fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, file->cf->log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", file->name);
    }

    return root;
}


/* for jansson: the next bytes of the file; what goes wrong is remembered */

static size_t
ngx_llm_json_file_feed(void *buf, size_t size, void *data)
{
    ngx_llm_json_file_t  *file = data;

    ssize_t  n;

    if (file->err || file->large) {
        return 0;
    }

    n = ngx_read_fd(file->fd, buf, size);

    if (n == -1) {
        file->err = ngx_errno;
        return 0;
    }

    file->size += n;

    if (file->size > file->max) {
        file->large = 1;
        return 0;
    }

    return n;
}


static json_t *
ngx_llm_json_file_fail(ngx_llm_json_file_t *file, json_error_t *error)
{
    char  *quote;

    if (file->err) {
        ngx_conf_log_error(NGX_LOG_EMERG, file->cf, file->err,
                           ngx_read_fd_n " \"%V\" failed", file->name);
        return NULL;
    }

    if (file->large) {
        ngx_conf_log_error(NGX_LOG_EMERG, file->cf, 0,
                           "\"%V\" is larger than %uz bytes", file->name,
                           file->max);
        return NULL;
    }

    quote = strstr(error->text, " near ");

    if (quote) {
        *quote = '\0';
    }

    ngx_conf_log_error(NGX_LOG_EMERG, file->cf, 0,
                       "invalid JSON in \"%V\", line %d, column %d: %s",
                       file->name, error->line, error->column, error->text);

    return NULL;
}
