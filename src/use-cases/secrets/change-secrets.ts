/**
 * What every change of secrets shares (contract sections 5.4, 6): one transaction that judges the credential, locks the
 * secrets, lets rules decide over what is there, and writes the change with its event. What a rule refuses is undone
 * whole, the use of a limited token included.
 */

import type { SecretPath } from '../../domain/scopes/secret-path.ts';
import { mayUse } from '../../domain/secrets/secret-authorization.ts';
import { WritError } from '../../errors.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { EventType, RequestContext } from '../audit/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { refuseSecret, secretEvent } from './authorize-secret-request.ts';
import type { AuditResource, AuthorizedRequest, SecretRequester } from './authorized-request.ts';
import type { LockedSecret, SecretChange, SecretRecord, SecretStore } from './ports.ts';

export interface ChangeSecretsDeps {
  readonly store: SecretStore;
  readonly newId: () => string;
  readonly denialLog: DenialLog;
}

export interface SecretsToChange {
  readonly authorized: AuthorizedRequest;
  readonly secrets: readonly SecretPath[];
  /** What a refusal is about. */
  readonly resource: AuditResource;
  readonly context: RequestContext;
}

/** The rules: pure over what is locked; what they throw undoes everything. */
export type DecideChanges = (
  stored: ReadonlyMap<string, LockedSecret>,
  requester: SecretRequester,
) => {
  readonly changes: readonly SecretChange[];
  readonly event: {
    readonly type: EventType;
    readonly resource: AuditResource;
    readonly metadata: Readonly<Record<string, unknown>>;
  };
};

/** Resolves with the records of what was created or got a version. Starts over when something is not as it was read. */
export function changeSecrets(
  deps: ChangeSecretsDeps,
  { authorized: first, secrets, resource, context }: SecretsToChange,
  decide: DecideChanges,
): Promise<readonly SecretRecord[]> {
  return retryGuardedWrite(async (isFirst) => {
    const { requester, operation } = isFirst ? first : await first.reauthorize();
    // Where the body named the paths, no check before it could judge them.
    if (operation.kind === 'named-by-body') await requireWriteScope(deps, { requester, secrets, context });
    const request = { guard: requester.guard, paths: secrets.map((secret) => secret.path) };
    try {
      const records = await deps.store.change(request, (stored) => {
        const { changes, event } = decide(stored, requester);
        return { changes, event: secretEvent(deps.newId(), requester, context, event) };
      });
      return records === 'not_granted' ? RETRY : records;
    } catch (error) {
      return refuseSecret(deps, requester, context, { error, resource });
    }
  });
}

async function requireWriteScope(
  deps: ChangeSecretsDeps,
  asked: {
    readonly requester: SecretRequester;
    readonly secrets: readonly SecretPath[];
    readonly context: RequestContext;
  },
): Promise<void> {
  const denied = asked.secrets.find((secret) => !mayUse(asked.requester.grant, 'write', secret));
  if (denied === undefined) return;
  await refuseSecret(deps, asked.requester, asked.context, {
    error: new WritError('SCOPE_DENIED', `This credential’s scopes do not allow writing ${denied.path}.`),
    resource: { type: 'secret', id: denied.path },
  });
}
