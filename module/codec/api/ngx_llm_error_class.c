/*
 * ngx_llm_error_class.c: whose fault a provider's error answer is.
 *
 * The status gives a first blame, the error's codes and text may correct it.
 * What corrects what is a table: a word or sentence, whom it blames, and which
 * first blames it may replace.  A provider with another shape or another code
 * is a line in a table here.
 */

#include <ngx_llm_error_class.h>
#include "ngx_llm_error_read.h"


/* of an amount in a duration: exact to a tenth of a millisecond */

#define NGX_LLM_ERROR_CLASS_ONE  10000


typedef struct {
    const char          *text;        /* lower case */
    u_char               error_class;
    u_char               over;        /* blames it replaces, a bit each */
} ngx_llm_error_class_row_t;


static ngx_llm_error_class_e ngx_llm_error_class_judge(
    const ngx_llm_error_read_said_t *said, ngx_uint_t status);
static ngx_llm_error_class_e ngx_llm_error_class_by_status(ngx_uint_t status);
static const ngx_llm_error_class_row_t *ngx_llm_error_class_by_phrase(
    const ngx_llm_error_read_said_t *said, ngx_llm_error_class_e error_class);
static const ngx_llm_error_class_row_t *ngx_llm_error_class_by_word(
    const ngx_llm_error_read_said_t *said, ngx_llm_error_class_e error_class);
static const ngx_llm_error_class_row_t *ngx_llm_error_class_by_sentence(
    const ngx_llm_error_read_said_t *said, ngx_llm_error_class_e error_class);
static ngx_uint_t ngx_llm_error_class_is_sentence(const u_char *p,
    const u_char *last, const char *sentence);
static int64_t ngx_llm_error_class_hint(const ngx_llm_error_read_said_t *said);
static ngx_int_t ngx_llm_error_class_text_hint(const u_char *p,
    const u_char *last, int64_t *ms);
static const u_char *ngx_llm_error_class_amount(const u_char *p,
    const u_char *last, int64_t *amount);


#define NGX_LLM_ERROR_CLASS_OVER(error_class)                                 \
    (1 << NGX_LLM_ERROR_CLASS_##error_class)

/* in a 2xx: there is no other blame yet */
#define NGX_LLM_ERROR_CLASS_IN_200  NGX_LLM_ERROR_CLASS_OVER(NOBODY)

#define NGX_LLM_ERROR_CLASS_IN_ANY                                            \
    (NGX_LLM_ERROR_CLASS_IN_200                                               \
     | NGX_LLM_ERROR_CLASS_OVER(REQUEST)                                      \
     | NGX_LLM_ERROR_CLASS_OVER(CREDENTIAL)                                   \
     | NGX_LLM_ERROR_CLASS_OVER(OVERLOAD))

#define ngx_llm_error_class_request(word)                                     \
    { word, NGX_LLM_ERROR_CLASS_REQUEST, NGX_LLM_ERROR_CLASS_IN_ANY }
#define ngx_llm_error_class_no_money(word)                                    \
    { word, NGX_LLM_ERROR_CLASS_QUOTA,                                        \
      NGX_LLM_ERROR_CLASS_IN_ANY | NGX_LLM_ERROR_CLASS_OVER(RATE) }
#define ngx_llm_error_class_no_model(word)                                    \
    { word, NGX_LLM_ERROR_CLASS_NOT_FOUND, NGX_LLM_ERROR_CLASS_IN_ANY }
#define ngx_llm_error_class_bad_key(word)                                     \
    { word, NGX_LLM_ERROR_CLASS_CREDENTIAL,                                   \
      NGX_LLM_ERROR_CLASS_IN_ANY & ~NGX_LLM_ERROR_CLASS_OVER(CREDENTIAL) }
#define ngx_llm_error_class_rate(word)                                        \
    { word, NGX_LLM_ERROR_CLASS_RATE,                                         \
      NGX_LLM_ERROR_CLASS_IN_ANY | NGX_LLM_ERROR_CLASS_OVER(RATE) }
#define ngx_llm_error_class_full(word)                                        \
    { word, NGX_LLM_ERROR_CLASS_OVERLOAD,                                     \
      NGX_LLM_ERROR_CLASS_IN_200 | NGX_LLM_ERROR_CLASS_OVER(RATE) }
#define ngx_llm_error_class_late(word)                                        \
    { word, NGX_LLM_ERROR_CLASS_TIMEOUT,                                      \
      NGX_LLM_ERROR_CLASS_IN_200 | NGX_LLM_ERROR_CLASS_OVER(OVERLOAD) }
#define ngx_llm_error_class_in_200(word, error_class)                         \
    { word, NGX_LLM_ERROR_CLASS_##error_class, NGX_LLM_ERROR_CLASS_IN_200 }


/*
 * Codes, types and reasons; the first row that an error has wins.  What the
 * client is to blame for comes first, so that it never costs a key: a request
 * refused by moderation is a 403 as a revoked key is.  Rows whose status says
 * the same are for errors inside of a 2xx.
 */

static const ngx_llm_error_class_row_t  ngx_llm_error_class_words[] = {

    ngx_llm_error_class_request("content_filter"),
    ngx_llm_error_class_request("content_policy_violation"),
    ngx_llm_error_class_request("responsibleaipolicyviolation"),
    ngx_llm_error_class_request("moderation_blocked"),
    ngx_llm_error_class_request("invalid_prompt"),
    ngx_llm_error_class_request("bio_policy"),
    ngx_llm_error_class_request("context_length_exceeded"),

    ngx_llm_error_class_no_money("insufficient_quota"),
    ngx_llm_error_class_no_money("credit_balance_exhausted"),
    ngx_llm_error_class_no_money("billing_hard_limit_reached"),
    ngx_llm_error_class_no_money("billing_not_active"),
    ngx_llm_error_class_no_money("billing_error"),
    ngx_llm_error_class_no_money("billing_disabled"),

    ngx_llm_error_class_no_model("model_not_found"),
    ngx_llm_error_class_no_model("deploymentnotfound"),
    ngx_llm_error_class_in_200("not_found", NOT_FOUND),
    ngx_llm_error_class_in_200("not_found_error", NOT_FOUND),
    ngx_llm_error_class_in_200("notfounderror", NOT_FOUND),
    ngx_llm_error_class_in_200("resourcenotfound", NOT_FOUND),
    ngx_llm_error_class_in_200("notauthorizedornotfound", NOT_FOUND),

    ngx_llm_error_class_bad_key("invalid_api_key"),
    ngx_llm_error_class_bad_key("api_key_invalid"),
    ngx_llm_error_class_bad_key("authentication_error"),
    ngx_llm_error_class_bad_key("unauthenticated"),
    ngx_llm_error_class_bad_key("notauthenticated"),
    ngx_llm_error_class_bad_key("expiredtoken"),
    ngx_llm_error_class_bad_key("unrecognizedclient"),
    ngx_llm_error_class_bad_key("invalidsignature"),
    ngx_llm_error_class_in_200("permission_error", CREDENTIAL),
    ngx_llm_error_class_in_200("permission_denied", CREDENTIAL),
    ngx_llm_error_class_in_200("permissiondenied", CREDENTIAL),
    ngx_llm_error_class_in_200("permission_denied_error", CREDENTIAL),
    ngx_llm_error_class_in_200("accessdenied", CREDENTIAL),
    ngx_llm_error_class_in_200("access_denied", CREDENTIAL),

    ngx_llm_error_class_rate("resource_exhausted"),
    ngx_llm_error_class_rate("rate_limit_exceeded"),
    ngx_llm_error_class_rate("rate_limit_error"),
    ngx_llm_error_class_rate("ratelimitreached"),
    ngx_llm_error_class_rate("slow_down"),
    ngx_llm_error_class_rate("throttling"),
    ngx_llm_error_class_rate("too_many_requests"),
    ngx_llm_error_class_rate("toomanyrequests"),
    ngx_llm_error_class_rate("some resource has been exhausted"),

    ngx_llm_error_class_full("overloaded_error"),
    ngx_llm_error_class_full("server_is_overloaded"),
    ngx_llm_error_class_full("provider_overloaded"),
    ngx_llm_error_class_full("modelnotready"),

    ngx_llm_error_class_late("deadline_exceeded"),
    ngx_llm_error_class_late("modeltimeout"),
    ngx_llm_error_class_late("timeout_error"),

    ngx_llm_error_class_in_200("unavailable", OVERLOAD),
    ngx_llm_error_class_in_200("serviceunavailable", OVERLOAD),
    ngx_llm_error_class_in_200("service_unavailable_error", OVERLOAD),
    ngx_llm_error_class_in_200("the service is currently unavailable",
                               OVERLOAD),
    ngx_llm_error_class_in_200("server_error", OVERLOAD),
    ngx_llm_error_class_in_200("api_error", OVERLOAD),
    ngx_llm_error_class_in_200("internal", OVERLOAD),
    ngx_llm_error_class_in_200("internalserver", OVERLOAD),
    ngx_llm_error_class_in_200("internalservererror", OVERLOAD),

    { NULL, 0, 0 }
};


/*
 * Messages.  These two lists differ in what they cost.  A message may quote
 * the client: a model's name, a member's name, a piece of text; "NAME: Extra
 * inputs are not permitted" begins with whatever the client called its member.
 * A phrase in the middle, or at the start, proves nothing then.  So a phrase
 * may stand anywhere only where the client accuses itself, and what accuses a
 * key or a target is the provider's sentence from its first to its last byte
 * (but the final full stop), where "*" is a word and "#" one that is partly
 * masked by asterisks, as only a key is.
 *
 * A context that is too long needs no phrase: it is told with 400, 413 or 422,
 * and these are the request's fault whatever the text says.
 */

static const ngx_llm_error_class_row_t  ngx_llm_error_class_phrases[] = {
    ngx_llm_error_class_request("content_policy_violation"),
    ngx_llm_error_class_request("responsibleaipolicyviolation"),
    ngx_llm_error_class_request("the response was filtered due to the prompt "
                                "triggering"),
    ngx_llm_error_class_request("content_filter_policy"),
    ngx_llm_error_class_request("rejected as a result of our safety system"),
    ngx_llm_error_class_request("task failed as a result of our safety system"),
    ngx_llm_error_class_request("the model produced invalid content"),
    ngx_llm_error_class_request("output blocked by content filtering policy"),
    ngx_llm_error_class_request("content violates usage guidelines"),
    { NULL, 0, 0 }
};


static const ngx_llm_error_class_row_t  ngx_llm_error_class_sentences[] = {

    /* xAI */
    ngx_llm_error_class_bad_key("incorrect api key provided"),
    ngx_llm_error_class_bad_key("incorrect api key provided: #"),
    ngx_llm_error_class_bad_key(
        "incorrect api key provided: # you can obtain an "
        "api key from https://console.x.ai"),
    ngx_llm_error_class_in_200("the service is currently unavailable",
                               OVERLOAD),

    /* Gemini */
    ngx_llm_error_class_bad_key(
        "api key not valid. please pass a valid api key"),
    ngx_llm_error_class_bad_key("api key expired. please renew the api key"),

    /* Anthropic */
    ngx_llm_error_class_no_money("your credit balance is too low to access the "
                                 "anthropic api. please go to plans & billing "
                                 "to upgrade or purchase credits"),
    ngx_llm_error_class_no_money("you have reached your specified api usage "
                                 "limits. you will regain access on * at * "
                                 "utc"),

    /* Bedrock */
    ngx_llm_error_class_no_model("invocation of model id * with on-demand "
                                 "throughput * supported. retry your request "
                                 "with the id or arn of an inference profile "
                                 "that contains this model"),
    ngx_llm_error_class_no_model("the provided model identifier is invalid"),
    ngx_llm_error_class_no_model("you don't have access to the model with the "
                                 "specified model id"),

    { NULL, 0, 0 }
};


/* what stands before a duration: Azure, OpenAI and Groq, Gemini */

static const char *const  ngx_llm_error_class_hints[] = {
    "please retry after ",
    "try again in ",
    "please retry in ",
    NULL
};


ngx_llm_error_class_e
ngx_llm_error_class(ngx_uint_t status, const u_char *body, size_t len,
    int64_t *hint_ms)
{
    ngx_llm_error_class_e      error_class;
    ngx_llm_error_read_said_t  said;

    *hint_ms = -1;

    if (status < 200 || (status > 299 && status < 400)) {
        return NGX_LLM_ERROR_CLASS_NOBODY;
    }

    ngx_llm_error_read(&said, body, len);

    if (said.status && (status < 300 || status >= 500)) {
        status = said.status;

    } else if (status == 424
               && (said.original == 429 || said.original >= 500))
    {
        status = said.original;
    }

    error_class = ngx_llm_error_class_judge(&said, status);

    if (error_class == NGX_LLM_ERROR_CLASS_RATE
        || error_class == NGX_LLM_ERROR_CLASS_OVERLOAD
        || error_class == NGX_LLM_ERROR_CLASS_QUOTA)
    {
        *hint_ms = ngx_llm_error_class_hint(&said);
    }

    return error_class;
}


static ngx_llm_error_class_e
ngx_llm_error_class_judge(const ngx_llm_error_read_said_t *said,
    ngx_uint_t status)
{
    ngx_llm_error_class_e             error_class;
    const ngx_llm_error_class_row_t  *row;

    error_class = ngx_llm_error_class_by_status(status);

    /*
     * Too large or unprocessable is the request's fault whatever the code: if
     * it were not, a client could cool a key with one request that is larger
     * than a limit per minute (Groq: 413 with rate_limit_exceeded).
     */

    if ((error_class == NGX_LLM_ERROR_CLASS_REQUEST && status != 400)
        || (error_class == NGX_LLM_ERROR_CLASS_NOBODY && status > 299))
    {
        return error_class;
    }

    if (said->flagged
        && (error_class == NGX_LLM_ERROR_CLASS_NOBODY
            || error_class == NGX_LLM_ERROR_CLASS_CREDENTIAL))
    {
        return NGX_LLM_ERROR_CLASS_REQUEST;
    }

    row = ngx_llm_error_class_by_phrase(said, error_class);

    if (row == NULL) {
        row = ngx_llm_error_class_by_word(said, error_class);
    }

    if (row == NULL) {
        row = ngx_llm_error_class_by_sentence(said, error_class);
    }

    if (row != NULL) {
        error_class = row->error_class;
    }

    if (error_class == NGX_LLM_ERROR_CLASS_RATE && said->daily) {
        return NGX_LLM_ERROR_CLASS_QUOTA;
    }

    return error_class;
}


static ngx_llm_error_class_e
ngx_llm_error_class_by_status(ngx_uint_t status)
{
    switch (status) {

    case 400:
    case 413:
    case 415:
    case 422:
    case 424:                         /* Bedrock: the model has failed on it */
        return NGX_LLM_ERROR_CLASS_REQUEST;

    case 401:
    case 403:
        return NGX_LLM_ERROR_CLASS_CREDENTIAL;

    case 402:
        return NGX_LLM_ERROR_CLASS_QUOTA;

    case 404:
    case 405:
        return NGX_LLM_ERROR_CLASS_NOT_FOUND;

    case 408:
    case 504:
    case 524:                         /* Cloudflare's, before OpenRouter */
        return NGX_LLM_ERROR_CLASS_TIMEOUT;

    case 429:
    case 498:                         /* Groq: no flex capacity */
        return NGX_LLM_ERROR_CLASS_RATE;

    default:
        return (status >= 500 && status <= 599) ? NGX_LLM_ERROR_CLASS_OVERLOAD
                                                : NGX_LLM_ERROR_CLASS_NOBODY;
    }
}


static const ngx_llm_error_class_row_t *
ngx_llm_error_class_by_phrase(const ngx_llm_error_read_said_t *said,
    ngx_llm_error_class_e error_class)
{
    const u_char                     *last;
    const ngx_llm_error_class_row_t  *row;

    last = said->text + said->text_len;

    for (row = ngx_llm_error_class_phrases; row->text; row++) {

        if ((row->over & (1 << error_class))
            && ngx_llm_error_read_find(said->text, last, row->text) != NULL)
        {
            return row;
        }
    }

    return NULL;
}


static const ngx_llm_error_class_row_t *
ngx_llm_error_class_by_word(const ngx_llm_error_read_said_t *said,
    ngx_llm_error_class_e error_class)
{
    ngx_uint_t                        i;
    const ngx_llm_error_class_row_t  *row;
    const ngx_llm_error_read_word_t  *word;

    for (row = ngx_llm_error_class_words; row->text; row++) {

        if (!(row->over & (1 << error_class))) {
            continue;
        }

        for (i = 0; i < said->words_n; i++) {
            word = &said->words[i];

            if (strlen(row->text) == word->len
                && ngx_memcmp(row->text, word->data, word->len) == 0)
            {
                return row;
            }
        }
    }

    return NULL;
}


static const ngx_llm_error_class_row_t *
ngx_llm_error_class_by_sentence(const ngx_llm_error_read_said_t *said,
    ngx_llm_error_class_e error_class)
{
    const u_char                     *last;
    const ngx_llm_error_class_row_t  *row;

    last = said->text + said->text_len;

    if (last > said->text && last[-1] == '.') {
        last--;
    }

    for (row = ngx_llm_error_class_sentences; row->text; row++) {

        if ((row->over & (1 << error_class))
            && ngx_llm_error_class_is_sentence(said->text, last, row->text))
        {
            return row;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_llm_error_class_is_sentence(const u_char *p, const u_char *last,
    const char *sentence)
{
    const u_char  *word;

    for ( /* void */ ; *sentence; sentence++) {

        if (*sentence != '*' && *sentence != '#') {

            if (p == last || *p++ != (u_char) *sentence) {
                return 0;
            }

            continue;
        }

        for (word = p; p < last && *p != ' '; p++) { /* void */ }

        if (p == word
            || (*sentence == '#' && memchr(word, '*', p - word) == NULL))
        {
            return 0;
        }
    }

    return p == last;
}


static int64_t
ngx_llm_error_class_hint(const ngx_llm_error_read_said_t *said)
{
    int64_t             ms, hint;
    const u_char       *p, *last, *best;
    const char *const  *phrase;

    if (ngx_llm_error_class_duration(said->delay.data, said->delay.len, &ms)
        == NGX_OK)
    {
        return ms;
    }

    /* the last one: what is before it may be a quote */

    hint = -1;
    best = said->text;
    last = said->text + said->text_len;

    for (phrase = ngx_llm_error_class_hints; *phrase; phrase++) {
        p = ngx_llm_error_read_find(said->text, last, *phrase);

        if (p != NULL && p > best
            && ngx_llm_error_class_text_hint(p, last, &ms) == NGX_OK)
        {
            hint = ms;
            best = p;
        }
    }

    return hint;
}


/* "7.66s." or "7 seconds." */

static ngx_int_t
ngx_llm_error_class_text_hint(const u_char *p, const u_char *last, int64_t *ms)
{
    ngx_uint_t           unit;
    const u_char        *end;
    static const u_char  seconds[] = " second";

    unit = 0;

    for (end = p; end < last; end++) {

        if (*end >= 'a' && *end <= 'z') {
            unit = 1;

        } else if (*end != '.' && (*end < '0' || *end > '9')) {
            break;
        }
    }

    if (!unit
        && ((size_t) (last - end) < sizeof(seconds) - 1
            || ngx_memcmp(end, seconds, sizeof(seconds) - 1) != 0))
    {
        return NGX_ERROR;
    }

    if (end > p && end[-1] == '.') {
        end--;
    }

    return ngx_llm_error_class_duration(p, end - p, ms);
}


ngx_int_t
ngx_llm_error_class_duration(const u_char *p, size_t len, int64_t *ms)
{
    int64_t        amount, unit, before, total;
    const u_char  *last;

    last = p + len;
    total = 0;
    before = 0;

    do {
        p = ngx_llm_error_class_amount(p, last, &amount);

        if (p == NULL || (p == last && before)) {
            return NGX_ERROR;
        }

        if (p == last) {
            unit = 1000;

        } else if (last - p > 1 && p[0] == 'm' && p[1] == 's') {
            unit = 1;
            p += 2;

        } else {
            unit = (*p == 'h') ? 3600000
                               : (*p == 'm') ? 60000 : (*p == 's') ? 1000 : 0;
            p++;
        }

        /* each unit once, the larger ones first */

        if (unit == 0 || (before && unit >= before)) {
            return NGX_ERROR;
        }

        before = unit;
        total += amount * unit;

    } while (p < last);

    total = (total + NGX_LLM_ERROR_CLASS_ONE - 1) / NGX_LLM_ERROR_CLASS_ONE;
    *ms = total < NGX_LLM_ERROR_CLASS_MAX ? total : NGX_LLM_ERROR_CLASS_MAX;

    return NGX_OK;
}


/*
 * A number, with decimals or without, in ten thousandths, rounded up; at most
 * NGX_LLM_ERROR_CLASS_MAX + 1, so that a sum of all units fits.  Returns what
 * is behind it, or NULL: it is none.
 */

static const u_char *
ngx_llm_error_class_amount(const u_char *p, const u_char *last, int64_t *amount)
{
    int64_t        n, scale;
    ngx_uint_t     more;
    const u_char  *start;

    start = p;

    for (n = 0; p < last && *p >= '0' && *p <= '9'; p++) {

        if (n <= NGX_LLM_ERROR_CLASS_MAX) {
            n = n * 10 + (*p - '0');
        }
    }

    if (p == start) {
        return NULL;
    }

    n = (n <= NGX_LLM_ERROR_CLASS_MAX) ? n : NGX_LLM_ERROR_CLASS_MAX;
    n *= NGX_LLM_ERROR_CLASS_ONE;

    if (last - p > 1 && *p == '.' && p[1] >= '0' && p[1] <= '9') {
        scale = NGX_LLM_ERROR_CLASS_ONE;
        more = 0;

        for (p++; p < last && *p >= '0' && *p <= '9'; p++) {
            scale /= 10;
            n += (*p - '0') * scale;
            more |= (scale == 0 && *p != '0');
        }

        n += more;
    }

    *amount = n;

    return p;
}
