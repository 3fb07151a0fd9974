/*
 * ngx_llm_codec.h: the types a codec file is written in.
 *
 * Codec files are pure: no pool, no clock, no I/O, no log.  With
 * -DNGX_LLM_STANDALONE they build without an nginx tree (unit tests, fuzzers);
 * inside nginx the same names come from nginx itself.
 */

#ifndef _NGX_LLM_CODEC_H_INCLUDED_
#define _NGX_LLM_CODEC_H_INCLUDED_


#if (NGX_LLM_STANDALONE)

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

typedef intptr_t        ngx_int_t;
typedef uintptr_t       ngx_uint_t;

typedef struct {
    size_t              len;
    u_char             *data;
} ngx_str_t;

#define NGX_OK          0
#define NGX_ERROR      -1
#define NGX_AGAIN      -2
#define NGX_DONE       -4
#define NGX_DECLINED   -5

#define ngx_inline      inline
#define ngx_string(str)     { sizeof(str) - 1, (u_char *) str }
#define ngx_null_string     { 0, NULL }
#define ngx_memzero(buf, n)       (void) memset(buf, 0, n)
#define ngx_max(val1, val2)       ((val1 < val2) ? (val2) : (val1))
#define ngx_min(val1, val2)       ((val1 > val2) ? (val2) : (val1))
#define ngx_memcpy(dst, src, n)   (void) memcpy(dst, src, n)
#define ngx_memcmp(s1, s2, n)     memcmp(s1, s2, n)
#define ngx_strlen(s)             strlen((const char *) s)

#else

#include <ngx_config.h>
#include <ngx_core.h>

#endif


#endif /* _NGX_LLM_CODEC_H_INCLUDED_ */
