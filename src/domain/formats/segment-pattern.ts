/**
 * Patterns of segments between slashes, in which `*` stands for any characters of one segment: the one matcher of
 * policies and scopes (contract sections 4.4 and 5.2). No regular expression is built from a pattern, and no choice is
 * ever undone: `a*a*a*ab` would make a backtracking engine run for minutes.
 */

export interface LiteralSegment {
  readonly kind: 'literal';
  readonly text: string;
}

/** A lone `*`. */
export interface AnySegment {
  readonly kind: 'any';
  readonly text: '*';
}

/** At least one `*` among other characters; with exactly one, `inner` is empty. */
export interface GlobSegment {
  readonly kind: 'glob';
  readonly text: string;
  /** Before the first star. */
  readonly prefix: string;
  /** Between two stars, in order. */
  readonly inner: readonly string[];
  /** Behind the last star. */
  readonly suffix: string;
}

export type Segment = LiteralSegment | AnySegment | GlobSegment;

export interface SegmentPattern {
  readonly text: string;
  readonly segments: readonly Segment[];
  /** The last segment is a lone `*`, which stands for one or more segments. */
  readonly openEnded: boolean;
}

export interface SegmentGrammar {
  /** Matches a segment of permitted characters and length. */
  readonly segment: RegExp;
  readonly maxSegments: number;
  /** In one segment. */
  readonly maxStars: number;
}

const MIN_SEGMENTS = 2;

export const ANY_SEGMENT: AnySegment = { kind: 'any', text: '*' };

export function literalSegment(text: string): LiteralSegment {
  return { kind: 'literal', text };
}

/** The pattern, else `undefined`. */
export function parseSegmentPattern(text: string, grammar: SegmentGrammar): SegmentPattern | undefined {
  const texts = text.split('/');
  if (texts.length < MIN_SEGMENTS || texts.length > grammar.maxSegments) return undefined;
  const segments: Segment[] = [];
  for (const segmentText of texts) {
    const segment = parseSegment(segmentText, grammar);
    if (segment === undefined) return undefined;
    segments.push(segment);
  }
  return segmentPattern(text, segments);
}

/** The pattern of segments that are known to be well-formed. */
export function segmentPattern(text: string, segments: readonly Segment[]): SegmentPattern {
  return { text, segments, openEnded: segments.at(-1)?.kind === 'any' };
}

/** Whether the pattern, from its segment `skipped` on, names these parts: each segment one of them, an open end the rest. */
export function patternMatches(
  { segments, openEnded }: SegmentPattern,
  parts: readonly string[],
  skipped = 0,
): boolean {
  const wanted = segments.length - skipped;
  if (openEnded ? parts.length < wanted : parts.length !== wanted) return false;
  const compared = openEnded ? wanted - 1 : wanted;
  for (let index = 0; index < compared; index += 1) {
    const segment = segments[skipped + index];
    const part = parts[index];
    if (segment === undefined || part === undefined || !segmentMatches(segment, part)) return false;
  }
  return true;
}

export function segmentMatches(segment: Segment, text: string): boolean {
  if (segment.kind === 'any') return true;
  return segment.kind === 'literal' ? segment.text === text : globMatches(segment, text);
}

function globMatches({ prefix, inner, suffix }: GlobSegment, text: string): boolean {
  const end = text.length - suffix.length;
  if (end < prefix.length || !text.startsWith(prefix) || !text.endsWith(suffix)) return false;
  // Taking the first place for each part leaves the most room for the next.
  let position = prefix.length;
  for (const part of inner) {
    const found = text.indexOf(part, position);
    if (found === -1) return false;
    position = found + part.length;
  }
  return position <= end;
}

function parseSegment(text: string, { segment, maxStars }: SegmentGrammar): Segment | undefined {
  if (text === '*') return ANY_SEGMENT;
  if (!segment.test(text) || text === '.' || text === '..') return undefined;
  if (!text.includes('*')) return literalSegment(text);
  const [prefix = '', ...inner] = text.split('*');
  const suffix = inner.pop() ?? '';
  // Two stars in a row are two with nothing between.
  if (inner.length >= maxStars || inner.includes('')) return undefined;
  return { kind: 'glob', text, prefix, inner, suffix };
}
