/*
 * llm_require: parses the directive, and checks constant values against the
 * models.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_client.h>


static char *ngx_http_llm_require_conf_add(ngx_conf_t *cf,
    ngx_http_llm_loc_conf_t *llcf, ngx_str_t *arg);
static ngx_uint_t ngx_http_llm_require_conf_left(ngx_http_llm_model_t *model,
    ngx_array_t *require);


/* llm_require LABEL=VALUE... */

char *
ngx_http_llm_require_conf_require(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (llcf->require) {
        return "is duplicate";
    }

    llcf->require = ngx_array_create(cf->pool, 2,
                                     sizeof(ngx_http_llm_requirement_t));
    if (llcf->require == NULL) {
        return NGX_CONF_ERROR;
    }

    llcf->require_file = cf->conf_file->file.name;
    llcf->require_line = cf->conf_file->line;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        rv = ngx_http_llm_require_conf_add(cf, llcf, &value[i]);

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_require_conf_add(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf,
    ngx_str_t *arg)
{
    u_char                            *p;
    ngx_str_t                          value;
    ngx_http_llm_requirement_t        *requirement;
    ngx_http_compile_complex_value_t   ccv;

    p = ngx_strlchr(arg->data, arg->data + arg->len, '=');

    if (p == NULL || p == arg->data) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid requirement \"%V\", LABEL=VALUE is "
                           "expected", arg);
        return NGX_CONF_ERROR;
    }

    value.data = p + 1;
    value.len = arg->data + arg->len - value.data;

    requirement = ngx_array_push(llcf->require);
    if (requirement == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(requirement, sizeof(ngx_http_llm_requirement_t));

    requirement->label.data = arg->data;
    requirement->label.len = p - arg->data;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value;
    ccv.complex_value = &requirement->value;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    if (requirement->value.lengths == NULL
        && !ngx_http_llm_require_valid(&requirement->value.value))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value of requirement \"%V\", "
                           "VALUE[,VALUE]... or \"*\" is expected", arg);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


void
ngx_http_llm_require_conf_check(ngx_conf_t *cf, ngx_http_llm_loc_conf_t *llcf)
{
    ngx_uint_t                    i;
    ngx_http_llm_model_t        **model;
    ngx_http_llm_main_conf_t     *lmcf;
    ngx_http_llm_requirement_t   *requirement;

    requirement = llcf->require->elts;

    for (i = 0; i < llcf->require->nelts; i++) {
        if (requirement[i].value.lengths) {
            return;
        }
    }

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    model = lmcf->models.elts;

    for (i = 0; i < lmcf->models.nelts; i++) {

        if (!ngx_http_llm_require_conf_left(model[i], llcf->require)) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "no target of llm_model \"%V\" meets llm_require "
                          "in %V:%ui", &model[i]->pattern,
                          &llcf->require_file, llcf->require_line);
        }
    }
}


/* whether a target of the model meets all that is required */

static ngx_uint_t
ngx_http_llm_require_conf_left(ngx_http_llm_model_t *model,
    ngx_array_t *require)
{
    ngx_str_t                   *value;
    ngx_uint_t                   i, n;
    ngx_http_llm_target_t       *target;
    ngx_http_llm_requirement_t  *requirement;

    target = model->targets.elts;
    requirement = require->elts;

    for (i = 0; i < model->targets.nelts; i++) {

        for (n = 0; n < require->nelts; n++) {

            value = &requirement[n].value.value;

            if (!(value->len == 1 && value->data[0] == '*')
                && !ngx_http_llm_require_met(target[i].provider,
                                             &requirement[n].label, value))
            {
                break;
            }
        }

        if (n == require->nelts) {
            return 1;
        }
    }

    return 0;
}
