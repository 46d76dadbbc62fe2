/**
 * Nobody learns whether a key id exists (contract section 2): not by the work of a refusal, whatever costs the stored
 * hashes have, and not by who is turned away when too many keys are checked at once.
 */

import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import bcrypt from 'bcrypt';
import { formatApiKey, parseApiKey } from '../../../src/domain/principals/api-key.ts';
import { generateApiKey, makeApiKey } from '../../../src/keys/credentials/api-key-hash.ts';
import { aKey, storedAgent } from '../../storage/builders.ts';
import { buildTestApp, openTestApp, type TestApp } from '../../support/app.ts';
import { deferred } from '../../support/deferred.ts';
import { postgresSkip } from '../../support/postgres.ts';

/** The same public id with another secret. */
function wrongSecretOf(text: string): string {
  const parsed = parseApiKey(text);
  const other = parseApiKey(generateApiKey().text);
  assert.ok(parsed.ok && other.ok);
  const secretHex = other.key.text.slice(24, 64);
  return formatApiKey({ environment: 'live', keyIdHex: parsed.key.keyId, secretHex });
}

async function keyOfCost({ database }: TestApp, cost: number): Promise<string> {
  const { text, ...key } = await makeApiKey(cost);
  await storedAgent(database, { key: aKey(key) });
  return text;
}

const ask = ({ call }: TestApp, key: string, remoteAddress = '192.0.2.1') =>
  call<{ detail: string }>({ method: 'GET', url: '/v1/me', key, remoteAddress });

test('the work of a refusal tells nothing, whatever costs are stored', { skip: postgresSkip }, async (t) => {
  const first = await buildTestApp(t);
  const keys = [await keyOfCost(first, 5), await keyOfCost(first, 6)];
  // Made while a process runs, and by another: it is learnt when the key is seen, or at a start.
  const second = await openTestApp(t, first.databaseUrl, {}, {}, first.adminKey);
  const costs: number[] = [];
  const original = bcrypt.compare;
  t.mock.method(bcrypt, 'compare', (text: string, hash: string) => {
    costs.push(bcrypt.getRounds(hash));
    return original(text, hash);
  });
  const workOf = async (app: TestApp, key: string): Promise<number> => {
    costs.length = 0;
    const answer = await ask(app, key);
    assert.equal(answer.status, 401);
    assert.equal(answer.body.detail, 'The API key is missing, unknown, wrong or revoked.');
    return costs.reduce((sum, cost) => sum + 2 ** cost, 0);
  };
  for (const refused of [generateApiKey().text, ...[first.adminKey, ...keys].map(wrongSecretOf)]) {
    assert.equal(await workOf(second, refused), 2 ** 6);
  }
  const dearest = await keyOfCost(second, 7);
  assert.equal((await ask(second, dearest)).status, 200);
  for (const refused of [generateApiKey().text, ...[first.adminKey, ...keys, dearest].map(wrongSecretOf)]) {
    assert.equal(await workOf(second, refused), 2 ** 7);
  }
});

test('when too many keys are checked, known and unknown ids are turned away alike', {
  skip: postgresSkip,
}, async (t) => {
  const app = await buildTestApp(t);
  const { key } = await app.createAgent();
  const { full, end } = await fullQueue(t, app);
  t.after(() => end());
  for (const refused of [wrongSecretOf(key), generateApiKey().text, key]) {
    // Nobody who waits gives up a place for it.
    const first = await Promise.race([
      ask(app, refused, '198.51.100.1').then(({ status, headers }) => [status, headers['retry-after']]),
      ...full.map((waiting) => waiting.then(({ status }) => ['waited', status])),
    ]);
    assert.deepEqual(first, [503, '1']);
  }
  end();
  assert.deepEqual(new Set((await Promise.all(full)).map(({ status }) => status)), new Set([401]));
  // With room again, both are refused, and the right key is not.
  assert.equal((await ask(app, wrongSecretOf(key))).status, 401);
  assert.equal((await ask(app, key)).status, 200);
});

/** Two compares that do not end, and 32 that wait for them, all of them of unknown ids. */
async function fullQueue(t: TestContext, app: TestApp) {
  const gate = deferred();
  const running = deferred();
  let begun = 0;
  const original = bcrypt.compare;
  t.mock.method(bcrypt, 'compare', async (text: string, hash: string) => {
    begun += 1;
    if (begun === 2) running.resolve();
    await gate.promise;
    return original(text, hash);
  });
  const looked = deferred();
  let found = 0;
  const query = app.database.query.bind(app.database);
  t.mock.method(app.database, 'query', async (...asked: Parameters<typeof query>) => {
    const rows = await query(...asked);
    if (asked[0].name === 'find_api_key') {
      found += 1;
      if (found === 34) looked.resolve();
    }
    return rows;
  });
  const full = Array.from({ length: 34 }, (_, index) =>
    ask(app, generateApiKey().text, `192.0.2.${Math.floor(index / 2)}`),
  );
  await Promise.all([running.promise, looked.promise]);
  return { full, end: gate.resolve };
}
