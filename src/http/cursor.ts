/** Cursors of lists: opaque to the caller, checked when they come back. */

import { WritError } from '../errors.ts';

export function writeCursor(position: string | undefined): string | null {
  return position === undefined ? null : Buffer.from(position).toString('base64url');
}

/** The position a cursor stands for; `form` is what positions of this list look like. */
export function readCursor(cursor: string | undefined, form: RegExp): string | undefined {
  if (cursor === undefined) return undefined;
  const position = Buffer.from(cursor, 'base64url').toString();
  if (form.test(position) && writeCursor(position) === cursor) return position;
  throw new WritError('VALIDATION_ERROR', 'This cursor is not one of ours.', {
    details: { pointer: '/cursor' },
  });
}
