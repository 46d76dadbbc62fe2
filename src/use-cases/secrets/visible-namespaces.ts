/** The namespaces that some scopes may list. A scope can be about any of them, so all are looked at in turn. */

import type { Scope } from '../../domain/scopes/scope.ts';
import { listingScope, scopesCover } from '../../domain/scopes/scope-coverage.ts';
import type { NamespaceCount, SecretReader } from './ports.ts';

const AT_ONCE = 1000;

/** In the order of their names, from behind `after` on. */
export async function* namespacesWithin(
  reader: Pick<SecretReader, 'listNamespaces'>,
  scopes: readonly Scope[],
  after?: string,
): AsyncGenerator<NamespaceCount> {
  let last = after;
  for (;;) {
    const some = await reader.listNamespaces({ limit: AT_ONCE, after: last });
    for (const item of some) {
      const { namespace } = item;
      if (scopesCover(scopes, listingScope({ namespace, segments: namespace.split('/') }))) yield item;
    }
    if (some.length < AT_ONCE) return;
    last = some.at(-1)?.namespace;
  }
}

/** How many secrets lie in them. */
export async function countVisibleSecrets(
  reader: Pick<SecretReader, 'listNamespaces'>,
  scopes: readonly Scope[],
): Promise<number> {
  let count = 0;
  for await (const { secretCount } of namespacesWithin(reader, scopes)) count += secretCount;
  return count;
}
