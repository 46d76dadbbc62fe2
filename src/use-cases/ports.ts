/** What use cases of every subject ask of the outside: types only. */

/** Process time corrected by the measured offset to the database clock; it never steps back. */
export interface Clock {
  now(): Date;
}

/**
 * Why what a process remembers of rows is dropped: what it knows may be out of date, it is of a history that the
 * database does not have (a failover to a standby that lacked the last changes, a restore), or it is wrapped or sealed
 * under a key that counts no more.
 */
export type Forgetting = 'a connection was lost' | 'another history' | 'a master key was retired';

/** All that a process remembers of rows, in one place, from where it is dropped at once. */
export interface Memories {
  /** `forget` drops what is remembered under `name`. */
  add(name: string, forget: (why: Forgetting) => void): void;
  /**
   * Another number after each dropping. What was read before one, and becomes known after it, must not be remembered:
   * whoever remembers asks before reading, and keeps what was read only if the number is the same.
   */
  generation(): number;
  names(): readonly string[];
  forgetAll(why: Forgetting): void;
}

/** A row that is not what Writ wrote. */
export interface ForgedRow {
  readonly table: string;
  /** Its primary key. */
  readonly id: string;
  /** What does not fit; never a value of the row. */
  readonly why: string;
}

/** A row as it is judged. */
export interface SealedRow {
  readonly table: string;
  /** Its primary key. */
  readonly id: string;
  /** Of all that its seal covers (`domain/formats/row-message.ts`). */
  readonly message: string;
  /** Null: it was never sealed, or it was revoked. */
  readonly seal: Uint8Array | null;
}

/** Proves that Writ wrote a row as it is. */
export interface RowSeals {
  /** 40 bytes: 8 of the id of the active key-encryption key, 32 of HMAC. */
  of(message: string): Buffer;
  /** The same, in lower-case hex: half as dear where it is sent as text. */
  hexOf(message: string): string;
  /** What does not fit; undefined of a row that Writ wrote. Reports nothing. */
  whyNot(row: SealedRow): string | undefined;
  /** A row that does not fit is reported. Throws `UNAVAILABLE` for one under a master key that this process lacks. */
  fits(row: SealedRow): boolean;
  /**
   * Throws `INTEGRITY_ERROR` for a row that does not fit, and reports it. `credential`: the row of what was presented,
   * where the other is its owner's.
   */
  require(row: SealedRow, credential?: SealedRow): void;
}
