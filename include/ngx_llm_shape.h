/*
 * ngx_llm_shape.h: an answer in its other form, JSON as an event stream and an
 * event stream as JSON, for a client that has asked for that one.
 *
 * Both refuse what the other form could not say, or could say in two ways: a
 * refusal costs a call, an answer with something missing is wrong.  Nothing is
 * allocated; the input may be anything, of any length.
 */

#ifndef _NGX_LLM_SHAPE_H_INCLUDED_
#define _NGX_LLM_SHAPE_H_INCLUDED_


#include <ngx_llm_codec.h>


/* the operation of the request */
#define NGX_LLM_SHAPE_CHAT         0  /* chat/completions */
#define NGX_LLM_SHAPE_COMPLETIONS  1
#define NGX_LLM_SHAPE_RESPONSES    2


/*
 * Takes the next len bytes of the output, which are valid during this call
 * only.  Runs before ngx_llm_to_stream() or ngx_llm_to_document() returns, many
 * times.
 */
typedef void (*ngx_llm_shape_put_pt)(void *data, const u_char *p, size_t len);


/*
 * Converts a JSON answer to a text/event-stream that ends with [DONE].  usage
 * is 1 if the client has set stream_options.include_usage: the last chunk then
 * has the usage.
 *
 * Returns NGX_OK, or NGX_DECLINED if the answer is not complete or cannot be
 * expressed as a stream: the output is then void.  The output is about 5 times
 * as long as json, and at most (a head of a kilobyte, texts of a byte) 100
 * times.
 */
ngx_int_t ngx_llm_to_stream(ngx_uint_t kind, const u_char *json, size_t len,
    ngx_uint_t usage, ngx_llm_shape_put_pt put, void *data);

/*
 * The event stream sse, complete to its [DONE] (responses: to the event
 * response.completed), as one JSON answer.
 *
 * NGX_OK, or NGX_DECLINED as above.  Not longer than sse by more than a
 * kilobyte.
 */
ngx_int_t ngx_llm_to_document(ngx_uint_t kind, const u_char *sse, size_t len,
    ngx_llm_shape_put_pt put, void *data);


#endif /* _NGX_LLM_SHAPE_H_INCLUDED_ */
