/** A long command shows how far it is: rows, rate and time left, drawn again on a terminal and now and then elsewhere. */
import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { createProgress, progressLine } from '../../src/commands/progress-line.ts';

test('a line tells rows, rate and the time that is left', () => {
  for (const [done, total, elapsedMs, line] of [
    [0, 0, 0, 'x [########################] 0 of 0 rows, 0 a second'],
    [0, 100, 1000, 'x [                        ] 0 of 100 rows, 0 a second'],
    [50, 100, 1000, 'x [############            ] 50 of 100 rows, 50 a second, 1 s left'],
    [100, 100_100, 1000, 'x [                        ] 100 of 100100 rows, 100 a second, 16 min 40 s left'],
    [1, 7201, 1000, 'x [                        ] 1 of 7201 rows, 1 a second, 2 h 0 min left'],
    [9, 9, 900, 'x [########################] 9 of 9 rows, 10 a second, 0 s left'],
  ] as const) {
    assert.equal(progressLine('x', { done, total, elapsedMs }), line);
  }
});

test('a terminal has one line, and a file one now and then', () => {
  for (const isTTY of [true, false]) {
    let text = '';
    let now = 0;
    const stderr = new Writable({
      decodeStrings: false,
      write: (chunk: string, _encoding, done) => {
        text += chunk;
        done();
      },
    });
    const progress = createProgress({
      stderr: Object.assign(stderr, { isTTY }),
      what: 'x',
      nowMs: () => now,
    });
    for (let done = 1; done <= 100; done += 1) {
      now += 100;
      progress.update(done, 100);
    }
    progress.end();
    assert.equal(text.split('\r\u001b[K').length - 1, isTTY ? 51 : 0);
    assert.equal(text.split('\n').length - 1, isTTY ? 1 : 3);
    assert.ok(text.endsWith('100 of 100 rows, 10 a second, 0 s left\n'));
  }
});
