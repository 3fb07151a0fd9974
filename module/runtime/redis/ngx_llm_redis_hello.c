/*
 * The first commands of a connection: authentication, selection of the
 * database, and checks of the server.  They are a table; each command is sent
 * after the reply to the previous one.  Passwords and texts that errors quote
 * are not logged.
 */


#include "ngx_llm_redis_link.h"
#include <ngx_llm_lua.h>


#define NGX_LLM_REDIS_PONG   20      /* the least a PING is given, ms */
#define NGX_LLM_REDIS_WORDS  5       /* of a command, at most */


typedef struct {
    /* how many words it has; 0: it is not needed */
    ngx_uint_t   (*command)(ngx_llm_redis_link_t *link, ngx_str_t *words);
    ngx_int_t    (*check)(ngx_llm_redis_link_t *link, redisReply *reply);
    ngx_str_t      name;
    const char    *refused;
} ngx_llm_redis_step_t;


static ngx_int_t ngx_llm_redis_hello_next(ngx_llm_redis_link_t *link);
static ngx_uint_t ngx_llm_redis_hello_auth(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_select(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_cluster(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_probe(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_evalsha(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_eval(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_info(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_uint_t ngx_llm_redis_hello_ping(ngx_llm_redis_link_t *link,
    ngx_str_t *words);
static ngx_int_t ngx_llm_redis_hello_accepted(ngx_llm_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_llm_redis_hello_alone(ngx_llm_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_llm_redis_hello_written(ngx_llm_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_llm_redis_hello_no_script(ngx_llm_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_llm_redis_hello_scripts(ngx_llm_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_llm_redis_hello_memory(ngx_llm_redis_link_t *link,
    redisReply *reply);
static ngx_int_t ngx_llm_redis_hello_refused(ngx_llm_redis_link_t *link,
    ngx_str_t *code);


static const ngx_llm_redis_step_t  ngx_llm_redis_steps[] = {
    { ngx_llm_redis_hello_auth, ngx_llm_redis_hello_accepted,
      ngx_string("AUTH"), "AUTH was refused" },
    { ngx_llm_redis_hello_select, ngx_llm_redis_hello_accepted,
      ngx_string("SELECT"), "SELECT was refused" },
    { ngx_llm_redis_hello_cluster, ngx_llm_redis_hello_alone,
      ngx_string("CLUSTER"), "it is a cluster, which is not supported" },
    { ngx_llm_redis_hello_probe, ngx_llm_redis_hello_written,
      ngx_string("SET"), "it does not write" },
    { ngx_llm_redis_hello_evalsha, ngx_llm_redis_hello_no_script,
      ngx_string("EVALSHA"), "EVALSHA was refused" },
    { ngx_llm_redis_hello_eval, ngx_llm_redis_hello_scripts,
      ngx_string("EVAL"), "a command of the scripts was refused" },
    { ngx_llm_redis_hello_info, ngx_llm_redis_hello_memory,
      ngx_string("INFO"), "" },
    { ngx_llm_redis_hello_ping, ngx_llm_redis_hello_accepted,
      ngx_string("PING"), "PING was refused" },
    { NULL, NULL, ngx_null_string, NULL }
};


ngx_int_t
ngx_llm_redis_hello(ngx_llm_redis_link_t *link)
{
    link->step = 0;

    return ngx_llm_redis_hello_next(link);
}


/* sends the next command that is needed */

static ngx_int_t
ngx_llm_redis_hello_next(ngx_llm_redis_link_t *link)
{
    ngx_str_t                    words[NGX_LLM_REDIS_WORDS];
    ngx_uint_t                   n;
    const ngx_llm_redis_step_t  *step;

    for (step = &ngx_llm_redis_steps[link->step]; step->command; step++) {

        words[0] = step->name;
        n = step->command(link, words);

        if (n) {
            link->step = step - ngx_llm_redis_steps;

            if (ngx_llm_redis_wire_command(&link->wire, words, n, &link->log)
                != NGX_OK)
            {
                ngx_llm_redis_wire_failure(&link->failure, 0, "no memory",
                                           NULL);
                return NGX_ERROR;
            }

            return NGX_AGAIN;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_llm_redis_hello_reply(ngx_llm_redis_link_t *link, redisReply *reply)
{
    if (ngx_llm_redis_steps[link->step].check(link, reply) != NGX_OK) {
        return NGX_ERROR;
    }

    link->step++;

    return ngx_llm_redis_hello_next(link);
}


static ngx_uint_t
ngx_llm_redis_hello_auth(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (link->conf->password.len == 0) {
        return 0;
    }

    if (link->conf->user.len == 0) {
        words[1] = link->conf->password;
        return 2;
    }

    words[1] = link->conf->user;
    words[2] = link->conf->password;

    return 3;
}


static ngx_uint_t
ngx_llm_redis_hello_select(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (link->conf->db == 0) {
        return 0;
    }

    /* in the place of a reason, there is none yet */

    words[1].data = link->failure.text;
    words[1].len = ngx_sprintf(link->failure.text, "%i", link->conf->db)
                   - link->failure.text;
    return 2;
}


/* after MOVED and the like: a server on its own has no such command */

static ngx_uint_t
ngx_llm_redis_hello_cluster(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (!(link->doubt & NGX_LLM_REDIS_CLUSTER)) {
        return 0;
    }

    ngx_str_set(&words[1], "KEYSLOT");
    ngx_str_set(&words[2], "0");

    return 3;
}


/* after READONLY, OOM and the like, all of which a PING does not notice */

static ngx_uint_t
ngx_llm_redis_hello_probe(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (!(link->doubt & NGX_LLM_REDIS_WRITE)) {
        return 0;
    }

    words[1].data = link->failure.text;
    words[1].len = ngx_snprintf(link->failure.text, sizeof(link->failure.text),
                                "%Vprobe", &link->conf->prefix)
                   - link->failure.text;
    ngx_str_set(&words[2], "1");
    ngx_str_set(&words[3], "PX");
    ngx_str_set(&words[4], "1000");

    return 5;
}


/*
 * Checks the permissions of a user, and whether a Redis that has rejected a
 * script runs scripts again: a PING is answered all the same.  No script has
 * this digest, so that the reply to EVALSHA is NOSCRIPT.
 */

static ngx_uint_t
ngx_llm_redis_hello_evalsha(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (!(link->doubt & NGX_LLM_REDIS_SCRIPT)
        && (link->conf->user.len == 0 || link->permitted))
    {
        return 0;
    }

    ngx_str_set(&words[1], "0000000000000000000000000000000000000000");
    ngx_str_set(&words[2], "0");

    return 3;
}


static ngx_uint_t
ngx_llm_redis_hello_eval(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (!(link->doubt & NGX_LLM_REDIS_SCRIPT)
        && (link->conf->user.len == 0 || link->permitted))
    {
        return 0;
    }

    ngx_str_set(&words[1], ngx_llm_lua_probe);
    ngx_str_set(&words[2], "1");

    /* not the key of SET above, which is a string */

    words[3].data = link->failure.text;
    words[3].len = ngx_snprintf(link->failure.text, sizeof(link->failure.text),
                                "%Vprobe:h", &link->conf->prefix)
                   - link->failure.text;

    if (link->conf->evicts) {
        ngx_str_set(&words[4], "cache");

    } else {
        ngx_str_set(&words[4], "quota");
    }

    return 5;
}


/* one worker asks, once */

static ngx_uint_t
ngx_llm_redis_hello_info(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    if (ngx_worker || link->informed || link->conf->evicts) {
        return 0;
    }

    ngx_str_set(&words[1], "memory");

    return 2;
}


/* a server that takes longer than a call may is as good as none */

static ngx_uint_t
ngx_llm_redis_hello_ping(ngx_llm_redis_link_t *link, ngx_str_t *words)
{
    ngx_del_timer(&link->timer);
    ngx_add_timer(&link->timer,
                  ngx_max(link->conf->timeout, NGX_LLM_REDIS_PONG));

    return 1;
}


static ngx_int_t
ngx_llm_redis_hello_accepted(ngx_llm_redis_link_t *link, redisReply *reply)
{
    size_t     i;
    ngx_str_t  code;

    if (reply->type == REDIS_REPLY_STATUS) {
        return NGX_OK;
    }

    /* only the code is logged, because an error can quote the command */

    ngx_str_null(&code);

    if (reply->type == REDIS_REPLY_ERROR) {
        ngx_llm_redis_wire_code(reply, &code);

        for (i = 0; i < code.len && code.data[i] != ' '; i++) { /* void */ }

        code.len = i;
    }

    return ngx_llm_redis_hello_refused(link, &code);
}


static ngx_int_t
ngx_llm_redis_hello_alone(ngx_llm_redis_link_t *link, redisReply *reply)
{
    if (reply->type == REDIS_REPLY_INTEGER) {
        return ngx_llm_redis_hello_refused(link, NULL);
    }

    link->doubt &= ~NGX_LLM_REDIS_CLUSTER;

    return NGX_OK;
}


/* A user without permission for SET is not an error. */

static ngx_int_t
ngx_llm_redis_hello_written(ngx_llm_redis_link_t *link, redisReply *reply)
{
    ngx_str_t  code;

    if (reply->type == REDIS_REPLY_ERROR) {

        ngx_llm_redis_wire_code(reply, &code);

        if (ngx_llm_redis_wire_fault(&code)) {
            return ngx_llm_redis_hello_refused(link, &code);
        }
    }

    link->doubt &= ~NGX_LLM_REDIS_WRITE;

    return NGX_OK;
}


static ngx_int_t
ngx_llm_redis_hello_no_script(ngx_llm_redis_link_t *link, redisReply *reply)
{
    ngx_str_t  code;

    if (reply->type == REDIS_REPLY_ERROR) {

        ngx_llm_redis_wire_code(reply, &code);

        if (code.len != sizeof("NOSCRIPT") - 1
            || ngx_memcmp(code.data, "NOSCRIPT", code.len) != 0)
        {
            link->doubt |= NGX_LLM_REDIS_SCRIPT;
            return ngx_llm_redis_hello_refused(link, &code);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_redis_hello_scripts(ngx_llm_redis_link_t *link, redisReply *reply)
{
    ngx_str_t  text;

    if (reply->type == REDIS_REPLY_INTEGER) {
        link->doubt &= ~NGX_LLM_REDIS_SCRIPT;
        link->permitted = 1;
        return NGX_OK;
    }

    ngx_str_set(&text, "EVAL");

    if (reply->type == REDIS_REPLY_STRING) {
        text.data = (u_char *) reply->str;
        text.len = reply->len;
    }

    link->doubt |= NGX_LLM_REDIS_SCRIPT;

    return ngx_llm_redis_hello_refused(link, &text);
}


/* Warns of eviction, which loses quotas.  INFO may be forbidden. */

static ngx_int_t
ngx_llm_redis_hello_memory(ngx_llm_redis_link_t *link, redisReply *reply)
{
    u_char  *text;

    link->informed = 1;

    if (reply->type != REDIS_REPLY_STRING) {
        return NGX_OK;
    }

    text = (u_char *) reply->str;

    if (ngx_strnstr(text, "maxmemory_policy:", reply->len)
        && !ngx_strnstr(text, "maxmemory_policy:noeviction", reply->len)
        && !ngx_strnstr(text, "\nmaxmemory:0\r", reply->len))
    {
        ngx_log_error(NGX_LOG_WARN, &link->log, 0,
                      "redis evicts keys when its memory is full, and with "
                      "them what is used of quotas: its maxmemory-policy "
                      "should be noeviction");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_llm_redis_hello_refused(ngx_llm_redis_link_t *link, ngx_str_t *code)
{
    ngx_llm_redis_wire_failure(&link->failure, 0,
                               ngx_llm_redis_steps[link->step].refused, code);
    return NGX_ERROR;
}
