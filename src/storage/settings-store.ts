/**
 * What a start finds or makes: check value of the key-encryption key, settings, an active signing key, the first
 * administrator. Each is made by an insert that yields to an earlier one, and the caller holds `exclusively`.
 */

import { sql } from 'drizzle-orm';
import type { Session } from './engine/database.ts';
import { settings } from './schema.ts';

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
