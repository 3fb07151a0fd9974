/*
 * ngx_llm_quote.h: finds the credentials of an attempt in a response.
 */

#ifndef _NGX_LLM_QUOTE_H_INCLUDED_
#define _NGX_LLM_QUOTE_H_INCLUDED_


#include <ngx_llm_codec.h>


/* the first bytes of a secret that identify it, at most and at least */
#define NGX_LLM_QUOTE_MAX    64
#define NGX_LLM_QUOTE_MIN    16

/* secrets of one attempt: its key, and headers of the provider */
#define NGX_LLM_QUOTE_COUNT  4


typedef struct {
    u_char      *data;
    size_t       len;            /* bytes that are compared */
    size_t       anchor;         /* offset of the byte that is searched */
    unsigned     more:1;         /* the secret is longer */
} ngx_llm_quote_secret_t;


typedef struct {
    ngx_llm_quote_secret_t  secrets[NGX_LLM_QUOTE_COUNT];
    ngx_uint_t              n;
    size_t                  carried;
    u_char                  carry[NGX_LLM_QUOTE_MAX];  /* end of the last
                                                          span */
} ngx_llm_quote_t;


/* Forgets all secrets and the bytes that were fed. */
void ngx_llm_quote_init(ngx_llm_quote_t *quote);

/*
 * Adds a secret by reference.  An authentication scheme before it is skipped.
 * A placeholder, which a response may contain by chance, is not added: a value
 * of less than 8 bytes, or of less than 12 without a digit.
 */
void ngx_llm_quote_add(ngx_llm_quote_t *quote, u_char *data, size_t len);

/* Returns 1 if [p, last) contains one of the secrets. */
ngx_uint_t ngx_llm_quote_found(ngx_llm_quote_t *quote, u_char *p,
    u_char *last);

/*
 * The same for a body that comes in spans: a secret may lie across their
 * borders.  Returns 1 with the span that has its last byte.
 */
ngx_uint_t ngx_llm_quote_feed(ngx_llm_quote_t *quote, u_char *p,
    u_char *last);

/* Overwrites each secret in [p, last) by asterisks. */
void ngx_llm_quote_mask(ngx_llm_quote_t *quote, u_char *p, u_char *last);


#endif /* _NGX_LLM_QUOTE_H_INCLUDED_ */
