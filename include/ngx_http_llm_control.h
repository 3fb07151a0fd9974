/*
 * ngx_http_llm_control.h: what a client says about the cache, and is told.
 */

#ifndef _NGX_HTTP_LLM_CONTROL_H_INCLUDED_
#define _NGX_HTTP_LLM_CONTROL_H_INCLUDED_


#include <ngx_http_llm.h>


/* the directives of Cache-Control in a request (RFC 9111, 5.2.1) */

typedef struct {
    int64_t       max_age;           /* s; -1: not given */
    unsigned      no_cache:1;
    unsigned      no_store:1;
    unsigned      only_if_cached:1;
} ngx_http_llm_control_t;

/* of all its lines; what is not understood is passed over */
void ngx_http_llm_control(ngx_http_request_t *r,
    ngx_http_llm_control_t *control);

/* ms since 1970, as entries have it */
int64_t ngx_http_llm_control_now(void);

/* ms the entry has been there, 0 at least */
int64_t ngx_http_llm_control_age(const ngx_llm_entry_t *entry);

/* puts the filter that adds Cache-Status (RFC 9211) and Age into the chain */
ngx_int_t ngx_http_llm_control_init(ngx_conf_t *cf);


#endif /* _NGX_HTTP_LLM_CONTROL_H_INCLUDED_ */
