
/*
 * The simulator's shared types.  A request passes the files in this order:
 *
 *     module    finds the operation, feeds the body to the scanner
 *     request   the body's JSON, in pieces -> facts; "tokens=100" -> settings
 *     output    delay, header, then buffers as fast as the client takes them
 *     answer    what is in these buffers, one piece after another
 *     text      the pieces of chat, completions and responses
 */


#ifndef _NGX_HTTP_LLM_SIM_H_INCLUDED_
#define _NGX_HTTP_LLM_SIM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include "ngx_http_llm_sim_request.h"
#include "ngx_http_llm_sim_answer.h"


struct ngx_http_llm_sim_ctx_s {
    ngx_http_request_t              *request;
    const ngx_http_llm_sim_op_t     *op;       /* NULL: no such operation */
    const ngx_http_llm_sim_fake_t   *fake;     /* NULL: a good answer */
    ngx_http_llm_sim_scan_t          scan;
    ngx_http_llm_sim_facts_t         facts;
    ngx_http_llm_sim_settings_t      settings;
    ngx_http_llm_sim_error_t         error;

    u_char                           id[24];   /* hexadecimal */
    time_t                           created;
    ngx_str_t                        model;    /* echoed, JSON-escaped */
    ngx_str_t                        head;     /* of each stream chunk */
    ngx_str_t                        tail;     /* of each content chunk */
    ngx_uint_t                       items;    /* choices or inputs */
    ngx_uint_t                       tokens;   /* of a choice */
    ngx_uint_t                       dimensions;
    ngx_uint_t                       prompt;   /* prompt_tokens */

    /* the place in the answer */
    const ngx_http_llm_sim_step_t   *steps;    /* start of the list */
    const ngx_http_llm_sim_step_t   *step;
    ngx_uint_t                       index;    /* of the step's repetitions */
    ngx_uint_t                       item;     /* of the steps repeated */
    ngx_uint_t                       sequence; /* sequence_number */

    /* sending */
    size_t                           piece;    /* room any piece fits in */
    ngx_uint_t                       limit;    /* events of a burst, 0: many */
    ngx_uint_t                       sent;     /* events since the last gap */
    ngx_buf_t                        buf;
    ngx_event_t                      event;    /* delay, gap, next turn */

    unsigned                         stream:1;
    unsigned                         cut:1;       /* by max_tokens */
    unsigned                         started:1;   /* header is made */
    unsigned                         pause:1;     /* a gap is due */
    unsigned                         done:1;      /* last buffer is made */
    unsigned                         watched:1;   /* abort will be noticed */
};


extern ngx_module_t  ngx_http_llm_simulator_module;


/* output: takes the request over, and may finalize it before it returns */

void ngx_http_llm_sim_output_start(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);


#endif /* _NGX_HTTP_LLM_SIM_H_INCLUDED_ */
