/*
 * What the pages for operators have in common: how they refuse.
 */


#include <ngx_http_llm_surface.h>
#include <ngx_http_llm_list.h>


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

        if (ngx_http_llm_add_header(r, "Allow", &methods) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_send_response(r, status, &json, &cv);
}
