/*
 * shape.c: an answer in its other form has lost nothing, or is refused
 * (REQ-30).  In the texts here ' is written for ".  What is read are copies of
 * their exact size, so that the sanitizer sees a byte too many.
 */

#include <ngx_llm_shape.h>
#include <ngx_llm_lexer.h>

#include <stdlib.h>

#include "tap.h"


#define ROUNDS    20000
#define SIZE      (256 * 1024)
#define MOST      3                  /* pieces of a random text */


typedef struct {
    size_t        len;
    char          text[SIZE];
} text_t;


typedef struct {
    const char   *claim;
    ngx_uint_t    kind;
    const char   *sse;
    const char   *json;              /* NULL: refused */
} fold_t;


typedef struct {
    const char   *claim;
    ngx_uint_t    kind;
    ngx_uint_t    usage;
    const char   *json;
} refused_t;


typedef struct {                     /* a text of a random answer */
    int           n;
    char          piece[MOST][64];
} words_t;


static void folds(void);
static void unrolls(void);
static void refusals(void);
static void stream(void);
static void pieces(void);
static void line_ends(void);
static void truncations(void);
static void limits(void);
static void random_answers(void);
static int round_trip(ngx_uint_t kind, const text_t *sse, const text_t *json,
    ngx_uint_t usage);
static void make(uint64_t *seed, text_t *sse, text_t *json,
    ngx_uint_t usage);
static void make_choice(uint64_t *seed, int index, text_t *deltas,
    int *n, text_t *json);
static void make_words(uint64_t *seed, words_t *words);
static void add_words(text_t *text, const words_t *words);
static ngx_int_t to_document(ngx_uint_t kind, const text_t *in, text_t *out);
static ngx_int_t to_stream(ngx_uint_t kind, const text_t *in, ngx_uint_t usage,
    text_t *out);
static void put(void *data, const u_char *p, size_t len);
static int is_json(const text_t *text);
static void set(text_t *text, const char *from);
static void add(text_t *text, const char *from);
static int same(const text_t *a, const text_t *b);
static void show(const char *name, const text_t *text);
static uint64_t next(uint64_t *seed);


#define CHAT  NGX_LLM_SHAPE_CHAT
#define TEXT  NGX_LLM_SHAPE_COMPLETIONS
#define RESP  NGX_LLM_SHAPE_RESPONSES

#define HEAD  "'id':'c','created':1,'model':'m'"
#define CHUNK "data: {'object':'chat.completion.chunk'," HEAD
#define NO    ",'logprobs':null,'finish_reason':null"
#define END   "data: [DONE]\n\n"

/* a chunk of choice i, its delta, its finish */
#define C(i, delta)                                                           \
    CHUNK ",'choices':[{'index':" #i ",'delta':{" delta "}" NO "}]}\n\n"
#define F(i, reason)                                                          \
    CHUNK ",'choices':[{'index':" #i ",'delta':{},'logprobs':null,"           \
    "'finish_reason':'" reason "'}]}\n\n"

#define U(usage)  CHUNK ",'choices':[],'usage':" usage "}\n\n"

/* a whole chunk with other members; a choice that is written out */
#define X(more)   CHUNK ",'choices':[]," more "}\n\n"
#define W(choice) CHUNK ",'choices':[{" choice "}]}\n\n"

#define ANSWER(choices)                                                       \
    "{'object':'chat.completion'," HEAD ",'choices':[" choices "]}"
#define M(i, message, reason)                                                 \
    "{'index':" #i ",'message':{'role':'assistant'," message "},"             \
    "'logprobs':null,'finish_reason':'" reason "'}"

#define TC    "data: {'object':'text_completion'," HEAD ",'choices':["
#define TA    "{'object':'text_completion'," HEAD ",'choices':["

#define ROLE  "'role':'assistant','content':''"
#define STOP  F(0, "stop") END
#define HI    ANSWER(M(0, "'content':'hi','refusal':null", "stop"))


static const fold_t  cases[] = {

    { "a text", CHAT,
      C(0, ROLE) C(0, "'content':'Hel'") C(0, "'content':'lo'") STOP,
      ANSWER(M(0, "'content':'Hello','refusal':null", "stop")) },

    { "a text of no bytes", CHAT,
      C(0, ROLE) STOP,
      ANSWER(M(0, "'content':'','refusal':null", "stop")) },

    { "no text at all", CHAT,
      C(0, "'role':'assistant'") STOP,
      ANSWER(M(0, "'content':null,'refusal':null", "stop")) },

    { "Chinese and Japanese, spelled in both ways", CHAT,
      C(0, ROLE) C(0, "'content':'你好'") C(0, "'content':'\\u4e16界。'") STOP,
      ANSWER(M(0, "'content':'你好\\u4e16界。','refusal':null", "stop")) },

    { "an emoji whose two halves come in two pieces is one character", CHAT,
      C(0, "'content':'a🚀\\ud83d'") C(0, "'content':'\\uDE00\\n'") STOP,
      ANSWER(M(0, "'content':'a🚀\\ud83d\\uDE00\\n','refusal':null",
               "stop")) },

    { "two calls of tools, one after the other", CHAT,
      C(0, "'role':'assistant','content':null")
      C(0, "'tool_calls':[{'index':0,'id':'a','type':'function',"
           "'function':{'name':'f','arguments':''}}]")
      C(0, "'tool_calls':[{'index':0,'function':{'arguments':'{\\'x\\':'}}]")
      C(0, "'tool_calls':[{'index':0,'function':{'arguments':'1}'}}]")
      C(0, "'tool_calls':[{'index':1,'id':'b','type':'function',"
           "'function':{'name':'g','arguments':''}}]")
      C(0, "'tool_calls':[{'index':1,'function':{'arguments':'{}'}}]")
      F(0, "tool_calls") END,
      ANSWER(M(0, "'content':null,'refusal':null,'tool_calls':["
                  "{'id':'a','type':'function','function':{'name':'f',"
                  "'arguments':'{\\'x\\':1}'}},"
                  "{'id':'b','type':'function','function':{'name':'g',"
                  "'arguments':'{}'}}]", "tool_calls")) },

    { "calls that are whole may do without an index", CHAT,
      C(0, "'tool_calls':[{'id':'','function':{'name':'f','arguments':'{}'}},"
           "{'id':'','function':{'name':'g','arguments':'{}'}}]")
      F(0, "tool_calls") END,
      ANSWER(M(0, "'content':null,'refusal':null,'tool_calls':["
                  "{'id':'','type':'function','function':{'name':'f',"
                  "'arguments':'{}'}},"
                  "{'id':'','type':'function','function':{'name':'g',"
                  "'arguments':'{}'}}]", "tool_calls")) },

    { "a call whose later pieces repeat the id, or leave it empty", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'a','type':'function',"
           "'function':{'name':'f','arguments':''}}]")
      C(0, "'tool_calls':[{'index':0,'id':'a','type':'function',"
           "'function':{'name':null,'arguments':'{'}}]")
      C(0, "'tool_calls':[{'index':0,'id':'',"
           "'function':{'name':'','arguments':'}'}}]")
      F(0, "tool_calls") END,
      ANSWER(M(0, "'content':null,'refusal':null,'tool_calls':["
                  "{'id':'a','type':'function','function':{'name':'f',"
                  "'arguments':'{}'}}]", "tool_calls")) },

    { "a function_call", CHAT,
      C(0, "'role':'assistant','content':null,"
           "'function_call':{'name':'f','arguments':''}")
      C(0, "'function_call':{'arguments':'{\\'x\\''}")
      C(0, "'function_call':{'arguments':':1}'}")
      F(0, "function_call") END,
      ANSWER(M(0, "'content':null,'refusal':null,'function_call':"
                  "{'name':'f','arguments':'{\\'x\\':1}'}",
               "function_call")) },

    { "choices that take turns", CHAT,
      C(1, ROLE) C(0, ROLE) C(1, "'content':'b'") C(0, "'content':'a'")
      C(2, "'content':'c'") F(1, "length") C(0, "'content':'A'")
      F(2, "stop") STOP,
      ANSWER(M(0, "'content':'aA','refusal':null", "stop") ","
             M(1, "'content':'b','refusal':null", "length") ","
             M(2, "'content':'c','refusal':null", "stop")) },

    { "choices in one chunk", CHAT,
      W("'index':0,'delta':{'content':'a'},'finish_reason':'stop'},"
        "{'index':1,'delta':{'content':'b'},'finish_reason':'stop'") END,
      ANSWER(M(0, "'content':'a','refusal':null", "stop") ","
             M(1, "'content':'b','refusal':null", "stop")) },

    { "reasoning under both names", CHAT,
      C(0, "'role':'assistant','content':null,'reasoning_content':'thi'")
      C(0, "'reasoning_content':'nk','reasoning':'th'")
      C(0, "'content':'so','reasoning_content':null,'reasoning':'ink'") STOP,
      ANSWER(M(0, "'content':'so','refusal':null,"
                  "'reasoning_content':'think','reasoning':'think'",
               "stop")) },

    { "nulls that were always null", CHAT,
      C(0, "'role':'assistant','content':'hi','reasoning_content':null,"
           "'tool_calls':null,'audio':null")
      C(0, "'audio':null") STOP,
      ANSWER(M(0, "'content':'hi','refusal':null,'reasoning_content':null,"
                  "'tool_calls':null,'audio':null", "stop")) },

    { "empty lists", CHAT,
      C(0, "'content':'hi','tool_calls':[],'annotations':[]") STOP,
      ANSWER(M(0, "'content':'hi','refusal':null,'tool_calls':[],"
                  "'annotations':[]", "stop")) },

    { "a refusal", CHAT,
      C(0, "'role':'assistant','content':null,'refusal':''")
      C(0, "'refusal':'I '") C(0, "'refusal':'can\\u2019t'") STOP,
      ANSWER(M(0, "'content':null,'refusal':'I can\\u2019t'", "stop")) },

    { "annotations", CHAT,
      C(0, "'content':'hi','annotations':[{'a':[1]}]")
      C(0, "'annotations':[ ]") C(0, "'annotations':[{'b':2},{'c':3}]") STOP,
      ANSWER(M(0, "'content':'hi','refusal':null,'annotations':"
                  "[{'a':[1]},{'b':2},{'c':3}]", "stop")) },

    { "logprobs", CHAT,
      W("'index':0,'delta':{'content':'a'},'logprobs':{'content':"
        "[{'token':'a','logprob':-0.5,'bytes':[97],'top_logprobs':[]}],"
        "'refusal':null},'finish_reason':null")
      W("'index':0,'delta':{'content':'bc'},'logprobs':{'content':"
        "[{'token':'b'},{'token':'c'}],'refusal':null},"
        "'finish_reason':null") STOP,
      ANSWER("{'index':0,'message':{'role':'assistant','content':'abc',"
             "'refusal':null},'logprobs':{'content':[{'token':'a',"
             "'logprob':-0.5,'bytes':[97],'top_logprobs':[]},{'token':'b'},"
             "{'token':'c'}],'refusal':null},'finish_reason':'stop'}") },

    { "usage in a chunk of its own", CHAT,
      CHUNK ",'choices':[{'index':0,'delta':{'content':'hi'}" NO "}],"
      "'usage':null}\n\n" F(0, "stop") U("{'total_tokens':3}") END,
      "{'object':'chat.completion'," HEAD ",'choices':["
      M(0, "'content':'hi','refusal':null", "stop")
      "],'usage':{'total_tokens':3}}" },

    { "usage that grows, the last one counts", CHAT,
      U("{'total_tokens':2}") C(0, "'content':'hi'") F(0, "stop")
      U("{'total_tokens':3}") X("'usage':null") END,
      "{'object':'chat.completion'," HEAD ",'choices':["
      M(0, "'content':'hi','refusal':null", "stop")
      "],'usage':{'total_tokens':3}}" },

    { "fingerprint and tier, the last that is not null", CHAT,
      X("'system_fingerprint':null,'service_tier':'auto'")
      X("'system_fingerprint':'fp','service_tier':'default'")
      C(0, "'content':'hi'")
      X("'system_fingerprint':null,'service_tier':null") STOP,
      "{'object':'chat.completion'," HEAD ",'system_fingerprint':'fp',"
      "'service_tier':'default','choices':["
      M(0, "'content':'hi','refusal':null", "stop") "]}" },

    { "other members that are always the same, whole reasons", CHAT,
      X("'provider':'p','citations':['x']")
      W("'index':0,'delta':{'content':'hi'},'finish_reason':null,"
        "'native_finish_reason':null,'stop_reason':null")
      W("'index':0,'delta':{},'finish_reason':'stop',"
        "'native_finish_reason':'end','stop_reason':null")
      X("'provider':'p'") END,
      "{'object':'chat.completion'," HEAD ",'choices':["
      "{'index':0,'message':{'role':'assistant','content':'hi',"
      "'refusal':null},'logprobs':null,'finish_reason':'stop',"
      "'stop_reason':null,'native_finish_reason':'end'}],"
      "'provider':'p','citations':['x']}" },

    { "padding is no part of the answer", CHAT,
      X("'obfuscation':'xyz'") C(0, "'content':'hi','obfuscation':'q'") STOP,
      HI },

    { "comments, ids and a mark at the start", CHAT,
      "\xef\xbb\xbf: ping\n\nid: 1\n" C(0, "'content':'h'") ": ping\n\n"
      C(0, "'content':'i'") ": ping\n" F(0, "stop") ": a\n\n" END
      ": b\n\n", HI },

    { "completions", TEXT,
      TC "{'text':'a','index':0" NO "}]}\n\n"
      TC "{'text':'b\\n','index':0" NO "}]}\n\n"
      TC "{'text':'','index':0,'logprobs':null,'finish_reason':'stop'}],"
      "'usage':{'total_tokens':3}}\n\n" END,
      TA "{'index':0,'text':'ab\\n','logprobs':null,'finish_reason':'stop'}],"
      "'usage':{'total_tokens':3}}" },

    { "completions with logprobs", TEXT,
      TC "{'text':'a','index':0,'logprobs':{'tokens':['a'],"
      "'token_logprobs':[-1],'top_logprobs':[{'a':-1}],'text_offset':[0]},"
      "'finish_reason':null}]}\n\n"
      TC "{'text':'b','index':0,'logprobs':{'tokens':['b'],"
      "'token_logprobs':[-2],'top_logprobs':[{'b':-2}],'text_offset':[1]},"
      "'finish_reason':'stop'}]}\n\n" END,
      TA "{'index':0,'text':'ab','logprobs':{'tokens':['a','b'],"
      "'token_logprobs':[-1,-2],'top_logprobs':[{'a':-1},{'b':-2}],"
      "'text_offset':[0,1]},'finish_reason':'stop'}]}" },

    { "responses", RESP,
      "event: response.created\n"
      "data: {'type':'response.created','response':{'id':'r'}}\n\n"
      "event: response.function_call_arguments.delta\n"
      "data: {'type':'response.function_call_arguments.delta'}\n\n"
      "event: response.completed\n"
      "data: {'type':'response.completed','response':{'id':'r','x':1}}\n\n",
      "{'id':'r','x':1}" },

    { "responses that end in [DONE], without names", RESP,
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n" END,
      "{'id':'r'}" },

    /* refused */

    { "no bytes", CHAT, "", NULL },
    { "nothing but comments", CHAT, ": ping\n\n", NULL },
    { "nothing but [DONE]", CHAT, END, NULL },
    { "no choice", CHAT, U("{}") END, NULL },
    { "no finish_reason", CHAT, C(0, "'content':'hi'") END, NULL },
    { "an empty finish_reason", CHAT, C(0, "") F(0, "") END, NULL },
    { "a choice without finish_reason", CHAT,
      C(1, "'content':'hi'") STOP, NULL },
    { "two finish_reasons", CHAT, F(0, "length") STOP, NULL },
    { "a choice is missing", CHAT, F(0, "stop") F(2, "stop") END, NULL },
    { "a choice beyond the limit", CHAT, F(100, "stop") END, NULL },
    { "a choice of a negative index", CHAT, F(-1, "stop") END, NULL },
    { "no [DONE]", CHAT, C(0, "'content':'hi'") F(0, "stop"), NULL },
    { "two [DONE]", CHAT, STOP END, NULL },
    { "something behind [DONE]", CHAT, STOP C(0, "'content':'x'"), NULL },
    { "half a line behind [DONE]", CHAT, STOP "da", NULL },
    { "[DONE] in two lines", CHAT, F(0, "stop") "data: [DONE\ndata: ]\n\n",
      NULL },
    { "an error event", CHAT, C(0, "'content':'hi'")
      "data: {'error':{'message':'x'}}\n\n" STOP, NULL },
    { "an error beside a chunk", CHAT, X("'error':{'code':1}") STOP, NULL },
    { "an event with a name", CHAT, "event: error\n" STOP, NULL },
    { "an event without data", CHAT, "id: 1\n\n" STOP, NULL },
    { "an event of no bytes", CHAT, "data:\n\n" STOP, NULL },
    { "a chunk in two lines", CHAT,
      "data: {'object':'chat.completion.chunk'," HEAD ",\n"
      "data: 'choices':[]}\n\n" STOP, NULL },
    { "a line before a chunk", CHAT, "data: x\n" STOP, NULL },
    { "another object", CHAT,
      "data: {'object':'chat.completion'," HEAD ",'choices':[]}\n\n" STOP,
      NULL },
    { "no object", CHAT, "data: {" HEAD ",'choices':[]}\n\n" STOP, NULL },
    { "no choices", CHAT, CHUNK "}\n\n" STOP, NULL },
    { "two ids", CHAT,
      "data: {'id':'other','object':'chat.completion.chunk','created':1,"
      "'model':'m','choices':[]}\n\n" STOP, NULL },
    { "two models", CHAT,
      "data: {'id':'c','object':'chat.completion.chunk','created':1,"
      "'model':'n','choices':[]}\n\n" STOP, NULL },
    { "a member twice", CHAT,
      C(0, "'content':'a','content':'b'") STOP, NULL },
    { "an unknown member twice", CHAT, X("'a':null,'a':null") STOP, NULL },
    { "a name with escapes", CHAT, X("'us\\u0061ge':null") STOP, NULL },
    { "another member that changes", CHAT,
      X("'provider':'p'") X("'provider':'q'") STOP, NULL },
    { "an unknown member of a delta", CHAT,
      C(0, "'content':'x','reasoning_details':[]") STOP, NULL },
    { "audio", CHAT, C(0, "'audio':{'data':'AAA'}") STOP, NULL },
    { "an unknown member of a choice", CHAT,
      W("'index':0,'delta':{},'content_filter_results':{},"
        "'finish_reason':'stop'") END, NULL },
    { "a content of parts", CHAT,
      C(0, "'content':[{'type':'text'}]") STOP, NULL },
    { "two roles", CHAT, C(0, "'role':'a'") C(0, "'role':'b'") STOP, NULL },
    { "a delta that is null", CHAT,
      W("'index':0,'delta':null,'finish_reason':null") STOP, NULL },
    { "a message", CHAT,
      W("'index':0,'message':{},'finish_reason':'stop'") END, NULL },
    { "calls that take turns", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'a','function':"
           "{'name':'f','arguments':'{'}}]")
      C(0, "'tool_calls':[{'index':1,'id':'b','function':"
           "{'name':'g','arguments':'{}'}}]")
      C(0, "'tool_calls':[{'index':0,'function':{'arguments':'}'}}]") STOP,
      NULL },
    { "a call is missing", CHAT,
      C(0, "'tool_calls':[{'index':1,'id':'b','function':"
           "{'name':'g','arguments':'{}'}}]") STOP, NULL },
    { "pieces of a call without an index", CHAT,
      C(0, "'tool_calls':[{'id':'b','function':"
           "{'name':'g','arguments':'{'}}]")
      C(0, "'tool_calls':[{'function':{'arguments':'}'}}]") STOP, NULL },
    { "a call with an index, then one without", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'b','function':"
           "{'name':'g','arguments':'{}'}}]")
      C(0, "'tool_calls':[{'id':'c','function':"
           "{'name':'g','arguments':'{}'}}]") STOP, NULL },
    { "a call without a name", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'b','function':"
           "{'arguments':'{}'}}]") STOP, NULL },
    { "a call that says its name twice", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'b','function':"
           "{'name':'g','arguments':''}}]")
      C(0, "'tool_calls':[{'index':0,'function':"
           "{'name':'g','arguments':'{}'}}]") STOP, NULL },
    { "a call without arguments", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'b','function':{'name':'g'}}]")
      STOP, NULL },
    { "a call of two ids", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'a','function':"
           "{'name':'f','arguments':''}}]")
      C(0, "'tool_calls':[{'index':0,'id':'b','function':"
           "{'arguments':'{}'}}]") STOP, NULL },
    { "a call that says its id too late", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'','function':"
           "{'name':'f','arguments':''}}]")
      C(0, "'tool_calls':[{'index':0,'id':'b','function':"
           "{'arguments':'{}'}}]") STOP, NULL },
    { "a call of another type", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'a','type':'custom','function':"
           "{'name':'f','arguments':''}}]") STOP, NULL },
    { "a call with something else", CHAT,
      C(0, "'tool_calls':[{'index':0,'id':'a','extra_content':{},'function':"
           "{'name':'f','arguments':''}}]") STOP, NULL },
    { "a function_call that says its name twice", CHAT,
      C(0, "'function_call':{'name':'f','arguments':''}")
      C(0, "'function_call':{'name':'f','arguments':''}") STOP, NULL },
    { "an unknown member of logprobs", CHAT,
      W("'index':0,'delta':{},'logprobs':{'tokens':[]},"
        "'finish_reason':'stop'") END, NULL },
    { "logprobs of completions that lack some", TEXT,
      TC "{'text':'a','index':0,'logprobs':{'tokens':['a'],"
      "'top_logprobs':null},'finish_reason':null}]}\n\n"
      TC "{'text':'b','index':0,'logprobs':{'tokens':['b'],"
      "'top_logprobs':[{'b':-2}]},'finish_reason':'stop'}]}\n\n" END, NULL },
    { "completions in a chat", CHAT,
      TC "{'text':'a','index':0,'finish_reason':'stop'}]}\n\n" END, NULL },
    { "a chat in completions", TEXT, C(0, "'content':'a'") STOP, NULL },
    { "no JSON", CHAT, "data: {'id'}\n\n" STOP, NULL },
    { "something behind the JSON", CHAT,
      CHUNK ",'choices':[]} x\n\n" STOP, NULL },
    { "a control byte in a text", CHAT, C(0, "'content':'\x01'") STOP, NULL },
    { "no UTF-8", CHAT, C(0, "'content':'\xc3'") STOP, NULL },
    { "a character in two pieces", CHAT,
      C(0, "'content':'\xc3'") C(0, "'content':'\xb6'") STOP, NULL },
    { "responses without an end", RESP,
      "data: {'type':'response.created','response':{'id':'r'}}\n\n", NULL },
    { "responses that failed", RESP,
      "data: {'type':'response.failed','response':{'id':'r'}}\n\n", NULL },
    { "responses that are incomplete", RESP,
      "data: {'type':'response.incomplete','response':{'id':'r'}}\n\n"
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n", NULL },
    { "an error in responses", RESP,
      "data: {'type':'error','code':'x'}\n\n"
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n", NULL },
    { "two ends of responses", RESP,
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n"
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n", NULL },
    { "a name that is not the type", RESP, "event: response.created\n"
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n", NULL },
    { "a name that is the start of the type", RESP, "event: response\n"
      "data: {'type':'response.completed','response':{'id':'r'}}\n\n", NULL }
};


static const refused_t  refused[] = {

    { "no bytes", CHAT, 0, "" },
    { "no object", CHAT, 0, "[]" },
    { "an error", CHAT, 0, "{'error':{'message':'x'}}" },
    { "an answer and an error", CHAT, 0,
      "{'object':'chat.completion','error':null,'choices':["
      M(0, "'content':'hi'", "stop") "]}" },
    { "something behind it", CHAT, 0, HI "x" },
    { "a chunk", CHAT, 0, "{'object':'chat.completion.chunk','choices':["
      M(0, "'content':'hi'", "stop") "]}" },
    { "a chat in completions", TEXT, 0, HI },
    { "responses", RESP, 0, "{'object':'response','id':'r'}" },
    { "no choices", CHAT, 0, "{'object':'chat.completion','id':'c'}" },
    { "no choice", CHAT, 0, ANSWER("") },
    { "choices in another order", CHAT, 0,
      ANSWER(M(1, "'content':'a'", "stop") "," M(0, "'content':'b'",
             "stop")) },
    { "no index", CHAT, 0, ANSWER("{'message':{},'finish_reason':'stop'}") },
    { "no message", CHAT, 0, ANSWER("{'index':0,'finish_reason':'stop'}") },
    { "no finish_reason", CHAT, 0,
      ANSWER("{'index':0,'message':{'content':'a'},'finish_reason':null}") },
    { "usage that is asked for and missing", CHAT, 1, HI },
    { "a member twice", CHAT, 0,
      ANSWER(M(0, "'content':'a','content':'b'", "stop")) },
    { "audio", CHAT, 0,
      ANSWER(M(0, "'content':null,'audio':{'id':'a'}", "stop")) },
    { "thinking_blocks", CHAT, 0,
      ANSWER(M(0, "'content':'a','thinking_blocks':[]", "stop")) },
    { "a content of parts", CHAT, 0, ANSWER(M(0, "'content':[]", "stop")) },
    { "what a filter has found", CHAT, 0,
      ANSWER("{'index':0,'message':{},'finish_reason':'stop',"
             "'content_filter_results':{'hate':{}}}") },
    { "a custom call", CHAT, 0,
      ANSWER(M(0, "'tool_calls':[{'id':'a','type':'custom','custom':"
                  "{'name':'x','input':'y'}}]", "tool_calls")) },
    { "a call with something else", CHAT, 0,
      ANSWER(M(0, "'tool_calls':[{'id':'a','type':'function','function':"
                  "{'name':'x','arguments':'{}'},'extra_content':{}}]",
               "tool_calls")) },
    { "a call with the index of another one", CHAT, 0,
      ANSWER(M(0, "'tool_calls':[{'index':1,'id':'a','type':'function',"
                  "'function':{'name':'x','arguments':'{}'}}]",
               "tool_calls")) },
    { "a call whose arguments are no text", CHAT, 0,
      ANSWER(M(0, "'tool_calls':[{'id':'a','type':'function',"
                  "'function':{'name':'x','arguments':{}}}]",
               "tool_calls")) },
    { "padding", CHAT, 0, ANSWER(M(0, "'obfuscation':'x'", "stop")) }
};


static text_t  a, b, c;


int
main(void)
{
    folds();
    unrolls();
    refusals();
    stream();
    pieces();
    line_ends();
    truncations();
    limits();
    random_answers();

    return done_testing();
}


static void
folds(void)
{
    size_t         i;
    ngx_int_t      rc;
    const fold_t  *t;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t = &cases[i];
        set(&a, t->sse);
        rc = to_document(t->kind, &a, &b);

        if (t->json == NULL) {
            if (!ok(rc == NGX_DECLINED, "REQ-30: no fold of: %s", t->claim)) {
                show("got", &b);
            }

            continue;
        }

        set(&c, t->json);

        if (!ok(rc == NGX_OK && same(&b, &c), "REQ-30: fold: %s", t->claim)) {
            show("got", &b);
            show("expected", &c);
        }
    }
}


static void
unrolls(void)
{
    size_t         i;
    const fold_t  *t;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t = &cases[i];

        if (t->json == NULL || t->kind == RESP) {
            continue;
        }

        set(&a, t->json);

        ok(round_trip(t->kind, NULL, &a, strstr(t->json, "'usage'") != NULL),
           "REQ-30: there and back: %s", t->claim);
    }
}


static void
refusals(void)
{
    size_t            i;
    const refused_t  *t;

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        t = &refused[i];
        set(&a, t->json);

        if (!ok(to_stream(t->kind, &a, t->usage, &b) == NGX_DECLINED,
                "REQ-30: no stream of: %s", t->claim))
        {
            show("got", &b);
        }
    }
}


/* every byte of one */

static void
stream(void)
{
    set(&a, "{'object':'chat.completion'," HEAD ",'choices':["
            M(0, "'content':'hi','reasoning':'hm','refusal':null,"
                 "'tool_calls':[{'id':'t','type':'function','function':"
                 "{'name':'f','arguments':'{}'}}]", "stop")
            "],'usage':{'n':1},'x':2}");

    set(&c, CHUNK ",'x':2,'choices':[{'index':0,'delta':{'role':'assistant',"
            "'content':'','refusal':null,'reasoning':''}" NO "}],"
            "'usage':null}\n\n"
            CHUNK ",'choices':[{'index':0,'delta':{'reasoning':'hm'}" NO "}],"
            "'usage':null}\n\n"
            CHUNK ",'choices':[{'index':0,'delta':{'content':'hi'}" NO "}],"
            "'usage':null}\n\n"
            CHUNK ",'choices':[{'index':0,'delta':{'tool_calls':[{'index':0,"
            "'id':'t','type':'function','function':{'name':'f',"
            "'arguments':''}}]}" NO "}],'usage':null}\n\n"
            CHUNK ",'choices':[{'index':0,'delta':{'tool_calls':[{'index':0,"
            "'function':{'arguments':'{}'}}]}" NO "}],'usage':null}\n\n"
            CHUNK ",'choices':[{'index':0,'delta':{},'logprobs':null,"
            "'finish_reason':'stop'}],'usage':null}\n\n"
            CHUNK ",'choices':[],'usage':{'n':1}}\n\n" END);

    if (!ok(to_stream(CHAT, &a, 1, &b) == NGX_OK && same(&b, &c),
            "a stream is as OpenAI's are, with usage"))
    {
        show("got", &b);
        show("expected", &c);
    }

    ok(to_stream(CHAT, &a, 0, &b) == NGX_OK && strstr(b.text, "usage") == NULL,
       "usage that is not asked for is not there");
}


static void
pieces(void)
{
    int          i, n, longest, cut;
    char        *p, *end;
    const char  *text;

    text = "'content':'";
    set(&a, "{'object':'chat.completion','choices':[{'index':0,'message':{");
    add(&a, text);

    for (i = 0; i < 200; i++) {
        add(&a, "word 世界 \\ud83d\\uDE00\\\\\\'\\u00e9 ");
    }

    for (i = 0; i < 100; i++) {
        add(&a, "\\ud83d\\ude00xy");
    }

    for (i = 0; i < 100; i++) {
        add(&a, "世");
    }

    add(&a, "'},'finish_reason':'stop'}]}");

    ok(to_stream(CHAT, &a, 0, &b) == NGX_OK, "a long text is cut");

    longest = cut = 0;
    set(&c, text);

    for (p = b.text; (p = strstr(p, c.text)) != NULL; p = end) {
        p += strlen(c.text);
        end = strstr(p, "\"}");
        n = end - p;

        if (n > longest) {
            longest = n;
        }

        /* a piece of its own is JSON, and has both halves of its emojis */

        cut += n && (p[n - 1] == '\\' || strncmp(p, "\\uDE00", 6) == 0
                     || strncmp(p, "\\ude00", 6) == 0
                     || ((u_char) *p & 0xc0) == 0x80);
    }

    ok(longest <= 64 && longest > 50, "  into pieces of 64 bytes at most");
    is_int(cut, 0, "  and never inside of a character");
    ok(round_trip(CHAT, NULL, &a, 0), "  and is whole again");
}


static void
line_ends(void)
{
    size_t  i, n;

    set(&a, "{\r\n 'object': 'chat.completion',\n 'choices': [ {\n"
            "'index': 0,\n'message': {'content': 'hi','annotations': [\n{\n"
            "'a':\r\n1 } , { } ]\n},\n'logprobs': {\n'content': [\n]\n},\n"
            "'finish_reason':\n'stop'\n} ],\n'usage': {\n'n': 1\n}\n}\n");

    ok(to_stream(CHAT, &a, 1, &b) == NGX_OK, "JSON of many lines is unrolled");

    for (i = n = 0; i + 1 < b.len; i++) {
        n += (b.text[i] == '\r' || (b.text[i] == '\n'
             && b.text[i + 1] != '\n' && b.text[i + 1] != 'd'));
    }

    is_int(n, 0, "  and no line of it breaks an event");
    ok(to_document(CHAT, &b, &c) == NGX_OK
       && strstr(c.text, "\"content\":\"hi\"") != NULL, "  which folds");

    set(&a, C(0, "'content':'hi'") STOP);

    for (b.len = i = 0; i < a.len; i++) {
        if (a.text[i] == '\n') {
            b.text[b.len++] = '\r';
        }

        b.text[b.len++] = a.text[i];
    }

    b.text[b.len] = '\0';
    set(&a, b.text);

    set(&c, HI);
    ok(to_document(CHAT, &a, &b) == NGX_OK && same(&b, &c),
       "a stream whose lines end with CRLF is folded");
}


static void
truncations(void)
{
    size_t         i, len, n, wrong;
    const fold_t  *t;

    for (i = 0, n = 0, wrong = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t = &cases[i];

        if (t->json == NULL || t->kind == RESP) {
            continue;
        }

        set(&a, t->sse);

        /* up to the end of [DONE]; there may be comments behind it */

        len = strstr(a.text, "[DONE]") + 8 - a.text;

        for (a.len = 0; a.len < len; a.len++, n++) {
            wrong += to_document(t->kind, &a, &b) != NGX_DECLINED;
        }
    }

    is_int(wrong, 0, "REQ-30: no stream that is cut is folded");
    ok(n > 5000, "  wherever it is cut");

    for (i = 0, n = 0, wrong = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t = &cases[i];

        if (t->json == NULL) {
            continue;
        }

        set(&a, t->json);
        len = a.len;

        for (a.len = 0; a.len < len; a.len++, n++) {
            wrong += to_stream(t->kind, &a, 0, &b) != NGX_DECLINED;
        }
    }

    is_int(wrong, 0, "REQ-30: no answer that is cut is unrolled");
}


static void
limits(void)
{
    int  i, k;

    a.len = 0;

    for (i = 0; i < 100; i++) {
        for (k = 0; k < 4; k++) {
            add(&a, CHUNK ",'choices':[{'index':");
            a.len += sprintf(a.text + a.len, "%d", i);
            add(&a, ",'delta':{'content':'x'},'finish_reason':'stop'}]}\n\n");
        }
    }

    add(&a, END);

    ok(to_document(CHAT, &a, &b) == NGX_OK, "a hundred choices are folded");

    a.len = 0;

    for (i = 0; i < 100; i++) {
        for (k = 0; k < 12; k++) {
            add(&a, CHUNK ",'choices':[{'index':");
            a.len += sprintf(a.text + a.len, "%d", i);
            add(&a, ",'delta':{'content':'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
                    "'},'finish_reason':'stop'}]}\n\n");
        }
    }

    add(&a, END);

    ok(to_document(CHAT, &a, &b) == NGX_DECLINED,
       "a hundred long ones are not worth the time");

    set(&a, "{'object':'chat.completion','id':'");

    for (i = 0; i < 1100; i++) {
        add(&a, "x");
    }

    add(&a, "','choices':[" M(0, "'content':'a'", "stop") "]}");

    ok(to_stream(CHAT, &a, 0, &b) == NGX_DECLINED,
       "a long head is not said again and again");

    set(&a, "{'object':'chat.completion',");

    for (i = 0; i < 17; i++) {
        a.len += sprintf(a.text + a.len, "\"x%d\":1,", i);
    }

    add(&a, "'choices':[" M(0, "'content':'a'", "stop") "]}");

    ok(to_stream(CHAT, &a, 0, &b) == NGX_DECLINED,
       "nor are more than 16 unknown members");
}


static void
random_answers(void)
{
    int             i, wrong;
    uint64_t        seed;
    static text_t   sse, json;

    seed = 1;
    wrong = 0;

    for (i = 0; i < ROUNDS && wrong < 3; i++) {
        make(&seed, &sse, &json, i % 2);

        if (!round_trip(CHAT, &sse, &json, i % 2)) {
            wrong++;
            show("stream", &sse);
        }
    }

    ok(wrong == 0 && i == ROUNDS,
       "REQ-30: %d random answers are the same in both forms", i);
}


/* sse may be NULL; usage: the answer has one */

static int
round_trip(ngx_uint_t kind, const text_t *sse, const text_t *json,
    ngx_uint_t usage)
{
    static text_t  folded, unrolled;

    if (sse && (to_document(kind, sse, &folded) != NGX_OK
                || !same(&folded, json)))
    {
        show("folded", &folded);
        show("expected", json);
        return 0;
    }

    if (to_stream(kind, json, usage, &unrolled) != NGX_OK
        || to_document(kind, &unrolled, &folded) != NGX_OK)
    {
        show("no way there and back", json);
        show("unrolled", &unrolled);
        return 0;
    }

    /* a text of this file may lack what every answer has */

    if (sse == NULL && kind != RESP && !same(&folded, json)) {
        to_stream(kind, &folded, usage, &unrolled);
        set(&folded, "");
        to_document(kind, &unrolled, &folded);
    }

    if ((sse && !same(&folded, json)) || !is_json(&folded)) {
        show("came back", &folded);
        show("expected", json);
        return 0;
    }

    return 1;
}


/* a stream, and the answer it is, as fold() spells that */

static void
make(uint64_t *seed, text_t *sse, text_t *json, ngx_uint_t usage)
{
    int              i, k, n[3], at[3], choices, left;
    char            *p;
    static text_t    deltas[3];

    choices = next(seed) % 4 ? 1 : 2 + next(seed) % 2;
    left = 0;

    set(sse, next(seed) % 2 ? "" : ": ping\n\n");
    set(json, "{'object':'chat.completion'," HEAD);

    if (next(seed) % 2) {
        add(json, ",'system_fingerprint':'fp'");
        add(sse, CHUNK ",'system_fingerprint':'fp','choices':[]}\n\n");
    }

    add(json, ",'choices':[");

    for (i = 0; i < choices; i++) {
        add(json, i ? "," : "");
        make_choice(seed, i, &deltas[i], &n[i], json);
        at[i] = 0;
        left += n[i];
    }

    /* in turns; the choices' chunks end with a NUL each */

    while (left) {
        i = next(seed) % choices;

        if (n[i] == 0) {
            continue;
        }

        p = deltas[i].text + at[i];
        k = strlen(p);
        memcpy(sse->text + sse->len, p, k + 1);
        sse->len += k;
        at[i] += k + 1;
        n[i]--;
        left--;
    }

    add(json, "]");

    if (usage) {
        add(json, ",'usage':{'total_tokens':12}");
        add(sse, U("{'total_tokens':12}"));
    }

    add(json, "}");
    add(sse, END);
}


static void
make_choice(uint64_t *seed, int index, text_t *deltas, int *n, text_t *json)
{
    int             i, calls;
    char            buf[1024];
    words_t         words;
    static text_t   lists;
    static const char *const  names[] = { "content", "refusal",
                                          "reasoning_content", "reasoning" };

    deltas->len = 0;
    *n = 0;

#define delta(...)                                                            \
    do {                                                                      \
        add(deltas, CHUNK ",'choices':[{'index':");                           \
        deltas->len += sprintf(deltas->text + deltas->len, "%d", index);      \
        add(deltas, ",'delta':{");                                            \
        snprintf(buf, sizeof(buf), __VA_ARGS__);                              \
        add(deltas, buf);                                                     \
        add(deltas, "}" NO "}]}\n\n");                                        \
        deltas->text[deltas->len++] = '\0';                                   \
        (*n)++;                                                               \
    } while (0)

    if (next(seed) % 2) {
        delta("'role':'assistant'");
    }

    add(json, "{'index':");
    json->len += sprintf(json->text + json->len, "%d", index);
    add(json, ",'message':{'role':'assistant'");

    for (i = 0; i < 4; i++) {

        if (next(seed) % 3 == 0) {

            if (i < 2) {
                snprintf(buf, sizeof(buf), ",'%s':null", names[i]);
                add(json, buf);
            }

            continue;
        }

        make_words(seed, &words);
        snprintf(buf, sizeof(buf), ",'%s':'", names[i]);
        add(json, buf);
        add_words(json, &words);
        add(json, "'");

        for (calls = 0; calls < words.n; calls++) {
            delta("'%s':'%s'", names[i], words.piece[calls]);
        }
    }

    calls = next(seed) % 4;

    for (i = 0; i < calls; i++) {
        make_words(seed, &words);
        snprintf(buf, sizeof(buf), "%s{'id':'t%d','type':'function',"
                 "'function':{'name':'f','arguments':'",
                 i ? "," : ",'tool_calls':[", i);
        add(json, buf);
        add_words(json, &words);
        add(json, "'}}");

        delta("'tool_calls':[{'index':%d,'id':'t%d','type':'function',"
              "'function':{'name':'f','arguments':''}}]", i, i);

        for (int k = 0; k < words.n; k++) {
            delta("'tool_calls':[{'index':%d,'function':{'arguments':'%s'}}]",
                  i, words.piece[k]);
        }
    }

    if (calls) {
        add(json, "]");
    }

    set(&lists, "");
    calls = next(seed) % 4;

    for (i = 0; i < calls; i++) {
        snprintf(buf, sizeof(buf), "%s{'n':[%d,' ']}", i ? "," : "", i);
        add(&lists, buf);
        delta("'annotations':[ {'n':[%d,' ']}]", i);
    }

    if (calls) {
        add(json, ",'annotations':[");
        add(json, lists.text);
        add(json, "]");
    }

    add(json, "},'logprobs':null,'finish_reason':'stop'}");

    add(deltas, CHUNK ",'choices':[{'index':");
    deltas->len += sprintf(deltas->text + deltas->len, "%d", index);
    add(deltas, ",'delta':{},'finish_reason':'stop'}]}\n\n");
    deltas->text[deltas->len++] = '\0';
    (*n)++;

#undef delta
}


static void
make_words(uint64_t *seed, words_t *words)
{
    int                       i, k;
    static const char *const  parts[] = {
        "word", " and", " ", "", "世界", "é", "🚀", "\\ud83d\\ude00", "\\n",
        "\\\\", "\\\"", "\\/", "\\u00e9", "x", "\\ud83d", "\\ude00", "{", "]",
        "data: [DONE]", "\\u0000"
    };

    words->n = 1 + next(seed) % MOST;

    for (i = 0; i < words->n; i++) {
        words->piece[i][0] = '\0';

        for (k = next(seed) % 4; k; k--) {
            strcat(words->piece[i],
                   parts[next(seed) % (sizeof(parts) / sizeof(parts[0]))]);
        }
    }
}


static void
add_words(text_t *text, const words_t *words)
{
    int  i;

    for (i = 0; i < words->n; i++) {
        add(text, words->piece[i]);
    }
}


static ngx_int_t
to_document(ngx_uint_t kind, const text_t *in, text_t *out)
{
    u_char     *copy;
    ngx_int_t   rc;

    out->len = 0;
    copy = malloc(in->len ? in->len : 1);
    memcpy(copy, in->text, in->len);

    rc = ngx_llm_to_document(kind, copy, in->len, put, out);

    free(copy);
    out->text[out->len] = '\0';

    return rc;
}


static ngx_int_t
to_stream(ngx_uint_t kind, const text_t *in, ngx_uint_t usage, text_t *out)
{
    u_char     *copy;
    ngx_int_t   rc;

    out->len = 0;
    copy = malloc(in->len ? in->len : 1);
    memcpy(copy, in->text, in->len);

    rc = ngx_llm_to_stream(kind, copy, in->len, usage, put, out);

    free(copy);
    out->text[out->len] = '\0';

    return rc;
}


static void
put(void *data, const u_char *p, size_t len)
{
    text_t  *out = data;

    if (len < SIZE - out->len) {
        memcpy(out->text + out->len, p, len);
        out->len += len;
    }
}


static int
is_json(const text_t *text)
{
    const u_char    *p, *end;
    ngx_llm_lexer_t  w;

    p = (const u_char *) text->text;
    end = p + text->len;

    ngx_llm_lexer_init(&w, NGX_LLM_SCAN_BEST, p, end);

    return ngx_llm_lexer_value(&w, p) == end;
}


static void
set(text_t *text, const char *from)
{
    text->len = 0;
    text->text[0] = '\0';
    add(text, from);
}


static void
add(text_t *text, const char *from)
{
    for ( /* void */ ; *from && text->len < SIZE - 1; from++) {
        text->text[text->len++] = (*from == '\'') ? '"' : *from;
    }

    text->text[text->len] = '\0';
}


static int
same(const text_t *x, const text_t *y)
{
    return x->len == y->len && memcmp(x->text, y->text, x->len) == 0;
}


static void
show(const char *name, const text_t *text)
{
    size_t  i;

    printf("# %s: ", name);

    for (i = 0; i < text->len && i < 4000; i++) {
        printf(text->text[i] == '\n' ? "\n#   " : "%c", text->text[i]);
    }

    printf("\n");
}


static uint64_t
next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;

    return *seed >> 33;
}
