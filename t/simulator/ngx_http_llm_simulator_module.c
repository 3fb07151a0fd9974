
/*
 * A fake OpenAI provider, for `make run` without a key and for benchmarks.
 * The directive, the request's body and the settings are here.  The body is
 * scanned while it arrives and never kept; the rest is in output and below.
 */


#include "ngx_http_llm_sim.h"


#define NGX_HTTP_LLM_SIM_READ  32768     /* of a body in a file, at a time */


typedef struct {
    uint32_t     sequence;          /* a worker's requests, for their ids */
} ngx_http_llm_sim_main_conf_t;


typedef struct {
    ngx_flag_t   enable;
} ngx_http_llm_sim_loc_conf_t;


static ngx_int_t ngx_http_llm_simulator_handler(ngx_http_request_t *r);
static void ngx_http_llm_simulator_id(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static void ngx_http_llm_simulator_read(ngx_http_request_t *r);
static void ngx_http_llm_simulator_consume(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_simulator_scan(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_simulator_scan_file(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx, ngx_buf_t *b);
static void ngx_http_llm_simulator_answer(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_int_t ngx_http_llm_simulator_settings(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx);
static ngx_table_elt_t *ngx_http_llm_simulator_header(ngx_http_request_t *r);

static void *ngx_http_llm_simulator_create_main_conf(ngx_conf_t *cf);
static void *ngx_http_llm_simulator_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_llm_simulator_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_llm_simulator(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_command_t  ngx_http_llm_simulator_commands[] = {

    { ngx_string("llm_simulator"),
      NGX_HTTP_LOC_CONF|NGX_HTTP_LIF_CONF|NGX_HTTP_LMT_CONF|NGX_CONF_NOARGS,
      ngx_http_llm_simulator,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_llm_simulator_module_ctx = {
    NULL,                                    /* preconfiguration */
    NULL,                                    /* postconfiguration */

    ngx_http_llm_simulator_create_main_conf, /* create main configuration */
    NULL,                                    /* init main configuration */

    NULL,                                    /* create server configuration */
    NULL,                                    /* merge server configuration */

    ngx_http_llm_simulator_create_loc_conf,  /* create location configuration */
    ngx_http_llm_simulator_merge_loc_conf    /* merge location configuration */
};


ngx_module_t  ngx_http_llm_simulator_module = {
    NGX_MODULE_V1,
    &ngx_http_llm_simulator_module_ctx,        /* module context */
    ngx_http_llm_simulator_commands,           /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    NULL,                                      /* init module */
    NULL,                                      /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    NULL,                                      /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_llm_simulator_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_http_llm_sim_ctx_t  *ctx;

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_llm_sim_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->request = r;
    ctx->created = ngx_time();

    ngx_http_llm_simulator_id(r, ctx);
    ngx_http_llm_sim_request_init(&ctx->facts, &ctx->settings);

    ngx_http_set_ctx(r, ctx, ngx_http_llm_simulator_module);

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r, ngx_http_llm_simulator_read);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


/* unique over workers, requests and restarts */

static void
ngx_http_llm_simulator_id(ngx_http_request_t *r, ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_http_llm_sim_main_conf_t  *smcf;

    smcf = ngx_http_get_module_main_conf(r, ngx_http_llm_simulator_module);

    (void) ngx_sprintf(ctx->id, "%08xD%08xD%08xD", (uint32_t) ctx->created,
                       (uint32_t) ngx_pid, ++smcf->sequence);
}


/* the post handler of the body, and the read event handler until its end */

static void
ngx_http_llm_simulator_read(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    ngx_http_llm_sim_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_simulator_module);

    if (!r->reading_body) {

        /* it was all there, maybe read by another module, maybe in a file */

        if (ngx_http_llm_simulator_scan(r, ctx) != NGX_OK) {
            ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        ngx_http_llm_simulator_answer(r, ctx);
        return;
    }

    for ( ;; ) {
        ngx_http_llm_simulator_consume(r, ctx);

        if (!r->reading_body) {
            break;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            ngx_http_finalize_request(r, rc);
            return;
        }

        if (rc == NGX_AGAIN && r->request_body->bufs == NULL) {
            r->read_event_handler = ngx_http_llm_simulator_read;
            return;
        }
    }

    r->read_event_handler = ngx_http_block_reading;

    ngx_http_llm_simulator_answer(r, ctx);
}


static void
ngx_http_llm_simulator_consume(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *ln;

    for (cl = r->request_body->bufs; cl; /* void */) {
        b = cl->buf;

        ngx_http_llm_sim_request_scan(&ctx->scan, &ctx->facts, b->pos,
                                      b->last);
        b->pos = b->last;

        ln = cl;
        cl = cl->next;
        ngx_free_chain(r->pool, ln);
    }

    r->request_body->bufs = NULL;
}


static ngx_int_t
ngx_http_llm_simulator_scan(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (r->request_body == NULL) {
        return NGX_OK;
    }

    for (cl = r->request_body->bufs; cl; cl = cl->next) {
        b = cl->buf;

        if (ngx_buf_in_memory(b)) {
            ngx_http_llm_sim_request_scan(&ctx->scan, &ctx->facts, b->pos,
                                          b->last);

        } else if (b->in_file
                   && ngx_http_llm_simulator_scan_file(r, ctx, b) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_simulator_scan_file(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx, ngx_buf_t *b)
{
    off_t     pos;
    size_t    size;
    u_char   *p;
    ssize_t   n;

    p = ngx_palloc(r->pool, NGX_HTTP_LLM_SIM_READ);
    if (p == NULL) {
        return NGX_ERROR;
    }

    for (pos = b->file_pos; pos < b->file_last; pos += n) {
        size = (size_t) ngx_min(b->file_last - pos, NGX_HTTP_LLM_SIM_READ);

        n = ngx_read_file(b->file, p, size, pos);

        if (n <= 0) {
            return NGX_ERROR;
        }

        ngx_http_llm_sim_request_scan(&ctx->scan, &ctx->facts, p, p + n);
    }

    ngx_pfree(r->pool, p);

    return NGX_OK;
}


static void
ngx_http_llm_simulator_answer(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_int_t                     rc;
    ngx_str_t                     model;
    const ngx_http_llm_sim_op_t  *op;

    rc = NGX_OK;
    ngx_str_null(&model);

    op = ngx_http_llm_sim_answer_find(&r->uri, &model);

    ctx->op = op;

    if (op == NULL) {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_NOT_FOUND,
                                      "The simulator has no such operation.",
                                      "null", "\"unknown_url\"");

    } else if (r->method != op->method
               && !(r->method == NGX_HTTP_HEAD && op->method == NGX_HTTP_GET))
    {
        ngx_http_llm_sim_answer_error(ctx, NGX_HTTP_NOT_ALLOWED,
                                      "The operation has another method.",
                                      "null", "\"method_not_supported\"");

    } else {

        if (op->method == NGX_HTTP_GET) {
            /* the path names it, never a body */
            ctx->facts.model = model;
            ctx->facts.bad_model = 0;
        }

        rc = ngx_http_llm_simulator_settings(r, ctx);
    }

    if (rc != NGX_OK || ngx_http_llm_sim_answer_prepare(ctx) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm simulator answers \"%V\" with %ui tokens, stream:%ui, "
                   "status:%ui",
                   &ctx->model, ctx->tokens, (ngx_uint_t) ctx->stream,
                   ctx->settings.status);

    ngx_http_llm_sim_output_start(r, ctx);
}


/* of the model's name, and then those of the header over them */

static ngx_int_t
ngx_http_llm_simulator_settings(ngx_http_request_t *r,
    ngx_http_llm_sim_ctx_t *ctx)
{
    u_char           *p;
    ngx_int_t         rc;
    ngx_str_t         text;
    ngx_table_elt_t  *h;

    rc = NGX_OK;
    text = ctx->facts.model;

    if (text.len >= 4 && ngx_memcmp(text.data, "sim:", 4) == 0) {
        text.data += 4;
        text.len -= 4;

        rc = ngx_http_llm_sim_request_settings(&ctx->settings, &text);
    }

    h = ngx_http_llm_simulator_header(r);

    if (rc == NGX_OK && h) {
        text = h->value;
        rc = ngx_http_llm_sim_request_settings(&ctx->settings, &text);
    }

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "client sent bad simulator setting \"%V\"", &text);

    /* it is the error asked for, without the delay that may have been */

    p = ngx_pnalloc(r->pool, sizeof("Bad simulator setting: ") + text.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ctx->settings, sizeof(ngx_http_llm_sim_settings_t));

    ctx->settings.status = NGX_HTTP_BAD_REQUEST;
    ctx->settings.error.data = p;
    ctx->settings.error.len = ngx_sprintf(p, "Bad simulator setting: %V",
                                          &text)
                              - p;

    return NGX_OK;
}


static ngx_table_elt_t *
ngx_http_llm_simulator_header(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;

    for ( /* void */ ; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {

            if (h[i].key.len == sizeof("x-simulate") - 1
                && ngx_memcmp(h[i].lowcase_key, "x-simulate",
                              sizeof("x-simulate") - 1)
                   == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


static void *
ngx_http_llm_simulator_create_main_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_sim_main_conf_t));
}


static void *
ngx_http_llm_simulator_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_llm_sim_loc_conf_t  *slcf;

    slcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_llm_sim_loc_conf_t));
    if (slcf == NULL) {
        return NULL;
    }

    slcf->enable = NGX_CONF_UNSET;

    return slcf;
}


static char *
ngx_http_llm_simulator_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_llm_sim_loc_conf_t *prev = parent;
    ngx_http_llm_sim_loc_conf_t *conf = child;

    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    /* "if" and "limit_except" blocks go on with their location's handler */

    if (conf->enable == NGX_CONF_UNSET) {
        conf->enable = (clcf->noname && prev->enable == 1);
    }

    if (clcf->lmt_excpt && clcf->handler == NULL && conf->enable) {
        clcf->handler = ngx_http_llm_simulator_handler;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_llm_simulator(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_llm_sim_loc_conf_t *slcf = conf;

    ngx_http_core_loc_conf_t  *clcf;

    if (slcf->enable != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    slcf->enable = 1;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_llm_simulator_handler;

    return NGX_CONF_OK;
}
