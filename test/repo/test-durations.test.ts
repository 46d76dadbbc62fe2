/** Guarantees that limits on time hold for the work that is measured and not for the machine that it runs on. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { assertTakesUnder, quickestMilliseconds } from '../support/duration.ts';
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

test('work that is always too slow is tried several times, and refused', () => {
  let runs = 0;
  const work = () => {
    runs += 1;
    compute(5);
  };
  assert.throws(() => assertTakesUnder({ milliseconds: 5 }, work, 'the work'), /the work takes \d+[.\d]* ms/);
  assert.ok(runs >= 5, `${runs} runs`);
});

test('no figure is smaller than the least that the work takes', () => {
  const milliseconds = quickestMilliseconds(() => compute(5), { tries: 5 });
  assert.ok(milliseconds >= 5, `${milliseconds} ms`);
});

test('one run is enough where it is quick, and slow ones before it do not count', () => {
  let runs = 0;
  assertTakesUnder({ milliseconds: 10_000 }, () => {
    runs += 1;
  });
  assert.equal(runs, 1);
  assertTakesUnder({ milliseconds: 50 }, () => {
    runs += 1;
    if (runs <= 3) compute(50);
  });
  assert.equal(runs, 4);
});

test('time in which the machine did something else does not count', () => {
  const milliseconds = quickestMilliseconds(() => sleep(200), { tries: 1 });
  assert.ok(milliseconds < 100, `${milliseconds} ms`);
});

test('what the work throws is thrown', () => {
  const work = () => assert.fail('wrong answer');
  assert.throws(() => assertTakesUnder({ milliseconds: 5 }, work), /wrong answer/);
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
