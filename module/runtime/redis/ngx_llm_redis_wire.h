/*
 * ngx_llm_redis_wire.h: bytes to and from the protocol of Redis, for the
 * files under ngx_llm_redis.c; no socket, no clock.
 */

#ifndef _NGX_LLM_REDIS_WIRE_H_INCLUDED_
#define _NGX_LLM_REDIS_WIRE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <hiredis/hiredis.h>


/* what an error reply says about the server, not about the command */

#define NGX_LLM_REDIS_FAULT    0x01  /* it cannot serve just now */
#define NGX_LLM_REDIS_DROP     0x02  /* nor will it over this connection */
#define NGX_LLM_REDIS_WRITE    0x04  /* it does not write */
#define NGX_LLM_REDIS_SCRIPT   0x10  /* it rejects scripts, or what they call */
#define NGX_LLM_REDIS_CLUSTER  0x08  /* it is one node of many */


typedef struct {
    u_char                      *start;    /* heap; to be sent from pos */
    u_char                      *pos;
    u_char                      *last;
    u_char                      *end;
    redisReader                 *reader;
    redisReplyObjectFunctions    functions;
    size_t                       partial;  /* bytes of a reply so far */
    size_t                       limit;    /* of them */
} ngx_llm_redis_wire_t;


typedef struct {                     /* why it does not work, for the log */
    ngx_str_t                    why;
    ngx_err_t                    err;
    u_char                       text[128];
} ngx_llm_redis_failure_t;


/* empty, whatever was in it; limit: bytes of a reply.  NGX_OK or NGX_ERROR
   (no memory) */
ngx_int_t ngx_llm_redis_wire_open(ngx_llm_redis_wire_t *wire, size_t limit);
void ngx_llm_redis_wire_close(ngx_llm_redis_wire_t *wire);

/* room for len bytes at wire->last, which the caller moves; NULL: memory */
u_char *ngx_llm_redis_wire_room(ngx_llm_redis_wire_t *wire, size_t len,
    ngx_log_t *log);

/* Return the maximum size of a bulk string, and the end of a written one. */
size_t ngx_llm_redis_wire_size(size_t len);
u_char *ngx_llm_redis_wire_word(u_char *p, u_char *data, size_t len);

/* a whole command of n words, copied.  NGX_OK or NGX_ERROR (no memory) */
ngx_int_t ngx_llm_redis_wire_command(ngx_llm_redis_wire_t *wire,
    ngx_str_t *words, ngx_uint_t n, ngx_log_t *log);

/* n bytes were sent */
void ngx_llm_redis_wire_sent(ngx_llm_redis_wire_t *wire, size_t n);

/* NGX_OK, or NGX_ERROR: no memory, or a reply that is too long */
ngx_int_t ngx_llm_redis_wire_feed(ngx_llm_redis_wire_t *wire, u_char *data,
    size_t len);

/* NGX_OK: *reply, to be freed; NGX_AGAIN: not yet; NGX_ERROR: no protocol */
ngx_int_t ngx_llm_redis_wire_reply(ngx_llm_redis_wire_t *wire,
    redisReply **reply);

/* the first word of an error, wherever a script's error has it; in reply */
void ngx_llm_redis_wire_code(redisReply *reply, ngx_str_t *code);

/* NGX_LLM_REDIS_..., or 0: it is about the command */
ngx_uint_t ngx_llm_redis_wire_fault(ngx_str_t *code);

/* why is kept in blame; detail may be NULL, its odd bytes become "?" */
void ngx_llm_redis_wire_failure(ngx_llm_redis_failure_t *failure, ngx_err_t err,
    const char *why, ngx_str_t *detail);


#endif /* _NGX_LLM_REDIS_WIRE_H_INCLUDED_ */
