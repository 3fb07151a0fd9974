/*
 * sse.c: the framer of event streams cuts where the official clients cut, in
 * whatever pieces the bytes come (REQ-2).  Every case is fed whole, byte by
 * byte and split at every offset; the pieces are copies of their exact size,
 * so that the sanitizer sees a byte too many.
 */

#include <ngx_llm_sse.h>

#include <stdlib.h>

#include "tap.h"


typedef struct {
    const char  *claim;
    const char  *stream;
    const char  *want;      /* events: name=data with | for LF, then ';' */
} case_t;


static void run(ngx_llm_sse_t *s, const char *stream, size_t len, char *out);
static void cut(const char *stream, size_t len, size_t piece, size_t first,
    char *out);
static void boundaries(void);
static void positions(void);
static void names(void);


static const case_t  cases[] = {

    { "LF ends lines, an empty line ends the event",
      "data: a\n\ndata: b\n\n", "=a;=b;" },

    { "CR ends lines, an empty line ends the event",
      "data: a\r\rdata: b\r\r", "=a;=b;" },

    { "CRLF ends lines, an empty line ends the event",
      "data: a\r\n\r\ndata: b\r\n\r\n", "=a;=b;" },

    { "line ends may be mixed",
      "data: a\r\n\ndata: b\n\r\ndata: c\r\r\n", "=a;=b;=c;" },

    { "one space after the colon is dropped, a second one is data",
      "data:a\n\ndata:  b\n\ndata: \n\n", "=a;= b;=;" },

    { "data lines are joined by a LF",
      "data: a\ndata:\ndata:b\n\n", "=a||b;" },

    { "a line without a colon is a field with an empty value",
      "data\n\ndata\ndata\n\n", "=;=|;" },

    { "a name is of its event only, the last one counts",
      "event: a\nevent:error\ndata: x\n\ndata: y\n\n", "error=x;=y;" },

    { "comments and empty lines are no events",
      ": ping\n\n\n\n: x\ndata: a\n: y\ndata: b\n\n:\n\n", "=a|b;" },

    { "unknown fields and fields in other case are ignored",
      "Data: x\ndat: x\ndatax: y\n data: z\n\nfoo\n\ndata: a\n\n", "=a;" },

    { "event, id and retry alone make an event without data",
      "event: ping\n\nid: 1\n\nretry: 5\n\ndata: a\n\n", "ping!;!;!;=a;" },

    { "a colon in the value belongs to it",
      "data: a:b\ndata::c\n\n", "=a:b|:c;" },

    { "a byte-order mark at the start is skipped",
      "\xef\xbb\xbf" "data: a\n\n", "=a;" },

    { "a byte-order mark later, or a part of it, is an unknown field's",
      "\xef\xbb" "data: x\n\n\xef\xbb\xbf" "data: y\n\ndata: a\n\n", "=a;" },

    { "an event whose empty line has not come is not told",
      "data: a\n\ndata: b\n", "=a;b" },

    { "a long name is cut, not mistaken",
      "event: error45678901234567890123456789012345\ndata: a\n\n",
      "error456789012345678901234567890=a;" },
};


int
main(void)
{
    char         whole[512], got[512];
    size_t       n, len;
    ngx_uint_t   i, bad;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        len = strlen(cases[i].stream);

        cut(cases[i].stream, len, len, len, whole);
        is_str(whole, strlen(whole), cases[i].want, cases[i].claim);

        bad = 0;
        cut(cases[i].stream, len, 1, 1, got);
        bad += (strcmp(got, whole) != 0);

        for (n = 1; n < len; n++) {
            cut(cases[i].stream, len, len, n, got);
            bad += (strcmp(got, whole) != 0);
        }

        ok(bad == 0, "REQ-2: ... in any pieces");
    }

    positions();
    boundaries();
    names();

    return done_testing();
}


static void
run(ngx_llm_sse_t *s, const char *stream, size_t len, char *out)
{
    size_t      i;
    u_char     *copy, *p, *last;
    ngx_int_t   rc;
    ngx_str_t   data;

    copy = malloc(len ? len : 1);
    memcpy(copy, stream, len);

    p = copy;
    last = copy + len;

    while (p < last) {
        rc = ngx_llm_sse_next(s, &p, last, &data);

        if (rc == NGX_DECLINED) {
            out += strlen(out);

            for (i = 0; i < data.len; i++) {
                *out++ = (data.data[i] == '\n') ? '|' : (char) data.data[i];
            }

            *out = '\0';

        } else if (rc == NGX_OK) {
            strcat(out, s->data ? "\1" : "\2");
            strncat(out, (char *) s->name, s->name_len);
            strcat(out, "\3");
        }
    }

    free(copy);
}


/* the first piece, then pieces of the other size; events as in the table */

static void
cut(const char *stream, size_t len, size_t piece, size_t first, char *out)
{
    char            raw[512], *p, *data, *name;
    size_t          n;
    ngx_llm_sse_t   s;

    raw[0] = '\0';
    ngx_llm_sse_init(&s);

    for (n = first; len; n = (len < piece) ? len : piece) {
        run(&s, stream, n, raw);
        stream += n;
        len -= n;
    }

    out[0] = '\0';

    for (data = raw; (p = strchr(data, '\3')) != NULL; data = p + 1) {
        *p = '\0';
        name = data + strcspn(data, "\1\2");

        sprintf(out + strlen(out), "%s%s%.*s;", name + 1,
                *name == '\1' ? "=" : "!", (int) (name - data), data);
    }

    strcat(out, data);
}


static void
positions(void)
{
    u_char         *p, text[] = "data: a\r\n\r\n\r\ndata: b\n\n";
    ngx_str_t       data;
    ngx_llm_sse_t   s;

    ngx_llm_sse_init(&s);
    p = text;

    (void) ngx_llm_sse_next(&s, &p, text + 22, &data);
    is_int(ngx_llm_sse_next(&s, &p, text + 22, &data), NGX_OK,
           "REQ-2: an event ends");
    is_int(p - text, 11, "REQ-2: ... behind its CRLF CRLF");

    ngx_llm_sse_init(&s);
    p = text;

    (void) ngx_llm_sse_next(&s, &p, text + 10, &data);
    is_int(ngx_llm_sse_next(&s, &p, text + 10, &data), NGX_OK,
           "REQ-2: an event ends at the CR whose LF has not come");
    is_int(p - text, 10, "REQ-2: ... behind the CR");
    ok(!ngx_llm_sse_boundary(&s), "no comment between that CR and its LF");
    is_int(ngx_llm_sse_next(&s, &p, text + 11, &data), NGX_AGAIN,
           "REQ-2: the LF that comes later is no event");
    ok(ngx_llm_sse_boundary(&s), "a comment may follow it");
}


static void
boundaries(void)
{
    size_t          i;
    u_char         *p, text[] = "\n: c\n\ndata: a\n: d\n\nid: 1\n\n:e\n";
    ngx_uint_t      bad;
    ngx_str_t       data;
    ngx_llm_sse_t   s;

    /* behind byte i; a comment's own line is closed before */

    static const char  want[] = "1" "1" "0001" "1" "00000000" "0000" "1"
                                "000000" "1" "001";

    ngx_llm_sse_init(&s);
    bad = (ngx_llm_sse_boundary(&s) != 1);

    for (i = 0; i < sizeof(text) - 1; i++) {
        p = text + i;

        while (p < text + i + 1) {
            (void) ngx_llm_sse_next(&s, &p, text + i + 1, &data);
        }

        bad += (ngx_llm_sse_boundary(&s) != (ngx_uint_t) (want[i + 1] - '0'));
    }

    ok(bad == 0, "a comment may be inserted between events, nowhere else");
}


static void
names(void)
{
    u_char         *p, *text;
    size_t          i, len;
    ngx_uint_t      events;
    ngx_str_t       data;
    ngx_llm_sse_t   s;

    len = 2 * 1024 * 1024;
    text = malloc(len);
    memset(text, 'x', len);
    events = 0;

    ngx_llm_sse_init(&s);

    for (i = 0; i < len; i += 4096) {
        p = text + i;
        events += (ngx_llm_sse_next(&s, &p, text + i + 4096, &data)
                   != NGX_AGAIN);
    }

    ok(events == 0, "REQ-2: 2 MiB of a line's name are nothing");

    p = (u_char *) "\ndata: a\n\n";
    (void) ngx_llm_sse_next(&s, &p, p + 10, &data);
    is_str(data.data, data.len, "a", "REQ-2: ... and the next line is read");

    free(text);
}
