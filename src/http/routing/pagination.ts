/** Pages of lists, and their cursors: opaque to the caller, checked when they come back. */

import { WritError } from '../../errors.ts';
import { inPortions, type PortionQuery, takePage } from '../../use-cases/take-page.ts';

/** How many a list answers when it was not asked to page: no published client pages. */
const UNPAGED_LIMIT = 10_000;

export function writeCursor(position: string | undefined): string | null {
  return position === undefined ? null : Buffer.from(position).toString('base64url');
}

/** The limit of a query that has passed its schema. */
export const limitOf = (query: { readonly limit?: string }): number =>
  query.limit === undefined ? UNPAGED_LIMIT : Number(query.limit);

/** What an item takes of its page. */
export const jsonBytes = (view: unknown): number => Buffer.byteLength(JSON.stringify(view)) + 1;

/** The answer of a list: one page of what `read` finds. `form`: as in `decodeCursor`. */
export async function answerPage<Item, View>(
  query: { readonly limit?: string; readonly cursor?: string },
  list: {
    readonly form: RegExp;
    readonly read: (query: PortionQuery) => Promise<readonly Item[]>;
    readonly positionOf: (item: Item) => string;
    readonly viewOf: (item: Item) => View;
  },
): Promise<{ readonly items: readonly View[]; readonly next_cursor: string | null }> {
  const { positionOf, viewOf } = list;
  const limit = limitOf(query);
  const found = inPortions(list.read, { limit, after: decodeCursor(query.cursor, list.form), positionOf });
  const { items, more } = await takePage(shown(found, viewOf), { limit, sizeOf: ({ size }) => size });
  const last = items.at(-1);
  const next = more && last !== undefined ? writeCursor(positionOf(last.item)) : null;
  return { items: items.map(({ view }) => view), next_cursor: next };
}

async function* shown<Item, View>(source: AsyncIterable<Item>, viewOf: (item: Item) => View) {
  for await (const item of source) {
    const view = viewOf(item);
    yield { item, view, size: jsonBytes(view) };
  }
}

/** The position a cursor stands for; `form` is what positions of this list look like. */
export function decodeCursor(cursor: string | undefined, form: RegExp): string | undefined {
  if (cursor === undefined) return undefined;
  const position = Buffer.from(cursor, 'base64url').toString();
  if (form.test(position) && writeCursor(position) === cursor) return position;
  throw invalidCursor();
}

export const invalidCursor = (): WritError =>
  new WritError('VALIDATION_ERROR', 'This cursor is not one of ours.', {
    details: { pointer: '/cursor' },
  });
