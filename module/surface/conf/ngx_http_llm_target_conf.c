/*
 * target and balance: the targets of an llm_model and the policy that chooses
 * one of them.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_client.h>


#define NGX_HTTP_LLM_TARGET_WEIGHT   65535
#define NGX_HTTP_LLM_TARGET_CONTEXT  1000000000  /* tokens */


typedef struct {
    ngx_str_t                      name;         /* "weight=", "backup" */
    char                        *(*set)(ngx_conf_t *cf,
                                        ngx_http_llm_target_t *target,
                                        ngx_str_t *value);
} ngx_http_llm_param_t;


static char *ngx_http_llm_target_conf_model(ngx_conf_t *cf,
    ngx_http_llm_model_t *model, ngx_http_llm_target_t *target,
    ngx_str_t *name);
static ngx_http_llm_param_t *ngx_http_llm_target_conf_param(ngx_str_t *param);
static char *ngx_http_llm_target_conf_weight(ngx_conf_t *cf,
    ngx_http_llm_target_t *target, ngx_str_t *value);
static char *ngx_http_llm_target_conf_backup(ngx_conf_t *cf,
    ngx_http_llm_target_t *target, ngx_str_t *value);
static char *ngx_http_llm_target_conf_context(ngx_conf_t *cf,
    ngx_http_llm_target_t *target, ngx_str_t *value);


static ngx_http_llm_param_t  ngx_http_llm_target_params[] = {
    { ngx_string("weight="), ngx_http_llm_target_conf_weight },
    { ngx_string("backup"), ngx_http_llm_target_conf_backup },
    { ngx_string("price="), ngx_http_llm_price_conf_param },
    { ngx_string("context="), ngx_http_llm_target_conf_context },
    { ngx_null_string, NULL }
};


/*
 * target PROVIDER [MODEL] [weight=N] [backup] [context=N]
 *     [price=IN,OUT[,CACHED]|provider]
 */

char *
ngx_http_llm_target_conf_target(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_model_t  *model = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_http_llm_param_t   *param;
    ngx_http_llm_target_t  *target;

    if (model->targets.nelts == NGX_HTTP_LLM_TARGETS) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "more than %d targets in llm_model \"%V\"",
                           NGX_HTTP_LLM_TARGETS, &model->pattern);
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    target = ngx_array_push(&model->targets);
    if (target == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(target, sizeof(ngx_http_llm_target_t));

    target->name = value[1];
    target->line = cf->conf_file->line;

    for (i = 2; i < cf->args->nelts; i++) {

        param = ngx_http_llm_target_conf_param(&value[i]);

        if (param) {
            value[i].data += param->name.len;
            value[i].len -= param->name.len;

            rv = param->set(cf, target, &value[i]);

        } else if (i == 2
                   && ngx_strlchr(value[i].data, value[i].data + value[i].len,
                                  '=')
                      == NULL)
        {
            rv = ngx_http_llm_target_conf_model(cf, model, target, &value[i]);

        } else {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of target",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (target->weight == 0) {
        target->weight = 1;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_target_conf_model(ngx_conf_t *cf, ngx_http_llm_model_t *model,
    ngx_http_llm_target_t *target, ngx_str_t *name)
{
    target->model = *name;

    if (name->len == 1 && name->data[0] == '*') {

        if (!model->prefix) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "target model \"*\" needs a pattern with "
                               "\"*\", llm_model is \"%V\"",
                               &model->pattern);
            return NGX_CONF_ERROR;
        }

        target->wildcard = 1;
        model->wildcard = 1;
        return NGX_CONF_OK;
    }

    if (!ngx_llm_facts_is_name(name->data, name->len)
        || ngx_strlchr(name->data, name->data + name->len, '*'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid target model \"%V\"", name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* Returns NULL if the text is not a parameter. */

static ngx_http_llm_param_t *
ngx_http_llm_target_conf_param(ngx_str_t *param)
{
    ngx_http_llm_param_t  *p;

    for (p = ngx_http_llm_target_params; p->name.len; p++) {

        if (param->len >= p->name.len
            && (param->len == p->name.len
                || p->name.data[p->name.len - 1] == '=')
            && ngx_memcmp(param->data, p->name.data, p->name.len) == 0)
        {
            return p;
        }
    }

    return NULL;
}


static char *
ngx_http_llm_target_conf_weight(ngx_conf_t *cf, ngx_http_llm_target_t *target,
    ngx_str_t *value)
{
    if (target->weight) {
        return "has a duplicate weight=";
    }

    target->weight = ngx_atoi(value->data, value->len);

    if (target->weight < 1 || target->weight > NGX_HTTP_LLM_TARGET_WEIGHT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid weight \"%V\" of target, 1 to %d is "
                           "expected", value, NGX_HTTP_LLM_TARGET_WEIGHT);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_target_conf_backup(ngx_conf_t *cf, ngx_http_llm_target_t *target,
    ngx_str_t *value)
{
    if (target->backup) {
        return "has a duplicate backup";
    }

    target->backup = 1;

    return NGX_CONF_OK;
}


/* Sets the tokens of input that the model takes at most. */

static char *
ngx_http_llm_target_conf_context(ngx_conf_t *cf, ngx_http_llm_target_t *target,
    ngx_str_t *value)
{
    ngx_int_t   n;
    ngx_str_t   digits;
    ngx_uint_t  scale;

    if (target->context) {
        return "has a duplicate context=";
    }

    digits = *value;
    scale = 1;

    if (digits.len) {

        switch (digits.data[digits.len - 1] | 0x20) {

        case 'k':
            scale = 1000;
            digits.len--;
            break;

        case 'm':
            scale = 1000000;
            digits.len--;
            break;
        }
    }

    n = ngx_atoi(digits.data, digits.len);

    if (n < 1 || n > (ngx_int_t) (NGX_HTTP_LLM_TARGET_CONTEXT / scale)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid context \"%V\" of target, 1 to %d tokens "
                           "are expected", value, NGX_HTTP_LLM_TARGET_CONTEXT);
        return NGX_CONF_ERROR;
    }

    target->context = n * scale;

    return NGX_CONF_OK;
}


char *
ngx_http_llm_target_conf_balance(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_model_t  *model = conf;

    ngx_str_t                         *value;
    const ngx_http_llm_policy_t       *policy;
    ngx_http_compile_complex_value_t   ccv;

    if (model->policy) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (policy = ngx_http_llm_policies; policy->name.len; policy++) {

        if (policy->name.len == value[1].len
            && ngx_strcmp(policy->name.data, value[1].data) == 0)
        {
            break;
        }
    }

    if (policy->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown balance \"%V\" of llm_model \"%V\"",
                           &value[1], &model->pattern);
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts != (ngx_uint_t) (policy->value ? 3 : 2)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "balance \"%V\" takes %s", &value[1],
                           policy->value ? "a value" : "no value");
        return NGX_CONF_ERROR;
    }

    model->policy = policy;

    if (!policy->value) {
        return NGX_CONF_OK;
    }

    model->value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (model->value == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = model->value;

    return (ngx_http_compile_complex_value(&ccv) == NGX_OK)
           ? NGX_CONF_OK : NGX_CONF_ERROR;
}
