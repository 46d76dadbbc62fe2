/** The check value that tells whether a master key is the one this database was made with. */

import type { Session } from '../engine/database.ts';
import { kekCheck } from '../schema.ts';

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

/** From now on all rows are sealed. */
export async function replaceKekCheck(session: Session, checkValue: Uint8Array): Promise<void> {
  await session.orm('write', (orm) => orm.update(kekCheck).set({ checkValue }));
}
