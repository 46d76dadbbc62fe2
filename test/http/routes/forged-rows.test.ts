/**
 * Rows that nobody wrote: for every table that grants and every column of it that is sealed, the owner of the database
 * changes it and nothing more opens. Each attack is run for true: against the process that has used the row, and against
 * one that has not; and, as a control, with a seal of Writ's own, with which it succeeds.
 */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { getTableColumns } from 'drizzle-orm';
import { createKeyEncryption } from '../../../src/keys/encryption/key-encryption.ts';
import { generateSigningKey } from '../../../src/keys/signing/signing-key.ts';
import { SEALED_TABLES } from '../../../src/storage/engine/sealed-rows.ts';
import { createWebhookOutbox } from '../../../src/storage/notices/webhook-outbox.ts';
import { createDeliverWebhooks } from '../../../src/use-cases/notices/deliver-webhooks.ts';
import {
  assertRefused,
  buildTestApp,
  openTestApp,
  type TestAnswer,
  type TestApp,
} from '../../support/app.ts';
import { runHere } from '../../support/command-line.ts';
import { onlyInFullRun } from '../../support/effort.ts';
import { until } from '../../support/issuing.ts';
import { createProvisionedDatabase, postgresSkip } from '../../support/postgres.ts';
import { queryDatabase, refusedStart, startedOnce } from '../../support/refused-start.ts';
import { TEST_MASTER_KEY } from '../../support/test-master-key.ts';
import { resealRows, TEST_SEALS, takeGuardAway } from '../../support/test-seals.ts';
import { APPROVAL_ATTACKS } from './forged-approval-attacks.ts';
import { type Attack, OTHER_ATTACKS, ROW_ATTACKS } from './forged-row-attacks.ts';

const ATTACKS = [...ROW_ATTACKS, ...APPROVAL_ATTACKS];
/** What ends a row that may grant. */
const ENDS: readonly string[] = ['revokedAt', 'deniedAt', 'claimedAt'];

const BROKEN = { status: 500, code: 'INTEGRITY_ERROR' };

test('every column of a table that grants is sealed, or named with the reason why not', () => {
  for (const [name, { table, sealed, hashed, open }] of Object.entries(SEALED_TABLES)) {
    const named = [...sealed, ...Object.keys(open), 'seal'];
    assert.deepEqual(named.sort(), Object.keys(getTableColumns(table)).sort(), name);
    assert.ok(hashed.every((member) => (sealed as readonly string[]).includes(member)));
    for (const why of Object.values(open)) assert.ok(why.length > 10, name);
  }
});

test('every sealed column, the seal itself and every end of a row has its attack', () => {
  for (const [name, { sealed, open }] of Object.entries(SEALED_TABLES)) {
    const attacks = [...ATTACKS, ...OTHER_ATTACKS].filter(({ table }) => table === name);
    const attacked = new Set(attacks.flatMap(({ columns }) => columns));
    const owed = [...sealed, ...Object.keys(open).filter((column) => ENDS.includes(column)), 'seal'];
    assert.deepEqual(
      owed.filter((column) => !attacked.has(column)),
      [],
      `${name} has columns that no attack changes`,
    );
  }
});

/** What the attacked row opens, as far as a stranger can tell. */
const shown = ({ status, body }: TestAnswer): unknown =>
  status < 300 ? ((body as { value?: unknown }).value ?? status) : status;

test('the attacks by SQL', { skip: postgresSkip }, (t) => attackAll(t, false));
test('the attacks by SQL while the master key is changed', { skip: postgresSkip || onlyInFullRun }, (t) =>
  attackAll(t, true),
);

/** `isChanging`: what the tests seal is under the retiring key, and what the apps write is under another, which is active. */
async function attackAll(t: TestContext, isChanging: boolean): Promise<void> {
  const settings = isChanging ? { MASTER_KEY_PREVIOUS: OTHER_MASTER_KEY } : {};
  const warm = await buildTestApp(t, settings);
  if (isChanging) await activateOther(warm);
  await takeGuardAway(warm.sql);
  const other = () => openTestApp(t, warm.databaseUrl, settings, {}, warm.adminKey);
  const [cold, control] = [await other(), await other()];
  const run = async (attack: Attack): Promise<void> => {
    const { forge, probe, forged } = await attack.prepare(warm);
    const before = shown(await probe(warm));
    if (attack.opensBefore !== true) assert.ok(typeof before !== 'number' || before >= 400, 'it is shut');
    await forge();
    for (let time = 0; time < 2; time += 1) {
      assert.deepEqual(shut(await probe(warm), before), true, 'the process that knows the row');
      const answer = await probe(cold);
      assertRefused(answer, attack.refused ?? BROKEN, 'a process that reads it afresh');
      if (time === 0 && attack.refused === undefined) await assertAskedOnRecord(answer);
    }
    if (forged === undefined) return;
    await resealRows(warm.sql, attack.table, ...forged);
    const open = await probe(control);
    assert.ok(open.status < 300, `the control, with a seal, opens: ${open.text}`);
    if (attack.opensBefore !== true) assert.notDeepEqual(shown(open), before);
  };
  /** Who asked, and not only that a row does not fit. */
  const assertAskedOnRecord = async (answer: TestAnswer): Promise<void> => {
    const events = await warm.sql<{ event_type: string; credential: unknown; code: unknown }>(
      `select event_type, metadata->>'credential' as credential, metadata->>'code' as code
       from audit_events where request_id = $1`,
      [answer.headers['x-request-id']],
    );
    assert.equal(events.length, 1, JSON.stringify(events));
    assert.match(events[0]?.event_type ?? '', /^(?:auth|token|secret|intent)[.]denied$/);
    assert.equal(events[0]?.code, BROKEN.code);
    assert.ok(events[0]?.credential, 'by which credential');
  };
  for (const attack of ATTACKS) await t.test(`${attack.table}: ${attack.what}`, () => run(attack));

  await t.test('each row that did not fit is on record, and counted', async () => {
    const rows = await warm.sql<{ table: string }>(
      `select distinct resource_type as "table" from audit_events where event_type = 'integrity.failed'`,
    );
    assert.deepEqual(
      rows.map(({ table }) => table).sort(),
      [...new Set(ATTACKS.map(({ table }) => table))].sort(),
    );
    const ready = await cold.call<{ integrity_errors: number }>({ method: 'GET', url: '/ready' });
    assert.ok(ready.body.integrity_errors >= ATTACKS.length / 2);
  });
}

const OTHER_MASTER_KEY = '7b'.repeat(32);

async function activateOther({ sql, createAgent }: TestApp): Promise<void> {
  const { kekId, ...key } = createKeyEncryption(Buffer.from(OTHER_MASTER_KEY, 'hex'));
  await sql(`update master_keys set state = 'retiring'`);
  await sql(`insert into master_keys (kek_id, check_value, state) values ($1, $2, 'active')`, [
    kekId,
    key.checkValue(),
  ]);
  await until('the app writes under it', async () => {
    // Until it has followed, it may be refused.
    const made = await createAgent().catch(() => undefined);
    const [row] = await sql<{ seal: Buffer }>('select seal from agents where id = $1', [made?.id ?? null]);
    return row?.seal.toString('hex').startsWith(kekId) === true;
  });
}

/** Refused, or answered with no more than before. */
function shut(answer: TestAnswer, before: unknown): boolean {
  return answer.status >= 400 || JSON.stringify(shown(answer)) === JSON.stringify(before);
}

const KEK = createKeyEncryption(Buffer.from(TEST_MASTER_KEY, 'hex'));

test('a row of a signing key that was changed is published by no start', {
  skip: postgresSkip,
}, async (t) => {
  const { sql, databaseUrl, adminKey } = await buildTestApp(t);
  await takeGuardAway(sql);
  const published = async (): Promise<number> => {
    const { app, call } = await openTestApp(t, databaseUrl, {}, {}, adminKey);
    const { body } = await call<{ keys: unknown[] }>({ method: 'GET', url: '/.well-known/jwks.json' });
    await app.close();
    return body.keys.length;
  };
  for (const { table, forge, what } of OTHER_ATTACKS) {
    if (table !== 'signing_keys') continue;
    await sql(`delete from signing_keys where state <> 'active'`);
    const { kid, publicKey, wrappedPrivateKey, kekId } = generateSigningKey(KEK);
    await sql(
      `insert into signing_keys (kid, public_key, wrapped_private_key, kek_id, state) values ($1, $2, $3, $4, 'retiring')`,
      [kid, publicKey, wrappedPrivateKey, kekId],
    );
    await resealRows(sql, table, 'kid = $1', [kid]);
    assert.equal(await published(), 2, 'the control');
    await sql(`${forge} where kid = $1`, [kid]);
    assert.equal(await published(), 1, what);
  }
});

test('a setting that was changed is served by no start, until a command sets it', {
  skip: postgresSkip,
}, async (t) => {
  for (const { table, forge, what } of OTHER_ATTACKS) {
    if (table !== 'settings') continue;
    const { url } = await createProvisionedDatabase(t);
    const env = { DATABASE_URL: url, MASTER_KEY: TEST_MASTER_KEY };
    await queryDatabase(url, `${forge} where name = 'token_audience'`);
    const { code, said } = await refusedStart(env);
    assert.equal(code, 2, what);
    assert.match(said, /is not what Writ wrote\. Look at it with: writ settings show/, what);
    await queryDatabase(url, `update settings set name = 'token_audience' where name = 'other'`);
    const set = await runHere(['settings', 'set', 'token_audience', 'writ'], env);
    assert.equal(set.code, 0, set.stderr);
    await startedOnce(env);
  }
});

test('a notice that was changed, or that nobody owes, is never sent', { skip: postgresSkip }, async (t) => {
  const { sql, database } = await buildTestApp(t);
  await takeGuardAway(sql);
  const sent: string[] = [];
  const deliver = createDeliverWebhooks({
    outbox: createWebhookOutbox(database, TEST_SEALS),
    send: async ({ payload }) => void sent.push(payload),
    onDeadLetter: () => undefined,
  });
  const owe = async (): Promise<string> => {
    const [row] = await sql<{ id: string }>(
      `insert into webhook_outbox (id, payload) values (gen_random_uuid(), '{}') returning id`,
    );
    return row?.id ?? '';
  };
  await resealRows(sql, 'webhook_outbox', 'id = $1', [await owe()]);
  await deliver();
  assert.deepEqual(sent.splice(0), ['{}'], 'the control');
  for (const { table, forge, what } of OTHER_ATTACKS) {
    if (table !== 'webhook_outbox') continue;
    const id = await owe();
    await resealRows(sql, table, 'id = $1', [id]);
    await sql(`${forge} where id = $1`, [id]);
    await deliver();
    assert.deepEqual(sent, [], what);
  }
  await owe();
  await deliver();
  assert.deepEqual(sent, [], 'one that was only inserted');
  const left = await sql('select 1 from webhook_outbox where delivered_at is null and given_up_at is null');
  assert.deepEqual(left, [], 'each was given up');
});
