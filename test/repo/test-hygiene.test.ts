/** Guarantees that no test is switched off for good and none runs alone. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { readText } from '../support/markdown.ts';

/** A condition, such as `skip: postgresSkip`, is allowed: it names what is missing. */
const SWITCHED_OFF = [
  /\b(?:test|it|describe|suite)\s*\.\s*(?:skip|only|todo)\b/,
  /\bt\s*\.\s*todo\s*\(/,
  /\b(?:skip|only|todo)\s*:\s*(?:true\b|['"`])/,
];

test('no test is skipped, alone or to be done', () => {
  const files = readdirSync('test', { recursive: true, encoding: 'utf8' }).filter((file) =>
    file.endsWith('.ts'),
  );
  assert.ok(files.length > 20);
  assert.deepEqual(
    files.filter((file) => isSwitchedOff(readText(`test/${file}`))),
    [],
  );
});

test('a test that is switched off would be found', () => {
  for (const way of ['skip', 'only', 'todo']) {
    assert.ok(isSwitchedOff(`${'test'}.${way}('x', () => {});`));
    assert.ok(isSwitchedOff(`test('x', { ${way}: ${true} }, () => {});`));
  }
  assert.ok(!isSwitchedOff("test('x', { skip: postgresSkip }, () => {});"));
});

function isSwitchedOff(text: string): boolean {
  return SWITCHED_OFF.some((form) => form.test(text));
}
