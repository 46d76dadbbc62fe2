/** The OpenAPI 3.1 description, made from what the routes declare: every status, every code, every shape. */

import Type, { type TSchema } from 'typebox';
import { ERROR_CODES, type ErrorCode } from '../../errors.ts';
import type { DeclaredRoute } from '../routing/route.ts';
import { UNESCAPED } from '../routing/schemas.ts';
import { envelopeSchema, isAnsweredWith200, isInsideV1 } from '../server/error-envelopes.ts';

type Json = Record<string, unknown>;

/** What any request may meet. */
const EVERYWHERE: readonly ErrorCode[] = [
  'VALIDATION_ERROR',
  'RATE_LIMITED',
  'INTERNAL',
  'UNAVAILABLE',
  'BUSY',
];
const WITH_BODY: readonly ErrorCode[] = ['INVALID_JSON', 'PAYLOAD_TOO_LARGE', 'UNSUPPORTED_MEDIA_TYPE'];
const WITH_KEY: readonly ErrorCode[] = [
  'AUTH_INVALID_KEY',
  'AUTH_EXPIRED_KEY',
  'EMERGENCY_STOP',
  'AUDIT_UNAVAILABLE',
  'OUTCOME_UNKNOWN',
  'INTEGRITY_ERROR',
];

const WITH_SCOPED_TOKEN: readonly ErrorCode[] = [
  'TOKEN_INVALID',
  'TOKEN_EXPIRED',
  'TOKEN_REVOKED',
  'TOKEN_EXHAUSTED',
  'IP_NOT_ALLOWED',
  'FORBIDDEN',
];

export function openApiDocument(routes: readonly DeclaredRoute[], version: string): Json {
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const path = route.documentedPath ?? route.url.replace(/:(\w+)/g, '{$1}');
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: operation(route) };
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Writ',
      version,
      description:
        'Self-hosted token issuance for AI agents: signed intent tokens over plans, and short-lived scoped tokens that open secrets.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [...new Set(routes.map((route) => route.tag))].map((name) => ({ name })),
    components: {
      securitySchemes: {
        apiKeyHeader: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        apiKeyBearer: { type: 'http', scheme: 'bearer', description: 'An API key as bearer token' },
        apiKeyBasic: { type: 'http', scheme: 'basic', description: 'The id of an API key, and the key' },
        scopedToken: { type: 'http', scheme: 'bearer', description: 'A scoped token' },
      },
    },
    paths,
  };
}

function operation(route: DeclaredRoute): Json {
  const basic = route.takesBasic === true ? [{ apiKeyBasic: [] }] : [];
  const keys = [{ apiKeyHeader: [] }, { apiKeyBearer: [] }, ...basic];
  const security = {
    none: [],
    'api-key-if-sent': [{}, ...keys],
    'api-key': keys,
    'scoped-token-or-api-key': [{ scopedToken: [] }, ...keys],
  }[route.credential];
  const roles = route.roles === undefined ? [] : [`Roles: ${route.roles.join(', ')}.`];
  return {
    operationId: operationId(route),
    tags: [route.tag],
    summary: route.summary,
    description: [...(route.description === undefined ? [] : [route.description]), ...roles].join(' '),
    security,
    parameters: parametersOf(route),
    ...(route.body === undefined
      ? {}
      : {
          requestBody: {
            required: ((plain(route.body)['required'] ?? []) as unknown[]).length > 0,
            content: contentOf(route),
          },
        }),
    responses: { ...answersOf(route), ...refusalsOf(route) },
  };
}

function contentOf(route: DeclaredRoute): Json {
  const schema = nullsAllowed(plain(route.body));
  const form = route.takesForms === true ? { 'application/x-www-form-urlencoded': { schema } } : {};
  return { 'application/json': { schema }, ...form };
}

function operationId(route: DeclaredRoute): string {
  const words = (route.documentedPath ?? route.url).split(/[^A-Za-z0-9]+/).filter((word) => word !== '');
  return [
    route.method.toLowerCase(),
    ...words.map((word) => `${word[0]?.toUpperCase()}${word.slice(1)}`),
  ].join('');
}

function parametersOf(route: DeclaredRoute): Json[] {
  const membersOf = (place: string, schema: TSchema | undefined): Json[] => {
    const { properties = {}, required = [] } = plain(schema) as { properties?: Json; required?: string[] };
    return Object.entries(properties).map(([name, member]) => ({
      name,
      in: place,
      required: required.includes(name),
      schema: member,
    }));
  };
  return [
    ...membersOf('path', route.params ?? pathParameterOf(route)),
    ...membersOf('query', route.query),
    ...Object.entries(route.headers ?? {}).map(([name, schema]) => ({
      name,
      in: 'header',
      required: false,
      schema: plain(schema),
    })),
  ];
}

/** A path in a path, which OpenAPI does not have: whoever makes a client from this is told about the slashes. */
function pathParameterOf({ documentedPath }: DeclaredRoute): TSchema | undefined {
  if (documentedPath === undefined) return undefined;
  const description =
    '2 to 16 segments, `namespace/key`; a `GET` also takes a namespace. At least one slash is sent as it is, not percent-encoded: without any the target is a namespace, so `a%2Fb` is the namespace `a/b`';
  return Type.Object({ path: Type.String({ description }) });
}

const REQUEST_ID = {
  'X-Request-Id': { schema: { type: 'string' }, description: 'names this request in the log and the trail' },
};

function answersOf(route: DeclaredRoute): Json {
  const mediaTypes = route.mediaTypes ?? ['application/json'];
  return Object.fromEntries(
    Object.entries(route.answers).map(([status, schema]) => [
      status,
      {
        description: status === '304' ? 'Not modified' : 'Done',
        headers: { ...REQUEST_ID, ...answerHeadersOf(route) },
        ...(schema === null
          ? {}
          : { content: Object.fromEntries(mediaTypes.map((type) => [type, { schema: plain(schema) }])) }),
      },
    ]),
  );
}

function answerHeadersOf({ answerHeaders = {} }: DeclaredRoute): Json {
  return Object.fromEntries(
    Object.entries(answerHeaders).map(([name, schema]) => [name, { schema: plain(schema) }]),
  );
}

function refusalsOf(route: DeclaredRoute): Json {
  const codes = new Set<ErrorCode>([
    ...EVERYWHERE,
    ...(route.body === undefined ? [] : WITH_BODY),
    ...(route.credential === 'none' ? [] : WITH_KEY),
    ...(route.credential === 'scoped-token-or-api-key' ? WITH_SCOPED_TOKEN : []),
    ...(route.roles === undefined ? [] : (['FORBIDDEN'] as const)),
    ...(route.params === undefined ? [] : (['NOT_FOUND'] as const)),
    ...(route.refusals ?? []),
  ]);
  // A method without a body of its own may still be sent one, which is read before the handler.
  if (route.method !== 'GET' && route.readsNothing !== true) for (const code of WITH_BODY) codes.add(code);
  const byStatus = new Map<number, ErrorCode[]>();
  for (const code of codes) {
    if (isAnsweredWith200(code, route.url)) continue;
    const { status } = ERROR_CODES[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].sort(([a], [b]) => a - b).map(([status, list]) => [status, refusal(route, status, list)]),
  );
}

function refusal(route: DeclaredRoute, status: number, codes: readonly ErrorCode[]): Json {
  const retry = status === 429 || status === 503;
  return {
    description: codes.join(', '),
    headers: {
      ...REQUEST_ID,
      ...(retry ? { 'Retry-After': { schema: { type: 'integer' }, description: 'whole seconds' } } : {}),
      ...(status === 401 ? { 'WWW-Authenticate': { schema: { type: 'string' } } } : {}),
    },
    content: {
      'application/json': {
        schema: envelopeSchema({ path: route.url, codes, inside: isInsideV1(route.url) }),
      },
    },
  };
}

/** Without what TypeBox keeps beside the schema itself, and without what is said to the serializer. */
function plain(schema: TSchema | undefined): Json {
  const isOwn = (name: string, value: unknown) => name === 'format' && value === UNESCAPED.format;
  const text = JSON.stringify(schema ?? {}, (name, value) => (isOwn(name, value) ? undefined : value));
  return JSON.parse(text) as Json;
}

/** An optional member of a request that is null counts as absent. */
function nullsAllowed(schema: Json): Json {
  const properties = schema['properties'] as Record<string, Json> | undefined;
  if (properties === undefined || schema['additionalProperties'] !== false) return schema;
  const required = new Set(schema['required'] as string[] | undefined);
  const members = Object.entries(properties).map(([name, member]): [string, Json] => {
    const inner = nullsAllowed(member);
    const { type, enum: values } = inner;
    if (required.has(name) || type === undefined) return [name, inner];
    return [
      name,
      {
        ...inner,
        type: [...new Set([type, 'null'].flat())],
        ...(Array.isArray(values) ? { enum: [...values, null] } : {}),
      },
    ];
  });
  return { ...schema, properties: Object.fromEntries(members) };
}
