/*
 * How one of several targets is chosen: the balance directive, a const struct
 * each.  Whether a target may be asked at all is not decided here.
 */


#include <ngx_http_llm.h>


static ngx_uint_t ngx_http_llm_policy_round_robin(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set);


const ngx_http_llm_policy_t  ngx_http_llm_policies[] = {
    { ngx_string("round_robin"), 0, ngx_http_llm_policy_round_robin },
    { ngx_null_string, 0, NULL }
};


/* smooth, as nginx's: what a target has not got adds up until it is the most */

static ngx_uint_t
ngx_http_llm_policy_round_robin(ngx_http_request_t *r,
    ngx_http_llm_model_t *model, uint64_t set)
{
    ngx_int_t               total;
    ngx_uint_t              i, best;
    ngx_http_llm_target_t  *target;

    target = model->targets.elts;
    total = 0;
    best = NGX_HTTP_LLM_TARGETS;

    for ( /* void */ ; set; set &= set - 1) {
        i = __builtin_ctzll(set);

        target[i].current += target[i].weight;
        total += target[i].weight;

        if (best == NGX_HTTP_LLM_TARGETS
            || target[i].current > target[best].current)
        {
            best = i;
        }
    }

    target[best].current -= total;

    return best;
}
