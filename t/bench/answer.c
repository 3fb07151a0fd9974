/*
 * answer.c: what reading an answer costs: nanoseconds per chat chunk event,
 * and per MB of a JSON answer.  Best of several rounds.
 */

#include <ngx_llm_answer.h>

#include <stdio.h>
#include <stdlib.h>
#include <time.h>


#define EVENTS  1024
#define ROUNDS  300
#define MB      (1024 * 1024)


static double now(void);
static double stream(u_char *buf, size_t len, size_t piece);
static size_t chunks(u_char *buf, const char *space);
static size_t document(u_char *buf, size_t size, ngx_uint_t what);
static void show(const char *name, double ns, size_t len, size_t n);


static const char  *words[] = {
    " the", " of", "\\n\\n", " quick", " Beziehung", "ing", ".",
    " \\\"quoted\\\"",
    "\xe6\x97\xa5\xe6\x9c\xac", " a", "1", " implementation", "()", " is", ",",
    " to"
};


int
main(void)
{
    u_char      *buf;
    size_t       len, i;
    double       t, best;
    ngx_uint_t   k;

    static const char  *names[] = { "JSON, plain string",
                                    "JSON, string with escapes",
                                    "JSON, embedding floats" };

    buf = malloc(8 * MB);
    if (buf == NULL) {
        return 1;
    }

    len = chunks(buf, "");
    printf("%zu bytes an event\n", len / EVENTS);
    show("chat chunk, whole", stream(buf, len, len), len, EVENTS);
    show("chat chunk, 4096 byte pieces", stream(buf, len, 4096), len, EVENTS);
    show("chat chunk, 16 byte pieces", stream(buf, len, 16), len, EVENTS);
    show("chat chunk, 1 byte pieces", stream(buf, len, 1), len, EVENTS);

    len = chunks(buf, " ");
    show("chat chunk with spaces", stream(buf, len, len), len, EVENTS);

    for (k = 0; k < 3; k++) {
        len = document(buf, 4 * MB, k);
        best = 1e18;

        for (i = 0; i < 10; i++) {
            u_char            *p = buf;
            ngx_llm_answer_t   a;

            t = now();
            ngx_llm_answer_init(&a, NGX_LLM_ANSWER_JSON, &ngx_llm_api_chat, 1);

            if (ngx_llm_answer_feed(&a, &p, buf + len) != NGX_OK
                || a.usage.total != 7)
            {
                return 1;
            }

            t = now() - t;
            best = t < best ? t : best;
        }

        printf("%-30s %8.0f ns/MB  %6.2f GB/s\n", names[k],
               best * MB / len, len / best);
    }

    free(buf);

    return 0;
}


static double
now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return ts.tv_sec * 1e9 + ts.tv_nsec;
}


/* nanoseconds of one pass */

static double
stream(u_char *buf, size_t len, size_t piece)
{
    u_char            *p, *end, *last;
    double             t, best;
    ngx_uint_t         i, n;
    ngx_llm_answer_t   a;

    best = 1e18;

    for (i = 0; i < ROUNDS; i++) {
        t = now();
        n = 0;
        ngx_llm_answer_init(&a, NGX_LLM_ANSWER_STREAM, &ngx_llm_api_chat, 1);

        for (p = buf, last = buf + len; p < last; /* void */ ) {
            end = (size_t) (last - p) > piece ? p + piece : last;

            while (p < end) {
                n += (ngx_llm_answer_feed(&a, &p, end) == NGX_OK);
            }
        }

        t = now() - t;
        best = t < best ? t : best;

        if (n != EVENTS || !a.content || a.malformed) {
            exit(1);
        }
    }

    return best;
}


static size_t
chunks(u_char *buf, const char *s)
{
    u_char  *p;
    size_t   i;

    p = buf;
    srandom(1);

    for (i = 0; i < EVENTS; i++) {
        p += sprintf((char *) p,
                     "data: {\"id\":%s\"chatcmpl-BxG7TzPq0vYc1nLw2RkMd\",%s"
                     "\"object\":%s\"chat.completion.chunk\",%s"
                     "\"created\":%s1751234567,%s\"model\":%s\"gpt-4o-mini\",%s"
                     "\"system_fingerprint\":%s\"fp_34a54ae93c\",%s"
                     "\"choices\":%s[{\"index\":%s0,%s\"delta\":%s"
                     "{\"content\":%s\"%s\"},%s\"finish_reason\":%snull}],%s"
                     "\"usage\":%snull}\n\n",
                     s, s, s, s, s, s, s, s, s, s, s, s, s, s, s,
                     words[random() % 16], s, s, s, s);
    }

    return p - buf;
}


static size_t
document(u_char *buf, size_t size, ngx_uint_t what)
{
    u_char  *p;

    p = buf;

    if (what == 2) {
        p += sprintf((char *) p, "{\"object\":\"list\",\"data\":"
                     "[{\"embedding\":[0");

        while ((size_t) (p - buf) < size) {
            p += sprintf((char *) p, ",-0.0%ld", random() % 1000000);
        }

        p += sprintf((char *) p, "]}]");

    } else {
        p += sprintf((char *) p, "{\"choices\":[{\"index\":0,\"message\":"
                     "{\"content\":\"");

        while ((size_t) (p - buf) < size) {
            p += sprintf((char *) p, "%s",
                         what ? words[random() % 16] : " text");
        }

        p += sprintf((char *) p, "\"},\"finish_reason\":\"stop\"}]");
    }

    p += sprintf((char *) p, ",\"usage\":{\"prompt_tokens\":3,"
                 "\"completion_tokens\":4}}");

    return p - buf;
}


static void
show(const char *name, double ns, size_t len, size_t n)
{
    printf("%-30s %8.1f ns/event  %6.2f GB/s\n", name, ns / n, len / ns);
}
