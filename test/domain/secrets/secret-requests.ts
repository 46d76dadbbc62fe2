/** Requests for secrets as tests ask them: a live token from an allowed address, and what differs. */

import assert from 'node:assert/strict';
import {
  type AddressBlock,
  parseAddressBlocks,
  parseClientAddress,
} from '../../../src/domain/network/ip-address.ts';
import type { SecretAction } from '../../../src/domain/scopes/scope.ts';
import {
  type AccessAttempt,
  authorizeSecretOperation,
  type PresentedState,
  type SecretOperation,
} from '../../../src/domain/secrets/secret-authorization.ts';
import { aNamespace, aPath, aScope } from '../scopes/scope-universe.ts';

export const HOME = '192.0.2.7';
export const ELSEWHERE = '198.51.100.7';

export function blocks(...list: string[]): readonly AddressBlock[] {
  const parsed = parseAddressBlocks(list);
  assert.ok(parsed.ok, String(list));
  return parsed.blocks;
}

export interface Asked {
  readonly operation: SecretOperation;
  readonly tokenScopes?: readonly string[];
  /** `null`: the credential has no owner beside itself, as an API key has not. */
  readonly ownerScopes?: readonly string[] | null;
  readonly allowed?: readonly AddressBlock[] | null;
  readonly state?: PresentedState;
  readonly namespacesTakeScope?: boolean;
  readonly from?: string;
}

/** A live token from an allowed address; a test says what differs. */
export function aRequest(asked: Asked): AccessAttempt {
  const { tokenScopes = [], ownerScopes = ['secrets:*:*', 'namespaces:read'] } = asked;
  const own = tokenScopes.map(aScope);
  const client = parseClientAddress('from' in asked ? asked.from : HOME);
  return {
    operation: asked.operation,
    grant: {
      scopeLists: ownerScopes === null ? [own] : [own, ownerScopes.map(aScope)],
      restrictions: { allowedAddresses: asked.allowed === undefined ? blocks(`${HOME}/32`) : asked.allowed },
      state: asked.state ?? 'live',
      namespacesTakeScope: asked.namespacesTakeScope ?? true,
    },
    client: { clientAddress: client.ok ? client.address : undefined },
  };
}

export const decide = (asked: Asked) => authorizeSecretOperation(aRequest(asked));

/** Undefined where it is allowed. */
export function refusal(asked: Asked): string | undefined {
  const decision = decide(asked);
  return decision.allowed ? undefined : decision.code;
}

export const toUse = (action: SecretAction, path: string): SecretOperation => ({
  kind: 'use',
  action,
  secret: aPath(path),
});
export const toList = (namespace: string): SecretOperation => ({
  kind: 'list',
  namespace: aNamespace(namespace),
});
export const toReadOrList = (path: string): SecretOperation => ({
  kind: 'read-or-list',
  secret: aPath(path),
  namespace: aNamespace(path),
});
export const LIST_NAMESPACES: SecretOperation = { kind: 'list-namespaces' };
export const INTROSPECT: SecretOperation = { kind: 'introspect' };
export const NAMED_BY_BODY: SecretOperation = { kind: 'named-by-body' };
export const MALFORMED: SecretOperation = { kind: 'malformed-path' };
