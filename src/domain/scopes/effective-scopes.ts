/**
 * What an agent may do (contract section 2): its allowed scopes, cut to its allowed namespaces. The cut is exact: it
 * names every path that the scope names below a namespace, and no other.
 */

import { literalSegment, type Segment, segmentMatches } from '../formats/segment-pattern.ts';
import { distinctScopes, parseScope, type Scope, type SecretAction } from './scope.ts';
import { namespaceScope } from './scope-coverage.ts';
import { joinScopeSegments, type ScopePattern } from './scope-pattern.ts';
import { MAX_PATH_LENGTH, type Namespace, parseNamespace } from './secret-path.ts';

const VENDOR_SCOPES: ReadonlyMap<string, 'read' | 'write'> = new Map([
  ['read:secrets', 'read'],
  ['write:secrets', 'write'],
  ['rotate:secrets', 'write'],
  ['import:secrets', 'write'],
]);

/** The action that a vendor name such as `read:secrets` stands for. */
export function vendorScopeAction(text: string): SecretAction | undefined {
  return VENDOR_SCOPES.get(text);
}

export interface AllowedByOperator {
  /** Scopes or vendor names; `null`: not given. An empty list is given and allows nothing. */
  readonly allowedScopes: readonly string[] | null;
  /** `null`: not given. An empty list is given and leaves nothing. */
  readonly allowedNamespaces: readonly string[] | null;
}

export type EffectiveScopes =
  | { readonly ok: true; readonly scopes: readonly Scope[] }
  /** `pointer` is relative to the agent, for example `/allowed_scopes/0`. */
  | { readonly ok: false; readonly code: 'INVALID_SCOPE' | 'INVALID_PATH'; readonly pointer: string };

/** Without duplicates, in the order of the lists. */
export function effectiveScopes({ allowedScopes, allowedNamespaces }: AllowedByOperator): EffectiveScopes {
  const namespaces: Namespace[] = [];
  for (const [index, text] of (allowedNamespaces ?? []).entries()) {
    const parsed = parseNamespace(text);
    if (!parsed.ok) return { ok: false, code: 'INVALID_PATH', pointer: `/allowed_namespaces/${index}` };
    namespaces.push(parsed.namespace);
  }
  const scopes: Scope[] = [];
  for (const [index, text] of (allowedScopes ?? []).entries()) {
    const action = vendorScopeAction(text);
    const parsed = parseScope(action === undefined ? text : `secrets:${action}:*`);
    if (!parsed.ok) return { ok: false, code: 'INVALID_SCOPE', pointer: `/allowed_scopes/${index}` };
    scopes.push(parsed.scope);
  }
  if (allowedScopes === null) scopes.push(...namespaces.map((namespace) => namespaceScope('*', namespace)));
  const cut = allowedScopes !== null && allowedNamespaces !== null;
  const effective = cut ? scopes.flatMap((scope) => intersectScopeWithNamespaces(scope, namespaces)) : scopes;
  return { ok: true, scopes: distinctScopes(effective) };
}

/**
 * The scopes that together name exactly the paths that `scope` names below one of the namespaces. `namespaces:read`
 * stays as it is: what it lists is bounded by the other scopes.
 */
export function intersectScopeWithNamespaces(
  scope: Scope,
  namespaces: readonly Namespace[],
): readonly Scope[] {
  if (scope.kind === 'namespaces') return [scope];
  const cut = namespaces.flatMap((namespace): Scope[] => {
    const pattern = cutPattern(scope.pattern, namespace);
    return pattern === undefined ? [] : [{ ...scope, pattern }];
  });
  return distinctScopes(cut);
}

function cutPattern({ segments, openEnded }: ScopePattern, namespace: Namespace): ScopePattern | undefined {
  const depth = namespace.segments.length;
  // Each segment that lies within the namespace must name it, and is then no wider than it.
  const fixed = openEnded ? segments.slice(0, -1) : segments;
  const inside = fixed.slice(0, depth);
  if (!inside.every((segment, index) => segmentMatches(segment, namespace.segments[index] ?? '')))
    return undefined;
  const below = segments.slice(depth);
  if (below.length === 0 && !openEnded) return undefined;
  const tail = below.length === 0 ? segments.slice(-1) : below;
  const cut = [...namespace.segments.map(literalSegment), ...tail];
  return shortestMatch(cut) > MAX_PATH_LENGTH ? undefined : joinScopeSegments(cut);
}

/** Characters in the shortest path that the segments name. */
function shortestMatch(segments: readonly Segment[]): number {
  const lengths = segments.map((segment) =>
    segment.kind === 'glob' ? segment.text.length - 1 : segment.text.length,
  );
  return lengths.reduce((sum, length) => sum + length, segments.length - 1);
}
