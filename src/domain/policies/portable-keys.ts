/**
 * Keys of the vendor's policy documents (contract section 4.8), made from the action part of a pattern: what stands
 * behind its first segment. There `*` is any characters but `/`, and `**` any at all; a longer key wins over a shorter
 * one.
 */

import {
  type GlobSegment,
  type Segment,
  type SegmentPattern,
  segmentMatches,
} from '../formats/segment-pattern.ts';

export const ANY_TOOL = '**';

const actionOf = ({ segments }: SegmentPattern): readonly Segment[] => segments.slice(1);

export const isLiteral = (pattern: SegmentPattern): boolean =>
  actionOf(pattern).every(({ kind }) => kind === 'literal');

/** The last lone `*` of a pattern names all that follows. */
export function keyOf(pattern: SegmentPattern): string {
  const texts = actionOf(pattern).map(({ text }) => text);
  if (pattern.openEnded) texts.splice(-1, 1, ANY_TOOL);
  return texts.join('/');
}

/**
 * Keys that must stand beside `deny` so that, of what both patterns name, nothing is decided by `allow`: none if its
 * own key wins, or if nothing is named by both. Undefined where no keys can do that.
 */
export function winningKeys(deny: SegmentPattern, allow: SegmentPattern): readonly string[] | undefined {
  if (keyOf(deny).length >= keyOf(allow).length || areDisjoint(deny, allow)) return [];
  const [denied, allowed] = [onlyStar(deny), onlyStar(allow)];
  return denied === undefined || allowed === undefined ? undefined : intersection(denied, allowed);
}

/** The action part, where it is one segment with one star. */
function onlyStar(pattern: SegmentPattern): GlobSegment | undefined {
  const [segment, more] = actionOf(pattern);
  return more === undefined && segment?.kind === 'glob' && segment.inner.length === 0 ? segment : undefined;
}

/**
 * What both name begins with the longer prefix and ends with the longer suffix. Where these two overlap it is one of a
 * few names; the pattern of the rest is at least as long as either of the two.
 */
function intersection(a: GlobSegment, b: GlobSegment): readonly string[] {
  const prefix = longer(a.prefix, b.prefix);
  const suffix = longer(a.suffix, b.suffix);
  const shortest = Math.max(a.prefix.length + a.suffix.length, b.prefix.length + b.suffix.length);
  const keys = [`${prefix}*${suffix}`];
  const mostInCommon = Math.min(prefix.length, suffix.length, prefix.length + suffix.length - shortest);
  for (let common = 1; common <= mostInCommon; common += 1) {
    if (prefix.endsWith(suffix.slice(0, common))) keys.push(prefix + suffix.slice(common));
  }
  return keys;
}

const longer = (a: string, b: string): string => (a.length >= b.length ? a : b);

/** False where it is not certain. */
function areDisjoint(a: SegmentPattern, b: SegmentPattern): boolean {
  const [of, other] = [actionOf(a), actionOf(b)];
  const tooFew = (closed: SegmentPattern, many: number, few: number) => !closed.openEnded && few < many;
  if (tooFew(a, other.length, of.length) || tooFew(b, of.length, other.length)) return true;
  return of.some((segment, index) => {
    const beside = other[index];
    return beside !== undefined && segmentsAreDisjoint(segment, beside);
  });
}

function segmentsAreDisjoint(a: Segment, b: Segment): boolean {
  if (a.kind === 'literal') return !segmentMatches(b, a.text);
  if (b.kind === 'literal') return !segmentMatches(a, b.text);
  if (a.kind === 'any' || b.kind === 'any') return false;
  const prefixesDiffer = !a.prefix.startsWith(b.prefix) && !b.prefix.startsWith(a.prefix);
  const suffixesDiffer = !a.suffix.endsWith(b.suffix) && !b.suffix.endsWith(a.suffix);
  return prefixesDiffer || suffixesDiffer;
}
