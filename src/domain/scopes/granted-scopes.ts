/** What a stored principal may do with secrets (contract section 2): an admin everything, an approver nothing. */

import type { Role } from '../principals/role.ts';
import { effectiveScopes } from './effective-scopes.ts';
import { NAMESPACES_SCOPE, parseScope, type Scope } from './scope.ts';

export interface StoredGrant {
  readonly role: Role;
  readonly allowedScopes: readonly string[] | null;
  readonly allowedNamespaces: readonly string[] | null;
}

/** Throws a plain error when a stored scope does not parse: it was validated when it was written. */
export function grantedScopes(grant: StoredGrant): readonly Scope[] {
  if (grant.role === 'approver') return [];
  if (grant.role === 'admin') {
    const everything = parseScope('secrets:*:*');
    return everything.ok ? [everything.scope, NAMESPACES_SCOPE] : [];
  }
  const effective = effectiveScopes(grant);
  if (!effective.ok) throw new Error(`a stored scope does not parse: ${effective.pointer}`);
  return effective.scopes;
}
