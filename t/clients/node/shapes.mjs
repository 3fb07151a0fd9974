// What the SDK for Node makes of a stream, and reads as JSON (t/shapes.t).

import OpenAI from 'openai';

import { GATEWAY, run, same } from './kit.mjs';

const messages = [{ role: 'user', content: 'Hello' }];
const usage = { stream_options: { include_usage: true } };
const client = new OpenAI({ baseURL: `${GATEWAY}/v1` });
const models = (kind) => process.env[`LLM_${kind}`].split(' ');

// Without nulls, and what the helpers for streams add.  They know nothing of
// reasoning_content and keep its last piece.
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const left = Object.entries(value).filter(([k, v]) => v !== null
    && v !== undefined && !['parsed', 'parsed_arguments', 'output_text',
      '_request_id', 'reasoning_content'].includes(k));
  return Object.fromEntries(left.map(([k, v]) => [k, plain(v)]));
}

async function chat() {
  for (const model of models('CHAT')) {
    const answer = await client.chat.completions.create({ model, messages });
    const stream = client.chat.completions.stream(
      { model, messages, ...usage });
    same(plain(await stream.finalChatCompletion()), plain(answer),
      `REQ-30: ${model}: stream() and create() are equal`);
  }
}

async function completions() {
  for (const model of models('COMPLETIONS')) {
    const asked = { model, prompt: 'Hello' };
    const answer = await client.completions.create(asked);
    let total;
    for await (const chunk of await client.completions.create(
      { ...asked, stream: true, ...usage })) {
      total = joined(total, chunk);
    }
    same(plain(total), plain(answer),
      `REQ-30: ${model}: the chunks together and create() are equal`);
  }
}

function joined(total, chunk) {
  if (!total) return chunk;
  if (chunk.usage) total.usage = chunk.usage;
  for (const choice of chunk.choices) {
    const last = total.choices[0];
    last.text += choice.text;
    last.finish_reason = choice.finish_reason;
    for (const [name, items] of Object.entries(choice.logprobs ?? {})) {
      last.logprobs[name].push(...items);
    }
  }
  return total;
}

async function responses() {
  for (const model of models('RESPONSES')) {
    const answer = await client.responses.create({ model, input: 'Hello' });
    const stream = client.responses.stream({ model, input: 'Hello' });
    same(plain(await stream.finalResponse()), plain(answer),
      `REQ-30: ${model}: stream() and create() are equal`);
  }
}

await run(chat, completions, responses);
