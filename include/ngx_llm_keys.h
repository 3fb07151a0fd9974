/*
 * ngx_llm_keys.h: the consumers of the keys file and their keys.
 *
 * Keys are stored as SHA-256 only.  The file is read while the configuration
 * is parsed; the data never changes.
 */

#ifndef _NGX_LLM_KEYS_H_INCLUDED_
#define _NGX_LLM_KEYS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct ngx_llm_keys_s       ngx_llm_keys_t;


typedef struct {
    ngx_str_t            name;
    ngx_array_t         *models;     /* ngx_str_t, or NULL: all models */
    ngx_array_t         *vars;       /* ngx_keyval_t, or NULL */
} ngx_llm_consumer_t;


/*
 * Reads the file; its name is relative to the folder of nginx.conf.  The
 * memory is cf->pool's.  NULL: logged, with the place in both files.
 */
ngx_llm_keys_t *ngx_llm_keys_load(ngx_conf_t *cf, ngx_str_t *name);

/*
 * Returns the consumer of a key, or NULL if the key is unknown or has expired;
 * now is in seconds since the epoch.  The hashes are compared in constant time.
 */
ngx_llm_consumer_t *ngx_llm_keys_find(ngx_llm_keys_t *keys, ngx_str_t *key,
    time_t now);

/* 1: the consumer may use a model of that name */
ngx_uint_t ngx_llm_keys_allowed(ngx_llm_consumer_t *consumer,
    ngx_str_t *model);

/* NULL: the consumer has no such var */
ngx_str_t *ngx_llm_keys_var(ngx_llm_consumer_t *consumer, ngx_str_t *name);

/*
 * Sets having to the number of consumers that have the var, all to the number
 * of consumers.  Letters of the name match in both cases, as nginx converts
 * the names of variables to lower case.
 */
void ngx_llm_keys_count(ngx_llm_keys_t *keys, ngx_str_t *name,
    ngx_uint_t *having, ngx_uint_t *all);


#endif /* _NGX_LLM_KEYS_H_INCLUDED_ */
