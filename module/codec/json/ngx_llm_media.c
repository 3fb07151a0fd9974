/*
 * ngx_llm_media.c: media in the strings of a request body.
 *
 * The bytes of a picture or of a recording are not text, so that they must not
 * be estimated as text.  Called by the lexer for each string value; only a long
 * string that starts as media is read further than its first bytes.
 */

#include "../ngx_llm_media.h"


#define NGX_LLM_MEDIA_PICTURE  1100  /* tokens of a picture */
#define NGX_LLM_MEDIA_AUDIO    1600  /* bytes of audio for a token: 16 kB/s,
                                        10 tokens a second */
#define NGX_LLM_MEDIA_FILE     20    /* bytes of another file for a token */
#define NGX_LLM_MEDIA_PROBE    64    /* bytes that show base64 */


#define ngx_llm_media_begins(p, len, text)                                    \
    ((len) >= sizeof(text) - 1                                                \
     && ngx_memcmp(p, text, sizeof(text) - 1) == 0)


ngx_uint_t
ngx_llm_media_is(const u_char *p, const u_char *end)
{
    ngx_uint_t     i;
    const u_char  *last;

    if (end - p < NGX_LLM_MEDIA_LEAST) {
        return 0;
    }

    if (ngx_llm_media_begins(p, (size_t) (end - p), "data:")) {
        return 1;
    }

    last = p + NGX_LLM_MEDIA_PROBE;

    for (i = 0; p < last; p++) {

        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
              || (*p >= '0' && *p <= '9') || *p == '+' || *p == '/'
              || *p == '-' || *p == '_'))
        {
            return 0;
        }

        i += (*p < 'a');
    }

    /* a long word of a language has few capitals and digits */

    return i >= NGX_LLM_MEDIA_PROBE / 8;
}


ngx_uint_t
ngx_llm_media_encoded(const u_char *p, size_t len)
{
    return memchr(p + NGX_LLM_MEDIA_PROBE, ' ', len - NGX_LLM_MEDIA_PROBE)
           == NULL;
}


int64_t
ngx_llm_media_tokens(const u_char *p, size_t len, const u_char *key,
    size_t key_len)
{
    int64_t  decoded;

    decoded = (int64_t) (len / 4 * 3);

    /* PHP's json_encode() writes a slash with an escape */

    if (ngx_llm_media_begins(p, len, "data:image/")
        || ngx_llm_media_begins(p, len, "data:image\\/"))
    {
        return NGX_LLM_MEDIA_PICTURE;
    }

    if (ngx_llm_media_begins(p, len, "data:audio/")
        || ngx_llm_media_begins(p, len, "data:audio\\/"))
    {
        return 1 + decoded / NGX_LLM_MEDIA_AUDIO;
    }

    if (ngx_llm_media_begins(p, len, "data:")
        || (key_len == sizeof("file_data") - 1
            && ngx_memcmp(key, "file_data", key_len) == 0))
    {
        return 1 + decoded / NGX_LLM_MEDIA_FILE;
    }

    /* base64 without a type: a picture or a recording */

    return ngx_max(NGX_LLM_MEDIA_PICTURE, decoded / NGX_LLM_MEDIA_AUDIO);
}


int64_t
ngx_llm_media_file(size_t len)
{
    return 1 + (int64_t) (len / NGX_LLM_MEDIA_AUDIO);
}
