/*
 * ngx_llm_param.c: the parameters of a header's value (RFC 9110, 5.6.6), read
 * strictly: no spaces around '=', no bytes after a closing quote.  Other bytes
 * are an error and are never skipped.
 */

#include <ngx_llm_param.h>


static const u_char *ngx_llm_param_quoted(const u_char *p, const u_char *last,
    ngx_llm_param_t *param);


const u_char *
ngx_llm_param_word(const u_char *pos, const u_char *last, const char *lowcase)
{
    ngx_str_t      rest;
    const u_char  *p;

    p = ngx_llm_param_space(pos, last);

    rest.data = (u_char *) p;
    rest.len = last - p;

    if (!ngx_llm_param_begins(&rest, lowcase)) {
        return NULL;
    }

    p += ngx_strlen(lowcase);

    return (p == last || *p == ';' || *p == ' ' || *p == '\t') ? p : NULL;
}


ngx_int_t
ngx_llm_param_next(const u_char **pos, const u_char *last,
    ngx_llm_param_t *param)
{
    const u_char  *p;

    p = ngx_llm_param_space(*pos, last);

    if (p == last) {
        return NGX_DONE;
    }

    if (*p != ';') {
        return NGX_ERROR;
    }

    p = ngx_llm_param_space(p + 1, last);

    if (p == last) {
        return NGX_DONE;
    }

    param->escaped = 0;
    param->name.data = (u_char *) p;

    while (p < last && ngx_llm_param_token(*p)) {
        p++;
    }

    param->name.len = p - param->name.data;

    if (param->name.len == 0 || p == last || *p++ != '=') {
        return NGX_ERROR;
    }

    if (p < last && *p == '"') {
        *pos = ngx_llm_param_quoted(p + 1, last, param);
        return *pos ? NGX_OK : NGX_ERROR;
    }

    param->value.data = (u_char *) p;

    while (p < last && *p != ';' && *p != ' ' && *p != '\t') {

        if (*p == '"' || ngx_llm_param_control(*p)) {
            return NGX_ERROR;
        }

        p++;
    }

    param->value.len = p - param->value.data;
    *pos = p;

    return NGX_OK;
}


/* Reads a quoted value; p is after its opening quote.  Returns the position
   after its closing quote, or NULL. */

static const u_char *
ngx_llm_param_quoted(const u_char *p, const u_char *last,
    ngx_llm_param_t *param)
{
    param->value.data = (u_char *) p;

    for ( /* void */ ; p < last; p++) {

        if (*p == '"') {
            param->value.len = p - param->value.data;
            return p + 1;
        }

        if (*p == '\\') {
            param->escaped = 1;

            if (++p == last) {
                return NULL;
            }
        }

        if (ngx_llm_param_control(*p)) {
            return NULL;
        }
    }

    return NULL;
}


ngx_uint_t
ngx_llm_param_is(const ngx_str_t *s, const char *lowcase)
{
    return s->len == ngx_strlen(lowcase) && ngx_llm_param_begins(s, lowcase);
}


ngx_uint_t
ngx_llm_param_begins(const ngx_str_t *s, const char *lowcase)
{
    size_t  i;
    u_char  ch;

    for (i = 0; lowcase[i]; i++) {

        if (i == s->len) {
            return 0;
        }

        ch = s->data[i];

        if (ch >= 'A' && ch <= 'Z') {
            ch |= 0x20;
        }

        if (ch != (u_char) lowcase[i]) {
            return 0;
        }
    }

    return 1;
}


const u_char *
ngx_llm_param_space(const u_char *p, const u_char *last)
{
    while (p < last && (*p == ' ' || *p == '\t')) {
        p++;
    }

    return p;
}
