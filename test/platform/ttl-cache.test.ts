/** What a process remembers of API keys: bounded in number and time, and never the key itself. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { createProcessFingerprint } from '../../src/keys/credentials/fingerprint.ts';
import { createCredentialMemory } from '../../src/platform/ttl-cache.ts';

function memoryWithClock(options: { maxEntries?: number; maxAgeMs?: number } = {}) {
  const clock = { ms: 1000 };
  const memory = createCredentialMemory<string>({
    maxEntries: options.maxEntries ?? 3,
    maxAgeMs: options.maxAgeMs ?? 60_000,
    monotonicMs: () => clock.ms,
    fingerprint: createProcessFingerprint(),
  });
  return { memory, clock };
}

test('a fact is known until its time is over, and not a moment longer', () => {
  const { memory, clock } = memoryWithClock();
  memory.remember('f', 'good');
  assert.equal(memory.recall('f'), 'good');
  clock.ms += 59_999;
  assert.equal(memory.recall('f'), 'good');
  clock.ms += 1;
  assert.equal(memory.recall('f'), undefined);
  assert.equal(memory.recall('never seen'), undefined);
});

test('being asked for does not make a fact live longer', () => {
  const { memory, clock } = memoryWithClock();
  memory.remember('f', 'good');
  for (let seconds = 1; seconds < 60; seconds += 1) {
    clock.ms += 1000;
    assert.equal(memory.recall('f'), 'good');
  }
  clock.ms += 1000;
  assert.equal(memory.recall('f'), undefined);
});

test('replacing changes the fact and keeps its time', () => {
  const { memory, clock } = memoryWithClock();
  memory.remember('f', 'old');
  clock.ms += 50_000;
  memory.replace('f', 'new');
  assert.equal(memory.recall('f'), 'new');
  clock.ms += 10_000;
  assert.equal(memory.recall('f'), undefined);
});

test('replacing what is not known makes nothing known', () => {
  const { memory, clock } = memoryWithClock();
  memory.replace('f', 'new');
  assert.equal(memory.recall('f'), undefined);
  memory.remember('f', 'old');
  clock.ms += 60_000;
  memory.replace('f', 'new');
  assert.equal(memory.recall('f'), undefined, 'nor what is over');
});

test('there is room for so many, and the oldest leaves', () => {
  const { memory } = memoryWithClock({ maxEntries: 3 });
  for (const name of ['a', 'b', 'c', 'd', 'e']) memory.remember(name, name);
  const known = ['a', 'b', 'c', 'd', 'e'].filter((name) => memory.recall(name) !== undefined);
  assert.deepEqual(known, ['c', 'd', 'e']);
});

test('what is learnt again is the youngest, and takes no second place', () => {
  const { memory, clock } = memoryWithClock({ maxEntries: 3 });
  for (const name of ['a', 'b', 'c']) memory.remember(name, name);
  clock.ms += 30_000;
  memory.remember('a', 'again');
  memory.remember('d', 'd');
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => memory.recall(name)),
    ['again', undefined, 'c', 'd'],
  );
  clock.ms += 30_000;
  assert.equal(memory.recall('a'), 'again', 'with a time of its own');
});

test('a key’s fingerprint is its own, differs in every process and does not show the key', () => {
  const key = 'ak_live_0123456789abcdef00112233445566778899aabbccddeeff001122333a4fc082';
  const [one, other] = [memoryWithClock().memory, memoryWithClock().memory];
  assert.equal(one.fingerprint(key), one.fingerprint(key));
  assert.notEqual(one.fingerprint(key), one.fingerprint(`${key} `));
  assert.notEqual(one.fingerprint(key), other.fingerprint(key));
  assert.equal(Buffer.from(one.fingerprint(key), 'base64').length, 32);
  one.remember(one.fingerprint(key), 'good');
  assert.ok(!inspect(one, { depth: 8, showHidden: true }).includes(key));
});
