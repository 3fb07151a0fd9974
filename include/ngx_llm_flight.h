/*
 * ngx_llm_flight.h: the cache keys that are requested from providers right now,
 * in all workers.  Of the requests with one key the first one leads; the others
 * may wait for its response, and are woken when it has been stored, or when the
 * leader has ended without one.
 */

#ifndef _NGX_LLM_FLIGHT_H_INCLUDED_
#define _NGX_LLM_FLIGHT_H_INCLUDED_


#include <ngx_event.h>
#include <ngx_llm_zone.h>


#define NGX_LLM_FLIGHT_KEY   32      /* bytes */


typedef void (*ngx_llm_flight_handler_pt)(void *data);

typedef struct {                     /* a request, the caller sets the first */
    u_char                     *key;     /* lasts as long as the wait */
    ngx_llm_flight_handler_pt   handler;
    void                       *data;
    ngx_queue_t                 queue;
    uint32_t                    seen;    /* changes of the key's set */
    unsigned                    queued:1;
} ngx_llm_flight_wait_t;

typedef struct ngx_llm_flight_sh_s   ngx_llm_flight_sh_t;
typedef struct ngx_llm_flight_row_s  ngx_llm_flight_row_t;

typedef struct {                     /* of one generation, in one worker */
    ngx_llm_zone_t             *zone;
    ngx_llm_flight_sh_t        *sh;
    ngx_llm_flight_row_t       *rows;    /* of waits, one for each set */
    ngx_queue_t                 used;    /* rows that are not empty */
    ngx_queue_t                 woken;   /* waits */
    ngx_event_t                 tick;
    uint32_t                    seen;    /* changes of the whole table */
    ngx_msec_t                  youngest;  /* the last wait was queued */
    ngx_msec_t                  checked;   /* the leaders were */
} ngx_llm_flight_t;


/* while the configuration is read.  NULL: memory */
ngx_llm_flight_t *ngx_llm_flight_create(ngx_conf_t *cf, ngx_llm_zone_t *zone);

/* prefetches the place of a key that lead() takes soon */
void ngx_llm_flight_prefetch(ngx_llm_flight_t *flight, const u_char *key);

/*
 * NGX_OK: this worker leads, until ngx_llm_flight_land().  NGX_AGAIN: another
 * request does, of this worker or of another one, and the wait is queued as by
 * ngx_llm_flight_wait().  NGX_DECLINED: there is no place for the key, the
 * request goes alone.  longest: ms after which a leader is followed no more.
 */
ngx_int_t ngx_llm_flight_lead(ngx_llm_flight_t *flight,
    ngx_llm_flight_wait_t *wait, ngx_msec_t longest);

/*
 * Queues a wait again, from its handler.  The handler is called once, when the
 * key's leader has landed or died or an answer to the key has been stored: at
 * once where this worker did that, otherwise within 20 ms, or a sixteenth of
 * the wait so far, 100 ms at most.  It may be called without any of these.
 */
void ngx_llm_flight_wait(ngx_llm_flight_t *flight,
    ngx_llm_flight_wait_t *wait);

/* ends a wait before its handler is called; safe to call again */
void ngx_llm_flight_cancel(ngx_llm_flight_t *flight,
    ngx_llm_flight_wait_t *wait);

/* returns 1 if the key has a leader, and the leader's worker is alive */
ngx_uint_t ngx_llm_flight_led(ngx_llm_flight_t *flight, const u_char *key);

/* ends the lead: the leader has its answer, or none */
void ngx_llm_flight_land(ngx_llm_flight_t *flight, const u_char *key);

/* an answer to the key has been stored, by the leader or by another request */
void ngx_llm_flight_stored(ngx_llm_flight_t *flight, const u_char *key);


#endif /* _NGX_LLM_FLIGHT_H_INCLUDED_ */
