/*
 * ngx_llm_json.h: facts of a JSON request body, read in one strict pass.
 *
 * Nothing is allocated, logged, locked or kept between calls.  The body is
 * neither modified nor copied, and no other byte is read, so that it may be a
 * mapped file.
 */

#ifndef _NGX_LLM_JSON_H_INCLUDED_
#define _NGX_LLM_JSON_H_INCLUDED_


#include <ngx_llm_facts.h>


#define NGX_LLM_JSON_DEPTH      256   /* containers, the outer one included */

/* ngx_llm_json_error_t.code */
#define NGX_LLM_JSON_INVALID    1     /* not JSON, or an ambiguous name */
#define NGX_LLM_JSON_DUPLICATE  2     /* a known member occurs twice */
#define NGX_LLM_JSON_TYPE       3     /* a known member has a wrong type */


typedef struct {
    ngx_uint_t  code;                /* NGX_LLM_JSON_... */
    const char *param;               /* static name of the member or NULL */
    const char *reason;              /* static text for a person, lower case */
    size_t      pos;                 /* offset of the byte that is wrong */
} ngx_llm_json_error_t;


typedef struct {
    size_t      pos;
    size_t      len;
} ngx_llm_json_span_t;


/*
 * Returns NGX_OK if the body is one JSON object (RFC 8259) and the facts are
 * complete.  Returns NGX_ERROR with *err set and the facts unspecified: INVALID
 * if the body is not JSON or if another parser could take a key for a known
 * one, else the first DUPLICATE or TYPE of the document.  body may be NULL if
 * len is 0.
 */
ngx_int_t ngx_llm_json_facts(const u_char *body, size_t len,
    ngx_llm_facts_t *facts, ngx_llm_json_error_t *err);

#if (NGX_LLM_STANDALONE)

/* As ngx_llm_json_facts(), with the scanner NGX_LLM_SCAN_... for tests. */
ngx_int_t ngx_llm_json_facts_with(ngx_uint_t level, const u_char *body,
    size_t len, ngx_llm_facts_t *facts, ngx_llm_json_error_t *err);

#endif

/*
 * Sets the spans of the body to cut so that an object without the two members
 * remains.  Either member may be absent.  Returns the number of spans, 0 to 2,
 * which are sorted by pos.  Sets *empty to 1 if no member remains.
 */
ngx_uint_t ngx_llm_json_cut(const ngx_llm_place_t *one,
    const ngx_llm_place_t *two, ngx_llm_json_span_t *spans,
    ngx_uint_t *empty);

/*
 * Writes src as the inside of a JSON string.  Returns the number of bytes, at
 * most 6 * len.  Only counts them if dst is NULL.  Each byte of invalid UTF-8
 * becomes \ufffd.
 */
size_t ngx_llm_json_escape(u_char *dst, const u_char *src, size_t len);


#endif /* _NGX_LLM_JSON_H_INCLUDED_ */
