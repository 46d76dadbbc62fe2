/**
 * Rows that nobody wrote: for every table that grants and every column of it that is sealed, the owner of the database
 * changes it and nothing more opens. Each attack is run for true: against the process that has used the row, and against
 * one that has not; and, as a control, with a seal of Writ's own, with which it succeeds.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { getTableColumns } from 'drizzle-orm';
import { SEALED_TABLES } from '../../../src/storage/engine/sealed-rows.ts';
import {
  assertRefused,
  buildTestApp,
  openTestApp,
  type TestAnswer,
  type TestApp,
} from '../../support/app.ts';
import { postgresSkip } from '../../support/postgres.ts';
import { resealRows } from '../../support/test-seals.ts';
import { ATTACKS, type Attack } from './forged-row-attacks.ts';

const BROKEN = { status: 500, code: 'INTEGRITY_ERROR' };

test('every column of a table that grants is sealed, or named with the reason why not', () => {
  for (const [name, { table, sealed, hashed, open }] of Object.entries(SEALED_TABLES)) {
    const named = [...sealed, ...Object.keys(open), 'seal'];
    assert.deepEqual(named.sort(), Object.keys(getTableColumns(table)).sort(), name);
    assert.ok(hashed.every((member) => (sealed as readonly string[]).includes(member)));
    for (const why of Object.values(open)) assert.ok(why.length > 10, name);
  }
});

test('every sealed column, the seal itself and every end by revocation has its attack', () => {
  for (const [name, { sealed, open }] of Object.entries(SEALED_TABLES)) {
    const attacked = new Set(ATTACKS.filter(({ table }) => table === name).flatMap(({ columns }) => columns));
    const owed = [...sealed, ...('revokedAt' in open ? ['revokedAt'] : []), 'seal'];
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

test('the attacks by SQL', { skip: postgresSkip }, async (t) => {
  const warm = await buildTestApp(t);
  const other = () => openTestApp(t, warm.databaseUrl, {}, {}, warm.adminKey);
  const [cold, control] = [await other(), await other()];
  const run = async (attack: Attack): Promise<void> => {
    const { forge, probe, forged } = await attack.prepare(warm);
    const before = shown(await probe(warm));
    if (attack.opensBefore !== true) assert.ok(typeof before !== 'number' || before >= 400, 'it is shut');
    await forge();
    for (let time = 0; time < 2; time += 1) {
      assert.deepEqual(shut(await probe(warm), before), true, 'the process that knows the row');
      assertRefused(await probe(cold), attack.refused ?? BROKEN, 'a process that reads it afresh');
    }
    if (forged === undefined) return;
    await resealRows(warm.sql, attack.table, ...forged);
    const open = await probe(control);
    assert.ok(open.status < 300, `the control, with a seal, opens: ${open.text}`);
    if (attack.opensBefore !== true) assert.notDeepEqual(shown(open), before);
  };
  for (const attack of ATTACKS) await t.test(`${attack.table}: ${attack.what}`, () => run(attack));

  await t.test('each row that did not fit is on record, and counted', async () => {
    const rows = await warm.sql<{ table: string }>(
      `select distinct resource_type as "table" from audit_events where event_type = 'integrity.failed'`,
    );
    assert.deepEqual(rows.map(({ table }) => table).sort(), Object.keys(SEALED_TABLES).sort());
    const ready = await cold.call<{ integrity_errors: number }>({ method: 'GET', url: '/ready' });
    assert.ok(ready.body.integrity_errors >= ATTACKS.length / 2);
  });
});

/** Refused, or answered with no more than before. */
function shut(answer: TestAnswer, before: unknown): boolean {
  return answer.status >= 400 || JSON.stringify(shown(answer)) === JSON.stringify(before);
}

export type { TestApp };
