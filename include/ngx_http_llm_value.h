/*
 * ngx_http_llm_value.h: values of the configuration that may have variables.
 */

#ifndef _NGX_HTTP_LLM_VALUE_H_INCLUDED_
#define _NGX_HTTP_LLM_VALUE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>


/*
 * Evaluates a complex value as ngx_http_complex_value() does.  The script
 * engine and "map" write values to the debug log, and any value may hold a
 * credential, so debug messages of http are off meanwhile.
 */

static ngx_inline ngx_int_t
ngx_http_llm_value(ngx_http_request_t *r, ngx_http_complex_value_t *cv,
    ngx_str_t *value)
{
    ngx_int_t    rc;
    ngx_log_t   *log;
    ngx_uint_t   level;

    log = r->connection->log;

    level = log->log_level;
    log->log_level &= ~NGX_LOG_DEBUG_HTTP;

    rc = ngx_http_complex_value(r, cv, value);

    log->log_level = level;

    return rc;
}


#endif /* _NGX_HTTP_LLM_VALUE_H_INCLUDED_ */
