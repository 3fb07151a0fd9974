/*
 * ngx_llm_number.h: integers in any notation that JSON has for them.
 */

#ifndef _NGX_LLM_NUMBER_H_INCLUDED_
#define _NGX_LLM_NUMBER_H_INCLUDED_


#include <ngx_llm_codec.h>


/*
 * Sets *n to the value of the JSON value in p..last if it is an integer from 0
 * to 10^18 - 1: 4096, 4096.0 and 4.096e3 are the same.  Returns NGX_OK, or
 * NGX_ERROR if the value is another number or no number.
 */
ngx_int_t ngx_llm_number_integer(const u_char *p, const u_char *last,
    uint64_t *n);

/* Returns 1 if the JSON value in p..last is a number below zero. */
ngx_uint_t ngx_llm_number_negative(const u_char *p, const u_char *last);


#endif /* _NGX_LLM_NUMBER_H_INCLUDED_ */
