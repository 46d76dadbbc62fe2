/** The work of `writ kek rotate`: table after table, until one look at all of them finds nothing that is left to do. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Database } from '../storage/engine/database.ts';
import { countMadeUnderOthers, countRowsOfKeys } from '../storage/master-key-counts.ts';
import type { Remake } from '../storage/rewrap-remake.ts';
import {
  type LeftRow,
  lookForOthers,
  REWRAPPED_TABLES,
  type RewrappedTable,
  rewrapBatch,
} from '../storage/rewrap-rows.ts';
import { createProgress } from './progress-line.ts';

/** Runs a step until it is done. */
export type Persist = <T>(work: () => Promise<T>) => Promise<T>;

/** A row that was held by others so often is waited for. */
const IMPATIENT_ROUNDS = 5;

export async function rewrapAll(
  database: Database,
  {
    remake,
    persist,
    stderr,
  }: { readonly remake: Remake; readonly persist: Persist; readonly stderr: NodeJS.WritableStream },
): Promise<{ readonly rewrapped: Readonly<Record<string, number>>; readonly left: readonly LeftRow[] }> {
  const rewrapped: Record<string, number> = {};
  const total = await persist(() => countOthers(database, remake));
  let done = 0;
  const progress = createProgress({ stderr, what: 're-wrapping', nowMs: () => performance.now() });
  const work = async (table: RewrappedTable, patiently: boolean): Promise<void> => {
    let after: readonly string[] | undefined;
    do {
      const from = after;
      const batch = await persist(() => rewrapBatch(database, table, { remake, after: from, patiently }));
      rewrapped[table] = (rewrapped[table] ?? 0) + batch.rewrapped;
      done += batch.rewrapped;
      progress.update(done, Math.max(done, total));
      after = batch.next;
    } while (after !== undefined);
  };
  let open: readonly RewrappedTable[] = REWRAPPED_TABLES;
  for (let round = 0; ; round += 1) {
    for (const table of open) await work(table, round >= IMPATIENT_ROUNDS);
    const found = await persist(() => lookForOthers(database, remake));
    if (found.open.length === 0) {
      progress.end();
      return { rewrapped: withoutZeros(rewrapped), left: found.left };
    }
    ({ open } = found);
    await sleep(50);
  }
}

async function countOthers(database: Database, { activeKekId, renew }: Remake): Promise<number> {
  const counts = await countRowsOfKeys(database);
  const others = counts.filter(
    ({ table, kekId }) => kekId !== activeKekId && (renew === undefined || table !== 'secret_versions'),
  );
  const sum = others.reduce((total, { rows }) => total + rows, 0);
  return renew === undefined ? sum : sum + (await countMadeUnderOthers(database, activeKekId));
}

const withoutZeros = (counts: Readonly<Record<string, number>>): Readonly<Record<string, number>> =>
  Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));
