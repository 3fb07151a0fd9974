// The official SDK for Node, as an application uses it.

import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

import OpenAI, * as openai from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { VERSION } from 'openai/version';
import { z } from 'zod';

import { GATEWAY, SLOW, ask, ok, raises, run, same } from './kit.mjs';

const HELLO = [{ role: 'user', content: 'Hello' }];
const TEXT = 'tok1 tok2 tok3 tok4 tok5 ';
const UNICODE = 'na\u00efve \u{1f680}\u{1f468}\u200d\u{1f469} こんにちは';
const ARGUMENTS = '{"city":"Köln","degrees":21}';
const VECTOR = [0.25, -0.5, 0.125];
const Weather = z.object({ city: z.string(), degrees: z.number().int() });

let number = 0;

// What tells this test's requests from all others.
const claim = () => `js${process.pid}-${++number}`;

const at = ({ location = '', tag = '-', ...options } = {}) => new OpenAI({
  baseURL: `${GATEWAY}${location}/v1`,
  defaultHeaders: { 'X-Claim': tag },
  ...options,
});

const chat = (client, model, more, options) =>
  client.chat.completions.create({ model, messages: HELLO, ...more }, options);

async function all(stream, seen = []) {
  for await (const chunk of await stream) seen.push(chunk);
  return seen;
}

const content = (chunks) =>
  chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');

function versions() {
  ok(true, `openai ${VERSION}, node ${process.version}`);
}


// Answers

async function chat_answers() {
  let tag = claim();
  const answer = await chat(at({ tag }), 'gpt-4o');
  same(answer.choices[0].message.content, TEXT, 'a chat is answered');
  same([answer.choices[0].finish_reason, answer.usage.total_tokens],
    ['stop', 16], '  with its finish_reason and usage');

  const log = await ask('log', answer._request_id);
  same([log.http_x_claim, log.status, log.llm_operation, log.llm_model,
    log.llm_total_tokens], [tag, '200', 'chat', 'gpt-4o', '16'],
  "  _request_id finds it in nginx's log");

  const sent = await ask('sent', tag);
  same(sent.json, { messages: HELLO, model: 'gpt-4o-2024-11-20' },
    '  the provider is asked for its own model, else as the SDK said');
  same(sent.headers.authorization, 'Bearer sk-canary-provider',
    "  with the gateway's key");
  same(sent.headers['x-stainless-lang'], 'js',
    "  and the SDK's x-stainless-* (REQ-45)");

  const { data, response } = await chat(at(), 'standard').withResponse();
  same(response.headers.get('x-llm-provider'), 'p',
    'an answer names its provider');
  same(data.choices[0].message.content, TEXT, 'an alias is a model');
  same((await chat(at(), 'do/unicode')).choices[0].message.content, UNICODE,
    'text beyond ASCII comes in small pieces and is whole');

  tag = claim();
  let body;
  const fetch = (url, init) => {
    body = init.body;
    return globalThis.fetch(url, init);
  };
  await chat(at({ tag, fetch }), 'gpt-4o', {
    messages: [{ role: 'user', content: 'möre '.repeat(99999) }],
  });
  body = body.replace('"gpt-4o"', '"gpt-4o-2024-11-20"');
  same(await ask('digest', tag),
    createHash('sha256').update(body).digest('hex'),
    'a prompt of 600 KB arrives as it is (REQ-45)');
}

async function streams() {
  const { data, response } = await chat(at(), 'gpt-4o', { stream: true })
    .withResponse();
  let chunks = await all(data);
  same(content(chunks), TEXT, 'a stream is whole');
  same(chunks.at(-1).choices[0].finish_reason, 'stop',
    '  to its finish_reason');
  ok(chunks.every((c) => c.choices.length),
    '  no usage chunk that was not asked for');
  const log = await ask('log', response.headers.get('x-request-id'));
  same([log.llm_stream_end, log.llm_total_tokens], ['complete', '16'],
    '  and for the log it is complete, with usage');

  chunks = await all(chat(at(), 'gpt-4o', {
    stream: true, stream_options: { include_usage: true },
  }));
  same([chunks.at(-1).choices, chunks.at(-1).usage.total_tokens], [[], 16],
    'with include_usage the last chunk has it and no choices (REQ-8)');

  const text = async (options, model) =>
    content(await all(chat(at(options), model, { stream: true })));
  same(await text({}, 'do/unicode'), UNICODE,
    'a stream cut anywhere in its characters is whole');
  same(await text({}, 'do/bare'), 'ab',
    'a stream without [DONE] ends properly');
  same(await text({}, 'do/comments'), 'abc',
    "REQ-7: a provider's comments disturb nobody");
  same(await text({ location: '/ping' }, 'do/silence'), 'one two',
    'REQ-7: nor do our pings');

  const helper = at().chat.completions.stream({
    model: 'gpt-4o', messages: HELLO,
  });
  same(await helper.finalContent(), TEXT,
    "the SDK's stream helper puts it together");
}

async function tools() {
  const spec = ['weather', 'forecast'].map((name) => ({
    type: 'function',
    function: { name, parameters: z.toJSONSchema(Weather) },
  }));
  const want = [['call_1', 'weather', ARGUMENTS],
    ['call_2', 'forecast', ARGUMENTS]];
  const calls = (message) => message.tool_calls.map((c) =>
    [c.id, c.function.name, c.function.arguments]);

  const tag = claim();
  const { choices: [choice] } = await chat(at({ tag }), 'do/tools',
    { tools: spec });
  same(calls(choice.message), want, 'calls of tools come back');
  same(choice.finish_reason, 'tool_calls', '  with their finish_reason');
  same((await ask('sent', tag)).json.tools, JSON.parse(JSON.stringify(spec)),
    '  and the tools went to the provider as they are');

  const helper = at().chat.completions.stream({
    model: 'do/tools', messages: HELLO, tools: spec,
  });
  same(calls(await helper.finalMessage()), want,
    "streamed calls of tools are put together by the SDK's helper");

  const ran = [];
  const runner = at().chat.completions.runTools({
    model: 'agent',
    messages: HELLO,
    tools: [{
      type: 'function',
      function: {
        name: 'weather',
        parse: JSON.parse,
        parameters: z.toJSONSchema(Weather),
        function: ({ city, degrees }) => {
          ran.push([city, degrees]);
          return `sunny in ${city}`;
        },
      },
    }],
  });
  same(await runner.finalContent(), 'The tool said: sunny in Köln',
    "the SDK's own loop runs a tool and gets the answer");
  same(ran, [['Köln', 21]], '  once, with its arguments');
}

async function structured() {
  const want = { city: 'Köln', degrees: 21 };
  const format = zodResponseFormat(Weather, 'weather');
  const ask_for = { model: 'do/schema', messages: HELLO,
    response_format: format };

  const answer = await at().chat.completions.parse(ask_for);
  same(answer.choices[0].message.parsed, want,
    'structured output is parsed by its schema');
  const final = await at().chat.completions.stream(ask_for)
    .finalChatCompletion();
  same(final.choices[0].message.parsed, want, '  streamed, too');
  const response = await at().responses.parse({
    model: 'do/schema', input: 'Hello',
    text: { format: zodTextFormat(Weather, 'weather') },
  });
  same(response.output_parsed, want, '  and that of responses');
}

async function responses() {
  const tag = claim();
  const answer = await at({ tag }).responses.create({
    model: 'gpt-4o', input: 'Hello', previous_response_id: 'resp_0',
  });
  same([answer.output_text, answer.status, answer.usage.total_tokens],
    ['Hello, world', 'completed', 16], 'a response is answered, with usage');
  same((await ask('log', answer._request_id)).llm_total_tokens, '16',
    '  which the log has, too');
  same((await ask('sent', tag)).json.previous_response_id, 'resp_0',
    '  and what it refers to went to the provider');

  const events = await all(at().responses.create({
    model: 'gpt-4o', input: 'Hello', stream: true,
  }));
  same([events[0].type, events.at(-1).type],
    ['response.created', 'response.completed'],
    'a streamed response comes from created to completed');
  same(events.filter((e) => e.type === 'response.output_text.delta')
    .map((e) => e.delta).join(''), 'Hello, world', '  with all its text');

  const { output: [call] } = await at().responses.stream({
    model: 'do/tools', input: 'Hello',
  }).finalResponse();
  same([call.type, call.name, call.arguments],
    ['function_call', 'weather', ARGUMENTS],
    "  and the SDK's helper puts its calls of tools together");
}

async function other_operations() {
  const tag = claim();
  const model = 'text-embedding-3-small';
  const two = await at({ tag }).embeddings.create({
    model, input: ['one', 'two'],
  });
  same((await ask('sent', tag)).json.encoding_format, 'base64',
    'the SDK asks for base64 embeddings unless told otherwise');
  same(two.data.map((d) => [...d.embedding]), [VECTOR, VECTOR],
    '  and decodes the right vectors');
  const floats = await at().embeddings.create({
    model, input: 'one', encoding_format: 'float',
  });
  same(floats.data[0].embedding, VECTOR, 'embeddings as floats');

  const prompt = { model: 'gpt-4o', prompt: 'Hello' };
  same((await at().completions.create(prompt)).choices[0].text, TEXT,
    'a completion is answered');
  const chunks = await all(at().completions.create({
    ...prompt, stream: true,
  }));
  same(chunks.map((c) => c.choices[0].text).join(''), TEXT, '  and streamed');

  const judged = await at().moderations.create({ model: 'gpt-4o', input: 'x' });
  same(judged.results[0].flagged, false, 'moderations');
  const drawn = await at().images.generate({ model: 'gpt-4o', prompt: 'x' });
  same(drawn.data[0].b64_json, 'aW1hZ2U=', 'images');

  const listed = (await all(at().models.list())).map((m) => m.id);
  same(listed, ['gpt-4o', 'standard', 'text-embedding-3-small', 'vendor/model',
    'agent', 'dead', 'broken'], "the list of models is the gateway's");
  same((await at().models.retrieve('gpt-4o')).id, 'gpt-4o', 'a model of it');
  same((await at().models.retrieve('vendor/model')).id, 'vendor/model',
    '  also one with a slash');
}

async function concurrent() {
  const tag = claim();
  const client = at({ tag, maxRetries: 0 });
  let started = 0;
  let everyone;
  const begun = new Promise((resolve) => { everyone = resolve; });

  const one = async () => {
    let text = '';
    for await (const chunk of await chat(client, 'do/gate', { stream: true })) {
      const piece = chunk.choices[0].delta.content ?? '';
      if (piece && !text && ++started === 100) everyone();
      text += piece;
    }
    return text;
  };

  const streams = Promise.allSettled(Array.from({ length: 100 }, one));
  await Promise.race([begun, sleep(20_000 * SLOW)]);
  same(started, 100,
    '100 streams of one client are under way at the same time');
  await ask('gate', tag);
  same((await streams).map((s) => s.value), Array(100).fill('one two'),
    '  and each of them ends whole');
}


// Errors

// want: status, type, param, code, and text that the message has
async function problem(e, want, name, tag) {
  const [status, type, param, code, message] = want;
  if (!e) return;
  same([e.status, e.type, e.param, e.code && String(e.code)],
    [status, type, param, code], `  ${name}: status, type, param, code`);
  ok(e.message.includes(message) && typeof e.error === 'object',
    `  ${name}: .message and .error`, e.message, e.error);
  const log = await ask('log', e.requestID);
  same(log.status, String(status), `  ${name}: .requestID is nginx's`);
  same((await ask('requests', tag)).client, 1, `  ${name}: REQ-26: one request,`
    + ' however many retries the SDK is allowed');
}

async function provider_errors() {
  for (const [status, kind] of [[400, openai.BadRequestError],
    [404, openai.NotFoundError], [409, openai.ConflictError],
    [413, openai.APIError], [422, openai.UnprocessableEntityError],
    [429, openai.RateLimitError], [500, openai.InternalServerError],
    [503, openai.InternalServerError]]) {
    for (const stream of [false, true]) {
      const tag = claim();
      const name = `${status}, ${stream ? 'stream' : 'JSON'}`;
      const e = await raises(kind,
        () => chat(at({ tag }), `do/status-${status}`, { stream }),
        `REQ-43: a provider's ${name} is ${kind.name}`);
      await problem(e, [status, 'provider_type', 'input', 'provider_code',
        `status ${status} of the provider`], name, tag);
    }
  }

  for (const status of [401, 402, 403]) {
    const tag = claim();
    const e = await raises(openai.InternalServerError,
      () => chat(at({ tag }), `do/status-${status}`),
      `a provider's ${status} is about the gateway's key, not the client's`);
    await problem(e, [502, 'upstream_error', null, 'upstream_auth', ''],
      String(status), tag);
  }

  const first = async (model, kind, want, name) => {
    const tag = claim();
    const e = await raises(kind,
      () => chat(at({ tag }), model, { stream: true }), name);
    await problem(e, want, 'first event', tag);
  };
  await first('do/first-429', openai.RateLimitError,
    [429, 'provider_type', 'input', '429', 'too many'],
    'an error event that comes first is an error of a real status');
  await first('do/first-error', openai.InternalServerError,
    [502, 'provider_type', 'input', 'provider_code', 'not now'],
    '  502 if it says none');
}

async function gateway_errors() {
  const invalid = (status, code, param = null) =>
    [status, 'invalid_request_error', param, code, ''];
  const upstream = (status, code) => [status, 'upstream_error', null, code, ''];

  const refused = async (name, kind, want, call, options) => {
    const tag = claim();
    const e = await raises(kind, () => call(at({ tag, ...options })),
      `REQ-43: ${name} is ${kind.name}`);
    await problem(e, want, name, tag);
  };
  const plain = (c) => chat(c, 'gpt-4o');

  await refused('n: 0', openai.BadRequestError,
    invalid(400, 'invalid_type', 'n'), (c) => chat(c, 'gpt-4o', { n: 0 }));
  await refused('no model', openai.BadRequestError,
    invalid(400, 'missing_model', 'model'), (c) => chat(c, undefined));
  await refused('a key that is not enough', openai.AuthenticationError,
    invalid(401, null), plain, { location: '/key' });
  await refused('a forbidden place', openai.PermissionDeniedError,
    [403, 'permission_error', null, null, ''], plain, { location: '/deny' });
  await refused('an unknown model', openai.NotFoundError,
    invalid(404, 'model_not_found', 'model'), (c) => chat(c, 'nobody'));
  await refused('an unknown model, looked up,', openai.NotFoundError,
    invalid(404, 'model_not_found', 'model'),
    (c) => c.models.retrieve('nobody'));
  await refused('an operation that is not served', openai.NotFoundError,
    invalid(404, 'unknown_operation'), (c) => c.files.list());
  await refused('a method that is not served', openai.APIError,
    invalid(405, 'method_not_allowed'), (c) => c.models.delete('gpt-4o'));
  await refused('a body that is too large', openai.APIError,
    invalid(413, 'request_too_large'),
    (c) => chat(c, 'gpt-4o', { user: 'x'.repeat(5000) }),
    { location: '/small' });
  await refused('a coded body', openai.APIError,
    invalid(415, 'unsupported_content_encoding'),
    (c) => chat(c, 'gpt-4o', {}, { headers: { 'Content-Encoding': 'gzip' } }));
  await refused("a rate limit of nginx's", openai.RateLimitError,
    [429, 'rate_limit_error', null, 'rate_limit_exceeded', ''], plain,
    { location: '/limit', maxRetries: 0 });
  await refused("a mistake of the gateway's", openai.InternalServerError,
    [500, 'server_error', null, 'internal_error', ''],
    (c) => chat(c, 'broken', {}, { headers: { 'X-Break': 'yes' } }),
    { maxRetries: 0 });
  await refused('a provider that is down', openai.InternalServerError,
    upstream(502, 'upstream_error'), (c) => chat(c, 'dead'));
  await refused('what is no answer', openai.InternalServerError,
    upstream(502, 'bad_answer'), (c) => chat(c, 'do/garbage'));
  await refused('an answer that is cut', openai.InternalServerError,
    upstream(502, 'bad_answer'), (c) => chat(c, 'do/cut-json'));
  await refused('a gateway that is shut', openai.InternalServerError,
    [503, 'service_unavailable_error', null, null, ''], plain,
    { location: '/down', maxRetries: 0 });
  await refused('a provider that is silent', openai.InternalServerError,
    upstream(504, 'upstream_timeout'), (c) => chat(c, 'hasty/hang'));
  await refused('a stream that is silent', openai.InternalServerError,
    upstream(504, 'upstream_timeout'),
    (c) => chat(c, 'hasty/hang', { stream: true }));
}

async function retries() {
  let tag = claim();
  const begun = performance.now();
  let answer = await chat(at({ location: '/limit', tag }), 'gpt-4o');
  ok(performance.now() - begun >= 990,
    "REQ-44: a 429 of nginx's is retried after its Retry-After");
  same(answer.choices[0].message.content, TEXT, '  and answered');
  await ask('log', answer._request_id);
  same((await ask('requests', tag)).client, 2, '  with two requests');

  for (const [status, model] of [[503, 'twice/status-503'],
    [429, 'twice/status-429'], [502, 'twice/cut-json'],
    [502, 'twice/garbage']]) {
    await ask('forget');
    tag = claim();
    try {
      await chat(at({ tag }), model);
      ok(false, `${model} fails`);
    } catch (e) {
      same(e.status, status, `${model} fails in the end`);
      same(e.headers.get('x-should-retry'), 'false',
        '  and says that another request is of no use');
      await ask('log', e.requestID);
    }
    same(await ask('requests', tag), { client: 1, provider: 1, second: 1 },
      '  REQ-26: one request of the SDK, one to each provider');
  }

  await ask('forget');
  tag = claim();
  answer = await chat(at({ tag }), 'spare/status-500');
  same(answer.choices[0].message.content, TEXT,
    'where another provider answers, the SDK sees no error');
  same(await ask('requests', tag), { client: 1, provider: 1, second: 1 },
    '  and sends one request');
}


// Streams that do not end well

async function broken_streams() {
  for (const [model, what] of [['do/cut', 'cut between two events'],
    ['do/cut-event', 'cut in an event'],
    ['do/cut-clean', 'ended properly but too early'], ['do/cut-rst', 'reset'],
    ['hasty/stall', 'silent for too long']]) {
    const tag = claim();
    const { data, response } = await chat(at({ tag }), model,
      { stream: true }).withResponse();
    const id = response.headers.get('x-request-id');
    const seen = [];
    const e = await raises(openai.APIError, () => all(data, seen),
      `REQ-3: a stream that is ${what} raises APIError`);
    same(content(seen), 'one two ', '  after all that came');
    same([e?.type, e?.code, e?.requestID],
      ['upstream_error', model === 'hasty/stall' ? 'upstream_timeout'
        : 'upstream_error', id], '  with type, code and requestID');
    same((await ask('log', id)).llm_stream_end, 'truncated',
      '  and for the log it is truncated');
    same((await ask('requests', tag)).client, 1, '  it is not sent again');
  }

  const seen = [];
  const e = await raises(openai.APIError,
    () => all(chat(at(), 'do/event-error', { stream: true }), seen),
    "REQ-22: a provider's error event raises APIError");
  same(content(seen), 'one two ', '  after all that came');
  same([e.message, e.type, e.param, e.code],
    ['overloaded while speaking', 'provider_type', 'input', 'provider_code'],
    "  with the provider's words");

  await raises(openai.APIError, () => all(at().responses.create({
    model: 'do/cut', input: 'Hello', stream: true,
  })), 'REQ-3: a response that is cut raises APIError');
  await raises(openai.APIError,
    () => at().chat.completions.stream({ model: 'do/cut', messages: HELLO })
      .finalContent(), 'REQ-3: so does the stream helper when it is cut');

  await raises(openai.APIError, () => all(chat(at(), 'do/cut-event', {
    stream: true, stream_options: { include_usage: true },
  })), 'REQ-3: half an event never hides the error');
  const fails = (call) => call().then(() => false, () => true);
  ok(await fails(() => chat(at({ maxRetries: 0 }), 'do/cut-large')),
    'REQ-3: large JSON that is cut is no answer');
}

async function aborts() {
  const closed = async (tag, name) => {
    ok(await ask('closed', tag), name);
    same((await ask('last', tag)).llm_stream_end, 'aborted',
      '  and the log says aborted');
  };

  let tag;
  for (const [model, what] of [['do/endless', 'speaks'],
    ['do/stall', 'is silent']]) {
    tag = claim();
    for await (const _ of await chat(at({ tag }), model, { stream: true })) {
      break;
    }
    await closed(tag, `a loop that is left while the provider ${what} closes`
      + ' its connection');
  }

  tag = claim();
  const stream = await chat(at({ tag }), 'do/endless', { stream: true });
  for await (const _ of stream) stream.controller.abort();
  await closed(tag, 'so does stream.controller.abort()');

  tag = claim();
  const controller = new AbortController();
  const waiting = chat(at({ tag }), 'do/hang', {},
    { signal: controller.signal });
  const refused = raises(openai.APIUserAbortError, () => waiting,
    'a signal ends a request');
  await ask('arrived', tag);
  controller.abort();
  await refused;
  ok(await ask('closed', tag), "  and the provider's connection closes");

  tag = claim();
  await raises(openai.APIConnectionTimeoutError,
    () => chat(at({ tag, timeout: 500 * SLOW, maxRetries: 0 }), 'do/hang'),
    'a client with less patience times out');
  ok(await ask('closed', tag), "  and the provider's connection closes");

  same((await chat(at(), 'gpt-4o')).choices[0].message.content, TEXT,
    'and after all that the gateway serves on');
}

await run(versions, chat_answers, streams, tools, structured, responses,
  other_operations, concurrent, provider_errors, gateway_errors, retries,
  broken_streams, aborts);
