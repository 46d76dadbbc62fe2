/** The rules for a principal (contract section 2): what it may be called, and what it may be granted. */

import { UUID } from '../../domain/formats/uuid.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { parseAgentPolicy, parsePolicy } from '../../domain/policies/policy.ts';
import { mayBeStoredName, readPrincipalName } from '../../domain/principals/principal-name.ts';
import { effectiveScopes } from '../../domain/scopes/effective-scopes.ts';
import { WritError } from '../../errors.ts';
import type { AgentProfile } from './ports.ts';

export interface RequestedGrants extends Pick<AgentProfile, 'role' | 'allowedScopes' | 'allowedNamespaces'> {
  readonly policy: JsonValue;
}

/** Whether it can be the id or the name of a principal. */
export const mayNamePrincipal = (idOrName: string): boolean =>
  UUID.test(idOrName) || mayBeStoredName(idOrName);

/** The name as it is kept. Throws `VALIDATION_ERROR`. */
export function requireName(given: string): string {
  const read = readPrincipalName(given);
  if (read.ok) return read.name;
  throw new WritError('VALIDATION_ERROR', read.issue, { details: { pointer: '/name' } });
}

/**
 * Scopes, namespaces and policy bind agents only; on another role they would be ignored, so they are refused.
 * Throws `VALIDATION_ERROR`, `INVALID_SCOPE`, `INVALID_PATH` or `INVALID_POLICY`.
 */
export function validateGrants(grant: RequestedGrants): void {
  const given = [
    ['/allowed_scopes', grant.allowedScopes],
    ['/allowed_namespaces', grant.allowedNamespaces],
    ['/policy', grant.policy],
  ].find(([, value]) => value !== null);
  if (grant.role !== 'agent' && given !== undefined) {
    throw new WritError(
      'VALIDATION_ERROR',
      'Only role agent takes allowed_scopes, allowed_namespaces and policy.',
      {
        details: { pointer: given[0] },
      },
    );
  }
  const effective = effectiveScopes(grant);
  if (!effective.ok) {
    const what = effective.code === 'INVALID_SCOPE' ? 'scope' : 'namespace';
    throw new WritError(effective.code, `${effective.pointer.slice(1)} is not a ${what}.`, {
      details: { pointer: effective.pointer },
    });
  }
  if (grant.policy === null) return;
  const policy = parseAgentPolicy(grant.policy);
  if (policy.ok) return;
  const note = parsePolicy(grant.policy).ok ? ' (an agent’s policy takes allow, deny and allowed_tools)' : '';
  throw new WritError('INVALID_POLICY', `policy${policy.pointer}: ${policy.message}${note}`, {
    details: { pointer: `/policy${policy.pointer}` },
  });
}

export const noSuchAgent = (id: string): WritError =>
  new WritError('NOT_FOUND', 'There is no such agent.', { about: { type: 'agent', id } });

export const noSuchKey = (id: string): WritError =>
  new WritError('NOT_FOUND', 'There is no such key.', { about: { type: 'api_key', id } });
