/*
 * ngx_http_llm_type.h: what an answer's Content-Type says of its form.
 */

#ifndef _NGX_HTTP_LLM_TYPE_H_INCLUDED_
#define _NGX_HTTP_LLM_TYPE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


static ngx_inline ngx_uint_t
ngx_http_llm_type_stream(const ngx_str_t *type)
{
    return type->len >= sizeof("text/event-stream") - 1
           && ngx_strncasecmp(type->data, (u_char *) "text/event-stream",
                              sizeof("text/event-stream") - 1)
              == 0;
}


/* application/problem+json is JSON, too; most are what is asked first */

static ngx_inline ngx_uint_t
ngx_http_llm_type_json(const ngx_str_t *type)
{
    if (type->len >= sizeof("application/json") - 1
        && ngx_memcmp(type->data, "application/json",
                      sizeof("application/json") - 1)
           == 0)
    {
        return 1;
    }

    return type->len
           && ngx_strlcasestrn(type->data, type->data + type->len,
                               (u_char *) "json", 4 - 1)
              != NULL;
}


#endif /* _NGX_HTTP_LLM_TYPE_H_INCLUDED_ */
