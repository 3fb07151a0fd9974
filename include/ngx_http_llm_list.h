/*
 * ngx_http_llm_list.h: header lists, to walk and to add to.
 */

#ifndef _NGX_HTTP_LLM_LIST_H_INCLUDED_
#define _NGX_HTTP_LLM_LIST_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/* a position in a list; headers that are added later may be skipped */

typedef struct {
    ngx_list_part_t  *rest;      /* following parts */
    ngx_table_elt_t  *next;
    ngx_table_elt_t  *last;      /* end of this part */
} ngx_http_llm_cursor_t;


/* the position before the first header */
#define ngx_http_llm_list_start(list)    { &(list)->part, NULL, NULL }


/* Returns the next header, or NULL. */

static ngx_inline ngx_table_elt_t *
ngx_http_llm_list_next(ngx_http_llm_cursor_t *cursor)
{
    while (cursor->next == cursor->last) {

        if (cursor->rest == NULL) {
            return NULL;
        }

        cursor->next = cursor->rest->elts;
        cursor->last = cursor->next + cursor->rest->nelts;
        cursor->rest = cursor->rest->next;
    }

    return cursor->next++;
}


/* Returns the next header of that name with a hash, or NULL. */

static ngx_inline ngx_table_elt_t *
ngx_http_llm_list_find(ngx_http_llm_cursor_t *cursor, const char *name,
    size_t len)
{
    ngx_table_elt_t  *h;

    for ( ;; ) {
        h = ngx_http_llm_list_next(cursor);

        if (h == NULL) {
            return NULL;
        }

        if (h->key.len == len && h->hash
            && ngx_strncasecmp(h->key.data, (u_char *) name, len) == 0)
        {
            return h;
        }
    }
}


/* Adds a header; the name is static, the value is kept by reference. */

static ngx_inline ngx_int_t
ngx_http_llm_list_add(ngx_list_t *list, const char *name, size_t len,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(list);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) name;
    h->key.len = len;
    h->value = *value;

    return NGX_OK;
}


#endif /* _NGX_HTTP_LLM_LIST_H_INCLUDED_ */
