/*
 * ngx_llm_canon.h: the canonical form of a JSON request body, for the key of
 * a cache: equal requests give equal bytes, different requests never do.
 *
 * The form is itself JSON, in one way of writing it: no white space; members
 * by the decoded bytes of their keys; strings with the shortest escapes of
 * RFC 8785 and nothing normalised; numbers by exact decimal value, 1, 1.0 and
 * 10e-1 as 1, -0 as 0, never through a double.  JSON values delimit themselves,
 * so ["ab","c"] and ["a","bc"] differ without a length.
 *
 * Members of an object that is the value of "properties" keep their order: in a
 * JSON schema, of an answer or of a tool's parameters, it is the order in which
 * a model generates them.
 *
 * Left out of the outer object: user, metadata, safety_identifier,
 * prompt_cache_key, prompt_cache_retention, prompt_cache_options,
 * service_tier, stream, stream_options, store; n that is 1; null of model,
 * max_tokens, max_completion_tokens, max_output_tokens and n.
 *
 * Pure: nothing is allocated or kept, no byte outside of the body is read.
 */

#ifndef _NGX_LLM_CANON_H_INCLUDED_
#define _NGX_LLM_CANON_H_INCLUDED_


#include <ngx_llm_codec.h>


#define NGX_LLM_CANON_DEPTH      64  /* containers, the outer one included */

/* ngx_llm_canon_t.refused */
#define NGX_LLM_CANON_DUPLICATE  1   /* a key twice in one object, decoded */
#define NGX_LLM_CANON_SURROGATE  2   /* a lone surrogate in a string or key */
#define NGX_LLM_CANON_DEEP       3   /* too deep; or 4 GiB of body and more */


/* a piece of the form, len > 0, in order; p is valid during the call only */

typedef void (*ngx_llm_canon_put_pt)(void *data, const u_char *p, size_t len);


typedef struct {
    uint32_t                pos;     /* offset of its text; of an object the
                                        node of its first key, 0: none */
    uint32_t                len;     /* of its text, quotes included */
    uint32_t                next;    /* of a key: the next key in order, or
                                        0; of a container: the node after it */
    uint32_t                type;    /* NGX_LLM_CANON_..., flags */
} ngx_llm_canon_node_t;


typedef struct {
    /* set by the caller */
    ngx_llm_canon_node_t   *nodes;   /* scratch of the caller's, no content
                                        is kept there */
    size_t                  nnodes;  /* len / 2 are enough for any body, some
                                        hundred for most */
    ngx_llm_canon_put_pt    put;     /* called before the call returns */
    void                   *data;    /* for put */

    ngx_uint_t              refused; /* NGX_LLM_CANON_*, after NGX_DECLINED */

    /*
     * Set with NGX_OK.  Of the outer object, also by members that are left
     * out; "reference" anywhere.
     */

    unsigned                zero:1;      /* temperature is zero by value */
    unsigned                stored:1;    /* store is true */
    unsigned                unstored:1;  /* store is false */
    unsigned                stateful:1;  /* previous_response_id, conversation
                                            or container not null; prompt an
                                            object; background true */
    unsigned                hosted:1;    /* a member that asks the provider
                                            for live data: web_search...,
                                            search_..., enable_search,
                                            mcp_servers, plugins, connectors,
                                            data_sources, extra_body, neither
                                            null nor false; a tool whose type
                                            is neither "function" nor "custom",
                                            or tools that are no array */
    unsigned                reference:1; /* content that is not in the body:
                                            a file_id; a remote URL as
                                            image_url and the like, or as url
                                            in it; audio that has an id */
} ngx_llm_canon_t;


/*
 * Puts the canonical form of a body that ngx_llm_json_facts() has accepted.
 * Returns
 *
 *   NGX_OK        the form is complete;
 *   NGX_DECLINED  the body must not be cached, c->refused is the reason;
 *   NGX_AGAIN     more nodes are needed: call again with twice as many;
 *   NGX_ERROR     the body is not a JSON object; not all such bodies are found.
 *
 * The output is valid only after NGX_OK.
 */
ngx_int_t ngx_llm_canon(ngx_llm_canon_t *c, const u_char *body, size_t len);

#if (NGX_LLM_STANDALONE)

/* the same with a given scanner, NGX_LLM_SCAN_...; for tests, benchmarks */
ngx_int_t ngx_llm_canon_with(ngx_uint_t level, ngx_llm_canon_t *c,
    const u_char *body, size_t len);

#endif


#endif /* _NGX_LLM_CANON_H_INCLUDED_ */
