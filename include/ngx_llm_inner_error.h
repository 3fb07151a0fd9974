/*
 * ngx_llm_inner_error.h: the error of a 2xx as the body of an error response.
 */

#ifndef _NGX_LLM_INNER_ERROR_H_INCLUDED_
#define _NGX_LLM_INNER_ERROR_H_INCLUDED_


#include <ngx_llm_codec.h>


/* the output is longer than the input by this, at most */
#define NGX_LLM_INNER_ERROR_EXTRA  96


/*
 * data is a document, or the data of an event.
 *
 *   NGX_DONE      its error is an object of that name: it is the body itself;
 *   NGX_OK        *out is {"error":{"message","type","param","code"}}, written
 *                 to out->data (len + NGX_LLM_INNER_ERROR_EXTRA bytes), of the
 *                 error in a response or a choice, or of data itself;
 *   NGX_DECLINED  it has no error with a message.
 */
ngx_int_t ngx_llm_inner_error(const u_char *data, size_t len, ngx_str_t *out);


#endif /* _NGX_LLM_INNER_ERROR_H_INCLUDED_ */
