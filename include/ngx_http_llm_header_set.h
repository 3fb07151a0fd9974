/*
 * ngx_http_llm_header_set.h: headers that the module adds to a response.
 */

#ifndef _NGX_HTTP_LLM_HEADER_SET_H_INCLUDED_
#define _NGX_HTTP_LLM_HEADER_SET_H_INCLUDED_


#include <ngx_http_llm_list.h>
#include <ngx_llm_field.h>


/*
 * Sets a response header.  Headers of the same name in any case, which a
 * provider or another module has set, are replaced.  "name" is static, the
 * value is kept by reference.  A value with a control byte is not sent: the
 * returned header has a zero hash then.  Returns NULL if out of memory.
 */

static ngx_inline ngx_table_elt_t *
ngx_http_llm_header_set(ngx_http_request_t *r, const char *name, size_t len,
    ngx_str_t *value)
{
    ngx_table_elt_t        *h, *set;
    ngx_http_llm_cursor_t   cursor =
                              ngx_http_llm_list_start(&r->headers_out.headers);

    set = ngx_http_llm_list_find(&cursor, name, len);

    while (set && (h = ngx_http_llm_list_find(&cursor, name, len))) {
        h->hash = 0;
    }

    if (set == NULL) {
        set = ngx_list_push(&r->headers_out.headers);
        if (set == NULL) {
            return NULL;
        }

        ngx_memzero(set, sizeof(ngx_table_elt_t));
    }

    set->hash = 1;
    set->key.data = (u_char *) name;
    set->key.len = len;
    set->value = *value;

    if (ngx_llm_field_invalid(value->data, value->data + value->len)) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "control byte in the value of header \"%s\", header is "
                      "not sent", name);
        set->hash = 0;
    }

    return set;
}


#define ngx_http_llm_set_header(r, name, value)                               \
    (ngx_http_llm_header_set(r, name, sizeof(name) - 1, value)                \
     ? NGX_OK : NGX_ERROR)


#endif /* _NGX_HTTP_LLM_HEADER_SET_H_INCLUDED_ */
