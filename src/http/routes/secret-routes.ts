/** `/v1/secrets` (contract sections 5.2, 6). */

import Type from 'typebox';
import type { SecretPath } from '../../domain/scopes/secret-path.ts';
import type { AuthorizedRequest } from '../../use-cases/secrets/authorized-request.ts';
import type { ImportSecrets } from '../../use-cases/secrets/import-secrets.ts';
import type { WriteSecrets } from '../../use-cases/secrets/write-secrets.ts';
import type { Routes } from '../routing/route.ts';
import { PageQuery, strictObject } from '../routing/schemas.ts';
import { addSecretListRoutes, answerRead, type SecretListRouteDeps } from './secret-list-routes.ts';
import {
  NAMED_BY_BODY,
  parseChangeTarget,
  parseReadTarget,
  pathInBody,
  rotateTargetOf,
  targetOf,
  uncachedRequest,
  VERSION,
  versionAsked,
  versionExpected,
} from './secret-operation.ts';
import { pageOf } from './secret-pages.ts';
import {
  ImportBody,
  NewSecretBody,
  parseInput,
  parseKind,
  RotateBody,
  Secret,
  SecretBody,
  SecretListing,
  SecretWithValue,
  secretView,
} from './secret-schemas.ts';

export interface SecretRouteDeps extends SecretListRouteDeps {
  readonly write: WriteSecrets;
  readonly importEnv: ImportSecrets;
}

const ONE = { tag: 'secrets', documentedPath: '/v1/secrets/{path}' } as const;
const MANY = { tag: 'secrets' } as const;
const REFUSALS = ['INVALID_PATH', 'SCOPE_DENIED', 'APPROVAL_REQUIRED'] as const;
const CHANGE_REFUSALS = [...REFUSALS, 'SECRET_NOT_FOUND', 'VERSION_CONFLICT'] as const;
const IF_MATCH = {
  'If-Match': Type.String({ description: 'the version that must be the newest: `3` or `"3"`' }),
};

export function addSecretRoutes(routes: Routes, deps: SecretRouteDeps): void {
  addSecretListRoutes(routes, deps);

  routes.secretBearer({
    ...ONE,
    method: 'GET',
    url: '/v1/secrets/*',
    summary: 'Read a secret, or list a namespace',
    description:
      'One segment is a namespace. More are a secret; where that may not be read, or is absent, but the namespace of that name may be listed, the list.',
    operation: (request) => {
      const version = versionAsked(request);
      const cacheable = Object.keys(request.query as object).length === (version === undefined ? 0 : 1);
      return { operation: parseReadTarget(targetOf(request)), version, cacheable };
    },
    query: strictObject({
      ...PageQuery,
      version: Type.Optional(
        Type.String({ pattern: VERSION.source, description: 'the newest where absent' }),
      ),
    }),
    answers: { 200: Type.Union([SecretWithValue, SecretListing]) },
    refusals: [...REFUSALS, 'SECRET_NOT_FOUND', 'INTEGRITY_ERROR'],
    handle: ({ authorized, query, context }) =>
      answerRead(deps.read, { authorized, page: pageOf(query), context }),
  });

  routes.secretBearer({
    ...MANY,
    method: 'POST',
    url: '/v1/secrets',
    summary: 'Create a secret',
    operation: () => uncachedRequest(NAMED_BY_BODY),
    headers: IF_MATCH,
    body: NewSecretBody,
    answers: { 201: Secret },
    refusals: [...REFUSALS, 'ALREADY_EXISTS', 'VERSION_CONFLICT'],
    handle: async ({ authorized, body, context, request }) => {
      const record = await deps.write.create({
        authorized,
        secret: pathInBody(body.path),
        input: { ...parseInput(body), value: body.value },
        expectedVersion: versionExpected(request),
        context,
      });
      return { status: 201, body: secretView(record, authorized.requester) };
    },
  });

  routes.secretBearer({
    ...MANY,
    method: 'POST',
    url: '/v1/secrets/import',
    summary: 'Import .env text into a namespace, all or nothing',
    operation: () => uncachedRequest(NAMED_BY_BODY),
    body: ImportBody,
    answers: {
      200: strictObject({
        namespace: Type.String(),
        imported: Type.Array(Type.String()),
        imported_count: Type.Integer(),
        keys: Type.Array(Type.String()),
        skipped: Type.Integer(),
      }),
    },
    refusals: REFUSALS,
    handle: async ({ authorized, body, context }) => {
      const { namespace, content } = body;
      const keys = await deps.importEnv({
        authorized,
        namespace,
        content,
        ofNewKeys: parseKind(body),
        context,
      });
      const answer = { namespace, imported: keys, imported_count: keys.length, keys, skipped: 0 };
      return { status: 200, body: answer };
    },
  });

  routes.secretBearer({
    ...ONE,
    method: 'PUT',
    url: '/v1/secrets/*',
    summary: 'Create a secret or give it a new version',
    operation: (request) => uncachedRequest(parseChangeTarget('write', targetOf(request))),
    headers: IF_MATCH,
    body: SecretBody,
    answers: { 200: Secret, 201: Secret },
    refusals: [...REFUSALS, 'VERSION_CONFLICT'],
    handle: async ({ authorized, body, context, request }) => {
      const input = { ...parseInput(body), value: body.value };
      const expectedVersion = versionExpected(request);
      const { record, created } = await deps.write.put({
        authorized,
        secret: secretOf(authorized),
        input,
        expectedVersion,
        context,
      });
      return { status: created ? 201 : 200, body: secretView(record, authorized.requester) };
    },
  });

  routes.secretBearer({
    ...MANY,
    documentedPath: '/v1/secrets/{path}/rotate',
    method: 'POST',
    url: '/v1/secrets/*',
    summary: 'Give a secret a new version, random unless named; the answer holds no value',
    operation: (request) => uncachedRequest(parseChangeTarget('write', rotateTargetOf(request))),
    headers: IF_MATCH,
    body: RotateBody,
    answers: { 200: Secret },
    refusals: CHANGE_REFUSALS,
    handle: async ({ authorized, body, context, request }) => {
      const record = await deps.write.rotate({
        authorized,
        secret: secretOf(authorized),
        value: body.new_value,
        expectedVersion: versionExpected(request),
        context,
      });
      return { status: 200, body: secretView(record, authorized.requester) };
    },
  });

  routes.secretBearer({
    ...ONE,
    method: 'DELETE',
    url: '/v1/secrets/*',
    summary: 'Destroy a secret: every version and its key',
    operation: (request) => uncachedRequest(parseChangeTarget('delete', targetOf(request))),
    headers: IF_MATCH,
    answers: { 204: null },
    refusals: CHANGE_REFUSALS,
    handle: async ({ authorized, context, request }) => {
      const expectedVersion = versionExpected(request);
      await deps.write.delete({ authorized, secret: secretOf(authorized), expectedVersion, context });
      return { status: 204 };
    },
  });
}

function secretOf({ operation }: AuthorizedRequest): SecretPath {
  if (operation.kind !== 'use') throw new Error('a change was authorized without a secret');
  return operation.secret;
}
