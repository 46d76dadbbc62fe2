/**
 * The patterns of a policy (contract section 4.4), matched against `<mcp>/<action>` in time linear in the subject. No
 * regular expression is built from a pattern: `a*a*a*ab` would make a backtracking engine run for minutes.
 */

const SEGMENT = /^[A-Za-z0-9_.:@+=~*-]{1,128}$/;
const MAX_PATTERN_LENGTH = 256;
const MIN_SEGMENTS = 2;
const MAX_SEGMENTS = 8;
const MAX_STARS = 4;

/** A text to find, with the table of Knuth, Morris and Pratt: how much of it is still matched after a mismatch. */
interface Needle {
  readonly codes: Uint16Array;
  readonly fallback: Uint8Array;
}

type PatternSegment =
  | { readonly kind: 'any' }
  | { readonly kind: 'literal'; readonly text: string }
  | {
      readonly kind: 'glob';
      readonly prefix: Uint16Array;
      readonly inner: readonly Needle[];
      readonly suffix: Uint16Array;
      readonly minLength: number;
    };

/** What patterns are matched against: the parts of a name between its slashes. */
export type Subject = readonly string[];

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
  return name.split('/');
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
    const part = subject[index];
    if (segment === undefined || part === undefined || !segmentMatches(segment, part)) return false;
  }
  return true;
}

function segmentMatches(segment: PatternSegment, text: string): boolean {
  if (segment.kind === 'any') return true;
  if (segment.kind === 'literal') return segment.text === text;
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

function standsAt(part: Uint16Array, text: string, start: number): boolean {
  for (let index = 0; index < part.length; index++) {
    if (part[index] !== text.charCodeAt(start + index)) return false;
  }
  return true;
}

/** Where the first occurrence within `[from, to)` ends, else -1. */
function endOfFirst({ codes, fallback }: Needle, text: string, from: number, to: number): number {
  const length = codes.length;
  let matched = 0;
  for (let index = from; index < to && to - index >= length - matched; index++) {
    const code = text.charCodeAt(index);
    while (matched > 0 && codes[matched] !== code) matched = fallback[matched - 1] ?? 0;
    if (codes[matched] === code) matched++;
    if (matched === length) return index + 1;
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
  if (suffix === undefined) return { kind: 'literal', text };
  const inner = rest.map(compileNeedle);
  const minLength = text.length - rest.length - 1;
  return { kind: 'glob', prefix: codesOf(prefix), inner, suffix: codesOf(suffix), minLength };
}

function compileNeedle(text: string): Needle {
  const codes = codesOf(text);
  const fallback = new Uint8Array(codes.length);
  let matched = 0;
  for (let index = 1; index < codes.length; index++) {
    while (matched > 0 && codes[index] !== codes[matched]) matched = fallback[matched - 1] ?? 0;
    if (codes[index] === codes[matched]) matched++;
    fallback[index] = matched;
  }
  return { codes, fallback };
}

function codesOf(text: string): Uint16Array {
  const codes = new Uint16Array(text.length);
  for (let index = 0; index < text.length; index++) codes[index] = text.charCodeAt(index);
  return codes;
}
