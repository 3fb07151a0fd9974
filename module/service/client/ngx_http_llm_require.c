/*
 * llm_require: permits only targets of providers with the required labels.  An
 * empty value, or an invalid list, permits no target.
 */


#include <ngx_http_llm_client.h>
#include <ngx_http_llm_value.h>


static ngx_uint_t ngx_http_llm_require_any(ngx_str_t *value);
static ngx_uint_t ngx_http_llm_require_common(ngx_str_t *one, ngx_str_t *two);
static ngx_uint_t ngx_http_llm_require_next(ngx_str_t *list,
    ngx_str_t *element);


ngx_int_t
ngx_http_llm_require(ngx_http_request_t *r, ngx_http_llm_model_t *model,
    uint64_t *allowed, ngx_str_t *label)
{
    ngx_str_t                    value;
    ngx_uint_t                   i, n;
    ngx_http_llm_target_t       *target;
    ngx_http_llm_loc_conf_t     *llcf;
    ngx_http_llm_requirement_t  *requirement;

    *allowed = (uint64_t) -1;

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (llcf->require == NULL) {
        return NGX_OK;
    }

    *allowed >>= NGX_HTTP_LLM_TARGETS - model->targets.nelts;

    requirement = llcf->require->elts;
    target = model->targets.elts;

    for (i = 0; i < llcf->require->nelts; i++) {

        *label = requirement[i].label;

        if (ngx_http_llm_value(r, &requirement[i].value, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (!ngx_http_llm_require_valid(&value)) {
            *allowed = 0;
            return NGX_DECLINED;
        }

        if (ngx_http_llm_require_any(&value)) {
            continue;
        }

        for (n = 0; n < model->targets.nelts; n++) {

            if (!ngx_http_llm_require_met(target[n].provider, label, &value))
            {
                *allowed &= ~((uint64_t) 1 << n);
            }
        }

        if (*allowed == 0) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_llm_require_valid(ngx_str_t *value)
{
    ngx_str_t  list, element;

    if (value->len == 0) {
        return 0;
    }

    if (ngx_http_llm_require_any(value)) {
        return 1;
    }

    list = *value;

    while (ngx_http_llm_require_next(&list, &element)) {

        if (element.len == 0 || ngx_http_llm_require_any(&element)) {
            return 0;
        }
    }

    return 1;
}


ngx_uint_t
ngx_http_llm_require_met(ngx_http_llm_provider_t *provider, ngx_str_t *label,
    ngx_str_t *values)
{
    ngx_uint_t     i;
    ngx_keyval_t  *has;

    if (provider->labels == NULL) {
        return 0;
    }

    has = provider->labels->elts;

    for (i = 0; i < provider->labels->nelts; i++) {

        if (has[i].key.len == label->len
            && ngx_memcmp(has[i].key.data, label->data, label->len) == 0
            && ngx_http_llm_require_common(&has[i].value, values))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_llm_require_any(ngx_str_t *value)
{
    return value->len == 1 && value->data[0] == '*';
}


/* two lists have an element in common; labels are case-sensitive */

static ngx_uint_t
ngx_http_llm_require_common(ngx_str_t *one, ngx_str_t *two)
{
    ngx_str_t  first, second, left, right;

    first = *one;

    while (ngx_http_llm_require_next(&first, &left)) {

        second = *two;

        while (ngx_http_llm_require_next(&second, &right)) {

            if (left.len == right.len
                && ngx_memcmp(left.data, right.data, left.len) == 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


/* takes the first element of a list; 0: there is none, data is NULL then */

static ngx_uint_t
ngx_http_llm_require_next(ngx_str_t *list, ngx_str_t *element)
{
    u_char  *p, *last;

    if (list->data == NULL) {
        return 0;
    }

    last = list->data + list->len;
    p = ngx_strlchr(list->data, last, ',');

    element->data = list->data;
    element->len = (p ? p : last) - list->data;

    if (p) {
        list->data = p + 1;
        list->len = last - (p + 1);

    } else {
        ngx_str_null(list);
    }

    return 1;
}
