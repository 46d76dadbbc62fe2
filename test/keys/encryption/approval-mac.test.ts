/** What binds an approval to what was asked (contract section 7): nobody without the master key makes one. */

import assert from 'node:assert/strict';
import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { shownDigest } from '../../../src/domain/approvals/request-digest.ts';
import { createRequestDigest } from '../../../src/keys/encryption/approval-mac.ts';
import { createKeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import type { ApprovalRequest } from '../../../src/use-cases/approvals/ports.ts';
import { digestText } from '../../../src/use-cases/approvals/request-approval.ts';

const MASTER_KEY = Buffer.alloc(32, 7);
const digest = createRequestDigest(createMasterKeys([createKeyEncryption(MASTER_KEY)]));

const REQUEST: ApprovalRequest = {
  id: 'apr_abcdefgh',
  agentId: '0190c0de-0000-7000-8000-000000000001',
  scopes: ['secrets:read:prod/db/PASSWORD', 'secrets:read:prod/*'],
  ttlSeconds: 3600,
  maxUses: 5,
  allowedIps: ['10.0.0.0/8', '::1'],
  description: 'schema change',
  tier: 'sensitive',
  boundSecrets: ['sensitive 0190c0de-0000-7000-8000-00000000000a prod/db/PASSWORD'],
  approvalsRequired: 1,
  delaySeconds: 0,
  windowSeconds: 3600,
};

test('a digest is the id of its key and 64 lower-case hex characters, the same every time', () => {
  assert.match(digest.of('text'), /^ce3476187566a1c7[0-9a-f]{64}$/);
  assert.equal(digest.of('text'), digest.of('text'));
  assert.equal(
    digest.of('text'),
    createRequestDigest(createMasterKeys([createKeyEncryption(MASTER_KEY)])).of('text'),
  );
});

test('another master key makes another digest, and takes none of this one', () => {
  const other = createRequestDigest(createMasterKeys([createKeyEncryption(Buffer.alloc(32, 8))]));
  assert.notEqual(other.of('text'), digest.of('text'));
  assert.equal(other.matches('text', digest.of('text')), false);
});

test('a digest that names no key fits under every key that counts, and one that names a key under that one', () => {
  const [before, after] = [createKeyEncryption(MASTER_KEY), createKeyEncryption(Buffer.alloc(32, 8))];
  const both = createRequestDigest(createMasterKeys([after, before]));
  const old = digest.of('text');
  assert.ok(both.of('text').startsWith(after.kekId));
  for (const fits of [old, shownDigest(old), both.of('text'), shownDigest(both.of('text'))]) {
    assert.equal(both.matches('text', fits), true, fits);
  }
  for (const wrong of [after.kekId + shownDigest(old), before.kekId + shownDigest(both.of('text'))]) {
    assert.equal(both.matches('text', wrong), false, wrong);
  }
});

test('the text alone, or the master key used as it is, makes no digest', () => {
  const raw = createHmac('sha256', MASTER_KEY).update('text').digest('hex');
  const wrapping = new Uint8Array(hkdfSync('sha256', MASTER_KEY, '', 'writ key-encryption', 32));
  for (const forged of [
    createHash('sha256').update('text').digest('hex'),
    createHmac('sha256', '').update('text').digest('hex'),
    createHmac('sha256', wrapping).update('text').digest('hex'),
    raw,
  ]) {
    assert.notEqual(forged, digest.of('text'));
    assert.equal(digest.matches('text', forged), false);
  }
});

test('a digest that is cut, longer, in upper case or of another text does not fit', () => {
  const right = digest.of('text');
  assert.equal(digest.matches('text', right), true);
  for (const wrong of [
    '',
    right.slice(0, -1),
    `${right}0`,
    right.toUpperCase(),
    ` ${right}`,
    'ä'.repeat(32),
    digest.of('text '),
    `${right.slice(0, -1)}${right.endsWith('0') ? '1' : '0'}`,
  ]) {
    assert.equal(digest.matches('text', wrong), false, wrong);
  }
});

test('every member of what is asked, and of what it takes, is bound', () => {
  const changes: { [Name in keyof ApprovalRequest]: readonly ApprovalRequest[Name][] } = {
    id: ['apr_abcdefg2'],
    agentId: ['0190c0de-0000-7000-8000-000000000002'],
    scopes: [
      [],
      ['secrets:read:prod/db/PASSWORD'],
      ['secrets:read:prod/*', 'secrets:read:prod/db/PASSWORD'],
      ['secrets:read:prod/db/PASSWORD,secrets:read:prod/*'],
      ['secrets:read:prod/db/PASSWORD', 'secrets:*:prod/*'],
    ],
    ttlSeconds: [3601],
    maxUses: [6, null],
    allowedIps: [null, [], ['10.0.0.0/8'], ['10.0.0.0/8,::1'], ['::1', '10.0.0.0/8']],
    description: ['schema changes', '', null],
    tier: ['standard', 'critical'],
    boundSecrets: [
      [],
      ['critical 0190c0de-0000-7000-8000-00000000000a prod/db/PASSWORD'],
      ['sensitive 0190c0de-0000-7000-8000-00000000000b prod/db/PASSWORD'],
      ['sensitive 0190c0de-0000-7000-8000-00000000000a prod/db/OTHER'],
    ],
    approvalsRequired: [0, 2],
    delaySeconds: [1],
    windowSeconds: [3601],
  };
  const names = Object.keys(REQUEST) as (keyof ApprovalRequest)[];
  assert.deepEqual(Object.keys(changes).sort(), [...names].sort());
  const texts = names.flatMap((name) =>
    changes[name].map((value) => digestText({ ...REQUEST, [name]: value } as ApprovalRequest)),
  );
  assert.equal(new Set([...texts, digestText(REQUEST)]).size, texts.length + 1);
  const stored = digest.of(digestText(REQUEST));
  for (const text of texts) assert.equal(digest.matches(text, stored), false, text);
});

test('no two requests have one text: text cannot pass for structure', () => {
  const text = fc.oneof(fc.string(), fc.constantFrom('","', '"],"', 'null', '\\', 'ü', '\ud83d\ude00'));
  const request = fc.record({
    scopes: fc.array(text, { maxLength: 3 }),
    allowedIps: fc.option(fc.array(text, { maxLength: 3 })),
    description: fc.option(text),
    maxUses: fc.option(fc.nat()),
  });
  fc.assert(
    fc.property(request, request, (one, other) => {
      const same = JSON.stringify(one) === JSON.stringify(other);
      assert.equal(digestText({ ...REQUEST, ...one }) === digestText({ ...REQUEST, ...other }), same);
      assert.equal(digestText({ ...REQUEST, ...one }), digestText({ ...REQUEST, ...structuredClone(one) }));
    }),
  );
});

test('a request that names no secret has the text that it had before secrets were named', () => {
  const text = digestText({ ...REQUEST, boundSecrets: [] });
  assert.equal('secrets' in (JSON.parse(text) as object), false);
  assert.equal('secrets' in (JSON.parse(digestText(REQUEST)) as object), true);
});
