/*
 * ngx_llm_form.h: what one strict pass over a multipart/form-data body finds
 * (RFC 7578, RFC 2046).
 *
 * Pure: nothing is allocated, logged, locked or kept between calls; the body
 * is neither modified nor copied, and no byte outside of it is read, so that
 * it may be a mapped file.  What two readers of forms could see differently
 * is refused: a name that is policed here must be the name that counts there.
 */

#ifndef _NGX_LLM_FORM_H_INCLUDED_
#define _NGX_LLM_FORM_H_INCLUDED_


#include <ngx_llm_json.h>


#define NGX_LLM_FORM_BOUNDARY   70    /* longest, by RFC 2046 */
#define NGX_LLM_FORM_PARTS      1024
#define NGX_LLM_FORM_HEADER     8192  /* bytes of one part's header block */


/*
 * The value of a Content-Type.  NGX_OK: multipart/form-data, *boundary points
 * into type and is valid.  NGX_DECLINED: another type.  NGX_ERROR: a form
 * without a valid boundary.
 */
ngx_int_t ngx_llm_form_boundary(const u_char *type, size_t len,
    ngx_str_t *boundary);

/*
 * Sets facts->form.  NGX_OK: the body is a whole form; model and stream are
 * those of its fields, members_pos is its first delimiter, "--" and the
 * boundary, delimiter_size bytes of it.  outside counts all but the content
 * of files, counts are 0.  NGX_ERROR: *err says why not, all other facts are
 * unspecified: INVALID if it is no form, wherever it breaks, else the first
 * field that is given twice (DUPLICATE) or is no such value (TYPE).  boundary
 * is valid, body may be NULL if len is 0.
 */
ngx_int_t ngx_llm_form_facts(const u_char *body, size_t len,
    const ngx_str_t *boundary, ngx_llm_facts_t *facts,
    ngx_llm_json_error_t *err);


#endif /* _NGX_LLM_FORM_H_INCLUDED_ */
