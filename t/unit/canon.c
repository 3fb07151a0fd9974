/*
 * unit/canon.c: the canonical form of a request body.  Equal questions give
 * equal bytes and different ones never do (REQ-29): tables, and random bodies
 * against a form that is made another way, from the tree and not the text.
 * Proves also that the three scanners agree, that no byte outside of a body is
 * read (each ends where a forbidden page starts), and that no body is slow.
 *
 *   gcc -std=gnu11 -O2 -Wall -Wextra -Werror -DNGX_LLM_STANDALONE -Iinclude \
 *       -Imodule/codec \
 *       -It/unit t/unit/canon.c \
 *       $(find module/codec -name '*.c')
 */

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "ngx_llm_canon.h"
#include "ngx_llm_string.h"
#include "canon_tree.h"
#include "tap.h"


#define LEVELS       3              /* scalar, SSE2, AVX2 */
#define ARENA        (8 << 20)
#define NODES        (1 << 20)

#define lengthof(a)  (sizeof(a) / sizeof(a[0]))


static u_char                *arena_end;
static u_char                 form[2 * ARENA];
static size_t                 form_len;
static ngx_uint_t             puts_n;
static ngx_llm_canon_t        c;
static ngx_llm_canon_node_t   nodes[NODES];


static void
arena_init(void)
{
    size_t   page;
    u_char  *p;

    page = (size_t) sysconf(_SC_PAGESIZE);

    p = mmap(NULL, ARENA + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS,
             -1, 0);

    if (p == MAP_FAILED || mprotect(p, ARENA, PROT_READ | PROT_WRITE) != 0) {
        printf("Bail out! no memory\n");
        exit(1);
    }

    arena_end = p + ARENA;
}


static void
put(void *data, const u_char *p, size_t len)
{
    if (data != &c || len == 0 || form_len + len > sizeof(form)) {
        printf("Bail out! a wrong piece\n");
        exit(1);
    }

    memcpy(form + form_len, p, len);
    form_len += len;
    puts_n++;
}


/* the form of a body by one scanner, with n nodes; leaves form and c */

static ngx_int_t
canon_one(ngx_uint_t level, const void *data, size_t len, size_t n)
{
    u_char  *body;

    body = arena_end - len;
    memcpy(body, data, len);

    memset(&c, 0xff, sizeof(c));
    c.nodes = nodes;
    c.nnodes = n;
    c.put = put;
    c.data = &c;

    form_len = 0;
    puts_n = 0;

    return ngx_llm_canon_with(level, &c, body, len);
}


/* by all of them; -100 if they differ */

static ngx_int_t
canon_len(const void *data, size_t len)
{
    ngx_int_t         rc;
    ngx_uint_t        level;
    static u_char     first[2 * ARENA];
    size_t            first_len;
    ngx_llm_canon_t   found;

    rc = canon_one(0, data, len, NODES);
    found = c;
    first_len = form_len;
    memcpy(first, form, form_len);

    for (level = 1; level < LEVELS; level++) {
        if (canon_one(level, data, len, NODES) != rc
            || memcmp(&c, &found, sizeof(c)) != 0
            || (rc == NGX_OK && (form_len != first_len
                                 || memcmp(form, first, form_len) != 0)))
        {
            printf("# scanner %d differs for %.200s\n", (int) level,
                   (char *) data);
            return -100;
        }
    }

    return rc;
}


static ngx_int_t
canon(const char *body)
{
    return canon_len(body, strlen(body));
}


static const struct {
    const char  *body;
    const char  *form;
} forms[] = {
    { "{}", "{}" },
    { " \t\r{ \t} ", "{}" },
    { "{\"b\":1,\"a\":[true , false,null]}", "{\"a\":[true,false,null],"
      "\"b\":1}" },
    { "{\"b\":{\"d\":1,\"c\":{}},\"a\":[[],[{}]]}",
      "{\"a\":[[],[{}]],\"b\":{\"c\":{},\"d\":1}}" },

    /* keys by their decoded bytes, the shorter one first */
    { "{\"ab\":1,\"a\":2,\"\":3}", "{\"\":3,\"a\":2,\"ab\":1}" },
    { "{\"a!\":1,\"a\":2,\"a \":3}", "{\"a\":2,\"a \":3,\"a!\":1}" },
    { "{\"\\\"\":1,\"!\":2,\"#\":3}", "{\"!\":2,\"\\\"\":1,\"#\":3}" },
    { "{\"\\u00e9\":1,\"z\":2,\"\\n\":3}",
      "{\"\\n\":3,\"z\":2,\"\xc3\xa9\":1}" },
    { "{\"\xef\xbf\xbd\":1,\"\\ud83d\\ude00\":2,\"\\ue000\":3}",
      "{\"\xee\x80\x80\":3,\"\xef\xbf\xbd\":1,\"\xf0\x9f\x98\x80\":2}" },
    { "{\"c\":1,\"b\":2,\"a\":3,\"d\":4}",
      "{\"a\":3,\"b\":2,\"c\":1,\"d\":4}" },
    { "{\"b\":1,\"d\":2,\"c\":3,\"a\":4,\"e\":5,\"f\":6,\"aa\":7}",
      "{\"a\":4,\"aa\":7,\"b\":1,\"c\":3,\"d\":2,\"e\":5,\"f\":6}" },

    /* the shortest escapes */
    { "{\"s\":\"\\u0041\\/\\u002f\\u00e9\\u20ac\\ud83d\\uDE00\"}",
      "{\"s\":\"A//\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\"}" },
    { "{\"s\":\"\\u0008\\u0009\\u000A\\u000c\\u000D\\u0022\\u005c\"}",
      "{\"s\":\"\\b\\t\\n\\f\\r\\\"\\\\\"}" },
    { "{\"s\":\"\\u0000\\u000B\\u001F\\u007f\"}",
      "{\"s\":\"\\u0000\\u000b\\u001f\x7f\"}" },
    { "{\"s\":\"\\\\u0041\\\\/\\\\\\u0041\"}",
      "{\"s\":\"\\\\u0041\\\\/\\\\A\"}" },
    { "{\"s\":\"e\xcc\x81 \xc3\xa9  \"}", "{\"s\":\"e\xcc\x81 \xc3\xa9  \"}" },

    /* members by the bytes of their keys */
    { "{\"b\":1,\"\":2,\"\\u0062b\":3,\"_\":4,\"\xc3\xa9\":5,\" \":6,"
      "\"\\\\\":7,\"]\":8,\"!\":9}",
      "{\"\":2,\" \":6,\"!\":9,\"\\\\\":7,\"]\":8,\"_\":4,\"b\":1,"
      "\"bb\":3,\"\xc3\xa9\":5}" },

    /* numbers by value */
    { "{\"x\":[1,1.0,1e0,10e-1,0.1e1,1E+00,100e-02]}",
      "{\"x\":[1,1,1,1,1,1,1]}" },
    { "{\"x\":[0,-0,0.0,-0.0e9,0e99999999999999999999999]}",
      "{\"x\":[0,0,0,0,0]}" },
    { "{\"x\":[0.7,0.70,7E-1,-1.5,1.25e-3]}",
      "{\"x\":[7e-1,7e-1,7e-1,-15e-1,125e-5]}" },
    { "{\"a\":0.1,\"b\":0.9,\"c\":0.0,\"d\":-0.7,\"e\":0.70,\"f\":1.7,"
      "\"g\":0.07}",
      "{\"a\":1e-1,\"b\":9e-1,\"c\":0,\"d\":-7e-1,\"e\":7e-1,\"f\":17e-1,"
      "\"g\":7e-2}" },
    { "{\"x\":[12345678901234567890,1234567890123456789e1,1e19,1e20,"
      "100000000000000000000]}",
      "{\"x\":[12345678901234567890,12345678901234567890,"
      "10000000000000000000,1e20,1e20]}" },
    { "{\"x\":[123456789012345678901,123456789012345678900,-1e19]}",
      "{\"x\":[123456789012345678901,1234567890123456789e2,"
      "-10000000000000000000]}" },
    { "{\"x\":[9007199254740992,9007199254740993,0.1,"
      "0.1000000000000000055511151231257827]}",
      "{\"x\":[9007199254740992,9007199254740993,1e-1,"
      "1000000000000000055511151231257827e-34]}" },
    { "{\"x\":1e999999999999999999,\"y\":10e-999999999999999999}",
      "{\"x\":1e999999999999999999,\"y\":1e-999999999999999998}" },
    { "{\"x\":1e1000000000000000000,\"y\":-1.0E-99999999999999999999}",
      "{\"x\":1e1000000000000000000,\"y\":-1.0E-99999999999999999999}" },
    { "{\"x\":[1,2 , 3,\"4\",5]}", "{\"x\":[1,2,3,\"4\",5]}" },
    { "{\"x\":[15339,1917,11,7,42,15339,1917,11,7,[42,1],1]}",
      "{\"x\":[15339,1917,11,7,42,15339,1917,11,7,[42,1],1]}" },
    { "{\"x\":[15339,1917,11,7,42,15339, 1917,11,-7,1.50,2,3,\"\"]}",
      "{\"x\":[15339,1917,11,7,42,15339,1917,11,-7,15e-1,2,3,\"\"]}" },
    { "{\"x\":[1,2,3,4,5,6,7,8,1000000000000000000000,1,2,3,4,5,6]}",
      "{\"x\":[1,2,3,4,5,6,7,8,1e21,1,2,3,4,5,6]}" },

    /* what is left out, of the outer object only */
    { "{\"user\":\"u\",\"metadata\":{\"a\":[1]},\"safety_identifier\":1,"
      "\"prompt_cache_key\":1,\"prompt_cache_retention\":1,"
      "\"prompt_cache_options\":{},\"service_tier\":\"auto\","
      "\"stream\":true,\"stream_options\":{},\"store\":false,\"a\":1}",
      "{\"a\":1}" },
    { "{\"us\\u0065r\":\"u\",\"stre\\u0061m\":false}", "{}" },
    { "{\"a\":{\"user\":\"u\",\"stream\":true,\"n\":1,\"model\":null}}",
      "{\"a\":{\"model\":null,\"n\":1,\"stream\":true,\"user\":\"u\"}}" },
    { "{\"n\":1}", "{}" },
    { "{\"n\":10e-1}", "{}" },
    { "{\"n\":1.000,\"z\":0}", "{\"z\":0}" },
    { "{\"n\":2}", "{\"n\":2}" },
    { "{\"n\":-1}", "{\"n\":-1}" },
    { "{\"n\":10}", "{\"n\":10}" },
    { "{\"n\":\"1\"}", "{\"n\":\"1\"}" },
    { "{\"n\":0.1}", "{\"n\":1e-1}" },
    { "{\"model\":null,\"stream\":null,\"max_tokens\":null,"
      "\"max_completion_tokens\":null,\"max_output_tokens\":null,\"n\":null,"
      "\"stream_options\":null}", "{}" },
    { "{\"temperature\":null,\"top_p\":null,\"stop\":null,\"tools\":null}",
      "{\"stop\":null,\"temperature\":null,\"tools\":null,\"top_p\":null}" },
    { "{\"max_tokens\":0,\"model\":\"\"}", "{\"max_tokens\":0,\"model\":\"\"}" },
    { "{\"User\":1,\"users\":2}", "{\"User\":1,\"users\":2}" },

    /* the properties of a schema keep their order, all around is sorted */
    { "{\"s\":{\"type\":1,\"properties\":{\"b\" : {\"y\":[1],\"x\":{}},"
      "\"a\":2, \"c\":[{\"z\":1,\"k\":1}]},\"a\":0}}",
      "{\"s\":{\"a\":0,\"properties\":{\"b\":{\"x\":{},\"y\":[1]},"
      "\"a\":2,\"c\":[{\"k\":1,\"z\":1}]},\"type\":1}}" },
    { "{\"a\":[{\"properti\\u0065s\":{\"b\":{\"properties\":{\"d\":1,"
      "\"c\":1}},\"a\":{}}}]}",
      "{\"a\":[{\"properties\":{\"b\":{\"properties\":{\"d\":1,"
      "\"c\":1}},\"a\":{}}}]}" },
    { "{\"properties\":{},\"a\":1}", "{\"a\":1,\"properties\":{}}" },
    { "{\"properties\":{\"b\":[]},\"a\":1}",
      "{\"a\":1,\"properties\":{\"b\":[]}}" },
    { "{\"properties\":[{\"b\":1,\"a\":1}]}",
      "{\"properties\":[{\"a\":1,\"b\":1}]}" },
    { "{\"properties\":{\"n\":1,\"model\":null,\"d\":0,\"c\":0,\"b\":0}}",
      "{\"properties\":{\"n\":1,\"model\":null,\"d\":0,\"c\":0,\"b\":0}}" },
};


static void
test_forms(void)
{
    size_t      i;
    ngx_int_t   rc;

    for (i = 0; i < lengthof(forms); i++) {
        rc = canon(forms[i].body);

        if (!ok(rc == NGX_OK && form_len == strlen(forms[i].form)
                && memcmp(form, forms[i].form, form_len) == 0,
                "form of %s", forms[i].body))
        {
            printf("# rc %d, got %.*s\n", (int) rc, (int) form_len, form);
        }

        /* the form is its own form */

        rc = canon(forms[i].form);

        ok(rc == NGX_OK && form_len == strlen(forms[i].form)
           && memcmp(form, forms[i].form, form_len) == 0,
           "and that is its own form");
    }
}


static void
test_different(void)
{
    size_t              i, k, bad, len[32];
    static char         got[32][200];
    static const char  *bodies[] = {
        "{\"x\":[\"ab\",\"c\"]}", "{\"x\":[\"a\",\"bc\"]}",
        "{\"x\":\"1\"}", "{\"x\":1}", "{\"x\":{}}", "{\"x\":[]}",
        "{\"x\":\"\"}", "{\"x\":null}", "{\"x\":\"null\"}", "{\"x\":false}",
        "{\"x\":0}", "{\"x\":[null]}", "{\"x\":[[]]}", "{\"x\":[{}]}", "{}",
        "{\"x\":[1,2]}", "{\"x\":[2,1]}", "{\"x\":[12]}", "{\"x\":[[1],2]}",
        "{\"x\":[[1,2]]}", "{\"x\":\"\\u00e9\"}", "{\"x\":\"e\\u0301\"}",
        "{\"x\":\"\\\\u00e9\"}", "{\"x\":{\"y\":1}}", "{\"x\":1,\"y\":1}",
        "{\"x\":\"1,\\\"y\\\":1\"}", "{\"x\":1e1000000000000000000}",
        "{\"x\":1e1000000000000000001}", "{\"x\":1e-1000000000000000000}",
        "{\"x\":18446744073709551616}", "{\"x\":18446744073709551617}",
        "{\"x\":\"\\u0000\"}"
    };

    bad = 0;

    for (i = 0; i < lengthof(bodies); i++) {
        bad += canon(bodies[i]) != NGX_OK;
        memcpy(got[i], form, form_len);
        len[i] = form_len;

        for (k = 0; k < i; k++) {
            if (len[k] == len[i] && memcmp(got[k], got[i], len[i]) == 0) {
                printf("# %s is %s\n", bodies[i], bodies[k]);
                bad++;
            }
        }
    }

    is_int(bad, 0, "REQ-29 values that look alike have forms of their own");
}


static const struct {
    const char  *body;
    const char  *flags;      /* zero stored unstored stateful hosted remote */
} flags[] = {
    { "{\"temperature\":0}", "z" },
    { "{\"temperature\":-0.0e7}", "z" },
    { "{\"temperature\":0e9999999999999999999999}", "z" },
    { "{\"temperatur\\u0065\":0.0}", "z" },
    { "{\"temperature\":1e-99}", "" },
    { "{\"temperature\":-0.001e3}", "" },
    { "{\"temperature\":\"0\"}", "" },
    { "{\"temperature\":null}", "" },
    { "{\"a\":{\"temperature\":0}}", "" },
    { "{\"store\":true}", "s" },
    { "{\"store\":false}", "u" },
    { "{\"store\":null}", "" },
    { "{\"store\":1}", "" },
    { "{\"a\":{\"store\":true}}", "" },
    { "{\"previous_response_id\":\"r\"}", "t" },
    { "{\"previous_response_id\":null,\"conversation\":null,"
      "\"container\":null,\"prompt\":null,\"background\":null}", "" },
    { "{\"conversation\":{\"id\":\"c\"}}", "t" },
    { "{\"container\":\"c\"}", "t" },
    { "{\"prompt\":{\"id\":\"p\"}}", "t" },
    { "{\"prompt\":\"p\"}", "" },
    { "{\"prompt\":[1,2]}", "" },
    { "{\"background\":true}", "t" },
    { "{\"background\":false}", "" },
    { "{\"messages\":[{\"conversation\":1}]}", "" },
    { "{\"web_search_options\":{}}", "h" },
    { "{\"web_search_options\":null}", "" },
    { "{\"mcp_servers\":[]}", "h" },
    { "{\"search_parameters\":{\"mode\":\"on\"}}", "h" },
    { "{\"search_recency_filter\":\"day\"}", "h" },
    { "{\"plugins\":[{\"id\":\"web\"}]}", "h" },
    { "{\"enable_search\":true}", "h" },
    { "{\"enable_search\":false}", "" },
    { "{\"web_search\":true}", "h" },
    { "{\"web_se\\u0061rch\":true}", "h" },
    { "{\"web_search_of_a_very_long_name\":1}", "h" },
    { "{\"extra_body\":{\"search\":true}}", "h" },
    { "{\"extra_body\":null}", "" },
    { "{\"connectors\":[{}]}", "h" },
    { "{\"data_sources\":[{}],\"a\":1}", "h" },
    { "{\"a\":{\"plugins\":1,\"web_search\":1,\"search_b\":1}}", "" },
    { "{\"search\":1,\"research_depth\":1}", "" },
    { "{\"tools\":[]}", "" },
    { "{\"tools\":null}", "" },
    { "{\"tools\":[{\"type\":\"function\",\"function\":{\"type\":1}},"
      "{\"x\":[{}],\"type\":\"custom\"},{\"type\":\"f\\u0075nction\"}]}", "" },
    { "{\"tools\":[{\"type\":\"function\"},{\"type\":\"web_search\"}]}", "h" },
    { "{\"tools\":[{\"type\":\"functio\\u006e\\u0000\"}]}", "h" },
    { "{\"tools\":[{\"function\":{\"type\":\"function\"}}]}", "h" },
    { "{\"tools\":[{\"type\":[\"function\"]}]}", "h" },
    { "{\"tools\":[{\"type\":null}]}", "h" },
    { "{\"tools\":[1]}", "h" },
    { "{\"tools\":[[{\"type\":\"function\"}]]}", "h" },
    { "{\"tools\":[\"function\"]}", "h" },
    { "{\"tools\":{\"type\":\"function\"}}", "h" },
    { "{\"a\":{\"tools\":[{\"type\":\"web_search\"}]}}", "" },
    { "{\"a\":[{\"file_id\":\"f\"}]}", "r" },
    { "{\"a\":[{\"f\\u0069le_id\":\"f\"}]}", "r" },
    { "{\"properties\":{\"file_id\":{\"type\":\"string\"}}}", "" },
    { "{\"file_id\":null,\"a\":\"file_id\"}", "" },
    { "{\"a\":{\"image_url\":\"https://h/p\"}}", "r" },
    { "{\"a\":{\"image_url\":\"h\\u0074tp:\\/\\/h\"}}", "r" },
    { "{\"a\":{\"image_url\":{\"detail\":\"low\",\"url\":\"HTTP://h\"}}}",
      "r" },
    { "{\"a\":{\"image_url\":{\"url\":\"data:image/png;base64,https://\"}}}",
      "" },
    { "{\"a\":{\"image_url\":\"gs://b/o\"}}", "r" },
    { "{\"a\":{\"file_url\":\"S3://b/o\"}}", "r" },
    { "{\"a\":{\"file_url\":\"https:/\"}}", "" },
    { "{\"a\":{\"file_url\":\"\"}}", "" },
    { "{\"a\":{\"file_url\":{\"a\":{\"url\":\"http://h\"}}}}", "" },
    { "{\"a\":{\"video_url\":{\"url\":\"http://h\"}}}", "r" },
    { "{\"a\":{\"audio_url\":{\"url\":\"http://h\"}}}", "r" },
    { "{\"a\":{\"document_url\":\"http://h\"}}", "r" },
    { "{\"a\":{\"source\":{\"type\":\"url\",\"url\":\"https://h\"}}}", "r" },
    { "{\"a\":{\"source\":{\"type\":\"base64\",\"data\":\"http://\"}}}", "" },
    { "{\"url\":\"http://h\",\"a\":{\"url\":\"http://h\"}}", "" },
    { "{\"a\":{\"audio\":{\"id\":\"a\"}}}", "r" },
    { "{\"audio\":{\"voice\":\"v\",\"format\":\"wav\"},\"id\":1}", "" },
    { "{\"a\":{\"audio\":{\"id\":null}}}", "" },
    { "{\"a\":{\"audio\":[{\"id\":\"a\"}]}}", "" },
    { "{\"metadata\":{\"file_id\":\"f\"},\"store\":true}", "sr" },
};


static void
test_flags(void)
{
    char        got[8], *p;
    size_t      i;
    ngx_int_t   rc;

    for (i = 0; i < lengthof(flags); i++) {
        rc = canon(flags[i].body);

        p = got;

        if (c.zero) {
            *p++ = 'z';
        }

        if (c.stored) {
            *p++ = 's';
        }

        if (c.unstored) {
            *p++ = 'u';
        }

        if (c.stateful) {
            *p++ = 't';
        }

        if (c.hosted) {
            *p++ = 'h';
        }

        if (c.reference) {
            *p++ = 'r';
        }

        *p = '\0';

        if (!ok(rc == NGX_OK && strcmp(got, flags[i].flags) == 0,
                "REQ-29 flags \"%s\" of %s", flags[i].flags, flags[i].body))
        {
            printf("# rc %d, got \"%s\"\n", (int) rc, got);
        }
    }
}


static const struct {
    const char  *body;
    ngx_uint_t   refused;
} refusals[] = {
    { "{\"a\":1,\"a\":1}", NGX_LLM_CANON_DUPLICATE },
    { "{\"a\":1,\"b\":1,\"\\u0061\":1}", NGX_LLM_CANON_DUPLICATE },
    { "{\"b\":1,\"a\":1,\"b\":1}", NGX_LLM_CANON_DUPLICATE },
    { "{\"b\":1,\"c\":1,\"a\":1,\"b\":1}", NGX_LLM_CANON_DUPLICATE },
    { "{\"b\":1,\"d\":1,\"c\":1,\"a\":1,\"e\":2,\"c\":1}",
      NGX_LLM_CANON_DUPLICATE },
    { "{\"b\":1,\"a\":1,\"a\":1}", NGX_LLM_CANON_DUPLICATE },
    { "{\"x\":[{\"\":1,\"\":2}]}", NGX_LLM_CANON_DUPLICATE },
    { "{\"properties\":{\"c\":1,\"a\":1,\"b\":1,\"a\":2}}",
      NGX_LLM_CANON_DUPLICATE },
    { "{\"\\n\":1,\"\\u000A\":2}", NGX_LLM_CANON_DUPLICATE },
    { "{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":2}",
      NGX_LLM_CANON_DUPLICATE },
    { "{\"metadata\":{\"a\":1,\"a\":2}}", NGX_LLM_CANON_DUPLICATE },
    { "{\"user\":1,\"user\":2}", NGX_LLM_CANON_DUPLICATE },
    { "{\"n\":1,\"n\":1}", NGX_LLM_CANON_DUPLICATE },
    { "{\"a\":\"\\ud800\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"a\":\"\\uDFFF\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"a\":\"\\ud800\\ud800\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"a\":\"\\ud800\\n\\udc00\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"a\":\"\\udc00\\ud800\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"a\":\"\\ud83d\\ude00\\ude00\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"\\udbff\":1}", NGX_LLM_CANON_SURROGATE },
    { "{\"\\ud800\":1,\"\\ud801\":1}", NGX_LLM_CANON_SURROGATE },
    { "{\"a\":[[\"\\ud83dx\"]]}", NGX_LLM_CANON_SURROGATE },
    { "{\"user\":\"\\ud83d\"}", NGX_LLM_CANON_SURROGATE },
    { "{\"metadata\":{\"a\":[\"\\ud83d\"]}}", NGX_LLM_CANON_SURROGATE },
    { "{\"metadata\":{\"\\ud83d\":1}}", NGX_LLM_CANON_SURROGATE },
};


static char *
nested(char *p, ngx_uint_t depth, const char *name)
{
    ngx_uint_t  i;

    p += sprintf(p, "{\"%s\":", name);

    for (i = 1; i < depth; i++) {
        *p++ = '[';
    }

    for (i = 1; i < depth; i++) {
        *p++ = ']';
    }

    *p++ = '}';
    *p = '\0';

    return p;
}


static void
test_refusals(void)
{
    char        body[2000];
    size_t      i;
    ngx_int_t   rc;

    for (i = 0; i < lengthof(refusals); i++) {
        rc = canon(refusals[i].body);

        if (!ok(rc == NGX_DECLINED && c.refused == refusals[i].refused,
                "REQ-29 refused: %s", refusals[i].body))
        {
            printf("# rc %d, refused %d\n", (int) rc, (int) c.refused);
        }
    }

    nested(body, NGX_LLM_CANON_DEPTH, "a");
    is_int(canon(body), NGX_OK, "64 containers are taken");

    nested(body, NGX_LLM_CANON_DEPTH + 1, "a");
    is_int(canon(body), NGX_DECLINED, "65 are not");
    is_int(c.refused, NGX_LLM_CANON_DEEP, "as too deep");

    nested(body, NGX_LLM_CANON_DEPTH + 1, "metadata");
    is_int(canon(body), NGX_DECLINED, "nor in a member that is left out");
    is_int(c.refused, NGX_LLM_CANON_DEEP, "as too deep");
}


static void
test_nodes(void)
{
    size_t             n, len, again, bad;
    static const char  body[] = "{\"b\":[1,2,{\"c\":\"\\u0041\"}],\"a\":{},"
                                "\"user\":[[]]}";

    len = sizeof(body) - 1;
    bad = 0;
    again = 0;

    for (n = 0; n <= len / 2; n++) {
        switch (canon_one(NGX_LLM_SCAN_BEST, body, len, n)) {

        case NGX_AGAIN:
            bad += (puts_n != 0 || again != n);
            again++;
            break;

        case NGX_OK:
            break;

        default:
            bad++;
        }
    }

    is_int(bad, 0, "with too few nodes nothing is put");
    is_int(again, 12, "and 12 are enough for 12");
    is_str(form, form_len, "{\"a\":{},\"b\":[1,2,{\"c\":\"A\"}]}",
           "and then it is all there");
}


/* a string of every length at every place, against what is a step or a piece */

static void
test_lengths(void)
{
    size_t         n, k, len, bad;
    u_char        *p;
    static u_char  body[20000], want[20000];

    bad = 0;

    for (n = 0; n < 9000; n += (n < 400 || (n > 4000 && n < 4200)) ? 1 : 97) {
        for (k = 0; k < 3; k++) {

            /* as it is, one to write anew at the end, escapes all along */

            len = 0;
            p = body + sprintf((char *) body, "{\"x\":\"");
            len = sprintf((char *) want, "{\"x\":\"");

            if (k == 2) {
                memset(p, '\\', 2 * (n / 2));
                memset(want + len, '\\', 2 * (n / 2));
                p += 2 * (n / 2);
                len += 2 * (n / 2);

            } else {
                memset(p, 'x', n);
                memset(want + len, 'x', n);
                p += n;
                len += n;
            }

            p += sprintf((char *) p, "%s\\n\"}", k ? "\\u00E9" : "");
            len += sprintf((char *) want + len, "%s\\n\"}",
                           k ? "\xc3\xa9" : "");

            if (canon_len(body, p - body) != NGX_OK || form_len != len
                || memcmp(form, want, len) != 0)
            {
                printf("# length %zu, kind %zu\n", n, k);
                bad++;
            }
        }
    }

    is_int(bad, 0, "strings of any length, with any row of backslashes");
}


static int
same(const u_char *text, size_t len)
{
    return form_len == len && memcmp(form, text, len) == 0;
}


static void
test_random(uint64_t seed)
{
    size_t          len, want_len, other_len, bad, changed;
    ngx_uint_t      i, k;
    tree_t         *top;
    static u_char   body[TREE_TEXT], want[TREE_TEXT], other[TREE_TEXT];

    bad = 0;

    for (i = 0; i < 10000 && bad < 5; i++) {
        top = tree_random(seed + i);
        want_len = tree_form(top, want);

        for (k = 0; k < 10; k++) {
            len = tree_write(top, body);

            if (canon_one(k % LEVELS, body, len, NODES) != NGX_OK
                || !same(want, want_len))
            {
                printf("# seed %ju: %.*s\n# got  %.*s\n# want %.*s\n",
                       (uintmax_t) seed + i, (int) len, body, (int) form_len,
                       form, (int) want_len, want);
                bad++;
                break;
            }
        }
    }

    is_int(bad, 0, "REQ-29 100,000 ways to write a body: equal bytes");

    bad = 0;
    changed = 0;

    for (i = 0; changed < 100000 && bad < 5; i++) {
        top = tree_random(seed + i / 10);
        want_len = tree_form(top, want);

        tree_seed(seed + i * 7919);

        if (!tree_mutate(top)) {
            continue;
        }

        changed++;

        len = tree_write(top, body);
        other_len = tree_form(top, other);

        if (canon_one(i % LEVELS, body, len, NODES) != NGX_OK
            || same(want, want_len) || !same(other, other_len))
        {
            printf("# seed %ju: %.*s\n# got  %.*s\n# was  %.*s\n",
                   (uintmax_t) seed + i, (int) len, body, (int) form_len, form,
                   (int) want_len, want);
            bad++;
        }
    }

    is_int(bad, 0, "REQ-29 100,000 bodies with one change: other bytes");
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}


/* n keys or elements of a kind that is worst for something */

static size_t
hostile(char *body, size_t kind, size_t n)
{
    char    *p;
    size_t   i, r;

    p = body + sprintf(body, "{\"x\":%s", kind < 4 ? "{" : "[");

    if (kind == 4) {
        p += sprintf(p, "0.");
        memset(p, '0', 10 * n);
        memset(p + 10 * n, '1', 10 * n);
        p += 20 * n;
    }

    if (kind == 5) {
        *p++ = '"';
        memset(p, '\\', 20 * n);
        p += 20 * n;
        *p++ = '"';
    }

    for (i = 0; i < n; i++) {
        r = (i * 7919 + 1) % 100003;

        switch (kind) {
        case 0:
            p += sprintf(p, "\"%zu\":1,", 999999 - i);
            break;
        case 1:
            p += sprintf(p, "\"%zu\":1,", r);
            break;
        case 2:
            p += sprintf(p, "\"a long head of a key %zu\":1,", r);
            break;
        case 3:
            p += sprintf(p, "\"\\u0061\\u0062\\u0063%zu\":1,", r);
            break;
        case 6:
            p += sprintf(p, "-1.%zue-7 ,", i);
            break;
        case 7:
            p += sprintf(p, "\"\\ud83d\\ude00\\u0001\",");
            break;
        case 8:
            p += sprintf(p, "{\"b\":{},\"a\":{}},");
            break;
        }
    }

    p -= (p[-1] == ',');
    p += sprintf(p, "%s}", kind < 4 ? "}" : "]");

    return p - body;
}


/* processor time: with four times as much it takes no twelve times */

static void
test_slow(void)
{
    double              t, quarter;
    size_t              k, len;
    ngx_int_t           rc;
    static char         body[ARENA];
    static const char  *names[] = {
        "keys that fall", "keys at random", "keys with a long head",
        "escaped keys", "one number", "backslashes", "numbers",
        "\\u escapes", "objects"
    };

    for (k = 0; k < lengthof(names); k++) {
        len = hostile(body, k, 25000);
        quarter = now();
        rc = canon_one(NGX_LLM_SCAN_BEST, body, len, NODES);
        quarter = now() - quarter;

        ok(rc == NGX_OK, "%s", names[k]);

        len = hostile(body, k, 100000);
        t = now();
        rc = canon_one(NGX_LLM_SCAN_BEST, body, len, NODES);
        t = now() - t;

        ok(rc == NGX_OK && t < 12 * quarter + 0.01,
           "not quadratic: %s, %zu bytes", names[k], len);

        printf("# %.1f ms, a quarter %.1f ms\n", t * 1e3, quarter * 1e3);
    }

    len = sprintf(body, "{\"x\":");
    memset(body + len, '[', 1000000);

    is_int(canon_one(NGX_LLM_SCAN_BEST, body, len + 1000000, NODES),
           NGX_DECLINED, "a million brackets are refused");
}


/* the caller should know better, but no byte outside is read */

static void
test_no_json(void)
{
    size_t             i, k, len, bad;
    static const char  body[] = "{\"a\":[1.5e+3,true,\"\\ud83d\\ude00\\/\"],"
                                "\"t\\u0065mperature\":-0.0,\"n\":null,"
                                "\"tools\":[{\"type\":\"function\"}]}";

    bad = 0;
    len = sizeof(body) - 1;

    for (i = 0; i < len; i++) {
        for (k = 0; k < LEVELS; k++) {
            bad += canon_one(k, body, i, NODES) == NGX_OK;
        }
    }

    is_int(bad, 0, "a body that is cut off is an error");
    canon("{\"a\":[1,2,,7,8,1000000000000000000000,1,2]}");
    canon("{\"a\":[1 2,,,,,,,,,,,,,,,,,,,,,,,,1.0]}");
    is_int(canon("[]"), NGX_ERROR, "so is an array");
    is_int(canon("{\"a\" 1}"), NGX_ERROR, "and one without a colon");
    is_int(canon("{\"a\":}"), NGX_ERROR, "and one without a value");
    is_int(canon("{1:1}"), NGX_ERROR, "and one without a key");
    is_int(canon("{\"a\":1 1}"), NGX_ERROR, "and one without a comma");
    is_int(canon("{\"a\":[1,]}"), NGX_ERROR, "and one with one more");
}


int
main(int argc, char **argv)
{
    uint64_t  seed;

    seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 20260101;
    printf("# seed %ju\n", (uintmax_t) seed);

    arena_init();

    test_forms();
    test_different();
    test_flags();
    test_refusals();
    test_nodes();
    test_lengths();
    test_random(seed);
    test_no_json();
    test_slow();

    return done_testing();
}
