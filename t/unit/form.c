/*
 * form.c: what a multipart/form-data body may be, and which facts one pass
 * finds and where (REQ-45).  What two readers of forms could see differently
 * is refused, as in JSON (REQ-35).  Bodies are copies of their exact size, so
 * that the sanitizer sees a byte too many.
 */

#include <ngx_llm_form.h>

#include <stdlib.h>
#include <time.h>

#include "tap.h"


#define N            "\r\n"
#define lengthof(a)  (sizeof(a) / sizeof(a[0]))

#define FIELD(name, value)                                                    \
    "Content-Disposition: form-data; name=\"" name "\"" N N value N
#define FILE(name, value)                                                     \
    "Content-Disposition: form-data; name=\"" name "\"; "                     \
    "filename=\"a.mp3\"" N "Content-Type: audio/mpeg" N N value N


typedef struct {
    const char  *claim;
    const char  *body;
    const char  *want;      /* model, its own text if it starts with '!' */
} case_t;


static ngx_llm_facts_t        f;
static ngx_llm_json_error_t   e;

static ngx_int_t scan(const void *body, size_t len, const char *boundary);
static void types(void);
static void forms(void);
static void refusals(void);
static void streams(void);
static void names(void);
static void lookalikes(void);
static void truncated(void);
static void limits(void);
static void huge(void);


/* the boundary is b */

static const case_t  taken[] = {

    { "a file and a model",
      "--b" N FILE("file", "data") "--b" N FIELD("model", "whisper-1")
      "--b--" N, "whisper-1" },

    { "a model and a file",
      "--b" N FIELD("model", "whisper-1") "--b" N FILE("file", "data")
      "--b--" N, "whisper-1" },

    { "nothing behind the last boundary",
      "--b" N FIELD("model", "m") "--b--", "m" },

    { "an epilogue",
      "--b" N FIELD("model", "m") "--b--" N "epilogue" N "--c" N "--", "m" },

    { "spaces behind boundaries",
      "--b \t" N FIELD("model", "m") "--b " N FIELD("x", "") "--b--\t ", "m" },

    { "a preamble", "preamble --b" N "--c" N "--b" N FIELD("model", "m")
      "--b--" N, "m" },

    { "an empty line for a preamble", N "--b" N FIELD("model", "m") "--b--",
      "m" },

    { "headers in any case and order, parameters, too",
      "--b" N "X-A: b" N "CONTENT-disposition:FORM-Data ;x=y;  NAME=\"model\""
      " ; z=\"\" ;" N "content-type: text/plain" N N "m" N "--b--", "m" },

    { "a name without quotes",
      "--b" N "Content-Disposition: form-data; name=model" N N "m" N "--b--",
      "m" },

    { "name=\"model\" inside of a filename",
      "--b" N "Content-Disposition: form-data; filename=\"; name=\\\"model\\\""
      "; name=model\"; name=file" N N "x" N "--b" N FIELD("model", "m")
      "--b--", "m" },

    { "a field of a part, inside of a file",
      "--b" N FILE("file", "x" N FIELD("model", "x")) "--b" N
      FIELD("model", "m") "--b--", "m" },

    { "model as the value of another field",
      "--b" N FIELD("x", "model") "--b" N FIELD("y", "name=\"model\"") "--b" N
      FIELD("model", "m") "--b--", "m" },

    { "names that are like it",
      "--b" N FIELD("Models", "x") "--b" N FIELD("model ", "x") "--b" N
      FIELD("models", "x") "--b" N FIELD("model[]", "x") "--b" N
      FIELD("", "x") "--b" N FIELD("model", "m") "--b--", "m" },

    { "other fields twice",
      "--b" N FIELD("x[]", "1") "--b" N FIELD("x[]", "2") "--b" N
      FIELD("model", "m") "--b--", "m" },

    { "UTF-8 in a filename",
      "--b" N "Content-Disposition: form-data; name=file; filename=\"\xc3\xa4\""
      "; filename*=UTF-8''%c3%a4" N N "x" N "--b" N FIELD("model", "m")
      "--b--", "m" },

    { "a coding that is none",
      "--b" N "Content-Transfer-Encoding: 8bit" N FIELD("model", "m") "--b" N
      "Content-Transfer-Encoding: base64" N FIELD("x", "bQ==") "--b--", "m" },

    { "no model", "--b" N FIELD("x", "m") "--b--", NULL },
    { "no part", "--b--" N, NULL },
    { "an empty value", "--b" N FIELD("model", "") "--b--", "!" },
    { "a space in it", "--b" N FIELD("model", "a b") "--b--", "a b" },
    { "a space before it", "--b" N FIELD("model", " m") "--b--", "! m" },
    { "a quote in it", "--b" N FIELD("model", "\"m\"") "--b--", "!\"m\"" },
    { "a backslash in it", "--b" N FIELD("model", "a\\b") "--b--", "!a\\b" },
    { "an umlaut in it", "--b" N FIELD("model", "\xc3\xa4") "--b--",
      "\xc3\xa4" },
    { "a line end behind it", "--b" N FIELD("model", "m" N) "--b--",
      "!m" N },
    { "DEL in it", "--b" N FIELD("model", "m\x7f") "--b--", "!m\x7f" },
};


int
main(void)
{
    types();
    forms();
    refusals();
    streams();
    names();
    lookalikes();
    truncated();
    limits();
    huge();

    return done_testing();
}


static ngx_int_t
scan(const void *body, size_t len, const char *boundary)
{
    u_char     *copy;
    ngx_int_t   rc;
    ngx_str_t   s;

    copy = malloc(len ? len : 1);
    memcpy(copy, body, len);

    s.data = (u_char *) boundary;
    s.len = strlen(boundary);

    rc = ngx_llm_form_facts(copy, len, &s, &f, &e);

    if ((rc == NGX_OK) != (e.code == 0) || e.pos > len) {
        ok(0, "the verdict has a reason inside of the body");
    }

    free(copy);

    return rc;
}


static void
type_is(const char *type, ngx_int_t rc, const char *want)
{
    char       *copy;
    size_t      len;
    ngx_int_t   got;
    ngx_str_t   boundary;

    len = strlen(type);
    copy = malloc(len ? len : 1);
    memcpy(copy, type, len);

    got = ngx_llm_form_boundary((u_char *) copy, len, &boundary);

    ok(got == rc && (rc != NGX_OK || (boundary.len == strlen(want)
       && memcmp(boundary.data, want, boundary.len) == 0)),
       "Content-Type: %s", type);

    free(copy);
}


static void
types(void)
{
    size_t  i, len;
    char    type[256], want[128];

    type_is("multipart/form-data; boundary=b", NGX_OK, "b");
    type_is("multipart/form-data;boundary=b", NGX_OK, "b");
    type_is(" Multipart/Form-Data ; charset=utf-8 ; BOUNDARY=aBc ;", NGX_OK,
            "aBc");
    type_is("multipart/form-data; boundary=\"a b:c?\"; x=y", NGX_OK,
            "a b:c?");
    type_is("multipart/form-data; boundary=----WebKitFormBoundaryABC",
            NGX_OK, "----WebKitFormBoundaryABC");
    type_is("multipart/form-data; boundary='()+_,-./:=?", NGX_OK,
            "'()+_,-./:=?");

    for (len = 69; len <= 71; len++) {
        memset(want, 'x', len);
        want[len] = '\0';
        sprintf(type, "multipart/form-data; boundary=%s", want);
        type_is(type, len <= 70 ? NGX_OK : NGX_ERROR, want);
    }

    static const char *const  bad[] = {
        "", ";", "; boundary", "; boundary=", "; boundary=\"\"",
        "; boundary=\"b", "; boundary=\"b\"c", "; boundary=\"b \"",
        "; boundary=b c", "; boundary=b; boundary=b", "; boundary =b",
        "; boundary= b", "; boundary*=utf-8''b", "; boundary=b; boundary*0=c",
        "; boundary=\"a\\b\"", "; x=\"\\\"; boundary=c\"; boundary=b",
        "; boundary=a\"b", "; boundary=a@b", "; boundary=\"a\x7f\"",
        "; boundary=\xc3\xa4", "; boundary=b, multipart/form-data",
        ", boundary=b", "; boundary=b; x", "; boundary=b\\"
    };

    for (i = 0; i < lengthof(bad); i++) {
        sprintf(type, "multipart/form-data%s", bad[i]);
        type_is(type, *bad[i] == ',' ? NGX_DECLINED : NGX_ERROR, "");
    }

    type_is("", NGX_DECLINED, "");
    type_is("application/json", NGX_DECLINED, "");
    type_is("multipart/mixed; boundary=b", NGX_DECLINED, "");
    type_is("multipart/form-dat", NGX_DECLINED, "");
    type_is("multipart/form-data2; boundary=b", NGX_DECLINED, "");
}


static void
forms(void)
{
    size_t         i;
    const char    *want;
    const case_t  *c;

    static const char  sized[] = "--b" N FILE("file", "12345") "--b--";

    for (i = 0; i < lengthof(taken); i++) {
        c = &taken[i];
        want = c->want ? c->want : "";

        if (!ok(scan(c->body, strlen(c->body), "b") == NGX_OK && f.form,
                "a form: %s", c->claim))
        {
            printf("# %s at %zu\n", e.reason, e.pos);
            continue;
        }

        ok(f.invalid_model == (*want == '!'), "... with a valid name or not");

        is_str(f.model, f.model_len, *want == '!' ? "" : want,
               "... and its model");
        is_str(c->body + f.model_pos, f.model_size, want + (*want == '!'),
               "REQ-45: ... which stands there");
        is_str(c->body + f.members_pos, f.delimiter_size, "--b",
               "REQ-45: ... and so does the first boundary");
    }

    (void) scan("", 0, "b");
    is_int(e.code, NGX_LLM_JSON_INVALID, "no byte is no form");

    is_str(e.reason, strlen(e.reason), "body is empty", "... as it is empty");

    (void) scan(sized, sizeof(sized) - 1, "b");
    is_int(f.outside, sizeof(sized) - 1 - 5, "files are not counted");
    ok(f.counts[0] == 0 && f.n == -1 && f.max_tokens == -1,
       "... and no more is known");
}


static void
refused_as(const char *body, ngx_uint_t code, const char *param,
    const char *claim)
{
    if (!ok(scan(body, strlen(body), "b") == NGX_ERROR && e.code == code
            && (param ? e.param && strcmp(e.param, param) == 0
                      : e.param == NULL),
            "REQ-35: refused: %s", claim))
    {
        printf("# code %d, %s, at %zu\n", (int) e.code,
               e.reason ? e.reason : "-", e.pos);
    }
}


#define CD  "--b" N "Content-Disposition: "
#define END  N N "m" N "--b--"

static void
refusals(void)
{
    size_t  i;

    static const case_t  invalid[] = {
        { "no boundary", "data", NULL },
        { "another boundary", "--c" N FIELD("model", "m") "--c--", NULL },
        { "no last boundary", "--b" N FIELD("model", "m") "--b" N, NULL },
        { "LF for CRLF", "--b\nContent-Disposition: form-data; name=model"
          "\n\nm\n--b--\n", NULL },
        { "LF behind a boundary", "--b\n" FIELD("model", "m") "--b--", NULL },
        { "CR behind a boundary", "--b\r" FIELD("model", "m") "--b--", NULL },
        { "LF before a boundary", "--b" N
          "Content-Disposition: form-data; name=x" N N "m\n--b" N
          FIELD("model", "m") "--b--", NULL },
        { "CR before a boundary", "--b" N
          "Content-Disposition: form-data; name=x" N N "m\r--b" N
          FIELD("model", "m") "--b--", NULL },
        { "LF before the first one", "x\n--b" N FIELD("model", "m") "--b--",
          NULL },
        { "more than the boundary in its line", "--b" N FILE("file", "x" N
          "--bc" N "y") "--b" N FIELD("model", "m") "--b--", NULL },
        { "more than the last one in its line", "--b" N FIELD("model", "m")
          "--b--c", NULL },
        { "a dash behind it", "--b" N FIELD("model", "m") "--b-" N, NULL },
        { "a part behind the last one", "--b" N FIELD("model", "m")
          "--b--" N "--b" N FIELD("model", "x") "--b--", NULL },
        { "a last one behind it", "--b--" N "--b--", NULL },
        { "an end of a value that the header has", "--b" N
          "Content-Disposition: form-data; name=x" N N "--b--", NULL },
        { "a part without header", "--b" N N "m" N "--b--", NULL },
        { "a part without Content-Disposition",
          "--b" N "Content-Type: text/plain" END, NULL },
        { "two of them", CD "form-data; name=x" N
          "Content-Disposition: form-data; name=model" END, NULL },
        { "another disposition", CD "attachment; name=model" END, NULL },
        { "a longer one", CD "form-data2; name=model" END, NULL },
        { "no name", CD "form-data" END, NULL },
        { "a filename only", CD "form-data; filename=model" END, NULL },
        { "two names", CD "form-data; name=x; name=model" END, NULL },
        { "an extended name", CD "form-data; name=x; name*=utf-8''model" END,
          NULL },
        { "a name in pieces", CD "form-data; name*0=mo; name*1=del" END,
          NULL },
        { "a name with escapes", CD "form-data; name=\"mod\\el\"" END, NULL },
        { "escapes that hide a name",
          CD "form-data; name=x; y=\"\\\"; name=model; z=\\\"\"" END, NULL },
        { "a space before '='", CD "form-data; name =model" END, NULL },
        { "a space behind '='", CD "form-data; name= model" END, NULL },
        { "no closing quote", CD "form-data; name=\"model" END, NULL },
        { "more behind the quote", CD "form-data; name=\"x\"model" END,
          NULL },
        { "a quote inside", CD "form-data; name=mo\"del\"" END, NULL },
        { "no '='", CD "form-data; name" END, NULL },
        { "a comma", CD "form-data, name=model" END, NULL },
        { "a folded header", CD "form-data;" N " name=model" END, NULL },
        { "a space before ':'",
          "--b" N "Content-Disposition : form-data; name=model" END, NULL },
        { "a header without ':'", "--b" N "x" N FIELD("model", "m") "--b--",
          NULL },
        { "a header without a name", "--b" N ": x" N FIELD("model", "m")
          "--b--", NULL },
        { "LF for CRLF in a header",
          "--b" N "X: y\nContent-Disposition: form-data; name=model" END,
          NULL },
        { "CR in a header", "--b" N "X: y\rZ: z" N FIELD("model", "m")
          "--b--", NULL },
        { "a control byte in a header", "--b" N "X: \x01" N
          FIELD("model", "m") "--b--", NULL },
        { "JSON", "{\"model\":\"m\"}", NULL },
    };

    for (i = 0; i < lengthof(invalid); i++) {
        refused_as(invalid[i].body, NGX_LLM_JSON_INVALID, NULL,
                   invalid[i].claim);
    }

    ok(scan("--b" N "X: \0" N FIELD("model", "m") "--b--",
            sizeof("--b" N "X: \0" N FIELD("model", "m") "--b--") - 1, "b")
       == NGX_ERROR, "REQ-35: refused: NUL in a header");

    refused_as("--b" N FIELD("model", "m") "--b" N FIELD("model", "m")
               "--b--", NGX_LLM_JSON_DUPLICATE, "model", "two models");
    refused_as("--b" N FIELD("model", "m") "--b" N FILE("model", "m")
               "--b--", NGX_LLM_JSON_DUPLICATE, "model",
               "a model and a file of that name");
    refused_as("--b" N FIELD("stream", "true") "--b" N FIELD("stream", "true")
               "--b--", NGX_LLM_JSON_DUPLICATE, "stream", "stream twice");
    refused_as("--b" N FIELD("Model", "m") "--b--", NGX_LLM_JSON_DUPLICATE,
               "model", "a field whose name differs from model in case");
    refused_as("--b" N FIELD("model", "m") "--b" N
               FIELD("\xc5\xbftream", "true") "--b--", NGX_LLM_JSON_DUPLICATE,
               "stream", "a field whose name folds to stream");
    refused_as("--b" N FILE("model", "m") "--b--", NGX_LLM_JSON_TYPE, "model",
               "a file for a model");
    refused_as("--b" N "Content-Transfer-Encoding: base64" N
               FIELD("model", "bQ==") "--b--", NGX_LLM_JSON_TYPE, "model",
               "a coded model");
    refused_as("--b" N FIELD("stream", "2") "--b" N FIELD("model", "m") "--b"
               N FIELD("model", "m") "--b--", NGX_LLM_JSON_TYPE, "stream",
               "of two faults the first is told");
    refused_as("--b" N FIELD("model", "m") "--b" N FIELD("model", "m")
               "--b-", NGX_LLM_JSON_INVALID, NULL,
               "but what is no form is told before");
}


static void
streams(void)
{
    size_t  i;
    char    body[256];

    static const char *const  bad[] = {
        "", "2", "00", "yes", "on", "\"true\"", "true ",
        " true", "null", "tru", "truefalse"
    };

    static const char *const  on[] = { "true", "True", "TRUE", "1" };
    static const char *const  off[] = { "false", "False", "FALSE", "0" };

    static const char  yes[] = "--b" N FIELD("stream", "true") "--b--";
    static const char  no[] = "--b" N FIELD("stream", "false") "--b--";

    ok(scan(yes, sizeof(yes) - 1, "b") == NGX_OK && f.stream && f.stream_set,
       "stream is true");
    ok(scan(no, sizeof(no) - 1, "b") == NGX_OK && !f.stream && f.stream_set,
       "stream is false");

    ok(scan("--b--", 5, "b") == NGX_OK && !f.stream && !f.stream_set,
       "stream is absent");

    for (i = 0; i < lengthof(on); i++) {
        sprintf(body, "--b" N FIELD("stream", "%s") "--b--", on[i]);
        ok(scan(body, strlen(body), "b") == NGX_OK && f.stream,
           "stream of %s is true", on[i]);

        sprintf(body, "--b" N FIELD("stream", "%s") "--b--", off[i]);
        ok(scan(body, strlen(body), "b") == NGX_OK && !f.stream,
           "stream of %s is false", off[i]);
    }

    for (i = 0; i < lengthof(bad); i++) {
        sprintf(body, "--b" N FIELD("stream", "%s") "--b--", bad[i]);
        refused_as(body, NGX_LLM_JSON_TYPE, "stream", bad[i]);
    }
}


static void
names(void)
{
    size_t  len;
    char    body[1024], name[512];

    for (len = 255; len <= 300; len += (len == 257) ? 43 : 1) {
        memset(name, 'y', len);
        name[len] = '\0';
        sprintf(body, "--b" N FIELD("model", "%s") "--b--", name);

        ok(scan(body, strlen(body), "b") == NGX_OK
           && f.invalid_model == (len > 256)
           && f.model_len == (len > 256 ? 0 : len) && f.model_size == len,
           "a name of %zu bytes", len);
    }
}


/* what looks like a boundary and is none stays in its file */

static void
lookalikes(void)
{
    char         body[2048], text[512];
    size_t       i, n;
    ngx_uint_t   bad;
    const char  *b;

    static const char *const  files[] = {
        "", "x--%s", N "-%s", N "%s", N "-- %s", N "x--%s" N, N " --%s",
        "\n\n-%s", "\r\r-%s", "x--%s--", N "--%.2s", N "---%s", N N N,
        N "--%.2s" N "--%.2s" N "-", "----%s", "\r\n-\r\n--\r\n", "%.0s\r",
        "\n", "\r", "-", N "-", N "--", "-x--%s" N "x", N "--\x01%s"
    };

    static const char *const  boundaries[] = {
        "bcd", "------------------------d74496d66958873e", "-----", "aaaaa",
        "1234567890123456789012345678901234567890123456789012345678901234567"
        "890", "a:b?c=d", "abababab"
    };

    for (i = 0; i < lengthof(boundaries); i++) {
        b = boundaries[i];
        bad = 0;

        for (n = 0; n < lengthof(files); n++) {
            sprintf(text, files[n], b, b);

            /* behind one of dashes only it would be more of it */

            if (strspn(b, "-") == strlen(b)
                && (strncmp(text, "--", 2) == 0 || strstr(text, N "---")))
            {
                continue;
            }

            sprintf(body, "--%s" N FILE("file", "%s") "--%s" N
                    FIELD("model", "m") "--%s--", b, text, b, b);

            if (scan(body, strlen(body), b) != NGX_OK
                || f.model_len != 1 || memcmp(body + f.model_pos, "m", 1) != 0)
            {
                bad++;
                printf("# %s: %s: %s at %zu\n", b, text,
                       e.reason ? e.reason : "-", e.pos);
            }
        }

        ok(bad == 0, "what is like the boundary %s is data", b);
    }
}


/* of no form can a byte at the end be missing, but of its epilogue */

static void
truncated(void)
{
    size_t      i, len;
    ngx_uint_t  bad;

    static const char  body[] =
        "preamble" N "--bound" N FILE("file", "a\r\n--boun\r\nb")
        "--bound" N FIELD("model", "whisper-1") "--bound" N
        FIELD("stream", "true") "--bound--";

    bad = 0;
    len = sizeof(body) - 1;

    for (i = 0; i < len; i++) {
        if (scan(body, i, "bound") != NGX_ERROR
            || e.code != NGX_LLM_JSON_INVALID)
        {
            bad++;
            printf("# %zu bytes\n", i);
        }
    }

    ok(bad == 0, "a form cut at any byte is refused");
    ok(scan(body, len, "bound") == NGX_OK && f.stream
       && memcmp(body + f.model_pos, "whisper-1", 9) == 0,
       "... and is one when it is whole");
}


static void
limits(void)
{
    char    *body;
    size_t   i, n, len, head;

    body = malloc(200000);

    for (n = 1023; n <= 1025; n++) {

        for (len = 0, i = 0; i < n; i++) {
            len += sprintf(body + len, "--b" N FIELD("x%zu", "%zu"), i, i);
        }

        len += sprintf(body + len, "--b--");
        is_int(scan(body, len, "b"), n <= 1024 ? NGX_OK : NGX_ERROR,
               "1024 parts are the most");
    }

    for (n = 8190; n <= 8194; n++) {
        len = sprintf(body, "--b" N);
        len += sprintf(body + len, "Content-Disposition: form-data; name=x" N
                                   "X: ");
        head = len - 5;
        memset(body + len, 'x', n - head - 4);
        len += n - head - 4;
        len += sprintf(body + len, N N "v" N "--b--");

        is_int(scan(body, len, "b"), n <= 8192 ? NGX_OK : NGX_ERROR,
               "8 KiB of a part's header are the most");
    }

    free(body);
}


/* 32 MiB of a file, and of the worst that can be in one */

static void
huge(void)
{
    char       *body;
    size_t      i, n, len, size;
    double      ms;
    ngx_int_t   rc;
    ngx_str_t   s;
    clock_t     start;

    static const struct { const char *boundary, *unit; }  worst[] = {
        { "------------------------d74496d66958873e", "\x93\x01 any\x80 data" },
        { "---------------------------------------------------------"
          "-------------", "-" },
        { "b", "\r\n--" },
        { "b", "\n" },
        { "-", "\r\n-x" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab",
          "\n--aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" },
        { "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
          "aaaaaaaaaaaaaaab" },
    };

    size = 32 << 20;
    body = malloc(size + 1024);

    for (i = 0; i < lengthof(worst); i++) {
        n = strlen(worst[i].unit);
        len = sprintf(body, "--%s" N "Content-Disposition: form-data; "
                            "name=\"file\"; filename=\"a\"" N N "x",
                      worst[i].boundary);

        while (len < size) {
            memcpy(body + len, worst[i].unit, n);
            len += n;
        }

        len += sprintf(body + len, N "--%s" N FIELD("model", "m") "--%s--",
                       worst[i].boundary, worst[i].boundary);

        s.data = (u_char *) worst[i].boundary;
        s.len = strlen(worst[i].boundary);

        start = clock();
        rc = ngx_llm_form_facts((u_char *) body, len, &s, &f, &e);
        ms = 1000.0 * (clock() - start) / CLOCKS_PER_SEC;

        if (!ok(rc == NGX_OK && f.model_len == 1 && body[f.model_pos] == 'm'
                && f.outside < 600 && ms < 2000,
                "32 MiB of data are passed over"))
        {
            printf("# %s at %zu\n", e.reason ? e.reason : "-", e.pos);
        }

        printf("# %.1f ms\n", ms);
    }

    free(body);
}
