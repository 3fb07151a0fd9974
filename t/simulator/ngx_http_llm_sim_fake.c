
/*
 * A 200 that is no answer, as servers and the CDNs before them send it: the
 * body and the content type of each kind that "fake=NAME" chooses.
 */


#include "ngx_http_llm_sim.h"


static u_char *ngx_http_llm_sim_fake_write(ngx_http_llm_sim_ctx_t *ctx,
    u_char *p);


#define sim_json  "application/json"
#define sim_sse   "text/event-stream"


static const ngx_http_llm_sim_fake_t  ngx_http_llm_sim_fakes[] = {
    { ngx_string("html"), "text/html",
      "<html><body>502 Bad Gateway</body></html>" },
    { ngx_string("blank"), sim_json, " \n" },
    { ngx_string("null"), sim_json, "null" },
    { ngx_string("array"), sim_json, "[]" },
    { ngx_string("scalar"), sim_json, "42" },
    { ngx_string("empty"), sim_json, "{}" },
    { ngx_string("detail"), sim_json, "{\"detail\":\"Not Found\"}" },
    { ngx_string("code_msg"), sim_json,
      "{\"code\":1301,\"msg\":\"no balance\"}" },
    { ngx_string("object_error"), sim_json,
      "{\"object\":\"error\",\"message\":\"overloaded\",\"code\":503}" },
    { ngx_string("base_resp"), sim_json,
      "{\"base_resp\":{\"status_code\":1004,\"status_msg\":\"login fail\"}}" },
    { ngx_string("cut"), sim_json,
      "{\"id\":\"chatcmpl-1\",\"choices\":[{\"index\":0,\"message\":{" },
    { ngx_string("error"), sim_json,
      "{\"error\":{\"message\":\"overloaded\",\"code\":503}}" },
    { ngx_string("error_choices"), sim_json,
      "{\"choices\":[],\"error\":{\"message\":\"overloaded\",\"code\":503}}" },
    { ngx_string("no_choices"), sim_json,
      "{\"id\":\"chatcmpl-1\",\"choices\":[],\"data\":[],\"results\":[]}" },
    { ngx_string("choice_error"), sim_json,
      "{\"choices\":[{\"index\":0,\"finish_reason\":\"error\",\"error\":"
      "{\"message\":\"overloaded\",\"code\":503}}]}" },
    { ngx_string("failed"), sim_json,
      "{\"object\":\"response\",\"status\":\"failed\",\"output\":[],\"error\":"
      "{\"code\":\"server_error\",\"message\":\"overloaded\"}}" },
    { ngx_string("event_error"), sim_sse,
      "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n" },
    { ngx_string("event_done"), sim_sse, ": hello\n\ndata: [DONE]\n\n" },
    { ngx_string("event_role"), sim_sse,
      "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
      "\"content\":\"\"}}]}\n\n" },
    { ngx_string("event_failed"), sim_sse,
      "event: response.failed\ndata: {\"type\":\"response.failed\","
      "\"response\":{\"status\":\"failed\",\"error\":{\"code\":"
      "\"server_error\",\"message\":\"overloaded\"}}}\n\n" },
    { ngx_null_string, NULL, NULL }
};


static const ngx_http_llm_sim_step_t  ngx_http_llm_sim_fake_steps[] = {
    { ngx_http_llm_sim_fake_write, NGX_HTTP_LLM_SIM_ONCE, 0, 0 },
    { NULL, NGX_HTTP_LLM_SIM_ONCE, 0, 0 }
};


ngx_int_t
ngx_http_llm_sim_fake_find(ngx_http_llm_sim_ctx_t *ctx)
{
    ngx_str_t                      *name;
    const ngx_http_llm_sim_fake_t  *fake;

    name = &ctx->settings.fake;

    for (fake = ngx_http_llm_sim_fakes; fake->name.len; fake++) {

        if (fake->name.len == name->len
            && ngx_memcmp(fake->name.data, name->data, name->len) == 0)
        {
            ctx->fake = fake;
            ctx->steps = ngx_http_llm_sim_fake_steps;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static u_char *
ngx_http_llm_sim_fake_write(ngx_http_llm_sim_ctx_t *ctx, u_char *p)
{
    return ngx_cpymem(p, ctx->fake->body, ngx_strlen(ctx->fake->body));
}
