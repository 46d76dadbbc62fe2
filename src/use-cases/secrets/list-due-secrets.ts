/**
 * The secrets whose rotation is due (contract section 6), in the namespaces that the caller may list: names and what is
 * said of them, never values. Like every list it is one use, and on record.
 */

import { mayList, type SecretGrant } from '../../domain/secrets/secret-authorization.ts';
import type { RequestContext } from '../audit/ports.ts';
import { RETRY, retryGuardedWrite } from '../retry-guarded-write.ts';
import { takePage } from '../take-page.ts';
import { secretEvent } from './authorize-secret-request.ts';
import type { AuthorizedRequest } from './authorized-request.ts';
import type { DuePosition, SecretReader, SecretRecord, SecretUses } from './ports.ts';

export interface DuePage {
  readonly limit: number;
  readonly after: DuePosition | undefined;
  /** The bytes of an item in the answer. */
  readonly sizeOf: (item: SecretRecord) => number;
}

export interface DueSecrets {
  readonly items: readonly SecretRecord[];
  /** Whether there is more behind the last item. */
  readonly more: boolean;
}

/** The longest due first; of one namespace where the request was authorized for that. */
export type ListDueSecrets = (
  authorized: AuthorizedRequest,
  page: DuePage,
  context: RequestContext,
) => Promise<DueSecrets>;

export function createListDueSecrets(deps: {
  readonly reader: Pick<SecretReader, 'listDue'>;
  readonly uses: SecretUses;
  readonly newId: () => string;
}): ListDueSecrets {
  return (first, page, context) =>
    retryGuardedWrite(async (isFirst) => {
      const { requester, operation } = isFirst ? first : await first.reauthorize();
      const namespace = operation.kind === 'list' ? operation.namespace.namespace : undefined;
      const due = dueWithin(deps.reader, { grant: requester.grant, namespace, after: page.after });
      const { items, more } = await takePage(due, page);
      const event = secretEvent(deps.newId(), requester, context, {
        type: 'secret.listed',
        resource: { type: 'namespace', id: namespace ?? '*' },
        metadata: { due: 'rotation', count: items.length },
      });
      const written = await deps.uses.record({ guard: requester.guard, released: undefined, event });
      return written ? { items, more } : RETRY;
    });
}

const AT_ONCE = 500;

/** A scope can be about any of them, so all are looked at in turn. */
async function* dueWithin(
  reader: Pick<SecretReader, 'listDue'>,
  asked: {
    readonly grant: SecretGrant;
    readonly namespace: string | undefined;
    readonly after: DuePosition | undefined;
  },
): AsyncGenerator<SecretRecord> {
  const { grant, namespace } = asked;
  let { after } = asked;
  for (;;) {
    const some = await reader.listDue({ namespace, limit: AT_ONCE, after });
    for (const item of some) {
      if (mayList(grant, { namespace: item.namespace, segments: item.namespace.split('/') })) yield item;
      if (item.rotationDueAt !== null) after = { dueAt: item.rotationDueAt, path: item.path };
    }
    if (some.length < AT_ONCE) return;
  }
}
