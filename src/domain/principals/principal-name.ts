/**
 * What a principal may be called (contract section 2): what people decide by, so a name looks like itself. ASCII only,
 * because no well-kept library tells which other letters look alike (UTS 39); which ASCII names do, the store says.
 */

import { UUID } from '../formats/uuid.ts';

const MAX_LENGTH = 64;

/** JavaScript and PostgreSQL read it alike. */
export const PRINCIPAL_NAME = /^(?=.*[A-Za-z0-9])[A-Za-z0-9._@-]+( [A-Za-z0-9._@-]+)*$/;

const ALLOWED =
  'A name has 1 to 64 letters A-Z a-z, digits, . _ - @ and single blanks between them, at least one letter or digit';

export type ReadName =
  | { readonly ok: true; readonly name: string }
  | { readonly ok: false; readonly issue: string };

/** The name that is kept: in NFKC, without blanks around it. */
export function readPrincipalName(given: string): ReadName {
  const name = given.normalize('NFKC').trim();
  // Ids and names share one place in URLs.
  if (UUID.test(name)) return { ok: false, issue: `The name must not look like an id. ${ALLOWED}.` };
  if (PRINCIPAL_NAME.test(name) && name.length <= MAX_LENGTH) return { ok: true, name };
  return { ok: false, issue: `The name ${faultOf(name)}. ${ALLOWED}.` };
}

function faultOf(name: string): string {
  if (name === '') return 'is empty';
  if (name.length > MAX_LENGTH) return `has ${[...name].length} characters`;
  const foreign = [...name].find((character) => !/[A-Za-z0-9._@ -]/.test(character));
  // By its number: it may look like one that is allowed.
  if (foreign !== undefined) return `has the character ${codePointOf(foreign)}`;
  return name.includes('  ') ? 'has two blanks in a row' : 'has no letter or digit';
}

function codePointOf(character: string): string {
  const hex = (character.codePointAt(0) ?? 0).toString(16).toUpperCase();
  return `U+${hex.padStart(4, '0')}`;
}

/** Whether it can be any principal's: those from before this grammar keep their names. */
export function mayBeStoredName(text: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they were refused at any time
  return /^[^\u0000-\u001f\u007f]+$/.test(text) && [...text].length <= MAX_LENGTH;
}
