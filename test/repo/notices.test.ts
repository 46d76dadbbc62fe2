/** Guarantees that `docs/webhooks.md` lists every type of notice with the members of its data, and no other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { NOTICES } from '../../src/use-cases/notices/build-notice.ts';
import { readText, tableOf } from '../support/markdown.ts';

const spansOf = (cell = ''): string[] => [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');

test('the table of notices is the one that the code has', () => {
  const rows = tableOf(readText('docs/webhooks.md'), 'type');
  let before: string[] = [];
  const stated = rows.map(([type, , data]) => {
    before = data === 'the same' ? before : spansOf(data);
    return [...spansOf(type), before];
  });
  assert.deepEqual(
    stated,
    Object.entries(NOTICES).map(([type, members]) => [type, [...members]]),
  );
});

test('each type of notice is a type of event of the audit trail', () => {
  const [, events = ''] = /\*\*Event types\*\*: `([^`]+)`/.exec(readText('docs/contract.md')) ?? [];
  const known = events.split(' ');
  assert.deepEqual(
    Object.keys(NOTICES).filter((type) => !known.includes(type)),
    [],
  );
});
