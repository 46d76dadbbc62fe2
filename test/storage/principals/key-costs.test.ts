/** The costs of the hashes that are stored: each that occurs, of dead keys too, and none of what is no hash. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readKeyCosts } from '../../../src/storage/principals/key-costs.ts';
import { buildTestApp } from '../../support/app.ts';
import { TEST_BCRYPT_COST } from '../../support/bcrypt-cost.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { aKey, storedAgent } from '../builders.ts';

const hashOf = (cost: string, version = '2b'): string => `$${version}$${cost}$${'a'.repeat(53)}`;

test('the costs of stored keys', { skip: postgresSkip }, async (t) => {
  const { database, call, adminKey } = await buildTestApp(t);
  const add = (hash: string) => storedAgent(database, { key: aKey({ hash }) });
  assert.deepEqual(await readKeyCosts(database), [TEST_BCRYPT_COST]);
  const dead = await add(hashOf('13'));
  for (const hash of [hashOf('10'), hashOf('10'), hashOf('12'), hashOf('11', '2a')]) await add(hash);
  for (const hash of ['', '$2b$09$short', hashOf('9'), hashOf('08', '1'), `${hashOf('07')}a`])
    await add(hash);
  const revoked = await call({ method: 'DELETE', url: `/v1/agents/${dead.id}`, key: adminKey });
  assert.equal(revoked.status, 204, revoked.text);
  assert.deepEqual(await readKeyCosts(database), [TEST_BCRYPT_COST, 10, 11, 12, 13]);
});
