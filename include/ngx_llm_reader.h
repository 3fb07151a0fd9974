/*
 * ngx_llm_reader.h: a few values out of a JSON object that comes in pieces.
 *
 * A table of the caller names the paths.  The reader sees each byte once, can
 * stop at every byte, and copies only a key or a value that the end of a piece
 * cuts.  It skips values that the table does not name: in these it finds only
 * quotes, backslashes and brackets.
 *
 * Checked: one object, brackets paired by type to NGX_LLM_READER_DEPTH, strings
 * closed, literals, and on named paths the commas and colons.  Not checked:
 * UTF-8, control bytes and escapes in strings, the grammar of numbers (beyond
 * their first byte), commas and colons in skipped values.  Keys are compared
 * undecoded: a key that is written with escapes matches no name.
 */

#ifndef _NGX_LLM_READER_H_INCLUDED_
#define _NGX_LLM_READER_H_INCLUDED_


#include <ngx_llm_reader_members.h>


#define NGX_LLM_READER_DEPTH   512   /* brackets open at a time */
#define NGX_LLM_READER_LEVELS  8     /* levels on a named path */

/* types of a value */

#define NGX_LLM_READER_STRING   1
#define NGX_LLM_READER_NUMBER   2
#define NGX_LLM_READER_TRUE     3
#define NGX_LLM_READER_FALSE    4
#define NGX_LLM_READER_OBJECT   5
#define NGX_LLM_READER_ARRAY    6
#define NGX_LLM_READER_OBJECT_END  7
#define NGX_LLM_READER_ARRAY_END   8


typedef struct {                        /* a place in a document */
    u_char                          state;
    u_char                          escape; /* next byte is quoted */
    uint16_t                        depth;  /* open brackets */
    uint16_t                        base;  /* levels that are not skipped */
    u_char                          node[NGX_LLM_READER_LEVELS];
    u_char                          name[NGX_LLM_READER_LEVELS];  /* its slot */
    u_char                          closer[NGX_LLM_READER_LEVELS]; /* } or ] */
    const ngx_llm_reader_member_t  *key;  /* of the value to come */
    uint64_t                    braces[NGX_LLM_READER_DEPTH / 64]; /* skipped */
} ngx_llm_reader_place_t;


typedef struct ngx_llm_reader_s  ngx_llm_reader_t;

/* Called with p after the value, or after the comma that follows if the piece
   has it. */
typedef void (*ngx_llm_reader_handler_pt)(ngx_llm_reader_t *pl, u_char *p);


struct ngx_llm_reader_s {
    const ngx_llm_reader_node_t  *nodes;
    ngx_llm_reader_handler_pt     handler;  /* set by the caller, once */
    void                         *data;     /* set by the caller, once */

    /* the value of the call of the handler, valid until it returns */

    ngx_str_t                   value;  /* undecoded, its first 32 bytes */
    u_char                      slot;
    u_char                      type;
    u_char                      empty;  /* an end: of an empty container */

    /*
     * After a value that a comma has ended, "at" is the whole state: a caller
     * may copy it and go on in a document that starts with the same bytes.
     */

    u_char                      kept;    /* bytes in buf; one more: too long */
    uint32_t                    length;  /* of the value, in bytes */
    u_char                      buf[NGX_LLM_READER_VALUE];
    ngx_llm_reader_place_t      at;
};


/* The table must outlive the reader.  Leaves handler and data unchanged. */
void ngx_llm_reader_init(ngx_llm_reader_t *pl,
    const ngx_llm_reader_node_t *nodes);

/*
 * Reads from *pos and moves it.  Before the function returns, it calls the
 * handler for each named value with slot and type, and with the value of a
 * string or number.  The handler is called at the start of an object or array,
 * and at its end if it has a node.  It is not called for null.  Returns
 *
 *   NGX_AGAIN  *pos == last;
 *   NGX_DONE   the document is complete, *pos is after it and, at every later
 *              call, after the white space that follows;
 *   NGX_ERROR  the document is not a JSON object, or bytes follow it;
 *              *pos == last.
 */
ngx_int_t ngx_llm_reader_read(ngx_llm_reader_t *pl, u_char **pos, u_char *last);

/* Returns the length of a string that has begun but not ended, if its slot is
   one of first..last. */
size_t ngx_llm_reader_partial(const ngx_llm_reader_t *pl, u_char first,
    u_char last);


#endif /* _NGX_LLM_READER_H_INCLUDED_ */
