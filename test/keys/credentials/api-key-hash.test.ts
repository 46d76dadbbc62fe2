/** API keys at rest: a `$2b$` hash over all 72 bytes, and one that nothing matches. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseApiKey } from '../../../src/domain/principals/api-key.ts';
import {
  compareApiKey,
  dummyHash,
  generateApiKey,
  hashApiKey,
  makeApiKey,
} from '../../../src/keys/credentials/api-key-hash.ts';

/** The least that bcrypt takes: what is tested here is not its cost. */
const COST = 4;

test('a generated key has the documented form, and no two are alike', () => {
  const keys = Array.from({ length: 100 }, () => generateApiKey());
  for (const { text, keyId } of keys) {
    const parsed = parseApiKey(text);
    assert.ok(parsed.ok);
    assert.equal(parsed.key.keyId, keyId);
    assert.match(text, /^ak_live_/);
  }
  assert.equal(new Set(keys.map(({ keyId }) => keyId)).size, 100);
  assert.equal(new Set(keys.map(({ text }) => text.slice(24, 64))).size, 100);
  assert.match(generateApiKey('test').text, /^ak_test_/);
});

test('a hash is bcrypt of the cost that was asked for, and holds nothing of the key', async () => {
  const { text } = generateApiKey();
  const hash = await hashApiKey(text, 5);
  assert.match(hash, /^\$2b\$05\$[./A-Za-z0-9]{53}$/);
  assert.ok(!hash.includes(text.slice(24, 64)));
  assert.notEqual(await hashApiKey(text, 5), hash);
});

test('every one of the 72 bytes counts', async () => {
  const { text } = generateApiKey();
  const hash = await hashApiKey(text, COST);
  assert.equal(await compareApiKey(text, hash), true);
  for (let index = 0; index < text.length; index += 1) {
    const changed = `${text.slice(0, index)}${text[index] === '0' ? '1' : '0'}${text.slice(index + 1)}`;
    assert.equal(await compareApiKey(changed, hash), false, `byte ${index}`);
  }
});

test('nothing matches a decoy, and it costs what a key costs', async () => {
  const decoy = await dummyHash(COST);
  assert.match(decoy, /^\$2b\$04\$/);
  for (const text of ['', generateApiKey().text, decoy])
    assert.equal(await compareApiKey(text, decoy), false);
  assert.notEqual(await dummyHash(COST), decoy);
});

test('a made key comes with what is stored of it', async () => {
  const { text, keyId, prefix, hash } = await makeApiKey(COST);
  assert.equal(prefix, text.slice(0, 24));
  assert.equal(prefix.slice('ak_live_'.length), keyId);
  assert.equal(await compareApiKey(text, hash), true);
});
