/*
 * ngx_llm_time.h: times of RFC 3339 as text.
 */

#ifndef _NGX_LLM_TIME_H_INCLUDED_
#define _NGX_LLM_TIME_H_INCLUDED_


#include <ngx_llm_bucket.h>


/*
 * Reads a time such as "2027-01-01T00:00:00Z", with a fraction of a second, an
 * offset or lower case letters if present.  Sets *seconds to seconds since the
 * epoch, negative before 1970; a fraction is discarded, a leap second is the
 * first second of the next minute.  Returns NGX_OK, or NGX_ERROR if the text is
 * not a time, then *seconds is undefined.
 */
ngx_int_t ngx_llm_time_read(const u_char *text, size_t len, int64_t *seconds);


#endif /* _NGX_LLM_TIME_H_INCLUDED_ */
