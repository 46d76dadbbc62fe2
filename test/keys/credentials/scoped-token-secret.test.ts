/** Scoped tokens as strings (contract section 2): 256 random bits, kept only as their SHA-256. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portableSha256 } from '../../../src/domain/crypto/hashing.ts';
import { parseApiKey } from '../../../src/domain/principals/api-key.ts';
import { looksLikeScopedToken } from '../../../src/domain/scoped-tokens/scoped-token-format.ts';
import { generateScopedToken, hashScopedToken } from '../../../src/keys/credentials/scoped-token-secret.ts';

const PREFIX = 'ast_tok_';
const randomPart = (text: string) => Buffer.from(text.slice(PREFIX.length), 'base64url');

test('a token has the documented form, and no API key has it', () => {
  for (let count = 0; count < 50; count += 1) {
    const { text } = generateScopedToken();
    assert.match(text, /^ast_tok_[A-Za-z0-9_-]{43}$/);
    assert.equal(looksLikeScopedToken(text), true);
    assert.equal(parseApiKey(text).ok, false);
  }
});

test('the random part is 32 bytes in the one way to write them', () => {
  for (let count = 0; count < 50; count += 1) {
    const { text } = generateScopedToken();
    const bytes = randomPart(text);
    assert.equal(bytes.length, 32);
    assert.equal(PREFIX + bytes.toString('base64url'), text);
  }
});

test('each of the 256 bits is now set and now not, and no two bits always agree', () => {
  const tokens = Array.from({ length: 256 }, () => randomPart(generateScopedToken().text));
  // One column per bit: its value in every token. A column that is missing or copied would be a bit less of randomness.
  const columns = Array.from({ length: 256 }, (_, bit) =>
    tokens.map((bytes) => ((bytes[bit >> 3] ?? 0) >> (bit & 7)) & 1).join(''),
  );
  for (const [bit, column] of columns.entries()) {
    assert.ok(column.includes('0') && column.includes('1'), `bit ${bit} is always the same`);
  }
  assert.equal(new Set(columns).size, 256);
});

test('no two tokens of many are the same, nor are their hashes', () => {
  const tokens = Array.from({ length: 5000 }, generateScopedToken);
  assert.equal(new Set(tokens.map(({ text }) => text)).size, tokens.length);
  assert.equal(new Set(tokens.map(({ hashHex }) => hashHex)).size, tokens.length);
});

test('what is kept is the SHA-256 of the whole text', () => {
  // printf 'ast_tok_…' | sha256sum
  for (const [text, expected] of [
    [`${PREFIX}${'A'.repeat(43)}`, 'e35bf13cbd611ffdb8fb9a277e7336e253ff9e746f3bf61c562a887223dcfd17'],
    [`${PREFIX}${'-_Az09'.repeat(7)}A`, '48f36dddfb7b718777fe1bb5e79f796da8927bac98765139a75cee1f2afe865a'],
  ] as const) {
    assert.equal(hashScopedToken(text), expected, text);
  }
  const { text, hashHex } = generateScopedToken();
  assert.equal(hashHex, hashScopedToken(text));
  assert.equal(hashHex, portableSha256.hex(text));
});

test('the hash tells nothing of the token, and another spelling of it has another hash', () => {
  const { text, hashHex } = generateScopedToken();
  const hash = Buffer.from(hashHex, 'hex');
  assert.equal(hash.length, 32);
  assert.equal(hash.includes(randomPart(text).subarray(0, 4)), false);
  const others = [text.slice(PREFIX.length), text.toLowerCase(), text.toUpperCase(), `${text} `, `${text}=`];
  others.push(text.replace('ast', 'AST'), text.slice(0, -1));
  for (const other of others) assert.notEqual(hashScopedToken(other), hashHex, other);
});
