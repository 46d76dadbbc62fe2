/** Guarantees a transit engine, stand-in or real, in the form in which the contract of services asks for it. */
import assert from 'node:assert/strict';
import { parseKmsKey } from '../../../src/domain/crypto/kms-key.ts';
import type { RootKeyKms } from '../../../src/keys/kms/root-key-kms.ts';
import { createVaultTransit } from '../../../src/keys/kms/vault-transit.ts';
import type { TransitServer } from '../../support/transit-server.ts';
import type { KmsUnderTest } from './contract-of-root-key-kms.ts';

const WRIT = '{"application":"writ","purpose":"root-key"}';

/** `name`: what follows `vault:`. */
export function transitOf(
  server: TransitServer,
  name: string,
  readToken?: () => Promise<string>,
): RootKeyKms {
  const key = parseKmsKey(`vault:${name}`);
  assert.ok(key?.service === 'vault', name);
  return createVaultTransit({ key, address: server.url, readToken: readToken ?? (async () => server.token) });
}

export async function openTransit(server: TransitServer): Promise<KmsUnderTest> {
  await server.addKey('writ');
  await server.addKey('other');
  const wrap = async (plaintext: Uint8Array, data?: string) =>
    Buffer.from(await server.encrypt('writ', plaintext, data));
  return {
    kms: transitOf(server, 'transit/keys/writ'),
    other: transitOf(server, 'transit/keys/other'),
    wrapElsewhere: (plaintext, context) =>
      wrap(plaintext, context === 'none' ? undefined : '{"application":"other","purpose":"root-key"}'),
    wrapAsWrit: (plaintext) => wrap(plaintext, WRIT),
    secrets: [server.token],
    stop: () => server.stop(),
  };
}
