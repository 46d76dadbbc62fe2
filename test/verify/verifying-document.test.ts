/** Guarantees that docs/verifying.md is right: every byte of its example, its rules, and its tables. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calculateJwkThumbprintUri, createLocalJWKSet, type JWK, jwtVerify } from 'jose';
import { canonicalJson } from '../../src/domain/json/canonical-json.ts';
import type { JsonValue } from '../../src/domain/json/strict-json.ts';
import { createVerifier } from '../../src/verify.ts';
import { fencesOf, plain, readText, tableOf } from '../support/markdown.ts';
import { claimsIn, digestOf } from './signed-tokens.ts';
import {
  EXAMPLE_PLAN_TEXT,
  EXAMPLE_STEP_INDEX,
  EXAMPLE_TIMES,
  exampleLines,
  workedExample,
} from './worked-example.ts';

const PAGE = readText('docs/verifying.md');

test('every line of the example is what node:crypto computes', () => {
  const shown = fencesOf(PAGE, 'text').find((fence) => fence.startsWith('public key'));
  assert.deepEqual(shown?.trimEnd().split('\n'), exampleLines(workedExample().lines));
  assert.equal(fencesOf(PAGE, 'json')[0]?.trimEnd(), EXAMPLE_PLAN_TEXT);
});

test('the example is what Writ computes, and every verifier takes it', async () => {
  const { jwt, jwks, proof, canonicalPlan } = workedExample();
  const plan = JSON.parse(EXAMPLE_PLAN_TEXT) as { goal: string; steps: object[] };
  const written = canonicalJson(plan as unknown as JsonValue);
  assert.deepEqual(written, { ok: true, text: canonicalPlan });
  const claims = claimsIn(jwt);
  const { merkleRootHex, treeSize, stepProofs } = digestOf(plan.steps);
  assert.equal(claims['merkle_root'], merkleRootHex);
  assert.equal(claims['tree_size'], treeSize);
  assert.deepEqual(stepProofs[EXAMPLE_STEP_INDEX]?.proof, proof);

  const now = new Date(EXAMPLE_TIMES.iat * 1000);
  const expected = { issuer: 'https://writ.example', audience: 'writ' };
  const verifier = createVerifier({ jwks, ...expected, clock: () => now });
  for (const [stepIndex, step] of plan.steps.entries())
    await verifier.verifyStep(jwt, { stepIndex, step, proof: stepProofs[stepIndex] });
  await jwtVerify(jwt, createLocalJWKSet(jwks), {
    ...expected,
    algorithms: ['EdDSA'],
    typ: 'JWT',
    currentDate: now,
  });
});

test('the delegation that the page shows names its key by the thumbprint of that key', async () => {
  const shown = JSON.parse(fencesOf(PAGE, 'json')[1] ?? '') as { act: { sub: string }; cnf: { jwk: JWK } };
  assert.equal(shown.act.sub, await calculateJwkThumbprintUri(shown.cnf.jwk));
});

test('the page names every code with which writ/verify refuses', () => {
  const codes = [...readText('src/verify/verification-error.ts').matchAll(/\| '([A-Z_]+)'/g)].map(
    ([, code]) => code,
  );
  assert.ok(codes.length >= 9);
  for (const code of codes) assert.ok(PAGE.includes(`\`${code}\``), code);
});

test('rules are numbered from 1 without a gap, and no rule that is cited is missing', () => {
  const numbers = [...PAGE.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number));
  assert.deepEqual(
    numbers,
    Array.from({ length: numbers.length }, (_, index) => index + 1),
  );
  const cited = [...PAGE.matchAll(/\brules? (\d+)(?: (?:to|and) (\d+))?/g)].flatMap(([, a, b]) => [a, b]);
  for (const number of cited.filter((text) => text !== undefined))
    assert.ok(numbers.includes(Number(number)), number);
});

test('every library of the table of clocks stands in the table of libraries', () => {
  const libraries = tableOf(PAGE, 'library').map(([name]) => plain(name).split(' ')[0]);
  const clocks = tableOf(PAGE.slice(PAGE.indexOf('**A clock that is behind')), 'library').map(([name]) =>
    plain(name),
  );
  assert.ok(clocks.length >= 7);
  for (const name of clocks) assert.ok(libraries.includes(name), name);
});
