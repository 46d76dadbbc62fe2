/** Changing one secret (contract section 6): create, upsert, rotate, delete. */

import type { SecretPath } from '../../domain/scopes/secret-path.ts';
import { WritError } from '../../errors.ts';
import type { EventType, RequestContext } from '../audit/ports.ts';
import type { AuditResource, AuthorizedRequest } from './authorized-request.ts';
import { type ChangeSecretsDeps, changeSecrets, type SecretsToChange } from './change-secrets.ts';
import type { SecretRecord } from './ports.ts';
import {
  buildCreate,
  buildVersion,
  type Creation,
  type NewVersion,
  noSuchSecret,
  requireMayPlace,
  requireNoLowerTier,
  requireTier,
  requireVersion,
  type SealingDeps,
  type SecretInput,
  validateInput,
} from './secret-rules.ts';

export interface WriteSecretsDeps extends ChangeSecretsDeps, SealingDeps {
  /** 32 random bytes as base64url. */
  readonly randomValue: () => string;
}

export interface SecretToChange {
  readonly authorized: AuthorizedRequest;
  readonly secret: SecretPath;
  /** The version that must be the newest; undefined: whichever is. */
  readonly expectedVersion: number | undefined;
  readonly context: RequestContext;
}

export interface SecretToWrite extends SecretToChange {
  readonly input: SecretInput;
}

/** All reject with `APPROVAL_REQUIRED` where the stored tier is too high, and with `VERSION_CONFLICT`. */
export interface WriteSecrets {
  /** Rejects with `ALREADY_EXISTS`, also over an expired one; with `SCOPE_DENIED`, for the body names the path. */
  create(command: SecretToWrite): Promise<SecretRecord>;
  /** Rejects with `FORBIDDEN` where the tier would be lowered. */
  put(command: SecretToWrite): Promise<{ readonly record: SecretRecord; readonly created: boolean }>;
  /** A new version with `value`, else with 32 random bytes. Rejects with `SECRET_NOT_FOUND`. */
  rotate(command: SecretToChange & { readonly value: string | undefined }): Promise<SecretRecord>;
  /** Every version and its key go; an expired one too. Rejects with `SECRET_NOT_FOUND`. */
  delete(command: SecretToChange): Promise<void>;
}

export function createWriteSecrets(deps: WriteSecretsDeps): WriteSecrets {
  return {
    create: async (command) => {
      const { secret, input, expectedVersion } = command;
      validateInput(input);
      const records = await changeSecrets(deps, targetOf(command), (stored, requester) => {
        requireMayPlace(input, requester);
        if (stored.has(secret.path)) throw new WritError('ALREADY_EXISTS', 'There is a secret at this path.');
        requireVersion(undefined, expectedVersion);
        const change = buildCreate(deps, secret, input);
        return { changes: [change], event: eventOf('secret.created', secret, { ...change, version: 1 }) };
      });
      return only(records);
    },

    put: async (command) => {
      const { secret, input, expectedVersion } = command;
      validateInput(input);
      let created = false;
      const records = await changeSecrets(deps, targetOf(command), (stored, requester) => {
        requireMayPlace(input, requester);
        const there = stored.get(secret.path);
        if (there !== undefined) {
          requireTier(requester, there);
          requireNoLowerTier(there, input, requester);
        }
        requireVersion(there, expectedVersion);
        created = there === undefined;
        const change: Creation | NewVersion =
          there === undefined ? buildCreate(deps, secret, input) : buildVersion(deps, there, input);
        const type = created ? 'secret.created' : 'secret.updated';
        return { changes: [change], event: eventOf(type, secret, { version: 1, ...change }) };
      });
      return { record: only(records), created };
    },

    rotate: async (command) => {
      const { secret, expectedVersion } = command;
      const input = { value: command.value ?? deps.randomValue() };
      validateInput(input);
      const records = await changeSecrets(deps, targetOf(command), (stored, requester) => {
        const there = stored.get(secret.path);
        if (there === undefined || there.expired) throw absent(expectedVersion);
        requireTier(requester, there);
        requireVersion(there, expectedVersion);
        const change = buildVersion(deps, there, input);
        return { changes: [change], event: eventOf('secret.rotated', secret, change) };
      });
      return only(records);
    },

    delete: async (command) => {
      const { secret, expectedVersion } = command;
      await changeSecrets(deps, targetOf(command), (stored, requester) => {
        const there = stored.get(secret.path);
        if (there === undefined) throw absent(expectedVersion);
        requireTier(requester, there);
        requireVersion(there, expectedVersion);
        const change = { kind: 'delete', id: there.id, namespace: secret.namespace } as const;
        return { changes: [change], event: eventOf('secret.deleted', secret, there) };
      });
    },
  };
}

/** Whoever names a version is told that it is not there; whoever names none, that nothing is. */
function absent(expectedVersion: number | undefined): WritError {
  requireVersion(undefined, expectedVersion);
  return noSuchSecret();
}

const resourceOf = ({ path }: SecretPath): AuditResource => ({ type: 'secret', id: path });

function targetOf({ authorized, secret, context }: SecretToChange): SecretsToChange {
  return { authorized, secrets: [secret], resource: resourceOf(secret), context };
}

function eventOf(type: EventType, secret: SecretPath, { id, version }: { id: string; version: number }) {
  return { type, resource: resourceOf(secret), metadata: { secret_id: id, version } };
}

function only(records: readonly SecretRecord[]): SecretRecord {
  const [record] = records;
  if (record === undefined) throw new Error('a written secret has no record');
  return record;
}
