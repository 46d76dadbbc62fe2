/**
 * What a start finds or makes: check value of the key-encryption key, settings, an active signing key, the first
 * administrator. Each is made by an insert that yields to an earlier one, and the caller holds `exclusively`.
 */

import { eq, sql } from 'drizzle-orm';
import type { AuditEvent } from '../use-cases/audit/ports.ts';
import type { RowSeals } from '../use-cases/ports.ts';
import { insertAuditEvents } from './audit/audit-store.ts';
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

export interface JudgedSetting extends Setting {
  /** Why the row is not what Writ wrote; undefined for one that is. */
  readonly why: string | undefined;
}

export async function judgeSettings(session: Session, seals: RowSeals): Promise<readonly JudgedSetting[]> {
  const rows = await session.orm('read', (orm) => orm.select().from(settings));
  return rows.map((row) => {
    const why = seals.whyNot(sealedRow('settings', row, row.seal));
    return { name: row.name, value: row.value, why };
  });
}

/** Keeps what is stored already. */
export async function addSetting(session: Session, setting: Setting, seals: RowSeals): Promise<void> {
  const row = sealed(setting, seals);
  await session.orm('write', (orm) => orm.insert(settings).values(row).onConflictDoNothing());
}

/**
 * Whatever is stored, and whoever wrote it. In the caller's transaction, which gets the event too: `eventOf` is given the
 * value that was stored before, null where none was.
 */
export async function setSetting(
  session: Session,
  setting: Setting,
  options: { readonly seals: RowSeals; readonly eventOf: (before: string | null) => AuditEvent },
): Promise<void> {
  const { name, value, seal } = sealed(setting, options.seals);
  // It waits for another insert of that name, and leaves a row that can be held.
  const added = await session.orm('write', (orm) =>
    orm
      .insert(settings)
      .values({ name, value, seal })
      .onConflictDoNothing()
      .returning({ name: settings.name }),
  );
  let before: string | null = null;
  if (added.length === 0) {
    const [held] = await session.orm('write', (orm) =>
      orm.select({ value: settings.value }).from(settings).where(eq(settings.name, name)).for('update'),
    );
    before = held?.value ?? null;
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
  await insertAuditEvents(session, [options.eventOf(before)]);
}
