/*
 * Media in the strings of a body are estimated by their kind, text is not taken
 * for media.
 */

#include <ngx_llm_json.h>

#include "tap.h"


#define BYTES  40000


typedef struct {
    const char  *claim;
    const char  *key;
    const char  *start;              /* of the value, which fill repeats */
    const char  *fill;
    int64_t      least, most;        /* tokens of media */
} case_t;


static const case_t  cases[] = {

    { "a data URL of a picture", "url", "data:image/png;base64,",
      "iVBORw0KGgoAAAANSUhEUg", 1100, 1100 },
    { "a data URL of a picture, slashes with escapes as of PHP", "url",
      "data:image\\/jpeg;base64,", "\\/9j\\/4AAQSkZJRgABAQ", 1100, 1100 },
    { "a data URL of a picture, a space behind its comma", "url",
      "data:image/png;base64, ", "iVBORw0KGgoAAAANSUhEUg", 1100, 1100 },
    { "a data URL of audio, 16 kB a second", "url", "data:audio/mpeg;base64,",
      "SUQzBAAAAAAAI1RTU0UAAAAPAAAD", 15, 25 },
    { "file_data", "file_data", "", "JVBERi0xLjcKJeLjz9MKMSAw", 1400, 1600 },
    { "base64 without a type", "data", "", "iVBORw0KGgoAAAANSUhEUg", 1100,
      1100 },

    { "words are text", "content", "", "The quick brown fox ", 0, 0 },
    { "words behind the start of a data URL are text", "content",
      "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAA and ",
      "the quick brown fox ", 0, 0 },
    { "words behind data: are text", "content", "data: ",
      "the quick brown fox ", 0, 0 },
    { "words behind base64 are text", "content",
      "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwA ",
      "the quick brown fox ", 0, 0 },
    { "characters of CJK behind a data URL are text", "content",
      "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ",
      "\xe6\xbc\xa2\xe5\xad\x97", 0, 0 }
};


int
main(void)
{
    char                  *p;
    size_t                 i;
    uint64_t               text;
    ngx_uint_t             n;
    const case_t          *c;
    ngx_llm_facts_t        facts;
    ngx_llm_json_error_t   err;

    static char  body[BYTES + 256];

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        c = &cases[i];
        p = body + sprintf(body, "{\"%s\":\"%s", c->key, c->start);

        while (p < body + BYTES) {
            p += sprintf(p, "%s", c->fill);
        }

        p += sprintf(p, "\"}");

        if (ngx_llm_json_facts((u_char *) body, p - body, &facts, &err)
            != NGX_OK)
        {
            ok(0, "%s: is valid", c->claim);
            continue;
        }

        text = 0;

        for (n = 0; n < NGX_LLM_CLASS_N; n++) {
            text += facts.counts[n];
        }

        ok(facts.media >= c->least && facts.media <= c->most
           && (c->most ? text < 256 : text > BYTES - 256),
           "%s", c->claim);

        if (facts.media < c->least || facts.media > c->most) {
            printf("# %ld tokens of media, %lu bytes of text\n",
                   (long) facts.media, (unsigned long) text);
        }
    }

    return done_testing();
}
