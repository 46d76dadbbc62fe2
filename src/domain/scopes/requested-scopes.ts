/**
 * The scopes that a new token shall have (contract section 5.1): parsed, vendor names put into scopes, and each
 * covered by what its principal holds. Nothing is widened, cut or dropped: a scope is granted as asked or refused.
 */

import { vendorScopeAction } from './effective-scopes.ts';
import { distinctScopes, isTextOf, parseScope, type Scope, scopesForAction } from './scope.ts';
import { scopesCover } from './scope-coverage.ts';

export type RequestedScopes =
  | { readonly ok: true; readonly scopes: readonly Scope[] }
  /** `index` is the place of the scope that was refused in the request. */
  | { readonly ok: false; readonly code: 'INVALID_SCOPE' | 'SCOPE_DENIED'; readonly index: number };

/**
 * Without duplicates, in the order asked. A vendor name stands for the holder's own scopes as far as they hold that
 * action. What does not parse is refused before anything that is not covered.
 */
export function requestScopes(texts: readonly string[], held: readonly Scope[]): RequestedScopes {
  const scopes: Scope[] = [];
  let denied: number | undefined;
  for (const [index, text] of texts.entries()) {
    const action = vendorScopeAction(text);
    if (action !== undefined) {
      const stoodFor = scopesForAction(held, action);
      if (stoodFor.length === 0) denied ??= index;
      scopes.push(...stoodFor);
      continue;
    }
    // Most ask for what they hold as they hold it: reading that anew and comparing it was 2 % of issuing.
    const same = held.find((scope) => isTextOf(scope, text));
    const parsed = same === undefined ? parseScope(text) : ({ ok: true, scope: same } as const);
    if (!parsed.ok) return { ok: false, code: 'INVALID_SCOPE', index };
    if (same === undefined && !scopesCover(held, parsed.scope)) denied ??= index;
    scopes.push(parsed.scope);
  }
  if (denied !== undefined) return { ok: false, code: 'SCOPE_DENIED', index: denied };
  return { ok: true, scopes: distinctScopes(scopes) };
}

/** The paths that scopes name without any `*`: who names one secret means that one. */
export function literalPaths(scopes: readonly Scope[]): readonly string[] {
  const paths = new Set<string>();
  for (const scope of scopes) {
    if (scope.kind !== 'secrets') continue;
    if (scope.pattern.segments.every(({ kind }) => kind === 'literal')) paths.add(scope.pattern.text);
  }
  return [...paths];
}
