/**
 * Reads `.env` text as the `dotenv` package does (version 18, `parse` without options), and refuses, with its line,
 * what that package would drop or take for something else (contract section 6). In time linear in the text.
 */

/** A whole body is no longer. */
export const MAX_ENV_TEXT_LENGTH = 1024 * 1024;
export const MAX_ENV_ENTRIES = 1000;

const KEY = /^[A-Za-z0-9_.-]+/;
const QUOTES: readonly string[] = ["'", '"', '`'];
/** For dotenv lines begin and end at these too, but an unquoted value goes on behind them. */
const SEPARATORS: readonly string[] = ['\u2028', '\u2029'];

export interface EnvEntry {
  /** One or more of `A-Z a-z 0-9 _ . -`. */
  readonly key: string;
  readonly value: string;
  /** Of the key, counted from 1. */
  readonly line: number;
}

/**
 * - `not_an_entry`: no blank line, no comment and no `KEY=value`, `KEY: value`, `export KEY=value` that starts and, but
 *   for a quoted value, ends on this line.
 * - `unclosed_quote`: the value opens with a quote that does not close, and more than this line could be meant, or less
 *   of it would be read.
 * - `reserved_key`: `__proto__`, which dotenv loses.
 * - `line_separator`: U+2028 or U+2029 outside quotes.
 * - `too_many_entries`: at the line where it became too much.
 * - `no_entries`, `too_long`: about the whole text, so line 1.
 */
export type EnvTextFault =
  | 'not_an_entry'
  | 'repeated_key'
  | 'reserved_key'
  | 'unclosed_quote'
  | 'line_separator'
  | 'too_many_entries'
  | 'no_entries'
  | 'too_long';

export type ParsedEnvText =
  | { readonly ok: true; readonly entries: readonly EnvEntry[] }
  | { readonly ok: false; readonly line: number; readonly fault: EnvTextFault };

/** 1 to 1000 entries in the order of the text, whose lines end with `\n`, `\r\n` or `\r`. @throws TypeError for what is no text. */
export function parseEnvText(text: string): ParsedEnvText {
  if (typeof text !== 'string') throw new TypeError('text must be a string');
  if (text.length > MAX_ENV_TEXT_LENGTH) return refuse(1, 'too_long');
  // Measured for a mebibyte of `\r`: 24 ms, `replaceAll` takes 90.
  const source = text.split('\r\n').join('\n').split('\r').join('\n');
  const entries = new Map<string, EnvEntry>();
  let line = 1;
  for (let start = 0; start <= source.length; line += 1) {
    const lineText = source.slice(start, endOfLine(source, start));
    const content = lineText.trimStart();
    let end = start + lineText.length;
    if (content === '' || content.startsWith('#')) {
      if (hasSeparator(lineText)) return refuse(line, 'line_separator');
    } else {
      const entry = readEntry(source, start, lineText);
      if (!entry.ok) return refuse(line, entry.fault);
      const fault = validateKey(entry.key, entries);
      if (fault !== undefined) return refuse(line, fault);
      entries.set(entry.key, { key: entry.key, value: entry.value, line });
      end = entry.end;
      line += source.slice(start, end).split('\n').length - 1;
    }
    start = end + 1;
  }
  return entries.size === 0 ? refuse(1, 'no_entries') : { ok: true, entries: [...entries.values()] };
}

function refuse(line: number, fault: EnvTextFault): ParsedEnvText {
  return { ok: false, line, fault };
}

function validateKey(key: string, entries: ReadonlyMap<string, EnvEntry>): EnvTextFault | undefined {
  if (key === '__proto__') return 'reserved_key';
  if (entries.has(key)) return 'repeated_key';
  return entries.size === MAX_ENV_ENTRIES ? 'too_many_entries' : undefined;
}

type ReadEntry =
  | { readonly ok: true; readonly key: string; readonly value: string; readonly end: number }
  | { readonly ok: false; readonly fault: EnvTextFault };

/** The entry whose first line is `lineText`, at `start`; `end` is where its last line ends. */
function readEntry(source: string, start: number, lineText: string): ReadEntry {
  const assignment = readAssignment(lineText.trimStart());
  if (assignment === undefined) return { ok: false, fault: 'not_an_entry' };
  const { key, rest } = assignment;
  const lineEnd = start + lineText.length;
  const opening = lineEnd - rest.length;
  const closing = QUOTES.includes(rest.charAt(0)) ? findClosingQuote(source, opening, lineEnd) : opening;
  if (closing === undefined) return { ok: false, fault: 'unclosed_quote' };
  const end = endOfLine(source, closing);
  const outsideQuotes = source.slice(start, opening) + source.slice(closing, end);
  if (hasSeparator(outsideQuotes)) return { ok: false, fault: 'line_separator' };
  const written = closing === opening ? upToComment(rest) : source.slice(opening, closing + 1);
  return { ok: true, key, value: readValue(written), end };
}

function upToComment(text: string): string {
  const comment = text.indexOf('#');
  return (comment === -1 ? text : text.slice(0, comment)).trimEnd();
}

/** Quotes go where the text ends with the one that it begins with; a `"` gives escapes their meaning even where it stays. */
function readValue(written: string): string {
  const quote = written.charAt(0);
  const isQuoted = QUOTES.includes(quote) && written.length > 1 && written.endsWith(quote);
  const value = isQuoted ? written.slice(1, -1) : written;
  return quote === '"' ? value.replaceAll('\\n', '\n').replaceAll('\\r', '\r') : value;
}

interface Assignment {
  readonly key: string;
  /** From where the value begins to the end of the line. */
  readonly rest: string;
}

/** `export` is a key itself unless another one follows. */
function readAssignment(content: string): Assignment | undefined {
  const exported = content.startsWith('export') && isBlank(content.charAt(6));
  return (exported ? readKeyAndRest(content.slice(6).trimStart()) : undefined) ?? readKeyAndRest(content);
}

/** A colon touches its key and has a blank behind it: at the end of a line it makes dotenv read the next as its value. */
function readKeyAndRest(content: string): Assignment | undefined {
  const key = KEY.exec(content)?.[0];
  if (key === undefined) return undefined;
  const behindKey = content.slice(key.length);
  const separated = behindKey.trimStart();
  const isEntry = separated.startsWith('=') || (behindKey.startsWith(':') && isBlank(behindKey.charAt(1)));
  return isEntry ? { key, rest: separated.slice(1).trimStart() } : undefined;
}

/**
 * The last quote that may close the value; a quote without a backslash before it ends the search, so no two searches
 * for one kind of quote walk over the same text. Without any, dotenv takes the rest of the line as an unquoted value:
 * `opening` where nothing else could be meant, undefined where `#` cuts that value or the quote recurs on a later line.
 */
function findClosingQuote(source: string, opening: number, lineEnd: number): number | undefined {
  const quote = source.charAt(opening);
  let closing = opening;
  let lastSeen = opening;
  for (let at = source.indexOf(quote, opening + 1); at !== -1; at = source.indexOf(quote, at + 1)) {
    if (isEndOfValue(source, at + 1)) closing = at;
    lastSeen = at;
    if (source.charAt(at - 1) !== '\\') break;
  }
  if (closing !== opening) return closing;
  return lastSeen > lineEnd || source.slice(opening, lineEnd).includes('#') ? undefined : opening;
}

/** Whether only blanks and perhaps a comment follow. */
function isEndOfValue(source: string, from: number): boolean {
  let at = from;
  while (isBlank(source.charAt(at))) at += 1;
  const next = source.charAt(at);
  return next === '' || next === '\n' || next === '#' || hasSeparator(next);
}

function isBlank(character: string): boolean {
  return character !== '' && character !== '\n' && character.trim() === '' && !hasSeparator(character);
}

function hasSeparator(text: string): boolean {
  return SEPARATORS.some((separator) => text.includes(separator));
}

function endOfLine(source: string, from: number): number {
  const found = source.indexOf('\n', from);
  return found === -1 ? source.length : found;
}
