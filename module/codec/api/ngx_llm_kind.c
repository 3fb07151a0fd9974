/*
 * ngx_llm_kind.c: the kind of a response's body, for llm_pass and llm_meter.
 *
 * Providers and relays are known to label event streams as JSON or text, and
 * to send HTML as JSON, so the first bytes that are not blank decide; the
 * Content-Type decides where they do not.
 */

#include <ngx_llm_kind.h>


/* kinds of first bytes */

enum {
    ngx_llm_kind_blank = 0,
    ngx_llm_kind_object,
    ngx_llm_kind_event,
    ngx_llm_kind_html,
    ngx_llm_kind_other
};


static ngx_uint_t ngx_llm_kind_sniff(const u_char *p, size_t len);
static ngx_uint_t ngx_llm_kind_field(const u_char *p, size_t len);
static ngx_uint_t ngx_llm_kind_has(const ngx_str_t *type, const char *text,
    ngx_uint_t start);


ngx_uint_t
ngx_llm_kind(const ngx_llm_api_t *api, const ngx_str_t *type,
    ngx_uint_t stream, const u_char *p, size_t len)
{
    if (ngx_llm_kind_octets(api, type)) {
        return len ? NGX_LLM_KIND_PLAIN : NGX_LLM_KIND_BLANK;
    }

    switch (ngx_llm_kind_sniff(p, len)) {

    case ngx_llm_kind_blank:
        return NGX_LLM_KIND_BLANK;

    case ngx_llm_kind_event:
        return NGX_LLM_ANSWER_STREAM;

    case ngx_llm_kind_html:
        return NGX_LLM_KIND_NONE;

    case ngx_llm_kind_object:

        if (ngx_llm_kind_has(type, "ndjson", 0)
            || ngx_llm_kind_has(type, "jsonl", 0)
            || ngx_llm_kind_has(type, "stream+json", 0)
            || ngx_llm_kind_has(type, "text/event-stream", 1))
        {
            return NGX_LLM_ANSWER_LINES;
        }

        return (!stream || ngx_llm_kind_has(type, "json", 0))
               ? NGX_LLM_ANSWER_JSON : NGX_LLM_ANSWER_LINES;

    default: /* other */

        if (ngx_llm_kind_has(type, "text/event-stream", 1)) {
            return NGX_LLM_ANSWER_STREAM;
        }

        return (api->plain == NGX_LLM_PLAIN_TEXT
                && !ngx_llm_kind_has(type, "json", 0))
               ? NGX_LLM_KIND_PLAIN : NGX_LLM_KIND_NONE;
    }
}


ngx_uint_t
ngx_llm_kind_octets(const ngx_llm_api_t *api, const ngx_str_t *type)
{
    return api->plain == NGX_LLM_PLAIN_OCTETS
           && (ngx_llm_kind_has(type, "audio/", 1)
               || ngx_llm_kind_has(type, "video/", 1)
               || ngx_llm_kind_has(type, "application/octet-stream", 1));
}


static ngx_uint_t
ngx_llm_kind_sniff(const u_char *p, size_t len)
{
    size_t         n;
    const u_char  *last;

    static const u_char  bom[] = { 0xef, 0xbb, 0xbf };

    last = p + len;

    if (len && *p == bom[0]) {
        n = (len < sizeof(bom)) ? len : sizeof(bom);

        if (ngx_memcmp(p, bom, n) == 0) {
            p += n;
        }
    }

    while (p < last && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }

    if (p == last) {
        return ngx_llm_kind_blank;
    }

    switch (*p) {

    case '{':
        return ngx_llm_kind_object;

    case ':':
        return ngx_llm_kind_event;

    case '<':

        /* a transcript may begin with a tag, too */

        if (last - p == 1) {
            return ngx_llm_kind_blank;
        }

        return (p[1] == '!' || p[1] == '?' || (p[1] | 0x20) == 'h')
               ? ngx_llm_kind_html : ngx_llm_kind_other;

    default:
        return ngx_llm_kind_field(p, last - p);
    }
}


static ngx_uint_t
ngx_llm_kind_field(const u_char *p, size_t len)
{
    size_t      n;
    ngx_uint_t  i;

    static const ngx_str_t  fields[] = {
        ngx_string("data:"),
        ngx_string("event:"),
        ngx_string("id:"),
        ngx_string("retry:")
    };

    for (i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        n = (len < fields[i].len) ? len : fields[i].len;

        if (ngx_memcmp(p, fields[i].data, n) == 0) {
            return (n == fields[i].len) ? ngx_llm_kind_event
                                        : ngx_llm_kind_blank;
        }
    }

    return ngx_llm_kind_other;
}


/* text is lower case; start: type has to begin with it */

static ngx_uint_t
ngx_llm_kind_has(const ngx_str_t *type, const char *text, ngx_uint_t start)
{
    u_char  ch;
    size_t  i, j, len;

    len = ngx_strlen(text);

    for (i = 0; i + len <= type->len; i++) {

        for (j = 0; j < len; j++) {
            ch = type->data[i + j];

            if (ch >= 'A' && ch <= 'Z') {
                ch |= 0x20;
            }

            if (ch != (u_char) text[j]) {
                break;
            }
        }

        if (j == len) {
            return 1;
        }

        if (start) {
            return 0;
        }
    }

    return 0;
}
