/*
 * ngx_llm_facts.c: initial facts of a request body, and the check of a model
 * name.
 */

#include <ngx_llm_facts.h>


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
    size_t    i;
    uint32_t  good;

    static const uint32_t  usual[] = {
        0x00000000,
        0xfffffffa,    /* without space and '"' */
        0xefffffff,    /* without '\' */
        0x7fffffff,    /* without DEL */
        0, 0, 0, 0
    };

    good = (len > 0 && len <= NGX_LLM_MODEL_LEN);

    for (i = 0; i < len && good; i++) {
        good = (usual[name[i] >> 5] >> (name[i] & 0x1f)) & 1;
    }

    return good;
}


void
ngx_llm_facts_name(ngx_llm_facts_t *facts, size_t len)
{
    facts->invalid_model = !ngx_llm_facts_is_name(facts->model, len);
    facts->model_len = facts->invalid_model ? 0 : len;
}
