/** Guarantees how a root key is wrapped by a transit engine: the requests, what is refused, and what each refusal tells. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { parseKmsKey } from '../../../src/domain/crypto/kms-key.ts';
import type { RootKeyKms } from '../../../src/keys/kms/root-key-kms.ts';
import { createVaultTransit } from '../../../src/keys/kms/vault-transit.ts';
import { startTransitStandIn } from '../../support/transit-stand-in.ts';
import { refuses, testRootKeyKms } from './contract-of-root-key-kms.ts';
import { openTransit, transitOf } from './open-transit.ts';

testRootKeyKms('the stand-in', async (t) => openTransit(await startTransitStandIn(t)));

const ROOT = randomBytes(32);

async function aStandIn(t: TestContext) {
  const standIn = await startTransitStandIn(t);
  await standIn.addKey('writ');
  return { standIn, kms: transitOf(standIn, 'transit/keys/writ') };
}

test('a request is a POST to mount and key, with the token in a header and Writ’s context', async (t) => {
  const { standIn, kms } = await aStandIn(t);
  await kms.unwrap(await kms.wrap(ROOT));
  assert.deepEqual(
    standIn.asked.map(({ path }) => path),
    ['/v1/transit/encrypt/writ', '/v1/transit/decrypt/writ'],
  );
  for (const { headers, body } of standIn.asked) {
    assert.equal(headers['x-vault-token'], standIn.token);
    assert.equal(headers['x-vault-request'], 'true');
    const { associated_data } = JSON.parse(body) as { associated_data: string };
    assert.equal(
      Buffer.from(associated_data, 'base64').toString(),
      '{"application":"writ","purpose":"root-key"}',
    );
  }
});

test('the token is read anew for each call, since whoever renews it puts another into its file', async (t) => {
  const { standIn } = await aStandIn(t);
  const tokens = [standIn.token, 's.another', 's.third'];
  const kms = transitOf(standIn, 'transit/keys/writ', async () => tokens.shift() ?? '');
  const wrapped = await kms.wrap(ROOT);
  await refuses(kms.unwrap(wrapped), 'failed', /refuses the token \(403\)/);
  standIn.allowToken('s.third');
  assert.deepEqual(Buffer.from(await kms.unwrap(wrapped)), ROOT);
});

test('a namespace is part of the path', async (t) => {
  const { standIn } = await aStandIn(t);
  const kms = transitOf(standIn, 'team/a/transit/keys/writ');
  await refuses(kms.wrap(ROOT), 'failed', /no transit engine there \(404\)/);
  assert.equal(standIn.asked[0]?.path, '/v1/team/a/transit/encrypt/writ');
});

test('what the service refuses is told by its kind, with what to do', async (t) => {
  const { standIn, kms } = await aStandIn(t);
  await standIn.addKey('derived', { derived: true });
  await standIn.addKey('rsa', { type: 'rsa-2048' });
  const wrapped = await kms.wrap(ROOT);
  const of = (name: string): RootKeyKms => transitOf(standIn, name);
  const wrongToken = transitOf(standIn, 'transit/keys/writ', async () => 's.wrong');
  await refuses(wrongToken.wrap(ROOT), 'failed', /403.*VAULT_TOKEN.*update on transit\/encrypt\/writ\.$/);
  await refuses(wrongToken.unwrap(wrapped), 'failed', /403.*update on transit\/decrypt\/writ\.$/);
  await refuses(of('transit/keys/none').wrap(ROOT), 'failed', /403/);
  await refuses(of('transit/keys/none').unwrap(wrapped), 'other-key');
  await refuses(of('transit/keys/derived').wrap(ROOT), 'failed', /refuses to wrap \(400\).*not derived/);
  await refuses(of('transit/keys/rsa').wrap(ROOT), 'failed', /refuses to wrap \(400\).*aes256-gcm96/);
  await refuses(of('elsewhere/keys/writ').unwrap(wrapped), 'failed', /no transit engine there \(404\)/);
  await standIn.seal();
  await refuses(kms.unwrap(wrapped), 'failed', /is sealed \(503\)\. Unseal it\.$/);
});

test('a redirect is refused, and neither token nor root key goes where it leads', async (t) => {
  const { standIn, kms } = await aStandIn(t);
  const elsewhere = await startTransitStandIn(t);
  for (const status of [301, 302, 303, 307, 308]) {
    standIn.answer = (response) => response.writeHead(status, { location: `${elsewhere.url}/v1/x` }).end();
    await refuses(kms.wrap(ROOT), 'failed', new RegExp(`redirects \\(${status}\\)`));
  }
  assert.deepEqual(elsewhere.asked, []);
});

test('an answer that is none of a transit engine is refused, and not quoted', async (t) => {
  const { standIn, kms } = await aStandIn(t);
  const wrapped = await kms.wrap(ROOT);
  const base64 = ROOT.toString('base64');
  const bodies = [
    '',
    'not JSON: "',
    'null',
    '{"data":null}',
    '{"data":{"ciphertext":"vault:v1:","plaintext":"!"}}',
    '{"data":{"ciphertext":7,"plaintext":7}}',
    `{"data":{"ciphertext":"plain:${base64}","plaintext":"${base64}`,
    JSON.stringify({ data: { ciphertext: `vault:v1:${'A'.repeat(70_000)}`, plaintext: 'A'.repeat(70_000) } }),
  ];
  for (const body of bodies) {
    standIn.answer = (response) => response.writeHead(200).end(body);
    const errors = [await refuses(kms.wrap(ROOT), 'failed'), await refuses(kms.unwrap(wrapped), 'other-key')];
    for (const error of errors) assert.ok(!`${error.sentence}${error.stack}`.includes(base64), body);
  }
});

test('every other status is a failure that names it', async (t) => {
  const { standIn, kms } = await aStandIn(t);
  for (const status of [204, 401, 405, 412, 429, 472, 473, 500, 502]) {
    standIn.answer = (response) => response.writeHead(status).end();
    await refuses(kms.wrap(ROOT), 'failed', new RegExp(`answers with status ${status}`));
  }
});

test('no answer is waited for five seconds and not longer', async (t) => {
  const asked: number[] = [];
  const overdue = new AbortController();
  t.mock.method(AbortSignal, 'timeout', (milliseconds: number) => {
    asked.push(milliseconds);
    return overdue.signal;
  });
  const { standIn, kms } = await aStandIn(t);
  standIn.answer = () => overdue.abort(new DOMException('over', 'TimeoutError'));
  await refuses(kms.wrap(ROOT), 'failed', /does not answer \(nothing within 5000 ms\)/);
  assert.deepEqual(asked, [5000]);
});

test('a token that no header can carry is a failure without it', async (t) => {
  const { standIn } = await aStandIn(t);
  const kms = transitOf(standIn, 'transit/keys/writ', async () => 's.canary\n');
  const error = await refuses(kms.wrap(ROOT), 'failed');
  assert.ok(!`${error.stack}`.includes('canary'));
});

test('a name of another service is a programmer’s mistake that the compiler refuses', () => {
  const key = parseKmsKey('aws:alias/writ');
  assert.ok(key !== undefined);
  // @ts-expect-error -- only of a transit engine
  createVaultTransit({ key, address: '', readToken: async () => '' });
});
