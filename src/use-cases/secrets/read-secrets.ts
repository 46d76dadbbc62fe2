/**
 * Reading (contract sections 5.2, 5.4, 6): one secret with its value, or the names in a namespace. Decryption comes
 * before the guarded write and the answer after its commit, so only an acknowledged use releases anything.
 */

import type { Namespace } from '../../domain/scopes/secret-path.ts';
import { WritError } from '../../errors.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { RequestContext } from '../audit/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { inPortions, takePage } from '../take-page.ts';
import { secretEvent } from './authorize-secret-request.ts';
import type { AuthorizedRequest } from './authorized-request.ts';
import type { CanaryAlarms } from './canary-alarms.ts';
import type {
  FoundSecret,
  NamespaceCount,
  SecretCipher,
  SecretReader,
  SecretRecord,
  SecretUses,
} from './ports.ts';
import { refuseSecret } from './refuse-secret.ts';
import { noSuchSecret, validateTier } from './secret-rules.ts';
import { namespacesWithin } from './visible-namespaces.ts';

export interface SecretPage {
  /** Whether the request pages. */
  readonly isAsked: boolean;
  readonly limit: number;
  /** The key after which the page begins. */
  readonly after: string | undefined;
  /** The bytes of an item in the answer. */
  readonly sizeOf: (item: SecretRecord | NamespaceCount) => number;
}

export interface SecretList {
  readonly namespace: string;
  readonly items: readonly SecretRecord[];
  /** Whether there is more behind the last item. */
  readonly more: boolean;
}

export interface OpenedSecret {
  readonly record: SecretRecord;
  readonly version: number;
  readonly value: string;
}

export type ReadOutcome =
  | { readonly kind: 'secret'; readonly opened: OpenedSecret }
  | { readonly kind: 'list'; readonly list: SecretList };

export interface ReadSecretsDeps {
  readonly reader: SecretReader;
  readonly uses: SecretUses;
  readonly cipher: SecretCipher;
  readonly newId: () => string;
  readonly denialLog: DenialLog;
  readonly canaries: CanaryAlarms;
}

export interface ReadSecrets {
  /**
   * The secret or the list that an authorized `GET` means. Rejects with `SECRET_NOT_FOUND`, `APPROVAL_REQUIRED`,
   * `INTEGRITY_ERROR`, or with `VALIDATION_ERROR` where a page is asked of a secret or a version for a list.
   */
  read(authorized: AuthorizedRequest, page: SecretPage, context: RequestContext): Promise<ReadOutcome>;
  listNamespaces(
    authorized: AuthorizedRequest,
    page: SecretPage,
    context: RequestContext,
  ): Promise<{
    readonly items: readonly NamespaceCount[];
    readonly more: boolean;
  }>;
}

export function createReadSecrets(deps: ReadSecretsDeps): ReadSecrets {
  return {
    read: (first, page, context) =>
      retryGuardedWrite(async (isFirst) => {
        const authorized = isFirst ? first : await first.reauthorize();
        const { operation, found } = authorized;
        if (operation.kind === 'list') {
          return list(deps, { authorized, namespace: operation.namespace, page }, context);
        }
        if (operation.kind !== 'read') throw new Error(`a request to ${operation.kind} is none to read`);
        if (found !== undefined) return open(deps, { authorized, found, page }, context);
        const { orList: namespace } = operation;
        const oneVersion = authorized.version !== undefined;
        if (namespace === undefined || oneVersion || (await isEmpty(deps, namespace))) throw noSuchSecret();
        return list(deps, { authorized, namespace, page }, context);
      }),

    listNamespaces: (first, page, context) =>
      retryGuardedWrite(async (isFirst) => {
        const authorized = isFirst ? first : await first.reauthorize();
        const { requester } = authorized;
        const { items, more } = await visibleNamespaces(deps, authorized, page);
        const event = secretEvent(deps.newId(), requester, context, {
          type: 'namespace.listed',
          resource: { type: 'namespace', id: '*' },
          metadata: { count: items.length },
        });
        const written = await deps.uses.record({ guard: requester.guard, released: undefined, event });
        return written ? { items, more } : RETRY;
      }),
  };
}

async function open(
  deps: ReadSecretsDeps,
  { authorized, found, page }: { authorized: AuthorizedRequest; found: FoundSecret; page: SecretPage },
  context: RequestContext,
): Promise<ReadOutcome | typeof RETRY> {
  const { requester } = authorized;
  const { secret, version, sealed, rowsRead } = found;
  if (page.isAsked) throw misplaced('limit and cursor belong to a list, and this is one secret');
  if (sealed === undefined && authorized.version !== undefined) throw noSuchSecret();
  const resource = { type: 'secret', id: secret.path } as const;
  const tierTooHigh = validateTier(requester, secret);
  if (tierTooHigh !== undefined) {
    await refuseSecret(deps, requester, context, { error: tierTooHigh, resource });
  }
  const binding = { secretId: secret.id, path: secret.path, version };
  const bytes = sealed === undefined || !found.isWhole ? undefined : deps.cipher.open(sealed, binding);
  if (bytes === undefined) {
    const error = new WritError(
      'INTEGRITY_ERROR',
      'What is stored of this secret was changed, so it is not given out.',
      { detail: `version ${version} of secret ${secret.id} does not open` },
    );
    return refuseSecret(deps, requester, context, { error, resource });
  }
  const event = secretEvent(deps.newId(), requester, context, {
    type: 'secret.read',
    resource,
    metadata: { secret_id: secret.id, version },
  });
  const released = { secretId: secret.id, version, rowsRead };
  const alarm = secret.canary ? deps.canaries.alarm(secret, event) : undefined;
  const written = await deps.uses.record({ guard: requester.guard, released, event, alarm });
  if (!written) return RETRY;
  authorized.cacheRead();
  return { kind: 'secret', opened: { record: secret, version, value: utf8.decode(bytes) } };
}

/** What was encrypted was UTF-8; a byte order mark is part of the value. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

async function list(
  deps: ReadSecretsDeps,
  { authorized, namespace, page }: { authorized: AuthorizedRequest; namespace: Namespace; page: SecretPage },
  context: RequestContext,
): Promise<ReadOutcome | typeof RETRY> {
  const { requester, version } = authorized;
  if (version !== undefined) throw misplaced('version belongs to one secret, and this is a namespace');
  const { namespace: name } = namespace;
  const found = inPortions((query) => deps.reader.list({ namespace: name, ...query }), {
    ...page,
    positionOf: ({ key }) => key,
  });
  const { items, more } = await takePage(found, page);
  const event = secretEvent(deps.newId(), requester, context, {
    type: 'secret.listed',
    resource: { type: 'namespace', id: name },
    metadata: { count: items.length },
  });
  const written = await deps.uses.record({ guard: requester.guard, released: undefined, event });
  if (!written) return RETRY;
  return { kind: 'list', list: { namespace: name, items, more } };
}

async function isEmpty(deps: ReadSecretsDeps, { namespace }: Namespace): Promise<boolean> {
  return (await deps.reader.list({ namespace, limit: 1, after: undefined })).length === 0;
}

function visibleNamespaces(deps: ReadSecretsDeps, { requester }: AuthorizedRequest, page: SecretPage) {
  // What a token lists is bounded by its owner's scopes, which are the last of its lists.
  const scopes = requester.grant.scopeLists.at(-1) ?? [];
  return takePage<NamespaceCount>(namespacesWithin(deps.reader, scopes, page.after), page);
}

function misplaced(why: string): WritError {
  return new WritError('VALIDATION_ERROR', `The query does not fit: ${why}.`, { details: { pointer: '' } });
}
