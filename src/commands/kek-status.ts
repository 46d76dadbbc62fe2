/** `writ kek status`: which master keys the database lists, and what is under each. Needs none of them. */

import { formatTimestamp } from '../domain/formats/rfc3339.ts';
import { countMadeUnderOthers, countRowsOfKeys, type KeyCount } from '../storage/master-key-counts.ts';
import { listMasterKeys, type MasterKeyRow } from '../storage/signing-keys/master-key-store.ts';
import { type CommandContext, print } from './command.ts';
import { withDatabaseAsItIs } from './configured-database.ts';
import { renderTable } from './terminal-text.ts';

export function showStatus(context: CommandContext, json: true | undefined): Promise<void> {
  return withDatabaseAsItIs(context.env, [], async ({ database }) => {
    const listed = await listMasterKeys(database);
    const counts = await countRowsOfKeys(database);
    const active = listed.find(({ state }) => state === 'active');
    const madeBefore = active === undefined ? 0 : await countMadeUnderOthers(database, active.kekId);
    const unlisted = counts.filter(({ kekId }) => !listed.some((key) => key.kekId === kekId));
    const value = {
      keys: listed.map(({ kekId, state, since }) => ({
        kek_id: kekId,
        state,
        since: formatTimestamp(since),
        rows: rowsOf(kekId, counts),
      })),
      unlisted: unlisted.map(({ table, kekId, rows }) => ({ table, kek_id: kekId, rows })),
      values_under_older_data_keys: madeBefore,
    };
    print(context, { json, value, people: describe(listed, { counts, unlisted, madeBefore }) });
  });
}

const rowsOf = (kekId: string, counts: readonly KeyCount[]): Readonly<Record<string, number>> =>
  Object.fromEntries(counts.filter((count) => count.kekId === kekId).map(({ table, rows }) => [table, rows]));

const sum = (rows: Readonly<Record<string, number>>): number =>
  Object.values(rows).reduce((total, count) => total + count, 0);

function describe(
  listed: readonly MasterKeyRow[],
  found: { counts: readonly KeyCount[]; unlisted: readonly KeyCount[]; madeBefore: number },
): string {
  if (listed.length === 0) return 'No master key is listed: Writ has not been started on this database yet.';
  const table = renderTable([
    ['KEY', 'STATE', 'SINCE', 'ROWS'],
    ...listed.map(({ kekId, state, since }) => [
      kekId,
      state,
      formatTimestamp(since),
      String(sum(rowsOf(kekId, found.counts))),
    ]),
  ]);
  const lines = [table];
  if (listed.some(({ state }) => state === 'retiring')) {
    lines.push('Every process needs the active key and the retiring one. Go on with: writ kek rotate');
  }
  if (found.unlisted.length > 0) {
    const rows = found.unlisted.reduce((total, count) => total + count.rows, 0);
    lines.push(`${rows} rows name a key that is not listed, so Writ did not write them. See: writ doctor`);
  }
  if (found.madeBefore > 0) {
    lines.push(
      `${found.madeBefore} values are under data keys from before the active key. After a leak: writ kek rotate --compromised`,
    );
  }
  return lines.join('\n');
}
