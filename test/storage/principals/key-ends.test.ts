/** Of a key that ends soon an event and a notice tell once, the log once a day, whichever process comes first. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import type { Database } from '../../../src/storage/engine/database.ts';
import { createAgentStore } from '../../../src/storage/principals/agent-store.ts';
import { createKeyEndReminders, readKeyEnds } from '../../../src/storage/principals/key-ends.ts';
import { createBuildNotice } from '../../../src/use-cases/notices/build-notice.ts';
import type { KeyThatEnds } from '../../../src/use-cases/principals/ports.ts';
import { createTellOfEndingKeys } from '../../../src/use-cases/principals/tell-of-ending-keys.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS, useTestKek } from '../../support/test-seals.ts';
import { agentIn, aKey, aWrite, storedAgent } from '../builders.ts';
import { BACKENDS, rows } from '../opened.ts';

const buildNotice = createBuildNotice({ configured: true, newId: uuidv7 });
const inDays = (days: number): Date => new Date(Date.now() + days * 86_400_000);

function tellerIn(database: Database, withinDays = 14) {
  const warned: KeyThatEnds[] = [];
  const tell = createTellOfEndingKeys({
    reminders: createKeyEndReminders(database, TEST_SEALS),
    newId: uuidv7,
    now: () => new Date(),
    buildNotice,
    withinDays,
    warn: (key) => void warned.push(key),
  });
  return { tell, warned };
}

const keysOf = (warned: readonly KeyThatEnds[]): string[] => warned.map(({ keyId }) => keyId);

const eventsIn = (database: Database) =>
  rows<{ resource_id: string; metadata: object; actor_id: string }>(
    database,
    `select resource_id, metadata, actor_id from audit_events where event_type = 'key.expiring' order by xact`,
  );

const noticesIn = async (database: Database) =>
  (await rows<{ payload: string }>(database, 'select payload from webhook_outbox')).map(
    ({ payload }) => (JSON.parse(payload) as { data: Record<string, unknown> }).data,
  );

for (const backend of BACKENDS) {
  suite(`keys that end on ${backend.name}`, { skip: backend.skip }, () => {
    test('are told of once by event and notice, and once a day in the log', async (t) => {
      const database = await backend.openMigrated(t);
      const store = createAgentStore(database, TEST_SEALS);
      const soon = inDays(13);
      const agent = await storedAgent(database, { key: aKey({ name: 'ci', expiresAt: soon }) });
      for (const expiresAt of [null, inDays(15), inDays(-1)])
        await store.addKey(agent.id, aKey({ expiresAt }), aWrite());
      const revoked = aKey({ expiresAt: soon });
      await store.addKey(agent.id, revoked, aWrite());
      await store.revokeKey({ agentId: agent.id, keyId: revoked.keyId }, aWrite());
      const gone = await agentIn({ agents: store }, { key: aKey({ expiresAt: soon }) });
      await store.revoke(gone.id, aWrite());
      const { tell, warned } = tellerIn(database);
      for (const _ of [1, 2]) await tell();
      const { keyId } = agent.key;
      assert.deepEqual(keysOf(warned), [keyId]);
      const expires_at = soon.toISOString();
      assert.deepEqual(await eventsIn(database), [
        { resource_id: keyId, metadata: { agent_id: agent.id, expires_at }, actor_id: 'system' },
      ]);
      const facts = { agent_id: agent.id, agent_name: agent.name, key_id: keyId, key_name: 'ci' };
      assert.deepEqual(await noticesIn(database), [{ ...facts, expires_at, last_used_at: null }]);
      await rows(database, `update api_keys set end_told_at = end_told_at - interval '1 day'`);
      for (const _ of [1, 2]) await tell();
      assert.deepEqual(keysOf(warned), [keyId, keyId]);
      assert.equal((await eventsIn(database)).length, 1);
      const { soon: count, nextInSeconds } = await readKeyEnds(database, 14);
      assert.equal(count, 1);
      assert.ok(Math.abs((nextInSeconds ?? 0) - 13 * 86_400) < 60);
    });

    test('by a rotation are told of, and nobody is told where that is turned off', async (t) => {
      const database = await backend.openMigrated(t);
      const store = createAgentStore(database, TEST_SEALS);
      const agent = await storedAgent(database);
      const rotation = {
        key: aKey(),
        older: [agent.key.keyId],
        overlapSeconds: 86_400,
        eventOf: () => aWrite().event,
      };
      assert.deepEqual(await readKeyEnds(database, 14), { soon: 0, nextInSeconds: null });
      assert.ok(typeof (await store.rotateKeys(agent.id, rotation, aWrite())) !== 'string');
      const off = tellerIn(database, 0);
      await off.tell();
      assert.deepEqual(off.warned, []);
      const { tell, warned } = tellerIn(database);
      await tell();
      assert.deepEqual(keysOf(warned), [agent.key.keyId]);
    });

    test('of a row that Writ did not write nobody is told', async (t) => {
      const database = await backend.openMigrated(t);
      await storedAgent(database, { key: aKey({ expiresAt: inDays(90) }) });
      await rows(database, `update api_keys set expires_at = now() + interval '1 day'`);
      const { tell, warned } = tellerIn(database);
      await tell();
      assert.deepEqual([warned, await eventsIn(database), await noticesIn(database)], [[], [], []]);
    });
  });
}

test('of processes at once one tells of each key', { skip: postgresSkip }, async (t) => {
  const { url } = await createTestDatabase(t);
  const databases = await Promise.all([1, 2].map(() => openPatiently(url, 4)));
  t.after(() => Promise.all(databases.map((database) => database.close())));
  const [first] = databases;
  assert.ok(first !== undefined);
  await useTestKek(first);
  const agents = createAgentStore(first, TEST_SEALS);
  const agent = await agentIn({ agents }, { key: aKey({ expiresAt: inDays(1) }) });
  // More than one batch holds.
  for (let key = 0; key < 119; key += 1)
    await agents.addKey(agent.id, aKey({ expiresAt: inDays(1) }), aWrite());
  const tellers = [0, 1, 0, 1]
    .flatMap((index) => databases[index] ?? [])
    .map((database) => tellerIn(database));
  await Promise.all(tellers.map(({ tell }) => tell()));
  const all = tellers.flatMap(({ warned }) => keysOf(warned));
  assert.deepEqual([all.length, new Set(all).size], [120, 120]);
  assert.equal((await eventsIn(first)).length, 120);
  assert.equal((await noticesIn(first)).length, 120);
});
