/** What a reader sees of a version that was removed (contract section 6): what it sees of one that never was. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { createVersionPruning } from '../../../src/storage/secrets/version-pruning.ts';
import { createPruneVersions } from '../../../src/use-cases/secrets/upkeep/prune-versions.ts';
import { assertRefused } from '../../support/app.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS } from '../../support/test-seals.ts';
import { buildSecretCalls } from './secret-calls.ts';

const ABSENT = { status: 404, code: 'SECRET_NOT_FOUND' };

test('a version that was removed', { skip: postgresSkip }, async (t) => {
  const calls = await buildSecretCalls(t);
  const { ask, aSecret, aToken, usesOf, sql, adminKey } = calls;
  const database = await openPatiently(calls.databaseUrl, 2);
  t.after(() => database.close());
  const prune = createPruneVersions({
    pruning: createVersionPruning(database, TEST_SEALS),
    newId: uuidv7,
    rule: { kept: 2, keptDays: 30 },
  });
  const token = await aToken({ scopes: ['secrets:read:team/*'] });
  const limited = await aToken({ scopes: ['secrets:read:team/*'], maxUses: 5 });
  const read = (query: string, as = token.token) => ask(as, `GET /v1/secrets/team/K${query}`);
  for (const value of ['one', 'two', 'three', 'four']) await aSecret('team/K', { value });
  await sql(`update secret_versions set created_at = created_at - interval '40 days'`);
  // From here on the process remembers what it read.
  for (const _ of [1, 2]) assert.equal((await read('?version=1')).body.value, 'one');
  const never = await read('?version=9');
  assert.equal(await prune(), 2);

  for (const as of [token.token, limited.token, adminKey]) {
    for (const version of [1, 2]) {
      const answer = await read(`?version=${version}`, as);
      assertRefused(answer, ABSENT, `${version}`);
      const masked = (text: string) => text.replace(/"request_id":"[^"]+"/, '');
      assert.equal(masked(answer.text), masked(never.text), 'as if it had never been');
    }
  }
  assert.equal(await usesOf(limited), 0);
  for (const [query, value] of [
    ['', 'four'],
    ['?version=4', 'four'],
    ['?version=3', 'three'],
  ] as const) {
    assert.equal((await read(query)).body.value, value);
  }
  // Whoever goes back writes an old value anew, as long as it is there.
  const back = await ask(adminKey, 'PUT /v1/secrets/team/K', {
    json: { value: 'three' },
    headers: { 'if-match': '4' },
  });
  assert.deepEqual([back.status, back.body.version, (await read('')).body.value], [200, 5, 'three']);
  assertRefused(await ask(adminKey, 'POST /v1/secrets/team/K/rotate', { headers: { 'if-match': '1' } }), {
    status: 409,
    code: 'VERSION_CONFLICT',
  });
});
