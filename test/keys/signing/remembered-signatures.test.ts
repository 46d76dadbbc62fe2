/** A right signature is checked once; a wrong one every time, and none under a key that is not ours any more. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rememberSignatures, type VerifyingKey } from '../../../src/keys/signing/remembered-signatures.ts';
import { createMemories } from '../../../src/storage/engine/memories.ts';

const text = (value: string) => new TextEncoder().encode(value);
const signatureOf = (name: string) => text(name.padEnd(64, '.'));
const RIGHT = signatureOf('right');

/** Takes `RIGHT` over everything, and counts. */
function aKey() {
  let checks = 0;
  const key: VerifyingKey = {
    verify: (_input, signature) => {
      checks += 1;
      return Buffer.compare(signature, RIGHT) === 0;
    },
  };
  return { key, checks: () => checks };
}

const jws = (signingInput: string, signature = RIGHT, kid = 'k') => ({
  kid,
  signingInput: text(signingInput),
  signature,
});

test('a right signature is checked once, and over other bytes anew', () => {
  const { key, checks } = aKey();
  const check = rememberSignatures(() => key, createMemories());
  for (let time = 0; time < 3; time += 1) assert.equal(check(jws('a')), true);
  assert.equal(checks(), 1);
  assert.equal(check(jws('b')), true);
  assert.equal(checks(), 2);
});

test('a wrong signature is wrong every time, also over what was right with another', () => {
  const { key, checks } = aKey();
  const check = rememberSignatures(() => key, createMemories());
  assert.equal(check(jws('a')), true);
  for (let time = 0; time < 3; time += 1) assert.equal(check(jws('a', signatureOf('wrong'))), false);
  assert.equal(checks(), 4);
  for (const index of [0, 31, 32, 63]) {
    const flipped = Uint8Array.from(RIGHT, (byte, at) => (at === index ? byte ^ 1 : byte));
    assert.equal(check(jws('a', flipped)), false);
  }
});

test('where the text ends and the signature begins cannot be moved', () => {
  const { key } = aKey();
  const check = rememberSignatures(() => key, createMemories());
  assert.equal(check(jws('ab')), true);
  const moved = { kid: 'k', signingInput: text('a'), signature: text(`b${'right'.padEnd(64, '.')}`) };
  assert.equal(check(moved), false);
});

test('a key that is not ours any more, or is another under its name, is asked again', () => {
  const [first, second] = [aKey(), aKey()];
  let current: VerifyingKey | undefined = first.key;
  const check = rememberSignatures(() => current, createMemories());
  assert.equal(check(jws('a')), true);
  current = undefined;
  assert.equal(check(jws('a')), undefined);
  current = second.key;
  assert.equal(check(jws('a')), true);
  assert.deepEqual([first.checks(), second.checks()], [1, 1]);
});

test('what is remembered is bounded, and what was forgotten is checked again', () => {
  const { key, checks } = aKey();
  const check = rememberSignatures(() => key, createMemories(), { maxRemembered: 2 });
  for (const input of ['a', 'b', 'c', 'a']) assert.equal(check(jws(input)), true);
  assert.equal(checks(), 4);
  assert.equal(check(jws('c')), true);
  assert.equal(checks(), 4);
});
