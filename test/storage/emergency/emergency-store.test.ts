/**
 * A stop waits for nobody who holds anything else, is not answered before what may have read the table before has ended,
 * and is not taken back by SQL: only what the master key opens ends it.
 */
import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { uuidv7 } from 'uuidv7';
import { createKeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { createMasterKeys } from '../../../src/keys/encryption/master-keys.ts';
import { createResumeProofs } from '../../../src/keys/encryption/resume-proofs.ts';
import { createEmergencyStore } from '../../../src/storage/emergency/emergency-store.ts';
import { createAgentStore } from '../../../src/storage/principals/agent-store.ts';
import { SYSTEM } from '../../../src/use-cases/audit/build-audit-event.ts';
import { createEmergency, type EmergencyCommand } from '../../../src/use-cases/emergency/stop-and-resume.ts';
import { createBuildNotice } from '../../../src/use-cases/notices/build-notice.ts';
import { untilHeldUp } from '../../support/issuing.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { adminQuery, createTestDatabase, postgresSkip as skip } from '../../support/postgres.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { TEST_SEALS, useTestKek } from '../../support/test-seals.ts';
import { storedAgent } from '../builders.ts';

const CONTEXT = { requestId: 'r', ipAddress: null };
const ALL: EmergencyCommand = { agent: null, reason: 'because' };

async function opened(t: TestContext, masterKey = TEST_MASTER_KEY) {
  const { url } = await createTestDatabase(t);
  const database = await openPatiently(url, 4);
  const other = new pg.Client({ connectionString: url });
  await other.connect();
  t.after(async () => {
    await other.end();
    await database.close();
  });
  await useTestKek(database);
  const store = createEmergencyStore(database, TEST_SEALS);
  const emergencyUnder = (key: string) =>
    createEmergency({
      store,
      agents: createAgentStore(database, TEST_SEALS),
      proofs: createResumeProofs(createMasterKeys([createKeyEncryption(Buffer.from(key, 'hex'))])),
      buildNotice: createBuildNotice({ configured: true, newId: uuidv7 }),
      newId: uuidv7,
      now: () => new Date(),
      denyCaller: { deadKey: () => assert.fail('nobody has a key here') },
    });
  const emergency = emergencyUnder(masterKey);
  const stop = (command = ALL) => emergency.stop(command, 'system', CONTEXT);
  const resume = (command = ALL) => emergency.resume(command, 'system', CONTEXT);
  return { database, other, store, emergency, emergencyUnder, stop, resume };
}

test('a stop waits for no lock that others hold on principals, keys, tokens or approvals', {
  skip,
}, async (t) => {
  const { database, other, stop } = await opened(t);
  const agent = await storedAgent(database);
  await other.query('begin');
  for (const table of ['agents', 'api_keys', 'scoped_tokens', 'intent_tokens', 'approvals', 'secrets']) {
    await other.query(`lock table ${table} in share row exclusive mode`);
  }
  await other.query('select 1 from agents for update');
  await other.query(`select pg_advisory_xact_lock(1095192148, hashtext($1))`, [agent.id]);
  assert.deepEqual(await stop({ agent: agent.id, reason: 'r' }), { changed: true, settled: true });
  assert.deepEqual(await stop(), { changed: true, settled: true });
  await other.query('rollback');
});

test('a stop is answered when what read the table before has ended, and does not wait for a dump', {
  skip,
}, async (t) => {
  const { other, stop, resume, store } = await opened(t);
  await other.query('begin');
  await other.query('select from emergency_stops');
  const stopped = stop();
  await untilHeldUp(
    'it is in force, and not answered',
    [stopped],
    async () => (await store.list()).length === 1,
  );
  await other.query('commit');
  assert.deepEqual(await stopped, { changed: true, settled: true });
  await resume();
  await other.query(`set application_name = 'pg_dump'`);
  await other.query('begin');
  await other.query('select from emergency_stops');
  assert.deepEqual(await stop(), { changed: true, settled: true });
  await other.query('commit');
});

test('nobody ends a stop by SQL, be it the owner of the table', { skip }, async (t) => {
  const { other, stop, resume, emergency } = await opened(t);
  await stop();
  const writer = `writ_test_${randomUUID().replaceAll('-', '')}`;
  await other.query(`create role ${writer}`);
  t.after(() => adminQuery(`drop role ${writer}`));
  await other.query(`grant select, insert, update, delete, truncate on emergency_stops to ${writer}`);
  const proof = randomBytes(32);
  for (const role of ['none', writer]) {
    await other.query(`set role ${role}`);
    for (const [text, code] of [
      ['delete from emergency_stops', '42501'],
      ['truncate emergency_stops', '42501'],
      [`update emergency_stops set agent_id = gen_random_uuid()`, '42501'],
      [`update emergency_stops set resume_hash = sha256('\\x00')`, '42501'],
      [`update emergency_stops set reason = 'other'`, '42501'],
      ['update emergency_stops set resumed_at = now()', '23514'],
      [
        `update emergency_stops set resumed_at = now(), resume_proof = '\\x${proof.toString('hex')}'`,
        '23514',
      ],
      [`update emergency_stops set resumed_at = now(), resume_proof = resume_hash`, '23514'],
      [`update emergency_stops set resumed_at = now(), resume_proof = wrapped_proof`, '23514'],
      [
        `insert into emergency_stops select (jsonb_populate_record(s, jsonb_build_object('resumed_at', now()))).* from emergency_stops s
         on conflict (id) do update set resumed_at = now()`,
        '23514',
      ],
    ] as const) {
      await assert.rejects(other.query(text), { code }, `${role}: ${text}`);
    }
  }
  await other.query('reset role');
  assert.equal((await emergency.list()).length, 1);
  assert.deepEqual(await resume(), { changed: true });
  assert.deepEqual(await emergency.list(), []);
  // What ended it stands in its row now, and ends no other.
  await stop();
  const replay = `
    update emergency_stops set resumed_at = now(),
      resume_proof = (select resume_proof from emergency_stops where resume_proof is not null)
    where resumed_at is null`;
  await assert.rejects(other.query(replay), { code: '23514' });
  await assert.rejects(
    other.query(
      'update emergency_stops set resumed_at = null, resume_proof = null where resumed_at is not null',
    ),
    { code: '42501' },
  );
  await other.query(`drop owned by ${writer}`);
});

test('a stop that Writ did not write is in force, is told of, and is not taken for one of ours', {
  skip,
}, async (t) => {
  const { other, stop, resume, emergency, emergencyUnder } = await opened(t);
  await other.query(
    `insert into emergency_stops (id, agent_id, reason, actor_id, resume_hash, wrapped_proof, kek_id)
     select gen_random_uuid(), '00000000-0000-0000-0000-000000000000', 'planted', 'x', sha256('\\x00'), '\\x00', kek_id
     from master_keys where state = 'active'`,
  );
  assert.equal((await emergency.list()).length, 1);
  await assert.rejects(stop(), { code: 'INTEGRITY_ERROR' });
  await assert.rejects(resume(), { code: 'INTEGRITY_ERROR' });
  await other.query('alter table emergency_stops disable trigger user');
  await other.query('delete from emergency_stops');
  await other.query('alter table emergency_stops enable trigger user');
  assert.deepEqual(await stop(), { changed: true, settled: true });
  await assert.rejects(emergencyUnder('0b'.repeat(32)).resume(ALL, 'system', CONTEXT), {
    code: 'INTEGRITY_ERROR',
  });
  assert.deepEqual(await resume(), { changed: true });
});

test('each effect has its event and its notice, or there is none of them', { skip }, async (t) => {
  const { database, other, stop, resume } = await opened(t);
  const agent = await storedAgent(database);
  const command = { agent: agent.name, reason: 'odd reads' };
  const written = async () => {
    const { rows } = await other.query<{ stops: number; events: string[]; notices: object[] }>(`
      select (select count(*)::int from emergency_stops) as stops,
        (select coalesce(json_agg(event_type order by created_at), '[]') from audit_events where event_type like 'emergency.%') as events,
        (select coalesce(json_agg(payload::json order by created_at), '[]') from webhook_outbox) as notices`);
    return rows[0] ?? assert.fail();
  };
  await other.query(`create function refuse_event() returns trigger language plpgsql as
    $$ begin raise exception 'planted fault'; end $$`);
  await other.query(
    'create trigger planted before insert on audit_events for each row execute function refuse_event()',
  );
  await assert.rejects(stop(command), { code: 'AUDIT_UNAVAILABLE' });
  assert.deepEqual(await written(), { stops: 0, events: [], notices: [] });
  await other.query('drop trigger planted on audit_events');
  await stop(command);
  await stop(command);
  await resume({ ...command, reason: 'it was a drill' });
  const { events, notices } = await written();
  assert.deepEqual(events, ['emergency.stopped', 'emergency.resumed']);
  const told = notices as { type: string; data: { reason: string; agent_name: string; actor_id: string } }[];
  assert.deepEqual(
    told.map(({ type, data }) => [type, data.reason, data.agent_name, data.actor_id]),
    [
      ['emergency.stopped', 'odd reads', agent.name, SYSTEM.id],
      ['emergency.resumed', 'it was a drill', agent.name, SYSTEM.id],
    ],
  );
});
