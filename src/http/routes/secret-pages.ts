/** Pages of secrets and of namespaces: what is asked for, and how much of an answer an item takes. */

import { PATH_TEXT } from '../../domain/scopes/secret-path.ts';
import type { NamespaceCount } from '../../use-cases/secrets/ports.ts';
import type { SecretPage } from '../../use-cases/secrets/read-secrets.ts';
import { decodeCursor, jsonBytes, limitOf } from '../routing/pagination.ts';
import { secretView } from './secret-schemas.ts';

/** From a query that has passed its schema. Throws `VALIDATION_ERROR` for a cursor that is none. */
export function pageOf(query: { limit?: string; cursor?: string }): SecretPage {
  const isAsked = query.limit !== undefined || query.cursor !== undefined;
  const after = decodeCursor(query.cursor, PATH_TEXT);
  return { isAsked, limit: limitOf(query), after, sizeOf };
}

export const namespaceView = ({ namespace, secretCount }: NamespaceCount) => ({
  namespace,
  secret_count: secretCount,
});

const sizeOf: SecretPage['sizeOf'] = (item) =>
  jsonBytes('secretCount' in item ? namespaceView(item) : secretView(item));
