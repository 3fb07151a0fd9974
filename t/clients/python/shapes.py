"""What the SDK for Python makes of a stream, and reads as JSON (t/shapes.t)."""

import os

from openai import OpenAI

from kit import GATEWAY, run, same

HELLO = [{"role": "user", "content": "Hello"}]

client = OpenAI(base_url=f"{GATEWAY}/v1")


def plain(value):
    """Without nulls, and what the helpers for streams add."""
    if isinstance(value, list):
        return [plain(v) for v in value]
    if not isinstance(value, dict):
        return value
    added = {"parsed", "parsed_arguments"}
    if "function" in value:
        added.add("index")
    return {k: plain(v) for k, v in value.items()
            if v is not None and k not in added}


def chat():
    for model in os.environ["LLM_CHAT"].split():
        answer = client.chat.completions.create(model=model, messages=HELLO)
        with client.chat.completions.stream(
                model=model, messages=HELLO,
                stream_options={"include_usage": True}) as stream:
            final = stream.get_final_completion()
        same(plain(final.to_dict()), plain(answer.to_dict()),
             f"REQ-30: {model}: stream() and create() are equal")


def completions():
    for model in os.environ["LLM_COMPLETIONS"].split():
        answer = client.completions.create(model=model, prompt="Hello")
        total = None
        for chunk in client.completions.create(
                model=model, prompt="Hello", stream=True,
                stream_options={"include_usage": True}):
            total = joined(total, chunk.to_dict())
        same(plain(total), plain(answer.to_dict()),
             f"REQ-30: {model}: the chunks together and create() are equal")


def joined(total, chunk):
    if total is None:
        return chunk
    if chunk.get("usage"):
        total["usage"] = chunk["usage"]
    for choice in chunk["choices"]:
        last = total["choices"][0]
        last["text"] += choice["text"]
        last["finish_reason"] = choice["finish_reason"]
        for name, items in (choice["logprobs"] or {}).items():
            last["logprobs"][name] += items
    return total


def responses():
    for model in os.environ["LLM_RESPONSES"].split():
        answer = client.responses.create(model=model, input="Hello")
        with client.responses.stream(model=model, input="Hello") as stream:
            final = stream.get_final_response()
        same(plain(final.to_dict()), plain(answer.to_dict()),
             f"REQ-30: {model}: stream() and create() are equal")


run(chat, completions, responses)
