/*
 * The attempts of one pass through llm_pass, over one ngx_http_upstream_t.  An
 * outer balancer delegates each attempt to the upstream block of the chosen
 * provider, with the TLS context, name and request of that provider.  The
 * functions of the exchange create the request, read the response and decide
 * if a failure is followed by another attempt.
 */


#include <ngx_http_llm_attempt.h>


static ngx_int_t ngx_http_llm_upstream_create_request(ngx_http_request_t *r);
static ngx_int_t ngx_http_llm_upstream_get(ngx_peer_connection_t *pc,
    void *data);
static ngx_int_t ngx_http_llm_upstream_choose(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static ngx_int_t ngx_http_llm_upstream_delegate(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_llm_upstream_inner_init(ngx_http_request_t *r,
    ngx_http_llm_upstream_ctx_t *uc, ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_llm_upstream_inner_get(ngx_http_request_t *r,
    ngx_http_llm_upstream_ctx_t *uc, ngx_peer_connection_t *pc);
static void ngx_http_llm_upstream_real_status(ngx_http_request_t *r);
static void ngx_http_llm_upstream_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_uint_t ngx_http_llm_upstream_failure(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_peer_connection_t *pc, ngx_str_t *outcome);
static void ngx_http_llm_upstream_over(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx);
static void ngx_http_llm_upstream_raise(ngx_http_request_t *r);
static ngx_uint_t ngx_http_llm_upstream_go_on(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_uint_t failure);
static void ngx_http_llm_upstream_close_attempt(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_uint_t failure, ngx_str_t *outcome);
static void ngx_http_llm_upstream_notify(ngx_peer_connection_t *pc,
    void *data, ngx_uint_t type);
#if (NGX_SSL)
static ngx_int_t ngx_http_llm_upstream_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_llm_upstream_save_session(ngx_peer_connection_t *pc,
    void *data);
#endif
static ssize_t ngx_http_llm_upstream_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static void ngx_http_llm_upstream_abort(ngx_http_request_t *r);


ngx_int_t
ngx_http_llm_upstream_start(ngx_http_request_t *r,
    const ngx_http_llm_exchange_t *exchange)
{
    ngx_http_llm_ctx_t   *ctx;
    ngx_http_upstream_t  *u;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ngx_http_upstream_create(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->upstream.exchange = exchange;
    ctx->upstream.started = ngx_current_msec;
    ctx->upstream.chosen = 1;

    u = r->upstream;

    u->conf = &ctx->balance.target->provider->conf;
    u->output.tag = (ngx_buf_tag_t) &ngx_http_llm_module;
    u->buffering = 0;

    u->create_request = ngx_http_llm_upstream_create_request;
    u->reinit_request = exchange->reinit;
    u->process_header = exchange->process_header;
    u->abort_request = ngx_http_llm_upstream_abort;
    u->finalize_request = exchange->finalize;

    u->input_filter_init = exchange->input_filter_init;
    u->input_filter = exchange->input_filter;
    u->input_filter_ctx = r;

    r->main->count++;

    ngx_http_upstream_init(r);

    return NGX_DONE;
}


/* The request is created for each attempt, after its provider is chosen. */

static ngx_int_t
ngx_http_llm_upstream_create_request(ngx_http_request_t *r)
{
    r->upstream->request_bufs = NULL;

    return r->upstream->reinit_request(r);
}


ngx_int_t
ngx_http_llm_upstream_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_peer_connection_t  *pc;

    pc = &r->upstream->peer;

    pc->data = r;
    pc->get = ngx_http_llm_upstream_get;
    pc->free = ngx_http_llm_upstream_free;
    pc->tries = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_http_llm_upstream_get(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_request_t  *r = data;

    ngx_int_t                 rc;
    ngx_http_llm_ctx_t       *ctx;
    ngx_http_llm_provider_t  *provider;

    static ngx_str_t     busy = ngx_string("connect");
    static ngx_str_t     dns = ngx_string("dns");

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_llm_upstream_real_status(r);

    for ( ;; ) {

        if (ngx_http_llm_upstream_choose(r, ctx) != NGX_OK) {

            /* nginx repeats NGX_BUSY for ever if tries are left */

            pc->tries = 0;
            ngx_http_llm_upstream_over(r, ctx);

            return NGX_BUSY;
        }

        provider = ctx->upstream.target->provider;

        if (provider->uscf == provider->block
            && ngx_llm_resolve_check(provider->resolve) != NGX_OK)
        {
            ngx_http_llm_upstream_close_attempt(r, ctx,
                                                NGX_HTTP_LLM_NEXT_ERROR,
                                                &dns);
            continue;
        }

        rc = ngx_http_llm_upstream_delegate(r, ctx, pc);

        if (rc != NGX_BUSY) {
            return rc;
        }

        ngx_http_llm_upstream_close_attempt(r, ctx, NGX_HTTP_LLM_NEXT_ERROR,
                                            &busy);
    }
}


/* Chooses the target of the next attempt and adds the attempt's record. */

static ngx_int_t
ngx_http_llm_upstream_choose(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_http_llm_attempt_t       *attempt;
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_upstream_ctx_t  *uc;

    uc = &ctx->upstream;

    if (uc->again) {
        uc->again = 0;
        (void) uc->exchange->choose(r, 1);

    } else {
        llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

        if (!uc->chosen
            && (uc->tries >= llcf->next_tries
                || uc->exchange->choose(r, 0) != NGX_OK))
        {
            return NGX_DECLINED;
        }

        uc->chosen = 0;
        uc->target = ctx->balance.target;
        uc->fresh = 1;
        uc->stale = 0;
    }

    attempt = ngx_array_push(&ctx->charge->attempts);
    if (attempt == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(attempt, sizeof(ngx_http_llm_attempt_t));

    attempt->provider = uc->target->provider;
    attempt->target = uc->target;
    attempt->credential = ctx->balance.credential;
    attempt->model = uc->target->model;
    attempt->start = ngx_current_msec;
    attempt->pass = ctx->charge->passes;

    uc->tries++;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm upstream: attempt %i, provider \"%V\", model \"%V\", "
                   "pass %ui", uc->tries, &attempt->provider->name,
                   &attempt->model, attempt->pass);

    /* the state of the previous attempt is cleared */

    return uc->exchange->reinit(r);
}


/* Returns as peer.get: NGX_DONE is a cached connection, NGX_BUSY no peer. */

static ngx_int_t
ngx_http_llm_upstream_delegate(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_peer_connection_t *pc)
{
    ngx_int_t                     rc;
    ngx_http_upstream_t          *u;
    ngx_http_llm_provider_t      *provider;
    ngx_http_llm_upstream_ctx_t  *uc;

    u = r->upstream;
    uc = &ctx->upstream;
    provider = uc->target->provider;

    u->conf = &provider->conf;
    u->upstream = provider->uscf;
#if (NGX_HTTP_SSL)
    u->ssl = provider->ssl;
    u->ssl_name = provider->ssl_name;
#endif

    pc->cached = 0;
    pc->name = &provider->name;

    if (uc->fresh
        && ngx_http_llm_upstream_inner_init(r, uc, pc) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (uc->exchange->create(r) != NGX_OK) {
        return NGX_ERROR;
    }

    /* nginx reinits the request only if request_sent is set */

    if (ctx->charge->attempts.nelts > 1) {
        u->request_sent = 1;
    }

    rc = ngx_http_llm_upstream_inner_get(r, uc, pc);

    pc->tries = 1;

    if (rc == NGX_OK || rc == NGX_DONE) {
        uc->live = 1;
    }

    return rc;
}


static ngx_int_t
ngx_http_llm_upstream_inner_init(ngx_http_request_t *r,
    ngx_http_llm_upstream_ctx_t *uc, ngx_peer_connection_t *pc)
{
    ngx_int_t                      rc;
    ngx_http_upstream_srv_conf_t  *uscf;

    uscf = r->upstream->upstream;

    /* the round robin balancer reuses a pointer that it finds in data */

    pc->data = NULL;
    pc->get = NULL;
    pc->free = NULL;
    pc->notify = NULL;
#if (NGX_SSL)
    pc->set_session = NULL;
    pc->save_session = NULL;
#endif

    rc = uscf->peer.init(r, uscf);

    uc->data = pc->data;
    uc->get = pc->get;
    uc->free = pc->free;
    uc->notify = pc->notify;
    uc->inner_tries = pc->tries;
    uc->fresh = 0;

    pc->data = r;
    pc->get = ngx_http_llm_upstream_get;
    pc->free = ngx_http_llm_upstream_free;
    pc->notify = uc->notify ? ngx_http_llm_upstream_notify : NULL;

#if (NGX_SSL)
    uc->set_session = pc->set_session;
    uc->save_session = pc->save_session;
    pc->set_session = ngx_http_llm_upstream_set_session;
    pc->save_session = ngx_http_llm_upstream_save_session;
#endif

    return rc;
}


/*
 * If a cached connection was closed by the provider, other cached connections
 * are closed too, and the request is sent on a new connection.
 */

static ngx_int_t
ngx_http_llm_upstream_inner_get(ngx_http_request_t *r,
    ngx_http_llm_upstream_ctx_t *uc, ngx_peer_connection_t *pc)
{
    ngx_int_t          rc;
    ngx_connection_t  *c;

    for ( ;; ) {
        pc->tries = uc->inner_tries;
        rc = uc->get(pc, uc->data);
        uc->inner_tries = pc->tries;

        if (rc != NGX_DONE || !uc->stale) {
            return rc;
        }

        c = pc->connection;
        pc->connection = NULL;
        pc->cached = 0;

        uc->free(pc, uc->data, 0);

#if (NGX_HTTP_SSL)
        if (c->ssl) {
            c->ssl->no_wait_shutdown = 1;
            c->ssl->no_send_shutdown = 1;
            (void) ngx_ssl_shutdown(c);
        }
#endif

        ngx_destroy_pool(c->pool);
        ngx_close_connection(c);

        if (ngx_http_llm_upstream_inner_init(r, uc, pc) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


/* Sets $upstream_status of a rejected response, for which nginx has 502. */

static void
ngx_http_llm_upstream_real_status(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t         *ctx;
    ngx_http_upstream_state_t  *state;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if ((ctx->judge.failed || ctx->judge.keeping)
        && r->upstream_states->nelts > 1)
    {
        state = r->upstream_states->elts;
        state[r->upstream_states->nelts - 2].status =
                                                   ctx->response.status.code;
    }
}


static void
ngx_http_llm_upstream_free(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_request_t  *r = data;

    ngx_str_t                     outcome;
    ngx_uint_t                    failure, cached;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_upstream_ctx_t  *uc;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    uc = &ctx->upstream;

    if (!uc->live) {
        return;
    }

    uc->live = 0;

    cached = pc->cached;
    failure = 0;
    ngx_str_null(&outcome);

    if (state != 0) {
        failure = ngx_http_llm_upstream_failure(r, ctx, pc, &outcome);

        if (ctx->judge.failed) {
            /* the connection did not fail */
            state = NGX_PEER_NEXT;
        }
    }

    pc->tries = uc->inner_tries;
    uc->free(pc, uc->data, state);
    uc->inner_tries = pc->tries;

    /* otherwise ngx_http_upstream_next() adds a try */
    pc->cached = 0;

    if (failure == 0) {

        if (ctx->judge.substitute.data) {
            ngx_str_set(&outcome, "bad_answer");
        }

        ngx_http_llm_upstream_close_attempt(r, ctx, 0, &outcome);
        return;
    }

    if (cached && failure == NGX_HTTP_LLM_NEXT_ERROR
        && r->upstream->state->bytes_received == 0 && !uc->stale)
    {
        /* the provider closed the idle connection: this is no attempt */

        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "cached connection to llm_provider \"%V\" was closed, "
                      "a new one is used", &uc->target->provider->name);

        ctx->charge->attempts.nelts--;
        uc->tries--;
        uc->stale = 1;
        uc->again = 1;
        uc->fresh = 1;
        pc->tries = 1;
        return;
    }

    ngx_http_llm_upstream_close_attempt(r, ctx, failure, &outcome);

    pc->tries = ngx_http_llm_upstream_go_on(r, ctx, failure);

    if (pc->tries == 0) {
        ngx_http_llm_upstream_over(r, ctx);
    }
}


/*
 * No attempt is left, and ngx_http_upstream_next() is about to finalize the
 * request with 502 or 504.  Another status is raised from a posted request:
 * the cleanup handler finalizes the upstream now, and
 * ngx_http_upstream_finalize_request() only decrements the count after that.
 */

static void
ngx_http_llm_upstream_over(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx)
{
    ngx_uint_t            status;
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (u->cleanup == NULL || r->connection->error) {
        return;
    }

    status = ctx->upstream.exchange->over(r);

    if (status == 0 || ngx_http_post_request(r, NULL) != NGX_OK) {
        return;
    }

    ngx_log_debug1(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm upstream: no attempt is left, status %ui is raised",
                   status);

    ctx->upstream.raised = status;

    /* one for each of the two calls, the upstream's own is for the third */

    r->main->count += 2;

    (*u->cleanup)(r);

    r->write_event_handler = ngx_http_llm_upstream_raise;
}


static void
ngx_http_llm_upstream_raise(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ngx_http_finalize_request(r, ctx->upstream.raised);
}


/* Returns the class of a failure, and its name for $llm_attempts. */

static ngx_uint_t
ngx_http_llm_upstream_failure(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_peer_connection_t *pc, ngx_str_t *outcome)
{
    ngx_http_upstream_t  *u;

    u = r->upstream;

    if (ctx->judge.failed || ctx->judge.keeping) {

        if (ctx->judge.verdict & NGX_HTTP_LLM_NEXT_CONDITIONS) {
            *outcome = *ctx->judge.condition;

        } else if (ctx->judge.verdict == NGX_HTTP_LLM_NEXT_BAD_ANSWER) {
            ngx_str_set(outcome, "bad_answer");
        }

        return ctx->judge.verdict;
    }

    if (ctx->timeouts.timedout) {
        ngx_str_set(outcome, "timeout");
        return NGX_HTTP_LLM_NEXT_TIMEOUT;
    }

    if (ctx->response.parsed) {
        ngx_str_set(outcome, "bad_answer");
        return NGX_HTTP_LLM_NEXT_BAD_ANSWER;
    }

    if (u->state->connect_time != (ngx_msec_t) -1) {
        ngx_str_set(outcome, "reset");

#if (NGX_HTTP_SSL)
    } else if (pc->connection && pc->connection->ssl) {
        ngx_str_set(outcome, "tls");
#endif

    } else {
        ngx_str_set(outcome, "connect");
    }

    return NGX_HTTP_LLM_NEXT_ERROR;
}


ngx_uint_t
ngx_http_llm_upstream_more(ngx_http_request_t *r)
{
    ngx_msec_t                    limit;
    ngx_http_llm_ctx_t           *ctx;
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_upstream_ctx_t  *uc;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);
    uc = &ctx->upstream;
    limit = llcf->next_timeout;

    return !uc->committed && !ctx->ping.sent && !ctx->drain.active
           && !ctx->timeouts.expired && !ctx->stateful
           && uc->tries < llcf->next_tries
           && (limit == 0 || ngx_current_msec - uc->started < limit);
}


static ngx_uint_t
ngx_http_llm_upstream_go_on(ngx_http_request_t *r, ngx_http_llm_ctx_t *ctx,
    ngx_uint_t failure)
{
    ngx_http_llm_loc_conf_t      *llcf;
    ngx_http_llm_upstream_ctx_t  *uc;

    uc = &ctx->upstream;

    if (!uc->exchange->judge(r, failure)) {
        return 0;
    }

    if (uc->exchange->next(r, failure)) {
        return 1;
    }

    /* the block of the last target may have another server */

    llcf = ngx_http_get_module_loc_conf(r, ngx_http_llm_module);

    if (failure != NGX_HTTP_LLM_NEXT_ERROR || ctx->ping.sent
        || uc->inner_tries == 0
        || uc->tries >= llcf->next_tries || ctx->timeouts.expired)
    {
        return 0;
    }

    uc->again = 1;

    return 1;
}


static void
ngx_http_llm_upstream_close_attempt(ngx_http_request_t *r,
    ngx_http_llm_ctx_t *ctx, ngx_uint_t failure, ngx_str_t *outcome)
{
    ngx_http_llm_attempt_t  *attempt;

    attempt = ctx->charge->attempts.elts;
    attempt += ctx->charge->attempts.nelts - 1;

    ngx_log_debug4(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm upstream: attempt at \"%V\" ended, outcome \"%V\", "
                   "status %ui, failure 0x%04xi", &attempt->provider->name,
                   outcome, ctx->response.status.code, failure);

    attempt->time = ngx_current_msec - attempt->start;
    attempt->outcome = *outcome;
    attempt->failure = failure;

    if (ctx->response.parsed) {
        attempt->status = ctx->response.status.code;
    }

    if (outcome->len) {
        ngx_log_error(NGX_LOG_WARN, r->connection->log, 0,
                      "llm_provider \"%V\" failed: %V",
                      &attempt->provider->name, outcome);

    } else if (attempt->status >= NGX_HTTP_SPECIAL_RESPONSE) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                      "llm_provider \"%V\" answered %ui",
                      &attempt->provider->name, attempt->status);
    }

    ctx->upstream.exchange->ended(r, attempt);
}


static void
ngx_http_llm_upstream_notify(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t type)
{
    ngx_http_request_t  *r = data;

    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    ctx->upstream.notify(pc, ctx->upstream.data, type);
}


#if (NGX_SSL)

static ngx_int_t
ngx_http_llm_upstream_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_request_t  *r = data;

    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->upstream.set_session == NULL) {
        return NGX_OK;
    }

    return ctx->upstream.set_session(pc, ctx->upstream.data);
}


static void
ngx_http_llm_upstream_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_request_t  *r = data;

    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->upstream.save_session) {
        ctx->upstream.save_session(pc, ctx->upstream.data);
    }
}

#endif


/*
 * ngx_http_upstream_process_header() calls u->process_header() only after
 * c->recv() has returned a number of bytes, so that function returns one.
 */

void
ngx_http_llm_upstream_wake(ngx_http_request_t *r)
{
    ngx_connection_t    *c;
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);
    c = r->upstream->peer.connection;

    if (c == NULL || c->recv == ngx_http_llm_upstream_recv) {
        return;
    }

    ctx->upstream.recv = c->recv;
    c->recv = ngx_http_llm_upstream_recv;

    ngx_post_event(c->read, &ngx_posted_events);
}


static ssize_t
ngx_http_llm_upstream_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    ssize_t              n;
    ngx_http_request_t  *r;
    ngx_http_llm_ctx_t  *ctx;

    r = c->data;
    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    c->recv = ctx->upstream.recv;

    n = c->recv(c, buf, size);

    if (n != NGX_AGAIN) {
        return n;
    }

    *buf = LF;
    ctx->upstream.woken = 1;

    return 1;
}


void
ngx_http_llm_upstream_woken(ngx_http_request_t *r)
{
    ngx_http_llm_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_llm_module);

    if (ctx->upstream.woken) {
        ctx->upstream.woken = 0;
        r->upstream->buffer.last--;
        r->upstream->state->bytes_received--;
    }
}


static void
ngx_http_llm_upstream_abort(ngx_http_request_t *r)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, r->connection->log, 0,
                   "llm upstream abort");
}
