/*
 * ngx_llm_answer_value.c: the values of an answer, as the scanner tells them,
 * become notes in the draft of the event that is being read.
 *
 * Called by the scanner.  The event may still be cut: ngx_llm_answer.c decides
 * whether it counts when it has ended.
 */

#include <ngx_llm_answer.h>
#include <ngx_llm_price_unit.h>

#include "ngx_llm_members.h"


#define ngx_llm_answer_is(value, text)                                        \
    ((value)->len == sizeof(text) - 1                                         \
     && ngx_memcmp((value)->data, text, sizeof(text) - 1) == 0)


static void ngx_llm_answer_remember(ngx_llm_answer_t *a, u_char *p,
    u_char *last);
static void ngx_llm_answer_token(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_usage(ngx_llm_answer_t *a);
static void ngx_llm_answer_merge_usage(ngx_llm_answer_t *a);
static void ngx_llm_answer_merge(ngx_llm_answer_t *a, ngx_uint_t slot,
    int64_t earlier);
static void ngx_llm_answer_complete_usage(ngx_llm_answer_t *a,
    ngx_llm_usage_t *usage);
static void ngx_llm_answer_read_choices(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_choice(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_content(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_error(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_status(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_state(ngx_llm_answer_t *a);
static void ngx_llm_answer_read_type(ngx_llm_answer_t *a);
static void ngx_llm_answer_reason(ngx_llm_answer_t *a);
static void ngx_llm_answer_tier(ngx_llm_answer_t *a);
static void ngx_llm_answer_cost(ngx_llm_answer_t *a);


void
ngx_llm_members_value(ngx_llm_reader_t *pl, u_char *p)
{
    ngx_llm_answer_t        *a;
    ngx_llm_answer_draft_t  *d;

    a = pl->data;
    d = &a->draft;

    switch (pl->slot) {

    case ngx_llm_members_tier:
        ngx_llm_answer_tier(a);
        break;

    case ngx_llm_members_cost:
        ngx_llm_answer_cost(a);
        break;

    case ngx_llm_members_usage:
        d->usage_object |= (pl->type == NGX_LLM_READER_OBJECT);

        /* fall through */

    case ngx_llm_members_inner_usage:
        ngx_llm_answer_read_usage(a);
        break;

    case ngx_llm_members_start_usage:

        if (a->api == &ngx_llm_api_messages) {
            ngx_llm_answer_read_usage(a);
        }

        break;

    case ngx_llm_members_choices:
        ngx_llm_answer_read_choices(a);
        break;

    case ngx_llm_members_choice:
    case ngx_llm_members_finish:
        ngx_llm_answer_read_choice(a);
        break;

    case ngx_llm_members_index:
        ngx_llm_answer_read_choice(a);

        if (a->from) {
            ngx_llm_answer_remember(a, a->from, p);
            a->from = NULL;
        }

        break;

    case ngx_llm_members_choice_content:
    case ngx_llm_members_choice_thought:
    case ngx_llm_members_delta:
    case ngx_llm_members_text:
    case ngx_llm_members_piece:
    case ngx_llm_members_stop:
    case ngx_llm_members_content:
    case ngx_llm_members_rows:
    case ngx_llm_members_results:
    case ngx_llm_members_output:
    case ngx_llm_members_audio:
        ngx_llm_answer_read_content(a);
        break;

    case ngx_llm_members_error:
    case ngx_llm_members_choice_error:
        ngx_llm_answer_read_error(a);
        break;

    case ngx_llm_members_error_code:
    case ngx_llm_members_error_status:
        ngx_llm_answer_read_status(a);

        /* fall through */

    case ngx_llm_members_error_member:
        d->error_filled |= ngx_llm_members_truthy(pl);
        break;

    case ngx_llm_members_root_code:
        ngx_llm_answer_read_status(a);
        break;

    case ngx_llm_members_root_status:
        ngx_llm_answer_read_state(a);

        if (a->kind != NGX_LLM_ANSWER_JSON) {
            break;
        }

        /* fall through */

    case ngx_llm_members_response_status:

        /* other servers' statuses do not hide a finish reason */

        if ((a->ended | d->ended) == 0) {
            ngx_llm_answer_reason(a);
        }

        break;

    case ngx_llm_members_type:
        ngx_llm_answer_read_type(a);
        break;

    case ngx_llm_members_object:
        d->error_type |= (pl->type == NGX_LLM_READER_STRING
                          && ngx_llm_answer_is(&pl->value, "error"));
        break;

    case ngx_llm_members_root_message:
        d->message |= (pl->type == NGX_LLM_READER_STRING && pl->value.len);
        break;

    case ngx_llm_members_complaint:
        d->complaint |= ngx_llm_members_truthy(pl);
        break;

    default:
        ngx_llm_answer_token(a);
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
    a->start_place = a->reader.at;
}


/*
 * A count in usage.  A value that is not an integer below 2^31 is ignored, the
 * rest of the object counts.  Relays are known to send both families of names
 * with zeros in one of them, so the larger of two aliases counts.
 */

static void
ngx_llm_answer_token(ngx_llm_answer_t *a)
{
    int64_t            n, *token;
    ngx_llm_reader_t  *pl;

    pl = &a->reader;
    token = &a->tokens[pl->slot];

    n = (pl->type == NGX_LLM_READER_NUMBER)
        ? ngx_llm_members_integer(&pl->value) : -1;
    if (n < 0 || n > INT32_MAX) {
        a->draft.tokens_bad = 1;

    } else if (n > *token) {
        *token = n;
    }
}


static void
ngx_llm_answer_read_usage(ngx_llm_answer_t *a)
{
    ngx_uint_t               i;
    ngx_llm_usage_t          usage;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;

    if (a->reader.type == NGX_LLM_READER_OBJECT) {

        for (i = 0; i < NGX_LLM_ANSWER_TOKENS; i++) {
            a->tokens[i] = -1;
        }

        d->tokens_bad = 0;

        return;
    }

    if (a->reader.type != NGX_LLM_READER_OBJECT_END) {
        return;
    }

    if (a->api == &ngx_llm_api_messages && a->usage_seen) {
        ngx_llm_answer_merge_usage(a);
    }

    if (ngx_llm_usage_normalise(&usage, a->tokens) != NGX_OK) {
        d->usage_bad |= d->tokens_bad;
        return;
    }

    ngx_llm_answer_complete_usage(a, &usage);

    d->usage_bad = 0;
    d->usage_given = 1;
    a->pending = usage;
}


/*
 * Adds the counts of message_start to those of message_delta, which may have
 * the output only, or zeros.
 */

static void
ngx_llm_answer_merge_usage(ngx_llm_answer_t *a)
{
    int64_t  input;

    input = a->usage.prompt - ngx_max(a->usage.cached, 0)
            - ngx_max(a->usage.cache_write, 0);

    ngx_llm_answer_merge(a, ngx_llm_members_input, input);
    ngx_llm_answer_merge(a, ngx_llm_members_cache_read, a->usage.cached);
    ngx_llm_answer_merge(a, ngx_llm_members_cache_creation,
                         a->usage.cache_write);
    ngx_llm_answer_merge(a, ngx_llm_members_cache_write_1h,
                         a->usage.cache_write_1h);
    ngx_llm_answer_merge(a, ngx_llm_members_completion, a->usage.completion);
}


static void
ngx_llm_answer_merge(ngx_llm_answer_t *a, ngx_uint_t slot, int64_t earlier)
{
    if (a->tokens[slot] <= 0 && earlier >= 0) {
        a->tokens[slot] = earlier;
    }
}


/*
 * Takes the member that is missing from the total.  Embeddings and rerank of
 * some providers have a total only, and no completion; a total of
 * generated text is divided by the estimate of the prompt.
 */

static void
ngx_llm_answer_complete_usage(ngx_llm_answer_t *a, ngx_llm_usage_t *usage)
{
    int64_t  total;

    total = a->tokens[ngx_llm_members_total];

    if (a->api == &ngx_llm_api_chat || a->api == &ngx_llm_api_completions
        || a->api == &ngx_llm_api_responses || a->api == &ngx_llm_api_messages)
    {
        if (usage->completion < 0 && usage->prompt >= 0
            && total >= usage->prompt
            && (total > usage->prompt || !a->draft.tokens_bad))
        {
            usage->completion = total - usage->prompt;
        }

    } else if (usage->prompt < 0 && usage->completion < 0) {
        usage->prompt = usage->total;
    }
}


static void
ngx_llm_answer_read_choices(ngx_llm_answer_t *a)
{
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;

    if (a->reader.type == NGX_LLM_READER_ARRAY) {
        d->seen = 0;
        d->ended = 0;
        d->position = 0;
        d->beyond = 0;

    } else if (a->reader.type == NGX_LLM_READER_ARRAY_END) {
        d->no_choices = a->reader.empty;

        if (!a->reader.empty) {
            d->seen_members |= NGX_LLM_SEEN_CHOICES;
        }
    }
}


/* a choice's start, a value in it that we read, or its end */

static void
ngx_llm_answer_read_choice(ngx_llm_answer_t *a)
{
    int64_t                  n;
    uint64_t                 bit;
    ngx_llm_reader_t        *pl;
    ngx_llm_answer_draft_t  *d;

    pl = &a->reader;
    d = &a->draft;

    switch (pl->type) {

    case NGX_LLM_READER_OBJECT:
        d->index = d->position++;
        d->choice_ended = 0;
        return;

    case NGX_LLM_READER_NUMBER:
        n = ngx_llm_members_integer(&pl->value);

        if (pl->slot == ngx_llm_members_index && n >= 0) {
            d->index = (n < 64) ? (int32_t) n : 64;
        }

        return;

    case NGX_LLM_READER_STRING:

        /* some send "" where others send null */

        if (pl->slot == ngx_llm_members_finish && pl->value.len) {
            d->choice_ended = 1;
            d->choice_failed |= ngx_llm_answer_is(&pl->value, "error");
            d->seen_members |= NGX_LLM_SEEN_FINISH;
            ngx_llm_answer_reason(a);
        }

        return;

    case NGX_LLM_READER_OBJECT_END:
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


/* the values that show an answer, or are its content */

static void
ngx_llm_answer_read_content(ngx_llm_answer_t *a)
{
    ngx_llm_reader_t        *pl;
    ngx_llm_answer_draft_t  *d;

    static const struct {
        uint16_t  array;             /* seen if it is one, */
        uint16_t  filled;            /* or has a value */
        u_char    content;
    } shows[] = {
        { 0, NGX_LLM_SEEN_DELTA, 1 },                    /* choice_content */
        { 0, NGX_LLM_SEEN_DELTA, 0 },                    /* choice_thought */
        { 0, 0, 1 },                                     /* delta */
        { 0, 0, 1 },                                     /* text */
        { 0, 0, 0 },                                     /* piece */
        { 0, NGX_LLM_SEEN_STOP, 0 },                     /* stop */
        { 0, 0, 1 },                                     /* content */
        { 0, NGX_LLM_SEEN_DATA, 1 },                     /* rows */
        { 0, NGX_LLM_SEEN_RESULTS, 1 },                  /* results */
        { NGX_LLM_SEEN_OUTPUT, NGX_LLM_SEEN_ITEMS, 1 },  /* output */
        { 0, NGX_LLM_SEEN_AUDIO, 1 }                     /* audio */
    };

    const u_char  i = a->reader.slot - ngx_llm_members_choice_content;

    pl = &a->reader;
    d = &a->draft;

    if (pl->type == NGX_LLM_READER_ARRAY) {
        d->seen_members |= shows[i].array;

    } else if (ngx_llm_members_truthy(pl)) {
        d->seen_members |= shows[i].filled;
        d->content |= shows[i].content;
    }

    if (pl->type != NGX_LLM_READER_STRING) {
        return;
    }

    /* the last event of a text repeats all of it */

    if (pl->slot <= ngx_llm_members_piece
        && (pl->slot != ngx_llm_members_text || a->output == 0
            || a->kind == NGX_LLM_ANSWER_JSON))
    {
        d->output = ngx_llm_members_sum(d->output, pl->length);
    }

    if (pl->slot == ngx_llm_members_text) {

        /* silence is transcribed as well */

        d->seen_members |= NGX_LLM_SEEN_TEXT;
    }
}


/* the start of an error, its end, or one that is no object */

static void
ngx_llm_answer_read_error(ngx_llm_answer_t *a)
{
    ngx_uint_t               filled, object;
    ngx_llm_reader_t        *pl;
    ngx_llm_event_t         *ev;
    ngx_llm_answer_draft_t  *d;

    pl = &a->reader;
    d = &a->draft;
    ev = &d->event;

    if (pl->type == NGX_LLM_READER_OBJECT) {
        d->error_filled = 0;

        if (pl->slot == ngx_llm_members_error) {
            d->status[0] = 0;
            d->status[1] = 0;
        }
    }

    object = (pl->type == NGX_LLM_READER_OBJECT_END);
    filled = object ? d->error_filled : ngx_llm_members_truthy(pl);

    if (pl->slot == ngx_llm_members_error) {
        ev->error = filled;
        ev->error_object = (filled && object);

    } else {
        d->choice_failed |= filled;
    }
}


static void
ngx_llm_answer_read_status(ngx_llm_answer_t *a)
{
    int64_t            n;
    ngx_llm_reader_t  *pl;

    pl = &a->reader;

    n = (pl->type == NGX_LLM_READER_NUMBER)
        ? ngx_llm_members_integer(&pl->value) : 0;

    a->draft.status[pl->slot - ngx_llm_members_error_code] =
                                      (n >= 400 && n <= 599) ? (uint16_t) n : 0;
}


/* the status of a response, a member of the document */

static void
ngx_llm_answer_read_state(ngx_llm_answer_t *a)
{
    ngx_str_t  *value;

    value = &a->reader.value;

    if (a->reader.type == NGX_LLM_READER_STRING
        && (ngx_llm_answer_is(value, "completed")
            || ngx_llm_answer_is(value, "incomplete")
            || ngx_llm_answer_is(value, "in_progress")
            || ngx_llm_answer_is(value, "queued")))
    {
        a->draft.seen_members |= NGX_LLM_SEEN_STATUS;
    }
}


static void
ngx_llm_answer_read_type(ngx_llm_answer_t *a)
{
    ngx_str_t               *value;
    ngx_llm_answer_draft_t  *d;

    d = &a->draft;
    value = &a->reader.value;

    if (a->reader.type != NGX_LLM_READER_STRING) {
        return;
    }

    d->typed = 1;
    d->error_type |= ngx_llm_answer_is(value, "error");

    if (ngx_llm_answer_is(value, "message")) {
        d->seen_members |= NGX_LLM_SEEN_MESSAGE;
    }

    if (a->kind != NGX_LLM_ANSWER_JSON) {
        d->means = ngx_llm_api_event(a->api, value->data, value->len);
    }
}


/* a finish reason, or the status of a response that has ended */

static void
ngx_llm_answer_reason(ngx_llm_answer_t *a)
{
    size_t                   i;
    u_char                   ch;
    ngx_str_t               *value;

    value = &a->reader.value;

    if (a->reader.type != NGX_LLM_READER_STRING
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

    if (a->reader.slot == ngx_llm_members_finish) {
        a->draft.odd |= !ngx_llm_answer_is(value, "stop")
                        && !ngx_llm_answer_is(value, "tool_calls")
                        && !ngx_llm_answer_is(value, "length");

    } else {
        a->draft.odd |= !ngx_llm_answer_is(value, "completed");
    }
}


/* Notes the tier at which the provider says it has served the request. */

static void
ngx_llm_answer_tier(ngx_llm_answer_t *a)
{
    ngx_str_t             *name;
    ngx_llm_price_tier_e   tier;

    if (a->reader.type != NGX_LLM_READER_STRING) {
        return;
    }

    name = &a->reader.value;

    if (ngx_llm_answer_is(name, "priority") || ngx_llm_answer_is(name, "fast"))
    {
        tier = NGX_LLM_PRICE_PRIORITY;

    } else if (ngx_llm_answer_is(name, "flex")) {
        tier = NGX_LLM_PRICE_FLEX;

    } else if (ngx_llm_answer_is(name, "batch")) {
        tier = NGX_LLM_PRICE_BATCH;

    } else {
        tier = NGX_LLM_PRICE_DEFAULT;
    }

    a->tier = tier + 1;
}


/* Notes what the provider has charged; a value of another type is ignored. */

static void
ngx_llm_answer_cost(ngx_llm_answer_t *a)
{
    int64_t  nano;

    if (a->reader.type == NGX_LLM_READER_NUMBER
        && ngx_llm_members_amount(&a->reader.value, &nano) == NGX_OK)
    {
        a->tokens[ngx_llm_members_cost] = nano;
    }
}
