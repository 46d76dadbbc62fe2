/**
 * What every change of secrets shares (contract sections 5.4, 6): one transaction that judges the credential, locks the
 * secrets, lets rules decide over what is there, and writes the change with its event. What a rule refuses is undone
 * whole, the use of a limited token included.
 */

import type { SecretPath } from '../../domain/scopes/secret-path.ts';
import { mayUse } from '../../domain/secrets/secret-authorization.ts';
import { WritError } from '../../errors.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { Alarm, AuditEvent, AuditTrail, EventType, RequestContext } from '../audit/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { secretEvent } from './authorize-secret-request.ts';
import type { AuditResource, AuthorizedRequest, SecretRequester } from './authorized-request.ts';
import type { CanaryAlarms } from './canary-alarms.ts';
import type { LockedSecret, SecretChange, SecretRecord, SecretStore } from './ports.ts';
import { denialOf, refuseSecret } from './refuse-secret.ts';

export interface ChangeSecretsDeps {
  readonly store: SecretStore;
  readonly newId: () => string;
  readonly denialLog: DenialLog;
  readonly canaries: CanaryAlarms;
  readonly trail: Pick<AuditTrail, 'raise'>;
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
        const written = secretEvent(deps.newId(), requester, context, event);
        return {
          changes,
          event: written,
          alarms: alarmsOf(deps.canaries, { stored, changes, event: written }),
        };
      });
      return records === 'not_granted' ? RETRY : records;
    } catch (error) {
      await raiseConflict(deps, { requester, paths: request.paths, context, error });
      return refuseSecret(deps, requester, context, { error, resource, paths: request.paths });
    }
  });
}

/** Of each canary that is changed, and of each secret that becomes one or is none any more. */
function alarmsOf(
  canaries: CanaryAlarms,
  {
    stored,
    changes,
    event,
  }: {
    readonly stored: ReadonlyMap<string, LockedSecret>;
    readonly changes: readonly SecretChange[];
    readonly event: AuditEvent;
  },
): readonly Alarm[] {
  const there = [...stored.values()];
  const touched = there.filter(({ canary }) => canary).map((secret) => canaries.alarm(secret, event));
  const changed = changes.flatMap((change) => {
    if (change.kind === 'delete') return [];
    const before = there.find(({ id }) => id === change.id);
    const { canary } = change.attributes;
    const secret = change.kind === 'create' ? change : before;
    if (secret === undefined || canary === (before?.canary ?? false)) return [];
    return [canaries.changed(secret, canary, event)];
  });
  return [...touched, ...changed];
}

/** A conflict is no refusal that is on record; of a canary it is a touch all the same. */
async function raiseConflict(
  deps: ChangeSecretsDeps,
  refused: {
    readonly requester: SecretRequester;
    readonly paths: readonly string[];
    readonly context: RequestContext;
    readonly error: unknown;
  },
): Promise<void> {
  const { requester, paths, context, error } = refused;
  if (!(error instanceof WritError) || error.kind !== 'conflict') return;
  const event = secretEvent(deps.newId(), requester, context, {
    type: denialOf(requester),
    resource: { type: 'secret', id: 'unknown' },
    metadata: { code: error.code },
  });
  await deps.trail.raise(await deps.canaries.ofPaths(event, paths));
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
    // It named all of them.
    paths: asked.secrets.map(({ path }) => path),
  });
}
