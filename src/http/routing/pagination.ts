/** Cursors of lists: opaque to the caller, checked when they come back. */

import { WritError } from '../../errors.ts';

/** How many a list answers when it was not asked to page: no published client pages. */
const UNPAGED_LIMIT = 10_000;

export function writeCursor(position: string | undefined): string | null {
  return position === undefined ? null : Buffer.from(position).toString('base64url');
}

/** The limit of a query that has passed its schema. */
export const limitOf = (query: { readonly limit?: string }): number =>
  query.limit === undefined ? UNPAGED_LIMIT : Number(query.limit);

/** A list's answer from what was found, which is one more than the limit where there is more. */
export function paginate<Item, View>(
  found: readonly Item[],
  limit: number,
  {
    positionOf,
    viewOf,
  }: { readonly positionOf: (item: Item) => string; readonly viewOf: (item: Item) => View },
) {
  const page = found.slice(0, limit);
  const last = page.at(-1);
  const next = found.length > limit && last !== undefined ? writeCursor(positionOf(last)) : null;
  return { items: page.map(viewOf), next_cursor: next };
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
