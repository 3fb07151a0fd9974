/*
 * ngx_llm_to_stream.c: a JSON answer as the event stream it might have been: of
 * each choice the role, then its text in pieces as a model would send them,
 * then its calls, then why it ended.  One pass, nothing is kept but places in
 * the answer.  No piece ends inside of a character, however it is spelled.
 */

#include "ngx_llm_shape_parts.h"


#define NGX_LLM_TO_STREAM_PIECE  64    /* bytes of a piece, as spelled */
#define NGX_LLM_TO_STREAM_HEAD   1024  /* what each chunk says again, at most */


typedef struct {
    ngx_uint_t              form;    /* the part that is a choice's text */
    ngx_uint_t              usage;
    ngx_llm_shape_text_t    answer;
    ngx_llm_shape_choice_t  choice;
    ngx_llm_shape_span_t    logprobs;   /* null once they are written */
    ngx_uint_t              chunks;
    ngx_llm_shape_out_t     out;
} ngx_llm_to_stream_t;


typedef struct {                     /* what is around a piece of text */
    const char             *before;
    const char             *behind;
    const char             *number;  /* between both comes the call's, and
                                        this; NULL: none of it */
    ngx_uint_t              logprobs;   /* they come with the first one */
} ngx_llm_to_stream_frame_t;


static ngx_int_t ngx_llm_to_stream_answer(ngx_llm_to_stream_t *u);
static ngx_int_t ngx_llm_to_stream_choice(ngx_llm_to_stream_t *u);
static ngx_int_t ngx_llm_to_stream_message(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_role(ngx_llm_to_stream_t *u);
static ngx_int_t ngx_llm_to_stream_calls(ngx_llm_to_stream_t *u);
static ngx_int_t ngx_llm_to_stream_call(ngx_llm_to_stream_t *u, ngx_uint_t n,
    const ngx_llm_shape_span_t *call);
static ngx_int_t ngx_llm_to_stream_function(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_annotations(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_finish(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_usage(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_text(ngx_llm_to_stream_t *u,
    const ngx_llm_shape_span_t *s, const ngx_llm_to_stream_frame_t *frame,
    ngx_uint_t n);
static const u_char *ngx_llm_to_stream_piece(const u_char *p,
    const u_char *end);
static size_t ngx_llm_to_stream_character(const u_char *p, const u_char *end);
static ngx_uint_t ngx_llm_to_stream_half(u_char ch, const char *digits);
static void ngx_llm_to_stream_open(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_close(ngx_llm_to_stream_t *u,
    const ngx_llm_shape_span_t *logprobs);
static void ngx_llm_to_stream_head(ngx_llm_to_stream_t *u);
static void ngx_llm_to_stream_tail(ngx_llm_to_stream_t *u);
static ngx_uint_t ngx_llm_to_stream_list(ngx_llm_to_stream_t *u,
    ngx_uint_t part);


static const u_char  ngx_llm_to_stream_null_text[] = "null";

static const ngx_llm_shape_span_t  ngx_llm_to_stream_null = {
    ngx_llm_to_stream_null_text, ngx_llm_to_stream_null_text + 4
};


static const ngx_llm_to_stream_frame_t  ngx_llm_to_stream_frames[] = {
    { ",\"delta\":{\"reasoning_content\":\"", "\"}", NULL, 0 },
    { ",\"delta\":{\"reasoning\":\"", "\"}", NULL, 0 },
    { ",\"delta\":{\"content\":\"", "\"}", NULL, 1 },
    { ",\"delta\":{\"refusal\":\"", "\"}", NULL, 1 }
};


static const ngx_llm_to_stream_frame_t  ngx_llm_to_stream_arguments = {
    ",\"delta\":{\"tool_calls\":[{\"index\":", "\"}}]}",
    ",\"function\":{\"arguments\":\"", 0
};


static const ngx_llm_to_stream_frame_t  ngx_llm_to_stream_function_arguments = {
    ",\"delta\":{\"function_call\":{\"arguments\":\"", "\"}}", NULL, 0
};


static const ngx_llm_to_stream_frame_t  ngx_llm_to_stream_plain = {
    ",\"text\":\"", "\"", NULL, 1
};


ngx_int_t
ngx_llm_to_stream(ngx_uint_t kind, const u_char *json, size_t len,
    ngx_uint_t usage, ngx_llm_shape_put_pt put, void *data)
{
    size_t                 head;
    ngx_uint_t             i;
    ngx_llm_to_stream_t    u;
    ngx_llm_shape_span_t  *top;

    if (kind == NGX_LLM_SHAPE_RESPONSES || len == 0
        || ngx_llm_shape_read(&u.answer, json, len) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    u.form = (kind == NGX_LLM_SHAPE_CHAT) ? ngx_llm_shape_message
                                         : ngx_llm_shape_text;
    u.usage = usage;
    u.chunks = 0;
    u.out.put = put;
    u.out.data = data;
    u.out.len = 0;

    top = u.answer.top;

    for (i = 0, head = 0; i < ngx_llm_shape_usage; i++) {
        head += top[i].end - top[i].start;
    }

    if (head > NGX_LLM_TO_STREAM_HEAD
        || !ngx_llm_shape_is(&top[ngx_llm_shape_object],
                             (kind == NGX_LLM_SHAPE_CHAT)
                             ? "\"chat.completion\"" : "\"text_completion\"")
        || ngx_llm_shape_rank(&top[ngx_llm_shape_choices])
           != NGX_LLM_SHAPE_VALUE
        || top[ngx_llm_shape_padding].start != NULL
        || (usage && ngx_llm_shape_rank(&top[ngx_llm_shape_usage])
                     != NGX_LLM_SHAPE_VALUE))
    {
        return NGX_DECLINED;
    }

    return ngx_llm_to_stream_answer(&u);
}


static ngx_int_t
ngx_llm_to_stream_answer(ngx_llm_to_stream_t *u)
{
    ngx_int_t      rc;
    ngx_uint_t     n;
    const u_char  *array, *element;

    array = u->answer.top[ngx_llm_shape_choices].start;

    for (n = 0; ; n++) {
        rc = ngx_llm_shape_next(&u->answer, &array, &element);

        if (rc != NGX_OK) {
            break;
        }

        if (ngx_llm_shape_read_choice(&u->answer, element, u->form, &u->choice)
            != NGX_OK
            || u->choice.index != n
            || ngx_llm_to_stream_choice(u) != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    if (rc != NGX_DONE || n == 0) {
        return NGX_DECLINED;
    }

    if (u->usage) {
        ngx_llm_to_stream_usage(u);
    }

    ngx_llm_shape_put_text(&u->out, "data: [DONE]\n\n");
    ngx_llm_shape_flush(&u->out);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_stream_choice(ngx_llm_to_stream_t *u)
{
    ngx_llm_shape_span_t  *part;

    part = u->choice.part;

    if (ngx_llm_shape_rank(&part[ngx_llm_shape_finish_reason])
        != NGX_LLM_SHAPE_VALUE)
    {
        return NGX_DECLINED;
    }

    u->logprobs = part[ngx_llm_shape_logprobs];

    if (u->logprobs.start == NULL) {
        u->logprobs = ngx_llm_to_stream_null;
    }

    if (u->form == ngx_llm_shape_message) {

        if (ngx_llm_to_stream_message(u) != NGX_OK) {
            return NGX_DECLINED;
        }

    } else {
        ngx_llm_to_stream_text(u, &part[ngx_llm_shape_text],
                               &ngx_llm_to_stream_plain, 0);
    }

    ngx_llm_to_stream_finish(u);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_stream_message(ngx_llm_to_stream_t *u)
{
    ngx_llm_shape_span_t             *part;
    const ngx_llm_to_stream_frame_t  *frame;

    part = u->choice.part;
    frame = ngx_llm_to_stream_frames;

    if (part[ngx_llm_shape_obfuscation].start != NULL) {
        return NGX_DECLINED;
    }

    ngx_llm_to_stream_role(u);

    ngx_llm_to_stream_text(u, &part[ngx_llm_shape_reasoning_content], frame++,
                           0);
    ngx_llm_to_stream_text(u, &part[ngx_llm_shape_reasoning], frame++, 0);
    ngx_llm_to_stream_text(u, &part[ngx_llm_shape_content], frame++, 0);
    ngx_llm_to_stream_text(u, &part[ngx_llm_shape_refusal], frame, 0);

    if (ngx_llm_to_stream_calls(u) != NGX_OK
        || ngx_llm_to_stream_function(u) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_llm_to_stream_annotations(u);

    return NGX_OK;
}


/* Writes the first chunk: the role, empty values and nulls. */

static void
ngx_llm_to_stream_role(ngx_llm_to_stream_t *u)
{
    ngx_uint_t             i;
    ngx_llm_shape_out_t   *out;
    ngx_llm_shape_span_t  *part;
    static const struct {
        ngx_uint_t        part;
        const char       *before;
        const char       *empty;
    } members[] = {
        { ngx_llm_shape_content, ",\"content\":", "\"\"" },
        { ngx_llm_shape_refusal, ",\"refusal\":", "\"\"" },
        { ngx_llm_shape_reasoning_content, ",\"reasoning_content\":", "\"\"" },
        { ngx_llm_shape_reasoning, ",\"reasoning\":", "\"\"" },
        { ngx_llm_shape_tool_calls, ",\"tool_calls\":", "[]" },
        { ngx_llm_shape_annotations, ",\"annotations\":", "[]" }
    };

    out = &u->out;
    part = u->choice.part;

    ngx_llm_to_stream_open(u);
    ngx_llm_shape_put_text(out, ",\"delta\":{\"role\":");

    if (ngx_llm_shape_rank(&part[ngx_llm_shape_role]) == NGX_LLM_SHAPE_VALUE) {
        ngx_llm_shape_put_value(out, &part[ngx_llm_shape_role]);

    } else {
        ngx_llm_shape_put_text(out, "\"assistant\"");
    }

    for (i = 0; i < sizeof(members) / sizeof(members[0]); i++) {

        switch (ngx_llm_shape_rank(&part[members[i].part])) {

        case NGX_LLM_SHAPE_ABSENT:
            continue;

        case NGX_LLM_SHAPE_NULL:
            ngx_llm_shape_put_text(out, members[i].before);
            ngx_llm_shape_put_text(out, "null");
            continue;
        }

        /* a list that is not empty comes in one piece */

        if (*part[members[i].part].start == '"'
            || !ngx_llm_to_stream_list(u, members[i].part))
        {
            ngx_llm_shape_put_text(out, members[i].before);
            ngx_llm_shape_put_text(out, members[i].empty);
        }
    }

    if (ngx_llm_shape_rank(&part[ngx_llm_shape_function_call])
        == NGX_LLM_SHAPE_NULL)
    {
        ngx_llm_shape_put_text(out, ",\"function_call\":null");
    }

    ngx_llm_shape_put_extras(out, &u->choice.message_extras);
    ngx_llm_shape_put_text(out, "}");
    ngx_llm_to_stream_close(u, &ngx_llm_to_stream_null);
}


static ngx_int_t
ngx_llm_to_stream_calls(ngx_llm_to_stream_t *u)
{
    ngx_int_t                    rc;
    ngx_uint_t                   n;
    const u_char                *array, *element;
    ngx_llm_shape_span_t         call[ngx_llm_shape_call_n];
    const ngx_llm_shape_span_t  *calls;

    calls = &u->choice.part[ngx_llm_shape_tool_calls];

    if (ngx_llm_shape_rank(calls) != NGX_LLM_SHAPE_VALUE) {
        return NGX_OK;
    }

    array = calls->start;

    for (n = 0; ; n++) {
        rc = ngx_llm_shape_next(&u->answer, &array, &element);

        if (rc != NGX_OK) {
            break;
        }

        if (ngx_llm_shape_read_call(&u->answer, element, call) != NGX_OK
            || ngx_llm_to_stream_call(u, n, call) != NGX_OK)
        {
            return NGX_DECLINED;
        }
    }

    return (rc == NGX_DONE) ? NGX_OK : NGX_DECLINED;
}


static ngx_int_t
ngx_llm_to_stream_call(ngx_llm_to_stream_t *u, ngx_uint_t n,
    const ngx_llm_shape_span_t *call)
{
    const ngx_llm_shape_span_t  *index, *type;

    index = &call[ngx_llm_shape_call_index];
    type = &call[ngx_llm_shape_call_type];

    if ((index->start != NULL && ngx_llm_shape_number(index) != n)
        || (type->start != NULL && !ngx_llm_shape_is(type, "\"function\""))
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_id])
           < NGX_LLM_SHAPE_EMPTY
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_name])
           != NGX_LLM_SHAPE_VALUE
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_arguments])
           < NGX_LLM_SHAPE_EMPTY)
    {
        return NGX_DECLINED;
    }

    ngx_llm_to_stream_open(u);
    ngx_llm_shape_put_text(&u->out, ",\"delta\":{\"tool_calls\":[{\"index\":");
    ngx_llm_shape_put_number(&u->out, n);
    ngx_llm_shape_put_member(&u->out, ",\"id\":", &call[ngx_llm_shape_call_id]);
    ngx_llm_shape_put_member(&u->out,
                             ",\"type\":\"function\",\"function\":{\"name\":",
                             &call[ngx_llm_shape_call_name]);
    ngx_llm_shape_put_text(&u->out, ",\"arguments\":\"\"}}]}");
    ngx_llm_to_stream_close(u, &ngx_llm_to_stream_null);

    ngx_llm_to_stream_text(u, &call[ngx_llm_shape_call_arguments],
                           &ngx_llm_to_stream_arguments, n);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_to_stream_function(ngx_llm_to_stream_t *u)
{
    ngx_llm_shape_span_t         call[ngx_llm_shape_call_n];
    const ngx_llm_shape_span_t  *function;

    function = &u->choice.part[ngx_llm_shape_function_call];

    if (ngx_llm_shape_rank(function) != NGX_LLM_SHAPE_VALUE) {
        return NGX_OK;
    }

    if (ngx_llm_shape_read_function(&u->answer, function->start, call) != NGX_OK
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_name])
           != NGX_LLM_SHAPE_VALUE
        || ngx_llm_shape_rank(&call[ngx_llm_shape_call_arguments])
           < NGX_LLM_SHAPE_EMPTY)
    {
        return NGX_DECLINED;
    }

    ngx_llm_to_stream_open(u);
    ngx_llm_shape_put_member(&u->out,
                             ",\"delta\":{\"function_call\":{\"name\":",
                             &call[ngx_llm_shape_call_name]);
    ngx_llm_shape_put_text(&u->out, ",\"arguments\":\"\"}}");
    ngx_llm_to_stream_close(u, &ngx_llm_to_stream_null);

    ngx_llm_to_stream_text(u, &call[ngx_llm_shape_call_arguments],
                           &ngx_llm_to_stream_function_arguments, 0);

    return NGX_OK;
}


static void
ngx_llm_to_stream_annotations(ngx_llm_to_stream_t *u)
{
    if (ngx_llm_to_stream_list(u, ngx_llm_shape_annotations)) {
        ngx_llm_to_stream_open(u);
        ngx_llm_shape_put_member(&u->out, ",\"delta\":{\"annotations\":",
                                 &u->choice.part[ngx_llm_shape_annotations]);
        ngx_llm_shape_put_text(&u->out, "}");
        ngx_llm_to_stream_close(u, &ngx_llm_to_stream_null);
    }
}


/* why it ended; also the logprobs of a choice without a text */

static void
ngx_llm_to_stream_finish(ngx_llm_to_stream_t *u)
{
    ngx_llm_shape_out_t   *out;
    ngx_llm_shape_span_t  *part;

    out = &u->out;
    part = u->choice.part;

    ngx_llm_to_stream_open(u);
    ngx_llm_shape_put_text(out, (u->form == ngx_llm_shape_text)
                                ? ",\"text\":\"\"" : ",\"delta\":{}");
    ngx_llm_shape_put_member(out, ",\"stop_reason\":",
                             &part[ngx_llm_shape_stop_reason]);
    ngx_llm_shape_put_member(out, ",\"native_finish_reason\":",
                             &part[ngx_llm_shape_native_reason]);
    ngx_llm_shape_put_member(out, ",\"matched_stop\":",
                             &part[ngx_llm_shape_matched_stop]);
    ngx_llm_shape_put_extras(out, &u->choice.extras);
    ngx_llm_shape_put_member(out, ",\"logprobs\":", &u->logprobs);
    ngx_llm_shape_put_member(out, ",\"finish_reason\":",
                             &part[ngx_llm_shape_finish_reason]);
    ngx_llm_shape_put_text(out, "}]");
    ngx_llm_to_stream_tail(u);
}


static void
ngx_llm_to_stream_usage(ngx_llm_to_stream_t *u)
{
    ngx_llm_to_stream_head(u);
    ngx_llm_shape_put_member(&u->out, ",\"choices\":[],\"usage\":",
                             &u->answer.top[ngx_llm_shape_usage]);
    ngx_llm_shape_put_text(&u->out, "}\n\n");
}


/* a string in pieces, a chunk for each; n is the number of its call */

static void
ngx_llm_to_stream_text(ngx_llm_to_stream_t *u, const ngx_llm_shape_span_t *s,
    const ngx_llm_to_stream_frame_t *frame, ngx_uint_t n)
{
    const u_char  *p, *next, *end;

    if (ngx_llm_shape_rank(s) != NGX_LLM_SHAPE_VALUE) {
        return;
    }

    end = s->end - 1;

    for (p = s->start + 1; p < end; p = next) {
        next = ngx_llm_to_stream_piece(p, end);

        ngx_llm_to_stream_open(u);
        ngx_llm_shape_put_text(&u->out, frame->before);

        if (frame->number) {
            ngx_llm_shape_put_number(&u->out, n);
            ngx_llm_shape_put_text(&u->out, frame->number);
        }

        ngx_llm_shape_put(&u->out, p, next - p);
        ngx_llm_shape_put_text(&u->out, frame->behind);

        if (frame->logprobs) {
            ngx_llm_to_stream_close(u, &u->logprobs);
            u->logprobs = ngx_llm_to_stream_null;

        } else {
            ngx_llm_to_stream_close(u, &ngx_llm_to_stream_null);
        }
    }
}


/* the end of the piece at p, before a space where there is one */

static const u_char *
ngx_llm_to_stream_piece(const u_char *p, const u_char *end)
{
    size_t         n;
    const u_char  *start, *space;

    start = p;
    space = NULL;

    while (p < end) {
        n = ngx_llm_to_stream_character(p, end);

        if ((size_t) (p - start) + n > NGX_LLM_TO_STREAM_PIECE) {
            return space ? space : p;
        }

        if (*p == ' ' && p > start) {
            space = p;
        }

        p += n;
    }

    return end;
}


/* bytes of the character at p, of both halves if it is spelled in two */

static size_t
ngx_llm_to_stream_character(const u_char *p, const u_char *end)
{
    size_t  n;

    if (*p >= 0x80) {
        n = ngx_llm_utf8_length(p, end);
        return n ? n : 1;
    }

    if (*p != '\\') {
        return 1;
    }

    if (p[1] != 'u') {
        return 2;
    }

    if (end - p >= 12
        && (p[2] | 0x20) == 'd' && ngx_llm_to_stream_half(p[3], "89ab")
        && p[6] == '\\' && p[7] == 'u'
        && (p[8] | 0x20) == 'd' && ngx_llm_to_stream_half(p[9], "cdef"))
    {
        return 12;
    }

    return 6;
}


/* digits: four, in lower case */

static ngx_uint_t
ngx_llm_to_stream_half(u_char ch, const char *digits)
{
    if (ch >= 'A') {
        ch |= 0x20;
    }

    return memchr(digits, ch, 4) != NULL;
}


/* Writes a chunk up to the contents of its choice. */

static void
ngx_llm_to_stream_open(ngx_llm_to_stream_t *u)
{
    ngx_llm_to_stream_head(u);
    ngx_llm_shape_put_text(&u->out, ",\"choices\":[{\"index\":");
    ngx_llm_shape_put_number(&u->out, u->choice.index);
}


static void
ngx_llm_to_stream_close(ngx_llm_to_stream_t *u,
    const ngx_llm_shape_span_t *logprobs)
{
    ngx_llm_shape_put_member(&u->out, ",\"logprobs\":", logprobs);
    ngx_llm_shape_put_text(&u->out, ",\"finish_reason\":null}]");
    ngx_llm_to_stream_tail(u);
}


/* what each chunk says; the first one has also what we have no name for */

static void
ngx_llm_to_stream_head(ngx_llm_to_stream_t *u)
{
    ngx_llm_shape_out_t   *out;
    ngx_llm_shape_span_t  *top;

    out = &u->out;
    top = u->answer.top;

    ngx_llm_shape_put_text(out, (u->form == ngx_llm_shape_text)
                               ? "data: {\"object\":\"text_completion\""
                               : "data: {\"object\":\"chat.completion.chunk\"");

    ngx_llm_shape_put_member(out, ",\"id\":", &top[ngx_llm_shape_id]);
    ngx_llm_shape_put_member(out, ",\"created\":", &top[ngx_llm_shape_created]);
    ngx_llm_shape_put_member(out, ",\"model\":", &top[ngx_llm_shape_model]);
    ngx_llm_shape_put_member(out, ",\"system_fingerprint\":",
                             &top[ngx_llm_shape_fingerprint]);
    ngx_llm_shape_put_member(out, ",\"service_tier\":",
                             &top[ngx_llm_shape_tier]);

    if (u->chunks++ == 0) {
        ngx_llm_shape_put_extras(out, &u->answer.extras);
    }
}


static void
ngx_llm_to_stream_tail(ngx_llm_to_stream_t *u)
{
    ngx_llm_shape_put_text(&u->out, u->usage ? ",\"usage\":null}\n\n"
                                            : "}\n\n");
}


/* 1 if the part is a list with something in it */

static ngx_uint_t
ngx_llm_to_stream_list(ngx_llm_to_stream_t *u, ngx_uint_t part)
{
    const u_char                *array, *element;
    const ngx_llm_shape_span_t  *s;

    s = &u->choice.part[part];

    if (ngx_llm_shape_rank(s) != NGX_LLM_SHAPE_VALUE) {
        return 0;
    }

    array = s->start;

    return ngx_llm_shape_next(&u->answer, &array, &element) == NGX_OK;
}
