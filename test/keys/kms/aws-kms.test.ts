/** Guarantees how a root key is wrapped by AWS KMS: the requests, the names of keys, and what each refusal tells. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { parseKmsKey } from '../../../src/domain/crypto/kms-key.ts';
import { createAwsKms } from '../../../src/keys/kms/aws-kms.ts';
import type { RootKeyKms } from '../../../src/keys/kms/root-key-kms.ts';
import { type AwsKmsStandIn, startAwsKmsStandIn } from '../../support/aws-kms-stand-in.ts';
import { freePort } from '../../support/free-port.ts';
import { refuses, testRootKeyKms } from './contract-of-root-key-kms.ts';

const ARN = 'arn:aws:kms:us-west-2:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const WRIT = { application: 'writ', purpose: 'root-key' };
const ROOT = randomBytes(32);

/** The SDK reads the environment of its process. */
function setEnvironment(t: TestContext, env: Readonly<Record<string, string | undefined>>): void {
  const before = Object.keys(env).map((name) => [name, process.env[name]] as const);
  t.after(() => put(before));
  put(Object.entries(env));
}

function put(entries: readonly (readonly [string, string | undefined])[]): void {
  for (const [name, value] of entries) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}

async function kmsOf(name: string): Promise<RootKeyKms> {
  const key = parseKmsKey(`aws:${name}`);
  assert.ok(key?.service === 'aws', name);
  return createAwsKms({ key });
}

async function aStandIn(t: TestContext): Promise<AwsKmsStandIn> {
  const standIn = await startAwsKmsStandIn(t);
  standIn.addKey(ARN, 'alias/writ', '1234abcd-12ab-34cd-56ef-1234567890ab');
  setEnvironment(t, { ...standIn.env, AWS_PROFILE: undefined, AWS_SESSION_TOKEN: undefined });
  return standIn;
}

testRootKeyKms('AWS KMS', async (t) => {
  const standIn = await aStandIn(t);
  standIn.addKey('alias/other');
  const wrap = async (plaintext: Uint8Array, context: Record<string, string>) =>
    Buffer.concat([Buffer.from('aws:'), standIn.encrypt(ARN, plaintext, context)]);
  return {
    kms: await kmsOf(ARN),
    other: await kmsOf('alias/other'),
    wrapElsewhere: (plaintext, context) =>
      wrap(plaintext, context === 'none' ? {} : { application: 'other' }),
    wrapAsWrit: (plaintext) => wrap(plaintext, WRIT),
    secrets: [standIn.env['AWS_SECRET_ACCESS_KEY'] ?? assert.fail('no credentials')],
    stop: () => standIn.stop(),
  };
});

test('both requests name the key and Writ’s context, and are signed for the region of the ARN', async (t) => {
  const standIn = await aStandIn(t);
  const kms = await kmsOf(ARN);
  await kms.unwrap(await kms.wrap(ROOT));
  assert.deepEqual(
    standIn.asked.map(({ operation, region, body }) => [
      operation,
      region,
      body.KeyId,
      body.EncryptionContext,
    ]),
    [
      ['Encrypt', 'us-west-2', ARN, WRIT],
      ['Decrypt', 'us-west-2', ARN, WRIT],
    ],
  );
});

test('an alias and an id are of the region of the environment, and open what the ARN has wrapped', async (t) => {
  const standIn = await aStandIn(t);
  const wrapped = await (await kmsOf(ARN)).wrap(ROOT);
  for (const name of ['alias/writ', '1234abcd-12ab-34cd-56ef-1234567890ab']) {
    assert.deepEqual(Buffer.from(await (await kmsOf(name)).unwrap(wrapped)), ROOT);
    assert.equal(standIn.asked.at(-1)?.region, 'eu-central-1');
  }
});

test('an alias that was pointed at another key does not open what the first one has wrapped', async (t) => {
  const standIn = await aStandIn(t);
  const kms = await kmsOf('alias/writ');
  const wrapped = await kms.wrap(ROOT);
  standIn.addKey('another', 'alias/writ');
  await refuses(kms.unwrap(wrapped), 'other-key');
});

test('each error of the service is told by its kind, and not in the service’s words', async (t) => {
  const standIn = await aStandIn(t);
  const kms = await kmsOf(ARN);
  const wrapped = await kms.wrap(ROOT);
  const faults: [number, string, RegExp][] = [
    [400, 'AccessDeniedException', /AWS denies it\. Allow kms:Encrypt and kms:Decrypt/],
    [400, 'UnrecognizedClientException', /does not know the credentials/],
    [400, 'ExpiredTokenException', /have expired/],
    [400, 'InvalidSignatureException', /refuses the signature/],
    [400, 'NotFoundException', /no such key in this region/],
    [400, 'DisabledException', /is disabled/],
    [400, 'KMSInvalidStateException', /not usable in its state/],
    [400, 'InvalidKeyUsageException', /Name a symmetric key/],
    [500, 'KeyUnavailableException', /not available now/],
    [500, 'KMSInternalException', /does not answer \(KMSInternalException\)/],
    [400, 'ThrottlingException', /does not answer \(ThrottlingException\)/],
  ];
  for (const [status, name, sentence] of faults) {
    standIn.fault = { status, name };
    for (const ask of [() => kms.wrap(ROOT), () => kms.unwrap(wrapped)]) {
      const error = await refuses(ask(), 'failed', sentence);
      assert.doesNotMatch(`${error.sentence}${error.stack}`, /not to be repeated/);
    }
  }
});

test('without credentials, without a region and without the package the failure says what to do', async (t) => {
  const standIn = await aStandIn(t);
  const alias = await kmsOf('alias/writ');
  setEnvironment(t, { AWS_REGION: undefined, AWS_DEFAULT_REGION: undefined });
  await refuses(
    alias.wrap(ROOT),
    'failed',
    /no region is set\. Set AWS_REGION, or name the key by its ARN\.$/,
  );
  setEnvironment(t, { AWS_REGION: standIn.env['AWS_REGION'], AWS_ACCESS_KEY_ID: undefined });
  await refuses((await kmsOf(ARN)).wrap(ROOT), 'failed', /finds no credentials/);
  const key = parseKmsKey('aws:alias/writ');
  assert.ok(key?.service === 'aws');
  const missing = async () => {
    throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' });
  };
  await refuses(
    createAwsKms({ key, loadSdk: missing }),
    'failed',
    'aws:alias/writ is a key of AWS, and the package @aws-sdk/client-kms is not installed. Install version 3 of it where Writ finds it, as docs/keys.md says.',
  );
  assert.deepEqual(standIn.asked, []);
});

test('nobody there and an answer that is none are failures', async (t) => {
  const standIn = await aStandIn(t);
  standIn.answer = (response) => response.writeHead(200).end('{"Plaintext":"not to be repeated');
  const error = await refuses((await kmsOf(ARN)).wrap(ROOT), 'failed');
  assert.doesNotMatch(`${error.sentence}${error.stack}`, /not to be repeated/);
  setEnvironment(t, { AWS_ENDPOINT_URL_KMS: `http://127.0.0.1:${await freePort()}` });
  await refuses((await kmsOf(ARN)).wrap(ROOT), 'failed', /does not answer \(ECONNREFUSED\)/);
});
