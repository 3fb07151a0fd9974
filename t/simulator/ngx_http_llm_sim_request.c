
/*
 * What is asked for: a push scanner which picks a handful of members out of
 * the request's JSON while the body arrives, and the parser of "x-simulate"
 * and of model names "sim:...".  The scanner is tolerant: it knows strings,
 * escapes and depth, so that a "model" inside a message does not fool it, but
 * it does not validate.
 */


#include "ngx_http_llm_sim_request.h"


/* where the scanner stands */

enum {
    sim_between = 0,                /* between strings and numbers */
    sim_name,                       /* in a member's name */
    sim_string,                     /* in a string we want */
    sim_scalar,                     /* in a number or a word we want */
    sim_skip,                       /* in any other string */
    sim_bad,                        /* not an object */
    sim_end                         /* after the object */
};


/* the members it looks for */

enum {
    sim_other = 0,
    sim_model,
    sim_stream,
    sim_stream_options,
    sim_include_usage,
    sim_n,
    sim_input,
    sim_encoding_format,
    sim_dimensions,
    sim_max_tokens
};


typedef struct {
    ngx_str_t    name;
    ngx_uint_t   key;
    ngx_uint_t   depth;
} ngx_http_llm_sim_key_t;


typedef struct {
    ngx_str_t    name;
    size_t       offset;            /* in ngx_http_llm_sim_settings_t */
    ngx_int_t    min;
    ngx_int_t    max;
    enum { sim_number, sim_time, sim_text }  type;
} ngx_http_llm_sim_setting_t;


static u_char *ngx_http_llm_sim_request_between(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last);
static void ngx_http_llm_sim_request_open(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char ch);
static void ngx_http_llm_sim_request_close(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts);
static void ngx_http_llm_sim_request_comma(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts);
static void ngx_http_llm_sim_request_value(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char ch);
static u_char *ngx_http_llm_sim_request_text(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last);
static u_char *ngx_http_llm_sim_request_scalar(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last);
static u_char *ngx_http_llm_sim_request_skip(ngx_http_llm_sim_scan_t *s,
    u_char *p, u_char *last);
static void ngx_http_llm_sim_request_name(ngx_http_llm_sim_scan_t *s);
static void ngx_http_llm_sim_request_take(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts);
static ngx_int_t ngx_http_llm_sim_request_number(ngx_str_t *text,
    ngx_int_t unset);
static ngx_int_t ngx_http_llm_sim_request_setting(
    ngx_http_llm_sim_settings_t *st, ngx_str_t *name, ngx_str_t *value);
static ngx_int_t ngx_http_llm_sim_request_time(ngx_str_t *value);


static const ngx_http_llm_sim_key_t  ngx_http_llm_sim_keys[] = {
    { ngx_string("model"), sim_model, 1 },
    { ngx_string("stream"), sim_stream, 1 },
    { ngx_string("stream_options"), sim_stream_options, 1 },
    { ngx_string("include_usage"), sim_include_usage, 2 },
    { ngx_string("n"), sim_n, 1 },
    { ngx_string("input"), sim_input, 1 },
    { ngx_string("encoding_format"), sim_encoding_format, 1 },
    { ngx_string("dimensions"), sim_dimensions, 1 },
    { ngx_string("max_tokens"), sim_max_tokens, 1 },
    { ngx_string("max_completion_tokens"), sim_max_tokens, 1 },
    { ngx_string("max_output_tokens"), sim_max_tokens, 1 },
    { ngx_null_string, 0, 0 }
};


#define sim_offset(field)  offsetof(ngx_http_llm_sim_settings_t, field)

static const ngx_http_llm_sim_setting_t  ngx_http_llm_sim_settings[] = {
    { ngx_string("tokens"), sim_offset(tokens), 0, 100000, sim_number },
    { ngx_string("size"), sim_offset(size), 1, 65536, sim_number },
    { ngx_string("words"), sim_offset(size), 1, 65536, sim_number },
    { ngx_string("pace"), sim_offset(pace), 0, 3600000, sim_time },
    { ngx_string("delay"), sim_offset(delay), 0, 3600000, sim_time },
    { ngx_string("burst"), sim_offset(burst), 1, 100000, sim_number },
    { ngx_string("flush"), sim_offset(flush), 0, 1, sim_number },
    { ngx_string("status"), sim_offset(status), 200, 599, sim_number },
    { ngx_string("error"), sim_offset(error), 1, 512, sim_text },
    { ngx_string("fake"), sim_offset(fake), 1, 32, sim_text },
    { ngx_null_string, 0, 0, 0, sim_number }
};


void
ngx_http_llm_sim_request_init(ngx_http_llm_sim_facts_t *facts,
    ngx_http_llm_sim_settings_t *st)
{
    facts->n = 1;
    facts->max_tokens = NGX_CONF_UNSET;

    st->tokens = 16;
    st->burst = 1;
}


void
ngx_http_llm_sim_request_scan(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last)
{
    facts->bytes += last - p;

    while (p < last) {

        switch (s->state) {

        case sim_between:
            p = ngx_http_llm_sim_request_between(s, facts, p, last);
            break;

        case sim_skip:
            p = ngx_http_llm_sim_request_skip(s, p, last);
            break;

        case sim_name:
        case sim_string:
            p = ngx_http_llm_sim_request_text(s, facts, p, last);
            break;

        case sim_scalar:
            p = ngx_http_llm_sim_request_scalar(s, facts, p, last);
            break;

        default: /* sim_bad, sim_end */
            return;
        }
    }
}


static u_char *
ngx_http_llm_sim_request_between(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last)
{
    while (p < last) {

        switch (*p) {

        case ' ':
        case '\t':
        case CR:
        case LF:
        case ':':
            break;

        case '{':
        case '[':
            ngx_http_llm_sim_request_open(s, facts, *p);
            break;

        case '}':
        case ']':
            ngx_http_llm_sim_request_close(s, facts);
            break;

        case ',':
            ngx_http_llm_sim_request_comma(s, facts);
            break;

        default:
            ngx_http_llm_sim_request_value(s, facts, *p);

            if (s->state == sim_scalar) {
                return p;
            }

            break;
        }

        p++;

        if (s->state != sim_between) {
            return p;
        }
    }

    return p;
}


static void
ngx_http_llm_sim_request_open(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char ch)
{
    switch (s->depth++) {

    case 0:
        s->state = (ch == '{') ? sim_between : sim_bad;
        s->key_next = 1;
        break;

    case 1:
        s->in_options = (s->key == sim_stream_options && ch == '{');
        s->in_input = (s->key == sim_input && ch == '[');
        s->key_next = s->in_options;
        s->list = 0;

        if (s->in_input) {
            facts->inputs = 0;
        }

        break;

    case 2:
        s->key_next = 0;

        if (s->in_input && facts->inputs == 0) {
            facts->inputs = 1;
            s->list = 1;
        }

        break;
    }
}


static void
ngx_http_llm_sim_request_close(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts)
{
    if (s->depth == 0) {
        s->state = sim_bad;
        return;
    }

    switch (--s->depth) {

    case 0:
        s->state = sim_end;
        facts->complete = 1;
        break;

    case 1:
        s->in_options = 0;
        s->in_input = 0;
        s->key_next = 0;
        break;
    }
}


static void
ngx_http_llm_sim_request_comma(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts)
{
    if (s->depth == 1 || (s->depth == 2 && s->in_options)) {
        s->key_next = 1;

    } else if (s->depth == 2 && s->in_input && s->list) {
        facts->inputs++;
    }
}


/* the first byte of a string, a number or a word */

static void
ngx_http_llm_sim_request_value(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char ch)
{
    ngx_uint_t  wanted, string;

    if (s->depth == 0) {
        s->state = sim_bad;
        return;
    }

    string = (ch == '"');

    s->len = 0;
    s->escaped = 0;
    s->overflow = 0;

    if (s->key_next) {
        s->state = string ? sim_name : sim_bad;
        return;
    }

    if (s->in_input && s->depth == 2 && facts->inputs == 0) {
        /* the numbers of one token array are one input */
        facts->inputs = 1;
        s->list = string;
    }

    if (s->depth == 1) {
        wanted = (s->key != sim_other);

        if (s->key == sim_input && string) {
            facts->inputs = 1;
            wanted = 0;
        }

    } else {
        wanted = (s->depth == 2 && s->in_options && s->option != sim_other);
    }

    if (string) {
        s->state = wanted ? sim_string : sim_skip;

    } else if (wanted) {
        s->state = sim_scalar;
    }
}


static u_char *
ngx_http_llm_sim_request_text(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last)
{
    u_char  ch;

    while (p < last) {
        ch = *p++;

        if (ch == '"' && !s->escaped) {

            if (s->state == sim_name) {
                ngx_http_llm_sim_request_name(s);

            } else {
                ngx_http_llm_sim_request_take(s, facts);
            }

            s->state = sim_between;
            break;
        }

        s->escaped = (ch == '\\' && !s->escaped);

        if (s->len == NGX_HTTP_LLM_SIM_MODEL || ch < 0x20) {
            s->overflow = 1;
            continue;
        }

        s->text[s->len++] = ch;
    }

    return p;
}


static u_char *
ngx_http_llm_sim_request_scalar(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts, u_char *p, u_char *last)
{
    for ( /* void */ ; p < last; p++) {

        switch (*p) {

        case ' ':
        case '\t':
        case CR:
        case LF:
        case ',':
        case '}':
        case ']':
            ngx_http_llm_sim_request_take(s, facts);
            s->state = sim_between;
            return p;
        }

        if (s->len == NGX_HTTP_LLM_SIM_MODEL) {
            s->overflow = 1;
            continue;
        }

        s->text[s->len++] = *p;
    }

    return p;
}


/*
 * Nearly all of a long body is passed here: look for quotes only, and then
 * back for the backslashes before them.
 */

static u_char *
ngx_http_llm_sim_request_skip(ngx_http_llm_sim_scan_t *s, u_char *p,
    u_char *last)
{
    u_char      *q, *b;
    ngx_uint_t   odd;

    for ( ;; ) {
        q = memchr(p, '"', last - p);

        if (q == NULL) {
            q = last;
        }

        for (b = q; b > p && b[-1] == '\\'; b--) { /* void */ }

        odd = (q - b) & 1;

        if (b == p) {
            /* the backslashes may have begun before p */
            odd ^= s->escaped;
        }

        s->escaped = odd;

        if (q == last) {
            return last;
        }

        p = q + 1;

        if (!odd) {
            s->state = sim_between;
            return p;
        }

        /* an escaped quote */

        s->escaped = 0;
    }
}


static void
ngx_http_llm_sim_request_name(ngx_http_llm_sim_scan_t *s)
{
    ngx_uint_t                     key;
    const ngx_http_llm_sim_key_t  *k;

    key = sim_other;

    for (k = ngx_http_llm_sim_keys; k->name.len; k++) {

        if (s->len == k->name.len
            && s->depth == k->depth
            && ngx_memcmp(s->text, k->name.data, s->len) == 0)
        {
            key = k->key;
            break;
        }
    }

    if (s->depth == 1) {
        s->key = key;

    } else {
        s->option = key;
    }

    s->key_next = 0;
}


static void
ngx_http_llm_sim_request_take(ngx_http_llm_sim_scan_t *s,
    ngx_http_llm_sim_facts_t *facts)
{
    ngx_str_t    text;
    ngx_uint_t   yes;

    text.len = s->len;
    text.data = s->text;

    yes = (s->state == sim_scalar
           && s->len == 4 && ngx_memcmp(s->text, "true", 4) == 0);

    switch (s->depth == 1 ? s->key : s->option) {

    case sim_model:
        if (s->state == sim_string) {
            facts->bad_model = s->overflow;
            facts->model.len = s->len;
            facts->model.data = facts->name;
            ngx_memcpy(facts->name, s->text, s->len);
        }

        break;

    case sim_stream:
        facts->stream = yes;
        break;

    case sim_include_usage:
        facts->include_usage = yes;
        break;

    case sim_encoding_format:
        facts->base64 = (s->len == 6 && ngx_memcmp(s->text, "base64", 6) == 0);
        break;

    case sim_n:
        facts->n = ngx_http_llm_sim_request_number(&text, 1);
        break;

    case sim_dimensions:
        facts->dimensions = ngx_http_llm_sim_request_number(&text, 0);
        break;

    case sim_max_tokens:
        facts->max_tokens = ngx_http_llm_sim_request_number(&text,
                                                            NGX_CONF_UNSET);
        break;
    }
}


/* NGX_ERROR is NGX_CONF_UNSET as well: a max_tokens which is no number */

static ngx_int_t
ngx_http_llm_sim_request_number(ngx_str_t *text, ngx_int_t unset)
{
    if (text->len == 4 && ngx_memcmp(text->data, "null", 4) == 0) {
        return unset;
    }

    return ngx_atoi(text->data, text->len);
}


ngx_int_t
ngx_http_llm_sim_request_settings(ngx_http_llm_sim_settings_t *st,
    ngx_str_t *text)
{
    u_char     *p, *last, *end, *eq;
    ngx_str_t   name, value;

    p = text->data;
    last = text->data + text->len;

    for (end = p; end < last; end++) {
        if (*end < 0x20 || *end > 0x7e) {
            ngx_str_set(text, "not printable ASCII");
            return NGX_ERROR;
        }
    }

    for ( /* void */ ; p < last; p = end + 1) {

        if (*p == ' ') {
            end = p;
            continue;
        }

        end = ngx_strlchr(p, last, ',');

        if (end == NULL) {
            end = last;
        }

        /* in case it is wrong */

        text->data = p;
        text->len = end - p;

        eq = ngx_strlchr(p, end, '=');

        if (eq == NULL) {
            return NGX_ERROR;
        }

        name.data = p;
        name.len = eq - p;

        value.data = eq + 1;
        value.len = end - value.data;

        if (ngx_http_llm_sim_request_setting(st, &name, &value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_sim_request_setting(ngx_http_llm_sim_settings_t *st,
    ngx_str_t *name, ngx_str_t *value)
{
    void                              *field;
    ngx_int_t                          n;
    const ngx_http_llm_sim_setting_t  *set;

    for (set = ngx_http_llm_sim_settings; set->name.len; set++) {
        if (name->len == set->name.len
            && ngx_memcmp(name->data, set->name.data, name->len) == 0)
        {
            break;
        }
    }

    if (set->name.len == 0) {
        return NGX_ERROR;
    }

    switch (set->type) {

    case sim_number:
        n = ngx_atoi(value->data, value->len);
        break;

    case sim_time:
        n = ngx_http_llm_sim_request_time(value);
        break;

    default: /* sim_text */
        n = value->len;
        break;
    }

    if (n < set->min || n > set->max) {
        return NGX_ERROR;
    }

    field = (u_char *) st + set->offset;

    if (set->type == sim_text) {
        *(ngx_str_t *) field = *value;

    } else {
        /* ngx_msec_t is an unsigned word, too */
        *(ngx_uint_t *) field = n;
    }

    /* a success has no such status but 200, and no informational one */

    if (st->status > 200 && st->status < 400) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* a bare number would be seconds in nginx, and is meant as ms by most */

static ngx_int_t
ngx_http_llm_sim_request_time(ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_parse_time(value, 0);

    if (n > 0 && value->data[value->len - 1] <= '9') {
        return NGX_ERROR;
    }

    return n;
}
