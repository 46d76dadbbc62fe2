/** A refusal costs the same bcrypt work whatever the cost of the stored hash, and whether there is one. */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import bcrypt from 'bcrypt';
import { costOfHash, generateApiKey, hashApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { createEvenCompare } from '../../../src/keys/credentials/even-compare.ts';

/** The costs that were compared at, in their order; bcrypt itself decides. */
function compares(t: TestContext): () => number[] {
  const costs: number[] = [];
  const original = bcrypt.compare;
  t.mock.method(bcrypt, 'compare', (text: string, hash: string) => {
    costs.push(costOfHash(hash) ?? 0);
    return original(text, hash);
  });
  return () => costs.splice(0);
}

const workOf = (costs: readonly number[]): number => costs.reduce((sum, cost) => sum + 2 ** cost, 0);

test('a wrong secret of each cost and an unknown id cost the work of the dearest', async (t) => {
  const taken = compares(t);
  const even = await createEvenCompare(5);
  even.learn([4, 7]);
  const { text } = generateApiKey();
  for (const [cost, steps] of [
    [undefined, [7]],
    [4, [4, 4, 5, 6]],
    [5, [5, 5, 6]],
    [6, [6, 6]],
    [7, [7]],
  ] as const) {
    const hash = cost === undefined ? undefined : await hashApiKey(generateApiKey().text, cost);
    assert.equal(await even.compare(text, hash), false);
    const done = taken();
    assert.deepEqual(done, steps, String(cost));
    assert.equal(workOf(done), 2 ** 7);
  }
});

test('a right secret costs its own hash and no more', async (t) => {
  const taken = compares(t);
  const even = await createEvenCompare(6);
  const { text } = generateApiKey();
  assert.equal(await even.compare(text, await hashApiKey(text, 4)), true);
  assert.deepEqual(taken(), [4]);
});

test('a dearer hash that is seen is learnt at once, and nothing that is learnt makes it cheaper', async (t) => {
  const taken = compares(t);
  const even = await createEvenCompare(4);
  const { text } = generateApiKey();
  const seen = await hashApiKey(text, 6);
  assert.equal(await even.compare(text, seen), true);
  even.learn([4]);
  even.learn([]);
  taken();
  await even.compare(text, undefined);
  assert.deepEqual(taken(), [6]);
});

test('a row that nobody wrote does not hold up everybody: its cost is not taken over', async (t) => {
  const taken = compares(t);
  const even = await createEvenCompare(4);
  even.learn([14, 31, 99, -1]);
  const { text } = generateApiKey();
  await even.compare(text, undefined);
  assert.deepEqual(taken(), [4]);
  // bcrypt does no work on what is no hash.
  for (const broken of [
    '',
    'x',
    '$2b$04$',
    `$2b$04$${'a'.repeat(52)}`,
    `$2b$04$${'!'.repeat(53)}`,
    `$1$04$${'a'.repeat(53)}`,
  ]) {
    assert.equal(await even.compare(text, broken), false);
    assert.equal(taken().at(-1), 4, broken);
  }
});

test('what stands in for a hash has the form of one at every cost, and no key matches it', async (t) => {
  const hashes: string[] = [];
  t.mock.method(bcrypt, 'compare', async (_: string, hash: string) => {
    hashes.push(hash);
    return false;
  });
  for (let cost = 4; cost <= 13; cost += 1) {
    await (await createEvenCompare(cost)).compare(generateApiKey().text, undefined);
  }
  assert.equal(new Set(hashes).size, 10);
  for (const [index, hash] of hashes.entries()) {
    assert.match(hash, /^\$2b\$\d\d\$[./A-Za-z0-9]{53}$/);
    assert.equal(bcrypt.getRounds(hash), index + 4);
  }
});
