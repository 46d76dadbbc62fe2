/** What every store promises, on the embedded database and on a real Postgres alike. */
import assert from 'node:assert/strict';
import { suite, type TestContext, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { WritError } from '../../src/errors.ts';
import { insertAuditEvents } from '../../src/storage/audit/audit-store.ts';
import { proveWritable, readDatabaseTime } from '../../src/storage/engine/database-health.ts';
import { readMigrationState } from '../../src/storage/engine/migrations.ts';
import { readServerFacts } from '../../src/storage/engine/server-facts.ts';
import { createAgentStore, hasEverHadAdmin } from '../../src/storage/principals/agent-store.ts';
import { addSetting, readSettings, setSetting } from '../../src/storage/settings-store.ts';
import { addMasterKey, listMasterKeys } from '../../src/storage/signing-keys/master-key-store.ts';
import { addFirstSigningKey, readSigningKeys } from '../../src/storage/signing-keys/signing-key-store.ts';
import { TEST_KEK, TEST_SEALS } from '../support/test-seals.ts';
import { anAgent, anEvent, aWrite, storedAgent } from './builders.ts';
import { contractOfAgents } from './contract-of-agents.ts';
import { contractOfCredentials } from './contract-of-credentials.ts';
import { contractOfIntentTokens } from './contract-of-intent-tokens.ts';
import { contractOfRows } from './contract-of-rows.ts';
import { contractOfTrail } from './contract-of-trail.ts';
import { storesOn } from './contract-stores.ts';
import { BACKENDS, rows } from './opened.ts';

for (const backend of BACKENDS) {
  suite(`storage on ${backend.name}`, { skip: backend.skip }, () => {
    const on = storesOn(backend);
    const fresh = (t: TestContext) => backend.openMigrated(t);

    contractOfAgents(on);
    contractOfCredentials(on);
    contractOfTrail(on);
    contractOfIntentTokens(on);
    contractOfRows(on);

    suite('the trail is never changed', () => {
      const FORBIDDEN = [
        "update audit_events set event_type = 'x'",
        'update audit_events set event_type = event_type where false',
        'delete from audit_events',
        'delete from audit_events where false',
        'truncate audit_events',
        "update audit_events_default set event_type = 'x'",
        'update audit_events_default set event_type = event_type where false',
        'delete from audit_events_default',
        'delete from audit_events_default where false',
        'truncate audit_events_default',
        'truncate intent_tokens, audit_events cascade',
        'with gone as (delete from audit_events returning id) select * from gone',
        `insert into audit_events_default select * from audit_events limit 1
         on conflict (created_at, id) do update set event_type = 'x'`,
        `merge into audit_events target using (select 1) source on true when matched then delete`,
      ];
      for (const statement of FORBIDDEN) {
        test(`refused and without effect: ${statement.replace(/\s+/g, ' ')}`, async () => {
          await on.trail.append(anEvent());
          const before = await on.sql(
            'select md5(string_agg(event::text, $1 order by id)) as all_rows from audit_events event',
            ['|'],
          );
          await assert.rejects(on.sql(statement), (error) => {
            assert.equal(error instanceof WritError && error.code, 'AUDIT_UNAVAILABLE');
            assert.equal(sqlStateOf((error as Error).cause), '42501');
            return true;
          });
          const left = await on.sql(
            'select md5(string_agg(event::text, $1 order by id)) as all_rows from audit_events event',
            ['|'],
          );
          assert.deepEqual(left, before);
        });
      }

      test('a partition attached later refuses changes of its rows too', async (t) => {
        const own = await fresh(t);
        await rows(
          own,
          `create table audit_events_past partition of audit_events for values from ('2001-01-01') to ('2001-02-01')`,
        );
        await rows(
          own,
          `insert into audit_events (id, event_type, actor_id, actor_type, resource_type, resource_id, metadata, created_at)
           values ($1, 'x', 'x', 'system', 'x', 'x', '{}', '2001-01-02')`,
          [uuidv7()],
        );
        await assert.rejects(
          rows(own, 'delete from audit_events_past'),
          (error) => sqlStateOf((error as Error).cause) === '42501',
        );
        await assert.rejects(
          rows(own, `update audit_events_past set event_type = 'y'`),
          (error) => sqlStateOf((error as Error).cause) === '42501',
        );
      });
    });

    suite('transactions', () => {
      test('what throws leaves nothing behind', async () => {
        const event = anEvent();
        const agent = anAgent();
        const thrown = new Error('on purpose');
        await assert.rejects(
          on.database.transaction(async (session) => {
            await insertAuditEvents(session, [event]);
            await session.query(
              {
                name: 'test_insert_setting',
                effect: 'write',
                text: 'insert into settings (name, value) values ($1, $2)',
              },
              [agent.id, 'x'],
            );
            throw thrown;
          }),
          (error) => error === thrown,
        );
        assert.deepEqual(await on.eventsOf(event.resourceId), []);
        assert.equal((await readSettings(on.database)).has(agent.id), false);
      });

      test('a failed statement rolls back those before it, and the connection goes on', async () => {
        const name = uuidv7();
        for (let round = 0; round < 12; round += 1) {
          await assert.rejects(
            on.database.transaction(async (session) => {
              await addSetting(session, { name: name, value: 'x' }, TEST_SEALS);
              await session.query({ name: 'test_division', effect: 'read', text: 'select 1 / $1::int' }, [0]);
            }),
          );
        }
        assert.equal((await readSettings(on.database)).has(name), false);
      });

      test('a transaction is not seen from outside before its end, and is after it', async () => {
        const name = uuidv7();
        // The embedded database has one connection: it runs the reader after the transaction instead of beside it.
        const order: string[] = [];
        await on.database.transaction(async (session) => {
          await addSetting(session, { name: name, value: 'x' }, TEST_SEALS);
          order.push('written');
        });
        order.push((await readSettings(on.database)).get(name) ?? 'absent');
        assert.deepEqual(order, ['written', 'x']);
      });

      test('concurrent transactions do not mix', async () => {
        const names = Array.from({ length: 20 }, () => uuidv7());
        const outcomes = await Promise.allSettled(
          names.map((name, index) =>
            on.database.transaction(async (session) => {
              await addSetting(session, { name: name, value: 'x' }, TEST_SEALS);
              if (index % 2 === 0) throw new Error('rolled back');
            }),
          ),
        );
        assert.equal(outcomes.filter((outcome) => outcome.status === 'fulfilled').length, 10);
        const stored = await readSettings(on.database);
        assert.deepEqual(
          names.map((name) => stored.has(name)),
          names.map((_, index) => index % 2 === 1),
        );
      });
    });

    suite('provisioning', () => {
      test('an empty database lacks every migration, a migrated one none, and doing it again does nothing', async (t) => {
        const own = await backend.openEmpty(t);
        const empty = await readMigrationState(own);
        assert.ok(empty.pending >= 1);
        assert.equal(empty.unknown, 0);
        await own.exclusively((migrate) => migrate());
        assert.deepEqual(await readMigrationState(own), { pending: 0, unknown: 0 });
        await own.exclusively((migrate) => migrate());
        assert.deepEqual(await readMigrationState(own), { pending: 0, unknown: 0 });
      });

      test('a migration that this build does not know is told apart', async (t) => {
        const own = await fresh(t);
        await rows(
          own,
          `insert into public.schema_migrations (hash, created_at) values ('of the future', 0)`,
        );
        assert.deepEqual(await readMigrationState(own), { pending: 0, unknown: 1 });
      });

      test('settings: adding keeps what is stored, setting replaces it', async (t) => {
        const own = await fresh(t);
        await addSetting(own, { name: 'issuer_url', value: 'one' }, TEST_SEALS);
        await addSetting(own, { name: 'issuer_url', value: 'two' }, TEST_SEALS);
        assert.deepEqual([...(await readSettings(own))], [['issuer_url', 'one']]);
        const befores: (string | null)[] = [];
        const eventOf = (before: string | null) => {
          befores.push(before);
          return anEvent({ eventType: 'settings.changed' });
        };
        const set = (name: string, value: string) =>
          own.transaction((session) => setSetting(session, { name, value }, { seals: TEST_SEALS, eventOf }));
        await set('issuer_url', 'three');
        await set('token_audience', 'writ');
        assert.deepEqual(befores, ['one', null]);
        const events = await rows(own, `select 1 from audit_events where event_type = 'settings.changed'`);
        assert.equal(events.length, 2);
        // Several at once: each event has what the one before left.
        befores.length = 0;
        const values = ['a', 'b', 'c', 'd'];
        await Promise.all(values.map((value) => set('contested', value)));
        const last = (await readSettings(own)).get('contested') ?? '';
        assert.deepEqual([...befores, last].sort(), [...values, null].sort());
        await rows(own, `delete from settings where name = 'contested'`);
        assert.deepEqual(
          [...(await readSettings(own))].sort(),
          [
            ['issuer_url', 'three'],
            ['token_audience', 'writ'],
          ].sort(),
        );
      });

      test('the first active signing key stays the only active one', async (t) => {
        const own = await fresh(t);
        const key = (kid: string) => ({
          kid,
          publicKey: new Uint8Array(32),
          wrappedPrivateKey: new Uint8Array([0, 255, 7]),
          kekId: TEST_KEK.kekId,
        });
        await Promise.all(
          Array.from({ length: 10 }, (_, index) => addFirstSigningKey(own, key(`kid ${index}`), TEST_SEALS)),
        );
        const [only, ...others] = await readSigningKeys(own);
        assert.deepEqual(others, []);
        assert.equal(only?.state, 'active');
        assert.deepEqual([...(only?.wrappedPrivateKey ?? [])], [0, 255, 7]);
        await assert.rejects(
          rows(
            own,
            `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state) values ('x', '', '', 'x', 'active')`,
          ),
          (error) => sqlStateOf(error) === '23505',
        );
      });

      test('a master key that is listed stays as it is, and one is active', async (t) => {
        const own = await fresh(t);
        await rows(own, 'delete from master_keys');
        assert.deepEqual(await listMasterKeys(own), []);
        const add = (kekId: string, byte: number) =>
          addMasterKey(own, { kekId, checkValue: new Uint8Array([byte]), state: 'active' });
        await add('one', 1);
        await add('one', 2);
        await add('two', 3);
        const [only, ...others] = await listMasterKeys(own);
        assert.deepEqual(others, []);
        assert.deepEqual([only?.kekId, ...(only?.checkValue ?? [])], ['one', 1]);
      });

      test('a revoked administrator still counts as one that has been', async (t) => {
        const own = await fresh(t);
        assert.equal(await hasEverHadAdmin(own), false);
        await storedAgent(own, { role: 'approver' });
        assert.equal(await hasEverHadAdmin(own), false);
        const admin = await storedAgent(own, { role: 'admin' });
        await createAgentStore(own, TEST_SEALS).revoke(admin.id, aWrite());
        assert.equal(await hasEverHadAdmin(own), true);
      });

      test('the heartbeat is one row however often it beats, and tells the database’s time', async (t) => {
        const own = await fresh(t);
        await Promise.all([proveWritable(own), proveWritable(own), proveWritable(own)]);
        assert.equal((await rows(own, 'select at from heartbeat')).length, 1);
        const before = Date.now();
        const told = await readDatabaseTime(own);
        assert.ok(told > before - 5_000 && told < Date.now() + 5_000, `${told}, after ${before}`);
      });

      test('exclusive work does not overlap, and its failure lets the next one in', async (t) => {
        const own = await fresh(t);
        let inside = 0;
        let most = 0;
        const work = async (fails: boolean) => {
          inside += 1;
          most = Math.max(most, inside);
          await addSetting(own, { name: uuidv7(), value: 'x' }, TEST_SEALS);
          inside -= 1;
          if (fails) throw new Error('on purpose');
        };
        const outcomes = await Promise.allSettled(
          [true, false, true, false].map((fails) => own.exclusively(() => work(fails))),
        );
        assert.deepEqual(
          outcomes.map((outcome) => outcome.status),
          ['rejected', 'fulfilled', 'rejected', 'fulfilled'],
        );
        // The embedded database has one process already: its lock file sees to that.
        if (own.kind === 'postgres') assert.equal(most, 1);
      });

      test('server facts name the version and what of durability is off', async () => {
        const facts = await readServerFacts(on.database);
        assert.ok(facts.versionNumber >= 150_000);
        // The embedded database says so itself: it is for one person.
        assert.equal(facts.unsafeSettings.includes('fsync'), backend.kind === 'embedded');
      });
    });

    suite('errors', () => {
      const CANARY = 'parameter-canary-7f3a';
      test('a storage error that callers may see carries no driver message and no parameter', async (t) => {
        const own = await fresh(t);
        const busy = async (sqlState: string) =>
          rows(
            own,
            `do $body$ begin raise exception '${CANARY} %', 'said by the driver' using errcode = '${sqlState}'; end $body$`,
          );
        for (const sqlState of ['40001', '40P01', '55P03', '53300', '57014', '25006', '57P03', '08006']) {
          await assert.rejects(busy(sqlState), (error) => {
            assert.ok(error instanceof WritError, `${sqlState} is translated`);
            const { message, publicMessage, detail, details, members } = error;
            const told = JSON.stringify({ message, publicMessage, detail, details, members });
            assert.doesNotMatch(told, /canary|said by the driver/);
            return true;
          });
        }
      });

      test('drizzle’s wrapper is looked through', async (t) => {
        const own = await fresh(t);
        await rows(
          own,
          `create function refuse() returns trigger language plpgsql as $body$
           begin raise exception 'driver message' using errcode = '53300'; end $body$`,
        );
        await rows(
          own,
          'create trigger refuse before insert on settings for each row execute function refuse()',
        );
        await assert.rejects(addSetting(own, { name: CANARY, value: CANARY }, TEST_SEALS), (error) => {
          assert.ok(error instanceof WritError);
          assert.equal(error.code, 'UNAVAILABLE');
          assert.doesNotMatch(
            `${error.message} ${error.detail} ${JSON.stringify(error.details)}`,
            /canary|driver message/,
          );
          return true;
        });
      });
    });
  });
}

function sqlStateOf(error: unknown): string | undefined {
  for (let current = error; current instanceof Error; current = current.cause) {
    const code = (current as { code?: unknown }).code;
    if (typeof code === 'string') return code;
  }
  return undefined;
}
