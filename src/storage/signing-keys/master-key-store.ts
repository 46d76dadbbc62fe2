/** The list of master keys: which of them the database needs, and under which it is written. */

import { eq } from 'drizzle-orm';
import type { SealedRow } from '../../use-cases/ports.ts';
import type { Session, Statement } from '../engine/database.ts';
import { judgedRow, SEALED_TABLES, type SealedTable, sealList } from '../engine/sealed-rows.ts';
import { masterKeys } from '../schema.ts';

/** The retired ones too. */
export type MasterKeyRow = typeof masterKeys.$inferSelect;

const LIST: Statement = {
  name: 'list_master_keys',
  effect: 'read',
  text: `
    select kek_id as "kekId", check_value as "checkValue", state, since, wrapped_root as "wrappedRoot"
    from master_keys order by since, kek_id`,
};

export function listMasterKeys(session: Session): Promise<MasterKeyRow[]> {
  return session.query<MasterKeyRow>(LIST, []);
}

/** Keeps what is there. */
export async function addMasterKey(
  session: Session,
  key: Pick<MasterKeyRow, 'kekId' | 'checkValue' | 'state'> & Partial<Pick<MasterKeyRow, 'wrappedRoot'>>,
): Promise<void> {
  await session.orm('write', (orm) => orm.insert(masterKeys).values(key).onConflictDoNothing());
}

/** From now on it says that all rows are sealed. */
export async function replaceCheckValue(
  session: Session,
  { kekId, checkValue }: { readonly kekId: string; readonly checkValue: Uint8Array },
): Promise<void> {
  await session.orm('write', (orm) =>
    orm.update(masterKeys).set({ checkValue }).where(eq(masterKeys.kekId, kekId)),
  );
}

const HOLD: Statement = {
  name: 'hold_master_keys',
  effect: 'write',
  text: `select kek_id as "kekId", state from master_keys order by kek_id for update`,
};

const ANNOUNCE: Statement = {
  name: 'announce_master_key',
  effect: 'write',
  text: `
    insert into master_keys (kek_id, check_value, state, wrapped_root) values ($1, $2, 'next', $3)
    on conflict (kek_id) do nothing`,
};

/** Nothing was ever written under one that is next. */
const GIVE_UP_NEXT: Statement = {
  name: 'give_up_next_master_keys',
  effect: 'write',
  text: `
    update master_keys set state = 'retired', since = clock_timestamp()
    where state = 'next' and kek_id <> $1`,
};

const LEAVE_ACTIVE: Statement = {
  name: 'leave_active_master_key',
  effect: 'write',
  text: `update master_keys set state = 'retiring', since = clock_timestamp() where state = 'active'`,
};

const ACTIVATE: Statement = {
  name: 'activate_master_key',
  effect: 'write',
  text: `
    insert into master_keys (kek_id, check_value, state, wrapped_root) values ($1, $2, 'active', $3)
    on conflict (kek_id) do update set state = 'active', since = clock_timestamp()`,
};

const RETIRE: Statement = {
  name: 'retire_master_keys',
  effect: 'write',
  text: `
    update master_keys set state = 'retired', since = clock_timestamp()
    where state = 'retiring' and kek_id = any($1::text[]) returning kek_id as "kekId"`,
};

type NewMasterKey = Pick<MasterKeyRow, 'kekId' | 'checkValue' | 'wrappedRoot'>;

/** Why it cannot become the active one. `'unfinished'`: another one is retiring. Undefined: it can. */
async function holdAndJudge(
  session: Session,
  kekId: string,
): Promise<'was_active' | 'retired' | 'unfinished' | undefined> {
  const held = await session.query<Pick<MasterKeyRow, 'kekId' | 'state'>>(HOLD, []);
  const known = held.find((row) => row.kekId === kekId)?.state;
  if (known === 'retired') return 'retired';
  if (held.some((row) => row.state === 'retiring' && row.kekId !== kekId && known !== 'active'))
    return 'unfinished';
  await session.query(GIVE_UP_NEXT, [kekId]);
  return known === 'active' ? 'was_active' : undefined;
}

/**
 * From the commit on every process that was given it reads what is under it, and one that was not says so. In the caller's
 * transaction; what was next before, and never became active, is given up.
 */
export async function announceMasterKey(
  session: Session,
  { kekId, checkValue, wrappedRoot }: NewMasterKey,
): Promise<'announced' | 'was_active' | 'retired' | 'unfinished'> {
  const why = await holdAndJudge(session, kekId);
  if (why !== undefined) return why;
  await session.query(ANNOUNCE, [kekId, checkValue, wrappedRoot]);
  return 'announced';
}

/**
 * From the commit on it is the one that is written under; the one before is written under for 10 s more. In the caller's
 * transaction, with whatever else rides in it where the answer is `'activated'`.
 */
export async function activateMasterKey(
  session: Session,
  { kekId, checkValue, wrappedRoot }: NewMasterKey,
): Promise<'activated' | 'was_active' | 'retired' | 'unfinished'> {
  const why = await holdAndJudge(session, kekId);
  if (why !== undefined) return why;
  await session.query(LEAVE_ACTIVE, []);
  await session.query(ACTIVATE, [kekId, checkValue, wrappedRoot]);
  return 'activated';
}

/** In the caller's transaction. Which of them were retiring until now. */
export async function retireMasterKeys(
  session: Session,
  kekIds: readonly string[],
): Promise<readonly string[]> {
  return (await session.query<{ kekId: string }>(RETIRE, [kekIds])).map(({ kekId }) => kekId);
}

/** Nothing is written under a retiring key any more once as many milliseconds have gone; null where none is retiring. */
const GRACE: Statement = {
  name: 'grace_of_retiring_master_keys',
  effect: 'read',
  text: `
    select ceil(extract(epoch from max(since) + interval '10 s' - clock_timestamp()) * 1000)::float8 as ms
    from master_keys where state = 'retiring'`,
};

const TRANSACTIONS_SO_FAR: Statement = {
  name: 'transactions_so_far',
  effect: 'read',
  text: `select pg_snapshot_xmax(pg_current_snapshot())::text as xact`,
};

const ARE_OVER: Statement = {
  name: 'are_transactions_over',
  effect: 'read',
  text: `select pg_snapshot_xmin(pg_current_snapshot()) >= $1::text::xid8 as over`,
};

export async function graceMs(session: Session): Promise<number> {
  return (await session.query<{ ms: number | null }>(GRACE, []))[0]?.ms ?? 0;
}

/** Names those that have begun; `areOver` tells when each of them has ended. */
export async function transactionsSoFar(session: Session): Promise<string> {
  const [row] = await session.query<{ xact: string }>(TRANSACTIONS_SO_FAR, []);
  if (row === undefined) throw new Error('the database tells no transactions');
  return row.xact;
}

export async function areOver(session: Session, xact: string): Promise<boolean> {
  return (await session.query<{ over: boolean }>(ARE_OVER, [xact]))[0]?.over === true;
}

/** Of each table. One row that fits is enough. */
const WITNESSES = 100;

const sealedWitnesses = (name: SealedTable): Statement => ({
  name: `sealed_witnesses_${name}`,
  effect: 'read',
  text: `select ${sealList(name, 'kept')} from ${name} kept where kept.seal is not null limit ${WITNESSES}`,
});

const WRAPPED_WITNESSES: Statement = {
  name: 'wrapped_witnesses',
  effect: 'read',
  text: `
    select kek_id as "kekId" from signing_keys where kek_id is not null
    union (select kek_id from secret_versions limit ${WITNESSES})`,
};

/** What tells the master keys of a database that lists none. */
export interface KeyWitnesses {
  /** Rows with a seal, of whichever key. */
  readonly sealed: readonly SealedRow[];
  /** The keys that sealed or wrapped something, by what the rows say. */
  readonly kekIds: readonly string[];
}

/** Both are empty only for a database that no start has used. */
export async function readKeyWitnesses(session: Session): Promise<KeyWitnesses> {
  const sealed: SealedRow[] = [];
  for (const name of Object.keys(SEALED_TABLES) as SealedTable[]) {
    const rows = await session.query<object>(sealedWitnesses(name), []);
    sealed.push(...rows.map((row) => judgedRow(name, row)));
  }
  const wrapped = await session.query<{ kekId: string }>(WRAPPED_WITNESSES, []);
  const named = sealed.map(({ seal }) => Buffer.from(seal ?? []).toString('hex', 0, 8));
  return { sealed, kekIds: [...new Set([...named, ...wrapped.map(({ kekId }) => kekId)])] };
}
