/**
 * The pattern of a scope (contract section 5.2): a closed grammar, read segment by segment. Only a segment whose text
 * has passed the grammar reaches picomatch, and never together with a slash, so a pattern cannot smuggle in syntax.
 */

import picomatch from 'picomatch';

/** Everything that picomatch knows beyond `*` is off; a leading dot is an ordinary character. */
const LITERAL_BUT_FOR_STAR: picomatch.PicomatchOptions = {
  dot: true,
  fastpaths: false,
  nobrace: true,
  nobracket: true,
  nocase: false,
  noextglob: true,
  noglobstar: true,
  nonegate: true,
  windows: false,
};

const SEGMENT = /^[A-Za-z0-9_.@+=~*-]{1,128}$/;
const MAX_SEGMENTS = 16;

export interface LiteralSegment {
  readonly kind: 'literal';
  readonly text: string;
}

/** A lone `*`. */
export interface AnySegment {
  readonly kind: 'any';
  readonly text: '*';
}

/** Exactly one `*` among other characters. */
export interface PartialSegment {
  readonly kind: 'partial';
  readonly text: string;
  readonly prefix: string;
  readonly suffix: string;
  readonly matches: (segment: string) => boolean;
}

export type ScopeSegment = LiteralSegment | AnySegment | PartialSegment;

export interface ScopePattern {
  readonly text: string;
  /** At least two: the pattern `*` means the same as `*` `*`, because every path has two segments or more. */
  readonly segments: readonly ScopeSegment[];
  /** The last segment is a lone `*`, which stands for one or more segments. */
  readonly openEnded: boolean;
}

/** The pattern, else `undefined`. */
export function parseScopePattern(text: string): ScopePattern | undefined {
  if (typeof text !== 'string') return undefined;
  const texts = text === '*' ? ['*', '*'] : text.split('/');
  if (texts.length < 2 || texts.length > MAX_SEGMENTS) return undefined;
  const segments: ScopeSegment[] = [];
  for (const segmentText of texts) {
    const segment = parseSegment(segmentText);
    if (segment === undefined) return undefined;
    segments.push(segment);
  }
  return scopePattern(text, segments);
}

/** Puts segments together that are known to be well-formed. */
export function joinScopeSegments(segments: readonly ScopeSegment[]): ScopePattern {
  return scopePattern(segments.map((segment) => segment.text).join('/'), segments);
}

export function literalSegment(text: string): LiteralSegment {
  return { kind: 'literal', text };
}

export const ANY_SEGMENT: AnySegment = { kind: 'any', text: '*' };

/** Whether a path, given as its segments, is one of those the pattern names. */
export function patternMatches(pattern: ScopePattern, pathSegments: readonly string[]): boolean {
  const { segments, openEnded } = pattern;
  if (openEnded ? pathSegments.length < segments.length : pathSegments.length !== segments.length)
    return false;
  return segments.every((segment, index) => segmentMatches(segment, pathSegments[index] ?? ''));
}

/** Whether one segment of a path is one of those a segment of a pattern names. */
export function segmentMatches(segment: ScopeSegment, text: string): boolean {
  if (segment.kind === 'any') return true;
  return segment.kind === 'literal' ? segment.text === text : segment.matches(text);
}

function scopePattern(text: string, segments: readonly ScopeSegment[]): ScopePattern {
  return { text, segments, openEnded: segments.at(-1)?.kind === 'any' };
}

function parseSegment(text: string): ScopeSegment | undefined {
  if (text === '*') return ANY_SEGMENT;
  if (!SEGMENT.test(text) || text === '.' || text === '..') return undefined;
  const star = text.indexOf('*');
  if (star === -1) return literalSegment(text);
  // With one star a segment is scanned once; with several, backtracking would make the cost a power of their number.
  if (text.includes('*', star + 1)) return undefined;
  const prefix = text.slice(0, star);
  return { kind: 'partial', text, prefix, suffix: text.slice(star + 1), matches: compileOnFirstUse(text) };
}

/** Most segments are never reached, because a literal before them differs. */
function compileOnFirstUse(segmentText: string): (segment: string) => boolean {
  let expression: RegExp | undefined;
  return (segment) => {
    expression ??= picomatch.makeRe(segmentText, LITERAL_BUT_FOR_STAR);
    return expression.test(segment);
  };
}
