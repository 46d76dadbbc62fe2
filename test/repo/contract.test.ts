/**
 * Guarantees that `docs/contract.md` and the code say the same of endpoints, error codes, settings and events, and that the
 * contract marks what is not served yet in one way.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES } from '../../src/errors.ts';
import { CONFIG_VARIABLES } from '../../src/settings-table.ts';
import { buildTestApp } from '../support/app.ts';
import { documentedPath } from '../support/documented-path.ts';
import { readText, tableOf } from '../support/markdown.ts';
import { postgresSkip } from '../support/postgres.ts';

const text = readText('docs/contract.md');
const NOT_SERVED = '*(not served yet)*';
const ALWAYS_REFUSED = '*(not served yet: always refused)*';

const codeSpans = (cell: string | undefined): string[] =>
  [...(cell ?? '').matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '');
const isServed = (row: readonly string[]): boolean => !row.some((cell) => cell.includes(NOT_SERVED));

test('section 1 lists every endpoint that is served, and marks every other', {
  skip: postgresSkip,
}, async (t) => {
  const { routes } = await buildTestApp(t);
  const served = [
    ...routes.map((route) => `${route.method} ${documentedPath(route)}`),
    // On a listener of its own.
    'GET /metrics',
  ].sort();
  const rows = tableOf(text, 'method and path');
  const endpointsOf = (chosen: readonly string[][]): string[] =>
    chosen.flatMap(([cell]) => codeSpans(cell)).map((endpoint) => endpoint.replace(/:(\w+)/g, '{$1}'));
  assert.deepEqual(endpointsOf(rows.filter(isServed)).sort(), served);
  const notServed = endpointsOf(rows.filter((row) => !isServed(row)));
  assert.deepEqual(
    notServed.filter((endpoint) => served.includes(endpoint)),
    [],
  );
});

test('section 3 lists every error code with its status, and marks every other', () => {
  const rows = tableOf(text, 'status').map((row) => ({
    status: Number(row[0]),
    codes: codeSpans(row[1]).filter((span) => /^[A-Z][A-Z_]+$/.test(span)),
    served: isServed(row),
  }));
  const stated = rows
    .filter((row) => row.served)
    .flatMap(({ status, codes }) => codes.map((code) => [code, status]));
  const real = Object.entries(ERROR_CODES).map(([code, { status }]) => [code, status]);
  assert.deepEqual(stated.sort(), real.sort());
  const marked = rows.filter((row) => !row.served).flatMap((row) => row.codes);
  assert.ok(marked.length > 0 && marked.every((code) => !(code in ERROR_CODES)));
});

test('section 9 lists every setting, and marks every other', () => {
  const rows = tableOf(text, 'variable');
  const variablesOf = (chosen: readonly string[][]): string[] => chosen.flatMap(([cell]) => codeSpans(cell));
  assert.deepEqual(variablesOf(rows.filter(isServed)).sort(), [...CONFIG_VARIABLES].sort());
  const known: readonly string[] = CONFIG_VARIABLES;
  const marked = variablesOf(rows.filter((row) => !isServed(row)));
  assert.ok(marked.length > 0 && marked.every((variable) => !known.includes(variable)));
});

test('section 8 lists every type of event, and no other', () => {
  const [, union = ''] =
    /export type EventType =\n(.*?);/s.exec(readText('src/use-cases/audit/ports.ts')) ?? [];
  const real = [...union.matchAll(/'([a-z._]+)'/g)].map((match) => match[1] ?? '');
  const [, stated = ''] = /\*\*Event types\*\*: `([^`]+)`/.exec(text) ?? [];
  assert.deepEqual(stated.split(' ').sort(), real.sort());
});

test('what is not served yet is marked in one way', () => {
  const quotes = text.split('\n\n').filter((paragraph) => paragraph.startsWith('>'));
  assert.ok(quotes.length > 3);
  for (const quote of quotes) assert.match(quote, /^> Not served yet: \S/);
  const marks = text.match(/[^`.]*\bnot served yet\b[^`.]{0,20}/gi) ?? [];
  const loose = marks.filter(
    (mark) =>
      !mark.includes(NOT_SERVED) && !mark.includes(ALWAYS_REFUSED) && !/> Not served yet: /.test(mark),
  );
  // One sentence explains the mark.
  assert.deepEqual(
    loose.map((mark) => mark.trim()),
    ['Some of what is promised is not served yet'],
  );
});
