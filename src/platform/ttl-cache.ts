/**
 * What this process learnt lately, bounded in number and in age: the least recently used leaves first. It is never
 * proof of liveness: every request that it lets through is judged by the live rows as well.
 */

import { LRUCache } from 'lru-cache';
import type { Memories } from '../use-cases/ports.ts';

export interface TtlCache<Value> {
  get(key: string): Value | undefined;
  /** Asked before reading what is then set or replaced: nothing is kept of what was read before all was dropped. */
  generation(): number;
  /** `livesMs`: where it ends before the age of all. */
  set(key: string, value: Value, generation: number, livesMs?: number): void;
  /** Changes what is known without extending how long; nothing where nothing is known. */
  replace(key: string, value: Value, generation: number): void;
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
  readonly memories: Memories;
  readonly name: string;
}): TtlCache<Value> {
  const { maxAgeMs, monotonicMs, memories } = options;
  const entries = new LRUCache<string, { value: Value; readonly until: number }>({ max: options.maxEntries });
  memories.add(options.name, () => entries.clear());
  return {
    generation: memories.generation,
    get: (key) => {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (entry.until > monotonicMs()) return entry.value;
      entries.delete(key);
      return undefined;
    },
    set: (key, value, generation, livesMs = maxAgeMs) => {
      if (generation !== memories.generation()) return;
      entries.set(key, { value, until: monotonicMs() + Math.min(livesMs, maxAgeMs) });
    },
    replace: (key, value, generation) => {
      const entry = entries.peek(key);
      if (entry !== undefined && generation === memories.generation()) entry.value = value;
    },
    delete: (key) => void entries.delete(key),
  };
}
