/*
 * state_id.c: the ids of a response and of its conversation are found in a
 * document and in a stream, those of other objects are not, and a text that is
 * cut anywhere is read to its end and no further.
 */

#include <ngx_llm_state_id.h>

#include <stdlib.h>
#include <string.h>

#include "tap.h"


#define lengthof(a)  (sizeof(a) / sizeof(a[0]))


/* each text is a copy of its exact size, so that a sanitizer sees a read past
   its end */

static u_char *
copy(const char *text, size_t len)
{
    u_char  *p;

    p = malloc(len ? len : 1);
    if (p == NULL) {
        printf("Bail out! no memory\n");
        exit(1);
    }

    memcpy(p, text, len);

    return p;
}


static int
same(const ngx_str_t *id, const char *text)
{
    return id->len == strlen(text)
           && (id->len == 0 || memcmp(id->data, text, id->len) == 0);
}


static const struct {
    const char  *text;
    const char  *response;
    const char  *conversation;
} texts[] = {
    { "", "", "" },
    { "[DONE]", "", "" },
    { "{\"id\":\"r1\",\"object\":\"response\"}", "r1", "" },
    { " \n{ \"output\" : [{\"id\":\"m1\"}] , \"id\" : \"r1\" }", "r1", "" },
    { "{\"output\":[{\"id\":\"m1\",\"a\":\"]}\\\"\"}],\"x\":1.5e3,"
      "\"id\":\"r1\",\"conversation\":{\"id\":\"c1\"}}", "r1", "c1" },
    { "{\"conversation\":\"c1\",\"id\":\"r1\"}", "r1", "c1" },
    { "{\"error\":{\"id\":\"e1\"},\"reasoning\":{\"id\":\"x\"}}", "", "" },
    { "{\"id\":\"r\\u0031\"}", "", "" },
    { "{\"id\":\"\"}", "", "" },
    { "{\"id\":7,\"conversation\":null}", "", "" },
    { "event: response.created\ndata: {\"type\":\"response.created\","
      "\"response\":{\"id\":\"r1\",\"conversation\":{\"id\":\"c1\"}}}\n\n"
      "data: {\"response\":{\"id\":\"r2\"}}\n\n", "r1", "c1" },
    { ": comment\r\n\r\ndata:{\"item_id\":\"m\"}\r\n\r\n"
      "data:{\"response\":{\"id\":\"r1\",\"output\":[", "r1", "" },
    { "data: {\"response\":{\"response\":{\"response\":{\"id\":\"r1\"}}}}\n",
      "", "" },
    { "data: [DONE]\n\n", "", "" },
};


static const struct {
    const char  *value;
    const char  *id;
} values[] = {
    { "", "" },
    { "\"r1\"", "r1" },
    { "{\"id\":\"c1\"}", "c1" },
    { "{ \"a\" : {\"id\":\"no\"}, \"id\" : \"c1\" }", "c1" },
    { "[\"c1\"]", "" },
    { "\"r\\u0031\"", "" },
    { "true", "" },
};


int
main(void)
{
    size_t                i, len;
    u_char               *p;
    ngx_str_t             id;
    ngx_llm_state_ids_t   ids;

    for (i = 0; i < lengthof(texts); i++) {
        len = strlen(texts[i].text);
        p = copy(texts[i].text, len);

        ngx_llm_state_ids(p, len, &ids);

        ok(same(&ids.response, texts[i].response)
           && same(&ids.conversation, texts[i].conversation),
           "text %d: response \"%s\", conversation \"%s\"", (int) i,
           texts[i].response, texts[i].conversation);

        free(p);

        while (len--) {
            p = copy(texts[i].text, len);
            ngx_llm_state_ids(p, len, &ids);
            free(p);
        }
    }

    for (i = 0; i < lengthof(values); i++) {
        len = strlen(values[i].value);
        p = copy(values[i].value, len);

        ngx_llm_state_id(p, len, &id);

        ok(same(&id, values[i].id), "value %s: id \"%s\"", values[i].value,
           values[i].id);

        free(p);
    }

    return done_testing();
}
