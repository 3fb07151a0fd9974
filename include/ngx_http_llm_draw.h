/*
 * ngx_http_llm_draw.h: the numbers of rendezvous hashing, for targets and keys.
 */

#ifndef _NGX_HTTP_LLM_DRAW_H_INCLUDED_
#define _NGX_HTTP_LLM_DRAW_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


/*
 * Returns the number that a candidate with this seed draws for a hash: of
 * several candidates the one with the highest number is chosen.  The function
 * is the finalizer of SplitMix64 (Steele, Lea, Flood: OOPSLA 2014).
 */

static ngx_inline uint64_t
ngx_http_llm_draw(uint64_t hash, uint64_t seed)
{
    uint64_t  x;

    x = hash ^ seed;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;

    return x ^ x >> 31;
}


#endif /* _NGX_HTTP_LLM_DRAW_H_INCLUDED_ */
