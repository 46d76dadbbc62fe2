/** Guarantees that docs/operating.md tells of every metric what its declaration says, and that names are as Prometheus asks. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METRICS } from '../../src/platform/metrics.ts';
import { readText, tableOf } from '../support/markdown.ts';

test('docs/operating.md lists every metric with its labels and its meaning, and no other', () => {
  const stated = tableOf(readText('docs/operating.md'), 'metric');
  const declared = Object.entries(METRICS).map(([name, { labels, help }]) => [
    `\`${name}\``,
    labels.map((label) => `\`${label}\``).join(', '),
    help,
  ]);
  assert.deepEqual(stated, declared);
});

test('a counter, and nothing else, ends with _total; what has a unit says it in base units', () => {
  for (const [name, { kind }] of Object.entries(METRICS)) {
    assert.match(name, /^writ_[a-z_]+$/);
    assert.equal(name.endsWith('_total'), kind === 'counter', name);
    assert.doesNotMatch(name, /_(ms|milliseconds|minutes|hours|days|kb|mb)(_|$)/, name);
  }
});
