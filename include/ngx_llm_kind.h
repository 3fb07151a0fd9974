/*
 * ngx_llm_kind.h: the kind of a response's body, by its first bytes, then by
 * its Content-Type.
 */

#ifndef _NGX_LLM_KIND_H_INCLUDED_
#define _NGX_LLM_KIND_H_INCLUDED_


#include <ngx_llm_answer.h>


/* in addition to NGX_LLM_ANSWER_... */

#define NGX_LLM_KIND_PLAIN     3     /* text or octets, as the api has them */
#define NGX_LLM_KIND_NONE      4     /* no answer of this api */
#define NGX_LLM_KIND_BLANK     5     /* undecided: more bytes are needed */


/*
 * p are the first bytes of the body.  stream is 1 if the client requested one:
 * documents without a label of JSON are lines then.
 */
ngx_uint_t ngx_llm_kind(const ngx_llm_api_t *api, const ngx_str_t *type,
    ngx_uint_t stream, const u_char *p, size_t len);

/* returns 1 if that Content-Type is not looked behind: audio and octets */
ngx_uint_t ngx_llm_kind_octets(const ngx_llm_api_t *api,
    const ngx_str_t *type);


#endif /* _NGX_LLM_KIND_H_INCLUDED_ */
