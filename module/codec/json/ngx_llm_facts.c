/*
 * ngx_llm_facts.c: initial facts of a request body, and the check of a model
 * name.
 */

#include "../ngx_llm_string.h"


static uint32_t ngx_llm_facts_code(const u_char *p, size_t n);
static ngx_uint_t ngx_llm_facts_printable(uint32_t code);
static ngx_uint_t ngx_llm_facts_blank(uint32_t code);


void
ngx_llm_facts_init(ngx_llm_facts_t *facts)
{
    ngx_memzero(facts, offsetof(ngx_llm_facts_t, model));

    facts->max_tokens = -1;
    facts->max_completion_tokens = -1;
    facts->max_output_tokens = -1;
    facts->n = -1;
}


ngx_uint_t
ngx_llm_facts_is_name(const u_char *name, size_t len)
{
    size_t         n;
    uint32_t       code;
    ngx_uint_t     blank;
    const u_char  *p, *last;

    if (len == 0 || len > NGX_LLM_MODEL_LEN) {
        return 0;
    }

    blank = 1;
    last = name + len;

    for (p = name; p < last; p += n) {

        if (*p < 0x80) {
            n = 1;
            code = *p;

        } else {
            n = ngx_llm_utf8_length(p, last);
            if (n == 0) {
                return 0;
            }

            code = ngx_llm_facts_code(p, n);
        }

        if (!ngx_llm_facts_printable(code)) {
            return 0;
        }

        /* a client or provider may trim blanks at the ends */

        if (ngx_llm_facts_blank(code)) {
            if (p == name) {
                return 0;
            }

            blank = 1;

        } else {
            blank = 0;
        }
    }

    return !blank;
}


/* Returns the code point of a valid character of n bytes, 2 to 4. */

static uint32_t
ngx_llm_facts_code(const u_char *p, size_t n)
{
    size_t    i;
    uint32_t  code;

    code = *p & (0x7f >> n);

    for (i = 1; i < n; i++) {
        code = (code << 6) | (p[i] & 0x3f);
    }

    return code;
}


/*
 * Returns 0 for quotes and backslashes, which would need escapes in JSON and in
 * logs, and for characters that break a line, reorder it or are invisible.
 */

static ngx_uint_t
ngx_llm_facts_printable(uint32_t code)
{
    if (code < 0x80) {
        return code >= 0x20 && code != '"' && code != '\\' && code != 0x7f;
    }

    return !(code < 0xa0                            /* C1 control characters */
             || code == 0xad                        /* soft hyphen */
             || code == 0x200b                      /* zero width space */
             || code == 0x200e || code == 0x200f
             || (code >= 0x2028 && code <= 0x202e)  /* line ends, direction */
             || (code >= 0x2060 && code <= 0x206f)
             || code == 0xfeff                      /* byte order mark */
             || (code >= 0xfff0 && code <= 0xffff)  /* U+FFFD replaces errors */
             || code >= 0xe0000);                   /* tags, private use */
}


static ngx_uint_t
ngx_llm_facts_blank(uint32_t code)
{
    return code == ' ' || code == 0xa0 || code == 0x1680
           || (code >= 0x2000 && code <= 0x200a)
           || code == 0x202f || code == 0x205f || code == 0x3000;
}


void
ngx_llm_facts_name(ngx_llm_facts_t *facts, size_t len)
{
    facts->invalid_model = !ngx_llm_facts_is_name(facts->model, len);
    facts->model_len = facts->invalid_model ? 0 : len;
}
