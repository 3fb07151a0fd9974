/*
 * Credentials of an attempt in a provider's response.  memchr() looks for the
 * byte of each secret that is the rarest in English text and JSON, so that a
 * body costs little more than to touch it.
 */


#include <ngx_llm_quote.h>


static size_t ngx_llm_quote_anchor(const u_char *data, size_t len);
static ngx_uint_t ngx_llm_quote_rank(u_char ch);
static u_char *ngx_llm_quote_find(const ngx_llm_quote_secret_t *secret,
    u_char *p, u_char *last);


void
ngx_llm_quote_init(ngx_llm_quote_t *quote)
{
    quote->n = 0;
    quote->carried = 0;
}


void
ngx_llm_quote_add(ngx_llm_quote_t *quote, u_char *data, size_t len)
{
    size_t                   i;
    ngx_uint_t               digits;
    ngx_llm_quote_secret_t  *secret;

    digits = 0;

    for (i = len; i > 0; i--) {

        if (data[i - 1] == ' ') {
            data += i;
            len -= i;
            break;
        }

        digits += (data[i - 1] >= '0' && data[i - 1] <= '9');
    }

    if (len < 8 || (len < 12 && digits == 0)
        || quote->n == NGX_LLM_QUOTE_COUNT)
    {
        return;
    }

    secret = &quote->secrets[quote->n++];

    /* JSON may escape a slash, so the bytes before it are enough */

    for (i = NGX_LLM_QUOTE_MIN; i < len && i < NGX_LLM_QUOTE_MAX; i++) {
        if (data[i] == '/') {
            break;
        }
    }

    secret->data = data;
    secret->len = (i < len) ? i : len;
    secret->more = (secret->len < len);
    secret->anchor = ngx_llm_quote_anchor(data, secret->len);
}


static size_t
ngx_llm_quote_anchor(const u_char *data, size_t len)
{
    size_t      i, best;
    ngx_uint_t  rank, least;

    best = 0;
    least = ngx_llm_quote_rank(data[0]);

    for (i = 1; i < len; i++) {
        rank = ngx_llm_quote_rank(data[i]);

        if (rank < least) {
            least = rank;
            best = i;
        }
    }

    return best;
}


/* The higher, the more frequent is the byte in a response. */

static ngx_uint_t
ngx_llm_quote_rank(u_char ch)
{
    if (ch >= 'A' && ch <= 'Z') {
        return strchr("JKQVXYZ", ch) ? 0 : 1;
    }

    if (ch >= 'a' && ch <= 'z') {
        return strchr("jqxz", ch) ? 2 : 5;
    }

    return (ch >= '0' && ch <= '9') ? 3 : 4;
}


static u_char *
ngx_llm_quote_find(const ngx_llm_quote_secret_t *secret, u_char *p,
    u_char *last)
{
    u_char  *end;

    if ((size_t) (last - p) < secret->len) {
        return NULL;
    }

    /* the places where the anchor of a whole secret may stand */

    end = last - (secret->len - secret->anchor) + 1;
    p += secret->anchor;

    while (p < end) {
        p = memchr(p, secret->data[secret->anchor], end - p);
        if (p == NULL) {
            return NULL;
        }

        if (memcmp(p - secret->anchor, secret->data, secret->len) == 0) {
            return p - secret->anchor;
        }

        p++;
    }

    return NULL;
}


ngx_uint_t
ngx_llm_quote_found(ngx_llm_quote_t *quote, u_char *p, u_char *last)
{
    ngx_uint_t  i;

    for (i = 0; i < quote->n; i++) {
        if (ngx_llm_quote_find(&quote->secrets[i], p, last)) {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_llm_quote_feed(ngx_llm_quote_t *quote, u_char *p, u_char *last)
{
    size_t  len, keep;
    u_char  border[2 * NGX_LLM_QUOTE_MAX];

    if (quote->n == 0) {
        return 0;
    }

    len = last - p;

    if (quote->carried) {
        keep = (len < NGX_LLM_QUOTE_MAX - 1) ? len : NGX_LLM_QUOTE_MAX - 1;

        memcpy(border, quote->carry, quote->carried);
        memcpy(border + quote->carried, p, keep);

        if (ngx_llm_quote_found(quote, border,
                                border + quote->carried + keep))
        {
            return 1;
        }
    }

    if (ngx_llm_quote_found(quote, p, last)) {
        return 1;
    }

    if (len >= NGX_LLM_QUOTE_MAX - 1) {
        quote->carried = NGX_LLM_QUOTE_MAX - 1;
        memcpy(quote->carry, last - quote->carried, quote->carried);
        return 0;
    }

    /* the end of the carried bytes, then the whole span */

    keep = NGX_LLM_QUOTE_MAX - 1 - len;

    if (quote->carried > keep) {
        memmove(quote->carry, quote->carry + quote->carried - keep, keep);
        quote->carried = keep;
    }

    memcpy(quote->carry + quote->carried, p, len);
    quote->carried += len;

    return 0;
}


void
ngx_llm_quote_mask(ngx_llm_quote_t *quote, u_char *p, u_char *last)
{
    u_char                  *found;
    ngx_uint_t               i;
    ngx_llm_quote_secret_t  *secret;

    for (i = 0; i < quote->n; i++) {
        secret = &quote->secrets[i];
        found = p;

        while ((found = ngx_llm_quote_find(secret, found, last)) != NULL) {

            memset(found, '*', secret->len);
            found += secret->len;

            while (secret->more && found < last && *found > ' ') {
                *found++ = '*';
            }
        }
    }
}
