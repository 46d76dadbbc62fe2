/** Pages of secrets and of namespaces: what is asked for, and how much of an answer an item takes. */

import Type from 'typebox';
import { PATH_TEXT } from '../../domain/scopes/secret-path.ts';
import type { DuePage } from '../../use-cases/secrets/list-due-secrets.ts';
import type { NamespaceCount, SecretRecord } from '../../use-cases/secrets/ports.ts';
import type { SecretPage } from '../../use-cases/secrets/read-secrets.ts';
import { decodeCursor, invalidCursor, jsonBytes, limitOf, writeCursor } from '../routing/pagination.ts';
import { oneOf, PageQuery, strictObject } from '../routing/schemas.ts';
import { secretView } from './secret-schemas.ts';

/** From a query that has passed its schema. Throws `VALIDATION_ERROR` for a cursor that is none. */
export function pageOf(query: { limit?: string; cursor?: string }): SecretPage {
  const isAsked = query.limit !== undefined || query.cursor !== undefined;
  const after = decodeCursor(query.cursor, PATH_TEXT);
  return { isAsked, limit: limitOf(query), after, sizeOf };
}

export const ListQuery = strictObject({
  ...PageQuery,
  // A time and a path of 512 characters in base64url.
  cursor: Type.Optional(
    Type.String({ minLength: 1, maxLength: 703, description: '`next_cursor` of the answer before' }),
  ),
  namespace: Type.Optional(Type.String({ description: 'needed without `due`' })),
  due: Type.Optional(
    oneOf(['rotation'], 'only those whose `rotation_due_at` has come, the longest due first'),
  ),
});

/** Milliseconds since 1970, and a path. */
const DUE_POSITION = /^(\d{1,14}) (.+)$/;

/** As `pageOf`, of what is due. */
export function duePageOf(query: { limit?: string; cursor?: string }): DuePage {
  const position = decodeCursor(query.cursor, DUE_POSITION);
  const [, ms, path = ''] = DUE_POSITION.exec(position ?? '') ?? [];
  if (ms !== undefined && !PATH_TEXT.test(path)) throw invalidCursor();
  const after = ms === undefined ? undefined : { dueAt: new Date(Number(ms)), path };
  return { limit: limitOf(query), after, sizeOf };
}

export function writeDueCursor(last: SecretRecord | undefined): string | null {
  if (last === undefined || last.rotationDueAt === null) return null;
  return writeCursor(`${last.rotationDueAt.getTime()} ${last.path}`);
}

export const namespaceView = ({ namespace, secretCount }: NamespaceCount) => ({
  namespace,
  secret_count: secretCount,
});

/** Members that not everybody sees are counted for all, so that pages end alike. */
const LARGEST = { administers: true };

const sizeOf: SecretPage['sizeOf'] = (item) =>
  jsonBytes('secretCount' in item ? namespaceView(item) : secretView(item, LARGEST));
