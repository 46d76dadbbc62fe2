/** What is dead goes when its time has come and not a second before; nobody waits for it, and no event goes with it. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { suite, type TestContext, test } from 'node:test';
import pg from 'pg';
import { uuidv7 } from 'uuidv7';
import { createAuditTrail } from '../../src/storage/audit/audit-store.ts';
import type { Database } from '../../src/storage/engine/database.ts';
import { sweep } from '../../src/storage/sweep.ts';
import { openPatiently } from '../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../support/postgres.ts';
import { TEST_SEALS } from '../support/test-seals.ts';
import { anEvent } from './builders.ts';
import { BACKENDS, type Backend, rows } from './opened.ts';

const DAYS = 30;
const run = (database: Database, retentionDays = DAYS) => sweep(database, { retentionDays });

/** `expires`: in SQL, from the database's present time. */
async function aTokenRow(
  database: Database,
  expires: string,
  { maxUses, uses = 0, revoked = false }: { maxUses?: number; uses?: number; revoked?: boolean } = {},
): Promise<string> {
  const id = uuidv7();
  await rows(
    database,
    `insert into scoped_tokens (id, token_hash, agent_id, key_id, scopes, max_uses, uses, created_at, expires_at, revoked_at)
     values ($1, $2, gen_random_uuid(), 'a key', '{}', $3, $4, clock_timestamp(), ${expires},
       case when $5::boolean then ${expires} end)`,
    [id, randomBytes(32), maxUses ?? null, uses, revoked],
  );
  return id;
}

async function anIntentRow(
  database: Database,
  expires: string,
  { ancestors = [] }: { ancestors?: readonly string[] } = {},
): Promise<string> {
  const jti = uuidv7();
  await rows(
    database,
    `insert into intent_tokens (jti, plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions,
       issued_at, expires_at, root_jti, ancestors)
     values ($1, gen_random_uuid(), gen_random_uuid(), 'a key', 'a kid', '', '', 2, '', '', clock_timestamp(),
       ${expires}, $2, $3)`,
    [jti, ancestors[0] ?? jti, ancestors],
  );
  return jti;
}

async function anIdempotencyRow(database: Database, createdAt: string): Promise<string> {
  const key = uuidv7();
  await rows(
    database,
    `insert into idempotency_keys (agent_id, path, key, body_sha256, jwt_sha256, jti, plan_id, key_id, kid, iss, aud,
       issued_at, expires_at, created_at)
     values (gen_random_uuid(), '/', $1, '', '', gen_random_uuid(), gen_random_uuid(), '', '', '', '',
       clock_timestamp(), clock_timestamp(), ${createdAt})`,
    [key],
  );
  return key;
}

const KINDS = {
  scoped_tokens: { add: aTokenRow, name: 'id' },
  intent_tokens: { add: anIntentRow, name: 'jti' },
  idempotency_keys: { add: anIdempotencyRow, name: 'key' },
} as const;
type Kind = keyof typeof KINDS;

async function left(database: Database, kind: Kind): Promise<string[]> {
  const found = await rows<{ name: string }>(
    database,
    `select ${KINDS[kind].name}::text as name from ${kind} order by 1`,
  );
  return found.map(({ name }) => name);
}

/** Many rows that are long dead, in one statement. */
async function manyDead(
  database: Database,
  kind: 'scoped_tokens' | 'intent_tokens',
  count: number,
): Promise<void> {
  const columns =
    kind === 'scoped_tokens'
      ? `(id, token_hash, agent_id, key_id, scopes, created_at, expires_at)
         select gen_random_uuid(), sha256(convert_to(gen_random_uuid()::text, 'UTF8')), gen_random_uuid(), '', '{}',
           dead, dead`
      : `(plan_id, agent_id, key_id, kid, plan_hash, merkle_root, tree_size, policy, actions, issued_at, expires_at,
           jti, root_jti)
         select id, id, '', '', '', '', 2, '', '', dead, dead, id, id`;
  await rows(
    database,
    `insert into ${kind} ${columns}
     from (
       select gen_random_uuid() as id, clock_timestamp() - interval '40 days' as dead from generate_series(1, $1::int)
     ) as made`,
    [count],
  );
}

const OWN_CLOCK_FIRST = 'set search_path = public, pg_catalog';

/** A database whose clock stands still: what is about a second can be exact on any machine. */
async function frozen(t: TestContext, backend: Backend, instant: string): Promise<Database> {
  const ownClock = `
    create function public.clock_timestamp() returns timestamptz language sql stable
    as $body$ select timestamptz '${instant}' $body$`;
  if (backend.kind === 'embedded') {
    const database = await backend.openMigrated(t);
    await rows(database, ownClock);
    await rows(database, OWN_CLOCK_FIRST);
    t.after(() => rows(database, 'reset search_path'));
    return database;
  }
  const { url } = await createTestDatabase(t);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(ownClock);
  await client.end();
  // One session, which is told so itself: what is set on the database does not reach it.
  const database = await openPatiently(url, 1);
  t.after(() => database.close());
  await rows(database, OWN_CLOCK_FIRST);
  return database;
}

for (const backend of BACKENDS) {
  suite(`sweep on ${backend.name}`, { skip: backend.skip }, () => {
    test('a row goes a second after its time and stays a second before it', async (t) => {
      // The days before this one have hours that some time zones do not have.
      const database = await frozen(t, backend, '2026-04-10T00:00:00Z');
      const [clock] = await rows<{ now: Date }>(database, 'select clock_timestamp() as now');
      assert.equal(clock?.now.toISOString(), '2026-04-10T00:00:00.000Z');
      for (const days of [1, 30, 365]) {
        const stays: Record<Kind, string[]> = { scoped_tokens: [], intent_tokens: [], idempotency_keys: [] };
        for (const kind of Object.keys(KINDS) as Kind[]) {
          const age = kind === 'idempotency_keys' ? '10 minutes' : `${days * 24} hours`;
          const { add } = KINDS[kind];
          await add(database, `clock_timestamp() - interval '${age}' - interval '1 second'`);
          stays[kind].push(
            await add(database, `clock_timestamp() - interval '${age}' + interval '1 second'`),
          );
          stays[kind].push(await add(database, `clock_timestamp() + interval '1 second'`));
        }
        assert.equal(await run(database, days), 3, `${days} days`);
        for (const kind of Object.keys(KINDS) as Kind[]) {
          assert.deepEqual(await left(database, kind), stays[kind].sort(), `${kind}, ${days} days`);
          await rows(database, `delete from ${kind}`);
        }
      }
    });

    test('what is live stays, and what was revoked or used up stays as long as the rest', async (t) => {
      const database = await backend.openMigrated(t);
      const recently = `clock_timestamp() - interval '29 days'`;
      const later = `clock_timestamp() + interval '1 hour'`;
      const stays = [
        await aTokenRow(database, later),
        await aTokenRow(database, later, { maxUses: 3, uses: 3 }),
        await aTokenRow(database, recently, { revoked: true }),
        await aTokenRow(database, recently, { maxUses: 1, uses: 1 }),
        await aTokenRow(database, recently),
      ];
      const intents = [await anIntentRow(database, later), await anIntentRow(database, recently)];
      const keys = [await anIdempotencyRow(database, `clock_timestamp() - interval '5 minutes'`)];
      assert.equal(await run(database), 0);
      assert.deepEqual(await left(database, 'scoped_tokens'), stays.sort());
      assert.deepEqual(await left(database, 'intent_tokens'), intents.sort());
      assert.deepEqual(await left(database, 'idempotency_keys'), keys);
    });

    test('whoever is still an ancestor stays, however long it is dead; whoever is none goes', async (t) => {
      const database = await backend.openMigrated(t);
      const dead = `clock_timestamp() - interval '31 days'`;
      const root = await anIntentRow(database, dead);
      const middle = await anIntentRow(database, dead, { ancestors: [root] });
      const leaf = await anIntentRow(database, `clock_timestamp() + interval '1 hour'`, {
        ancestors: [root, middle],
      });
      await anIntentRow(database, dead, { ancestors: [root] });
      await anIntentRow(database, dead);
      assert.equal(await run(database), 2);
      assert.deepEqual(await left(database, 'intent_tokens'), [root, middle, leaf].sort());

      await rows(database, `update intent_tokens set expires_at = ${dead} where jti = $1`, [leaf]);
      // Heirs go before their ancestors: each run may take one generation.
      const runs = [await run(database), await run(database), await run(database)];
      assert.equal(
        runs.reduce((sum, removed) => sum + removed, 0),
        3,
      );
      assert.deepEqual(await left(database, 'intent_tokens'), []);
    });

    test('2,500 dead rows of a kind go in one run, at most 1,000 in a transaction', async (t) => {
      const database = await backend.openMigrated(t);
      await rows(
        database,
        'create table gone (kind text, count int, xact xid8 default pg_current_xact_id())',
      );
      await rows(
        database,
        `create function count_gone() returns trigger language plpgsql as $body$
         begin insert into gone (kind, count) select tg_table_name, count(*) from removed; return null; end $body$`,
      );
      for (const kind of ['scoped_tokens', 'intent_tokens'] as const) {
        await rows(
          database,
          `create trigger count_gone after delete on ${kind} referencing old table as removed
           for each statement execute function count_gone()`,
        );
        await manyDead(database, kind, 2_500);
      }
      const stays = await aTokenRow(database, `clock_timestamp() + interval '1 hour'`);
      assert.equal(await run(database), 5_000);
      assert.deepEqual(await left(database, 'scoped_tokens'), [stays]);
      assert.deepEqual(await left(database, 'intent_tokens'), []);
      const batches = await rows<{ kind: string; sum: number; most: number }>(
        database,
        `select kind, sum(removed)::int as sum, max(removed)::int as most
         from (select kind, xact, sum(count) as removed from gone group by kind, xact) as batch group by kind`,
      );
      assert.equal(batches.length, 2);
      for (const { kind, sum, most } of batches) {
        assert.equal(sum, 2_500, kind);
        assert.ok(most <= 1_000, `${most} ${kind} in one transaction`);
      }
    });

    test('the events of what goes stay', async (t) => {
      const database = await backend.openMigrated(t);
      const dead = await aTokenRow(database, `clock_timestamp() - interval '31 days'`);
      const event = anEvent({ eventType: 'token.issued', resourceType: 'scoped_token', resourceId: dead });
      await createAuditTrail(database, TEST_SEALS).append(event);
      assert.equal(await run(database), 1);
      const stays = await rows(database, 'select id::text, resource_id from audit_events');
      assert.deepEqual(stays, [{ id: event.id, resource_id: dead }]);
    });
  });
}

suite('sweep beside others, on Postgres', { skip: postgresSkip }, () => {
  async function opened(t: TestContext) {
    const { url } = await createTestDatabase(t);
    const open = async () => {
      const database = await openPatiently(url, 4);
      t.after(() => database.close());
      return database;
    };
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    t.after(() => client.end());
    return { database: await open(), client, open };
  }

  for (const kind of ['scoped_tokens', 'intent_tokens', 'idempotency_keys'] as const) {
    test(`a dead row that somebody holds is passed over without waiting, and goes later: ${kind}`, async (t) => {
      const { database, client } = await opened(t);
      const dead = `clock_timestamp() - interval '31 days'`;
      const { add, name } = KINDS[kind];
      const held = await add(database, dead);
      for (let made = 0; made < 5; made += 1) await add(database, dead);
      await client.query('begin');
      // As a use of a token holds it.
      await client.query(`select 1 from ${kind} where ${name} = $1 for no key update`, [held]);
      assert.equal(await run(database), 5);
      assert.deepEqual(await left(database, kind), [held]);
      await client.query('rollback');
      assert.equal(await run(database), 1);
      assert.deepEqual(await left(database, kind), []);
    });
  }

  test('rows that are held do not keep the rest of 2,500 from going', async (t) => {
    const { database, client } = await opened(t);
    await manyDead(database, 'scoped_tokens', 2_500);
    await client.query('begin');
    await client.query('select 1 from scoped_tokens order by id limit 7 for no key update');
    assert.equal(await run(database), 2_493);
    await client.query('rollback');
    assert.equal((await left(database, 'scoped_tokens')).length, 7);
  });

  test('while one process sweeps, another removes nothing and does not wait', async (t) => {
    const { database, client } = await opened(t);
    await manyDead(database, 'scoped_tokens', 10);
    await manyDead(database, 'intent_tokens', 10);
    await anIdempotencyRow(database, `clock_timestamp() - interval '1 day'`);
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock($1)', [0x5357_4550]);
    assert.equal(await run(database), 0);
    assert.equal((await left(database, 'scoped_tokens')).length, 10);
    assert.equal((await left(database, 'intent_tokens')).length, 10);
    assert.equal((await left(database, 'idempotency_keys')).length, 1);
    await client.query('rollback');
    assert.equal(await run(database), 21);
  });

  test('processes that sweep at once remove every row once and tell of no more', async (t) => {
    const { database, open } = await opened(t);
    await manyDead(database, 'scoped_tokens', 2_500);
    const all = [database, await open(), await open()];
    const removed = await Promise.all(all.map((one) => run(one)));
    const rest = (await left(database, 'scoped_tokens')).length;
    assert.equal(
      removed.reduce((sum, count) => sum + count, rest),
      2_500,
    );
    assert.equal(await run(database), rest);
  });
});
