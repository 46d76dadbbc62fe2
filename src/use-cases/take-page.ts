/**
 * How much of a list one answer holds: as many items as were asked for, and not many more bytes than `MAX_PAGE_BYTES`,
 * whatever was asked. What is behind the page is not read.
 */

export const MAX_PAGE_BYTES = 1024 * 1024;

/** The first portion; each is twice the one before, so less than three times what a page holds is ever read. */
const FIRST_PORTION = 16;
const LARGEST_PORTION = 512;

export interface PortionQuery {
  readonly limit: number;
  readonly after: string | undefined;
}

/** Reads a list from behind `after` on, and never more than one item beyond `limit`. */
export async function* inPortions<Item>(
  read: (query: PortionQuery) => Promise<readonly Item[]>,
  { limit, after, positionOf }: PortionQuery & { readonly positionOf: (item: Item) => string },
): AsyncGenerator<Item> {
  let last = after;
  let left = limit + 1;
  for (let portion = FIRST_PORTION; left > 0; portion = Math.min(2 * portion, LARGEST_PORTION)) {
    const asked = Math.min(portion, left);
    const found = await read({ limit: asked, after: last });
    yield* found;
    const end = found.at(-1);
    if (end === undefined || found.length < asked) return;
    last = positionOf(end);
    left -= asked;
  }
}

/** The head of a list; one item of it is always there, however large. `sizeOf`: its bytes in the answer. */
export async function takePage<Item>(
  source: AsyncIterable<Item>,
  { limit, sizeOf }: { readonly limit: number; readonly sizeOf: (item: Item) => number },
): Promise<{ readonly items: readonly Item[]; readonly more: boolean }> {
  const items: Item[] = [];
  let bytes = 0;
  for await (const item of source) {
    bytes += sizeOf(item);
    if (items.length === limit || (items.length > 0 && bytes > MAX_PAGE_BYTES)) return { items, more: true };
    items.push(item);
  }
  return { items, more: false };
}
