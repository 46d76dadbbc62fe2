/** Which versions became due and were not told of yet: marked in the transaction that records it. */

import type { RowSeals } from '../../use-cases/ports.ts';
import type { DueReminders, DueVersion } from '../../use-cases/secrets/upkeep/ports.ts';
import { insertAlarms } from '../audit/audit-store.ts';
import type { Database, Statement } from '../engine/database.ts';
import { SECRET_IS_LIVE, SECRET_ROTATION_IS_DUE } from '../engine/liveness-sql.ts';
import { judgedRow, sealList } from '../engine/sealed-rows.ts';
import { columns, selectList } from '../engine/table-columns.ts';
import { secrets } from '../schema.ts';

/** Closes the race of two processes for one version: a row that somebody holds is left to them, and then is marked. */
const TAKE_DUE: Statement = {
  name: 'take_due_secrets',
  effect: 'write',
  text: `
    update secrets taken set rotation_told_version = taken.version
    where taken.id in (
      select id from secrets secret
      where ${SECRET_ROTATION_IS_DUE} and ${SECRET_IS_LIVE}
        and secret.rotation_told_version is distinct from secret.version
      order by secret.rotation_due_at limit $1 for update skip locked
    )
    returning ${sealList('secrets', 'taken')}, ${selectList<DueVersion>(
      columns(secrets, 'taken', ['id', 'path', 'version', 'rotateAfterDays', 'rotationDueAt']),
    )}`,
};

export function createDueReminders(database: Database, seals: RowSeals): DueReminders {
  return {
    take: (limit, tell) =>
      database.transaction(async (session) => {
        const taken = await session.query<DueVersion>(TAKE_DUE, [limit]);
        // A row that Writ did not write is reported, and says nothing that people should go by.
        const whole = taken.filter((row) => seals.fits(judgedRow('secrets', row))).map(tell);
        await insertAlarms(session, whole, seals);
        return taken.length;
      }),
  };
}
