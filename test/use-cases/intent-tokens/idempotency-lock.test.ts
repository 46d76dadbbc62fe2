/** One at a time per idempotency key within a process: who comes second waits, and not for ever. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritError } from '../../../src/errors.ts';
import { createKeyedMutex } from '../../../src/use-cases/intent-tokens/idempotency-lock.ts';

function deferred<T>() {
  let resolve: (value: T) => void = () => {};
  let reject: (error: unknown) => void = () => {};
  const promise = new Promise<T>((onValue, onError) => {
    resolve = onValue;
    reject = onError;
  });
  return { promise, resolve, reject };
}

/** Lets everything that needs no timer happen. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const isBusy = (error: unknown): boolean =>
  error instanceof WritError && error.code === 'BUSY' && error.retryAfterSeconds === 1;

test('a second request begins only when the first has ended, and then does its own work', async () => {
  const once = createKeyedMutex();
  const first = deferred<string>();
  const seen: string[] = [];
  const one = once('key', () => {
    seen.push('one');
    return first.promise;
  });
  const two = once('key', async () => {
    seen.push('two');
    return 'second';
  });
  await settle();
  assert.deepEqual(seen, ['one']);
  first.resolve('first');
  assert.deepEqual(await Promise.all([one, two]), ['first', 'second']);
  assert.deepEqual(seen, ['one', 'two']);
});

test('never two of many are under way at once', async () => {
  const once = createKeyedMutex();
  let running = 0;
  let most = 0;
  const results = await Promise.all(
    Array.from({ length: 50 }, (_, index) =>
      once('key', async () => {
        running += 1;
        most = Math.max(most, running);
        await settle();
        running -= 1;
        return index;
      }),
    ),
  );
  assert.equal(most, 1);
  assert.deepEqual(
    results,
    Array.from({ length: 50 }, (_, index) => index),
  );
});

test('other keys do not wait', async () => {
  const once = createKeyedMutex();
  const held = deferred<void>();
  const one = once('one', () => held.promise);
  assert.equal(await once('other', async () => 'done'), 'done');
  held.resolve();
  await one;
});

test('a first request that fails is its own: it hears the error, the second does its work', async () => {
  const once = createKeyedMutex();
  const first = deferred<void>();
  const one = once('key', () => first.promise);
  const two = once('key', async () => 'done');
  const refusal = new Error('refused');
  first.reject(refusal);
  await assert.rejects(one, refusal);
  assert.equal(await two, 'done');
});

test('work that throws before it begins leaves the key free', async () => {
  const once = createKeyedMutex();
  const refusal = new Error('at once');
  await assert.rejects(
    once('key', () => {
      throw refusal;
    }),
    refusal,
  );
  assert.equal(await once('key', async () => 'done'), 'done');
});

test('a key that is over is free at once', async () => {
  const once = createKeyedMutex(0);
  for (let round = 0; round < 3; round += 1) assert.equal(await once('key', async () => round), round);
});

test('who waits longer than it may is told BUSY and when to come back, and its work is never done', async () => {
  const once = createKeyedMutex(5);
  const held = deferred<string>();
  const one = once('key', () => held.promise);
  let isDone = false;
  const work = async () => {
    isDone = true;
  };
  await assert.rejects(once('key', work), isBusy);
  await assert.rejects(once('key', work), isBusy);
  held.resolve('first');
  assert.equal(await one, 'first');
  await settle();
  assert.equal(isDone, false);
  assert.equal(await once('key', async () => 'later'), 'later');
});

test('one waits 2 seconds and no longer', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const tick = async (ms: number): Promise<void> => {
    now += ms;
    t.mock.timers.tick(ms);
    await settle();
  };
  const once = createKeyedMutex();
  const held = deferred<void>();
  const one = once('key', () => held.promise);
  let outcome: unknown = 'waiting';
  const two = once('key', async () => 'done').catch((error: unknown) => {
    outcome = error;
  });
  await settle();
  await tick(1999);
  assert.equal(outcome, 'waiting');
  await tick(1);
  assert.ok(isBusy(outcome));
  held.resolve();
  await Promise.all([one, two]);
});

test('who waits behind several waits 2 seconds in all, not for each', async (t) => {
  let now = 0;
  t.mock.method(performance, 'now', () => now);
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const once = createKeyedMutex();
  const [first, second] = [deferred<void>(), deferred<void>()];
  const outcomes: unknown[] = [];
  const running = [
    once('key', () => first.promise),
    once('key', () => second.promise),
    once('key', async () => {}).catch((error: unknown) => void outcomes.push(error)),
  ];
  await settle();
  now += 1500;
  t.mock.timers.tick(1500);
  first.resolve();
  await settle();
  assert.deepEqual(outcomes, []);
  now += 500;
  t.mock.timers.tick(500);
  await settle();
  assert.equal(outcomes.length, 1);
  assert.ok(isBusy(outcomes[0]));
  second.resolve();
  await Promise.all(running);
});
