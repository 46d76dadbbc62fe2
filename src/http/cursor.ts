/** Cursors of lists: opaque to the caller, checked when they come back. */

import { decodeBase64url, encodeBase64url } from '../domain/base64url.ts';
import { textToBytes } from '../domain/hashing.ts';
import { WritError } from '../errors.ts';

export function writeCursor(position: string | undefined): string | null {
  return position === undefined ? null : encodeBase64url(textToBytes(position));
}

/** The position a cursor stands for; `form` is what positions of this list look like. */
export function readCursor(cursor: string | undefined, form: RegExp): string | undefined {
  if (cursor === undefined) return undefined;
  const bytes = decodeBase64url(cursor);
  const position = bytes === undefined ? '' : new TextDecoder().decode(bytes);
  if (form.test(position)) return position;
  throw new WritError('VALIDATION_ERROR', 'This cursor is not one of ours.', {
    details: { pointer: '/cursor' },
  });
}
