/*
 * ngx_llm_media.h: pictures, recordings and files inside of a request body.
 */

#ifndef _NGX_LLM_MEDIA_H_INCLUDED_
#define _NGX_LLM_MEDIA_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_MEDIA_LEAST    512   /* bytes; a shorter string is text */


/*
 * Returns 1 if a string value that starts at p looks like a data URL or like
 * base64.  end is the end of the body, the string may be shorter.
 */
ngx_uint_t ngx_llm_media_is(const u_char *p, const u_char *end);

/*
 * Returns 1 if the whole string of len bytes, at least NGX_LLM_MEDIA_LEAST, has
 * no space behind its start, so that it can be encoded media.
 */
ngx_uint_t ngx_llm_media_encoded(const u_char *p, size_t len);

/* Returns the estimated tokens of a string value that is media. */
int64_t ngx_llm_media_tokens(const u_char *p, size_t len, const u_char *key,
    size_t key_len);

/* Returns the estimated tokens of a file of len bytes in a form. */
int64_t ngx_llm_media_file(size_t len);


#endif /* _NGX_LLM_MEDIA_H_INCLUDED_ */
