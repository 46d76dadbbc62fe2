/** One shared table of values that are not text, so that every entry of the domain is tried with the same ones. */

/** What a caller without types may pass where text belongs; some of them read as `text` when coerced. */
export function notTexts(text: string): readonly unknown[] {
  return [
    undefined,
    null,
    true,
    0,
    Number.NaN,
    1n,
    Symbol('text'),
    {},
    [],
    () => text,
    new Uint8Array([1]),
    new Map(),
    [text],
    new String(text),
    { toString: () => text },
  ];
}

/** The value as whatever type the place it is put in asks for. */
export function untyped<T>(value: unknown): T {
  return value as T;
}
