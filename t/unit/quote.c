/*
 * quote.c: a secret is found wherever it lies in a response and however the
 * response is cut into spans; placeholders are no secrets.
 */

#include <ngx_llm_quote.h>

#include "tap.h"


#define KEY  "sk-proj-7Qx2Lw9ZkP4m0aVbN3"


static void adds(void);
static void places(void);
static void spans(void);
static void masks(void);


int
main(void)
{
    adds();
    places();
    spans();
    masks();

    return done_testing();
}


static u_char *
bytes(const char *text)
{
    return (u_char *) (uintptr_t) text;
}


static ngx_uint_t
added(const char *text)
{
    ngx_llm_quote_t  quote;

    ngx_llm_quote_init(&quote);
    ngx_llm_quote_add(&quote, bytes(text), strlen(text));

    return quote.n;
}


static void
adds(void)
{
    size_t       i;
    static const struct {
        const char  *text;
        ngx_uint_t   n;
    } cases[] = {
        { KEY, 1 }, { "Bearer " KEY, 1 }, { "EMPTY", 0 }, { "none", 0 },
        { "placeholder", 0 }, { "Bearer placeholder", 0 }, { "", 0 },
        { "abcdefgh", 0 }, { "abcdefg8", 1 }, { "abcdef8", 0 },
        { "Basic dXNlcjpwYXNz", 1 }, { "abcdefghijkl", 1 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok(added(cases[i].text) == cases[i].n, "\"%s\" is %s", cases[i].text,
           cases[i].n ? "a secret" : "no secret");
    }
}


static void
places(void)
{
    u_char           text[300];
    size_t           size, at, missed, false_alarms;
    ngx_llm_quote_t  quote;

    ngx_llm_quote_init(&quote);
    ngx_llm_quote_add(&quote, bytes("other-secret-1"), 14);
    ngx_llm_quote_add(&quote, bytes(KEY), sizeof(KEY) - 1);

    missed = 0;
    false_alarms = 0;

    for (size = sizeof(KEY) - 1; size < sizeof(text); size++) {

        for (at = 0; at + sizeof(KEY) - 1 <= size; at++) {
            memset(text, 'Q', size);
            memcpy(text + at, KEY, sizeof(KEY) - 1);

            missed += !ngx_llm_quote_found(&quote, text, text + size);
            text[at + sizeof(KEY) - 2] = '-';
            false_alarms += ngx_llm_quote_found(&quote, text, text + size);
        }
    }

    ok(missed == 0, "a secret is found at every place");
    ok(false_alarms == 0, "a secret but for its last byte is none");
    ok(!ngx_llm_quote_found(&quote, text, text), "an empty text has none");

    ngx_llm_quote_init(&quote);
    ngx_llm_quote_add(&quote, bytes("Zm9vYmFyYmF6cXV4/3E="), 20);
    memcpy(text, "\"Zm9vYmFyYmF6cXV4\\/3E=\"", 23);
    ok(ngx_llm_quote_found(&quote, text, text + 23),
       "a slash of the secret may be escaped");
}


static void
spans(void)
{
    u_char           text[400];
    size_t           step, pos, at, missed, early;
    ngx_uint_t       found;
    ngx_llm_quote_t  quote;

    missed = 0;
    early = 0;

    for (step = 1; step < 200; step++) {

        for (at = 0; at < 300; at += 7) {
            ngx_llm_quote_init(&quote);
            ngx_llm_quote_add(&quote, bytes(KEY), sizeof(KEY) - 1);

            memset(text, 's', sizeof(text));
            memcpy(text + at, KEY, sizeof(KEY) - 1);

            found = 0;

            for (pos = 0; pos < sizeof(text) && !found; pos += step) {
                found = ngx_llm_quote_feed(&quote, text + pos,
                                           (pos + step < sizeof(text))
                                           ? text + pos + step
                                           : text + sizeof(text));
            }

            missed += !found;
            early += (found && pos < at + sizeof(KEY) - 1);
        }
    }

    ok(missed == 0, "a secret is found across spans of any size");
    ok(early == 0, "and not before its last byte");
}


static void
masks(void)
{
    char             text[300], key[201];
    ngx_llm_quote_t  quote;

    ngx_llm_quote_init(&quote);
    ngx_llm_quote_add(&quote, bytes(KEY), sizeof(KEY) - 1);

    strcpy(text, "a " KEY " b " KEY);
    ngx_llm_quote_mask(&quote, bytes(text), bytes(text) + strlen(text));
    ok(strcmp(text, "a ************************** b "
                    "**************************") == 0,
       "secrets are overwritten: %s", text);

    memset(key, 'K', 200);
    key[200] = '\0';
    ngx_llm_quote_init(&quote);
    ngx_llm_quote_add(&quote, bytes(key), 200);

    memcpy(text, key, 200);
    strcpy(text + 200, " b");
    ngx_llm_quote_mask(&quote, bytes(text), bytes(text) + strlen(text));
    ok(strchr(text, 'K') == NULL && strcmp(text + 199, "* b") == 0,
       "all of a secret that is longer than the compared bytes, too");
}
