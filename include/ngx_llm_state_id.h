/*
 * ngx_llm_state_id.h: the ids by which later requests refer to what a provider
 * has kept: the id of a response, and of its conversation.
 */

#ifndef _NGX_LLM_STATE_ID_H_INCLUDED_
#define _NGX_LLM_STATE_ID_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_STATE_ID_LEN  512    /* bytes, a longer id is ignored */


typedef struct {                     /* len is 0 if the id is absent */
    ngx_str_t   response;
    ngx_str_t   conversation;
} ngx_llm_state_ids_t;


/*
 * Finds the ids in a response of the Responses API: a JSON document, or the
 * events of a stream; both may be cut anywhere.  The ids point into data and
 * are not decoded; an id that is written with escapes is ignored.
 */
void ngx_llm_state_ids(u_char *data, size_t len, ngx_llm_state_ids_t *ids);

/*
 * Sets id to the id in a value of a request's previous_response_id or
 * conversation: a string, or an object with the string "id".  id->len is 0 if
 * the value has none.
 */
void ngx_llm_state_id(u_char *data, size_t len, ngx_str_t *id);


#endif /* _NGX_LLM_STATE_ID_H_INCLUDED_ */
