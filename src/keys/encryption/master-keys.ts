/**
 * The key-encryption keys that a process was given, of which those count that the database lists. Which of them is active
 * is a fact of the database, so that all processes write under one; they read it again every second.
 */

import type { MasterKeyState } from '../../domain/signing-keys/master-key-state.ts';
import { WritError } from '../../errors.ts';
import type { KeyEncryption } from './key-encryption.ts';

/** What was read under a key that is retired meanwhile is still opened: no request takes longer. */
const GRACE_MS = 10_000;

export interface MasterKeys {
  /** What is written is written under it. */
  active(): KeyEncryption;
  /** By the id that a seal or a wrap names; undefined of a key that the process was not given, or that was retired. */
  find(kekId: string): KeyEncryption | undefined;
  /** Whether the database lists it and the process was not given it: what is under it is nobody's fault. */
  isMissing(kekId: string): boolean;
  /** The ids of those that count, the active one first. */
  inUse(): readonly string[];
  /** `listener` is called with the active key, now and whenever another one becomes it. */
  onActive(listener: (key: KeyEncryption) => void): void;
}

/** A row of `master_keys`. */
export interface ListedMasterKey {
  readonly kekId: string;
  readonly checkValue: Uint8Array;
  readonly state: MasterKeyState;
  readonly since: Date;
}

export interface FollowedMasterKeys extends MasterKeys {
  /** Every key that the process was given, in the order of its settings. */
  given(): readonly KeyEncryption[];
  /** One that became known later; it counts from the next `follow` on. */
  give(key: KeyEncryption): void;
  /**
   * Takes over what the database lists. `missing`: the ids of keys that it needs and the process was not given; while
   * the active one is among them, `active` stays what it was. `dropped`: a key counts no more.
   */
  follow(listed: readonly ListedMasterKey[]): {
    readonly missing: readonly string[];
    readonly dropped: boolean;
  };
}

/** `first` is not empty; until `follow` is called, its first key is active and the others count. */
export function createMasterKeys(
  first: readonly KeyEncryption[],
  monotonicMs: () => number = () => performance.now(),
): FollowedMasterKeys {
  const given = [...first];
  let [active] = given as [KeyEncryption];
  if (active === undefined) throw new TypeError('there is no master key');
  const listeners: ((key: KeyEncryption) => void)[] = [];
  let counting = new Map(given.map((key) => [key.kekId, key]));
  let missingIds: readonly string[] = [];
  const leaving = new Map<string, { readonly key: KeyEncryption; readonly until: number }>();

  return {
    given: () => given,
    give: (key) => void given.push(key),
    active: () => active,
    onActive: (listener) => {
      listeners.push(listener);
      listener(active);
    },
    find: (kekId) => {
      const key = counting.get(kekId);
      if (key !== undefined) return key;
      const left = leaving.get(kekId);
      return left !== undefined && monotonicMs() < left.until ? left.key : undefined;
    },
    isMissing: (kekId) => missingIds.includes(kekId),
    inUse: () => [...new Set([active.kekId, ...counting.keys()])],
    follow: (listed) => {
      const needed = listed.filter(({ state }) => state !== 'retired');
      const proven = needed.flatMap((row) => findGiven(given, row) ?? []);
      const missing = needed.filter((row) => findGiven(given, row) === undefined).map(({ kekId }) => kekId);
      missingIds = missing;
      // A list that says nothing, which somebody emptied, changes nothing.
      if (proven.length === 0) return { missing, dropped: false };
      const before = counting;
      counting = new Map(proven.map((key) => [key.kekId, key]));
      const named = needed.find(({ state }) => state === 'active');
      const next = (named && counting.get(named.kekId)) ?? active;
      if (next !== active) {
        active = next;
        for (const listener of listeners) listener(active);
      }
      const dropped = [...before.values()].filter(({ kekId }) => !counting.has(kekId));
      for (const key of dropped) leaving.set(key.kekId, { key, until: monotonicMs() + GRACE_MS });
      return { missing, dropped: dropped.length > 0 };
    },
  };
}

/** Of a row of the list: the key that was given, if the row's check value is that key's. */
export function findGiven(
  given: readonly KeyEncryption[],
  { kekId, checkValue }: Pick<ListedMasterKey, 'kekId' | 'checkValue'>,
): KeyEncryption | undefined {
  return given.find((key) => key.kekId === kekId && key.readCheckValue(checkValue) !== undefined);
}

/** For what is under a key that `isMissing`. */
export const missingMasterKey = (): WritError =>
  new WritError('UNAVAILABLE', 'This server lacks a master key that the database is written under.', {
    detail: 'the log names the key',
    retryAfterSeconds: 5,
  });
