/*
 * entry.c: libFuzzer target: any bytes are read as an entry, and proved as an
 * answer of each kind, within bounds; and of an answer that is proved whole no
 * part is, up to its last event or bracket (REQ-31).  The first input byte
 * says what is done.
 */

#include <ngx_llm_entry.h>

#include <stdio.h>
#include <stdlib.h>


#define LONGEST  2048        /* an answer whose every prefix is tried */


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static const ngx_llm_api_t  *apis[] = {
    &ngx_llm_api_chat,
    &ngx_llm_api_responses,
    &ngx_llm_api_embeddings
};


static void read_any(const u_char *data, size_t size);
static void prove_any(unsigned how, const u_char *data, size_t size);
static ngx_int_t prove(unsigned how, const u_char *data, size_t size,
    ngx_llm_entry_t *entry);
static size_t last_end(unsigned how, const u_char *data, size_t size);
static void within(const ngx_str_t *s, const u_char *data, size_t size);
static void check(int good, const char *what);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0) {
        return 0;
    }

    if (data[0] & 0x80) {
        read_any(data + 1, size - 1);

    } else {
        prove_any(data[0], data + 1, size - 1);
    }

    return 0;
}


/* what is read is written back the same */

static void
read_any(const u_char *data, size_t size)
{
    u_char           *copy, head[NGX_LLM_ENTRY_HEAD];
    size_t            len;
    ngx_llm_entry_t   entry, again;

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    memset(&entry, 0xa5, sizeof(entry));

    if (ngx_llm_entry_read(&entry, copy, size) == NGX_OK) {
        within(&entry.provider, copy, size);
        within(&entry.model, copy, size);
        within(&entry.type, copy, size);
        within(&entry.finish, copy, size);
        within(&entry.body, copy, size);

        check(entry.usage_pos <= entry.body.len
              && entry.usage_len <= entry.body.len - entry.usage_pos,
              "the usage chunk is in the body");

        len = ngx_llm_entry_write(&entry, head);
        check(len == size - entry.body.len, "the head is as long");

        check(entry.body.len != 0
              || ngx_llm_entry_read(&again, head, len) == NGX_OK,
              "what is written is read");
    }

    free(copy);
}


/* how: 1 a stream, 2 without usage, 4 and 8 what ends it, 16 one choice */

static void
prove_any(unsigned how, const u_char *data, size_t size)
{
    size_t            i, end;
    ngx_llm_entry_t   entry, part;

    if (prove(how, data, size, &entry) != NGX_OK) {
        return;
    }

    check(entry.usage_pos <= size && entry.usage_len <= size - entry.usage_pos,
          "the usage chunk is in the answer");
    check(entry.finish.len <= NGX_LLM_FINISH_REASON, "the finish reason fits");

    if (size > LONGEST) {
        return;
    }

    end = last_end(how, data, size);

    for (i = 0; i < end; i++) {
        check(prove(how, data, i, &part) == NGX_DECLINED, "a part is whole");
    }
}


static ngx_int_t
prove(unsigned how, const u_char *data, size_t size, ngx_llm_entry_t *entry)
{
    u_char       *copy;
    ngx_int_t     rc;
    const char   *why;

    static u_char  finish[NGX_LLM_FINISH_REASON];

    copy = malloc(size ? size : 1);
    memcpy(copy, data, size);

    memset(entry, 0, sizeof(ngx_llm_entry_t));
    entry->stream = how & 1;
    entry->body.data = copy;
    entry->body.len = size;
    why = NULL;

    rc = ngx_llm_entry_prove(entry, apis[(how >> 2) % 3], (how & 16) ? 1 : 0,
                             (how & 2) == 0, finish, &why);

    check(rc == NGX_OK || why != NULL, "it says why not");

    free(copy);

    return rc;
}


/*
 * Where the answer can first have ended: a document at its last bracket; a
 * stream behind its last event, but for the [DONE] that a response may have in
 * addition.
 */

static size_t
last_end(unsigned how, const u_char *data, size_t size)
{
    u_char            *p, *last;
    size_t             end;
    ngx_llm_answer_t   a;

    if ((how & 1) == 0) {
        for (end = size; end > 0 && data[end - 1] != '}'; end--) { /* void */ }
        return end;
    }

    ngx_llm_answer_init(&a, NGX_LLM_ANSWER_STREAM, apis[(how >> 2) % 3], 0);

    p = (u_char *) data;
    last = p + size;
    end = size;

    while (p < last && !a.terminal) {
        if (ngx_llm_answer_feed(&a, &p, last) == NGX_OK && a.terminal
            && apis[(how >> 2) % 3] == &ngx_llm_api_responses)
        {
            end = p - data;
        }
    }

    /* behind a line that ends in CR alone the CR of CRLF is a blank line */

    if (end > 2 && data[end - 1] == '\n' && data[end - 2] == '\r'
        && data[end - 3] != '\n')
    {
        end--;
    }

    return end;
}


static void
within(const ngx_str_t *s, const u_char *data, size_t size)
{
    check(s->data >= data && s->len <= size
          && (size_t) (s->data - data) <= size - s->len, "outside");
}


static void
check(int good, const char *what)
{
    if (!good) {
        fprintf(stderr, "failed: %s\n", what);
        abort();
    }
}
