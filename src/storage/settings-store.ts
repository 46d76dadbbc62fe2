/**
 * What a start finds or makes: check value of the key-encryption key, settings, an active signing key, the first
 * administrator. Each is made by an insert that yields to an earlier one, and the caller holds `exclusively`.
 */

import { asc, eq, getTableColumns, sql } from 'drizzle-orm';
import type { Database, Session } from './engine/database.ts';
import { agents, kekCheck, settings, signingKeys } from './schema.ts';

export type SigningKeyRow = Omit<typeof signingKeys.$inferSelect, 'createdAt'>;

export async function readSigningKeys(session: Session): Promise<SigningKeyRow[]> {
  const { createdAt: _createdAt, ...columns } = getTableColumns(signingKeys);
  return session.orm('read', (orm) =>
    orm.select(columns).from(signingKeys).orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)),
  );
}

/** Adds the key as the active one unless there is one already. */
export async function addFirstSigningKey(session: Session, key: Omit<SigningKeyRow, 'state'>): Promise<void> {
  await session.orm('write', (orm) =>
    orm
      .insert(signingKeys)
      .values({ ...key, state: 'active' })
      .onConflictDoNothing(),
  );
}

export async function readKekCheck(
  session: Session,
): Promise<{ kekId: string; checkValue: Uint8Array } | undefined> {
  const [row] = await session.orm('read', (orm) =>
    orm.select({ kekId: kekCheck.kekId, checkValue: kekCheck.checkValue }).from(kekCheck),
  );
  return row;
}

export async function writeKekCheck(
  session: Session,
  check: { kekId: string; checkValue: Uint8Array },
): Promise<void> {
  await session.orm('write', (orm) => orm.insert(kekCheck).values(check).onConflictDoNothing());
}

export async function readSettings(session: Session): Promise<ReadonlyMap<string, string>> {
  const rows = await session.orm('read', (orm) => orm.select().from(settings));
  return new Map(rows.map((row) => [row.name, row.value]));
}

/** Keeps what is stored already. */
export async function addSetting(session: Session, name: string, value: string): Promise<void> {
  await session.orm('write', (orm) => orm.insert(settings).values({ name, value }).onConflictDoNothing());
}

export async function setSetting(session: Session, name: string, value: string): Promise<void> {
  await session.orm('write', (orm) =>
    orm
      .insert(settings)
      .values({ name, value })
      .onConflictDoUpdate({ target: settings.name, set: { value, updatedAt: sql`clock_timestamp()` } }),
  );
}

/** Revoked ones included: a database that had an administrator is never given another by a start. */
export async function hasEverHadAdmin(session: Session): Promise<boolean> {
  const rows = await session.orm('read', (orm) =>
    orm.select({ id: agents.id }).from(agents).where(eq(agents.role, 'admin')).limit(1),
  );
  return rows.length > 0;
}

export interface ServerFacts {
  readonly versionNumber: number;
  /** Names of durability settings that are off. */
  readonly unsafeSettings: readonly string[];
}

const FACTS = {
  name: 'server_facts',
  effect: 'read',
  text: `
    select current_setting('server_version_num')::int as version_number,
      array(
        select name::text from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit') and setting = 'off' order by name
      ) as unsafe_settings`,
} as const;

export async function readServerFacts(database: Database): Promise<ServerFacts> {
  const [row] = await database.query<{ version_number: number; unsafe_settings: string[] }>(FACTS, []);
  return { versionNumber: row?.version_number ?? 0, unsafeSettings: row?.unsafe_settings ?? [] };
}
