/*
 * ngx_llm_flight.h: who is asking for what right now, over all workers: of
 * requests with one key the first one leads, and others may wait for it.
 */

#ifndef _NGX_LLM_FLIGHT_H_INCLUDED_
#define _NGX_LLM_FLIGHT_H_INCLUDED_


#include <ngx_llm_zone.h>


#define NGX_LLM_FLIGHT_KEY   32      /* bytes */


typedef struct ngx_llm_flight_sh_s  ngx_llm_flight_sh_t;

typedef struct {                     /* of one generation */
    ngx_llm_zone_t       *zone;
    ngx_llm_flight_sh_t  *sh;
} ngx_llm_flight_t;


/* while the configuration is read.  NULL: memory */
ngx_llm_flight_t *ngx_llm_flight_create(ngx_conf_t *cf, ngx_llm_zone_t *zone);

/* a key that is asked for soon: its place is fetched from memory until then */
void ngx_llm_flight_prefetch(ngx_llm_flight_t *flight, const u_char *key);

/*
 * NGX_OK: this worker leads, until ngx_llm_flight_land().  NGX_AGAIN: another
 * request does, of this worker or of another one.  NGX_DECLINED: there is no
 * place for the key, it goes alone.  longest: ms after which a leader is
 * followed no more.
 */
ngx_int_t ngx_llm_flight_lead(ngx_llm_flight_t *flight, const u_char *key,
    ngx_msec_t longest);

/* 1: somebody leads, whose worker is alive */
ngx_uint_t ngx_llm_flight_led(ngx_llm_flight_t *flight, const u_char *key);

/* the leader has its answer, or none */
void ngx_llm_flight_land(ngx_llm_flight_t *flight, const u_char *key);


#endif /* _NGX_LLM_FLIGHT_H_INCLUDED_ */
