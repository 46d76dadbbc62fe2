/** The patterns of a policy (contract section 4.4), matched against `<mcp>/<action>`. */

import {
  parseSegmentPattern,
  patternMatches,
  type SegmentGrammar,
  type SegmentPattern,
} from '../formats/segment-pattern.ts';
import { PATTERN_SEGMENT } from '../formats/step-name.ts';

const GRAMMAR: SegmentGrammar = {
  segment: PATTERN_SEGMENT,
  maxSegments: 8,
  maxStars: 4,
};
const MAX_PATTERN_LENGTH = 256;

/** What patterns are matched against: the parts of a name between its slashes. */
export type Subject = readonly string[];

/** The pattern `*` has no segments: it names every subject, and it alone also allows a step without mcp. */
export type PolicyPattern = SegmentPattern;

export const EVERYTHING: PolicyPattern = { text: '*', segments: [], openEnded: true };

/** The pattern, else `undefined`. */
export function parsePolicyPattern(text: string): PolicyPattern | undefined {
  if (typeof text !== 'string' || text.length > MAX_PATTERN_LENGTH) return undefined;
  return text === '*' ? EVERYTHING : parseSegmentPattern(text, GRAMMAR);
}

/** Prepares `<mcp>/<action>`, or an action alone, for any number of patterns. */
export function subjectOf(name: string): Subject {
  return name.split('/');
}

/** Whether the pattern names a subject `<mcp>/<action>`. */
export function matchesSubject(pattern: PolicyPattern, subject: Subject): boolean {
  return patternMatches(pattern, subject);
}

/** Whether the pattern names the action of some mcp; the subject is the action alone. */
export function matchesActionOfAnyMcp(pattern: PolicyPattern, action: Subject): boolean {
  return patternMatches(pattern, action, 1);
}
