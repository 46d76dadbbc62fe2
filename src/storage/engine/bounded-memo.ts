/** Remembers what was worked out from rows that never change, a bounded number of them. */

export type BoundedMemo<Value> = (name: string, workOut: () => Value) => Value;

export function createBoundedMemo<Value>(maxEntries: number): BoundedMemo<Value> {
  const known = new Map<string, Value>();
  return (name, workOut) => {
    const remembered = known.get(name);
    if (remembered !== undefined) return remembered;
    const value = workOut();
    if (known.size >= maxEntries) known.clear();
    known.set(name, value);
    return value;
  };
}
