/*
 * ngx_llm_api.c: the members and events that show an answer, by api.
 *
 * A new api is a table here; the members it refers to are read by the tables
 * of ngx_llm_members.c.
 */

#include <ngx_llm_api.h>


#define ngx_llm_api_type(name, means)                                         \
    { name, sizeof(name) - 1, 0, means }

#define ngx_llm_api_types(name, means)                                        \
    { name, sizeof(name) - 1, 1, means }

#define ngx_llm_api_no_more  { NULL, 0, 0, 0 }


static const ngx_llm_api_event_t  ngx_llm_api_responses_events[] = {
    ngx_llm_api_type("response.created", NGX_LLM_EVENT_KNOWN),
    ngx_llm_api_type("response.in_progress", NGX_LLM_EVENT_KNOWN),
    ngx_llm_api_type("response.queued", NGX_LLM_EVENT_KNOWN),
    ngx_llm_api_type("response.completed",
                     NGX_LLM_EVENT_OUTPUT|NGX_LLM_EVENT_END),
    ngx_llm_api_type("response.incomplete",
                     NGX_LLM_EVENT_OUTPUT|NGX_LLM_EVENT_END),
    ngx_llm_api_type("response.failed",
                     NGX_LLM_EVENT_FAILED|NGX_LLM_EVENT_END),
    ngx_llm_api_type("response.cancelled", NGX_LLM_EVENT_END),
    ngx_llm_api_types("response.", NGX_LLM_EVENT_OUTPUT),
    ngx_llm_api_no_more
};


static const ngx_llm_api_event_t  ngx_llm_api_messages_events[] = {
    ngx_llm_api_types("content_block_", NGX_LLM_EVENT_OUTPUT),
    ngx_llm_api_type("ping", NGX_LLM_EVENT_KNOWN),
    ngx_llm_api_type("message_start", NGX_LLM_EVENT_KNOWN),
    ngx_llm_api_type("message_delta", NGX_LLM_EVENT_KNOWN),
    ngx_llm_api_type("message_stop", NGX_LLM_EVENT_END),
    ngx_llm_api_no_more
};


static const ngx_llm_api_event_t  ngx_llm_api_images_events[] = {
    ngx_llm_api_type("image_generation.completed",
                     NGX_LLM_EVENT_OUTPUT|NGX_LLM_EVENT_END),
    ngx_llm_api_type("image_edit.completed",
                     NGX_LLM_EVENT_OUTPUT|NGX_LLM_EVENT_END),
    ngx_llm_api_types("image_generation.", NGX_LLM_EVENT_OUTPUT),
    ngx_llm_api_types("image_edit.", NGX_LLM_EVENT_OUTPUT),
    ngx_llm_api_no_more
};


static const ngx_llm_api_event_t  ngx_llm_api_transcript_events[] = {
    ngx_llm_api_type("transcript.text.done",
                     NGX_LLM_EVENT_OUTPUT|NGX_LLM_EVENT_END),
    ngx_llm_api_types("transcript.text.", NGX_LLM_EVENT_OUTPUT),
    ngx_llm_api_no_more
};


static const ngx_llm_api_event_t  ngx_llm_api_speech_events[] = {
    ngx_llm_api_type("speech.audio.delta", NGX_LLM_EVENT_OUTPUT),
    ngx_llm_api_type("speech.audio.done", NGX_LLM_EVENT_END),
    ngx_llm_api_no_more
};


const ngx_llm_api_t  ngx_llm_api_chat = {
    "chat", NGX_LLM_SEEN_CHOICES, 0,
    NGX_LLM_SEEN_DELTA|NGX_LLM_SEEN_FINISH,
    NGX_LLM_ENDS_CHOICES, 0, NULL
};


const ngx_llm_api_t  ngx_llm_api_completions = {
    "completions", NGX_LLM_SEEN_CHOICES, 0,
    NGX_LLM_SEEN_DELTA|NGX_LLM_SEEN_FINISH,
    NGX_LLM_ENDS_CHOICES, 0, NULL
};


const ngx_llm_api_t  ngx_llm_api_embeddings = {
    "embeddings", NGX_LLM_SEEN_DATA, 0, NGX_LLM_SEEN_DATA,
    NGX_LLM_ENDS_BODY, 0, NULL
};


/* a response that is made in the background has no output yet */

const ngx_llm_api_t  ngx_llm_api_responses = {
    "responses", NGX_LLM_SEEN_STATUS|NGX_LLM_SEEN_OUTPUT, 0, 0,
    NGX_LLM_ENDS_EVENT, 0, ngx_llm_api_responses_events
};


const ngx_llm_api_t  ngx_llm_api_messages = {
    "messages", NGX_LLM_SEEN_MESSAGE, 0, NGX_LLM_SEEN_STOP,
    NGX_LLM_ENDS_EVENT, 0, ngx_llm_api_messages_events
};


const ngx_llm_api_t  ngx_llm_api_moderations = {
    "moderations", 0, NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA,
    NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA,
    NGX_LLM_ENDS_BODY, 0, NULL
};


const ngx_llm_api_t  ngx_llm_api_images = {
    "images", 0, NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA, 0,
    NGX_LLM_ENDS_EACH, 0, ngx_llm_api_images_events
};


const ngx_llm_api_t  ngx_llm_api_models = {
    "models", 0, NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA,
    NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA,
    NGX_LLM_ENDS_BODY, 0, NULL
};


const ngx_llm_api_t  ngx_llm_api_rerank = {
    "rerank", 0, NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA,
    NGX_LLM_SEEN_RESULTS|NGX_LLM_SEEN_DATA,
    NGX_LLM_ENDS_BODY, 0, NULL
};


const ngx_llm_api_t  ngx_llm_api_transcriptions = {
    "transcriptions", NGX_LLM_SEEN_TEXT, 0, 0,
    NGX_LLM_ENDS_EVENT, NGX_LLM_PLAIN_TEXT, ngx_llm_api_transcript_events
};


const ngx_llm_api_t  ngx_llm_api_translations = {
    "translations", NGX_LLM_SEEN_TEXT, 0, 0,
    NGX_LLM_ENDS_EVENT, NGX_LLM_PLAIN_TEXT, ngx_llm_api_transcript_events
};


/* some servers have the audio in JSON */

const ngx_llm_api_t  ngx_llm_api_speech = {
    "speech", 0, NGX_LLM_SEEN_AUDIO|NGX_LLM_SEEN_DATA, 0,
    NGX_LLM_ENDS_EVENT, NGX_LLM_PLAIN_OCTETS, ngx_llm_api_speech_events
};


ngx_uint_t
ngx_llm_api_document(const ngx_llm_api_t *api, ngx_uint_t seen)
{
    return (seen & api->all) == api->all && (api->any == 0 || seen & api->any);
}


ngx_uint_t
ngx_llm_api_event(const ngx_llm_api_t *api, const u_char *type, size_t len)
{
    const ngx_llm_api_event_t  *ev;

    if (api->events == NULL) {
        return 0;
    }

    for (ev = api->events; ev->name; ev++) {

        if ((len == ev->len || (ev->prefix && len > ev->len))
            && ngx_memcmp(type, ev->name, ev->len) == 0)
        {
            return ev->means;
        }
    }

    return 0;
}
