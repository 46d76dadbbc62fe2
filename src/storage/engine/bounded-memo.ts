/**
 * Remembers what was worked out from a row, a bounded number of them, with the text of the row that it was worked out
 * from: another text is worked out anew, whoever wrote it and whatever number the row has.
 */

import type { Memories } from '../../use-cases/ports.ts';

export type BoundedMemo<Value> = (name: string, content: string, workOut: () => Value) => Value;

export function createBoundedMemo<Value>(
  of: { readonly memories: Memories; readonly name: string },
  maxEntries: number,
): BoundedMemo<Value> {
  const known = new Map<string, { readonly content: string; readonly value: Value }>();
  of.memories.add(of.name, () => known.clear());
  return (name, content, workOut) => {
    const remembered = known.get(name);
    if (remembered?.content === content) return remembered.value;
    const value = workOut();
    if (known.size >= maxEntries) known.clear();
    known.set(name, { content, value });
    return value;
  };
}
