/** Lists of secrets and of namespaces, and what a read of a path answers (contract section 6). */

import Type from 'typebox';
import type { RequestContext } from '../../use-cases/audit/ports.ts';
import type { AuthorizedRequest } from '../../use-cases/secrets/authorized-request.ts';
import type { ListDueSecrets } from '../../use-cases/secrets/list-due-secrets.ts';
import type { ReadSecrets, SecretPage } from '../../use-cases/secrets/read-secrets.ts';
import { writeCursor } from '../routing/pagination.ts';
import type { Answer, Routes } from '../routing/route.ts';
import { listOf, PageQuery, strictObject } from '../routing/schemas.ts';
import { LIST_NAMESPACES, parseListing, uncachedRequest } from './secret-operation.ts';
import { duePageOf, ListQuery, namespaceView, pageOf, writeDueCursor } from './secret-pages.ts';
import { DueListing, SecretListing, SecretWithValue, secretView } from './secret-schemas.ts';

export interface SecretListRouteDeps {
  readonly read: ReadSecrets;
  readonly listDue: ListDueSecrets;
}

const LISTS = { tag: 'secrets', method: 'GET' } as const;

export function addSecretListRoutes(routes: Routes, deps: SecretListRouteDeps): void {
  routes.secretBearer({
    ...LISTS,
    url: '/v1/secrets',
    summary: 'List a namespace, or what is due to be rotated',
    description:
      'One of `namespace` and `due` is needed. With `due` alone: in all namespaces that the caller may list.',
    operation: (request) => uncachedRequest(parseListing(request)),
    query: ListQuery,
    answers: { 200: Type.Union([SecretListing, DueListing]) },
    refusals: ['INVALID_PATH', 'SCOPE_DENIED', 'APPROVAL_REQUIRED'],
    handle: async ({ authorized, query, context }) => {
      if (query.due === undefined) return answerRead(deps.read, { authorized, page: pageOf(query), context });
      const { items, more } = await deps.listDue(authorized, duePageOf(query), context);
      const next = more ? writeDueCursor(items.at(-1)) : null;
      const body = { items: items.map((item) => secretView(item, authorized.requester)), next_cursor: next };
      return { status: 200, body, shape: DueListing };
    },
  });

  routes.secretBearer({
    ...LISTS,
    url: '/v1/namespaces',
    summary: 'The namespaces that the caller may list',
    operation: () => uncachedRequest(LIST_NAMESPACES),
    query: strictObject(PageQuery),
    answers: { 200: listOf(strictObject({ namespace: Type.String(), secret_count: Type.Integer() })) },
    refusals: ['SCOPE_DENIED'],
    handle: async ({ authorized, query, context }) => {
      const { items, more } = await deps.read.listNamespaces(authorized, pageOf(query), context);
      const next = more ? writeCursor(items.at(-1)?.namespace) : null;
      return { status: 200, body: { items: items.map(namespaceView), next_cursor: next } };
    },
  });
}

/** A secret, or the list that the request turned out to mean. */
export async function answerRead(
  read: ReadSecrets,
  asked: {
    readonly authorized: AuthorizedRequest;
    readonly page: SecretPage;
    readonly context: RequestContext;
  },
): Promise<Answer> {
  const { authorized, page, context } = asked;
  const outcome = await read.read(authorized, page, context);
  if (outcome.kind === 'secret') {
    const { record, version, value } = outcome.opened;
    return {
      status: 200,
      body: { ...secretView(record, authorized.requester, version), value },
      shape: SecretWithValue,
    };
  }
  const { namespace, items, more } = outcome.list;
  const next = more ? writeCursor(items.at(-1)?.key) : null;
  const body = {
    namespace,
    items: items.map((item) => secretView(item, authorized.requester)),
    next_cursor: next,
  };
  return { status: 200, body, shape: SecretListing };
}
