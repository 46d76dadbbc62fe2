/**
 * Seals of rows: the id of a key-encryption key and HMAC-SHA256 (RFC 2104) under a key of that master key, so that nobody
 * makes or changes a row that grants without it. A row that was found whole under the active key is remembered by its
 * content: seen again, it costs one comparison.
 */

import { timingSafeEqual } from 'node:crypto';
import { WritError } from '../../errors.ts';
import type { ForgedRow, RowSeals, SealedRow } from '../../use-cases/ports.ts';
import { createHmacOf } from '../credentials/fingerprint.ts';
import type { KeyEncryption } from './key-encryption.ts';
import { type MasterKeys, missingMasterKey } from './master-keys.ts';

const KEK_ID_BYTES = 8;
const SEAL_BYTES = KEK_ID_BYTES + 32;

const REMEMBERED = 10_000;
/** Of one message: with their number, the most that the memory takes. */
const MAX_REMEMBERED_CHARACTERS = 2048;

export function createRowSeals(options: {
  readonly masterKeys: Pick<MasterKeys, 'find' | 'isMissing' | 'onActive'>;
  readonly onForged: (row: ForgedRow) => void;
}): RowSeals {
  const { masterKeys } = options;
  const made = new Map<KeyEncryption, (message: string) => string>();
  const sealsUnder = (key: KeyEncryption): ((message: string) => string) => {
    const before = made.get(key);
    if (before !== undefined) return before;
    const hmacOf = createHmacOf(key.deriveKey('writ row seal'));
    const sealOf = (message: string): string => key.kekId + hmacOf(message);
    made.set(key, sealOf);
    return sealOf;
  };
  const of = (message: string): Buffer => Buffer.from(hexOf(message), 'hex');

  /** The seal of each message that was found whole under the active key, in the order in which they came. */
  const known = new Map<string, Uint8Array>();
  let active: KeyEncryption;
  let hexOf: (message: string) => string = () => '';
  masterKeys.onActive((key) => {
    active = key;
    hexOf = sealsUnder(key);
    known.clear();
  });
  const remember = (message: string, seal: Uint8Array): void => {
    if (message.length > MAX_REMEMBERED_CHARACTERS) return;
    if (known.size >= REMEMBERED) known.delete(known.keys().next().value ?? '');
    known.set(message, seal);
  };

  const whyNot = ({ message, seal }: SealedRow): string | undefined => {
    if (seal === null) return 'it has no seal';
    const remembered = known.get(message);
    if (remembered !== undefined && Buffer.compare(remembered, seal) === 0) return undefined;
    if (seal.length !== SEAL_BYTES) return 'its seal does not fit';
    const key = masterKeys.find(kekIdOf(seal));
    if (key === undefined) return 'its seal is of a master key that is not in use';
    if (!timingSafeEqual(Buffer.from(sealsUnder(key)(message), 'hex'), seal)) return 'its seal does not fit';
    // A retiring key counts only until it is retired.
    if (key === active) remember(message, seal);
    return undefined;
  };

  const fits = (row: SealedRow): boolean => {
    const why = whyNot(row);
    if (why === undefined) return true;
    // Neither whole nor forged: only this process cannot tell.
    if (row.seal !== null && masterKeys.isMissing(kekIdOf(row.seal))) throw missingMasterKey();
    options.onForged({ table: row.table, id: row.id, why });
    return false;
  };

  return {
    of,
    hexOf: (message) => hexOf(message),
    whyNot,
    fits,
    require: (row, credential = row) => {
      if (!fits(row)) throw integrityError(`${row.table} ${row.id}`, credential);
    },
  };
}

const kekIdOf = (seal: Uint8Array): string => Buffer.from(seal.subarray(0, KEK_ID_BYTES)).toString('hex');

/** `row`: its table and key, for the log. */
function integrityError(row: string, { table: type, id }: SealedRow): WritError {
  return new WritError('INTEGRITY_ERROR', 'What is stored of this was changed, so nothing is granted.', {
    detail: `the seal of ${row} does not fit`,
    about: { type, id },
  });
}
