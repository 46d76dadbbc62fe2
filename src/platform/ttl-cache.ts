/**
 * What this process learnt lately, bounded in number and in age: the least recently used leaves first. It is never
 * proof of liveness: every request that it lets through is judged by the live rows as well.
 */

import { LRUCache } from 'lru-cache';

export interface TtlCache<Value> {
  get(key: string): Value | undefined;
  set(key: string, value: Value): void;
  /** Changes what is known without extending how long; nothing where nothing is known. */
  replace(key: string, value: Value): void;
  delete(key: string): void;
}

/**
 * The age is judged here and not by the library, which takes an age equal to its limit for young and an entry made at
 * the clock's zero for one without age.
 */
export function createTtlCache<Value>(options: {
  readonly maxEntries: number;
  readonly maxAgeMs: number;
  readonly monotonicMs: () => number;
}): TtlCache<Value> {
  const { maxAgeMs, monotonicMs } = options;
  const entries = new LRUCache<string, { value: Value; readonly until: number }>({ max: options.maxEntries });
  return {
    get: (key) => {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (entry.until > monotonicMs()) return entry.value;
      entries.delete(key);
      return undefined;
    },
    set: (key, value) => void entries.set(key, { value, until: monotonicMs() + maxAgeMs }),
    replace: (key, value) => {
      const entry = entries.peek(key);
      if (entry !== undefined) entry.value = value;
    },
    delete: (key) => void entries.delete(key),
  };
}
