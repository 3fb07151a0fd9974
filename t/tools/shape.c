/*
 * shape.c: the converters of ngx_llm_shape.h as a program, for t/shapes.t:
 *
 *     shape to_document KIND, shape to_stream KIND USAGE
 *
 * KIND is NGX_LLM_SHAPE_...; from standard input to standard output.  Its exit
 * status is 1 if the converter declines.
 */

#include <ngx_llm_shape.h>

#include <stdio.h>
#include <stdlib.h>


static void put(void *data, const u_char *p, size_t len);


static u_char  text[1024 * 1024];


int
main(int argc, char **argv)
{
    size_t      len;
    ngx_int_t   rc;
    ngx_uint_t  kind;

    if (argc < 3) {
        return 2;
    }

    kind = atoi(argv[2]);
    len = fread(text, 1, sizeof(text), stdin);

    if (strcmp(argv[1], "to_document") == 0) {
        rc = ngx_llm_to_document(kind, text, len, put, stdout);

    } else {
        rc = ngx_llm_to_stream(kind, text, len, argc > 3 && atoi(argv[3]), put,
                               stdout);
    }

    return rc != NGX_OK;
}


static void
put(void *data, const u_char *p, size_t len)
{
    fwrite(p, 1, len, data);
}
