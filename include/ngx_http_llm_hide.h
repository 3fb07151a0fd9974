/*
 * ngx_http_llm_hide.h: response headers of a provider that do not reach the
 * client.  Built from the default list, llm_hide_header and llm_show_header.
 */

#ifndef _NGX_HTTP_LLM_HIDE_H_INCLUDED_
#define _NGX_HTTP_LLM_HIDE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


typedef struct {
    ngx_array_t  *hidden;        /* ngx_str_t, of llm_hide_header, or UNSET */
    ngx_array_t  *shown;         /* ngx_str_t, of llm_show_header, or UNSET */
    ngx_hash_t    names;         /* "" for a hidden name, "s" for a shown one */
    ngx_str_t    *shown_prefix;  /* lower case, up to an empty one */
    ngx_str_t    *hidden_prefix; /* likewise, after shown_prefix */
} ngx_http_llm_hide_t;


/* Returns 1 if one of the prefixes begins the name. */

static ngx_inline ngx_uint_t
ngx_http_llm_hide_prefix(const ngx_str_t *prefix, const u_char *name,
    size_t len)
{
    for ( /* void */ ; prefix->len; prefix++) {
        if (len >= prefix->len
            && ngx_memcmp(name, prefix->data, prefix->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* Returns 1 if the header of a provider is hidden. */

static ngx_inline ngx_uint_t
ngx_http_llm_hide(ngx_http_llm_hide_t *hide, ngx_table_elt_t *h)
{
    u_char  *found;

    found = ngx_hash_find(&hide->names, h->hash, h->lowcase_key, h->key.len);

    if (found) {
        return *found != 's';
    }

    return !ngx_http_llm_hide_prefix(hide->shown_prefix, h->lowcase_key,
                                     h->key.len)
           && ngx_http_llm_hide_prefix(hide->hidden_prefix, h->lowcase_key,
                                       h->key.len);
}


#endif /* _NGX_HTTP_LLM_HIDE_H_INCLUDED_ */
