/*
 * ngx_llm_answer.c: usage, finish reasons, errors and completeness, read off
 * a provider's answer.
 *
 * Called for every answer that passes, ours or proxy_pass's.  The framer cuts
 * a stream into events, the scanner pulls the values that the table below
 * names; this file decides what they mean.  It counts the bytes of content, but
 * never keeps content, and never estimates.
 */

#include <ngx_llm_answer.h>

#include <ngx_llm_answer_keys.h>


#define ngx_llm_answer_is(value, text)                                        \
    ((value)->len == sizeof(text) - 1                                         \
     && ngx_memcmp((value)->data, text, sizeof(text) - 1) == 0)


static void ngx_llm_answer_data(ngx_llm_answer_t *a, u_char *p, u_char *last);
static void ngx_llm_answer_remember(ngx_llm_answer_t *a, u_char *p,
    u_char *last);
static u_char *ngx_llm_answer_recall(ngx_llm_answer_t *a, u_char *p,
    u_char *last);
static ngx_int_t ngx_llm_answer_document(ngx_llm_answer_t *a, u_char **pos,
    u_char *last);
static void ngx_llm_answer_value(ngx_llm_pull_t *pl, u_char *p);
static void ngx_llm_answer_token(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_usage(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_choices(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_choice(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_error(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_status(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_type(ngx_llm_answer_t *a);
static void ngx_llm_answer_reason(ngx_llm_answer_t *a);
static void ngx_llm_answer_end(ngx_llm_answer_t *a);
static void ngx_llm_answer_end_error(ngx_llm_answer_t *a, ngx_uint_t named);
static void ngx_llm_answer_commit(ngx_llm_answer_t *a);
static void ngx_llm_answer_begin(ngx_llm_answer_t *a);


static const char  ngx_llm_answer_done[] = "[DONE]";


/* Returns a + b, or the largest number if that is less. */

static ngx_inline uint32_t
ngx_llm_answer_sum(uint32_t a, uint32_t b)
{
    return (a + b < a) ? UINT32_MAX : a + b;
}


void
ngx_llm_answer_init(ngx_llm_answer_t *a, ngx_uint_t kind)
{
    ngx_memzero(a, offsetof(ngx_llm_answer_t, pull));

    a->kind = kind;
    a->start_len = 0;
    a->from = NULL;
    a->usage.prompt = -1;
    a->usage.completion = -1;
    a->usage.total = -1;
    a->usage.cached = -1;
    a->usage.cache_write = -1;
    a->usage.reasoning = -1;

    a->pull.handler = ngx_llm_answer_value;
    a->pull.data = a;

    ngx_llm_sse_init(&a->sse);
    ngx_llm_answer_begin(a);
}


ngx_int_t
ngx_llm_answer_feed(ngx_llm_answer_t *a, u_char **pos, u_char *last)
{
    ngx_int_t  rc;
    ngx_str_t  data;

    if (a->kind == NGX_LLM_ANSWER_JSON) {
        return ngx_llm_answer_document(a, pos, last);
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

    if (a->sse.data && !a->sse.ended) {
        a->sse.ended = 1;
        a->cut = 1;
        ngx_llm_answer_end(a);
    }
}


ngx_uint_t
ngx_llm_answer_complete(const ngx_llm_answer_t *a, ngx_uint_t ends)
{
    if (a->kind == NGX_LLM_ANSWER_JSON) {
        return a->closed && !a->malformed;
    }

    switch (ends) {

    case NGX_LLM_ENDS_CHOICES:
        return a->done || a->finished;

    case NGX_LLM_ENDS_RESPONSE:
        return a->done || a->terminal;

    default: /* NGX_LLM_ENDS_ANY */
        return 1;
    }
}


uint64_t
ngx_llm_answer_output(const ngx_llm_answer_t *a)
{
    return (uint64_t) a->output + a->draft.output
           + ngx_llm_pull_partial(&a->pull, ngx_llm_answer_text);
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
        rc = ngx_llm_pull_read(&a->pull, &p, last);

        d->event.object = (rc == NGX_DONE);
        d->bad = (rc == NGX_ERROR);
    }
}


/*
 * The chunks of a stream begin alike: id, object, created, model, and so on
 * to the index of the first choice.  These bytes are kept, with all that is
 * known behind them; an event that starts with the same bytes is read from
 * there.
 */

static void
ngx_llm_answer_remember(ngx_llm_answer_t *a, u_char *p, u_char *last)
{
    size_t                   len;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    len = last - p;

    /*
     * An index that no comma has ended may have more digits next time; a usage
     * and a finish reason are not in the draft alone.
     */

    if (len > NGX_LLM_ANSWER_START || (last[-1] != ',' && last[-1] != ' ')
        || d->usage_bad || d->usage_given || d->finish_len)
    {
        return;
    }

    ngx_memcpy(a->start, p, len);
    a->start_len = len;
    a->start_draft = *d;
    a->start_place = a->pull.at;
}


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
    a->pull.at = a->start_place;

    return p + len;
}


static ngx_int_t
ngx_llm_answer_document(ngx_llm_answer_t *a, u_char **pos, u_char *last)
{
    ngx_int_t  rc;

    while (*pos < last) {
        rc = ngx_llm_pull_read(&a->pull, pos, last);

        if (rc == NGX_ERROR) {
            a->malformed = 1;
            a->event.object = 0;

        } else if (rc == NGX_DONE && !a->closed) {
            a->closed = 1;
            a->draft.event.object = 1;
            ngx_llm_answer_end(a);
        }
    }

    return a->closed ? NGX_OK : NGX_AGAIN;
}


static void
ngx_llm_answer_value(ngx_llm_pull_t *pl, u_char *p)
{
    ngx_llm_answer_t        *a;
    ngx_llm_answer_draft_t  *d;

    a = pl->data;
    d = &a->draft;

    switch (pl->slot) {

    case ngx_llm_answer_usage:
        d->usage_object |= (pl->type == NGX_LLM_PULL_OBJECT);

        /* fall through */

    case ngx_llm_answer_inner_usage:
        ngx_llm_answer_read_usage(a);
        break;

    case ngx_llm_answer_choices:
        ngx_llm_answer_read_choices(a);
        break;

    case ngx_llm_answer_choice:
    case ngx_llm_answer_finish:
        ngx_llm_answer_read_choice(a);
        break;

    case ngx_llm_answer_index:
        ngx_llm_answer_read_choice(a);

        if (a->from) {
            ngx_llm_answer_remember(a, a->from, p);
            a->from = NULL;
        }

        break;

    case ngx_llm_answer_result:
        d->result = 1;
        d->content |= ngx_llm_answer_truthy(pl);
        break;

    case ngx_llm_answer_text:

        if (pl->type == NGX_LLM_PULL_STRING) {
            d->output = ngx_llm_answer_sum(d->output, pl->length);
        }

        /* fall through */

    case ngx_llm_answer_content:
        d->content |= ngx_llm_answer_truthy(pl);
        break;

    case ngx_llm_answer_error:
        ngx_llm_answer_read_error(a);
        break;

    case ngx_llm_answer_error_code:
    case ngx_llm_answer_error_status:
    case ngx_llm_answer_root_code:
        ngx_llm_answer_read_status(a);
        break;

    case ngx_llm_answer_root_status:

        if (a->kind == NGX_LLM_ANSWER_STREAM) {
            break;
        }

        /* fall through */

    case ngx_llm_answer_response_status:

        /* other servers' statuses do not hide a finish reason */

        if ((a->ended | d->ended) == 0) {
            ngx_llm_answer_reason(a);
        }

        break;

    case ngx_llm_answer_type:
        ngx_llm_answer_read_type(a);
        break;

    default:
        ngx_llm_answer_token(a);
    }
}


/*
 * A count in usage: a plain integer, or nothing of this usage is taken.
 * Relays are known to send both families of names with zeros in one of them,
 * so the larger of two aliases counts.
 */

static void
ngx_llm_answer_token(ngx_llm_answer_t *a)
{
    int64_t          n, *token;
    ngx_llm_pull_t  *pl;

    pl = &a->pull;
    token = &a->tokens[pl->slot];

    n = (pl->type == NGX_LLM_PULL_NUMBER) ? ngx_llm_answer_integer(&pl->value)
                                          : -1;
    if (n < 0) {
        a->draft.tokens_bad = 1;

    } else if (n > *token) {
        *token = n;
    }
}


static void
ngx_llm_answer_read_usage(ngx_llm_answer_t *a)
{
    int64_t                 *n;
    ngx_uint_t               i;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    n = a->tokens;

    if (a->pull.type == NGX_LLM_PULL_OBJECT) {

        for (i = 0; i < NGX_LLM_ANSWER_TOKENS; i++) {
            a->tokens[i] = -1;
        }

        d->tokens_bad = 0;

        return;
    }

    if (a->pull.type != NGX_LLM_PULL_OBJECT_END) {
        return;
    }

    if (d->tokens_bad) {
        d->usage_bad = 1;
        d->usage_given = 0;
        return;
    }

    if (n[ngx_llm_answer_prompt] < 0 && n[ngx_llm_answer_completion] < 0
        && n[ngx_llm_answer_total] < 0)
    {
        return;
    }

    d->usage_bad = 0;
    d->usage_given = 1;

    a->pending.prompt = n[ngx_llm_answer_prompt];
    a->pending.completion = n[ngx_llm_answer_completion];
    a->pending.total = n[ngx_llm_answer_total];
    a->pending.cached = n[ngx_llm_answer_cached];
    a->pending.cache_write = n[ngx_llm_answer_cache_write];
    a->pending.reasoning = n[ngx_llm_answer_reasoning];

    if (a->pending.total < 0) {
        a->pending.total = (a->pending.prompt < 0) ? 0 : a->pending.prompt;

        if (a->pending.completion > 0) {
            a->pending.total += a->pending.completion;
        }
    }
}


static void
ngx_llm_answer_read_choices(ngx_llm_answer_t *a)
{
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;

    d->result = 1;

    if (a->pull.type == NGX_LLM_PULL_ARRAY) {
        d->seen = 0;
        d->ended = 0;
        d->position = 0;
        d->beyond = 0;

    } else if (a->pull.type == NGX_LLM_PULL_ARRAY_END) {
        d->no_choices = a->pull.empty;
    }
}


/* a choice's start, a value in it that we read, or its end */

static void
ngx_llm_answer_read_choice(ngx_llm_answer_t *a)
{
    int64_t                  n;
    uint64_t                 bit;
    ngx_llm_pull_t          *pl;
    ngx_llm_answer_draft_t  *d;

    pl = &a->pull;
    d = &a->draft;

    switch (pl->type) {

    case NGX_LLM_PULL_OBJECT:
        d->index = d->position++;
        d->choice_ended = 0;
        return;

    case NGX_LLM_PULL_NUMBER:
        n = ngx_llm_answer_integer(&pl->value);

        if (pl->slot == ngx_llm_answer_index && n >= 0) {
            d->index = (n < 64) ? (int32_t) n : 64;
        }

        return;

    case NGX_LLM_PULL_STRING:

        /* some send "" where others send null */

        if (pl->slot == ngx_llm_answer_finish && pl->value.len) {
            d->choice_ended = 1;
            ngx_llm_answer_reason(a);
        }

        return;

    case NGX_LLM_PULL_OBJECT_END:
        break;

    default:
        return;
    }

    if (d->index > 63) {
        d->beyond |= !d->choice_ended;
        return;
    }

    bit = (uint64_t) 1 << d->index;
    d->seen |= bit;

    if (d->choice_ended) {
        d->ended |= bit;
    }
}


static void
ngx_llm_answer_read_error(ngx_llm_answer_t *a)
{
    ngx_llm_pull_t   *pl;
    ngx_llm_event_t  *ev;

    pl = &a->pull;
    ev = &a->draft.event;

    ev->error = ngx_llm_answer_truthy(pl);
    ev->error_object = (ev->error && pl->type == NGX_LLM_PULL_OBJECT_END);

    if (pl->type == NGX_LLM_PULL_OBJECT) {
        a->draft.status[0] = 0;
        a->draft.status[1] = 0;
    }
}


static void
ngx_llm_answer_read_status(ngx_llm_answer_t *a)
{
    int64_t          n;
    ngx_llm_pull_t  *pl;

    pl = &a->pull;

    n = (pl->type == NGX_LLM_PULL_NUMBER) ? ngx_llm_answer_integer(&pl->value)
                                          : 0;

    a->draft.status[pl->slot - ngx_llm_answer_error_code] =
                                      (n >= 400 && n <= 599) ? (uint16_t) n : 0;
}


static void
ngx_llm_answer_read_type(ngx_llm_answer_t *a)
{
    ngx_str_t               *value;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    value = &a->pull.value;

    if (a->kind != NGX_LLM_ANSWER_STREAM
        || a->pull.type != NGX_LLM_PULL_STRING)
    {
        return;
    }

    d->error_type = ngx_llm_answer_is(value, "error");
    d->event.terminal = d->error_type
                        || ngx_llm_answer_is(value, "response.completed")
                        || ngx_llm_answer_is(value, "response.failed")
                        || ngx_llm_answer_is(value, "response.incomplete");
}


/* a finish reason, or the status of a response that has ended */

static void
ngx_llm_answer_reason(ngx_llm_answer_t *a)
{
    size_t                   i;
    u_char                   ch;
    ngx_str_t               *value;

    value = &a->pull.value;

    if (a->pull.type != NGX_LLM_PULL_STRING
        || ngx_llm_answer_is(value, "in_progress")
        || ngx_llm_answer_is(value, "queued"))
    {
        return;
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];
        a->reason[i] = (ch >= 0x20 && ch <= 0x7e) ? ch : '?';
    }

    a->draft.finish_len = (u_char) value->len;

    if (a->pull.slot == ngx_llm_answer_finish) {
        a->draft.odd |= !ngx_llm_answer_is(value, "stop")
                        && !ngx_llm_answer_is(value, "tool_calls")
                        && !ngx_llm_answer_is(value, "length");

    } else {
        a->draft.odd |= !ngx_llm_answer_is(value, "completed");
    }
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

    if (a->kind == NGX_LLM_ANSWER_STREAM) {
        named = (a->sse.name_len == 5
                 && ngx_memcmp(a->sse.name, "error", 5) == 0);
        ev->data = a->sse.data;
        ev->done = (d->marker == sizeof(ngx_llm_answer_done) - 1);
        ev->object &= !d->bad;

    } else {
        named = 0;
        ev->data = 1;
    }

    a->events += ev->data;
    a->done |= ev->done;

    if (ev->object) {
        ngx_llm_answer_end_error(a, named);
        a->failed |= ev->error;
        ev->usage_only = (d->no_choices && d->usage_object && !ev->error);
        ngx_llm_answer_commit(a);

    } else {
        ev->error = named;
        ev->error_object = 0;
        ev->terminal = 0;
        a->malformed |= (ev->data && !ev->done);
    }

    a->event = *ev;

    if (a->kind == NGX_LLM_ANSWER_STREAM) {
        ngx_llm_answer_begin(a);
    }
}


/* the error is the member of that name, or the event itself */

static void
ngx_llm_answer_end_error(ngx_llm_answer_t *a, ngx_uint_t named)
{
    ngx_llm_event_t         *ev;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    ev = &d->event;

    if (a->kind == NGX_LLM_ANSWER_JSON && d->result) {
        a->beside = ev->error;
        ev->error = 0;
        ev->error_object = 0;
        return;
    }

    if (ev->error) {
        ev->error_status = ev->error_object
                           ? (d->status[0] ? d->status[0] : d->status[1]) : 0;
        return;
    }

    if (named || d->error_type) {
        ev->error = 1;
        ev->error_object = 1;
        ev->error_status = d->status[2];
    }
}


static void
ngx_llm_answer_commit(ngx_llm_answer_t *a)
{
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;

    if (d->usage_bad) {
        a->usage_bad = 1;

    } else if (d->usage_given) {
        a->usage = a->pending;
        a->usage_seen = 1;
        a->usage_bad = 0;
    }

    a->seen |= d->seen;
    a->ended |= d->ended;
    a->beyond |= d->beyond;
    a->finished = (a->seen != 0 && a->seen == a->ended && !a->beyond);

    a->terminal |= d->event.terminal;
    a->content |= d->content;
    a->output = ngx_llm_answer_sum(a->output, d->output);
    d->output = 0;
    a->odd |= d->odd;

    if (d->finish_len) {
        ngx_memcpy(a->finish_reason, a->reason, d->finish_len);
        a->finish_len = d->finish_len;
    }
}


static void
ngx_llm_answer_begin(ngx_llm_answer_t *a)
{
    ngx_memzero(&a->draft, sizeof(ngx_llm_answer_draft_t));
    ngx_llm_pull_init(&a->pull, ngx_llm_answer_nodes);
}
