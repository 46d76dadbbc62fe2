/**
 * What a start finds or makes: check value of the key-encryption key, settings, an active signing key, the first
 * administrator. Each is made by an insert that yields to an earlier one, and the caller holds `exclusively`.
 */

import { sql } from 'drizzle-orm';
import type { RowSeals } from '../use-cases/ports.ts';
import type { Session } from './engine/database.ts';
import { messageOf, sealedRow } from './engine/sealed-rows.ts';
import { settings } from './schema.ts';

export async function readSettings(session: Session): Promise<ReadonlyMap<string, string>> {
  const rows = await session.orm('read', (orm) => orm.select().from(settings));
  return new Map(rows.map((row) => [row.name, row.value]));
}

export interface Setting {
  readonly name: string;
  readonly value: string;
}

const sealed = (setting: Setting, seals: RowSeals) => ({
  ...setting,
  seal: seals.of(messageOf('settings', setting)),
});

/** The names of those that are not what Writ wrote. */
export async function findForgedSettings(session: Session, seals: RowSeals): Promise<readonly string[]> {
  const rows = await session.orm('read', (orm) => orm.select().from(settings));
  return rows.filter((row) => !seals.fits(sealedRow('settings', row, row.seal))).map(({ name }) => name);
}

/** Keeps what is stored already. */
export async function addSetting(session: Session, setting: Setting, seals: RowSeals): Promise<void> {
  const row = sealed(setting, seals);
  await session.orm('write', (orm) => orm.insert(settings).values(row).onConflictDoNothing());
}

/** Whatever is stored, and whoever wrote it. */
export async function setSetting(session: Session, setting: Setting, seals: RowSeals): Promise<void> {
  const { name, value, seal } = sealed(setting, seals);
  await session.orm('write', (orm) =>
    orm
      .insert(settings)
      .values({ name, value, seal })
      .onConflictDoUpdate({
        target: settings.name,
        set: { value, seal, updatedAt: sql`clock_timestamp()` },
      }),
  );
}
