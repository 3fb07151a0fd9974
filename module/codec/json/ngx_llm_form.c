/*
 * ngx_llm_form.c: one strict pass over a multipart/form-data body, which finds
 * the fields that routing and the splice of a body need.  Called once per
 * request when the body is complete.  The pass does not allocate or modify.  In
 * a file it searches only for the boundary.
 */

#include <ngx_llm_form.h>
#include <ngx_llm_param.h>
#include "ngx_llm_fold.h"
#include "../ngx_llm_media.h"


#define NGX_LLM_FORM_MODEL   0x01
#define NGX_LLM_FORM_STREAM  0x02


typedef struct {
    const u_char          *start;        /* of the body */
    const u_char          *end;

    u_char                 delimiter[2 + NGX_LLM_FORM_BOUNDARY];
    size_t                 size;         /* of the delimiter */
    u_char                 skip[256];    /* bytes to skip, by byte value */

    ngx_uint_t             seen;         /* NGX_LLM_FORM_... fields */
    ngx_llm_facts_t       *facts;
    ngx_llm_json_error_t  *err;
} ngx_llm_form_t;


/* the header block of a part */

typedef struct {
    ngx_str_t              name;         /* data is NULL: none yet */
    unsigned               disposed:1;   /* has Content-Disposition */
    unsigned               file:1;       /* has a filename */
    unsigned               coded:1;      /* in base64 or the like */
} ngx_llm_form_part_t;


static void ngx_llm_form_init(ngx_llm_form_t *form, const u_char *body,
    size_t len, const ngx_str_t *boundary);
static const u_char *ngx_llm_form_first(ngx_llm_form_t *form);
static ngx_int_t ngx_llm_form_parts(ngx_llm_form_t *form, const u_char *p);
static ngx_int_t ngx_llm_form_end(ngx_llm_form_t *form, const u_char *p);
static const u_char *ngx_llm_form_line(ngx_llm_form_t *form,
    const u_char *p);
static const u_char *ngx_llm_form_header(ngx_llm_form_t *form,
    const u_char *p, ngx_llm_form_part_t *part);
static ngx_int_t ngx_llm_form_header_line(ngx_llm_form_t *form,
    ngx_llm_form_part_t *part, const u_char *p, const u_char *last);
static const char *ngx_llm_form_disposition(ngx_llm_form_part_t *part,
    const u_char *p, const u_char *last);
static const u_char *ngx_llm_form_next(ngx_llm_form_t *form,
    const u_char *p);
static const u_char *ngx_llm_form_find(ngx_llm_form_t *form,
    const u_char *p);
static void ngx_llm_form_field(ngx_llm_form_t *form,
    ngx_llm_form_part_t *part, const u_char *p, const u_char *last);
static ngx_uint_t ngx_llm_form_name(const ngx_str_t *name,
    const char **known);
static void ngx_llm_form_stream(ngx_llm_form_t *form, const u_char *p,
    size_t len);

static void *ngx_llm_form_invalid(ngx_llm_form_t *form, const u_char *p,
    const char *reason);
static void ngx_llm_form_refuse(ngx_llm_form_t *form, ngx_uint_t code,
    const char *param, const char *reason, const u_char *p);


ngx_int_t
ngx_llm_form_boundary(const u_char *type, size_t len, ngx_str_t *boundary)
{
    size_t            i;
    u_char            ch;
    ngx_int_t         rc;
    const u_char     *p, *last;
    ngx_llm_param_t   param;

    last = type + len;
    boundary->data = NULL;

    p = ngx_llm_param_word(type, last, "multipart/form-data");
    if (p == NULL) {
        return NGX_DECLINED;
    }

    while ((rc = ngx_llm_param_next(&p, last, &param)) == NGX_OK) {

        /* not all parsers decode an escaped or an extended parameter */

        if (param.escaped || ngx_llm_param_begins(&param.name, "boundary*")) {
            return NGX_ERROR;
        }

        if (ngx_llm_param_is(&param.name, "boundary")) {

            if (boundary->data != NULL) {
                return NGX_ERROR;
            }

            *boundary = param.value;
        }
    }

    if (rc == NGX_ERROR || boundary->data == NULL || boundary->len == 0
        || boundary->len > NGX_LLM_FORM_BOUNDARY
        || boundary->data[boundary->len - 1] == ' ')
    {
        return NGX_ERROR;
    }

    for (i = 0; i < boundary->len; i++) {
        ch = boundary->data[i];

        if (!(ch >= '0' && ch <= '9') && !(ch >= 'a' && ch <= 'z')
            && !(ch >= 'A' && ch <= 'Z')
            && memchr("'()+_,-./:=? ", ch, 13) == NULL)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_form_facts(const u_char *body, size_t len, const ngx_str_t *boundary,
    ngx_llm_facts_t *facts, ngx_llm_json_error_t *err)
{
    const u_char    *p;
    ngx_llm_form_t   form;

    ngx_memzero(err, sizeof(ngx_llm_json_error_t));
    ngx_llm_facts_init(facts);

    facts->form = 1;
    facts->outside = len;

    if (len == 0) {
        err->code = NGX_LLM_JSON_INVALID;
        err->reason = "body is empty";
        return NGX_ERROR;
    }

    ngx_llm_form_init(&form, body, len, boundary);

    form.facts = facts;
    form.err = err;

    p = ngx_llm_form_first(&form);
    if (p == NULL) {
        return NGX_ERROR;
    }

    facts->members_pos = p - body;
    facts->delimiter_size = form.size;

    return ngx_llm_form_parts(&form, p);
}


static void
ngx_llm_form_init(ngx_llm_form_t *form, const u_char *body, size_t len,
    const ngx_str_t *boundary)
{
    size_t  i;

    form->start = body;
    form->end = body + len;
    form->seen = 0;

    form->size = 2 + boundary->len;
    form->delimiter[0] = '-';
    form->delimiter[1] = '-';
    ngx_memcpy(form->delimiter + 2, boundary->data, boundary->len);

    /* a delimiter follows a CR or LF */

    memset(form->skip, (int) form->size + 1, sizeof(form->skip));

    form->skip['\r'] = (u_char) form->size;
    form->skip['\n'] = (u_char) form->size;

    for (i = 0; i < form->size - 1; i++) {
        form->skip[form->delimiter[i]] = (u_char) (form->size - 1 - i);
    }
}


/* Returns the first delimiter, at the start of the body or after a preamble. */

static const u_char *
ngx_llm_form_first(ngx_llm_form_t *form)
{
    const u_char  *p;

    p = form->start;

    if ((size_t) (form->end - p) >= form->size
        && ngx_memcmp(p, form->delimiter, form->size) == 0)
    {
        return p;
    }

    return ngx_llm_form_next(form, p);
}


/* p is the first delimiter */

static ngx_int_t
ngx_llm_form_parts(ngx_llm_form_t *form, const u_char *p)
{
    ngx_uint_t            parts;
    const u_char         *value;
    ngx_llm_form_part_t   part;

    for (parts = 0; /* void */; parts++) {

        p += form->size;

        if (form->end - p >= 2 && p[0] == '-' && p[1] == '-') {
            return ngx_llm_form_end(form, p + 2);
        }

        if (parts == NGX_LLM_FORM_PARTS) {
            (void) ngx_llm_form_invalid(form, p, "too many parts");
            return NGX_ERROR;
        }

        p = ngx_llm_form_line(form, p);
        if (p == NULL) {
            return NGX_ERROR;
        }

        value = ngx_llm_form_header(form, p, &part);
        if (value == NULL) {
            return NGX_ERROR;
        }

        p = ngx_llm_form_next(form, value);
        if (p == NULL) {
            return NGX_ERROR;
        }

        ngx_llm_form_field(form, &part, value, p - 2);
    }
}


/*
 * Checks the bytes after the closing delimiter at p.  All parsers ignore them
 * if they have no other delimiter.
 */

static ngx_int_t
ngx_llm_form_end(ngx_llm_form_t *form, const u_char *p)
{
    const u_char  *again;

    p = ngx_llm_param_space(p, form->end);

    if (p < form->end && *p != '\r' && *p != '\n') {
        (void) ngx_llm_form_invalid(form, p, "unexpected bytes behind "
                                             "the last boundary");
        return NGX_ERROR;
    }

    again = ngx_llm_form_find(form, p);

    if (again != NULL) {
        (void) ngx_llm_form_invalid(form, again,
                                    "a boundary behind the last one");
        return NGX_ERROR;
    }

    return form->err->code ? NGX_ERROR : NGX_OK;
}


/* Skips the rest of a delimiter's line.  Returns the start of the header
   block. */

static const u_char *
ngx_llm_form_line(ngx_llm_form_t *form, const u_char *p)
{
    p = ngx_llm_param_space(p, form->end);

    if (p < form->end && *p == '\r') {
        p++;

        if (p < form->end && *p == '\n') {
            return p + 1;
        }
    }

    return ngx_llm_form_invalid(form, p,
                                "a line end is expected behind a boundary");
}


/* Reads the header block of a part.  Returns the start of the part's value. */

static const u_char *
ngx_llm_form_header(ngx_llm_form_t *form, const u_char *p,
    ngx_llm_form_part_t *part)
{
    const u_char  *line, *lf, *last;

    ngx_memzero(part, sizeof(ngx_llm_form_part_t));

    last = (form->end - p > NGX_LLM_FORM_HEADER) ? p + NGX_LLM_FORM_HEADER
                                                 : form->end;

    for ( ;; ) {
        line = p;
        lf = memchr(line, '\n', last - line);

        if (lf == NULL) {
            return ngx_llm_form_invalid(form, last,
                                        "header of a part is too long");
        }

        if (lf == line || lf[-1] != '\r') {
            return ngx_llm_form_invalid(form, lf,
                                        "a header line ends without CR");
        }

        p = lf + 1;

        if (lf - 1 == line) {
            break;
        }

        if (ngx_llm_form_header_line(form, part, line, lf - 1) != NGX_OK) {
            return NULL;
        }
    }

    if (!part->disposed) {
        return ngx_llm_form_invalid(form, line,
                                    "a part without Content-Disposition");
    }

    return p;
}


static ngx_int_t
ngx_llm_form_header_line(ngx_llm_form_t *form, ngx_llm_form_part_t *part,
    const u_char *p, const u_char *last)
{
    ngx_str_t      name;
    const char    *reason;
    const u_char  *c;

    name.data = (u_char *) p;

    while (p < last && ngx_llm_param_token(*p)) {
        p++;
    }

    name.len = p - name.data;

    if (name.len == 0 || p == last || *p != ':') {
        (void) ngx_llm_form_invalid(form, p, "invalid header in a part");
        return NGX_ERROR;
    }

    p = ngx_llm_param_space(p + 1, last);

    for (c = p; c < last; c++) {
        if (ngx_llm_param_control(*c)) {
            (void) ngx_llm_form_invalid(form, c, "invalid header in a part");
            return NGX_ERROR;
        }
    }

    if (ngx_llm_param_is(&name, "content-disposition")) {
        reason = ngx_llm_form_disposition(part, p, last);

        if (reason) {
            (void) ngx_llm_form_invalid(form, p, reason);
            return NGX_ERROR;
        }

    } else if (ngx_llm_param_is(&name, "content-transfer-encoding")) {
        part->coded = (ngx_llm_param_word(p, last, "binary") == NULL
                       && ngx_llm_param_word(p, last, "8bit") == NULL
                       && ngx_llm_param_word(p, last, "7bit") == NULL);
    }

    return NGX_OK;
}


/* Returns the fault as a text, or NULL. */

static const char *
ngx_llm_form_disposition(ngx_llm_form_part_t *part, const u_char *p,
    const u_char *last)
{
    ngx_int_t        rc;
    ngx_llm_param_t  param;

    p = ngx_llm_param_word(p, last, "form-data");

    if (p == NULL) {
        return "Content-Disposition is not form-data";
    }

    if (part->disposed) {
        return "Content-Disposition is given twice";
    }

    part->disposed = 1;

    while ((rc = ngx_llm_param_next(&p, last, &param)) == NGX_OK) {

        if (ngx_llm_param_is(&param.name, "filename")
            || ngx_llm_param_begins(&param.name, "filename*"))
        {
            part->file = 1;
            continue;
        }

        if (param.escaped || ngx_llm_param_begins(&param.name, "name*")) {
            return "the name of a part is not written plainly";
        }

        if (ngx_llm_param_is(&param.name, "name")) {

            if (part->name.data != NULL) {
                return "the name of a part is given twice";
            }

            part->name = param.value;
        }
    }

    return (rc == NGX_ERROR) ? "invalid Content-Disposition"
           : (part->name.data == NULL) ? "a part without a name" : NULL;
}


/*
 * Returns the delimiter that ends the value or the preamble at p.  The CRLF
 * before it belongs to the delimiter.  A delimiter after a bare CR or LF is
 * rejected, because parsers differ in that case.
 */

static const u_char *
ngx_llm_form_next(ngx_llm_form_t *form, const u_char *p)
{
    const u_char  *next;

    next = ngx_llm_form_find(form, p == form->start ? p : p - 1);

    if (next == NULL) {
        return ngx_llm_form_invalid(form, form->end, NULL);
    }

    if (next - p < 2 || next[-1] != '\n'
        || next[-2] != '\r')
    {
        return ngx_llm_form_invalid(form, next,
                                    "a boundary without CRLF before it");
    }

    return next;
}


/*
 * Returns the first delimiter at p or later with a CR or LF before it, or NULL.
 * This is the search of Boyer, Moore and Horspool: the last byte of a position
 * gives the distance to the next one, so most bytes of a file are skipped.
 */

static const u_char *
ngx_llm_form_find(ngx_llm_form_t *form, const u_char *p)
{
    size_t  size;
    u_char  ch;

    size = form->size;

    while ((size_t) (form->end - p) > size) {

        if ((*p == '\r' || *p == '\n')
            && ngx_memcmp(p + 1, form->delimiter, size) == 0)
        {
            return p + 1;
        }

        ch = p[size];
        p += form->skip[ch];
    }

    return NULL;
}


static void
ngx_llm_form_field(ngx_llm_form_t *form, ngx_llm_form_part_t *part,
    const u_char *p, const u_char *last)
{
    size_t            len;
    ngx_uint_t        field;
    const char       *name;
    ngx_llm_facts_t  *facts;

    facts = form->facts;
    len = last - p;

    if (part->file) {
        facts->outside -= len;
        facts->media += ngx_llm_media_file(len);
    }

    field = ngx_llm_form_name(&part->name, &name);

    if (field == 0) {
        return;
    }

    if (part->name.len != ngx_strlen(name)
        || ngx_memcmp(part->name.data, name, part->name.len) != 0)
    {
        ngx_llm_form_refuse(form, NGX_LLM_JSON_DUPLICATE, name,
                            "a field name differs from a known one only in "
                            "case", p);
        return;
    }

    if (form->seen & field) {
        ngx_llm_form_refuse(form, NGX_LLM_JSON_DUPLICATE, name,
                            "field is given twice", p);
    }

    form->seen |= field;

    if (part->file || part->coded) {
        ngx_llm_form_refuse(form, NGX_LLM_JSON_TYPE, name,
                            "a plain field is expected", p);
        return;
    }

    if (field == NGX_LLM_FORM_STREAM) {
        ngx_llm_form_stream(form, p, len);
        return;
    }

    facts->model_pos = p - form->start;
    facts->model_size = len;
    ngx_memcpy(facts->model, p,
               len < NGX_LLM_MODEL_LEN ? len : NGX_LLM_MODEL_LEN);

    ngx_llm_facts_name(facts, len);
}


/*
 * Returns the field that a name stands for or folds to, and its spelling in
 * *known, or 0 if the gateway does not act on the field.
 */

static ngx_uint_t
ngx_llm_form_name(const ngx_str_t *name, const char **known)
{
    if (ngx_llm_fold_equal(name->data, name->len, "model", 5)) {
        *known = "model";
        return NGX_LLM_FORM_MODEL;
    }

    if (ngx_llm_fold_equal(name->data, name->len, "stream", 6)) {
        *known = "stream";
        return NGX_LLM_FORM_STREAM;
    }

    return 0;
}


/* Libraries write a boolean as "true" or "1", Python's str() as "True". */

static void
ngx_llm_form_stream(ngx_llm_form_t *form, const u_char *p, size_t len)
{
    ngx_str_t  value;

    value.data = (u_char *) p;
    value.len = len;

    form->facts->stream = (ngx_llm_param_is(&value, "true")
                           || ngx_llm_param_is(&value, "1"));
    form->facts->stream_set = 1;

    if (!form->facts->stream
        && !ngx_llm_param_is(&value, "false")
        && !ngx_llm_param_is(&value, "0"))
    {
        ngx_llm_form_refuse(form, NGX_LLM_JSON_TYPE, "stream",
                            "true or false is expected", p);
    }
}


/* Sets INVALID, which takes precedence over a fault of a field. */

static void *
ngx_llm_form_invalid(ngx_llm_form_t *form, const u_char *p,
    const char *reason)
{
    form->err->code = NGX_LLM_JSON_INVALID;
    form->err->param = NULL;
    form->err->reason = (p == form->end) ? "form ends too early" : reason;
    form->err->pos = p - form->start;

    return NULL;
}


/* Notes the first fault of a field.  The pass goes on. */

static void
ngx_llm_form_refuse(ngx_llm_form_t *form, ngx_uint_t code, const char *param,
    const char *reason, const u_char *p)
{
    if (form->err->code == 0) {
        form->err->code = code;
        form->err->param = param;
        form->err->reason = reason;
        form->err->pos = p - form->start;
    }
}
