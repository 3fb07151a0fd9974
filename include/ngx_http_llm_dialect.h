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
    ngx_http_llm_credential_t     *credential;
    ngx_str_t                      operation;    /* "chat/completions" */
    ngx_str_t                      model;        /* the provider's name of it,
                                                    UTF-8 that JSON needs no
                                                    escapes for; "": the body
                                                    has none and needs none */
    ngx_http_llm_edit_t            edits[4];     /* by rising pos */
    ngx_uint_t                     nedits;
} ngx_http_llm_call_t;


/* what of llm_provider has a meaning to some types only */

#define NGX_HTTP_LLM_TAKES_REGION       0x0001
#define NGX_HTTP_LLM_TAKES_PROJECT      0x0002
#define NGX_HTTP_LLM_TAKES_API_VERSION  0x0004
#define NGX_HTTP_LLM_TAKES_QUIRKS       0x0008
#define NGX_HTTP_LLM_TAKES_PATH         0x0010   /* in its endpoint */


struct ngx_http_llm_dialect_s {
    ngx_str_t                      type;         /* of the type directive */
    ngx_str_t                      endpoint;     /* default, up to the region
                                                    if there is a domain; "":
                                                    required */
    ngx_str_t                      domain;       /* what follows the region */
    ngx_str_t                      key_header;   /* where a key goes, */
    ngx_str_t                      key_prefix;   /* and what before it */
    ngx_uint_t                     takes;        /* NGX_HTTP_LLM_TAKES_... */

    /* writes the request's path and query; NGX_OK or NGX_ERROR */
    ngx_int_t                    (*uri)(ngx_pool_t *pool,
                                        ngx_http_llm_provider_t *provider,
                                        ngx_http_llm_call_t *call,
                                        ngx_str_t *uri);

    /*
     * 1: a model of that name can be asked for; 0: it would mean something
     * else in a URL.  NULL: any name can.
     */
    ngx_uint_t                   (*fits)(ngx_http_llm_provider_t *provider,
                                         ngx_str_t *model);
};


extern const ngx_http_llm_dialect_t  ngx_http_llm_openai;
extern const ngx_http_llm_dialect_t  ngx_http_llm_bedrock;
extern const ngx_http_llm_dialect_t  ngx_http_llm_gemini;
extern const ngx_http_llm_dialect_t  ngx_http_llm_anthropic;
extern const ngx_http_llm_dialect_t  ngx_http_llm_oci;
extern const ngx_http_llm_dialect_t  ngx_http_llm_azure;


#endif /* _NGX_HTTP_LLM_DIALECT_H_INCLUDED_ */
