/*
 * The keys file: consumers, the hashes of their keys, the models they may use.
 * A key is looked up by its SHA-256 in a sorted table, so that the time of the
 * lookup depends on the hash and not on the bytes of the key.
 */


#include <ngx_llm_keys.h>
#include <ngx_llm_digest.h>
#include <ngx_llm_time.h>
#include "ngx_llm_json_file.h"

#include <jansson.h>
#include <openssl/crypto.h>


#define NGX_LLM_KEYS_FILE      (64 * 1024 * 1024)  /* bytes, at most */
#define NGX_LLM_KEYS_NAME      128                 /* of a consumer */


typedef struct {
    u_char               digest[NGX_LLM_DIGEST_LEN];
    time_t               expires;        /* 0: never */
    ngx_llm_consumer_t  *consumer;
} ngx_llm_keys_entry_t;


struct ngx_llm_keys_s {
    ngx_array_t          consumers;      /* consumer_t * */
    ngx_array_t          entries;        /* entry_t, sorted by digest */
    ngx_llm_digest_t    *digest;
};


typedef struct {                         /* while the file is read */
    ngx_conf_t          *cf;
    ngx_str_t            file;
    ngx_llm_keys_t      *keys;
} ngx_llm_keys_reader_t;


typedef ngx_int_t (*ngx_llm_keys_member_pt)(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value);


static ngx_int_t ngx_llm_keys_root(ngx_llm_keys_reader_t *reader,
    json_t *root);
static ngx_int_t ngx_llm_keys_consumer(ngx_llm_keys_reader_t *reader,
    json_t *object);
static ngx_int_t ngx_llm_keys_name(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value);
static ngx_int_t ngx_llm_keys_keys(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value);
static ngx_int_t ngx_llm_keys_key(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *object);
static ngx_int_t ngx_llm_keys_digest(const char *hex, u_char *digest);
static ngx_int_t ngx_llm_keys_models(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value);
static ngx_int_t ngx_llm_keys_vars(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value);
static ngx_int_t ngx_llm_keys_copy(ngx_pool_t *pool, json_t *string,
    ngx_str_t *copy);
static ngx_int_t ngx_llm_keys_sort(ngx_llm_keys_reader_t *reader);
static int ngx_libc_cdecl ngx_llm_keys_compare_names(const void *one,
    const void *two);
static int ngx_libc_cdecl ngx_llm_keys_compare(const void *one,
    const void *two);
static ngx_int_t ngx_llm_keys_wrong(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, const char *what);


/* of a consumer; the name is read first, as messages about others have it */

static const struct {
    const char              *name;
    ngx_llm_keys_member_pt   read;
} ngx_llm_keys_members[] = {
    { "name", ngx_llm_keys_name },
    { "keys", ngx_llm_keys_keys },
    { "models", ngx_llm_keys_models },
    { "vars", ngx_llm_keys_vars },
    { NULL, NULL }
};


ngx_llm_keys_t *
ngx_llm_keys_load(ngx_conf_t *cf, ngx_str_t *name)
{
    json_t                 *root;
    ngx_int_t               rc;
    ngx_llm_keys_reader_t   reader;

    reader.cf = cf;
    reader.file = *name;
    reader.keys = ngx_pcalloc(cf->pool, sizeof(ngx_llm_keys_t));

    if (reader.keys == NULL) {
        return NULL;
    }

    reader.keys->digest = ngx_llm_digest_create(cf);

    if (reader.keys->digest == NULL
        || ngx_array_init(&reader.keys->consumers, cf->pool, 16,
                          sizeof(void *))
           != NGX_OK
        || ngx_array_init(&reader.keys->entries, cf->pool, 16,
                          sizeof(ngx_llm_keys_entry_t))
           != NGX_OK)
    {
        return NULL;
    }

    root = ngx_llm_json_file(cf, &reader.file, NGX_LLM_KEYS_FILE, 0);
    if (root == NULL) {
        return NULL;
    }

    rc = ngx_llm_keys_root(&reader, root);

    json_decref(root);

    return (rc == NGX_OK && ngx_llm_keys_sort(&reader) == NGX_OK)
           ? reader.keys : NULL;
}


static ngx_int_t
ngx_llm_keys_root(ngx_llm_keys_reader_t *reader, json_t *root)
{
    size_t   i;
    json_t  *consumers;

    consumers = json_object_get(root, "consumers");

    if (!json_is_array(consumers)) {
        return ngx_llm_keys_wrong(reader, NULL,
                                  "\"consumers\" is not an array");
    }

    if (json_object_size(root) != 1) {
        return ngx_llm_keys_wrong(reader, NULL,
                                  "unknown member beside \"consumers\"");
    }

    for (i = 0; i < json_array_size(consumers); i++) {

        if (ngx_llm_keys_consumer(reader, json_array_get(consumers, i))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_keys_consumer(ngx_llm_keys_reader_t *reader, json_t *object)
{
    size_t               known;
    json_t              *value;
    ngx_uint_t           i;
    ngx_llm_consumer_t  *consumer, **slot;

    if (!json_is_object(object)) {
        return ngx_llm_keys_wrong(reader, NULL,
                                  "a consumer is not an object");
    }

    consumer = ngx_pcalloc(reader->cf->pool, sizeof(ngx_llm_consumer_t));
    slot = ngx_array_push(&reader->keys->consumers);

    if (consumer == NULL || slot == NULL) {
        return NGX_ERROR;
    }

    *slot = consumer;
    known = 0;

    for (i = 0; ngx_llm_keys_members[i].name; i++) {

        value = json_object_get(object, ngx_llm_keys_members[i].name);

        if (value == NULL) {

            if (i == 0) {
                return ngx_llm_keys_wrong(reader, NULL,
                                          "no \"name\" of a consumer");
            }

            continue;
        }

        known++;

        if (ngx_llm_keys_members[i].read(reader, consumer, value) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return (known == json_object_size(object))
           ? NGX_OK : ngx_llm_keys_wrong(reader, consumer,
                                         "unknown member");
}


/* restricted to printable ASCII, as logs and metrics print the name as it is */

static ngx_int_t
ngx_llm_keys_name(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value)
{
    size_t         i, len;
    const u_char  *name;

    name = (const u_char *) json_string_value(value);
    len = json_string_length(value);

    if (name == NULL || len == 0 || len > NGX_LLM_KEYS_NAME) {
        return ngx_llm_keys_wrong(reader, NULL,
                                  "\"name\" is not a string of 1 to 128 bytes");
    }

    for (i = 0; i < len; i++) {
        if (name[i] < 0x20 || name[i] > 0x7e || name[i] == '"'
            || name[i] == '\\')
        {
            return ngx_llm_keys_wrong(reader, NULL,
                                      "\"name\" has a byte that is not "
                                      "printable ASCII");
        }
    }

    return ngx_llm_keys_copy(reader->cf->pool, value, &consumer->name);
}


static ngx_int_t
ngx_llm_keys_keys(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value)
{
    size_t  i;

    if (!json_is_array(value)) {
        return ngx_llm_keys_wrong(reader, consumer, "\"keys\" is not an array");
    }

    for (i = 0; i < json_array_size(value); i++) {

        if (ngx_llm_keys_key(reader, consumer, json_array_get(value, i))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_keys_key(ngx_llm_keys_reader_t *reader, ngx_llm_consumer_t *consumer,
    json_t *object)
{
    size_t                 known;
    json_t                *hash, *expires;
    int64_t                time;
    ngx_llm_keys_entry_t  *entry;

    hash = json_object_get(object, "sha256");
    expires = json_object_get(object, "expires");
    known = (hash != NULL) + (expires != NULL);

    if (!json_is_object(object) || known != json_object_size(object)) {
        return ngx_llm_keys_wrong(reader, consumer,
                                  "a key is not an object of \"sha256\" and "
                                  "\"expires\"");
    }

    entry = ngx_array_push(&reader->keys->entries);
    if (entry == NULL) {
        return NGX_ERROR;
    }

    entry->consumer = consumer;
    entry->expires = 0;

    if (!json_is_string(hash)
        || ngx_llm_keys_digest(json_string_value(hash), entry->digest)
           != NGX_OK)
    {
        return ngx_llm_keys_wrong(reader, consumer,
                                  "\"sha256\" is not 64 hexadecimal digits in "
                                  "a key");
    }

    if (expires == NULL) {
        return NGX_OK;
    }

    if (!json_is_string(expires)
        || ngx_llm_time_read((const u_char *) json_string_value(expires),
                             json_string_length(expires), &time)
           != NGX_OK)
    {
        return ngx_llm_keys_wrong(reader, consumer,
                                  "invalid \"expires\", use a time such as "
                                  "\"2027-01-01T00:00:00Z\" for a key");
    }

    /* 0 means that the key does not expire */

    entry->expires = (time_t) ngx_max(time, 1);

    return NGX_OK;
}


static ngx_int_t
ngx_llm_keys_digest(const char *hex, u_char *digest)
{
    ngx_int_t   value;
    ngx_uint_t  i;

    if (ngx_strlen(hex) != 2 * NGX_LLM_DIGEST_LEN) {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_LLM_DIGEST_LEN; i++) {

        value = ngx_hextoi((u_char *) hex + 2 * i, 2);

        if (value == NGX_ERROR) {
            return NGX_ERROR;
        }

        digest[i] = (u_char) value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_keys_models(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value)
{
    size_t      i;
    json_t     *model;
    ngx_str_t  *name;

    if (!json_is_array(value)) {
        return ngx_llm_keys_wrong(reader, consumer,
                                  "\"models\" is not an array");
    }

    consumer->models = ngx_array_create(reader->cf->pool,
                                        json_array_size(value) + 1,
                                        sizeof(ngx_str_t));
    if (consumer->models == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < json_array_size(value); i++) {

        model = json_array_get(value, i);

        if (json_string_length(model) == 0) {
            return ngx_llm_keys_wrong(reader, consumer,
                                      "an element of \"models\" is not a name");
        }

        name = ngx_array_push(consumer->models);

        if (name == NULL
            || ngx_llm_keys_copy(reader->cf->pool, model, name) != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (ngx_strlchr(name->data, name->data + name->len - 1, '*')) {
            return ngx_llm_keys_wrong(reader, consumer,
                                      "\"*\" before the end of an element of "
                                      "\"models\"");
        }
    }

    return NGX_OK;
}


/* names are in lower case, as nginx converts $llm_consumer_NAME to it */

static ngx_int_t
ngx_llm_keys_vars(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, json_t *value)
{
    json_t        *text;
    const char    *name, *p;
    ngx_keyval_t  *var;

    if (!json_is_object(value)) {
        return ngx_llm_keys_wrong(reader, consumer,
                                  "\"vars\" is not an object");
    }

    consumer->vars = ngx_array_create(reader->cf->pool,
                                      json_object_size(value) + 1,
                                      sizeof(ngx_keyval_t));
    if (consumer->vars == NULL) {
        return NGX_ERROR;
    }

    json_object_foreach(value, name, text) {

        for (p = name; *p; p++) {
            if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9')
                && *p != '_')
            {
                break;
            }
        }

        if (p == name || *p != '\0' || !json_is_string(text)) {
            return ngx_llm_keys_wrong(reader, consumer,
                                      "\"vars\" has a name other than a-z, 0-9 "
                                      "and \"_\", or not a string");
        }

        var = ngx_array_push(consumer->vars);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->key.len = p - name;
        var->key.data = ngx_pnalloc(reader->cf->pool, var->key.len);

        if (var->key.data == NULL
            || ngx_llm_keys_copy(reader->cf->pool, text, &var->value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        ngx_memcpy(var->key.data, name, var->key.len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_keys_copy(ngx_pool_t *pool, json_t *string, ngx_str_t *copy)
{
    copy->len = json_string_length(string);
    copy->data = ngx_pnalloc(pool, copy->len + 1);

    if (copy->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(copy->data, json_string_value(string), copy->len + 1);

    return NGX_OK;
}


/* sorts keys for the lookup, consumers to find duplicate names in N log N */

static ngx_int_t
ngx_llm_keys_sort(ngx_llm_keys_reader_t *reader)
{
    ngx_uint_t             i;
    ngx_llm_consumer_t   **consumer;
    ngx_llm_keys_entry_t  *entry;

    consumer = reader->keys->consumers.elts;

    ngx_qsort(consumer, reader->keys->consumers.nelts, sizeof(void *),
              ngx_llm_keys_compare_names);

    for (i = 1; i < reader->keys->consumers.nelts; i++) {

        if (ngx_llm_keys_compare_names(&consumer[i - 1], &consumer[i]) == 0) {
            return ngx_llm_keys_wrong(reader, consumer[i], "duplicate name");
        }
    }

    entry = reader->keys->entries.elts;

    ngx_qsort(entry, reader->keys->entries.nelts,
              sizeof(ngx_llm_keys_entry_t), ngx_llm_keys_compare);

    for (i = 1; i < reader->keys->entries.nelts; i++) {

        if (ngx_llm_keys_compare(&entry[i - 1], &entry[i]) == 0) {
            return ngx_llm_keys_wrong(reader, entry[i].consumer,
                                      "duplicate \"sha256\"");
        }
    }

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_llm_keys_compare_names(const void *one, const void *two)
{
    ngx_llm_consumer_t  *first = *(ngx_llm_consumer_t **) one;
    ngx_llm_consumer_t  *second = *(ngx_llm_consumer_t **) two;

    if (first->name.len != second->name.len) {
        return (first->name.len < second->name.len) ? -1 : 1;
    }

    return ngx_memcmp(first->name.data, second->name.data, first->name.len);
}


static int ngx_libc_cdecl
ngx_llm_keys_compare(const void *one, const void *two)
{
    const ngx_llm_keys_entry_t  *first = one;
    const ngx_llm_keys_entry_t  *second = two;

    return ngx_memcmp(first->digest, second->digest, NGX_LLM_DIGEST_LEN);
}


static ngx_int_t
ngx_llm_keys_wrong(ngx_llm_keys_reader_t *reader,
    ngx_llm_consumer_t *consumer, const char *what)
{
    if (consumer) {
        ngx_conf_log_error(NGX_LOG_EMERG, reader->cf, 0,
                           "%s of consumer \"%V\" in \"%V\"", what,
                           &consumer->name, &reader->file);

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, reader->cf, 0, "%s in \"%V\"", what,
                           &reader->file);
    }

    return NGX_ERROR;
}


ngx_llm_consumer_t *
ngx_llm_keys_find(ngx_llm_keys_t *keys, ngx_str_t *key, time_t now)
{
    int                    rc;
    ngx_uint_t             left, right, middle;
    ngx_llm_keys_entry_t   wanted, *entry;

    ngx_llm_digest(keys->digest, key, wanted.digest);

    entry = keys->entries.elts;
    left = 0;
    right = keys->entries.nelts;

    while (left < right) {
        middle = left + (right - left) / 2;

        rc = ngx_llm_keys_compare(&wanted, &entry[middle]);

        if (rc > 0) {
            left = middle + 1;

        } else {
            right = middle;
        }
    }

    if (left == keys->entries.nelts
        || CRYPTO_memcmp(wanted.digest, entry[left].digest,
                         NGX_LLM_DIGEST_LEN)
           != 0)
    {
        return NULL;
    }

    return (entry[left].expires == 0 || now < entry[left].expires)
           ? entry[left].consumer : NULL;
}


ngx_uint_t
ngx_llm_keys_allowed(ngx_llm_consumer_t *consumer, ngx_str_t *model)
{
    size_t       len;
    ngx_str_t   *name;
    ngx_uint_t   i;

    if (consumer->models == NULL) {
        return 1;
    }

    name = consumer->models->elts;

    for (i = 0; i < consumer->models->nelts; i++) {

        len = name[i].len;

        if (name[i].data[len - 1] == '*') {
            len--;

            if (model->len < len) {
                continue;
            }

        } else if (model->len != len) {
            continue;
        }

        if (ngx_memcmp(model->data, name[i].data, len) == 0) {
            return 1;
        }
    }

    return 0;
}


ngx_str_t *
ngx_llm_keys_var(ngx_llm_consumer_t *consumer, ngx_str_t *name)
{
    ngx_uint_t     i;
    ngx_keyval_t  *var;

    if (consumer->vars == NULL) {
        return NULL;
    }

    var = consumer->vars->elts;

    for (i = 0; i < consumer->vars->nelts; i++) {

        if (var[i].key.len == name->len
            && ngx_memcmp(var[i].key.data, name->data, name->len) == 0)
        {
            return &var[i].value;
        }
    }

    return NULL;
}


void
ngx_llm_keys_count(ngx_llm_keys_t *keys, ngx_str_t *name, ngx_uint_t *having,
    ngx_uint_t *all)
{
    ngx_uint_t            i, n;
    ngx_keyval_t         *var;
    ngx_llm_consumer_t  **consumer;

    consumer = keys->consumers.elts;

    *all = keys->consumers.nelts;
    *having = 0;

    for (i = 0; i < *all; i++) {

        if (consumer[i]->vars == NULL) {
            continue;
        }

        var = consumer[i]->vars->elts;

        for (n = 0; n < consumer[i]->vars->nelts; n++) {

            if (var[n].key.len == name->len
                && ngx_strncasecmp(var[n].key.data, name->data, name->len)
                   == 0)
            {
                (*having)++;
                break;
            }
        }
    }
}
