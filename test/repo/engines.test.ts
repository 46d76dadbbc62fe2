/** Guarantees that `npm ci` warns of no engine on a Node.js that Writ supports. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { satisfies } from 'semver';
import { readText } from '../support/markdown.ts';

/** The first release of each line that is supported; ranges that admit it admit the later ones. */
const SUPPORTED = ['20.19.0', '22.12.0', '24.0.0'];

interface Entry {
  readonly engines?: { readonly node?: string };
  readonly os?: readonly string[];
}

const { packages } = JSON.parse(readText('package-lock.json')) as { packages: Record<string, Entry> };

for (const version of SUPPORTED) {
  test(`every package that Linux installs admits Node.js ${version}`, () => {
    assert.deepEqual(refusing(packages, version), []);
  });
}

test('a package that asks for a newer Node.js would be found', () => {
  const planted = { newer: { engines: { node: '>=22' } }, older: { engines: { node: '>=18' } }, any: {} };
  assert.deepEqual(refusing(planted, '20.19.0'), ['newer']);
});

function refusing(entries: Record<string, Entry>, version: string): string[] {
  return Object.entries(entries)
    .filter(([, { os }]) => os === undefined || os.includes('linux'))
    .filter(([, { engines }]) => !satisfies(version, engines?.node ?? '*'))
    .map(([path]) => path);
}
