/**
 * May this credential do this with this secret? The checks of contract section 5.4 that precede a request's body, in
 * their order: the first that refuses is the answer, so a caller learns nothing that a later check knows. What is
 * allowed is said once, so that nothing downstream judges a scope again.
 */

import { NAMESPACES_SCOPE, type Scope, type SecretAction, scopesAllow } from '../scopes/scope.ts';
import { holdsRead, listingScope, scopeCovers, scopesCover } from '../scopes/scope-coverage.ts';
import type { Namespace, SecretPath } from '../scopes/secret-path.ts';
import { type AccessRestrictions, type ClientFacts, restrictionDenial } from './token-restrictions.ts';

/** What a request is about, as far as it can be known before its body. */
export type SecretOperation =
  | SimpleOperation
  /** `GET` of two or more segments: one secret, or a nested namespace, which some paths are too long to be. */
  | { readonly kind: 'read-or-list'; readonly secret: SecretPath; readonly namespace: Namespace | undefined }
  | { readonly kind: 'malformed-path' };

/** What a request was found to be allowed. */
export type AuthorizedOperation =
  | SimpleOperation
  /** Where there is no such secret: `orList`, the namespace of its name, if that may be listed. */
  | { readonly kind: 'read'; readonly secret: SecretPath; readonly orList: Namespace | undefined };

/** Allowed as it is, or not at all. */
type SimpleOperation =
  | { readonly kind: 'use'; readonly action: SecretAction; readonly secret: SecretPath }
  | { readonly kind: 'list'; readonly namespace: Namespace }
  | { readonly kind: 'list-namespaces' }
  /** Whatever is due, in all namespaces that may be listed. */
  | { readonly kind: 'list-due' }
  /** What a token is: an answer that a dead one is owed as well. */
  | { readonly kind: 'introspect' }
  /** The body names the path, so the scope is judged after it. */
  | { readonly kind: 'named-by-body' };

export type TokenState = 'live' | 'revoked' | 'expired' | 'exhausted';

/** Of one that is presented: a stop of its owner ends nothing, and lets nothing through. */
export type PresentedState = TokenState | 'stopped';

/** What a known credential may do with secrets. */
export interface SecretGrant {
  /** Every one of these lists must allow: a token's own scopes, and the present ones of its owner. Never none. */
  readonly scopeLists: readonly [readonly Scope[], ...(readonly Scope[])[]];
  readonly restrictions: AccessRestrictions;
  readonly state: PresentedState;
  /** Whether listing namespaces takes `namespaces:read`: a token's does, an API key's does not. */
  readonly namespacesTakeScope: boolean;
}

/** An operation, the credential it is tried with, and where from. */
export interface AccessAttempt {
  readonly operation: SecretOperation;
  readonly grant: SecretGrant;
  readonly client: ClientFacts;
}

export type AccessDenial =
  | 'INVALID_PATH'
  | 'IP_NOT_ALLOWED'
  | 'TOKEN_REVOKED'
  | 'TOKEN_EXPIRED'
  | 'TOKEN_EXHAUSTED'
  | 'EMERGENCY_STOP'
  | 'SCOPE_DENIED';

export type AccessDecision =
  | { readonly allowed: true; readonly operation: AuthorizedOperation }
  | { readonly allowed: false; readonly code: AccessDenial };

/**
 * Before these checks: rate limit, and whether the credential is known at all. After them: the body, existence, tier,
 * and the guarded write, which judges everything again.
 */
export function authorizeSecretOperation({ operation, grant, client }: AccessAttempt): AccessDecision {
  if (operation.kind === 'malformed-path') return denied('INVALID_PATH');
  // Whether or not the token is still live: from elsewhere nobody learns which.
  const restricted = restrictionDenial(grant.restrictions, client);
  if (restricted !== undefined) return denied(restricted);
  if (grant.state !== 'live' && operation.kind !== 'introspect') return denied(ENDED[grant.state]);
  // The same answer whether the secret exists or not.
  const authorized = withinScopes(operation, grant);
  return authorized === undefined ? denied('SCOPE_DENIED') : { allowed: true, operation: authorized };
}

const denied = (code: AccessDenial): AccessDecision => ({ allowed: false, code });

const ENDED = {
  revoked: 'TOKEN_REVOKED',
  expired: 'TOKEN_EXPIRED',
  exhausted: 'TOKEN_EXHAUSTED',
  stopped: 'EMERGENCY_STOP',
} as const satisfies Record<Exclude<PresentedState, 'live'>, AccessDenial>;

/** Whether every list of scopes allows the action on the path. */
export function mayUse(grant: SecretGrant, action: SecretAction, secret: SecretPath): boolean {
  return grant.scopeLists.every((scopes) => scopesAllow(scopes, action, secret));
}

/** Whether every list of scopes covers all names in the namespace. */
export function mayList(grant: SecretGrant, namespace: Namespace | undefined): boolean {
  if (namespace === undefined) return false;
  const listing = listingScope(namespace);
  return grant.scopeLists.every((scopes) => scopesCover(scopes, listing));
}

function withinScopes(
  operation: Exclude<SecretOperation, { kind: 'malformed-path' }>,
  grant: SecretGrant,
): AuthorizedOperation | undefined {
  switch (operation.kind) {
    case 'use':
      return mayUse(grant, operation.action, operation.secret) ? operation : undefined;
    case 'list':
      return mayList(grant, operation.namespace) ? operation : undefined;
    case 'read-or-list': {
      const { secret } = operation;
      const namespace = mayList(grant, operation.namespace) ? operation.namespace : undefined;
      if (mayUse(grant, 'read', secret)) return { kind: 'read', secret, orList: namespace };
      return namespace === undefined ? undefined : { kind: 'list', namespace };
    }
    case 'list-namespaces':
      return !grant.namespacesTakeScope || mayListNamespaces(grant) ? operation : undefined;
    case 'list-due':
      return grant.scopeLists.every((scopes) => scopes.some(holdsRead)) ? operation : undefined;
    case 'introspect':
    case 'named-by-body':
      return operation;
  }
}

/** The token must name it; its owner must be one who could ask for it now. */
function mayListNamespaces({ scopeLists }: SecretGrant): boolean {
  const isNamed = scopeLists[0].some((scope) => scopeCovers(scope, NAMESPACES_SCOPE));
  return isNamed && scopeLists.every((scopes) => scopesCover(scopes, NAMESPACES_SCOPE));
}
