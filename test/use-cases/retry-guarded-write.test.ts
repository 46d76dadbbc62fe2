/** Read, decide, write once with guards: what changed meanwhile starts over, is never a refusal, and not for ever. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { WritError } from '../../src/errors.ts';
import { RETRY, retryGuardedWrite } from '../../src/use-cases/retry-guarded-write.ts';

/** Attempts that each end as listed, and whether each was told that it is the first. */
function attemptsEnding<T>(...ends: (T | typeof RETRY)[]) {
  const told: boolean[] = [];
  const attempt = async (isFirst: boolean): Promise<T | typeof RETRY> => {
    const end = ends[told.length];
    told.push(isFirst);
    if (end === undefined && told.length > ends.length) throw new Error('one attempt too many');
    return end as T | typeof RETRY;
  };
  return { attempt, told };
}

test('an attempt that succeeds is the last', async () => {
  const { attempt, told } = attemptsEnding('done');
  assert.equal(await retryGuardedWrite(attempt), 'done');
  assert.deepEqual(told, [true]);
});

test('after one, two or three that found another state the next one answers, and each but the first reads afresh', async () => {
  for (const failures of [1, 2, 3]) {
    const ends = Array<typeof RETRY>(failures).fill(RETRY);
    const { attempt, told } = attemptsEnding<string>(...ends, 'done');
    assert.equal(await retryGuardedWrite(attempt), 'done');
    assert.deepEqual(told, [true, ...Array(failures).fill(false)]);
  }
});

test('the first attempt and 3 more, then 503 BUSY with a time to come back: never a refusal', async () => {
  const { attempt, told } = attemptsEnding<string>(RETRY, RETRY, RETRY, RETRY);
  await assert.rejects(retryGuardedWrite(attempt), (error) => {
    assert.ok(error instanceof WritError, String(error));
    assert.equal(error.code, 'BUSY');
    assert.equal(error.status, 503);
    assert.equal(error.retryAfterSeconds, 1);
    return true;
  });
  assert.deepEqual(told, [true, false, false, false]);
});

test('whatever else an attempt resolves with is its result, also what looks like nothing', async () => {
  for (const result of [undefined, null, false, 0, '', [], {}, Symbol('start over')]) {
    const { attempt, told } = attemptsEnding<unknown>(RETRY, result);
    assert.equal(await retryGuardedWrite(attempt), result, String(result));
    assert.equal(told.length, 2);
  }
});

test('a refusal or a fault is the answer at once: it starts nothing over', async () => {
  const faults = [new WritError('TOKEN_REVOKED', 'x'), new WritError('BUSY', 'x'), new Error('x'), undefined];
  for (const fault of faults) {
    let attempts = 0;
    const attempt = async (isFirst: boolean) => {
      attempts += 1;
      if (isFirst) return RETRY;
      throw fault;
    };
    await assert.rejects(retryGuardedWrite(attempt), (error) => error === fault);
    assert.equal(attempts, 2);
  }
});

test('an attempt begins when the one before it has ended, never beside it', async () => {
  let running = 0;
  let most = 0;
  const attempt = async (isFirst: boolean) => {
    running += 1;
    most = Math.max(most, running);
    await new Promise(setImmediate);
    running -= 1;
    return isFirst ? RETRY : 'done';
  };
  assert.equal(await retryGuardedWrite(attempt), 'done');
  assert.equal(most, 1);
});
