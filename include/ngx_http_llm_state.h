/*
 * ngx_http_llm_state.h: requests that refer to state a provider has kept, a
 * response or a conversation, and the provider and key that made it.
 */

#ifndef _NGX_HTTP_LLM_STATE_H_INCLUDED_
#define _NGX_HTTP_LLM_STATE_H_INCLUDED_


#include <ngx_llm_cache_fleet.h>
#include <ngx_llm_digest.h>
#include <ngx_llm_state_table.h>


/* of http {} */

typedef struct {
    ngx_llm_state_table_t         *table;        /* NULL: no llm_pass */
    ngx_llm_digest_t              *digest;       /* the worker's */
    ngx_llm_digest_key_t           own;          /* of the digests of ids */
    ngx_llm_cache_fleet_t         *fleet;        /* in llm_redis, or NULL */
} ngx_http_llm_state_main_t;


/* flow/ngx_http_llm_state.c: the wait for Redis */

typedef struct {
    ngx_http_request_t            *request;
    ngx_llm_cache_fleet_ask_t      ask;
    ngx_event_t                    timer;        /* to the next call */
    ngx_uint_t                     calls;        /* of Redis, so far */
    u_char                         key[NGX_LLM_STATE_TABLE_KEY];
    unsigned                       waiting:1;    /* admission is suspended */
} ngx_http_llm_state_wait_t;


#endif /* _NGX_HTTP_LLM_STATE_H_INCLUDED_ */
