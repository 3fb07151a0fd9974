/*
 * ngx_llm_error_read.h: what an error body says, found in every shape that
 * providers give it; between ngx_llm_error_read.c, which reads, and
 * ngx_llm_error_class.c, which judges.
 */

#ifndef _NGX_LLM_ERROR_READ_H_INCLUDED_
#define _NGX_LLM_ERROR_READ_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_ERROR_READ_WORDS  16    /* codes read of one error */
#define NGX_LLM_ERROR_READ_WORD   128   /* bytes of a code */
#define NGX_LLM_ERROR_READ_TEXT   2048  /* bytes of a message */


typedef struct {                      /* decoded, lower case, no final NUL */
    size_t               len;         /* 0: none */
    u_char               data[NGX_LLM_ERROR_READ_WORD];
} ngx_llm_error_read_word_t;


typedef struct {
    ngx_uint_t           status;      /* the error's own, 400-599; 0: none */
    ngx_uint_t           original;    /* of the model behind a 424, same */
    unsigned             daily:1;     /* a quota per day is used up */
    unsigned             flagged:1;   /* the request, by moderation */

    ngx_uint_t           words_n;
    size_t               text_len;    /* 0: no message */

    /*
     * What the counts above do not cover is not set.  A word is a code, type
     * or reason, without what AWS puts around it: "throttling" is
     * "com.amazonaws.bedrock#ThrottlingException:http://...".
     */

    ngx_llm_error_read_word_t  delay;  /* RetryInfo's, a duration */
    ngx_llm_error_read_word_t  words[NGX_LLM_ERROR_READ_WORDS];
    u_char                     text[NGX_LLM_ERROR_READ_TEXT]; /* lower case */
} ngx_llm_error_read_said_t;


/*
 * body is complete, and may be NULL if len is 0.  *said is set in any case; of
 * what is not JSON all is zero.  Longer words and messages are cut.
 */
void ngx_llm_error_read(ngx_llm_error_read_said_t *said, const u_char *body,
    size_t len);

/*
 * What is behind the last place where the phrase is in text, or NULL.  text
 * is not NULL.
 */
const u_char *ngx_llm_error_read_find(const u_char *text, const u_char *last,
    const char *phrase);


#endif /* _NGX_LLM_ERROR_READ_H_INCLUDED_ */
