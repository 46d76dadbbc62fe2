/** Guarantees that limits on cost hold for the work that is measured and not for the machine that it runs on. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { assertCostsUnder, quickestMilliseconds } from '../support/duration.ts';
import { readText } from '../support/markdown.ts';

const MEASURES_ITSELF = /\b(?:performance\.now|hrtime(?:\.bigint)?|cpuUsage)\s*\(/;

/** Keeps the processor busy for as long as the clock and the processor's own count both say. */
function compute(milliseconds: number): void {
  const started = performance.now();
  const cpuBefore = process.cpuUsage();
  const isOver = (): boolean => {
    const { user, system } = process.cpuUsage(cpuBefore);
    return performance.now() - started >= milliseconds && user + system >= milliseconds * 1000;
  };
  while (!isOver());
}

function sleep(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

test('work that is always too dear is tried several times, and refused', () => {
  let runs = 0;
  const work = () => {
    runs += 1;
    compute(20);
  };
  const refusal = /^AssertionError.*the work costs \d+\.\d floors, not under 1$/;
  assert.throws(() => assertCostsUnder({ floors: 1 }, work, 'the work', () => compute(1)), refusal);
  assert.ok(runs >= 5, `${runs} runs`);
});

test('no figure is smaller than the least that the work takes', () => {
  const milliseconds = quickestMilliseconds(() => compute(5), 5);
  assert.ok(milliseconds >= 5, `${milliseconds} ms`);
});

test('one run is enough where it is cheap, and dear ones before it do not count', () => {
  let runs = 0;
  const floor = () => compute(1);
  const cheap = () => {
    runs += 1;
  };
  assertCostsUnder({ floors: 10_000 }, cheap, 'it', floor);
  assert.equal(runs, 1);
  const dearAtFirst = () => {
    runs += 1;
    if (runs <= 3) compute(50);
  };
  assertCostsUnder({ floors: 1 }, dearAtFirst, 'it', floor);
  assert.equal(runs, 4);
});

test('time in which the machine did something else does not count', () => {
  const milliseconds = quickestMilliseconds(() => sleep(200), 1);
  assert.ok(milliseconds < 100, `${milliseconds} ms`);
});

test('what the work throws is thrown', () => {
  const work = () => assert.fail('wrong answer');
  assert.throws(() => assertCostsUnder({ floors: 5 }, work), /wrong answer/);
});

test('no other test measures time by itself', () => {
  const exempt = new Set([
    'support/duration.ts',
    'support/runner/record-cost.ts',
    'repo/test-durations.test.ts',
  ]);
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter(
    (file) => file.endsWith('.ts') && !exempt.has(file),
  );
  assert.ok(files.length > 20);
  assert.deepEqual(
    files.filter((file) => MEASURES_ITSELF.test(readText(`test/${file}`))),
    [],
  );
});
