/** What use cases of every subject ask of the outside: types only. */

/** Process time corrected by the measured offset to the database clock; it never steps back. */
export interface Clock {
  now(): Date;
}
