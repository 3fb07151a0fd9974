/*
 * ngx_llm_form.h: facts of a multipart/form-data body (RFC 7578, RFC 2046),
 * read in one strict pass.
 *
 * Nothing is allocated, logged, locked or kept between calls.  The body is
 * neither modified nor copied, and no other byte is read, so that it may be a
 * mapped file.  A form that two parsers could read differently is rejected:
 * the provider must find the same model name as the gateway.
 */

#ifndef _NGX_LLM_FORM_H_INCLUDED_
#define _NGX_LLM_FORM_H_INCLUDED_


#include <ngx_llm_json.h>


#define NGX_LLM_FORM_BOUNDARY   70    /* longest, by RFC 2046 */
#define NGX_LLM_FORM_PARTS      1024
#define NGX_LLM_FORM_HEADER     8192  /* bytes of one part's header block */


/*
 * Reads the value of a Content-Type.  Returns NGX_OK if it is
 * multipart/form-data with a valid boundary: *boundary points into type.
 * Returns NGX_DECLINED if it is another type, and NGX_ERROR if the boundary is
 * missing or invalid.
 */
ngx_int_t ngx_llm_form_boundary(const u_char *type, size_t len,
    ngx_str_t *boundary);

/*
 * Sets facts->form.  Returns NGX_OK if the body is a complete form: model and
 * stream are the values of its fields, members_pos is the first delimiter ("--"
 * and the boundary, delimiter_size bytes), outside counts all bytes but the
 * content of files, counts are 0.  Returns NGX_ERROR with *err set and the
 * other facts unspecified: INVALID if the body is not a form, else the first
 * field that occurs twice (DUPLICATE) or has a wrong value (TYPE).  boundary
 * must be valid, body may be NULL if len is 0.
 */
ngx_int_t ngx_llm_form_facts(const u_char *body, size_t len,
    const ngx_str_t *boundary, ngx_llm_facts_t *facts,
    ngx_llm_json_error_t *err);


#endif /* _NGX_LLM_FORM_H_INCLUDED_ */
