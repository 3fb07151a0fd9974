/*
 * ngx_llm_to_document.c: converts an event stream to the equal JSON answer.
 *
 * The first pass checks that the stream is complete and finds the values that
 * all chunks have in common.  Then, for each choice, one pass per text or list
 * joins its pieces without decoding them.  Only places in the stream are
 * stored; the number of passes is bounded.
 */

#include "ngx_llm_shape_stream.h"


typedef struct {
    ngx_llm_shape_stream_t  in;

    /* of the whole stream */

    ngx_llm_shape_span_t    top[ngx_llm_shape_top_n];
    ngx_llm_shape_extras_t  extras;
    ngx_uint_t              n;       /* choices, if none is missing */

    /* of the choice being written */

    u_char                  ranks[ngx_llm_shape_parts_n];  /* bits, by rank */
    ngx_llm_shape_span_t    part[ngx_llm_shape_parts_n];
    ngx_llm_shape_extras_t  choice_extras;
    ngx_llm_shape_extras_t  message_extras;

    ngx_uint_t              calls;   /* begun so far */
    unsigned                bare:1;  /* they have no index */
    unsigned                args:1;  /* the last one has arguments */
    ngx_llm_shape_span_t    id;      /* of the last one */

    ngx_llm_shape_out_t     out;
} ngx_llm_to_document_t;


static ngx_int_t ngx_llm_to_document_response(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_survey(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_common(ngx_llm_to_document_t *f);
static void ngx_llm_to_document_put_common(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_choice(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_gather(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_message(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_calls(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_call(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *call);
static ngx_int_t ngx_llm_to_document_begin_call(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *call);
static ngx_int_t ngx_llm_to_document_end_call(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_function(ngx_llm_to_document_t *f);
static void ngx_llm_to_document_arguments(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *arguments);
static ngx_int_t ngx_llm_to_document_logprobs(ngx_llm_to_document_t *f);
static ngx_int_t ngx_llm_to_document_join(ngx_llm_to_document_t *f,
    ngx_uint_t part, const char *before);
static void ngx_llm_to_document_piece(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *s, ngx_uint_t *written);


ngx_int_t
ngx_llm_to_document(ngx_uint_t kind, const u_char *sse, size_t len,
    ngx_llm_shape_put_pt put, void *data)
{
    ngx_llm_to_document_t  f;

    if (len == 0) {
        return NGX_DECLINED;
    }

    ngx_llm_shape_stream_init(&f.in, (kind == NGX_LLM_SHAPE_CHAT)
                                     ? ngx_llm_shape_delta : ngx_llm_shape_text,
                              sse, len);
    f.n = 0;
    f.extras.n = 0;
    ngx_memzero(f.top, sizeof(f.top));

    f.out.put = put;
    f.out.data = data;
    f.out.len = 0;

    if (kind == NGX_LLM_SHAPE_RESPONSES) {
        return ngx_llm_to_document_response(&f);
    }

    if (ngx_llm_to_document_survey(&f) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_llm_to_document_put_common(&f);

    for (f.in.index = 0; f.in.index < f.n; f.in.index++) {
        if (ngx_llm_to_document_choice(&f) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    ngx_llm_shape_put_text(&f.out, "]");

    if (ngx_llm_shape_rank(&f.top[ngx_llm_shape_usage])
        == NGX_LLM_SHAPE_VALUE)
    {
        ngx_llm_shape_put_member(&f.out, ",\"usage\":",
                                 &f.top[ngx_llm_shape_usage]);
    }

    ngx_llm_shape_put_extras(&f.out, &f.extras);
    ngx_llm_shape_put_text(&f.out, "}");
    ngx_llm_shape_flush(&f.out);

    return NGX_OK;
}


/* its last event has all of the answer */

static ngx_int_t
ngx_llm_to_document_response(ngx_llm_to_document_t *f)
{
    size_t                n;
    ngx_int_t             rc;
    ngx_str_t             data;
    ngx_llm_shape_span_t  event[2], response;

    response.start = NULL;

    if (ngx_llm_shape_stream_rewind(&f->in) != NGX_OK) {
        return NGX_DECLINED;
    }

    for ( ;; ) {
        rc = ngx_llm_shape_stream_event(&f->in, &data);

        if (rc != NGX_OK) {
            break;
        }

        if (response.start != NULL) {
            rc = ngx_llm_shape_stream_done(&f->in, &data);
            break;
        }

        if (ngx_llm_shape_read_event(&f->in.chunk, data.data, data.len, event)
            != NGX_OK
            || ngx_llm_shape_rank(&event[0]) != NGX_LLM_SHAPE_VALUE
            || ngx_llm_shape_is(&event[0], "\"error\"")
            || ngx_llm_shape_is(&event[0], "\"response.failed\"")
            || ngx_llm_shape_is(&event[0], "\"response.incomplete\""))
        {
            return NGX_DECLINED;
        }

        /* the event's name, cut to what the framer keeps, is its type */

        n = f->in.sse.name_len;

        if (n && ((size_t) (event[0].end - event[0].start) < n + 2
                  || ngx_memcmp(event[0].start + 1, f->in.sse.name, n) != 0
                  || (n < NGX_LLM_SSE_NAME && event[0].start[n + 1] != '"')))
        {
            return NGX_DECLINED;
        }

        if (ngx_llm_shape_is(&event[0], "\"response.completed\"")) {
            response = event[1];

            if (ngx_llm_shape_rank(&response) != NGX_LLM_SHAPE_VALUE) {
                return NGX_DECLINED;
            }
        }
    }

    if (response.start == NULL || rc != NGX_DONE) {
        return NGX_DECLINED;
    }

    ngx_llm_shape_put_value(&f->out, &response);
    ngx_llm_shape_flush(&f->out);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_document_survey(ngx_llm_to_document_t *f)
{
    ngx_int_t  rc;

    if (ngx_llm_shape_stream_rewind(&f->in) != NGX_OK) {
        return NGX_DECLINED;
    }

    while ((rc = ngx_llm_shape_stream_chunk(&f->in)) == NGX_OK) {

        if (ngx_llm_to_document_common(f) != NGX_OK) {
            return NGX_DECLINED;
        }

        while (f->in.choices) {
            rc = ngx_llm_shape_stream_choice(&f->in);

            if (rc == NGX_DONE) {
                break;
            }

            if (rc != NGX_OK) {
                return NGX_DECLINED;
            }

            if (f->in.choice.index >= f->n) {
                f->n = f->in.choice.index + 1;
            }
        }
    }

    if (rc != NGX_DONE || f->n == 0) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_document_common(ngx_llm_to_document_t *f)
{
    ngx_uint_t           i, rule;
    ngx_llm_shape_span_t  *top;

    top = f->in.chunk.top;

    if (!ngx_llm_shape_is(&top[ngx_llm_shape_object],
                          (f->in.form == ngx_llm_shape_delta)
                          ? "\"chat.completion.chunk\""
                          : "\"text_completion\"")
        || ngx_llm_shape_rank(&top[ngx_llm_shape_choices])
           != NGX_LLM_SHAPE_VALUE)
    {
        return NGX_DECLINED;
    }

    for (i = 0; i < ngx_llm_shape_choices; i++) {
        rule = (i == ngx_llm_shape_id || i == ngx_llm_shape_model)
               ? NGX_LLM_SHAPE_SAME : NGX_LLM_SHAPE_LAST;

        if (ngx_llm_shape_keep(&f->top[i], &top[i], rule) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return ngx_llm_shape_keep_extras(&f->extras, &f->in.chunk.extras);
}


static void
ngx_llm_to_document_put_common(ngx_llm_to_document_t *f)
{
    ngx_llm_shape_span_t  *top;

    top = f->top;

    ngx_llm_shape_put_text(&f->out, (f->in.form == ngx_llm_shape_delta)
                                    ? "{\"object\":\"chat.completion\""
                                    : "{\"object\":\"text_completion\"");

    ngx_llm_shape_put_member(&f->out, ",\"id\":", &top[ngx_llm_shape_id]);
    ngx_llm_shape_put_member(&f->out, ",\"created\":",
                             &top[ngx_llm_shape_created]);
    ngx_llm_shape_put_member(&f->out, ",\"model\":", &top[ngx_llm_shape_model]);
    ngx_llm_shape_put_member(&f->out, ",\"system_fingerprint\":",
                             &top[ngx_llm_shape_fingerprint]);
    ngx_llm_shape_put_member(&f->out, ",\"service_tier\":",
                             &top[ngx_llm_shape_tier]);

    ngx_llm_shape_put_text(&f->out, ",\"choices\":[");
}


static ngx_int_t
ngx_llm_to_document_choice(ngx_llm_to_document_t *f)
{
    ngx_llm_shape_span_t  *part;

    if (ngx_llm_to_document_gather(f) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_llm_shape_put_text(&f->out, f->in.index ? ",{\"index\":"
                                            : "{\"index\":");
    ngx_llm_shape_put_number(&f->out, f->in.index);

    if (f->in.form == ngx_llm_shape_delta) {

        if (ngx_llm_to_document_message(f) != NGX_OK) {
            return NGX_DECLINED;
        }

    } else if (ngx_llm_to_document_join(f, ngx_llm_shape_text, ",\"text\":")
               != NGX_OK)
    {
        return NGX_DECLINED;
    }

    if (ngx_llm_to_document_logprobs(f) != NGX_OK) {
        return NGX_DECLINED;
    }

    part = f->part;

    ngx_llm_shape_put_member(&f->out, ",\"finish_reason\":",
                             &part[ngx_llm_shape_finish_reason]);
    ngx_llm_shape_put_member(&f->out, ",\"stop_reason\":",
                             &part[ngx_llm_shape_stop_reason]);
    ngx_llm_shape_put_member(&f->out, ",\"native_finish_reason\":",
                             &part[ngx_llm_shape_native_reason]);
    ngx_llm_shape_put_member(&f->out, ",\"matched_stop\":",
                             &part[ngx_llm_shape_matched_stop]);
    ngx_llm_shape_put_extras(&f->out, &f->choice_extras);
    ngx_llm_shape_put_text(&f->out, "}");

    return NGX_OK;
}


/* Finds the parts of the choice, and its values that are not joined. */

static ngx_int_t
ngx_llm_to_document_gather(ngx_llm_to_document_t *f)
{
    ngx_int_t                rc;
    ngx_uint_t               i;
    ngx_llm_shape_choice_t  *c;

    c = &f->in.choice;
    f->choice_extras.n = 0;
    f->message_extras.n = 0;
    ngx_memzero(f->ranks, sizeof(f->ranks));
    ngx_memzero(f->part, sizeof(f->part));

    if (ngx_llm_shape_stream_rewind(&f->in) != NGX_OK) {
        return NGX_DECLINED;
    }

    while ((rc = ngx_llm_shape_stream_part(&f->in, ngx_llm_shape_index))
           == NGX_OK)
    {

        for (i = 0; i < ngx_llm_shape_parts_n; i++) {
            f->ranks[i] |= 1 << ngx_llm_shape_rank(&c->part[i]);

            if ((i == ngx_llm_shape_role || i >= ngx_llm_shape_finish_reason)
                && ngx_llm_shape_keep(&f->part[i], &c->part[i],
                                      NGX_LLM_SHAPE_SAME)
                   != NGX_OK)
            {
                return NGX_DECLINED;
            }
        }

        if (ngx_llm_shape_keep_extras(&f->choice_extras, &c->extras) != NGX_OK
            || ngx_llm_shape_keep_extras(&f->message_extras,
                                         &c->message_extras)
               != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    if (rc != NGX_DONE
        || ngx_llm_shape_rank(&f->part[ngx_llm_shape_finish_reason])
           != NGX_LLM_SHAPE_VALUE)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_document_message(ngx_llm_to_document_t *f)
{
    ngx_llm_shape_put_text(&f->out, ",\"message\":{\"role\":");

    if (ngx_llm_shape_rank(&f->part[ngx_llm_shape_role])
        == NGX_LLM_SHAPE_VALUE)
    {
        ngx_llm_shape_put_value(&f->out, &f->part[ngx_llm_shape_role]);

    } else {
        ngx_llm_shape_put_text(&f->out, "\"assistant\"");
    }

    /* these two are in every answer */

    f->ranks[ngx_llm_shape_content] |= 1 << NGX_LLM_SHAPE_NULL;
    f->ranks[ngx_llm_shape_refusal] |= 1 << NGX_LLM_SHAPE_NULL;

    if (ngx_llm_to_document_join(f, ngx_llm_shape_content, ",\"content\":")
        != NGX_OK
        || ngx_llm_to_document_join(f, ngx_llm_shape_refusal, ",\"refusal\":")
           != NGX_OK
        || ngx_llm_to_document_join(f, ngx_llm_shape_reasoning_content,
                                    ",\"reasoning_content\":")
           != NGX_OK
        || ngx_llm_to_document_join(f, ngx_llm_shape_reasoning,
                                    ",\"reasoning\":")
           != NGX_OK
        || ngx_llm_to_document_calls(f) != NGX_OK
        || ngx_llm_to_document_function(f) != NGX_OK
        || ngx_llm_to_document_join(f, ngx_llm_shape_annotations,
                                    ",\"annotations\":")
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_llm_shape_put_extras(&f->out, &f->message_extras);
    ngx_llm_shape_put_text(&f->out, "}");

    return NGX_OK;
}


/* one call after the other: the first piece of each has all but arguments */

static ngx_int_t
ngx_llm_to_document_calls(ngx_llm_to_document_t *f)
{
    ngx_int_t             rc;
    const u_char         *array, *element;
    ngx_llm_shape_span_t  call[ngx_llm_shape_call_n];

    if (!(f->ranks[ngx_llm_shape_tool_calls] & (1 << NGX_LLM_SHAPE_VALUE))) {
        return ngx_llm_to_document_join(f, ngx_llm_shape_tool_calls,
                                        ",\"tool_calls\":");
    }

    f->calls = 0;
    f->bare = 0;

    ngx_llm_shape_put_text(&f->out, ",\"tool_calls\":[");

    if (ngx_llm_shape_stream_rewind(&f->in) != NGX_OK) {
        return NGX_DECLINED;
    }

    while ((rc = ngx_llm_shape_stream_part(&f->in, ngx_llm_shape_tool_calls))
           == NGX_OK)
    {
        array = f->in.choice.part[ngx_llm_shape_tool_calls].start;

        while ((rc = ngx_llm_shape_next(&f->in.chunk, &array, &element))
               == NGX_OK)
        {
            if (ngx_llm_shape_read_call(&f->in.chunk, element, call) != NGX_OK
                || ngx_llm_to_document_call(f, call) != NGX_OK)
            {
                return NGX_DECLINED;
            }
        }

        if (rc != NGX_DONE) {
            return NGX_DECLINED;
        }
    }

    if (rc != NGX_DONE || ngx_llm_to_document_end_call(f) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_llm_shape_put_text(&f->out, "]");

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_document_call(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *call)
{
    ngx_uint_t  n, bare;

    bare = (call[ngx_llm_shape_call_index].start == NULL);

    if (f->calls && bare != f->bare) {
        return NGX_DECLINED;
    }

    /* without an index each is whole, and has a name */

    n = bare ? f->calls
             : ngx_llm_shape_number(&call[ngx_llm_shape_call_index]);

    if (n == f->calls) {
        f->bare = bare;

        if (ngx_llm_to_document_begin_call(f, call) != NGX_OK) {
            return NGX_DECLINED;
        }

    } else if (n + 1 != f->calls
               || ngx_llm_shape_rank(&call[ngx_llm_shape_call_name])
                  == NGX_LLM_SHAPE_VALUE
               || (ngx_llm_shape_rank(&call[ngx_llm_shape_call_id])
                   == NGX_LLM_SHAPE_VALUE
                   && !ngx_llm_shape_equal(&call[ngx_llm_shape_call_id],
                                           &f->id)))
    {
        return NGX_DECLINED;
    }

    if (ngx_llm_shape_rank(&call[ngx_llm_shape_call_type])
        == NGX_LLM_SHAPE_VALUE
        && !ngx_llm_shape_is(&call[ngx_llm_shape_call_type], "\"function\""))
    {
        return NGX_DECLINED;
    }

    ngx_llm_to_document_arguments(f, &call[ngx_llm_shape_call_arguments]);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_document_begin_call(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *call)
{
    if (ngx_llm_to_document_end_call(f) != NGX_OK
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_id])
           < NGX_LLM_SHAPE_EMPTY
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_name])
           != NGX_LLM_SHAPE_VALUE)
    {
        return NGX_DECLINED;
    }

    f->id = call[ngx_llm_shape_call_id];
    f->args = 0;

    ngx_llm_shape_put_member(&f->out, f->calls++ ? ",{\"id\":" : "{\"id\":",
                             &f->id);
    ngx_llm_shape_put_member(&f->out,
                             ",\"type\":\"function\",\"function\":{\"name\":",
                             &call[ngx_llm_shape_call_name]);
    ngx_llm_shape_put_text(&f->out, ",\"arguments\":\"");

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_document_end_call(ngx_llm_to_document_t *f)
{
    if (f->calls == 0) {
        return NGX_OK;
    }

    ngx_llm_shape_put_text(&f->out, "\"}}");

    return f->args ? NGX_OK : NGX_DECLINED;
}


/* the one call of the days before tools */

static ngx_int_t
ngx_llm_to_document_function(ngx_llm_to_document_t *f)
{
    ngx_int_t             rc;
    ngx_uint_t            begun;
    ngx_llm_shape_span_t  call[ngx_llm_shape_call_n], *name, *part;

    if (!(f->ranks[ngx_llm_shape_function_call] & (1 << NGX_LLM_SHAPE_VALUE))) {
        return ngx_llm_to_document_join(f, ngx_llm_shape_function_call,
                                        ",\"function_call\":");
    }

    f->args = 0;
    name = &call[ngx_llm_shape_call_name];

    ngx_llm_shape_put_text(&f->out, ",\"function_call\":{\"name\":");

    if (ngx_llm_shape_stream_rewind(&f->in) != NGX_OK) {
        return NGX_DECLINED;
    }

    for (begun = 0; ; begun = 1) {
        rc = ngx_llm_shape_stream_part(&f->in, ngx_llm_shape_function_call);

        if (rc != NGX_OK) {
            break;
        }

        part = &f->in.choice.part[ngx_llm_shape_function_call];

        if (ngx_llm_shape_read_function(&f->in.chunk, part->start, call)
            != NGX_OK
            || (ngx_llm_shape_rank(name) == NGX_LLM_SHAPE_VALUE) == begun)
        {
            return NGX_DECLINED;
        }

        if (!begun) {
            ngx_llm_shape_put_value(&f->out, name);
            ngx_llm_shape_put_text(&f->out, ",\"arguments\":\"");
        }

        ngx_llm_to_document_arguments(f, &call[ngx_llm_shape_call_arguments]);
    }

    ngx_llm_shape_put_text(&f->out, "\"}");

    return (rc == NGX_DONE && f->args) ? NGX_OK : NGX_DECLINED;
}


static void
ngx_llm_to_document_arguments(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *arguments)
{
    if (ngx_llm_shape_rank(arguments) < NGX_LLM_SHAPE_EMPTY) {
        return;
    }

    f->args = 1;
    ngx_llm_shape_put(&f->out, arguments->start + 1,
                      arguments->end - arguments->start - 2);
}


static ngx_int_t
ngx_llm_to_document_logprobs(ngx_llm_to_document_t *f)
{
    ngx_uint_t               i, first, mixed;
    static const struct {
        ngx_uint_t           form;
        ngx_uint_t           part;
        const char          *before;
    } lists[] = {
        { ngx_llm_shape_delta, ngx_llm_shape_content_logprobs, "\"content\":" },
        { ngx_llm_shape_delta, ngx_llm_shape_refusal_logprobs, "\"refusal\":" },
        { ngx_llm_shape_text, ngx_llm_shape_tokens, "\"tokens\":" },
        { ngx_llm_shape_text, ngx_llm_shape_token_logprobs,
          "\"token_logprobs\":" },
        { ngx_llm_shape_text, ngx_llm_shape_top_logprobs, "\"top_logprobs\":" },
        { ngx_llm_shape_text, ngx_llm_shape_text_offset, "\"text_offset\":" }
    };

    ngx_llm_shape_put_text(&f->out, ",\"logprobs\":");

    if (!(f->ranks[ngx_llm_shape_logprobs] & (1 << NGX_LLM_SHAPE_VALUE))) {
        ngx_llm_shape_put_text(&f->out, "null");
        return NGX_OK;
    }

    ngx_llm_shape_put_text(&f->out, "{");

    mixed = (1 << NGX_LLM_SHAPE_NULL) | (1 << NGX_LLM_SHAPE_VALUE);

    for (i = 0, first = 1; i < sizeof(lists) / sizeof(lists[0]); i++) {

        if (lists[i].form != f->in.form
            || f->ranks[lists[i].part] == 1 << NGX_LLM_SHAPE_ABSENT)
        {
            continue;
        }

        /* these lists are as long as each other */

        if (f->in.form == ngx_llm_shape_text
            && (f->ranks[lists[i].part] & mixed) == mixed)
        {
            return NGX_DECLINED;
        }

        if (!first) {
            ngx_llm_shape_put_text(&f->out, ",");
        }

        first = 0;

        if (ngx_llm_to_document_join(f, lists[i].part, lists[i].before)
            != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    ngx_llm_shape_put_text(&f->out, "}");

    return NGX_OK;
}


/* all strings or lists of this part as one; a null if there were but nulls */

static ngx_int_t
ngx_llm_to_document_join(ngx_llm_to_document_t *f, ngx_uint_t part,
    const char *before)
{
    u_char      open;
    ngx_int_t   rc;
    ngx_uint_t  ranks, written;

    ranks = f->ranks[part];

    if (ranks == 1 << NGX_LLM_SHAPE_ABSENT) {
        return NGX_OK;
    }

    ngx_llm_shape_put_text(&f->out, before);

    if (ranks < 1 << NGX_LLM_SHAPE_EMPTY) {
        ngx_llm_shape_put_text(&f->out, "null");
        return NGX_OK;
    }

    open = 0;
    written = 0;

    if (ngx_llm_shape_stream_rewind(&f->in) != NGX_OK) {
        return NGX_DECLINED;
    }

    while ((rc = ngx_llm_shape_stream_part(&f->in, part)) == NGX_OK) {

        if (!open) {
            open = *f->in.choice.part[part].start;
            ngx_llm_shape_put(&f->out, &open, 1);
        }

        ngx_llm_to_document_piece(f, &f->in.choice.part[part], &written);
    }

    ngx_llm_shape_put_text(&f->out, (open == '"') ? "\"" : "]");

    return (rc == NGX_DONE) ? NGX_OK : NGX_DECLINED;
}


static void
ngx_llm_to_document_piece(ngx_llm_to_document_t *f,
    const ngx_llm_shape_span_t *s, ngx_uint_t *written)
{
    const u_char  *p, *end;

    p = s->start + 1;
    end = s->end - 1;

    if (*s->start == '[') {
        p = ngx_llm_lexer_space(&f->in.chunk.lexer, p);

        if (p == end) {
            return;
        }

        if (*written) {
            ngx_llm_shape_put_text(&f->out, ",");
        }
    }

    *written = 1;
    ngx_llm_shape_put(&f->out, p, end - p);
}
