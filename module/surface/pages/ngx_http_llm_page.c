/*
 * The parts that all pages for operators share: their directive and their error
 * response.
 */


#include "../ngx_http_llm_surface.h"
#include <ngx_http_llm_header_set.h>


/* no error_page and no page of nginx's: the answer is complete here */

ngx_int_t
ngx_http_llm_page_refuse(ngx_http_request_t *r, ngx_http_llm_fault_e fault,
    const char *allow, const char *text)
{
    ngx_int_t                 status;
    ngx_str_t                 message, methods;
    ngx_http_llm_error_t      err;
    ngx_http_complex_value_t  cv;

    static ngx_str_t  json = ngx_string("application/json");

    ngx_memzero(&err, sizeof(ngx_http_llm_error_t));
    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    message.data = (u_char *) text;
    message.len = text ? ngx_strlen(text) : 0;

    status = ngx_http_llm_fault(&err, fault, NULL, &message);

    if (ngx_http_llm_error_body(r->pool, &err, status, &cv.value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (allow) {
        methods.data = (u_char *) allow;
        methods.len = ngx_strlen(allow);

        if (ngx_http_llm_set_header(r, "Allow", &methods) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_send_response(r, status, &json, &cv);
}


char *
ngx_http_llm_page_conf(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_loc_conf_t  *llcf = conf;

    ngx_http_handler_pt       *page;
    ngx_http_core_loc_conf_t  *clcf;
    ngx_http_llm_main_conf_t  *lmcf;

    page = cmd->post;

    if (llcf->page == *page) {
        return "is duplicate";
    }

    if (llcf->page || llcf->pass) {
        return "needs a location of its own";
    }

    llcf->page = *page;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = *page;

    lmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_llm_module);
    lmcf->count = 1;

    return NGX_CONF_OK;
}
