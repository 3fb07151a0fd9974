/*
 * unit/json.c: what a request body may be (REQ-35), which facts one pass finds
 * and where (REQ-10, REQ-45).  Proves that the three scanners agree, that no
 * byte outside of a body is read (each body ends where a forbidden page
 * starts), and that hostile bodies are refused in bounded time.
 *
 *   gcc -std=gnu11 -O2 -Wall -Wextra -Werror -DNGX_LLM_STANDALONE -Iinclude \
 *       -Imodule/codec \
 *       t/unit/json.c \
 *       $(find module/codec -name '*.c')
 */

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "ngx_llm_lexer.h"
#include "tap.h"


#define LEVELS       3              /* scalar, SSE2, AVX2 */
#define ARENA        (4 << 20)

#define str(s)       { sizeof(s) - 1, (u_char *) s }
#define lengthof(a)  (sizeof(a) / sizeof(a[0]))


typedef struct {
    const char  *name;
    ngx_str_t    body;
} doc_t;


typedef struct {
    ngx_str_t    body;
    ngx_uint_t   code;
    const char  *param;
} refusal_t;


static u_char                *arena_start, *arena_end;
static ngx_llm_facts_t        f;
static ngx_llm_json_error_t   e;


/* pages before and behind the arena cannot be read */

static void
arena_init(void)
{
    size_t   page;
    u_char  *p;

    page = (size_t) sysconf(_SC_PAGESIZE);

    p = mmap(NULL, ARENA + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);

    if (p == MAP_FAILED
        || mprotect(p + page, ARENA, PROT_READ | PROT_WRITE) != 0)
    {
        printf("Bail out! no memory\n");
        exit(1);
    }

    arena_start = p + page;
    arena_end = arena_start + ARENA;
}


/*
 * The verdict of all scanners, with the body at the end of the arena and at
 * its start; -100 if they differ.  Leaves f and e.
 */

static ngx_int_t
scan(const void *data, size_t len)
{
    u_char                *body;
    ngx_int_t              rc, got;
    ngx_uint_t             i;
    ngx_llm_facts_t        facts;
    ngx_llm_json_error_t   err;

    rc = -100;

    for (i = 0; i < 2 * LEVELS; i++) {

        body = (i < LEVELS) ? arena_end - len : arena_start;
        memmove(body, data, len);

        got = ngx_llm_json_facts_with(i % LEVELS, body, len, &facts, &err);

        if (i == 0) {
            rc = got;
            f = facts;
            e = err;
        }

        if (got != rc
            || memcmp(&err, &e, sizeof(e)) != 0
            || (rc == NGX_OK && memcmp(&facts, &f, sizeof(f)) != 0)
            || memcmp(body, data, len) != 0)
        {
            printf("# scanner %d differs: %s at %zu, %s at %zu\n", (int) i,
                   e.reason, e.pos, err.reason, err.pos);
            return -100;
        }
    }

    return rc;
}


static ngx_int_t
scan_str(const char *body)
{
    return scan(body, strlen(body));
}


/* {"k":VALUE}, where value may hold any bytes */

static ngx_int_t
scan_value(const void *value, size_t len)
{
    static u_char  buf[4096];

    memcpy(buf, "{\"k\":", 5);
    memcpy(buf + 5, value, len);
    buf[5 + len] = '}';

    return scan(buf, len + 6);
}


static const doc_t  valid_values[] = {
    { "array, empty", str("[]") },
    { "array, empty string", str("[\"\"]") },
    { "array, spaces inside", str("[ \t\r\n]") },
    { "array, ends with newline", str("[\"a\"\n]") },
    { "array, heterogeneous", str("[null, 1, \"1\", {}]") },
    { "array, several nulls", str("[1,null,null,null,2]") },
    { "array of arrays", str("[[],[[]],[[[1]],2]]") },
    { "number 0", str("0") },
    { "number -0", str("-0") },
    { "number -1", str("-1") },
    { "number 0e+1", str("0e+1") },
    { "number 0e1", str("0e1") },
    { "number 1E22", str("1E22") },
    { "number 1E-2", str("1E-2") },
    { "number 1E+2", str("1E+2") },
    { "number 123e45", str("123e45") },
    { "number 123.456e78", str("123.456e78") },
    { "number -0.0000001", str("-0.0000000000000000000000000000001") },
    { "number 1e400", str("1e400") },
    { "number 2^63", str("9223372036854775808") },
    { "number 2^64 and more", str("-123123123123123123123123123123123") },
    { "literal true", str("true") },
    { "literal false", str("false") },
    { "literal null", str("null") },
    { "object, empty", str("{}") },
    { "object, empty key", str("{\"\":0}") },
    { "object, duplicate keys", str("{\"a\":1,\"a\":1}") },
    { "object, NUL escaped in key", str("{\"foo\\u0000bar\":42}") },
    { "object, newlines", str("{\n\"a\" : \"b\"\r\n,\t\"c\":[ ]\n}") },
    { "string, all escapes", str("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u12aF\"") },
    { "string, escaped pair", str("\"\\uD801\\udc37\"") },
    { "string, lone high surrogate", str("\"\\uD800\"") },
    { "string, lone low surrogate", str("\"\\uDFAA\"") },
    { "string, pair upside down", str("\"\\uDd1e\\uD834\"") },
    { "string, high then text", str("\"\\uD800abc\"") },
    { "string, high then escape", str("\"\\uD800\\n\"") },
    { "string, DEL", str("\"a\x7f" "a\"") },
    { "string, many backslashes", str("\"\\\\\\\\\\\\\\\\\\\\\\\\\"") },
    { "string, backslash and u", str("\"\\\\u0000\"") },
    { "string, nonCharacter U+FFFF", str("\"\xef\xbf\xbf\"") },
    { "string, U+2028 and U+2029", str("\"\xe2\x80\xa8\xe2\x80\xa9\"") },
    { "string, BOM inside", str("\"\xef\xbb\xbf\"") },
    { "string, comment inside", str("\"a/*b*/c//d\"") }
};


static const doc_t  invalid_values[] = {
    { "array, comma instead of value", str("[,1]") },
    { "array, comma behind value", str("[1,]") },
    { "array, two commas", str("[1,,2]") },
    { "array, only a comma", str("[,]") },
    { "array, colon instead of comma", str("[\"\":1]") },
    { "array, no comma", str("[3[4]]") },
    { "array, space instead of comma", str("[1 true]") },
    { "array, closed twice", str("[]]") },
    { "array, closed by brace", str("[1}") },
    { "array, unclosed", str("[\"a\"") },
    { "array, star", str("[*]") },
    { "array, vertical tab", str("[\"\x0b\"]") },
    { "array, form feed outside", str("[\x0c]") },
    { "array, no-break space outside", str("[\xc2\xa0]") },
    { "array, BOM inside", str("[\xef\xbb\xbf]") },
    { "literal nul", str("nul") },
    { "literal nulls", str("nulls") },
    { "literal fals", str("fals") },
    { "literal tru", str("tru") },
    { "literal True", str("True") },
    { "literal NULL", str("NULL") },
    { "literal undefined", str("undefined") },
    { "number 01", str("01") },
    { "number -01", str("-01") },
    { "number 00", str("00") },
    { "number 1.", str("1.") },
    { "number -2.", str("-2.") },
    { "number .5", str(".5") },
    { "number -.5", str("-.5") },
    { "number +1", str("+1") },
    { "number ++1", str("++1") },
    { "number --1", str("--1") },
    { "number -", str("-") },
    { "number - 1", str("- 1") },
    { "number 1e", str("1e") },
    { "number 1e+", str("1e+") },
    { "number 1eE2", str("1eE2") },
    { "number 0.e1", str("0.e1") },
    { "number 1.0e-", str("1.0e-") },
    { "number 1 000", str("1 000") },
    { "number 0x1F", str("0x1F") },
    { "number 1a", str("1a") },
    { "number 1.2.3", str("1.2.3") },
    { "number NaN", str("NaN") },
    { "number -NaN", str("-NaN") },
    { "number Infinity", str("Infinity") },
    { "number -Infinity", str("-Infinity") },
    { "number inf", str("inf") },
    { "number, full-width digit", str("\xef\xbc\x91") },
    { "object, comma behind member", str("{\"a\":1,}") },
    { "object, two commas", str("{\"a\":1,,\"b\":2}") },
    { "object, only a comma", str("{,}") },
    { "object, no colon", str("{\"a\" \"b\"}") },
    { "object, two colons", str("{\"a\"::1}") },
    { "object, comma for colon", str("{\"a\",1}") },
    { "object, no value", str("{\"a\":}") },
    { "object, no member", str("{\"a\"}") },
    { "object, key without quotes", str("{a:1}") },
    { "object, key in single quotes", str("{'a':1}") },
    { "object, key is a number", str("{1:1}") },
    { "object, key is null", str("{null:1}") },
    { "object, closed by bracket", str("{\"a\":1]") },
    { "object, comment", str("{/*x*/\"a\":1}") },
    { "object, line comment", str("{\"a\":1//x\n}") },
    { "object, no comma", str("{\"a\":1 \"b\":2}") },
    { "string, single quotes", str("'a'") },
    { "string, no opening quote", str("a\"") },
    { "string, escape \\x", str("\"\\x00\"") },
    { "string, escape \\a", str("\"\\a\"") },
    { "string, escape \\'", str("\"\\'\"") },
    { "string, escape \\0", str("\"\\0\"") },
    { "string, escape \\U", str("\"\\U0041\"") },
    { "string, escaped newline", str("\"\\\n\"") },
    { "string, escaped NUL", str("\"\\\0\"") },
    { "string, escaped emoji", str("\"\\\xf0\x9f\x8c\x80\"") },
    { "string, \\u with three digits", str("\"\\u00A\"") },
    { "string, \\u with none", str("\"\\u\"") },
    { "string, \\u with a g", str("\"\\u00g0\"") },
    { "string, \\u with a quote", str("\"\\u00\"0\"") },
    { "string, second of pair cut", str("\"\\uD834\\uDd\"") },
    { "string, pair, bad second", str("\"\\uD800\\u1x\"") },
    { "string, ends with escape", str("\"a\\\"") },
    { "string, newline", str("\"a\nb\"") },
    { "string, tab", str("\"\t\"") },
    { "string, NUL", str("\"a\0b\"") },
    { "string, 0x1f", str("\"\x1f\"") },
    { "NUL outside", str("[\0]") },
    { "NUL behind value", str("1\0") },
    { "smart quotes", str("\xe2\x80\x9c" "a\xe2\x80\x9d") },
    { "nothing", str("") }
};


static void
values(void)
{
    ngx_uint_t    i;
    const doc_t  *d;

    for (i = 0; i < lengthof(valid_values); i++) {
        d = &valid_values[i];
        ok(scan_value(d->body.data, d->body.len) == NGX_OK,
           "%s passes as a value", d->name);
    }

    for (i = 0; i < lengthof(invalid_values); i++) {
        d = &invalid_values[i];
        ok(scan_value(d->body.data, d->body.len) == NGX_ERROR
           && e.code == NGX_LLM_JSON_INVALID && e.param == NULL
           && e.reason != NULL,
           "%s is refused as a value", d->name);
    }
}


static const refusal_t  refusals[] = {
    { str(""), NGX_LLM_JSON_INVALID, NULL },
    { str(" \r\n\t"), NGX_LLM_JSON_INVALID, NULL },
    { str("\xef\xbb\xbf{}"), NGX_LLM_JSON_INVALID, NULL },
    { str("\xef"), NGX_LLM_JSON_INVALID, NULL },
    { str("[]"), NGX_LLM_JSON_INVALID, NULL },
    { str("\"model\""), NGX_LLM_JSON_INVALID, NULL },
    { str("null"), NGX_LLM_JSON_INVALID, NULL },
    { str("1"), NGX_LLM_JSON_INVALID, NULL },
    { str("{"), NGX_LLM_JSON_INVALID, NULL },
    { str("{}}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{}{}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{}\0"), NGX_LLM_JSON_INVALID, NULL },
    { str("{} x"), NGX_LLM_JSON_INVALID, NULL },
    { str("{},"), NGX_LLM_JSON_INVALID, NULL },
    { str("\0{}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"a\":1,}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"a\":1\"b\":2}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"a\"}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"a\":1]"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"stream_options\":{\"a\":1,}}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"stream_options\":{]}"), NGX_LLM_JSON_INVALID, NULL },

    /* keys that a naive reader would miss */

    { str("{\"mod\\u0065l\":\"x\"}"), NGX_LLM_JSON_INVALID, "model" },
    { str("{\"\\u006eode\":1,\"\\u006e\":1}"), NGX_LLM_JSON_INVALID, "n" },
    { str("{\"s\\u0074ream\":true}"), NGX_LLM_JSON_INVALID, "stream" },
    { str("{\"stream\\u005foptions\":{}}"), NGX_LLM_JSON_INVALID,
      "stream_options" },
    { str("{\"max\\u005Ftokens\":1}"), NGX_LLM_JSON_INVALID, "max_tokens" },
    { str("{\"\\u006d\\u0061\\u0078\\u005f\\u0063\\u006f\\u006d\\u0070\\u006c"
          "\\u0065\\u0074\\u0069\\u006f\\u006e\\u005f\\u0074\\u006f\\u006b"
          "\\u0065\\u006e\\u0073\":1}"), NGX_LLM_JSON_INVALID,
      "max_completion_tokens" },
    { str("{\"max_output_token\\u0073\":1}"), NGX_LLM_JSON_INVALID,
      "max_output_tokens" },

    { str("{\"model\":\"a\",\"model\":\"a\"}"), NGX_LLM_JSON_DUPLICATE,
      "model" },
    { str("{\"model\":null,\"x\":1,\"model\":\"a\"}"), NGX_LLM_JSON_DUPLICATE,
      "model" },
    { str("{\"stream\":true,\"stream\":null}"), NGX_LLM_JSON_DUPLICATE,
      "stream" },
    { str("{\"stream_options\":{},\"stream_options\":{}}"),
      NGX_LLM_JSON_DUPLICATE, "stream_options" },
    { str("{\"max_tokens\":1,\"max_tokens\":1}"), NGX_LLM_JSON_DUPLICATE,
      "max_tokens" },
    { str("{\"max_completion_tokens\":1,\"max_completion_tokens\":1}"),
      NGX_LLM_JSON_DUPLICATE, "max_completion_tokens" },
    { str("{\"max_output_tokens\":1,\"max_output_tokens\":1}"),
      NGX_LLM_JSON_DUPLICATE, "max_output_tokens" },
    { str("{\"n\":1,\"n\":1}"), NGX_LLM_JSON_DUPLICATE, "n" },

    { str("{\"model\":1}"), NGX_LLM_JSON_TYPE, "model" },
    { str("{\"model\":[\"a\"]}"), NGX_LLM_JSON_TYPE, "model" },
    { str("{\"model\":{}}"), NGX_LLM_JSON_TYPE, "model" },
    { str("{\"model\":false}"), NGX_LLM_JSON_TYPE, "model" },
    { str("{\"stream\":1}"), NGX_LLM_JSON_TYPE, "stream" },
    { str("{\"stream\":\"true\"}"), NGX_LLM_JSON_TYPE, "stream" },
    { str("{\"stream_options\":true}"), NGX_LLM_JSON_TYPE, "stream_options" },
    { str("{\"stream_options\":[]}"), NGX_LLM_JSON_TYPE, "stream_options" },
    { str("{\"stream_options\":\"{}\"}"), NGX_LLM_JSON_TYPE,
      "stream_options" },
    { str("{\"max_tokens\":\"5\"}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":true}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":[1]}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":1.5}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":15e-1}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":1e400}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":1e99999999999999999999}"), NGX_LLM_JSON_TYPE,
      "max_tokens" },
    { str("{\"max_tokens\":1e-1}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":4.0000000000000000000001}"), NGX_LLM_JSON_TYPE,
      "max_tokens" },
    { str("{\"max_tokens\":2147483648}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":9999999999}"), NGX_LLM_JSON_TYPE, "max_tokens" },
    { str("{\"max_tokens\":18446744073709551617}"), NGX_LLM_JSON_TYPE,
      "max_tokens" },
    { str("{\"max_completion_tokens\":0.5}"), NGX_LLM_JSON_TYPE,
      "max_completion_tokens" },
    { str("{\"max_output_tokens\":{}}"), NGX_LLM_JSON_TYPE,
      "max_output_tokens" },
    { str("{\"n\":0}"), NGX_LLM_JSON_TYPE, "n" },
    { str("{\"n\":-1}"), NGX_LLM_JSON_TYPE, "n" },

    /* keys that encoding/json of Go takes for a known one */

    { str("{\"Model\":\"c\"}"), NGX_LLM_JSON_INVALID, "model" },
    { str("{\"model\":\"c\",\"MODEL\":\"d\"}"), NGX_LLM_JSON_INVALID,
      "model" },
    { str("{\"mo\\u0044el\":\"c\"}"), NGX_LLM_JSON_INVALID, "model" },
    { str("{\"Model\":null}"), NGX_LLM_JSON_INVALID, "model" },
    { str("{\"N\":2}"), NGX_LLM_JSON_INVALID, "n" },
    { str("{\"\xc5\xbftream\":true}"), NGX_LLM_JSON_INVALID, "stream" },
    { str("{\"\\u017fTREAM\":true}"), NGX_LLM_JSON_INVALID, "stream" },
    { str("{\"\xc5\xbftream_option\xc5\xbf\":{}}"), NGX_LLM_JSON_INVALID,
      "stream_options" },
    { str("{\"max_to\xe2\x84\xaa" "ens\":1}"), NGX_LLM_JSON_INVALID,
      "max_tokens" },
    { str("{\"Max_To\\u212aen\\u017F\":1}"), NGX_LLM_JSON_INVALID,
      "max_tokens" },
    { str("{\"MAX_COMPLETION_TO\xe2\x84\xaa" "EN\xc5\xbf\":1}"),
      NGX_LLM_JSON_INVALID, "max_completion_tokens" },
    { str("{\"max_Output_tokens\":1}"), NGX_LLM_JSON_INVALID,
      "max_output_tokens" },
    { str("{\"Previou\xc5\xbf_Response_ID\":\"r\"}"), NGX_LLM_JSON_INVALID,
      "previous_response_id" },
    { str("{\"Conversation\":\"c\"}"), NGX_LLM_JSON_INVALID, "conversation" },
    { str("{\"stream_options\":{\"Include_Usage\":false}}"),
      NGX_LLM_JSON_INVALID, "stream_options" },
    { str("{\"stream_options\":{\"include_u\\u017fage\":false}}"),
      NGX_LLM_JSON_INVALID, "stream_options" },

    /* which of two: no JSON goes first, then the order of the document */

    { str("{\"n\":0,\"stream\":1}"), NGX_LLM_JSON_TYPE, "n" },
    { str("{\"n\":0,\"n\":1}"), NGX_LLM_JSON_TYPE, "n" },
    { str("{\"n\":1,\"n\":0}"), NGX_LLM_JSON_DUPLICATE, "n" },
    { str("{\"n\":0,\"x\":01}"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"n\":1,\"n\":1} x"), NGX_LLM_JSON_INVALID, NULL },
    { str("{\"n\":0,\"\\u006eope\":1,\"mo\\u0064el\":1}"),
      NGX_LLM_JSON_INVALID, "model" }
};


/* breaks and indents of every length, and what is no white space in them */

static void
spaces(void)
{
    u_char      v[64];
    ngx_uint_t  at, ch, n, good, bad;

    static const char  white[] = " \n\r\t";

    bad = 0;

    for (n = 1; n <= 40; n++) {
        for (at = 0; at < n; at++) {
            for (ch = 0; ch < 0x40; ch++) {
                memset(v, ' ', sizeof(v));
                v[0] = '[';
                v[1] = '\n';
                v[1 + at] = (u_char) ch;
                v[1 + n] = ']';

                good = (ch && strchr(white, (int) ch))
                       || (ch >= '0' && ch <= '9');
                bad += (scan_value(v, n + 2) == NGX_OK) != good;
            }
        }
    }

    is_int(bad, 0, "white space is four bytes, in an indent of any length");

    memcpy(v, "{\n", 2);
    memset(v + 2, ' ', sizeof(v) - 2);

    for (bad = 0, n = 1; n <= sizeof(v); n++) {
        bad += scan(v, n) != NGX_ERROR || e.pos != n;
    }

    is_int(bad, 0, "an indent that the body ends in is too short a body");
}


static void
refused(void)
{
    ngx_uint_t        i;
    const refusal_t  *r;

    for (i = 0; i < lengthof(refusals); i++) {
        r = &refusals[i];

        if (!ok(scan(r->body.data, r->body.len) == NGX_ERROR
                && e.code == r->code && e.reason != NULL
                && (e.param == r->param
                    || (e.param && r->param && !strcmp(e.param, r->param))),
                "body %s is refused", (char *) r->body.data))
        {
            printf("# code %d, param %s\n", (int) e.code, e.param);
        }
    }

    ok(ngx_llm_json_facts(NULL, 0, &f, &e) == NGX_ERROR
       && e.code == NGX_LLM_JSON_INVALID, "no body at all is refused");

    scan_str("{\"a\":[1,2,x]}");
    is_int(e.pos, 10, "the place of a wrong byte is told");
    scan_str("{\"a\":\"0123456789012345678901234567890123456789\xff\"}");
    is_int(e.pos, 46, "the place of a wrong byte in a string is told");
    scan_str("{\"a\":\"01234567890123456789012345678901234567\\x\"}");
    is_int(e.pos, 44, "the place of a wrong escape is told");
}


static void
model(void)
{
    char        body[2000], name[400];
    ngx_uint_t  i;

    static const char *const  bad[] = {
        "", " a", "a ", "a\\\"b", "a\\\\b", "a\\nb", "\xc2\xa0" "a", "a\\u3000",
        "\\ud800", "a\\ud83d!", "a\x7f", "\\u0000", "\\u0020", "\\u007f",
        "\\u0085", "a\\u2028b", "a\\u202eb", "a\xef\xbb\xbf", "\\ufffd"
    };

    static const struct {
        const char  *raw;
        const char  *name;
    } good[] = {
        { "My model 2", "My model 2" },
        { "mod\xc3\xa8le", "mod\xc3\xa8le" },
        { "mod\\u00e8le", "mod\xc3\xa8le" },
        { "\xe6\xa8\xa1\xe5\x9e\x8b", "\xe6\xa8\xa1\xe5\x9e\x8b" },
        { "\\ud83d\\ude00", "\xf0\x9f\x98\x80" }
    };

    scan_str(" { \"x\" : 1 , \"model\" : \"gpt-4o\" }");
    is_str(f.model, f.model_len, "gpt-4o", "the model is found");
    is_int(f.model_pos, 23, "the model starts at its quote");
    is_int(f.model_size, 8, "the model's span has both quotes");
    is_int(f.members_pos, 2, "members start behind the brace");
    ok(!f.empty && !f.invalid_model, "the object is not empty");

    scan_str("{\"model\":\"a\\/b\\u002D\\u0063:!~\"}");
    is_str(f.model, f.model_len, "a/b-c:!~", "the model is decoded");
    is_int(f.model_size, 21, "the span of an escaped model is the raw one");

    is_int(scan_str("{\"model\":null}"), NGX_OK, "a null model passes");
    ok(f.model_len == 0 && f.model_size == 0 && !f.invalid_model,
       "a null model is absent");

    scan_str("{\"x\":{\"model\":\"a\"},\"models\":\"b\",\"Models\":\"c\","
             "\"mode\":1,\"\xc5\xbfmodel\":2,\"mode\xc5\xbf\":3}");
    ok(f.model_len == 0 && f.model_size == 0,
       "only the outer model is the model");

    scan_str("{\"x\":[{\"mod\\u0065l\":1,\"n\":0,\"n\":0}]}");
    is_int(e.code, 0, "rules for names hold in the outer object only");

    for (i = 0; i < lengthof(bad); i++) {
        sprintf(body, "{\"model\":\"%s\"}", bad[i]);
        ok(scan_str(body) == NGX_OK && f.invalid_model && f.model_len == 0
           && f.model_size == strlen(bad[i]) + 2,
           "model %lu is a string but no name", (unsigned long) i);
    }

    for (i = 0; i < lengthof(good); i++) {
        sprintf(body, "{\"model\":\"%s\"}", good[i].raw);
        ok(scan_str(body) == NGX_OK && !f.invalid_model,
           "model %lu is a name", (unsigned long) i);
        is_str(f.model, f.model_len, good[i].name, "... and is decoded");
    }

    memset(name, 'm', sizeof(name));

    sprintf(body, "{\"model\":\"%.256s\"}", name);
    ok(scan_str(body) == NGX_OK && f.model_len == 256 && !f.invalid_model,
       "a model of 256 bytes is a name");

    sprintf(body, "{\"model\":\"%.255s\\u006d\"}", name);
    ok(scan_str(body) == NGX_OK && f.model_len == 256 && f.model[255] == 'm',
       "a model of 256 bytes once decoded is a name");

    sprintf(body, "{\"model\":\"%.257s\"}", name);
    ok(scan_str(body) == NGX_OK && f.invalid_model,
       "a model of 257 bytes is no name");
}


static void
integers(void)
{
    scan_str("{}");
    ok(f.max_tokens == -1 && f.max_completion_tokens == -1
       && f.max_output_tokens == -1 && f.n == -1, "absent integers are -1");
    ok(f.empty && f.members_pos == 1, "an object without members is empty");

    scan_str("{\"n\":1,\"max_tokens\":0,\"max_completion_tokens\":2147483647 ,"
             "\"max_output_tokens\": 42}");
    is_int(f.n, 1, "n is found");
    is_int(f.max_tokens, 0, "max_tokens may be 0");
    is_int(f.max_completion_tokens, 2147483647, "2^31-1 is the largest");
    is_int(f.max_output_tokens, 42, "max_output_tokens is found");

    is_int(scan_str("{\"n\":null,\"max_tokens\":null,\"stream\":null,"
                    "\"max_completion_tokens\":null,\"stream_options\":null,"
                    "\"max_output_tokens\":null,\"model\":null}"), NGX_OK,
           "all seven may be null");
    ok(f.max_tokens == -1 && f.max_completion_tokens == -1
       && f.max_output_tokens == -1 && f.n == -1 && !f.stream_set
       && f.options_size == 0, "null is absent");
}


static void
notations(void)
{
    ngx_uint_t  i;
    char        body[200];

    static const struct {
        const char  *raw;
        ngx_int_t    value;
    } t[] = {
        { "4096", 4096 }, { "4096.0", 4096 }, { "4096.000", 4096 },
        { "4.096e3", 4096 }, { "4.096E+3", 4096 }, { "40960e-1", 4096 },
        { "0.4096e4", 4096 }, { "1e2", 100 }, { "100.00e0", 100 },
        { "2147483647.0", 2147483647 }, { "0.0", 0 }, { "-0", 0 },
        { "0e999999999999999999999", 0 },
        { "1000000000000000000000000000000e-27", 1000 },
        { "-1", -1 }, { "-1.0", -1 }, { "-0.5", -1 }, { "-2147483649", -1 },
        { "-1e400", -1 }
    };

    for (i = 0; i < lengthof(t); i++) {
        sprintf(body, "{\"max_tokens\":%s,\"max_completion_tokens\":%s,"
                      "\"max_output_tokens\":%s}", t[i].raw, t[i].raw,
                t[i].raw);
        ok(scan_str(body) == NGX_OK && f.max_tokens == t[i].value
           && f.max_completion_tokens == t[i].value
           && f.max_output_tokens == t[i].value,
           "a limit of %s is %ld, -1 if it is absent", t[i].raw,
           (long) t[i].value);
    }

    ok(scan_str("{\"n\":2.0}") == NGX_OK && f.n == 2, "n of 2.0 is 2");
}


static void
stream(void)
{
    ngx_uint_t  i;

    static const struct {
        const char  *options;
        ngx_uint_t   usage;
        ngx_uint_t   empty;
    } t[] = {
        { "{}", NGX_LLM_USAGE_UNSET, 1 },
        { "{ \n}", NGX_LLM_USAGE_UNSET, 1 },
        { "{\"x\":true}", NGX_LLM_USAGE_UNSET, 0 },
        { "{\"include_usage\":true}", NGX_LLM_USAGE_TRUE, 0 },
        { "{\"x\":[{}],\"include_usage\" : true , \"y\":{\"z\":1}}",
          NGX_LLM_USAGE_TRUE, 0 },
        { "{\"include_usage\":false}", NGX_LLM_USAGE_FALSE, 0 },
        { "{\"include_usage\":null}", NGX_LLM_USAGE_FALSE, 0 },
        { "{\"include_usage\":\"true\"}", NGX_LLM_USAGE_FALSE, 0 },
        { "{\"include_usage\":1}", NGX_LLM_USAGE_FALSE, 0 },
        { "{\"include\\u005fusage\":true}", NGX_LLM_USAGE_TRUE, 0 },
        { "{\"include_usage\":true,\"include_usage\":false}",
          NGX_LLM_USAGE_TRUE, 0 },
        { "{\"include_usage\":false,\"include_usage\":true}",
          NGX_LLM_USAGE_TRUE, 0 },
        { "{\"x\":{\"include_usage\":true}}", NGX_LLM_USAGE_UNSET, 0 }
    };

    for (i = 0; i < lengthof(t); i++) {
        char  body[200];

        sprintf(body, "{\"stream_options\":  %s ,\"include_usage\":true}",
                t[i].options);
        ok(scan_str(body) == NGX_OK && f.include_usage == t[i].usage
           && f.options_empty == t[i].empty && f.options_pos == 20
           && f.options_size == strlen(t[i].options)
           && f.options_null_size == 0,
           "stream_options %s", t[i].options);
    }

    scan_str("{\"a\":{\"stream\":true},\"stream\":true}");
    ok(f.stream && f.stream_set, "stream is true");
    scan_str("{\"stream\":false}");
    ok(!f.stream && f.stream_set, "stream is false");
    scan_str("{\"a\":{\"stream\":true}}");
    ok(!f.stream && !f.stream_set, "a nested stream is none");

    scan_str("{\"stream_options\": null }");
    ok(f.options_size == 0 && f.options_null_pos == 19
       && f.options_null_size == 4, "the null of stream_options has a span");

    ok(scan_str("{\"previous_response_id\":\"x\"}") == NGX_OK && f.stateful,
       "previous_response_id is state");
    ok(scan_str("{\"conversation\":{}}") == NGX_OK && f.stateful,
       "conversation is state");
    ok(scan_str("{\"convers\\u0061tion\":{}}") == NGX_OK && f.stateful,
       "conversation written with escapes is state");
    ok(scan_str("{\"conversation\":null,\"previous_response_id\":null,"
                "\"a\":{\"conversation\":1}}") == NGX_OK && !f.stateful,
       "null or nested is no state");
    ok(scan_str("{\"conversation\":1,\"conversation\":null}") == NGX_OK
       && f.stateful, "state in any of duplicates is state");
}


static void
state_claim(const char *body, const char *value, const char *claim)
{
    (void) scan_str(body);
    is_str(body + f.state_pos, f.state_size, value, claim);
}


static void
state_claims(void)
{
    state_claim("{\"a\":1, \"previous_response_id\" : \"r\\u0031\" }",
                "\"r\\u0031\"", "state is told as it is written");
    state_claim("{\"conversation\":{\"id\":\"c\"}}", "{\"id\":\"c\"}",
                "a conversation may be an object");
    state_claim("{\"conversation\":\"c\",\"previous_response_id\":\"r\"}",
                "\"r\"", "previous_response_id goes before conversation");
    state_claim("{\"previous_response_id\":\"r\",\"conversation\":\"c\"}",
                "\"r\"", "... in any order");
    state_claim("{\"previous_response_id\":null,\"conversation\":\"c\"}",
                "\"c\"", "... but null");
    state_claim("{\"conversation\":null}", "", "null has no place");
}


/* what is left of body when stream_options and max_tokens are cut out */

static void
cut_claim(const char *body, const char *want, ngx_uint_t empty)
{
    char                  out[256];
    size_t                pos, len;
    ngx_uint_t            i, n, all, none;
    ngx_llm_json_span_t   spans[2];

    len = strlen(body);
    pos = 0;
    out[0] = '\0';

    if (scan_str(body) != NGX_OK) {
        ok(0, "%s is JSON", body);
        return;
    }

    n = ngx_llm_json_cut(&f.options_place, &f.max_tokens_place, spans, &all);
    none = (f.empty || all);

    for (i = 0; i < n; i++) {
        strncat(out, body + pos, spans[i].pos - pos);
        pos = spans[i].pos + spans[i].len;
    }

    strncat(out, body + pos, len - pos);

    ok(scan_str(out) == NGX_OK && f.empty == none && none == empty
       && f.options_place.key == 0 && f.max_tokens_place.key == 0,
       "REQ-45: %s is JSON without them", body);
    is_str(out, strlen(out), want, "... and else as it was");
}


static void
cut_claims(void)
{
    char          body[256], want[256];
    size_t        i, k;
    ngx_uint_t    mask, members, left;

    static const char *const  member[] = {
        "\"a\" : [{\"max_tokens\":1}]", "\"stream_options\": {\"x\": {}}",
        "\"b\":\"stream_options\"", "\"max_tokens\" :null", "\"c\":0"
    };

    cut_claim("{}", "{}", 1);
    cut_claim("{\"a\":1}", "{\"a\":1}", 0);
    cut_claim("{\"stream_options\":{}}", "{}", 1);
    cut_claim(" {\n\"max_tokens\" : 5\r\n} ", " {\n\r\n} ", 1);
    cut_claim("{ \"stream_options\" : null , \"max_tokens\" : 1 }", "{  }",
              1);
    cut_claim("{ \"a\" : 1 , \"stream_options\" : {} , \"b\" : 2 }",
              "{ \"a\" : 1 , \"b\" : 2 }", 0);
    cut_claim("{ \"stream_options\" : {} , \"b\" : 2 }",
              "{ \"b\" : 2 }", 0);

    /* each choice of these members, in both directions */

    for (mask = 1; mask < 64; mask++) {

        strcpy(body, "{");
        strcpy(want, "{");
        members = 0;
        left = 0;

        for (i = 0; i < 5; i++) {
            k = (mask & 32) ? 4 - i : i;

            if (!(mask & (1u << k))) {
                continue;
            }

            strcat(strcat(body, members++ ? "," : ""), member[k]);

            if (k % 2 == 0) {
                strcat(strcat(want, left++ ? "," : ""), member[k]);
            }
        }

        cut_claim(strcat(body, "}"), strcat(want, "}"), left == 0);
    }
}


/* what counts must be, a byte at a time; the body is valid */

static int
counted_right(const u_char *p, size_t len)
{
    u_char         lead;
    size_t         want[NGX_LLM_CLASS_N], outside;
    ngx_uint_t     i, class;
    const u_char  *end;

    memset(want, 0, sizeof(want));
    outside = 0;

    for (end = p + len; p < end; p++) {
        outside++;

        if (*p != '"') {
            continue;
        }

        for (lead = 0, p++; *p != '"'; p++) {
            if (*p == '\\') {
                want[NGX_LLM_CLASS_PUNCT]++;
                p++;
            }

            lead = (*p >= 0xc0) ? *p : lead;

            if (*p >= 0x80) {
                class = (lead >= 0xe3 && lead < 0xf0 && lead != 0xee)
                        ? NGX_LLM_CLASS_CJK : NGX_LLM_CLASS_OTHER;

            } else if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z')
                       || (*p >= 'A' && *p <= 'Z') || *p == ' ')
            {
                class = NGX_LLM_CLASS_PROSE;

            } else {
                class = NGX_LLM_CLASS_PUNCT;
            }

            want[class]++;
        }

        outside++;
    }

    for (i = 0; i < NGX_LLM_CLASS_N; i++) {
        if (f.counts[i] != want[i]) {
            return 0;
        }
    }

    return f.outside == outside;
}


static void
counts(void)
{
    u_char  body[400];
    size_t  i, len;

    scan_str("{\"k\":\"Ab 9!\\n\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80\"}");
    is_int(f.counts[NGX_LLM_CLASS_PROSE], 6, "letters, digits and space");
    is_int(f.counts[NGX_LLM_CLASS_PUNCT], 2, "other ASCII");
    is_int(f.counts[NGX_LLM_CLASS_OTHER], 6, "multi-byte characters");
    is_int(f.counts[NGX_LLM_CLASS_CJK], 3, "CJK");
    is_int(f.outside, 7, "bytes outside of strings");

    for (i = 0x20, len = 6, memcpy(body, "{\"k\":\"", 6); i < 0x80; i++) {
        if (i == '"' || i == '\\') {
            body[len++] = '\\';
        }
        body[len++] = (u_char) i;
    }

    memcpy(body + len, "\"}", 2);
    ok(scan(body, len + 2) == NGX_OK && counted_right(body, len + 2),
       "every ASCII byte is in its class");
}


static void
truncated(void)
{
    size_t  i, bad, len;

    static const char  doc[] =
        "{\"model\":\"gpt-4o\",\"messages\":[{\"role\":\"user\",\"content\":"
        "\"An \\\"escaped\\\" text \\u00e9 of some length, \\\\ and \xe6\x97"
        "\xa5\xe6\x9c\xac, \xf0\x9f\x98\x80 \xc3\xa9 here.\"}],\"stream\":true"
        ",\"stream_options\":{\"include_usage\":true},\"x\":[-1.5e+10,null,"
        "false,{}],\"n\":1}";

    len = sizeof(doc) - 1;

    ok(scan(doc, len) == NGX_OK && counted_right((u_char *) doc, len),
       "the whole sample passes");

    for (bad = 0, i = 0; i < len; i++) {
        bad += scan(doc, i) != NGX_ERROR || e.code != NGX_LLM_JSON_INVALID
               || e.pos > i;
    }

    is_int(bad, 0, "the sample cut at any byte is refused");
}


/* what may stand in a string, and what may not */

static const ngx_str_t  good_pieces[] = {
    str("\\n"), str("\\\""), str("\\\\"), str("\\u0041"), str("\\ud83d\\ude00"),
    str("\xc2\x80"), str("\xdf\xbf"), str("\xe0\xa0\x80"), str("\xe4\xb8\xad"),
    str("\xed\x9f\xbf"), str("\xee\x80\x80"), str("\xef\xbf\xbf"),
    str("\xf0\x90\x80\x80"), str("\xf4\x8f\xbf\xbf"), str("\x7f"), str("z")
};


static const ngx_str_t  bad_pieces[] = {
    str("\0"), str("\n"), str("\x1f"), str("\\x"), str("\\"), str("\\u004"),
    str("\\u00\\n"), str("\\u004\xc3\xa9"), str("\""),
    str("\x80"), str("\xbf"), str("\xc0\x80"), str("\xc1\xbf"), str("\xc3"),
    str("\xc3\xc3\xa9"), str("\xc3\xa9\xa9"), str("\xe4\xb8"), str("\xe4"),
    str("\xe0\x9f\xbf"), str("\xe0\x80\x80"), str("\xed\xa0\x80"),
    str("\xed\xbf\xbf"), str("\xe4\xb8\xad\xad"), str("\xe4\xb8z"),
    str("\xf0\x8f\xbf\xbf"), str("\xf0\x80\x80\x80"), str("\xf4\x90\x80\x80"),
    str("\xf5\x80\x80\x80"), str("\xf8\x88\x80\x80\x80"), str("\xfe"),
    str("\xff"), str("\xf0\x9f\x98"), str("\xf0\x9f"), str("\xf0"),
    str("\xf0\x9f\x98\x80\x80"), str("\xf0\x9f\x98\xc3")
};


/* each piece at each offset of strings of every length around a step */

static ngx_uint_t
pieces(const ngx_str_t *piece, ngx_int_t want)
{
    u_char      body[256];
    size_t      at, rest, len;
    ngx_uint_t  bad;

    bad = 0;

    for (at = 0; at <= 140; at++) {
        for (rest = 0; rest <= 70; rest += (rest < 4 || rest > 64) ? 1 : 5) {
            memcpy(body, "{\"k\":\"", 6);
            memset(body + 6, 'x', at);
            memcpy(body + 6 + at, piece->data, piece->len);
            memset(body + 6 + at + piece->len, 'y', rest);

            len = 6 + at + piece->len + rest;
            memcpy(body + len, "\"}", 2);
            len += 2;

            bad += scan(body, len) != want;
            bad += want == NGX_OK && !counted_right(body, len);
        }
    }

    return bad;
}


static void
strings(void)
{
    ngx_uint_t  i, k, bad;

    for (i = 0; i < lengthof(good_pieces); i++) {
        ok(pieces(&good_pieces[i], NGX_OK) == 0,
           "good piece %lu passes at every offset", (unsigned long) i);
    }

    for (i = 0; i < lengthof(bad_pieces); i++) {
        ok(pieces(&bad_pieces[i], NGX_ERROR) == 0,
           "bad piece %lu is refused at every offset", (unsigned long) i);
    }

    /* rows of backslashes: an even row ends before the quote, an odd one not */

    for (bad = 0, i = 0; i <= 100; i++) {
        for (k = 0; k <= 140; k++) {
            u_char  v[256];

            v[0] = '"';
            memset(v + 1, 'x', i);
            memset(v + 1 + i, '\\', k);
            v[1 + i + k] = '"';

            bad += scan_value(v, i + k + 2) != (k % 2 ? NGX_ERROR : NGX_OK);
        }
    }

    is_int(bad, 0, "rows of backslashes of any length at any offset");
}


static void
escapes(void)
{
    u_char      v[256];
    ngx_uint_t  at, ch, i, good, bad;

    bad = 0;

    for (at = 1; at <= 101; at++) {
        for (ch = 0; ch < 0x100; ch++) {
            memset(v, '0', sizeof(v));
            v[0] = v[at + 8] = '"';
            v[at] = '\\';
            v[at + 1] = (u_char) ch;

            good = ch && strchr("\"\\/bfnrtu", (int) ch);
            bad += (scan_value(v, at + 9) == NGX_OK) != good;
        }
    }

    is_int(bad, 0, "eight bytes make an escape, and u with its digits");

    for (bad = 0, at = 1; at <= 101; at++) {
        for (i = 0; i < 4; i++) {
            for (ch = 0; ch < 0x100; ch++) {
                memset(v, 'F', sizeof(v));
                v[0] = v[at + 8] = '"';
                v[at] = '\\';
                v[at + 1] = 'u';
                v[at + 2 + i] = (u_char) ch;

                good = ch && strchr("0123456789abcdefABCDEF", (int) ch);
                bad += (scan_value(v, at + 9) == NGX_OK) != good;
            }
        }
    }

    is_int(bad, 0, "each digit of \\u is hexadecimal");
}


/* every sequence of up to three bytes, and all four-byte ones of some bytes */

static int
utf8_valid(const u_char *p, size_t n)
{
    uint32_t  ch;

    if (n == 2) {
        ch = (p[0] & 0x1fu) << 6 | (p[1] & 0x3f);
        return (p[0] & 0xe0) == 0xc0 && (p[1] & 0xc0) == 0x80 && ch >= 0x80;
    }

    if (n == 3) {
        ch = (p[0] & 0xfu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3f);
        return (p[0] & 0xf0) == 0xe0 && (p[1] & 0xc0) == 0x80
               && (p[2] & 0xc0) == 0x80 && ch >= 0x800
               && (ch < 0xd800 || ch > 0xdfff);
    }

    ch = (p[0] & 7u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6
         | (p[3] & 0x3f);
    return (p[0] & 0xf8) == 0xf0 && (p[1] & 0xc0) == 0x80
           && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80
           && ch >= 0x10000 && ch <= 0x10ffff;
}


static void
utf8(void)
{
    u_char      v[64];
    ngx_uint_t  a, b, i, bad;

    /* no lead of a valid sequence: what follows one is ASCII or wrong */
    static const u_char  last[] = { 0x7f, 0x80, 0xbf, 0xc0 };

    memset(v, 'x', sizeof(v));
    v[0] = '"';
    bad = 0;

    for (a = 0x80; a < 0x100; a++) {
        v[33] = '"';
        v[32] = (u_char) a;
        bad += scan_value(v, 34) != NGX_ERROR;

        for (b = 0x20; b < 0x100; b++) {
            if (b == '"' || b == '\\') {
                continue;
            }

            v[33] = (u_char) b;
            v[34] = '"';
            bad += (scan_value(v, 35) == NGX_OK) != utf8_valid(v + 32, 2);

            for (i = 0; i < 16; i++) {
                v[34] = last[i % 4];
                v[35] = '"';
                bad += i < 4 && (scan_value(v, 36) == NGX_OK)
                       != (utf8_valid(v + 32, 3)
                           || (utf8_valid(v + 32, 2) && v[34] < 0x80));

                v[35] = last[i / 4];
                v[36] = '"';
                bad += (scan_value(v, 37) == NGX_OK)
                       != (utf8_valid(v + 32, 4)
                           || (utf8_valid(v + 32, 3) && v[35] < 0x80)
                           || (utf8_valid(v + 32, 2) && v[34] < 0x80
                               && v[35] < 0x80));
            }
        }
    }

    is_int(bad, 0, "UTF-8 is what RFC 3629 says");
}


static double
seconds(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* objects and arrays in turn, depth containers with the outer one */

static ngx_int_t
nested(size_t depth, int closed)
{
    u_char     *body, *p;
    size_t      i;
    ngx_int_t   rc;

    body = malloc(depth * 6 + 1);
    p = body;

    for (i = 0; i < depth; i++) {
        if (i % 2 == 0) {
            memcpy(p, "{\"\":", 4);
            p += (i + 1 == depth && closed) ? 1 : 4;

        } else {
            *p++ = '[';
        }
    }

    for (i = depth; closed && i > 0; i--) {
        *p++ = (i % 2) ? '}' : ']';
    }

    rc = (p - body < ARENA / 2)
         ? scan(body, p - body)
         : ngx_llm_json_facts(body, p - body, &f, &e);
    free(body);

    return rc;
}


static void
hostile(void)
{
    char        body[2000];
    size_t      i;
    double      t;
    u_char     *p;

    is_int(nested(255, 1), NGX_OK, "255 containers pass");
    is_int(nested(256, 1), NGX_OK, "256 containers pass");
    is_int(nested(257, 1), NGX_ERROR, "257 containers are refused");

    /* one that opened and closed is no deeper for those behind it */

    strcpy(body, "{\"a\":[");
    for (i = 0; i < 300; i++) {
        strcat(body, "[],");
    }
    strcat(body, "{}]}");
    is_int(scan_str(body), NGX_OK, "300 containers side by side pass");

    strcpy(body, "{\"stream_options\":{\"a\":");
    for (i = 0; i < 254; i++) {
        strcat(body, "[");
    }
    for (i = 0; i < 254; i++) {
        strcat(body, "]");
    }
    strcat(body, "}}");
    is_int(scan_str(body), NGX_OK, "256 containers in stream_options pass");

    strcpy(body, "{\"stream_options\":{\"a\":");
    for (i = 0; i < 255; i++) {
        strcat(body, "[");
    }
    is_int(scan_str(body), NGX_ERROR, "257 in stream_options do not");

    t = seconds();
    ok(nested(10000, 1) == NGX_ERROR && nested(10000, 0) == NGX_ERROR,
       "10,000 containers are refused");
    ok(nested(1000000, 1) == NGX_ERROR && nested(1000000, 0) == NGX_ERROR,
       "1,000,000 containers are refused");
    ok(seconds() - t < 1, "and at once");

    /* each member of the outer object is looked at */

    p = malloc(ARENA);
    strcpy((char *) p, "{\"\\u006d\":0");
    for (i = 11; i + 20 < ARENA; i += 11) {
        memcpy(p + i, ",\"\\u006d\":0", 11);
    }
    p[i++] = '}';

    t = seconds();
    is_int(ngx_llm_json_facts(p, i, &f, &e), NGX_OK,
           "4 MB of escaped keys pass");
    ok(seconds() - t < 1, "and in time");
    free(p);
}


static uint32_t
next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;

    return *seed;
}


static void
mutated(void)
{
    u_char      body[400], *q;
    size_t      len, at;
    uint32_t    seed;
    ngx_uint_t  i, k, passed, bad, wrong;

    static const char  doc[] =
        "{\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":"
        "\"user\",\"content\":\"Some text, \\\"quoted\\\"\\n "
        "and \\u65e5\\u672c \xe6\x97"
        "\xa5\xe6\x9c\xac\xe8\xaa\x9e or \xf0\x9f\x98\x80, Z\xc3\xbcrich, "
        "\xd0\x9c\xd0\xbe\xd1\x81\xd0\xba\xd0\xb2\xd0\xb0 \\\\ and more.\"}],"
        "\"stream_options\":{\"include_usage\":false},\"n\":2,\"x\":[1.5,{}]}";

    static const u_char  chars[] = "\"\"\\\\,:{}[]u0n \xc3\xa9\xe6\xf0\x80\x1f";

    seed = 20260121;
    passed = bad = wrong = 0;

    for (i = 0; i < 200000; i++) {
        len = sizeof(doc) - 1;
        memcpy(body, doc, len);

        for (k = next_random(&seed) % 3 + 1; k; k--) {
            at = next_random(&seed) % len;
            q = body + at;

            switch (next_random(&seed) % 4) {
            case 0:
                *q = chars[next_random(&seed) % (sizeof(chars) - 1)];
                break;
            case 1:
                *q = (u_char) next_random(&seed);
                break;
            case 2:
                memmove(q, q + 1, --len - at);
                break;
            default:
                memmove(q + 1, q, len++ - at);
                *q = chars[next_random(&seed) % (sizeof(chars) - 1)];
            }
        }

        switch (scan(body, len)) {
        case NGX_OK:
            passed++;
            wrong += !counted_right(body, len);
            break;
        case NGX_ERROR:
            break;
        default:
            bad++;
        }
    }

    is_int(bad, 0, "the scanners agree on 200,000 mutated bodies");
    is_int(wrong, 0, "and count what a naive reader counts");
    ok(passed > 1000, "of which many pass (%lu)", (unsigned long) passed);
}


/* strings of escapes and characters, in some of them a thing that is wrong */

static void
dense(void)
{
    u_char            body[512];
    size_t            len, want;
    uint32_t          seed;
    ngx_int_t         rc;
    ngx_uint_t        i, wrong, refused, differ;
    const ngx_str_t  *piece;

    seed = 20260122;
    wrong = refused = differ = 0;

    for (i = 0; i < 200000; i++) {
        memcpy(body, "{\"k\":\"", 6);
        len = 6;
        want = 6 + next_random(&seed) % 400;

        while (len < want) {
            piece = &good_pieces[next_random(&seed) % lengthof(good_pieces)];

            if (next_random(&seed) % 512 == 0) {
                piece = &bad_pieces[next_random(&seed) % lengthof(bad_pieces)];
            }

            /* plain text is what most strings begin with */

            while (i % 2 && len < want / 2) {
                body[len++] = 'x';
            }

            memcpy(body + len, piece->data, piece->len);
            len += piece->len;
        }

        memcpy(body + len, "\"}", 2);
        len += 2;

        rc = scan(body, len);

        refused += rc == NGX_ERROR;
        differ += rc == -100;
        wrong += rc == NGX_OK && !counted_right(body, len);
    }

    is_int(differ, 0, "the scanners agree on 200,000 strings full of escapes");
    is_int(wrong, 0, "and count what a naive reader counts");
    ok(refused > 10000 && refused < 100000, "some are refused (%lu)",
       (unsigned long) refused);
}


static void
escape(void)
{
    size_t  i, n;
    u_char  buf[64];

    static const struct {
        ngx_str_t    src;
        const char  *want;
    } t[] = {
        { str(""), "" },
        { str("plain /'\x7f"), "plain /'\x7f" },
        { str("\"\\"), "\\\"\\\\" },
        { str("a\0\n\x1f"), "a\\u0000\\u000a\\u001f" },
        { str("\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80"),
          "\xc3\xa9\xe4\xb8\xad\xf0\x9f\x98\x80" },
        { str("\xc3"), "\\ufffd" },
        { str("\xc3z"), "\\ufffdz" },
        { str("\xed\xa0\x80"), "\\ufffd\\ufffd\\ufffd" },
        { str("\xe4\xb8"), "\\ufffd\\ufffd" },
        { str("\xff\xc0\x80"), "\\ufffd\\ufffd\\ufffd" }
    };

    for (i = 0; i < lengthof(t); i++) {
        n = ngx_llm_json_escape(buf, t[i].src.data, t[i].src.len);
        is_str(buf, n, t[i].want, "a string is escaped");
        is_int(ngx_llm_json_escape(NULL, t[i].src.data, t[i].src.len),
               (intmax_t) n, "and its length told before");
    }
}


static void
decode(void)
{
    size_t  i, n;
    u_char  buf[64];

    static const struct {
        const char  *src;
        const char  *want;
    } t[] = {
        { "", "" },
        { "ab", "ab" },
        { "\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t" },
        { "\\u0041\\u00e9\\u4E2D", "A\xc3\xa9\xe4\xb8\xad" },
        { "\\ud83d\\ude00!", "\xf0\x9f\x98\x80!" },
        { "\\ud83d", "\xef\xbf\xbd" },
        { "\\ud83dx", "\xef\xbf\xbdx" },
        { "\\ude00\\ud83d", "\xef\xbf\xbd\xef\xbf\xbd" },
        { "\\ud83d\\n\\u0041", "\xef\xbf\xbd\nA" },
        { "\\ud83d\\u0041", "\xef\xbf\xbd" "A" }
    };

    for (i = 0; i < lengthof(t); i++) {
        n = ngx_llm_string_decode(buf, sizeof(buf), (u_char *) t[i].src,
                                  (u_char *) t[i].src + strlen(t[i].src));
        is_str(buf, n, t[i].want, "a string is decoded");
    }

    n = ngx_llm_string_decode(buf, 3, (u_char *) "abcd", (u_char *) "abcd" + 4);
    is_int(n, 4, "a string too long to decode is told");
}


int
main(void)
{
    arena_init();

    values();
    spaces();
    refused();
    model();
    integers();
    notations();
    stream();
    state_claims();
    cut_claims();
    counts();
    truncated();
    strings();
    escapes();
    utf8();
    hostile();
    mutated();
    dense();
    escape();
    decode();

    return done_testing();
}
