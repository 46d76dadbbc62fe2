/**
 * Seals of rows: HMAC-SHA256 (RFC 2104) under a key of the master key, so that nobody makes or changes a row that grants without that key. A row that was found whole is remembered by its content:
 * seen again, it costs one comparison.
 */

import { timingSafeEqual } from 'node:crypto';
import { WritError } from '../../errors.ts';
import type { ForgedRow, RowSeals, SealedRow } from '../../use-cases/ports.ts';
import { createHmacOf } from '../credentials/fingerprint.ts';
import type { KeyEncryption } from './key-encryption.ts';

const SEAL_BYTES = 32;

const REMEMBERED = 10_000;
/** Of one message: with their number, the most that the memory takes. */
const MAX_REMEMBERED_CHARACTERS = 2048;

export function createRowSeals(options: {
  readonly kek: Pick<KeyEncryption, 'deriveKey'>;
  readonly onForged: (row: ForgedRow) => void;
}): RowSeals {
  const hexOf = createHmacOf(options.kek.deriveKey('writ row seal'));
  const of = (message: string): Buffer => Buffer.from(hexOf(message), 'hex');

  /** The seal of each message that was found whole, in the order in which they came. */
  const known = new Map<string, Uint8Array>();
  const remember = (message: string, seal: Uint8Array): void => {
    if (message.length > MAX_REMEMBERED_CHARACTERS) return;
    if (known.size >= REMEMBERED) known.delete(known.keys().next().value ?? '');
    known.set(message, seal);
  };

  const whyNot = ({ message, seal }: SealedRow): string | undefined => {
    if (seal === null) return 'it has no seal';
    const remembered = known.get(message);
    if (remembered !== undefined && Buffer.compare(remembered, seal) === 0) return undefined;
    if (seal.length !== SEAL_BYTES || !timingSafeEqual(of(message), seal)) return 'its seal does not fit';
    remember(message, seal);
    return undefined;
  };

  const fits = (row: SealedRow): boolean => {
    const why = whyNot(row);
    if (why === undefined) return true;
    options.onForged({ table: row.table, id: row.id, why });
    return false;
  };

  return {
    of,
    hexOf,
    whyNot,
    fits,
    require: (row, credential = row) => {
      if (!fits(row)) throw integrityError(`${row.table} ${row.id}`, credential);
    },
  };
}

/** `row`: its table and key, for the log. */
function integrityError(row: string, { table: type, id }: SealedRow): WritError {
  return new WritError('INTEGRITY_ERROR', 'What is stored of this was changed, so nothing is granted.', {
    detail: `the seal of ${row} does not fit`,
    about: { type, id },
  });
}
