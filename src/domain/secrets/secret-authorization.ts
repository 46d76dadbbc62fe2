/**
 * May this credential do this with this secret? The checks of contract section 5.4 that precede a request's body, in
 * their order: the first that refuses is the answer, so a caller learns nothing that a later check knows.
 */

import { type Address, type AddressBlock, addressAllowed } from '../network/ip-address.ts';
import { NAMESPACES_SCOPE, type Scope, type SecretAction, scopesAllow } from '../scopes/scope.ts';
import { scopeCovers, scopesAllowListing, scopesCover } from '../scopes/scope-coverage.ts';
import type { Namespace, SecretPath } from '../scopes/secret-path.ts';

/** What a request wants, as far as it can be known before its body. */
export type SecretOperation =
  | { readonly kind: 'use'; readonly action: SecretAction; readonly secret: SecretPath }
  | { readonly kind: 'list'; readonly namespace: Namespace }
  /** `GET` of two or more segments: one secret, or a nested namespace, which some paths are too long to be. */
  | { readonly kind: 'read-or-list'; readonly secret: SecretPath; readonly namespace: Namespace | undefined }
  | { readonly kind: 'list-namespaces' }
  /** What a token is: an answer that a dead one is owed as well. */
  | { readonly kind: 'introspect' }
  /** The body names the path, so the scope is judged after it. */
  | { readonly kind: 'named-by-body' }
  | { readonly kind: 'malformed-path' };

export type TokenState = 'live' | 'revoked' | 'expired' | 'exhausted';

/** What a known credential may do with secrets. */
export interface SecretGrant {
  /** Every one of these lists must allow: a token's own scopes, and the present ones of its owner. Never none. */
  readonly scopeLists: readonly [readonly Scope[], ...(readonly Scope[])[]];
  /** `null`: from any address. */
  readonly allowedAddresses: readonly AddressBlock[] | null;
  readonly state: TokenState;
  /** Whether listing namespaces takes `namespaces:read`: a token's does, an API key's does not. */
  readonly namespacesTakeScope: boolean;
}

export interface SecretRequest {
  readonly wish: SecretOperation;
  readonly grant: SecretGrant;
  /** Undefined where none could be read. */
  readonly clientAddress: Address | undefined;
}

export type SecretRequestRefusal =
  | 'INVALID_PATH'
  | 'IP_NOT_ALLOWED'
  | 'TOKEN_REVOKED'
  | 'TOKEN_EXPIRED'
  | 'TOKEN_EXHAUSTED'
  | 'SCOPE_DENIED';

type Check = (request: SecretRequest) => SecretRequestRefusal | undefined;

/**
 * Before these: rate limit, and whether the credential is known at all. After these: the body, existence, tier, and
 * the guarded write, which judges everything again.
 */
const CHECKS: readonly Check[] = [pathIsWellFormed, addressIsAllowed, tokenIsLive, scopesAllowWish];

/** Undefined when nothing refuses. */
export function authorizeSecretOperation(request: SecretRequest): SecretRequestRefusal | undefined {
  for (const check of CHECKS) {
    const refusal = check(request);
    if (refusal !== undefined) return refusal;
  }
  return undefined;
}

/** Whether every list of scopes allows the action on the path. */
export function mayUse(grant: SecretGrant, action: SecretAction, secret: SecretPath): boolean {
  return grant.scopeLists.every((scopes) => scopesAllow(scopes, action, secret));
}

/** Whether every list of scopes covers all names in the namespace. */
export function mayList(grant: SecretGrant, namespace: Namespace | undefined): boolean {
  return namespace !== undefined && grant.scopeLists.every((scopes) => scopesAllowListing(scopes, namespace));
}

function pathIsWellFormed({ wish }: SecretRequest): SecretRequestRefusal | undefined {
  return wish.kind === 'malformed-path' ? 'INVALID_PATH' : undefined;
}

/** Whether or not the token is still live: from elsewhere nobody learns which. */
function addressIsAllowed({ grant, clientAddress }: SecretRequest): SecretRequestRefusal | undefined {
  return addressAllowed(clientAddress, grant.allowedAddresses) ? undefined : 'IP_NOT_ALLOWED';
}

function tokenIsLive({ wish, grant }: SecretRequest): SecretRequestRefusal | undefined {
  if (wish.kind === 'introspect') return undefined;
  switch (grant.state) {
    case 'revoked':
      return 'TOKEN_REVOKED';
    case 'expired':
      return 'TOKEN_EXPIRED';
    case 'exhausted':
      return 'TOKEN_EXHAUSTED';
    case 'live':
      return undefined;
  }
}

/** The same answer whether the secret exists or not. */
function scopesAllowWish({ wish, grant }: SecretRequest): SecretRequestRefusal | undefined {
  return isWithinScopes(wish, grant) ? undefined : 'SCOPE_DENIED';
}

function isWithinScopes(wish: SecretOperation, grant: SecretGrant): boolean {
  switch (wish.kind) {
    case 'use':
      return mayUse(grant, wish.action, wish.secret);
    case 'list':
      return mayList(grant, wish.namespace);
    case 'read-or-list':
      return mayUse(grant, 'read', wish.secret) || mayList(grant, wish.namespace);
    case 'list-namespaces':
      return !grant.namespacesTakeScope || mayListNamespaces(grant);
    case 'introspect':
    case 'named-by-body':
    case 'malformed-path':
      return true;
  }
}

/** The token must name it; its owner must be one who could ask for it now. */
function mayListNamespaces({ scopeLists }: SecretGrant): boolean {
  const isNamed = scopeLists[0].some((scope) => scopeCovers(scope, NAMESPACES_SCOPE));
  return isNamed && scopeLists.every((scopes) => scopesCover(scopes, NAMESPACES_SCOPE));
}
