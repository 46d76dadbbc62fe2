/** Guarantees that no test is switched off for good, none runs alone, and none may wait for ever for a key. */
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
  const files = programsBelow('test');
  assert.ok(files.length > 20);
  assert.deepEqual(
    files.filter((file) => isSwitchedOff(readText(file))),
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

test('nobody lets node:crypto generate a key pair, which Node.js 20 may never finish to export', () => {
  const generates = /\bgenerateKeyPair(?:Sync)?\(/;
  for (const folder of ['src', 'test', 'examples']) {
    const files = programsBelow(folder);
    assert.ok(files.length > 0);
    assert.deepEqual(
      files.filter((file) => generates.test(readText(file))),
      [],
    );
  }
  assert.match(`${'generateKeyPair'}Sync('ed25519')`, generates);
});

function programsBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.[cm]?[jt]s$/.test(file))
    .map((file) => `${folder}/${file}`);
}

function isSwitchedOff(text: string): boolean {
  return SWITCHED_OFF.some((form) => form.test(text));
}
