/*
 * ngx_llm_answer.c: usage, finish reasons, errors and completeness, read off
 * a provider's answer.
 *
 * Called for every answer that passes, ours or proxy_pass's.  The framer cuts
 * a stream into events, the scanner pulls the values that a table names; this
 * file decides when an event counts, and its effect on the answer.  It never
 * sees content, and never estimates.
 */

#include <ngx_llm_answer.h>

#include "ngx_llm_members.h"


static void ngx_llm_answer_data(ngx_llm_answer_t *a, u_char *p, u_char *last);
static u_char *ngx_llm_answer_recall(ngx_llm_answer_t *a, u_char *p,
    u_char *last);
static ngx_int_t ngx_llm_answer_document(ngx_llm_answer_t *a, u_char **pos,
    u_char *last);
static ngx_int_t ngx_llm_answer_line(ngx_llm_answer_t *a, u_char **pos,
    u_char *last);
static ngx_inline u_char *ngx_llm_answer_line_end(u_char *p, u_char *last);
static void ngx_llm_answer_end(ngx_llm_answer_t *a);
static ngx_uint_t ngx_llm_answer_named(const ngx_llm_answer_t *a);
static void ngx_llm_answer_end_document(ngx_llm_answer_t *a);
static void ngx_llm_answer_end_event(ngx_llm_answer_t *a, ngx_uint_t named);
static void ngx_llm_answer_end_error(ngx_llm_answer_t *a, ngx_uint_t named);
static void ngx_llm_answer_last(ngx_llm_answer_t *a);
static void ngx_llm_answer_commit(ngx_llm_answer_t *a);
static ngx_uint_t ngx_llm_answer_all_finished(const ngx_llm_answer_t *a);
static void ngx_llm_answer_begin(ngx_llm_answer_t *a);
static ngx_inline ngx_uint_t ngx_llm_answer_blank(u_char ch);


static const char  ngx_llm_answer_done[] = "[DONE]";


void
ngx_llm_answer_init(ngx_llm_answer_t *a, ngx_uint_t kind,
    const ngx_llm_api_t *api, ngx_uint_t n)
{
    ngx_memzero(a, offsetof(ngx_llm_answer_t, reader));

    a->kind = kind;
    a->api = api;
    a->n = (uint32_t) n;
    a->start_len = 0;
    a->from = NULL;

    /* each member is -1: not given */

    memset(&a->usage, 0xff, sizeof(ngx_llm_usage_t));

    a->reader.handler = ngx_llm_members_value;
    a->reader.data = a;

    ngx_llm_sse_init(&a->sse);
    ngx_llm_answer_begin(a);
}


ngx_int_t
ngx_llm_answer_feed(ngx_llm_answer_t *a, u_char **pos, u_char *last)
{
    ngx_int_t  rc;
    ngx_str_t  data;

    switch (a->kind) {

    case NGX_LLM_ANSWER_JSON:
        return ngx_llm_answer_document(a, pos, last);

    case NGX_LLM_ANSWER_LINES:
        a->sse.start = NULL;
        return ngx_llm_answer_line(a, pos, last);
    }

    a->sse.start = NULL;

    for ( ;; ) {
        rc = ngx_llm_sse_next(&a->sse, pos, last, &data);

        if (rc == NGX_DECLINED) {
            ngx_llm_answer_data(a, data.data, data.data + data.len);
            continue;
        }

        if (rc == NGX_OK) {
            ngx_llm_answer_end(a);
        }

        return rc;
    }
}


void
ngx_llm_answer_eof(ngx_llm_answer_t *a)
{
    if (a->kind == NGX_LLM_ANSWER_JSON) {

        if (!a->closed) {
            a->malformed = 1;
        }

        return;
    }

    if (a->kind == NGX_LLM_ANSWER_LINES || !a->sse.data || a->sse.ended) {
        return;
    }

    /* a part of an event is none, however well the body has ended */

    if ((a->draft.event.object && !a->draft.bad)
        || a->draft.marker == sizeof(ngx_llm_answer_done) - 1)
    {
        a->sse.ended = 1;
        a->cut = 1;
        ngx_llm_answer_end(a);
    }
}


ngx_uint_t
ngx_llm_answer_complete(const ngx_llm_answer_t *a)
{
    if (a->kind == NGX_LLM_ANSWER_JSON) {
        return a->closed && !a->malformed;
    }

    if (!a->shown) {
        return 0;
    }

    switch (a->api->ends) {

    case NGX_LLM_ENDS_CHOICES:
        return a->done || ngx_llm_answer_all_finished(a);

    case NGX_LLM_ENDS_EVENT:
    case NGX_LLM_ENDS_EACH:
        return a->done || a->terminal;

    default: /* NGX_LLM_ENDS_BODY */
        return ngx_llm_answer_between(a);
    }
}


uint64_t
ngx_llm_answer_text_bytes(const ngx_llm_answer_t *a)
{
    return (uint64_t) a->output + a->draft.output
           + ngx_llm_reader_partial(&a->reader, ngx_llm_members_choice_content,
                                    ngx_llm_members_piece);
}


ngx_uint_t
ngx_llm_answer_between(const ngx_llm_answer_t *a)
{
    return a->sse.ended || !a->sse.fields;
}


ngx_uint_t
ngx_llm_answer_boundary(const ngx_llm_answer_t *a)
{
    return a->kind == NGX_LLM_ANSWER_STREAM && !a->cut
           && ngx_llm_sse_boundary(&a->sse);
}


/* a piece of an event's data */

static void
ngx_llm_answer_data(ngx_llm_answer_t *a, u_char *p, u_char *last)
{
    u_char                  *start;
    ngx_int_t                rc;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    start = NULL;

    if (!d->text) {
        start = p;

        while (p < last && d->marker < sizeof(ngx_llm_answer_done) - 1
               && *p == (u_char) ngx_llm_answer_done[d->marker])
        {
            d->marker++;
            p++;
        }

        if (p == last || d->marker == sizeof(ngx_llm_answer_done) - 1) {
            return;
        }

        /* what starts as the marker does is no object */

        d->text = 1;
        d->bad = (d->marker != 0);

        if (!d->bad) {
            p = ngx_llm_answer_recall(a, p, last);
        }

        if (p != start) {
            start = NULL;
        }
    }

    a->from = start;

    while (p < last && !d->bad) {
        rc = ngx_llm_reader_read(&a->reader, &p, last);

        d->event.object = (rc == NGX_DONE);
        d->bad = (rc == NGX_ERROR);
    }
}


/* skips the start that the event shares with the one remembered */

static u_char *
ngx_llm_answer_recall(ngx_llm_answer_t *a, u_char *p, u_char *last)
{
    size_t  len;

    len = a->start_len;

    if (len == 0 || (size_t) (last - p) < len
        || ngx_memcmp(p, a->start, len) != 0)
    {
        return p;
    }

    a->draft = a->start_draft;
    a->reader.at = a->start_place;

    return p + len;
}


static ngx_int_t
ngx_llm_answer_document(ngx_llm_answer_t *a, u_char **pos, u_char *last)
{
    ngx_int_t  rc;

    while (*pos < last) {

        if (a->closed && !a->malformed) {

            if (ngx_llm_answer_blank(**pos)) {
                (*pos)++;
                continue;
            }

            if (**pos == '{') {
                a->kind = NGX_LLM_ANSWER_LINES;
                ngx_llm_answer_begin(a);
                a->sse.start = NULL;
                a->sse.ended = 1;

                return ngx_llm_answer_line(a, pos, last);
            }
        }

        rc = ngx_llm_reader_read(&a->reader, pos, last);

        if (rc == NGX_ERROR) {
            a->malformed = 1;
            a->shown = 0;
            a->event.object = 0;

        } else if (rc == NGX_DONE && !a->closed) {
            a->closed = 1;
            a->draft.event.object = 1;
            ngx_llm_answer_end(a);
        }
    }

    return a->closed ? NGX_OK : NGX_AGAIN;
}


/*
 * A document of several: it ends with its last brace, and one that is broken
 * with its line.  The framer's fields say whether one has begun.
 */

static ngx_int_t
ngx_llm_answer_line(ngx_llm_answer_t *a, u_char **pos, u_char *last)
{
    u_char                  *p, *end;
    ngx_int_t                rc;
    ngx_llm_answer_draft_t  *d;

    p = *pos;
    d = &a->draft;

    if (a->sse.ended || !a->sse.fields) {

        while (p < last && ngx_llm_answer_blank(*p)) {
            p++;
        }

        if (p == last) {
            *pos = p;
            return NGX_AGAIN;
        }

        a->sse.start = p;
        a->sse.ended = 0;
        a->sse.fields = 1;
        a->sse.data = 1;
        d->text = 1;
    }

    while (p < last && !d->event.object) {
        end = ngx_llm_answer_line_end(p, last);

        if (end == p) {

            /* white space of the document, unless it is broken */

            if (!d->bad) {
                end++;
                d->bad = (ngx_llm_reader_read(&a->reader, &p, end)
                          == NGX_ERROR);
            }

            if (d->bad) {
                break;
            }

            continue;
        }

        if (!d->bad) {
            rc = ngx_llm_reader_read(&a->reader, &p, end);

            d->event.object = (rc == NGX_DONE);
            d->bad = (rc == NGX_ERROR);

        } else {
            p = end;
        }
    }

    *pos = p;

    if (p == last && !d->event.object && !(d->bad && p[-1] == '\n')) {
        return NGX_AGAIN;
    }

    a->sse.ended = 1;
    ngx_llm_answer_end(a);

    return NGX_OK;
}


static ngx_inline u_char *
ngx_llm_answer_line_end(u_char *p, u_char *last)
{
    while (p < last && *p != '\n') {
        p++;
    }

    return p;
}


/* an event, or the document, has ended */

static void
ngx_llm_answer_end(ngx_llm_answer_t *a)
{
    ngx_uint_t               named;
    ngx_llm_event_t         *ev;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    ev = &d->event;
    named = 0;
    ev->data = 1;

    if (a->kind == NGX_LLM_ANSWER_STREAM) {
        named = ngx_llm_answer_named(a);

        /* an empty line of data keeps a connection alive */

        ev->data = (a->sse.data && (d->text || d->marker));
        ev->done = (d->marker == sizeof(ngx_llm_answer_done) - 1);
        ev->object &= !d->bad;
    }

    a->events += ev->data;
    a->done |= ev->done;
    a->over |= ev->done;

    if (ev->object) {

        if (a->kind == NGX_LLM_ANSWER_JSON) {
            ngx_llm_answer_end_document(a);

        } else {
            ngx_llm_answer_end_event(a, named);
        }

    } else {
        ev->error = named;
        ev->error_object = 0;
        ev->terminal = 0;
        a->malformed |= (ev->data && !ev->done);
    }

    a->event = *ev;

    if (a->kind != NGX_LLM_ANSWER_JSON) {
        ngx_llm_answer_begin(a);
    }
}


/* returns 1 if the event is named error */

static ngx_uint_t
ngx_llm_answer_named(const ngx_llm_answer_t *a)
{
    return a->sse.name_len == 5 && ngx_memcmp(a->sse.name, "error", 5) == 0;
}


static void
ngx_llm_answer_end_document(ngx_llm_answer_t *a)
{
    ngx_uint_t               answer;
    ngx_llm_event_t         *ev;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    ev = &d->event;

    answer = ngx_llm_api_document(a->api, d->seen_members);

    if (answer && (d->seen_members & NGX_LLM_SEEN_FILLED)
        && !d->choice_failed && !d->error_type)
    {
        a->beside = ev->error;
        ev->error = 0;
        ev->error_object = 0;

    } else {
        ngx_llm_answer_end_error(a, 0);
    }

    a->failed |= ev->error;
    a->shown = (answer && !ev->error);
    ev->output = a->shown;

    ngx_llm_answer_commit(a);
}


static void
ngx_llm_answer_end_event(ngx_llm_answer_t *a, ngx_uint_t named)
{
    ngx_llm_event_t         *ev;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    ev = &d->event;

    if (!d->typed && a->kind == NGX_LLM_ANSWER_STREAM) {
        d->means = ngx_llm_api_event(a->api, a->sse.name, a->sse.name_len);
    }

    ngx_llm_answer_end_error(a, named);
    a->failed |= ev->error;

    ev->usage_only = (d->no_choices && d->usage_object && !ev->error);
    ev->terminal = (d->error_type || (d->means & NGX_LLM_EVENT_END));

    /* chunks have filled choices before they say anything */

    ev->output = !ev->error
                 && ((d->means & NGX_LLM_EVENT_OUTPUT)
                     || (d->seen_members & a->api->output)
                     || (a->api->ends != NGX_LLM_ENDS_CHOICES
                         && ngx_llm_api_document(a->api, d->seen_members)));

    a->shown |= ev->output;

    ngx_llm_answer_commit(a);
    ngx_llm_answer_last(a);
}


/*
 * The error is the member of that name, or the one of a choice or response, or
 * the event itself.
 */

static void
ngx_llm_answer_end_error(ngx_llm_answer_t *a, ngx_uint_t named)
{
    ngx_llm_event_t         *ev;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    ev = &d->event;

    if (ev->error || d->choice_failed) {
        ev->error = 1;
        ev->error_status = d->status[0] ? d->status[0] : d->status[1];
        return;
    }

    if (d->means & NGX_LLM_EVENT_FAILED) {
        ev->error = 1;
        ev->error_object = 1;
        return;
    }

    if (named || d->error_type
        || ((d->message || d->complaint) && d->means == 0
            && (d->seen_members & NGX_LLM_SEEN_FILLED) == 0))
    {
        ev->error = 1;
        ev->error_object = (named || d->error_type || d->message);
        ev->error_status = d->status[2];
    }
}


/* is it the last event of the answer? */

static void
ngx_llm_answer_last(ngx_llm_answer_t *a)
{
    if (!(a->draft.means & NGX_LLM_EVENT_END)) {
        return;
    }

    a->ends++;

    if (a->api->ends != NGX_LLM_ENDS_EACH || a->ends >= a->n) {
        a->terminal = 1;
        a->over = 1;
    }
}


static void
ngx_llm_answer_commit(ngx_llm_answer_t *a)
{
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;

    if (d->usage_bad) {
        a->usage_bad = 1;

    } else if (d->usage_given
               && !(a->usage_seen && (d->tokens_bad || d->event.error
                                      || a->pending.total == 0)))
    {
        /* a usage with wrong numbers does not replace a good one */

        a->usage = a->pending;
        a->usage_seen = 1;
        a->usage_bad = 0;
    }

    a->seen |= d->seen;
    a->ended |= d->ended;
    a->beyond |= d->beyond;
    a->finished = (a->seen != 0 && a->seen == a->ended && !a->beyond);

    a->spoken += (d->output || (d->seen_members & NGX_LLM_SEEN_DELTA));
    a->content |= d->content;
    a->output = ngx_llm_members_sum(a->output, d->output);
    d->output = 0;
    a->odd |= d->odd;

    if (d->finish_len) {
        ngx_memcpy(a->finish_reason, a->reason, d->finish_len);
        a->finish_len = d->finish_len;
    }
}


/* choices may come one after another */

static ngx_uint_t
ngx_llm_answer_all_finished(const ngx_llm_answer_t *a)
{
    return a->finished
           && (a->n <= 1 || a->n > 64
               || (ngx_uint_t) __builtin_popcountll(a->ended) >= a->n);
}


static void
ngx_llm_answer_begin(ngx_llm_answer_t *a)
{
    ngx_memzero(&a->draft, sizeof(ngx_llm_answer_draft_t));
    ngx_llm_reader_init(&a->reader, ngx_llm_members_nodes);
}


static ngx_inline ngx_uint_t
ngx_llm_answer_blank(u_char ch)
{
    return ch == ' ' || ch == '\n' || ch == '\r' || ch == '\t';
}
