// The program's side of Program.pm: test points, and questions to the test.

import { createInterface } from 'node:readline';
import { isDeepStrictEqual, inspect } from 'node:util';

export const GATEWAY = process.env.LLM_GATEWAY;
export const SLOW = Number(process.env.LLM_SLOW || 1);

const lines = createInterface({ input: process.stdin });
const answers = lines[Symbol.asyncIterator]();
let points = 0;

function say(line) {
  process.stdout.write(line + '\n');
}

export function ok(good, name, ...why) {
  points++;
  say((good ? 'ok - ' : 'not ok - ') + name);
  if (!good) {
    for (const line of why.map(String).join('\n').split('\n')) {
      say('# ' + line.slice(0, 1000));
    }
  }
  return good;
}

export function same(got, want, name) {
  return ok(isDeepStrictEqual(got, want), name,
    'got:  ' + inspect(got, { depth: 9 }),
    'want: ' + inspect(want, { depth: 9 }));
}

// The exception, which is of just this class; the point is made here.
export async function raises(kind, call, name) {
  try {
    const got = await call();
    ok(false, name, 'no exception, but', inspect(got));
  } catch (e) {
    ok(e.constructor === kind, name, inspect(e));
    return e;
  }
}

export async function ask(...words) {
  say(['?', ...words].join(' '));
  const answer = JSON.parse((await answers.next()).value);
  if (answer?.failed) throw new Error(answer.failed);
  return answer;
}

// Each test; what one of them dies of is a failed point.
export async function run(...tests) {
  for (const test of tests) {
    try {
      await test();
    } catch (e) {
      ok(false, test.name + ' came to its end', e?.stack ?? inspect(e));
    }
  }
  say(`done ${points}`);
  process.exit(0);
}
