/**
 * The patterns of a policy (contract section 4.4), matched against `<mcp>/<action>` in time linear in the subject. No
 * regular expression is built from a pattern: `a*a*a*ab` would make a backtracking engine run for minutes.
 */

const SEGMENT = /^[A-Za-z0-9_.:@+=~*-]{1,128}$/;
const MAX_PATTERN_LENGTH = 256;
const MIN_SEGMENTS = 2;
const MAX_SEGMENTS = 8;
const MAX_STARS = 4;
const ASCII_CODES = 128;

/**
 * A text to find, as the automaton of Knuth, Morris and Pratt: one look-up for each character, whatever came before.
 * A state is the offset of its row; a row has one entry for each distinct character of the text, after one for others.
 */
interface Needle {
  readonly length: number;
  readonly classOfCode: Uint8Array;
  readonly nextState: Uint16Array;
  readonly found: number;
}

type PatternSegment =
  | { readonly kind: 'any' }
  | { readonly kind: 'literal'; readonly codes: Uint8Array }
  | {
      readonly kind: 'glob';
      readonly prefix: Uint8Array;
      readonly inner: readonly Needle[];
      readonly suffix: Uint8Array;
      readonly minLength: number;
    };

/** What patterns are matched against: ASCII codes, one array for each part between slashes. */
export type Subject = readonly Uint8Array[];

export interface PolicyPattern {
  readonly text: string;
  /** The pattern `*`: the only one that also allows a step without mcp. */
  readonly everything: boolean;
  readonly segments: readonly PatternSegment[];
  /** The last segment is a lone `*`, which stands for one or more segments. */
  readonly openEnded: boolean;
}

/** The pattern, else `undefined`. */
export function parsePolicyPattern(text: string): PolicyPattern | undefined {
  if (typeof text !== 'string' || text.length > MAX_PATTERN_LENGTH) return undefined;
  if (text === '*') return { text, everything: true, segments: [], openEnded: true };
  const texts = text.split('/');
  if (texts.length < MIN_SEGMENTS || texts.length > MAX_SEGMENTS || !texts.every(isSegment)) return undefined;
  return { text, everything: false, segments: texts.map(compileSegment), openEnded: texts.at(-1) === '*' };
}

/** Prepares `<mcp>/<action>`, or an action alone, for any number of patterns. */
export function subjectOf(name: string): Subject {
  return name.split('/').map(codesOf);
}

/** Whether the pattern names a subject `<mcp>/<action>`. */
export function matchesSubject(pattern: PolicyPattern, subject: Subject): boolean {
  return pattern.everything || matchesFrom(pattern, 0, subject);
}

/** Whether the pattern names the action of some mcp; the subject is the action alone. */
export function matchesActionOfAnyMcp(pattern: PolicyPattern, action: Subject): boolean {
  return pattern.everything || matchesFrom(pattern, 1, action);
}

function matchesFrom({ segments, openEnded }: PolicyPattern, skipped: number, subject: Subject): boolean {
  const wanted = segments.length - skipped;
  if (openEnded ? subject.length < wanted : subject.length !== wanted) return false;
  const compared = openEnded ? wanted - 1 : wanted;
  for (let index = 0; index < compared; index++) {
    const segment = segments[skipped + index];
    const text = subject[index];
    if (segment === undefined || text === undefined || !segmentMatches(segment, text)) return false;
  }
  return true;
}

function segmentMatches(segment: PatternSegment, text: Uint8Array): boolean {
  if (segment.kind === 'any') return true;
  if (segment.kind === 'literal')
    return text.length === segment.codes.length && standsAt(segment.codes, text, 0);
  const { prefix, inner, suffix, minLength } = segment;
  const end = text.length - suffix.length;
  if (text.length < minLength || !standsAt(prefix, text, 0) || !standsAt(suffix, text, end)) return false;
  // Taking the first place for each part leaves the most room for the next, so no choice is ever undone.
  let position = prefix.length;
  for (const needle of inner) {
    position = endOfFirst(needle, text, position, end);
    if (position === -1) return false;
  }
  return true;
}

function standsAt(part: Uint8Array, text: Uint8Array, start: number): boolean {
  for (let index = 0; index < part.length; index++) {
    if (part[index] !== text[start + index]) return false;
  }
  return true;
}

/** Where the first occurrence within `[from, to)` ends, else -1. */
function endOfFirst(
  { length, classOfCode, nextState, found }: Needle,
  text: Uint8Array,
  from: number,
  to: number,
): number {
  if (to - from < length) return -1;
  let state = 0;
  for (let index = from; index < to; index++) {
    state = nextState[state + (classOfCode[text[index] ?? 0] ?? 0)] ?? 0;
    if (state === found) return index + 1;
  }
  return -1;
}

function isSegment(text: string): boolean {
  if (!SEGMENT.test(text) || text === '.' || text === '..' || text.includes('**')) return false;
  return text.split('*').length <= MAX_STARS + 1;
}

function compileSegment(text: string): PatternSegment {
  if (text === '*') return { kind: 'any' };
  const [prefix = '', ...rest] = text.split('*');
  const suffix = rest.pop();
  if (suffix === undefined) return { kind: 'literal', codes: codesOf(text) };
  const inner = rest.map(compileNeedle);
  const minLength = text.length - rest.length - 1;
  return { kind: 'glob', prefix: codesOf(prefix), inner, suffix: codesOf(suffix), minLength };
}

function compileNeedle(text: string): Needle {
  const codes = codesOf(text);
  const classOfCode = new Uint8Array(ASCII_CODES);
  let width = 1;
  for (const code of codes) if (classOfCode[code] === 0) classOfCode[code] = width++;
  const nextState = new Uint16Array(codes.length * width);
  // The state that is reached without the first character: where a mismatch goes on.
  let restart = 0;
  for (const [matched, code] of codes.entries()) {
    const state = matched * width;
    const entry = classOfCode[code] ?? 0;
    nextState.copyWithin(state, restart, restart + width);
    const afterRestart = nextState[restart + entry] ?? 0;
    nextState[state + entry] = state + width;
    if (matched > 0) restart = afterRestart;
  }
  return { length: codes.length, classOfCode, nextState, found: codes.length * width };
}

/** Other characters become 0, which no pattern contains. */
function codesOf(text: string): Uint8Array {
  const codes = new Uint8Array(text.length);
  for (let index = 0; index < text.length; index++) {
    const code = text.charCodeAt(index);
    codes[index] = code < ASCII_CODES ? code : 0;
  }
  return codes;
}
