/**
 * Reading (contract sections 5.2, 5.4, 6): one secret with its value, or the names in a namespace. Decryption comes
 * before the guarded write and the answer after its commit, so only an acknowledged use releases anything.
 */

import type { Namespace } from '../../domain/scopes/secret-path.ts';
import { mayList, mayUse } from '../../domain/secrets/secret-authorization.ts';
import { WritError } from '../../errors.ts';
import type { DenialLog } from '../audit/denial-log.ts';
import type { RequestContext } from '../audit/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { refuseSecret, secretEvent } from './authorize-secret-request.ts';
import type { Admission } from './authorized-request.ts';
import type {
  FoundSecret,
  NamespaceCount,
  SecretCipher,
  SecretReader,
  SecretRecord,
  SecretUses,
} from './ports.ts';
import { noSuchSecret, validateTier } from './secret-rules.ts';
import { namespacesWithin } from './visible-namespaces.ts';

export interface SecretPage {
  /** Whether the request pages; where it does not, the whole list is one page. */
  readonly isAsked: boolean;
  readonly limit: number;
  /** The key after which the page begins. */
  readonly after: string | undefined;
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
}

export interface ReadSecrets {
  /**
   * The secret or the list that an admitted `GET` means. Rejects with `SECRET_NOT_FOUND`, `APPROVAL_REQUIRED`,
   * `INTEGRITY_ERROR`, or with `VALIDATION_ERROR` where a page is asked of a secret or a version for a list.
   */
  read(admission: Admission, page: SecretPage, context: RequestContext): Promise<ReadOutcome>;
  listNamespaces(
    admission: Admission,
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
        const admission = isFirst ? first : await first.again();
        const { wish } = admission.question;
        if (wish.kind === 'list') return list(deps, { admission, namespace: wish.namespace, page }, context);
        if (wish.kind !== 'read-or-list') throw new Error(`a wish to ${wish.kind} is not one to read`);
        const { secret, namespace } = wish;
        const { grant } = admission.requester;
        const listable = mayList(grant, namespace) ? namespace : undefined;
        if (mayUse(grant, 'read', secret)) {
          if (admission.found !== undefined)
            return open(deps, { admission, found: admission.found, page }, context);
          const oneVersion = admission.question.version !== undefined;
          if (listable === undefined || oneVersion || (await isEmpty(deps, listable))) throw noSuchSecret();
        }
        if (listable === undefined) throw new Error('an admitted request may neither read nor list');
        return list(deps, { admission, namespace: listable, page }, context);
      }),

    listNamespaces: (first, page, context) =>
      retryGuardedWrite(async (isFirst) => {
        const admission = isFirst ? first : await first.again();
        const { requester } = admission;
        const { items, more } = await visibleNamespaces(deps, admission, page);
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
  { admission, found, page }: { admission: Admission; found: FoundSecret; page: SecretPage },
  context: RequestContext,
): Promise<ReadOutcome | typeof RETRY> {
  const { requester, question } = admission;
  const { secret, version, sealed, rowsRead } = found;
  if (page.isAsked) throw misplaced('limit and cursor belong to a list, and this is one secret');
  if (sealed === undefined && question.version !== undefined) throw noSuchSecret();
  const resource = { type: 'secret', id: secret.path } as const;
  const tierTooHigh = validateTier(requester, secret);
  if (tierTooHigh !== undefined) {
    await refuseSecret(deps, requester, context, { error: tierTooHigh, resource });
  }
  const binding = { secretId: secret.id, path: secret.path, version };
  const bytes = sealed === undefined ? undefined : deps.cipher.open(sealed, binding);
  if (bytes === undefined) {
    throw new WritError(
      'INTEGRITY_ERROR',
      'What is stored of this secret was changed, so it is not given out.',
      {
        detail: `version ${version} of secret ${secret.id} does not open`,
      },
    );
  }
  const event = secretEvent(deps.newId(), requester, context, {
    type: 'secret.read',
    resource,
    metadata: { secret_id: secret.id, version },
  });
  const released = { secretId: secret.id, version, rowsRead };
  const written = await deps.uses.record({ guard: requester.guard, released, event });
  if (!written) return RETRY;
  admission.cacheRead();
  return { kind: 'secret', opened: { record: secret, version, value: utf8.decode(bytes) } };
}

/** What was encrypted was UTF-8; a byte order mark is part of the value. */
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

async function list(
  deps: ReadSecretsDeps,
  wanted: { admission: Admission; namespace: Namespace; page: SecretPage },
  context: RequestContext,
): Promise<ReadOutcome | typeof RETRY> {
  const { requester, question } = wanted.admission;
  if (question.version !== undefined)
    throw misplaced('version belongs to one secret, and this is a namespace');
  const { namespace } = wanted.namespace;
  const { limit, after } = wanted.page;
  const found = await deps.reader.list({ namespace, limit: limit + 1, after });
  const items = found.slice(0, limit);
  const event = secretEvent(deps.newId(), requester, context, {
    type: 'secret.listed',
    resource: { type: 'namespace', id: namespace },
    metadata: { count: items.length },
  });
  const written = await deps.uses.record({ guard: requester.guard, released: undefined, event });
  if (!written) return RETRY;
  return { kind: 'list', list: { namespace, items, more: found.length > limit } };
}

async function isEmpty(deps: ReadSecretsDeps, { namespace }: Namespace): Promise<boolean> {
  return (await deps.reader.list({ namespace, limit: 1, after: undefined })).length === 0;
}

async function visibleNamespaces(deps: ReadSecretsDeps, { requester }: Admission, page: SecretPage) {
  const items: NamespaceCount[] = [];
  // What a token lists is bounded by its owner's scopes, which are the last of its lists.
  const scopes = requester.grant.scopeLists.at(-1) ?? [];
  for await (const item of namespacesWithin(deps.reader, scopes, page.after)) {
    if (items.length === page.limit) return { items, more: true };
    items.push(item);
  }
  return { items, more: false };
}

function misplaced(why: string): WritError {
  return new WritError('VALIDATION_ERROR', `The query does not fit: ${why}.`, { details: { pointer: '' } });
}
