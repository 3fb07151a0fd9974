/*
 * ngx_http_llm_dialect.h: how a kind of provider is spoken to, one const
 * struct for each; the surface picks one by the type directive.
 */

#ifndef _NGX_HTTP_LLM_DIALECT_H_INCLUDED_
#define _NGX_HTTP_LLM_DIALECT_H_INCLUDED_


#include <ngx_http_llm_provider.h>


/* bytes of the body to replace; len 0 inserts */

typedef struct {
    size_t                         pos;
    size_t                         len;
    ngx_str_t                      text;
} ngx_http_llm_edit_t;


/* one attempt's request, as the dialect wants it written */

typedef struct {
    ngx_http_llm_key_t            *key;
    ngx_str_t                      operation;    /* "chat/completions" */
    ngx_str_t                      model;        /* what this provider calls
                                                    it; JSON-safe ASCII */
    ngx_http_llm_edit_t            edits[4];     /* by rising pos */
    ngx_uint_t                     nedits;
} ngx_http_llm_call_t;


struct ngx_http_llm_dialect_s {
    ngx_str_t                      type;         /* of the type directive */
    ngx_str_t                      endpoint;     /* default; "": required */

    /* writes the request's path and query; NGX_OK or NGX_ERROR */
    ngx_int_t                    (*uri)(ngx_pool_t *pool,
                                        ngx_http_llm_provider_t *provider,
                                        ngx_http_llm_call_t *call,
                                        ngx_str_t *uri);

    /* key->head: lines that never change, the credential among them */
    ngx_int_t                    (*head)(ngx_conf_t *cf,
                                         ngx_http_llm_provider_t *provider,
                                         ngx_http_llm_key_t *key);
};


extern const ngx_http_llm_dialect_t  ngx_http_llm_openai;


#endif /* _NGX_HTTP_LLM_DIALECT_H_INCLUDED_ */
