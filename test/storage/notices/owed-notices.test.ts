/** A notice is owed with its effect: in its transaction, in its statement, or for those members of a group that took effect. */
import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { uuidv7 } from 'uuidv7';
import { recordset } from '../../../src/storage/engine/table-columns.ts';
import {
  GROUPED_NOTICE_TYPES,
  groupedNotice,
  insertGroupedNotices,
  insertNoticesOf,
  oweNotice,
  sentNotices,
} from '../../../src/storage/notices/owed-notices.ts';
import { createWebhookOutbox } from '../../../src/storage/notices/webhook-outbox.ts';
import { openPatiently } from '../../support/patient-database.ts';
import { createTestDatabase, postgresSkip } from '../../support/postgres.ts';
import { TEST_SEALS, useTestKek } from '../../support/test-seals.ts';

const aNotice = (about: string) => ({ id: uuidv7(), payload: JSON.stringify({ about }) });

suite('a notice', { skip: postgresSkip }, () => {
  test('is owed by its transaction, and not by one that was undone', async (t) => {
    const { url } = await createTestDatabase(t);
    const database = await openPatiently(url, 2);
    t.after(() => database.close());
    await useTestKek(database);
    const [kept, undone] = [aNotice('kept'), aNotice('undone')];
    await database.transaction((session) => oweNotice(session, kept, TEST_SEALS));
    await database.transaction((session) => oweNotice(session, undefined, TEST_SEALS));
    const failed = database.transaction(async (session) => {
      await oweNotice(session, undone, TEST_SEALS);
      throw new Error('undone');
    });
    await assert.rejects(failed, /undone/);
    const leased = await createWebhookOutbox(database, TEST_SEALS).lease({ limit: 10, seconds: 60 });
    assert.deepEqual(leased, [{ ...kept, attempts: 1 }]);
  });

  test('is owed by its statement once, however many rows the effect has, and not by one without effect', async (t) => {
    const { url } = await createTestDatabase(t);
    const database = await openPatiently(url, 2);
    t.after(() => database.close());
    await useTestKek(database);
    const text = `
      with effect as (select 1 from generate_series(1, $1::int)), owed as (${insertNoticesOf('effect', '$2')})
      select count(*) from effect`;
    const owe = (rows: number, notices: string) =>
      database.query({ name: 'effect_of_the_test', effect: 'write', text }, [rows, notices]);
    const notices = [aNotice('one'), undefined, aNotice('another')];
    await owe(0, sentNotices([aNotice('no effect')], TEST_SEALS));
    await owe(3, sentNotices(notices, TEST_SEALS));
    await owe(1, sentNotices([undefined], TEST_SEALS));
    const leased = await createWebhookOutbox(database, TEST_SEALS).lease({ limit: 10, seconds: 60 });
    assert.deepEqual(leased.map(({ id }) => id).sort(), notices.flatMap((notice) => notice?.id ?? []).sort());
  });

  test('is owed by the members of a group that took effect and have one', async (t) => {
    const { url } = await createTestDatabase(t);
    const database = await openPatiently(url, 2);
    t.after(() => database.close());
    await useTestKek(database);
    const asked = recordset('$1', 'asked', { granted: 'boolean', ...GROUPED_NOTICE_TYPES });
    const text = `
      with granted as (select * from ${asked} where granted), owed as (${insertGroupedNotices()})
      select count(*) from granted`;
    const notice = aNotice('granted');
    const group = [
      { granted: true, ...groupedNotice(notice, TEST_SEALS) },
      { granted: true, ...groupedNotice(undefined, TEST_SEALS) },
      { granted: false, ...groupedNotice(aNotice('refused'), TEST_SEALS) },
    ];
    await database.query({ name: 'group_of_the_test', effect: 'write', text }, [JSON.stringify(group)]);
    const leased = await createWebhookOutbox(database, TEST_SEALS).lease({ limit: 10, seconds: 60 });
    assert.deepEqual(leased, [{ ...notice, attempts: 1 }]);
  });
});
