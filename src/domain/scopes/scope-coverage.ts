/**
 * Whether scopes contain another scope (contract section 5.2), decided on the structure of the patterns: a spelling
 * never makes a scope wider or narrower than the set of paths it names.
 */

import { ANY_SEGMENT, literalSegment, type Segment, segmentMatches } from '../formats/segment-pattern.ts';
import { NAMESPACES_SCOPE, type Scope, SECRET_ACTIONS, type SecretsScope } from './scope.ts';
import { joinScopeSegments, type ScopePattern } from './scope-pattern.ts';
import type { Namespace } from './secret-path.ts';

/** Everything that `child` allows, `parent` allows by itself. */
export function scopeCovers(parent: Scope, child: Scope): boolean {
  if (parent.kind === 'namespaces' || child.kind === 'namespaces') return parent.kind === child.kind;
  if (parent.action !== '*' && parent.action !== child.action) return false;
  return patternCovers(parent.pattern, child.pattern);
}

/**
 * Each action of `child` is covered by a single one of the parents; a child spread over two patterns of the same
 * action is refused. Whoever holds a read scope covers `namespaces:read` (contract section 5.1).
 */
export function scopesCover(parents: readonly Scope[], child: Scope): boolean {
  const coveredByOne = (wanted: Scope): boolean => parents.some((parent) => scopeCovers(parent, wanted));
  if (child.kind === 'namespaces') return coveredByOne(NAMESPACES_SCOPE) || parents.some(holdsRead);
  if (child.action !== '*') return coveredByOne(child);
  return SECRET_ACTIONS.every((action) => coveredByOne({ ...child, action }));
}

/** What listing takes: it shows every name in the namespace, so a scope over all of it. */
export function listingScope(namespace: Namespace): SecretsScope {
  return namespaceScope('read', namespace);
}

/** `secrets:<action>:<ns>/*`: everything below a namespace. */
export function namespaceScope(action: SecretsScope['action'], namespace: Namespace): SecretsScope {
  const pattern = joinScopeSegments([...namespace.segments.map(literalSegment), ANY_SEGMENT]);
  return { kind: 'secrets', action, pattern };
}

/** Whether it allows reading anything. */
export function holdsRead(scope: Scope): boolean {
  return scope.kind === 'secrets' && (scope.action === 'read' || scope.action === '*');
}

function patternCovers(parent: ScopePattern, child: ScopePattern): boolean {
  const [wanted, given] = [parent.segments.length, child.segments.length];
  if (parent.openEnded ? given < wanted : given !== wanted) return false;
  // Beyond the last segment of an open-ended parent everything is covered, an open end of the child's included.
  const compared = parent.openEnded ? parent.segments.slice(0, -1) : parent.segments;
  return compared.every((segment, index) => segmentCovers(segment, child.segments[index]));
}

function segmentCovers(parent: Segment, child: Segment | undefined): boolean {
  if (child === undefined) return false;
  if (parent.kind === 'any') return true;
  // Also where it ends the child open: nothing but a lone `*` of the parent's takes several segments.
  if (child.kind === 'any') return false;
  if (child.kind === 'literal') return segmentMatches(parent, child.text);
  return (
    parent.kind === 'glob' && child.prefix.startsWith(parent.prefix) && child.suffix.endsWith(parent.suffix)
  );
}
