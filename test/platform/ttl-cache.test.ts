/** What a process knows for a while: bounded in number and in age, however often it is asked for. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createTtlCache } from '../../src/platform/ttl-cache.ts';
import { createMemories } from '../../src/storage/engine/memories.ts';

function cacheWithClock(options: { maxEntries?: number; maxAgeMs?: number } = {}) {
  const clock = { ms: 1000 };
  const memories = createMemories();
  const cache = createTtlCache<string>({
    maxEntries: options.maxEntries ?? 3,
    maxAgeMs: options.maxAgeMs ?? 60_000,
    monotonicMs: () => clock.ms,
    memories,
    name: 'facts',
  });
  return { cache, clock, memories };
}

test('a fact is known until its time is over, and not a moment longer', () => {
  const { cache, clock } = cacheWithClock();
  cache.set('f', 'good', 0);
  assert.equal(cache.get('f'), 'good');
  clock.ms += 59_999;
  assert.equal(cache.get('f'), 'good');
  clock.ms += 1;
  assert.equal(cache.get('f'), undefined);
  assert.equal(cache.get('never seen'), undefined);
});

test('being asked for does not make a fact live longer', () => {
  const { cache, clock } = cacheWithClock();
  cache.set('f', 'good', 0);
  for (let seconds = 1; seconds < 60; seconds += 1) {
    clock.ms += 1000;
    assert.equal(cache.get('f'), 'good');
  }
  clock.ms += 1000;
  assert.equal(cache.get('f'), undefined);
});

test('replacing changes the fact and keeps its time', () => {
  const { cache, clock } = cacheWithClock();
  cache.set('f', 'old', 0);
  clock.ms += 50_000;
  cache.replace('f', 'new', 0);
  assert.equal(cache.get('f'), 'new');
  clock.ms += 10_000;
  assert.equal(cache.get('f'), undefined);
});

test('replacing what is not known makes nothing known', () => {
  const { cache, clock } = cacheWithClock();
  cache.replace('f', 'new', 0);
  assert.equal(cache.get('f'), undefined);
  cache.set('f', 'old', 0);
  clock.ms += 60_000;
  cache.replace('f', 'new', 0);
  assert.equal(cache.get('f'), undefined, 'nor what is over');
});

test('there is room for so many, and the oldest leaves', () => {
  const { cache } = cacheWithClock({ maxEntries: 3 });
  for (const name of ['a', 'b', 'c', 'd', 'e']) cache.set(name, name, 0);
  const known = ['a', 'b', 'c', 'd', 'e'].filter((name) => cache.get(name) !== undefined);
  assert.deepEqual(known, ['c', 'd', 'e']);
});

test('what is learnt again is the youngest, and takes no second place', () => {
  const { cache, clock } = cacheWithClock({ maxEntries: 3 });
  for (const name of ['a', 'b', 'c']) cache.set(name, name, 0);
  clock.ms += 30_000;
  cache.set('a', 'again', 0);
  cache.set('d', 'd', 0);
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((name) => cache.get(name)),
    ['again', undefined, 'c', 'd'],
  );
  clock.ms += 30_000;
  assert.equal(cache.get('a'), 'again', 'with a time of its own');
});

test('what was asked for lately stays where room is short', () => {
  const { cache } = cacheWithClock({ maxEntries: 3 });
  for (const name of ['a', 'b', 'c']) cache.set(name, name, 0);
  assert.equal(cache.get('a'), 'a');
  cache.set('d', 'd', 0);
  const known = ['a', 'b', 'c', 'd'].filter((name) => cache.get(name) !== undefined);
  assert.deepEqual(known, ['a', 'c', 'd']);
});

test('what was deleted is not known', () => {
  const { cache } = cacheWithClock();
  cache.set('a', 'a', 0);
  cache.delete('a');
  cache.delete('never seen');
  assert.equal(cache.get('a'), undefined);
});

test('an entry made at the clock’s zero ends in its time too', () => {
  const { cache, clock } = cacheWithClock();
  clock.ms = 0;
  cache.set('a', 'a', 0);
  clock.ms = 60_000;
  assert.equal(cache.get('a'), undefined);
});

test('what was read before everything was dropped does not become known after it', () => {
  const { cache, memories } = cacheWithClock();
  const before = cache.generation();
  cache.set('f', 'good', before);
  memories.forgetAll('another history');
  assert.equal(cache.get('f'), undefined);
  cache.set('f', 'of the lost history', before);
  assert.equal(cache.get('f'), undefined);
  cache.set('f', 'good', cache.generation());
  cache.replace('f', 'of the lost history', before);
  assert.equal(cache.get('f'), 'good');
});
