/*
 * llm_caller FILE [deliver]: the Lua of FILE is called in llm_redis, with
 * KEYS { k } and ARGV { number, a }, n times at once (query arguments).  The
 * answer is a line for each call, in order: its number, its end, its reply.
 */


#include <ngx_http_llm_caller.h>


#define NGX_HTTP_LLM_CALLER_MOST   4096
#define NGX_HTTP_LLM_CALLER_REPLY  256


typedef struct {
    ngx_llm_redis_script_t      *script;
    unsigned                     deliver:1;
} ngx_http_llm_caller_conf_t;


typedef struct ngx_http_llm_caller_ctx_s  ngx_http_llm_caller_ctx_t;

typedef struct {
    ngx_http_llm_caller_ctx_t   *ctx;
    ngx_llm_redis_call_t        *call;     /* NULL: it has ended */
    const char                  *end;
    ngx_str_t                    reply;
} ngx_http_llm_caller_one_t;

struct ngx_http_llm_caller_ctx_s {
    ngx_http_request_t          *request;
    ngx_uint_t                   n;
    ngx_uint_t                   left;
    ngx_http_llm_caller_one_t    ones[1];
};


static ngx_int_t ngx_http_llm_caller_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_caller_begin(ngx_http_request_t *r,
    ngx_http_llm_caller_one_t *one, ngx_uint_t i);
static void ngx_http_llm_caller_done(void *data, ngx_int_t rc,
    redisReply *reply);
static void ngx_http_llm_caller_keep(ngx_http_llm_caller_one_t *one,
    redisReply *reply);
static void ngx_http_llm_caller_cleanup(void *data);
static ngx_int_t ngx_http_llm_caller_send(ngx_http_llm_caller_ctx_t *ctx);
static void *ngx_http_llm_caller_create_conf(ngx_conf_t *cf);
static char *ngx_http_llm_caller(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_llm_caller_commands[] = {

    { ngx_string("llm_caller"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE12,
      ngx_http_llm_caller,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_llm_caller_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_llm_caller_create_conf,       /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_llm_caller_module = {
    NGX_MODULE_V1,
    &ngx_http_llm_caller_module_ctx,       /* module context */
    ngx_http_llm_caller_commands,          /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_llm_caller_handler(ngx_http_request_t *r)
{
    ngx_int_t                   n;
    ngx_str_t                   value;
    ngx_uint_t                  i;
    ngx_http_cleanup_t         *cln;
    ngx_http_llm_caller_ctx_t  *ctx;

    ngx_http_llm_caller_arg(r, "n", &value);

    n = value.len ? ngx_atoi(value.data, value.len) : 1;

    if (n < 1 || n > NGX_HTTP_LLM_CALLER_MOST) {
        return NGX_HTTP_BAD_REQUEST;
    }

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_caller_ctx_t)
                               + n * sizeof(ngx_http_llm_caller_one_t));
    cln = ngx_http_cleanup_add(r, 0);

    if (ctx == NULL || cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->n = n;

    cln->handler = ngx_http_llm_caller_cleanup;
    cln->data = ctx;

    for (i = 0; i < ctx->n; i++) {
        ctx->ones[i].ctx = ctx;

        if (ngx_http_llm_caller_begin(r, &ctx->ones[i], i) == NGX_AGAIN) {
            ctx->left++;
        }
    }

    if (ctx->left == 0) {
        return ngx_http_llm_caller_send(ctx);
    }

    r->read_event_handler = ngx_http_test_reading;
    r->main->count++;

    return NGX_DONE;
}


/* NGX_AGAIN: its end will be told */

static ngx_int_t
ngx_http_llm_caller_begin(ngx_http_request_t *r,
    ngx_http_llm_caller_one_t *one, ngx_uint_t i)
{
    u_char                      *p;
    ngx_int_t                    rc;
    ngx_str_t                    args[3];
    ngx_http_llm_main_conf_t    *lmcf;
    ngx_http_llm_caller_conf_t  *clcf;

    lmcf = ngx_http_get_module_main_conf(r, ngx_http_llm_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_caller_module);

    p = ngx_pnalloc(r->pool, NGX_INT_T_LEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_http_llm_caller_arg(r, "k", &args[0]);
    args[1].data = p;
    args[1].len = ngx_sprintf(p, "%ui", i) - p;
    ngx_http_llm_caller_arg(r, "a", &args[2]);

    if (clcf->deliver) {
        rc = ngx_llm_redis_deliver(lmcf->redis, clcf->script, 1, args, 3,
                                   NULL, NULL);
        one->end = (rc == NGX_OK) ? "taken" : "dropped";
        return NGX_OK;
    }

    one->call = ngx_llm_redis_call(lmcf->redis, clcf->script, 1, args, 3,
                                   ngx_http_llm_caller_done, one);
    if (one->call == NULL) {
        one->end = "down";
        return NGX_OK;
    }

    return NGX_AGAIN;
}


static void
ngx_http_llm_caller_done(void *data, ngx_int_t rc, redisReply *reply)
{
    ngx_http_llm_caller_one_t *one = data;

    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_http_llm_caller_ctx_t  *ctx;

    ctx = one->ctx;
    r = ctx->request;
    c = r->connection;

    one->call = NULL;
    one->end = (rc == NGX_OK) ? "ok"
               : (rc == NGX_DECLINED) ? "declined"
               : (rc == NGX_AGAIN) ? "late" : "lost";

    if (reply) {
        ngx_http_llm_caller_keep(one, reply);
    }

    if (--ctx->left) {
        return;
    }

    ngx_http_finalize_request(r, ngx_http_llm_caller_send(ctx));
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_llm_caller_keep(ngx_http_llm_caller_one_t *one, redisReply *reply)
{
    size_t   len;
    u_char  *p;

    p = ngx_pnalloc(one->ctx->request->pool, NGX_HTTP_LLM_CALLER_REPLY);
    if (p == NULL) {
        return;
    }

    one->reply.data = p;

    if (reply->type == REDIS_REPLY_INTEGER) {
        one->reply.len = ngx_sprintf(p, "%L", (int64_t) reply->integer) - p;

    } else if (reply->str) {
        len = ngx_min((size_t) reply->len, NGX_HTTP_LLM_CALLER_REPLY);
        one->reply.len = ngx_cpymem(p, reply->str, len) - p;
    }
}


static void
ngx_http_llm_caller_cleanup(void *data)
{
    ngx_http_llm_caller_ctx_t *ctx = data;

    ngx_uint_t  i;

    for (i = 0; i < ctx->n; i++) {
        if (ctx->ones[i].call) {
            ngx_llm_redis_detach(ctx->ones[i].call);
        }
    }
}


static ngx_int_t
ngx_http_llm_caller_send(ngx_http_llm_caller_ctx_t *ctx)
{
    u_char                    *p;
    size_t                     size;
    ngx_uint_t                 i;
    ngx_http_complex_value_t   cv;

    static ngx_str_t  type = ngx_string("text/plain");

    size = 0;

    for (i = 0; i < ctx->n; i++) {
        size += NGX_INT_T_LEN + sizeof(" declined \n") + ctx->ones[i].reply.len;
    }

    p = ngx_pnalloc(ctx->request->pool, size);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));
    cv.value.data = p;

    for (i = 0; i < ctx->n; i++) {
        p = ngx_sprintf(p, "%ui %s %V\n", i, ctx->ones[i].end,
                        &ctx->ones[i].reply);
    }

    cv.value.len = p - cv.value.data;

    return ngx_http_send_response(ctx->request, NGX_HTTP_OK, &type, &cv);
}


void
ngx_http_llm_caller_arg(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    u_char  *p, *last, *from, *to;

    value->len = 0;
    value->data = (u_char *) name;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), value) != NGX_OK) {
        value->len = 0;
        return;
    }

    from = value->data;
    last = from + value->len;

    p = ngx_pnalloc(r->pool, value->len + 1);
    if (p == NULL) {
        value->len = 0;
        return;
    }

    to = p;
    ngx_unescape_uri(&to, &from, last - from, 0);

    value->data = p;
    value->len = to - p;
}


static void *
ngx_http_llm_caller_create_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_caller_conf_t));
}


static char *
ngx_http_llm_caller(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_caller_conf_t *clcf = conf;

    ssize_t                    n;
    ngx_fd_t                   fd;
    ngx_str_t                 *value;
    ngx_http_core_loc_conf_t  *core;

    value = cf->args->elts;

    clcf->deliver = (cf->args->nelts == 3);
    clcf->script = ngx_pcalloc(cf->pool, sizeof(ngx_llm_redis_script_t));

    if (clcf->script == NULL) {
        return NGX_CONF_ERROR;
    }

    clcf->script->text.data = ngx_pnalloc(cf->pool, ngx_pagesize);
    fd = ngx_open_file(value[1].data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (clcf->script->text.data == NULL || fd == NGX_INVALID_FILE) {
        return "has no script";
    }

    n = ngx_read_fd(fd, clcf->script->text.data, ngx_pagesize);

    (void) ngx_close_file(fd);

    if (n <= 0) {
        return "has an empty script";
    }

    clcf->script->text.len = n;

    core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    core->handler = ngx_http_llm_caller_handler;

    return NGX_CONF_OK;
}
