/*
 * ngx_llm_api.h: the wire formats of clients and providers, and the parts that
 * make a response an answer.  Each api is one constant table, which decides
 * in the answer reader and in all callers.
 */

#ifndef _NGX_LLM_API_H_INCLUDED_
#define _NGX_LLM_API_H_INCLUDED_


#include <ngx_llm_codec.h>


/* members that a document or the data of an event has */

#define NGX_LLM_SEEN_CHOICES   0x0001   /* choices, an array with elements */
#define NGX_LLM_SEEN_DATA      0x0002   /* data, the same */
#define NGX_LLM_SEEN_RESULTS   0x0004   /* results, the same */
#define NGX_LLM_SEEN_OUTPUT    0x0008   /* output, an array */
#define NGX_LLM_SEEN_ITEMS     0x0010   /* it has elements */
#define NGX_LLM_SEEN_STATUS    0x0020   /* status, and it is no failure */
#define NGX_LLM_SEEN_MESSAGE   0x0040   /* "type": "message" */
#define NGX_LLM_SEEN_TEXT      0x0080   /* text, a string */
#define NGX_LLM_SEEN_DELTA     0x0100   /* a choice with content of any kind */
#define NGX_LLM_SEEN_FINISH    0x0200   /* a choice with a finish reason */
#define NGX_LLM_SEEN_STOP      0x0400   /* delta.stop_reason */
#define NGX_LLM_SEEN_AUDIO     0x0800   /* audio */

/* one of these makes an answer, even if the response also has an error */

#define NGX_LLM_SEEN_FILLED                                                   \
    (NGX_LLM_SEEN_CHOICES|NGX_LLM_SEEN_DATA|NGX_LLM_SEEN_RESULTS              \
     |NGX_LLM_SEEN_ITEMS|NGX_LLM_SEEN_MESSAGE|NGX_LLM_SEEN_TEXT            \
     |NGX_LLM_SEEN_AUDIO)

/* the meaning of an event, by its type */

#define NGX_LLM_EVENT_KNOWN    1        /* it says nothing yet */
#define NGX_LLM_EVENT_OUTPUT   2        /* a part of the answer */
#define NGX_LLM_EVENT_END      4        /* the last event of the answer */
#define NGX_LLM_EVENT_FAILED   8        /* the answer has failed */

/* the end of a stream */

#define NGX_LLM_ENDS_CHOICES   0        /* all finish reasons, or [DONE] */
#define NGX_LLM_ENDS_EVENT     1        /* an event that is the last one */
#define NGX_LLM_ENDS_EACH      2        /* one for each of n */
#define NGX_LLM_ENDS_BODY      3        /* the end of the body */

/* a body that is neither JSON nor a stream */

#define NGX_LLM_PLAIN_TEXT     1
#define NGX_LLM_PLAIN_OCTETS   2


typedef struct {
    const char                *name;
    u_char                     len;
    u_char                     prefix;  /* 1: of longer types, too */
    u_char                     means;   /* NGX_LLM_EVENT_... */
} ngx_llm_api_event_t;


typedef struct {
    const char                *name;
    ngx_uint_t                 all;     /* a document has each of these, */
    ngx_uint_t                 any;     /* and one of these, if there are any */
    ngx_uint_t                 output;  /* output in a chunk without a type */
    ngx_uint_t                 ends;    /* NGX_LLM_ENDS_... */
    ngx_uint_t                 plain;   /* NGX_LLM_PLAIN_..., or 0 */
    const ngx_llm_api_event_t *events;  /* the first that fits; NULL: none */
} ngx_llm_api_t;


extern const ngx_llm_api_t  ngx_llm_api_chat;
extern const ngx_llm_api_t  ngx_llm_api_completions;
extern const ngx_llm_api_t  ngx_llm_api_embeddings;
extern const ngx_llm_api_t  ngx_llm_api_responses;
extern const ngx_llm_api_t  ngx_llm_api_messages;
extern const ngx_llm_api_t  ngx_llm_api_moderations;
extern const ngx_llm_api_t  ngx_llm_api_images;
extern const ngx_llm_api_t  ngx_llm_api_models;
extern const ngx_llm_api_t  ngx_llm_api_rerank;
extern const ngx_llm_api_t  ngx_llm_api_transcriptions;
extern const ngx_llm_api_t  ngx_llm_api_translations;
extern const ngx_llm_api_t  ngx_llm_api_speech;


/* returns 1 if a document with these members (NGX_LLM_SEEN_...) is an answer */
ngx_uint_t ngx_llm_api_document(const ngx_llm_api_t *api, ngx_uint_t seen);

/* returns NGX_LLM_EVENT_... of that type of event, or 0: it is unknown */
ngx_uint_t ngx_llm_api_event(const ngx_llm_api_t *api, const u_char *type,
    size_t len);


#endif /* _NGX_LLM_API_H_INCLUDED_ */
