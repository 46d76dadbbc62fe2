/** Guarantees that a real OpenBao does what the stand-in was recorded to do: the contract, and each refusal. */
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { onlyInFullRun } from '../../support/effort.ts';
import { buildOpenBao, startEmptyOpenBao, startOpenBao } from '../../support/openbao-server.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { refuses, testRootKeyKms } from './contract-of-root-key-kms.ts';
import { openTransit, transitOf } from './open-transit.ts';
import { goThroughTheText } from './openbao-procedure.ts';

const { skip, program } =
  onlyInFullRun === false ? await buildOpenBao({ after }) : { skip: onlyInFullRun, program: '' };

testRootKeyKms('OpenBao', async (t) => openTransit(await startOpenBao(t, program)), skip);

test('OpenBao refuses what the stand-in refuses, in the same way', { skip }, async (t) => {
  const server = await startOpenBao(t, program);
  const root = randomBytes(32);
  await server.addKey('writ');
  await server.addKey('derived', { derived: true });
  await server.addKey('rsa', { type: 'rsa-2048' });
  const kms = transitOf(server, 'transit/keys/writ');
  const wrapped = await kms.wrap(root);
  const wrongToken = transitOf(server, 'transit/keys/writ', async () => 's.wrong');
  await refuses(wrongToken.wrap(root), 'failed', /refuses the token \(403\)/);
  await refuses(wrongToken.unwrap(wrapped), 'failed', /refuses the token \(403\)/);
  await refuses(transitOf(server, 'transit/keys/none').wrap(root), 'failed', /\(403\)/);
  await refuses(transitOf(server, 'transit/keys/none').unwrap(wrapped), 'other-key');
  await refuses(transitOf(server, 'transit/keys/derived').wrap(root), 'failed', /refuses to wrap \(400\)/);
  await refuses(transitOf(server, 'transit/keys/rsa').wrap(root), 'failed', /refuses to wrap \(400\)/);
  // Its policies are asked first: of a path that the token may not ask, it does not say whether it is there.
  await refuses(transitOf(server, 'elsewhere/keys/writ').unwrap(wrapped), 'failed', /\((403|404)\)/);
  await server.seal();
  await refuses(kms.unwrap(wrapped), 'failed', /is sealed \(503\)/);
});

test('a transit key that was rotated opens what its older version has wrapped', { skip }, async (t) => {
  const server = await startOpenBao(t, program);
  const root = randomBytes(32);
  await server.addKey('writ');
  const kms = transitOf(server, 'transit/keys/writ');
  const wrapped = await kms.wrap(root);
  await server.call('POST', 'transit/keys/writ/rotate');
  if (!root.equals(await kms.unwrap(wrapped))) throw new Error('another root key');
  await server.call('POST', 'transit/keys/writ/config', { min_decryption_version: 2 });
  await refuses(kms.unwrap(wrapped), 'other-key');
});

test(
  'the procedures of docs/keys.md about OpenBao do what they say, and no request fails',
  {
    skip: skip || postgresSkip,
  },
  async (t) => goThroughTheText(t, await startEmptyOpenBao(t, program)),
);
