"""The official SDK for Python, as an application uses it."""

import asyncio
import hashlib
import itertools
import os
import threading
import time

import openai
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from kit import GATEWAY, SLOW, ask, ok, raises, run, same

HELLO = [{"role": "user", "content": "Hello"}]
TEXT = "tok1 tok2 tok3 tok4 tok5 "
UNICODE = "na\u00efve \U0001f680\U0001f468\u200d\U0001f469 こんにちは"
ARGUMENTS = '{"city":"Köln","degrees":21}'
VECTOR = [0.25, -0.5, 0.125]

shared = OpenAI(base_url=f"{GATEWAY}/v1")
numbers = itertools.count(1)


class Weather(BaseModel):
    city: str
    degrees: int


def claim():
    """What tells this test's requests from all others."""
    return f"py{os.getpid()}-{next(numbers)}"


def at(location="", tag="-", client=shared, **options):
    return client.with_options(base_url=f"{GATEWAY}{location}/v1",
                               default_headers={"X-Claim": tag}, **options)


def chat(client, model, **more):
    return client.chat.completions.create(model=model, messages=HELLO, **more)


def content(chunks):
    return "".join(c.choices[0].delta.content or ""
                   for c in chunks if c.choices)


def versions():
    ok(True, f"openai {openai.__version__}")


# Answers

def chat_answers():
    tag = claim()
    answer = chat(at(tag=tag), "gpt-4o")
    same(answer.choices[0].message.content, TEXT, "a chat is answered")
    same(answer.choices[0].finish_reason, "stop", "  with its finish_reason")
    same(answer.usage.total_tokens, 16, "  and usage")

    log = ask("log", answer._request_id)
    same([log["http_x_claim"], log["status"], log["llm_operation"],
          log["llm_model"], log["llm_total_tokens"]],
         [tag, "200", "chat", "gpt-4o", "16"],
         "  _request_id finds it in nginx's log")

    sent = ask("sent", tag)
    same(sent["json"], {"messages": HELLO, "model": "gpt-4o-2024-11-20"},
         "  the provider is asked for its own model, else as the SDK said")
    same(sent["headers"]["authorization"], "Bearer sk-canary-provider",
         "  with the gateway's key")
    ok(sent["headers"]["x-stainless-lang"] == "python",
       "  and the SDK's x-stainless-* (REQ-45)")

    raw = at().chat.completions.with_raw_response.create(
        model="standard", messages=HELLO)
    same(raw.headers["x-llm-provider"], "p", "an answer names its provider")
    same(raw.parse().choices[0].message.content, TEXT, "an alias is a model")
    same(chat(at(), "do/unicode").choices[0].message.content, UNICODE,
         "text beyond ASCII comes in small pieces and is whole")

    tag = claim()
    raw = at(tag=tag).chat.completions.with_raw_response.create(
        model="gpt-4o",
        messages=[{"role": "user", "content": "möre " * 99999}])
    body = raw.http_request.content.replace(b'"gpt-4o"',
                                            b'"gpt-4o-2024-11-20"')
    same(ask("digest", tag), hashlib.sha256(body).hexdigest(),
         "a prompt of 600 KB arrives as it is (REQ-45)")


def streams():
    tag = claim()
    with chat(at(tag=tag), "gpt-4o", stream=True) as stream:
        chunks = list(stream)
        request_id = stream.response.headers["x-request-id"]
    same(content(chunks), TEXT, "a stream is whole")
    same(chunks[-1].choices[0].finish_reason, "stop",
         "  to its finish_reason")
    ok(all(c.choices for c in chunks),
       "  no usage chunk that was not asked for")
    log = ask("log", request_id)
    same([log["llm_stream_end"], log["llm_total_tokens"]],
         ["complete", "16"], "  and for the log it is complete, with usage")

    chunks = list(chat(at(), "gpt-4o", stream=True,
                       stream_options={"include_usage": True}))
    same([chunks[-1].choices, chunks[-1].usage.total_tokens], [[], 16],
         "with include_usage the last chunk has it and no choices (REQ-8)")

    same(content(chat(at(), "do/unicode", stream=True)), UNICODE,
         "a stream cut anywhere in its characters is whole")
    same(content(chat(at(), "do/bare", stream=True)), "ab",
         "a stream without [DONE] ends properly")
    same(content(chat(at(), "do/comments", stream=True)), "abc",
         "REQ-7: a provider's comments disturb nobody")
    same(content(chat(at("/ping"), "do/silence", stream=True)), "one two",
         "REQ-7: nor do our pings")

    with at().chat.completions.stream(model="gpt-4o",
                                      messages=HELLO) as stream:
        same(stream.get_final_completion().choices[0].message.content, TEXT,
             "the SDK's stream helper puts it together")


def tools():
    spec = [{"type": "function", "function": {
        "name": name, "parameters": Weather.model_json_schema()}}
        for name in ("weather", "forecast")]
    want = [("call_1", "weather", ARGUMENTS), ("call_2", "forecast", ARGUMENTS)]

    def calls(message):
        return [(c.id, c.function.name, c.function.arguments)
                for c in message.tool_calls]

    tag = claim()
    choice = chat(at(tag=tag), "do/tools", tools=spec).choices[0]
    same(calls(choice.message), want, "calls of tools come back")
    same(choice.finish_reason, "tool_calls", "  with their finish_reason")
    same(ask("sent", tag)["json"]["tools"], spec,
         "  and the tools went to the provider as they are")

    pieces = {}
    for chunk in chat(at(), "do/tools", tools=spec, stream=True):
        for call in chunk.choices[0].delta.tool_calls or []:
            one = pieces.setdefault(call.index, ["", "", ""])
            one[0] += call.id or ""
            one[1] += call.function.name or ""
            one[2] += call.function.arguments or ""
    same([tuple(one) for one in pieces.values()], want,
         "streamed calls of tools are put together")

    with at().chat.completions.stream(model="do/tools", messages=HELLO,
                                      tools=spec) as stream:
        same(calls(stream.get_final_completion().choices[0].message), want,
             "  by the SDK's helper, too")

    history = HELLO + [
        choice.message.model_dump(exclude_none=True),
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"}]
    answer = at().chat.completions.create(model="do/agent", messages=history)
    same(answer.choices[0].message.content, "The tool said: rain",
         "a tool's result is answered")


def structured():
    want = Weather(city="Köln", degrees=21)
    chats, responses = at().chat.completions, at().responses

    answer = chats.parse(model="do/schema", messages=HELLO,
                         response_format=Weather)
    same(answer.choices[0].message.parsed, want,
         "structured output is parsed into its class")
    with chats.stream(model="do/schema", messages=HELLO,
                      response_format=Weather) as stream:
        final = stream.get_final_completion()
    same(final.choices[0].message.parsed, want, "  streamed, too")
    same(responses.parse(model="do/schema", input="Hello",
                         text_format=Weather).output_parsed, want,
         "  and that of responses")


def responses():
    tag = claim()
    answer = at(tag=tag).responses.create(
        model="gpt-4o", input="Hello", previous_response_id="resp_0")
    same(answer.output_text, "Hello, world", "a response is answered")
    same([answer.status, answer.usage.total_tokens], ["completed", 16],
         "  completed, with usage")
    log = ask("log", answer._request_id)
    same([log["llm_operation"], log["llm_total_tokens"]],
         ["responses", "16"], "  which the log has, too")
    same(ask("sent", tag)["json"]["previous_response_id"], "resp_0",
         "  and what it refers to went to the provider")

    events = list(at().responses.create(model="gpt-4o", input="Hello",
                                        stream=True))
    same([events[0].type, events[-1].type],
         ["response.created", "response.completed"],
         "a streamed response comes from created to completed")
    same("".join(e.delta for e in events
                 if e.type == "response.output_text.delta"),
         "Hello, world", "  with all its text")
    with at().responses.stream(model="do/tools", input="Hello") as stream:
        call = stream.get_final_response().output[0]
        request_id = stream._response.headers["x-request-id"]
    same([call.type, call.name, call.arguments],
         ["function_call", "weather", ARGUMENTS],
         "  and the SDK's helper puts its calls of tools together")
    same(ask("log", request_id)["llm_stream_end"], "complete",
         "  and for the log it is complete")


def other_operations():
    tag = claim()
    two = at(tag=tag).embeddings.create(model="text-embedding-3-small",
                                        input=["one", "two"])
    same(ask("sent", tag)["json"]["encoding_format"], "base64",
         "the SDK asks for base64 embeddings unless told otherwise")
    same([list(d.embedding) for d in two.data], [VECTOR, VECTOR],
         "  and decodes the right vectors")
    floats = at().embeddings.create(model="text-embedding-3-small",
                                    input="one", encoding_format="float")
    same(floats.data[0].embedding, VECTOR, "embeddings as floats")

    prompt = {"model": "gpt-4o", "prompt": "Hello"}
    same(at().completions.create(**prompt).choices[0].text, TEXT,
         "a completion is answered")
    same("".join(c.choices[0].text for c in
                 at().completions.create(**prompt, stream=True)), TEXT,
         "  and streamed")
    same(at().moderations.create(model="gpt-4o", input="x").results[0].flagged,
         False, "moderations")
    same(at().images.generate(model="gpt-4o", prompt="x").data[0].b64_json,
         "aW1hZ2U=", "images")

    listed = [m.id for m in at().models.list()]
    same(listed, ["gpt-4o", "standard", "text-embedding-3-small",
                  "vendor/model", "agent", "dead", "broken"],
         "the list of models is the gateway's")
    same(at().models.retrieve("gpt-4o").id, "gpt-4o", "a model of it")
    same(at().models.retrieve("vendor/model").id, "vendor/model",
         "  also one with a slash")


def concurrent():
    tag = claim()
    started = 0
    everyone = asyncio.Event()

    async def one(client):
        nonlocal started
        stream = await chat(client, "do/gate", stream=True)
        text = ""
        async for chunk in stream:
            if not text and chunk.choices[0].delta.content:
                started += 1
                if started == 100:
                    everyone.set()
            text += chunk.choices[0].delta.content or ""
        return text

    async def all_of_them():
        async with AsyncOpenAI(base_url=f"{GATEWAY}/v1", max_retries=0,
                               default_headers={"X-Claim": tag}) as client:
            tasks = [asyncio.create_task(one(client)) for _ in range(100)]
            try:
                await asyncio.wait_for(everyone.wait(), 20 * SLOW)
            finally:
                same(started, 100, "100 streams of one AsyncOpenAI are"
                                   " under way at the same time")
                ask("gate", tag)
            return await asyncio.gather(*tasks)

    texts = asyncio.run(all_of_them())
    same(texts, ["one two"] * 100, "  and each of them ends whole")


# Errors

def problem(e, want, name, tag=None):
    """want: status, type, param, code, and text that the message has."""
    status, kind, param, code, message = want
    if e is None:
        return
    same([e.status_code, e.type, e.param, e.code and str(e.code)],
         [status, kind, param, code], f"  {name}: status, type, param, code")
    ok(message in e.message, f"  {name}: .message", e.message)
    ok(isinstance(e.body, dict), f"  {name}: .body is the error object")
    log = ask("log", e.request_id)
    same(log["status"], str(status), f"  {name}: .request_id is nginx's")
    if tag:
        same(ask("requests", tag)["client"], 1,
             f"  {name}: REQ-26: one request, however many retries the SDK"
             " is allowed")


def provider_errors():
    for status, kind in ((400, openai.BadRequestError),
                         (404, openai.NotFoundError),
                         (409, openai.ConflictError),
                         (413, openai.APIStatusError),
                         (422, openai.UnprocessableEntityError),
                         (429, openai.RateLimitError),
                         (500, openai.InternalServerError),
                         (503, openai.InternalServerError)):
        for stream in (False, True):
            tag = claim()
            name = f"{status}, {'stream' if stream else 'JSON'}"
            e = raises(kind, lambda: chat(at(tag=tag), f"do/status-{status}",
                                          stream=stream),
                       f"REQ-43: a provider's {name} is {kind.__name__}")
            problem(e, (status, "provider_type", "input", "provider_code",
                        f"status {status} of the provider"), name, tag)

    for status in (401, 402, 403):
        tag = claim()
        e = raises(openai.InternalServerError,
                   lambda: chat(at(tag=tag), f"do/status-{status}"),
                   f"a provider's {status} is about the gateway's key, not"
                   " the client's")
        problem(e, (502, "upstream_error", None, "upstream_auth", ""),
                str(status), tag)

    tag = claim()
    e = raises(openai.RateLimitError,
               lambda: chat(at(tag=tag), "do/first-429", stream=True),
               "an error event that comes first is an error of a real status")
    problem(e, (429, "provider_type", "input", "429", "too many"),
            "first event", tag)
    tag = claim()
    e = raises(openai.InternalServerError,
               lambda: chat(at(tag=tag), "do/first-error", stream=True),
               "  502 if it says none")
    problem(e, (502, "provider_type", "input", "provider_code", "not now"),
            "first event", tag)


def gateway_errors():
    def invalid(status, code, param=None):
        return (status, "invalid_request_error", param, code, "")

    def upstream(status, code):
        return (status, "upstream_error", None, code, "")

    def refused(name, kind, want, call, client=None):
        tag = claim()
        e = raises(kind, lambda: call(at(tag=tag, **(client or {}))),
                   f"REQ-43: {name} is {kind.__name__}")
        problem(e, want, name, tag)
        return e

    refused("n: 0", openai.BadRequestError, invalid(400, "invalid_type", "n"),
            lambda c: chat(c, "gpt-4o", n=0))
    refused("no model", openai.BadRequestError,
            invalid(400, "missing_model", "model"),
            lambda c: chat(c, None))
    refused("a key that is not enough", openai.AuthenticationError,
            invalid(401, None), lambda c: chat(c, "gpt-4o"),
            {"location": "/key"})
    refused("a forbidden place", openai.PermissionDeniedError,
            (403, "permission_error", None, None, ""),
            lambda c: chat(c, "gpt-4o"), {"location": "/deny"})
    refused("an unknown model", openai.NotFoundError,
            invalid(404, "model_not_found", "model"),
            lambda c: chat(c, "nobody"))
    refused("an unknown model, looked up,", openai.NotFoundError,
            invalid(404, "model_not_found", "model"),
            lambda c: c.models.retrieve("nobody"))
    refused("an operation that is not served", openai.NotFoundError,
            invalid(404, "unknown_operation"), lambda c: c.files.list())
    refused("a method that is not served", openai.APIStatusError,
            invalid(405, "method_not_allowed"),
            lambda c: c.models.delete("gpt-4o"))
    refused("a body that is too large", openai.APIStatusError,
            invalid(413, "request_too_large"),
            lambda c: chat(c, "gpt-4o", user="x" * 5000),
            {"location": "/small"})
    refused("a coded body", openai.APIStatusError,
            invalid(415, "unsupported_content_encoding"),
            lambda c: chat(c, "gpt-4o",
                           extra_headers={"Content-Encoding": "gzip"}))
    refused("a rate limit of nginx's", openai.RateLimitError,
            (429, "rate_limit_error", None, "rate_limit_exceeded", ""),
            lambda c: chat(c, "gpt-4o"),
            {"location": "/limit", "max_retries": 0})
    refused("a mistake of the gateway's", openai.InternalServerError,
            (500, "server_error", None, "internal_error", ""),
            lambda c: chat(c, "broken", extra_headers={"X-Break": "yes"}),
            {"max_retries": 0})
    refused("a provider that is down", openai.InternalServerError,
            upstream(502, "upstream_error"), lambda c: chat(c, "dead"))
    refused("what is no answer", openai.InternalServerError,
            upstream(502, "bad_answer"), lambda c: chat(c, "do/garbage"))
    refused("an answer that is cut", openai.InternalServerError,
            upstream(502, "bad_answer"), lambda c: chat(c, "do/cut-json"))
    refused("a gateway that is shut", openai.InternalServerError,
            (503, "service_unavailable_error", None, None, ""),
            lambda c: chat(c, "gpt-4o"),
            {"location": "/down", "max_retries": 0})
    refused("a provider that is silent", openai.InternalServerError,
            upstream(504, "upstream_timeout"),
            lambda c: chat(c, "hasty/hang"))
    refused("a stream that is silent", openai.InternalServerError,
            upstream(504, "upstream_timeout"),
            lambda c: chat(c, "hasty/hang", stream=True))


def retries():
    tag = claim()
    begun = time.monotonic()
    answer = chat(at("/limit", tag=tag), "gpt-4o")
    ok(time.monotonic() - begun >= 1,
       "REQ-44: a 429 of nginx's is retried after its Retry-After")
    same(answer.choices[0].message.content, TEXT, "  and answered")
    ask("log", answer._request_id)
    same(ask("requests", tag)["client"], 2, "  with two requests")

    for status, model in ((503, "twice/status-503"), (429, "twice/status-429"),
                          (502, "twice/cut-json"), (502, "twice/garbage")):
        ask("forget")
        tag = claim()
        try:
            chat(at(tag=tag), model)
            ok(False, f"{model} fails")
        except openai.APIStatusError as e:
            same(e.status_code, status, f"{model} fails in the end")
            same(e.response.headers["x-should-retry"], "false",
                 "  and says that another request is of no use")
            ask("log", e.request_id)
        same(ask("requests", tag), {"client": 1, "provider": 1, "second": 1},
             "  REQ-26: one request of the SDK, one to each provider")

    ask("forget")
    tag = claim()
    answer = chat(at(tag=tag), "spare/status-500")
    same(answer.choices[0].message.content, TEXT,
         "where another provider answers, the SDK sees no error")
    same(ask("requests", tag), {"client": 1, "provider": 1, "second": 1},
         "  and sends one request")


# Streams that do not end well

def broken_streams():
    for model, what in (("do/cut", "cut between two events"),
                        ("do/cut-event", "cut in an event"),
                        ("do/cut-clean", "ended properly but too early"),
                        ("do/cut-rst", "reset"),
                        ("hasty/stall", "silent for too long")):
        tag = claim()
        stream = chat(at(tag=tag), model, stream=True)
        seen = []
        e = raises(openai.APIError, lambda: seen.extend(stream),
                   f"REQ-3: a stream that is {what} raises APIError")
        same(content(seen), "one two ", "  after all that came")
        if e:
            same([e.type, e.code],
                 ["upstream_error", "upstream_timeout"
                  if model == "hasty/stall" else "upstream_error"],
                 "  with type and code")
        request_id = stream.response.headers["x-request-id"]
        same(ask("log", request_id)["llm_stream_end"], "truncated",
             "  and for the log it is truncated")
        same(ask("requests", tag)["client"], 1, "  it is not sent again")

    stream = chat(at(), "do/event-error", stream=True)
    seen = []
    e = raises(openai.APIError, lambda: seen.extend(stream),
               "REQ-22: a provider's error event raises APIError")
    same(content(seen), "one two ", "  after all that came")
    same([e.message, e.type, e.param, e.code],
         ["overloaded while speaking", "provider_type", "input",
          "provider_code"], "  with the provider's words")

    stream = at().responses.create(model="do/cut", input="Hello", stream=True)
    raises(openai.APIError, lambda: list(stream),
           "REQ-3: a response that is cut raises APIError")

    async def cut():
        async with AsyncOpenAI(base_url=f"{GATEWAY}/v1") as client:
            async for _ in await chat(client, "do/cut", stream=True):
                pass
    raises(openai.APIError, lambda: asyncio.run(cut()),
           "REQ-3: AsyncOpenAI sees a cut, too")

    stream = chat(at(), "do/cut-event", stream=True,
                  stream_options={"include_usage": True})
    raises(openai.APIError, lambda: list(stream),
           "REQ-3: half an event never hides the error")

    try:
        answer = chat(at(max_retries=0), "do/cut-large")
        ok(False, "REQ-3: large JSON that is cut raises", answer)
    except openai.APIConnectionError:
        ok(True, "REQ-3: large JSON that is cut is no answer")


def aborts():
    def closed(tag, name):
        ok(ask("closed", tag), name)
        same(ask("last", tag)["llm_stream_end"], "aborted",
             "  and the log says aborted")

    for model, what in (("do/endless", "speaks"), ("do/stall", "is silent")):
        tag = claim()
        with chat(at(tag=tag), model, stream=True) as stream:
            for _ in stream:
                break
        closed(tag, f"a loop that is left while the provider {what} closes"
                    " its connection")

    tag = claim()
    stream = chat(at(tag=tag), "do/endless", stream=True)
    next(iter(stream))
    threading.Thread(target=stream.close).start()
    closed(tag, "so does stream.close()")

    tag = claim()
    raises(openai.APITimeoutError,
           lambda: chat(at(tag=tag, timeout=0.5 * SLOW, max_retries=0),
                        "do/hang"),
           "a client with less patience times out")
    ok(ask("closed", tag), "  and the provider's connection closes")

    tag = claim()

    async def cancelled():
        client = AsyncOpenAI(base_url=f"{GATEWAY}/v1",
                             default_headers={"X-Claim": tag})
        begun = asyncio.Event()

        async def read():
            async for _ in await chat(client, "do/stall", stream=True):
                begun.set()

        task = asyncio.create_task(read())
        await begun.wait()
        task.cancel()
        await asyncio.wait([task])
        closed(tag, "a task that is cancelled closes the provider's"
                    " connection")
        await client.close()

    asyncio.run(cancelled())
    same(chat(at(), "gpt-4o").choices[0].message.content, TEXT,
         "and after all that the same client is served")


run(versions, chat_answers, streams, tools, structured, responses,
    other_operations, concurrent, provider_errors, gateway_errors, retries,
    broken_streams, aborts)
