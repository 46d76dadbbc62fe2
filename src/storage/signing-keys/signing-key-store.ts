/** The signing keys, wrapped under the key-encryption key. */

import { asc, sql } from 'drizzle-orm';
import {
  LIVE_SIGNING_KEY_STATES,
  type LiveSigningKeyState,
} from '../../domain/signing-keys/signing-key-state.ts';
import type { RowSeals } from '../../use-cases/ports.ts';
import type { NewSigningKey } from '../../use-cases/signing-keys/ports.ts';
import type { Session } from '../engine/database.ts';
import { messageOf, sealedRow } from '../engine/sealed-rows.ts';
import { signingKeys } from '../schema.ts';

type StoredRow = typeof signingKeys.$inferSelect;

/** One with its private half. */
export interface SigningKeyRow extends NewSigningKey {
  readonly state: LiveSigningKeyState;
  readonly seal: Uint8Array | null;
}

export function isLiveRow<Row extends Pick<StoredRow, 'state' | 'wrappedPrivateKey' | 'kekId'>>(
  row: Row,
): row is Row & Pick<SigningKeyRow, 'state' | 'wrappedPrivateKey' | 'kekId'> {
  const isLive = LIVE_SIGNING_KEY_STATES.some((state) => state === row.state);
  return isLive && row.wrappedPrivateKey !== null && row.kekId !== null;
}

/** All of them, the ended ones too; oldest first. */
export async function readSigningKeyRows(session: Session): Promise<StoredRow[]> {
  return session.orm('read', (orm) =>
    orm.select().from(signingKeys).orderBy(asc(signingKeys.createdAt), asc(signingKeys.kid)),
  );
}

/** Those that have not ended. */
export async function readSigningKeys(session: Session): Promise<SigningKeyRow[]> {
  return (await readSigningKeyRows(session)).filter(isLiveRow);
}

/** Without those that are not what Writ wrote; they are reported. Of one that has ended only that. */
export async function readWholeSigningKeys(
  session: Session,
  seals: RowSeals,
): Promise<(SigningKeyRow | { readonly kid: string; readonly state: 'ended' })[]> {
  const rows = await readSigningKeyRows(session);
  return rows.flatMap<Awaited<ReturnType<typeof readWholeSigningKeys>>[number]>((row) => {
    if (!isLiveRow(row)) return [{ kid: row.kid, state: 'ended' }];
    return seals.fits(sealedRow('signing_keys', row, row.seal)) ? [row] : [];
  });
}

/** As it is written in that state. */
export function sealedKey<State extends LiveSigningKeyState>(
  { kid, publicKey, wrappedPrivateKey, kekId }: NewSigningKey,
  state: State,
  seals: RowSeals,
) {
  const row = { kid, publicKey, wrappedPrivateKey, kekId, state };
  return { ...row, stateSince: sql`clock_timestamp()`, seal: seals.of(messageOf('signing_keys', row)) };
}

/** Adds the key as the active one unless there is one already. */
export async function addFirstSigningKey(
  session: Session,
  key: NewSigningKey,
  seals: RowSeals,
): Promise<void> {
  const row = sealedKey(key, 'active', seals);
  await session.orm('write', (orm) => orm.insert(signingKeys).values(row).onConflictDoNothing());
}
