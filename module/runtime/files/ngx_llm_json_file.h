/*
 * ngx_llm_json_file.h: a JSON document of the configuration.
 */

#ifndef _NGX_LLM_JSON_FILE_H_INCLUDED_
#define _NGX_LLM_JSON_FILE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include <jansson.h>


/*
 * Reads a file of at most max bytes that holds one JSON object, while the
 * configuration is parsed.  The name is relative to the folder of nginx.conf,
 * and full afterwards.  twice: a member that is there twice is a warning, the
 * last one counts; else an error.  The caller gives the object back with
 * json_decref().  NULL: logged, with the place in both files, and without a
 * word of the text: it may hold a secret.
 */
json_t *ngx_llm_json_file(ngx_conf_t *cf, ngx_str_t *name, size_t max,
    ngx_uint_t twice);


#endif /* _NGX_LLM_JSON_FILE_H_INCLUDED_ */
