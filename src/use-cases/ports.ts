/** What use cases of every subject ask of the outside: types only. */

/** Process time corrected by the measured offset to the database clock; it never steps back. */
export interface Clock {
  now(): Date;
}

/** A row that is not what Writ wrote. */
export interface ForgedRow {
  readonly table: string;
  /** Its primary key. */
  readonly id: string;
  /** What does not fit; never a value of the row. */
  readonly why: string;
}
