/** Guarantees that manifest, README, types and image agree on the versions of Node.js. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { readText } from '../support/markdown.ts';

const { engines, devDependencies } = JSON.parse(readText('package.json')) as {
  engines: { node: string };
  devDependencies: Record<string, string>;
};
const oldest = /^>=(\d+)\.(\d+)$/.exec(engines.node);
const readme = readText('README.md');

test('the README names the oldest Node.js that the manifest admits', () => {
  assert.ok(oldest !== null, `engines.node is ${engines.node}`);
  const named = [...readme.matchAll(/Node\.js (\d+\.\d+) or newer/g)].map((match) => `>=${match[1]}`);
  assert.deepEqual(named, [engines.node]);
});

test('the code is checked against the types of the oldest Node.js', () => {
  assert.equal(devDependencies['@types/node']?.split('.')[0], oldest?.[1]);
});

test('the image is built on one Node.js, the one that the README names, and the manifest admits it', () => {
  const dockerfile = existsSync('Dockerfile') ? readText('Dockerfile') : undefined;
  const inImage = [...readme.matchAll(/on Node\.js (\d+)\b/g)].map((match) => match[1] ?? '');
  assert.equal(inImage.length, 1);
  assert.ok(Number(inImage[0]) >= Number(oldest?.[1]));
  if (dockerfile === undefined) return;
  const bases = [...dockerfile.matchAll(/^(?:FROM|ARG \w+=)\s*(?:--platform=\S+ )?node:(\d+)/gm)].map(
    (match) => match[1],
  );
  assert.deepEqual([...new Set(bases)], inImage);
});
