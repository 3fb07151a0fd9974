"""openai-agents, as it is, with the gateway behind its client: an agent asks
for a tool, the framework runs it, and the agent answers with its result."""

import asyncio

from importlib.metadata import version

import agents
from agents import Agent, ModelSettings, Runner, function_tool
from openai import AsyncOpenAI

from kit import GATEWAY, ask, ok, run, same

asked = []


@function_tool
def weather(city: str, degrees: int) -> str:
    """Tells the weather."""
    asked.append((city, degrees))
    return f"sunny in {city}"


def loop(api, streamed):
    asked.clear()
    tag = f"agents-{api}-{streamed}"

    async def work():
        async with AsyncOpenAI(base_url=f"{GATEWAY}/v1",
                               default_headers={"X-Claim": tag}) as client:
            agents.set_default_openai_client(client, use_for_tracing=False)
            agents.set_default_openai_api(api)
            agent = Agent(name="Meteorologist", model="agent",
                          instructions="Ask the tool.", tools=[weather],
                          model_settings=ModelSettings(include_usage=True))
            if not streamed:
                return await Runner.run(agent, "How is it in Cologne?"), []
            result = Runner.run_streamed(agent, "How is it in Cologne?")
            deltas = [event.data.delta async for event in result.stream_events()
                      if event.type == "raw_response_event"
                      and event.data.type == "response.output_text.delta"]
            return result, deltas

    result, deltas = asyncio.run(work())
    want = "The tool said: sunny in Köln"
    name = f"{api}{', streamed' if streamed else ''}"
    same(asked, [("Köln", 21)], f"{name}: the tool runs once")
    same(result.final_output, want, f"{name}: and its result is the answer")
    if streamed:
        same("".join(deltas), want, f"{name}: which came in pieces")
    same(result.context_wrapper.usage.total_tokens, 32,
         f"{name}: the tokens of both turns are counted")
    same(ask("requests", tag), {"client": 2, "provider": 2, "second": 0},
         f"{name}: one request for each turn")


def versions():
    ok(True, f"openai-agents {version('openai-agents')}")


def chat_completions():
    loop("chat_completions", False)
    loop("chat_completions", True)


def responses():
    loop("responses", False)
    loop("responses", True)


agents.set_tracing_disabled(True)
run(versions, chat_completions, responses)
