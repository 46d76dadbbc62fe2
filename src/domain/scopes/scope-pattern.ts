/** The pattern of a scope (contract section 5.2): a closed grammar, read segment by segment. */

import {
  ANY_SEGMENT,
  parseSegmentPattern,
  type Segment,
  type SegmentGrammar,
  type SegmentPattern,
  segmentPattern,
} from '../formats/segment-pattern.ts';
import { MAX_PATH_SEGMENTS, PATH_PATTERN_SEGMENT } from './secret-path.ts';

/** One star only: whether one segment names all that another does can then be read off its two ends. */
const GRAMMAR: SegmentGrammar = {
  segment: PATH_PATTERN_SEGMENT,
  maxSegments: MAX_PATH_SEGMENTS,
  maxStars: 1,
};

/** At least two segments: the pattern `*` means the same as `*` `*`, because every path has two segments or more. */
export type ScopePattern = SegmentPattern;

const EVERY_PATH = segmentPattern('*', [ANY_SEGMENT, ANY_SEGMENT]);

/** The pattern, else `undefined`. */
export function parseScopePattern(text: string): ScopePattern | undefined {
  if (typeof text !== 'string') return undefined;
  return text === '*' ? EVERY_PATH : parseSegmentPattern(text, GRAMMAR);
}

/** Puts segments together that are known to be well-formed. */
export function joinScopeSegments(segments: readonly Segment[]): ScopePattern {
  return segmentPattern(segments.map((segment) => segment.text).join('/'), segments);
}
