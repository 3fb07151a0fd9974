/*
 * ngx_llm_reader.h: a few values out of a JSON object that comes in pieces.
 *
 * The caller's table says which paths it wants.  The scanner sees each byte
 * once, keeps its place at every byte and copies nothing but a key or a value
 * that a piece's end cuts.  What the table does not name is skipped: there
 * only quotes, backslashes and brackets are looked at.
 *
 * Checked: one object, brackets paired by type to NGX_LLM_READER_DEPTH, strings
 * closed, literals, and on named paths the commas and colons.  Not checked:
 * UTF-8, control bytes and escapes in strings, the grammar of numbers (beyond
 * their first byte), commas and colons in what is skipped.  Keys are compared
 * undecoded: one that is written with escapes is no named one.
 */

#ifndef _NGX_LLM_READER_H_INCLUDED_
#define _NGX_LLM_READER_H_INCLUDED_


#include <ngx_llm_reader_members.h>


#define NGX_LLM_READER_DEPTH   512   /* brackets open at a time */
#define NGX_LLM_READER_LEVELS  8     /* of them on a named path */

/* what a value is */

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
    uint16_t                        base;  /* of them outside of what we skip */
    u_char                          node[NGX_LLM_READER_LEVELS];
    u_char                          name[NGX_LLM_READER_LEVELS];  /* its slot */
    u_char                          closer[NGX_LLM_READER_LEVELS]; /* } or ] */
    const ngx_llm_reader_member_t  *key;  /* of the value to come */
    uint64_t                    braces[NGX_LLM_READER_DEPTH / 64]; /* skipped */
} ngx_llm_reader_place_t;


typedef struct ngx_llm_reader_s  ngx_llm_reader_t;

/* p is behind the value, and behind the comma that ended it if that is here */
typedef void (*ngx_llm_reader_handler_pt)(ngx_llm_reader_t *pl, u_char *p);


struct ngx_llm_reader_s {
    const ngx_llm_reader_node_t  *nodes;
    ngx_llm_reader_handler_pt     handler;  /* set by the caller, once, */
    void                         *data;     /* and so is this */

    /* what the handler is called about, valid until it returns */

    ngx_str_t                   value;  /* undecoded, its first 32 bytes */
    u_char                      slot;
    u_char                      type;
    u_char                      empty;  /* an end: there was nothing inside */

    /*
     * After a value that its comma has ended, a copy of "at" is all there is
     * to know: a caller may go on from there in a document that starts with
     * the same bytes.
     */

    u_char                      kept;    /* bytes in buf; one more: too long */
    uint32_t                    length;  /* of the value, in bytes */
    u_char                      buf[NGX_LLM_READER_VALUE];
    ngx_llm_reader_place_t      at;
};


/* the table has to stay; handler and data are not touched */
void ngx_llm_reader_init(ngx_llm_reader_t *pl,
    const ngx_llm_reader_node_t *nodes);

/*
 * Moves *pos on.  Before it returns, the handler has been called for each
 * named value: slot, type, and the value itself if it is a string or a number.
 * An object or array is told at its start, and at its end if it has a node.  A
 * null is not told.
 *
 *   NGX_AGAIN  *pos == last;
 *   NGX_DONE   the document is closed, *pos is behind it and, at every later
 *              call, behind the white space that follows;
 *   NGX_ERROR  it is no JSON object, or something follows it; *pos == last.
 */
ngx_int_t ngx_llm_reader_read(ngx_llm_reader_t *pl, u_char **pos, u_char *last);

/* Returns the length of a string that has begun but not ended, if its slot is
   one of first..last. */
size_t ngx_llm_reader_partial(const ngx_llm_reader_t *pl, u_char first,
    u_char last);


#endif /* _NGX_LLM_READER_H_INCLUDED_ */
