/*
 * canon_tree.h: random bodies for canon.c.  A tree is written as JSON in one
 * of many ways, changed in one place, and its canonical form made plainly.
 * Nothing here is shared with what is tested.
 */

#ifndef CANON_TREE_H_INCLUDED_
#define CANON_TREE_H_INCLUDED_


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define TREE_TEXT    (1 << 18)
#define TREE_NODES   400
#define TREE_WIDTH   7
#define TREE_CHARS   24


typedef struct tree_s  tree_t;

typedef struct {
    uint32_t        code[TREE_CHARS];
    unsigned        n;
} tree_text_t;


struct tree_s {
    char            type;              /* { [ " 0 t f n */
    tree_text_t     text;              /* a string; digits without zeros at
                                          their ends */
    int             exponent;
    int             negative;
    unsigned        n;
    tree_t         *child[TREE_WIDTH + 1];
    tree_text_t     key[TREE_WIDTH + 1];
};


static tree_t     tree_pool[TREE_NODES];
static unsigned   tree_used;
static uint64_t   tree_state;

static const char *const  tree_names[] = {
    "model", "messages", "role", "content", "temperature", "n", "max_tokens",
    "tools", "type", "function", "text", "image_url", "user", "stream", "a",
    "b", "", "stop", "top_p", "seed", "max_output_tokens", "id"
};

static const char *const  tree_denied[] = {
    "user", "metadata", "safety_identifier", "prompt_cache_key",
    "prompt_cache_retention", "prompt_cache_options", "service_tier",
    "stream", "stream_options", "store"
};

static const char *const  tree_nulls[] = {
    "model", "max_tokens", "max_completion_tokens", "max_output_tokens", "n"
};


static void
tree_seed(uint64_t seed)
{
    tree_state = seed * 0x9e3779b97f4a7c15ull + 1;
}


/* 0 .. n - 1 */

static unsigned
tree_rand(unsigned n)
{
    uint64_t  x;

    x = (tree_state += 0x9e3779b97f4a7c15ull);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;

    return (unsigned) ((x ^ (x >> 31)) >> 16) % n;
}


static uint32_t
tree_char(void)
{
    static const uint32_t  odd[] = {
        '"', '\\', '/', '\n', '\t', '\b', '\f', '\r', 0, 0x1f, 0x0b, 0x7f,
        0x80, 0xe9, 0x7ff, 0x800, 0x20ac, 0xd7ff, 0xe000, 0xfffd, 0xffff,
        0x10000, 0x1f600, 0x10ffff, 'u', 'n', ' '
    };

    return tree_rand(3) ? 'a' + tree_rand(26)
           : odd[tree_rand(sizeof(odd) / sizeof(odd[0]))];
}


static void
tree_set(tree_text_t *t, const char *name)
{
    for (t->n = 0; *name; t->n++) {
        t->code[t->n] = (unsigned char) *name++;
    }
}


static int
tree_is(const tree_text_t *t, const char *name)
{
    unsigned  i;

    for (i = 0; i < t->n; i++) {
        if (name[i] == '\0' || t->code[i] != (unsigned char) name[i]) {
            return 0;
        }
    }

    return name[i] == '\0';
}


/* by code points, which is by bytes of UTF-8 too */

static int
tree_compare(const tree_text_t *a, const tree_text_t *b)
{
    unsigned  i;

    for (i = 0; i < a->n && i < b->n; i++) {
        if (a->code[i] != b->code[i]) {
            return a->code[i] < b->code[i] ? -1 : 1;
        }
    }

    return (a->n > b->n) - (a->n < b->n);
}


static int
tree_has(const tree_t *v, const tree_text_t *key)
{
    unsigned  i;

    for (i = 0; i < v->n; i++) {
        if (tree_compare(&v->key[i], key) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
tree_random_text(tree_text_t *t, unsigned max)
{
    unsigned  n;

    n = tree_rand(max + 1);

    for (t->n = 0; t->n < n; t->n++) {
        t->code[t->n] = tree_char();
    }
}


static void
tree_random_number(tree_t *v)
{
    unsigned  n;

    n = tree_rand(4) ? tree_rand(4) : tree_rand(TREE_CHARS - 1);
    v->text.n = 0;
    v->negative = 0;
    v->exponent = 0;

    if (n == 0) {
        return;
    }

    while (v->text.n < n) {
        v->text.code[v->text.n++] = '0' + tree_rand(10);
    }

    v->text.code[0] = '1' + tree_rand(9);
    v->text.code[n - 1] = '1' + tree_rand(9);
    v->negative = (tree_rand(4) == 0);
    v->exponent = tree_rand(3) ? 0 : (int) tree_rand(60) - 30;
}


static tree_t *
tree_value(unsigned depth)
{
    tree_t    *v;
    unsigned   n;

    if (tree_used == TREE_NODES) {
        abort();
    }

    v = &tree_pool[tree_used++];
    v->type = "\"\"\"000tfn{[{["[tree_rand(depth ? 13 : 9)];
    v->n = 0;

    if (v->type == '"') {
        tree_random_text(&v->text, TREE_CHARS - 1);
    }

    if (v->type == '0') {
        tree_random_number(v);
    }

    if (v->type != '{' && v->type != '[') {
        return v;
    }

    n = tree_rand(TREE_WIDTH - 1);

    while (v->n < n && tree_used < TREE_NODES - 40) {

        if (tree_rand(2)) {
            tree_set(&v->key[v->n], tree_names[tree_rand(
                               sizeof(tree_names) / sizeof(tree_names[0]))]);
        } else {
            tree_random_text(&v->key[v->n], 6);
        }

        if (v->type == '{' && tree_has(v, &v->key[v->n])) {
            continue;
        }

        v->child[v->n] = tree_value(depth - 1);
        v->n++;
    }

    return v;
}


/* the same one for the same seed */

static tree_t *
tree_random(uint64_t seed)
{
    tree_t  *v;

    tree_seed(seed);

    do {
        tree_used = 0;
        v = tree_value(4);
    } while (v->type != '{');

    return v;
}


static unsigned char *
tree_utf8(unsigned char *p, uint32_t code)
{
    if (code < 0x80) {
        *p++ = code;

    } else if (code < 0x800) {
        *p++ = 0xc0 + code / 64;
        *p++ = 0x80 + code % 64;

    } else if (code < 0x10000) {
        *p++ = 0xe0 + code / 4096;
        *p++ = 0x80 + code / 64 % 64;
        *p++ = 0x80 + code % 64;

    } else {
        *p++ = 0xf0 + code / 262144;
        *p++ = 0x80 + code / 4096 % 64;
        *p++ = 0x80 + code / 64 % 64;
        *p++ = 0x80 + code % 64;
    }

    return p;
}


static unsigned char *
tree_short_escape(unsigned char *p, uint32_t code)
{
    const char         *at;
    static const char   from[] = "\"\\\b\f\n\r\t";

    at = (code && code < 0x80) ? strchr(from, (int) code) : NULL;

    if (at != NULL) {
        *p++ = '\\';
        *p++ = "\"\\bfnrt"[at - from];
        return p;
    }

    if (code < 0x20) {
        return p + sprintf((char *) p, "\\u%04x", code);
    }

    return tree_utf8(p, code);
}


/* in any way that is right */

static unsigned char *
tree_any_escape(unsigned char *p, uint32_t code)
{
    const char  *format;

    format = tree_rand(2) ? "\\u%04X" : "\\u%04x";

    if (code == '/' && tree_rand(2)) {
        *p++ = '\\';
        *p++ = '/';
        return p;
    }

    if (tree_rand(3)) {
        return tree_short_escape(p, code);
    }

    if (code < 0x10000) {
        return p + sprintf((char *) p, format, code);
    }

    p += sprintf((char *) p, format, 0xd800 + (code - 0x10000) / 1024);

    return p + sprintf((char *) p, format, 0xdc00 + (code - 0x10000) % 1024);
}


static unsigned char *
tree_string(unsigned char *p, const tree_text_t *t, int any)
{
    unsigned  i;

    *p++ = '"';

    for (i = 0; i < t->n; i++) {
        p = any ? tree_any_escape(p, t->code[i])
                : tree_short_escape(p, t->code[i]);
    }

    *p++ = '"';

    return p;
}


static unsigned char *
tree_number_form(unsigned char *p, const tree_t *v)
{
    int       e;
    unsigned  i;

    if (v->text.n == 0) {
        *p++ = '0';
        return p;
    }

    if (v->negative) {
        *p++ = '-';
    }

    for (i = 0; i < v->text.n; i++) {
        *p++ = v->text.code[i];
    }

    if (v->exponent > 0 && v->text.n + v->exponent <= 20) {
        for (e = 0; e < v->exponent; e++) {
            *p++ = '0';
        }

    } else if (v->exponent) {
        p += sprintf((char *) p, "e%d", v->exponent);
    }

    return p;
}


/* the point goes anywhere, the exponent follows it */

static unsigned char *
tree_any_number(unsigned char *p, const tree_t *v)
{
    int  i, point, e, n;

    n = (int) v->text.n;
    point = n;
    e = v->exponent;

    if (tree_rand(2)) {
        point = (int) tree_rand(n + 12) - 6;
        e += n - point;
    }

    if (v->negative || (n == 0 && tree_rand(2))) {
        *p++ = '-';
    }

    if (point <= 0 || n == 0) {
        *p++ = '0';
    }

    for (i = 0; n && i < point; i++) {
        *p++ = i < n ? v->text.code[i] : '0';
    }

    if (n == 0) {
        e = (int) tree_rand(2000) - 1000;
    }

    if (point < n || tree_rand(4) == 0) {
        *p++ = '.';

        for (i = point; i < n; i++) {
            *p++ = i < 0 ? '0' : v->text.code[i];
        }

        for (i = tree_rand(3) + (point >= n); i; i--) {
            *p++ = '0';
        }
    }

    if (e || tree_rand(4) == 0) {
        *p++ = "eE"[tree_rand(2)];

        if (e < 0) {
            *p++ = '-';

        } else if (tree_rand(2)) {
            *p++ = '+';
        }

        p += sprintf((char *) p, tree_rand(4) ? "%d" : "%030d", abs(e));
    }

    return p;
}


static unsigned char *
tree_space(unsigned char *p)
{
    unsigned  i;

    for (i = tree_rand(4) ? 0 : tree_rand(12); i; i--) {
        *p++ = " \n\r\t    "[tree_rand(8)];
    }

    return p;
}


static unsigned char *
tree_word(unsigned char *p, const tree_t *v)
{
    return p + sprintf((char *) p, "%s", v->type == 't' ? "true"
                       : v->type == 'f' ? "false" : "null");
}


static int
tree_among(const tree_text_t *key, const char *const *names, unsigned n)
{
    while (n--) {
        if (tree_is(key, names[n])) {
            return 1;
        }
    }

    return 0;
}


/* a member of the outer object that makes no difference */

static int
tree_void(const tree_text_t *key, const tree_t *v)
{
    return tree_among(key, tree_denied,
                      sizeof(tree_denied) / sizeof(tree_denied[0]))
           || (v->type == 'n'
               && tree_among(key, tree_nulls,
                             sizeof(tree_nulls) / sizeof(tree_nulls[0])))
           || (tree_is(key, "n") && v->type == '0' && v->text.n == 1
               && v->text.code[0] == '1' && !v->negative && v->exponent == 0);
}


static unsigned char *
tree_form_value(unsigned char *p, const tree_t *v, int top)
{
    int       comma;
    unsigned  i, k, best, done[TREE_WIDTH + 1] = { 0 };

    switch (v->type) {
    case '"':
        return tree_string(p, &v->text, 0);
    case '0':
        return tree_number_form(p, v);
    case '{':
    case '[':
        break;
    default:
        return tree_word(p, v);
    }

    comma = 0;
    *p++ = v->type;

    for (i = 0; i < v->n; i++) {
        best = i;

        if (v->type == '{') {
            best = TREE_WIDTH + 1;

            for (k = 0; k < v->n; k++) {
                if (!done[k]
                    && (best > TREE_WIDTH
                        || tree_compare(&v->key[k], &v->key[best]) < 0))
                {
                    best = k;
                }
            }

            done[best] = 1;

            if (top && tree_void(&v->key[best], v->child[best])) {
                continue;
            }
        }

        if (comma++) {
            *p++ = ',';
        }

        if (v->type == '{') {
            p = tree_string(p, &v->key[best], 0);
            *p++ = ':';
        }

        p = tree_form_value(p, v->child[best], 0);
    }

    *p++ = v->type == '{' ? '}' : ']';

    return p;
}


static size_t
tree_form(const tree_t *v, unsigned char *text)
{
    return tree_form_value(text, v, 1) - text;
}


static unsigned char *tree_write_value(unsigned char *p, const tree_t *v,
    int top);


/* adds members to the outer object that make no difference */

static unsigned char *
tree_write_void(unsigned char *p, const tree_t *v, int comma)
{
    unsigned      i, n;
    tree_t        one;
    tree_text_t   key;

    n = sizeof(tree_denied) / sizeof(tree_denied[0]);

    for (i = 0; i < n + sizeof(tree_nulls) / sizeof(tree_nulls[0]); i++) {
        tree_set(&key, i < n ? tree_denied[i] : tree_nulls[i - n]);

        if (tree_rand(4) || tree_has(v, &key)) {
            continue;
        }

        if (comma) {
            *p++ = ',';
        }

        comma = 1;
        p = tree_string(p, &key, 1);
        *p++ = ':';

        if (i < n) {
            one = *v;
            p = tree_write_value(p, tree_rand(2) && v->n ? v->child[0] : &one,
                                 0);

        } else if (tree_is(&key, "n") && tree_rand(2)) {
            memset(&one, 0, sizeof(one));
            one.type = '0';
            one.text.n = 1;
            one.text.code[0] = '1';
            p = tree_any_number(p, &one);

        } else {
            p += sprintf((char *) p, "null");
        }
    }

    return p;
}


static unsigned char *
tree_write_value(unsigned char *p, const tree_t *v, int top)
{
    unsigned  i, from, k;

    switch (v->type) {
    case '"':
        return tree_string(p, &v->text, 1);
    case '0':
        return tree_any_number(p, v);
    case '{':
    case '[':
        break;
    default:
        return tree_word(p, v);
    }

    *p++ = v->type;
    p = tree_space(p);

    /* members from any of them on, forwards or backwards or jumping */

    from = v->n ? tree_rand(v->n) : 0;
    k = (v->type == '[') ? 1 : (v->n == 5 || v->n == 7) ? 1 + tree_rand(4)
        : tree_rand(2) ? 1 : v->n > 1 ? v->n - 1 : 1;

    for (i = 0; i < v->n; i++) {

        if (i) {
            *p++ = ',';
            p = tree_space(p);
        }

        if (v->type == '[') {
            p = tree_write_value(p, v->child[i], 0);
            p = tree_space(p);
            continue;
        }

        p = tree_string(p, &v->key[(from + i * k) % v->n], 1);
        p = tree_space(p);
        *p++ = ':';
        p = tree_space(p);
        p = tree_write_value(p, v->child[(from + i * k) % v->n], 0);
        p = tree_space(p);
    }

    if (top) {
        p = tree_write_void(p, v, v->n != 0);
    }

    *p++ = v->type == '{' ? '}' : ']';

    return p;
}


static size_t
tree_write(const tree_t *v, unsigned char *text)
{
    unsigned char  *p;

    p = tree_space(text);
    p = tree_write_value(p, v, 1);

    return tree_space(p) - text;
}


static void
tree_mutate_text(tree_text_t *t)
{
    unsigned  i;
    uint32_t  was;

    i = tree_rand(t->n + 1);

    if (i == t->n) {
        t->code[t->n++] = tree_char();
        return;
    }

    was = t->code[i];

    switch (tree_rand(3)) {
    case 0:
        memmove(&t->code[i], &t->code[i + 1],
                (t->n - i - 1) * sizeof(uint32_t));
        t->n--;
        return;
    case 1:
        t->code[i] = was ^ 1;
        return;
    default:
        while (t->code[i] == was) {
            t->code[i] = tree_char();
        }
    }
}


static void
tree_mutate_number(tree_t *v)
{
    unsigned  i;

    if (v->text.n == 0) {
        v->text.n = 1;
        v->text.code[0] = '1' + tree_rand(9);
        return;
    }

    i = tree_rand(v->text.n);

    switch (tree_rand(3)) {
    case 0:
        v->negative = !v->negative;
        break;
    case 1:
        v->exponent += tree_rand(2) ? 1 : -1;
        break;
    default:
        v->text.code[i] = v->text.code[i] == '9' ? '8' : v->text.code[i] + 1;
    }
}


/* an object gets, loses or renames a member, an array changes likewise */

static int
tree_mutate_container(tree_t *v)
{
    tree_t         *child;
    unsigned        i, k;
    tree_text_t     key;
    unsigned char   one[TREE_TEXT / 8], two[TREE_TEXT / 8];

    i = v->n ? tree_rand(v->n) : 0;

    switch (tree_rand(5)) {

    case 0:
        if (v->n == TREE_WIDTH) {
            return 0;
        }

        tree_set(&v->key[v->n], "unknown_");
        v->key[v->n].code[8] = 'a' + tree_rand(26);
        v->key[v->n].n = 9;

        if (v->type == '{' && tree_has(v, &v->key[v->n])) {
            return 0;
        }

        v->child[v->n] = tree_value(1);
        v->n++;
        return 1;

    case 1:
        if (v->n == 0) {
            return 0;
        }

        v->n--;
        v->child[i] = v->child[v->n];
        v->key[i] = v->key[v->n];

        /* of an array the last one moves: at a place where it was equal or
           not, it is shorter in any case */
        return 1;

    case 2:
        if (v->n == 0 || v->type != '{') {
            return 0;
        }

        key = v->key[i];
        tree_mutate_text(&key);

        if (tree_has(v, &key)) {
            return 0;
        }

        v->key[i] = key;
        return 1;

    case 3:
        if (v->n < 2) {
            return 0;
        }

        k = (i + 1) % v->n;
        child = v->child[i];
        v->child[i] = v->child[k];
        v->child[k] = child;

        /* two equal ones changed places */

        i = tree_form_value(one, v->child[i], 0) - one;
        k = tree_form_value(two, v->child[k], 0) - two;

        return i != k || memcmp(one, two, i) != 0;

    default:
        if (v->n) {
            return 0;
        }

        v->type = v->type == '{' ? '[' : '{';
        return 1;
    }
}


/* 0: nothing has changed, 1: one place */

static int
tree_mutate_value(tree_t *v)
{
    unsigned char   text[256], *p;

    if (tree_rand(8) == 0) {
        /* of another type, that looks alike */

        switch (v->type) {
        case '0':
            p = tree_number_form(text, v);
            *p = '\0';

            if (p - text > TREE_CHARS - 2) {
                return 0;
            }

            tree_set(&v->text, (char *) text);
            v->type = '"';
            return 1;
        case '"':
            v->type = 'n';
            return 1;
        case 't':
        case 'f':
        case 'n':
            p = tree_word(text, v);
            *p = '\0';
            tree_set(&v->text, (char *) text);
            v->type = '"';
            return 1;
        }
    }

    switch (v->type) {
    case '"':
        if (v->text.n == TREE_CHARS) {
            return 0;
        }
        tree_mutate_text(&v->text);
        return 1;
    case '0':
        tree_mutate_number(v);
        return 1;
    case 't':
        v->type = 'f';
        return 1;
    case 'f':
        v->type = 'n';
        return 1;
    case 'n':
        v->type = 't';
        return 1;
    default:
        return tree_mutate_container(v);
    }
}


/*
 * One change anywhere that makes a difference; 0: this time there was none.
 * A member of the outer object that makes none is not gone into.
 */

static int
tree_mutate(tree_t *top)
{
    tree_t               *v;
    unsigned              i, size;
    static unsigned char  was[TREE_TEXT], is[TREE_TEXT];

    size = tree_form(top, was);
    v = top;

    while ((v->type == '{' || v->type == '[') && v->n && tree_rand(4)) {
        i = tree_rand(v->n);

        if (v == top && tree_void(&v->key[i], v->child[i])) {
            return 0;
        }

        v = v->child[i];
    }

    if (v == top) {
        /* it must stay an object; a void member may go or be renamed */

        return tree_mutate_container(v) && top->type == '{'
               && (tree_form(top, is) != size || memcmp(is, was, size) != 0);
    }

    return tree_mutate_value(v);
}


#endif /* CANON_TREE_H_INCLUDED_ */
