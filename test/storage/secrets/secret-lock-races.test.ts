/** Races of changes of secrets, put in order by locks that a test holds. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createAgentStore } from '../../../src/storage/principals/agent-store.ts';
import { createScopedTokenStore } from '../../../src/storage/scoped-tokens/scoped-token-store.ts';
import { createSecretStore } from '../../../src/storage/secrets/secret-store.ts';
import type { NewAgent } from '../../../src/use-cases/principals/ports.ts';
import type { NewScopedToken } from '../../../src/use-cases/scoped-tokens/ports.ts';
import { untilHeldUp } from '../../support/issuing.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS } from '../../support/test-seals.ts';
import { anEvent, aWrite, storedAgent } from '../builders.ts';
import { heldLocks } from '../held-locks.ts';
import { rows } from '../opened.ts';
import { aCreation, anAdvance, keyGuard, storedSecret, storedToken, tokenGuard } from '../secret-builders.ts';

test('of two who make the same paths in opposite orders one makes them all, and the other starts over', {
  skip: postgresSkip,
}, async (t) => {
  const { holder, openPatient, waiting } = await heldLocks(t);
  const [one, two] = [await openPatient(), await openPatient()];
  const agent = await storedAgent(one);
  const PATHS = ['n/a', 'n/m', 'n/z'];
  await holder.query('begin');
  // Whoever comes to this path waits, and holds what it has made before.
  await holder.query(
    `insert into secrets (id, path, namespace, key, secret_type, access_tier, tags)
     values (gen_random_uuid(), 'n/m', 'n', 'm', 'custom', 'standard', '{}')`,
  );
  const make = (database: Database, paths: readonly string[]) =>
    createSecretStore(database, TEST_SEALS).change({ guard: keyGuard(agent), paths }, () => ({
      changes: paths.map((path) => aCreation(path)),
      event: anEvent({ eventType: 'secret.imported' }),
    }));
  const both = [make(one, PATHS), make(two, [...PATHS].reverse())];
  await untilHeldUp('both wait', both, async () => (await waiting()) === 2);
  await holder.query('rollback');
  const outcomes = await Promise.all(both);
  const made = outcomes.filter((outcome) => outcome !== 'not_granted');
  assert.deepEqual([made.length, made[0]?.length], [1, PATHS.length]);
  assert.deepEqual(await rows(one, 'select count(*)::int as n from secrets'), [{ n: PATHS.length }]);
});

test('of two who change the same secrets in opposite orders the second adds to what the first has left', {
  skip: postgresSkip,
}, async (t) => {
  const { holder, openPatient, waiting } = await heldLocks(t);
  const [one, two] = [await openPatient(), await openPatient()];
  const agent = await storedAgent(one);
  const PATHS = ['n/a', 'n/m', 'n/z'];
  for (const path of PATHS) await storedSecret(one, agent, { path });
  await holder.query('begin');
  await holder.query(`select 1 from secrets where path = 'n/m' for update`);
  const advance = (database: Database, paths: readonly string[]) =>
    createSecretStore(database, TEST_SEALS).change({ guard: keyGuard(agent), paths }, (stored) => ({
      changes: paths.map((path) => anAdvance(stored.get(path) ?? assert.fail())),
      event: anEvent({ eventType: 'secret.imported' }),
    }));
  const both = [advance(one, PATHS), advance(two, [...PATHS].reverse())];
  await untilHeldUp('both wait', both, async () => (await waiting()) === 2);
  await holder.query('rollback');
  for (const outcome of await Promise.all(both)) assert.notEqual(outcome, 'not_granted');
  assert.deepEqual(
    await rows(one, 'select path, version, revision from secrets order by path'),
    PATHS.map((path) => ({ path, version: 3, revision: 3 })),
  );
});

interface Credential {
  readonly agent: NewAgent;
  readonly token: NewScopedToken;
}

const ENDINGS: Record<string, (database: Database, credential: Credential) => Promise<string>> = {
  'its token is revoked': (database, { agent, token }) =>
    createScopedTokenStore(database, TEST_SEALS).revoke(token.id, {
      actorKeyId: agent.key.keyId,
      event: anEvent({ eventType: 'token.revoked' }),
    }),
  'its key is revoked': (database, { agent }) =>
    createAgentStore(database, TEST_SEALS).revokeKey({ agentId: agent.id, keyId: agent.key.keyId }, aWrite()),
  'its agent is revoked': (database, { agent }) =>
    createAgentStore(database, TEST_SEALS).revoke(agent.id, aWrite()),
  'its agent is narrowed': (database, { agent }) =>
    createAgentStore(database, TEST_SEALS).update(agent.id, { allowedScopes: [] }, aWrite()),
};
const HELD_BY = { 'a limited token': 3, 'an unlimited token': null, 'an API key': undefined } as const;
/** A token does not end with a key, nor a key with a token. */
const UNRELATED = new Set([
  'its key is revoked, a limited token',
  'its key is revoked, an unlimited token',
  'its token is revoked, an API key',
]);

for (const [when, end] of Object.entries(ENDINGS)) {
  for (const [by, maxUses] of Object.entries(HELD_BY)) {
    if (UNRELATED.has(`${when}, ${by}`)) continue;
    test(`a change by ${by} that is under way when ${when} does not happen after that is acknowledged`, {
      skip: postgresSkip,
    }, async (t) => {
      const { holder, open, openPatient, waiting } = await heldLocks(t);
      const database = await openPatient();
      const agent = await storedAgent(database);
      const token = await storedToken(database, agent, { maxUses: maxUses ?? null });
      const { record } = await storedSecret(database, agent);
      const guard = maxUses === undefined ? keyGuard(agent) : tokenGuard(agent, token);
      const versions = () => rows(database, 'select 1 from secret_versions');

      await holder.query('begin');
      await holder.query('select 1 from secrets where path = $1 for update', [record.path]);
      // The change finds its credential live, then waits for the secret.
      const change = createSecretStore(database, TEST_SEALS).change({ guard, paths: [record.path] }, () => ({
        changes: [anAdvance(record)],
        event: anEvent({ eventType: 'secret.updated' }),
      }));
      const settled = change.catch(() => 'refused' as const);
      await untilHeldUp('the change waits', [settled], async () => (await waiting()) === 1);
      // It gives up soon: the change that it may have to wait for is held up until it has ended.
      const ended = await end(await open(), { agent, token }).catch(() => 'not acknowledged');
      await holder.query('rollback');
      const outcome = await settled;
      if (ended === 'not acknowledged') {
        assert.ok(Array.isArray(outcome), String(outcome));
        assert.match(await end(await open(), { agent, token }), /^(revoked|updated)$/, 'it can be ended now');
      } else {
        assert.ok(!Array.isArray(outcome), `it was ${ended}, and the change came after it`);
        assert.equal((await versions()).length, 1);
      }
    });
  }
}
