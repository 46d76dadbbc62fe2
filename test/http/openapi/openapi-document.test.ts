/**
 * `GET /v1/openapi.json` is a valid OpenAPI 3.1 description of exactly what is served, and the check that all HTTP
 * tests run against it refuses what is not documented.
 */

import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ERROR_CODES } from '../../../src/errors.ts';
import { buildTestApp, onResponse } from '../../support/app.ts';
import { documentedPath } from '../../support/documented-path.ts';
import {
  type CheckedExchange,
  createOpenApiCheck,
  type Json,
  schemaValidator,
} from '../../support/openapi-check.ts';
import { postgresSkip } from '../../support/postgres.ts';

interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: Json;
}
interface Answer {
  readonly description: string;
  readonly headers: Readonly<Record<string, Json>>;
  readonly content?: Readonly<Record<string, { readonly schema: Json }>>;
}
interface Operation {
  readonly operationId: string;
  readonly tags: readonly string[];
  readonly summary: string;
  readonly security: readonly Json[];
  readonly parameters: readonly Parameter[];
  readonly requestBody?: { readonly required: boolean; readonly content: Answer['content'] };
  readonly responses: Readonly<Record<string, Answer>>;
}

/** OpenAPI 3.1.1 section 4.8: the fixed fields of each object that the description has. */
const FIELDS = {
  document: 'openapi info jsonSchemaDialect servers paths webhooks components security tags externalDocs',
  info: 'title summary description termsOfService contact license version',
  path: 'get put post delete options head patch trace summary description servers parameters',
  operation:
    'tags summary description externalDocs operationId parameters requestBody responses callbacks deprecated security servers',
  parameter: 'name in description required deprecated allowEmptyValue style explode schema example content',
  requestBody: 'description content required',
  response: 'description headers content links',
  header: 'description required deprecated schema example content',
  mediaType: 'schema example examples encoding',
} as const;

function assertOnly(kind: keyof typeof FIELDS, value: object, about: string): void {
  const known = FIELDS[kind].split(' ');
  assert.deepEqual(
    Object.keys(value).filter((name) => !known.includes(name)),
    [],
    `${about} has members that a ${kind} has not`,
  );
}

test('the description', { skip: postgresSkip }, async (t) => {
  const { call, routes, adminKey } = await buildTestApp(t);
  const served = await call<Json>({ method: 'GET', url: '/v1/openapi.json' });
  assert.equal(served.status, 200);
  const document = served.body;
  const paths = document['paths'] as Record<string, Record<string, Operation>>;
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  );
  const bodyOf = ({ requestBody }: Operation) => requestBody?.content?.['application/json']?.schema;

  await t.test('is JSON of OpenAPI 3.1 with a title, a version and a licence', () => {
    assert.match(served.headers['content-type'] ?? '', /^application\/json/);
    assert.match(String(document['openapi']), /^3\.1\.\d+$/);
    assertOnly('document', document, 'the document');
    const info = document['info'] as Record<string, unknown>;
    assertOnly('info', info, 'info');
    for (const member of ['title', 'version']) assert.equal(typeof info[member], 'string', member);
    assert.equal(typeof (info['license'] as Json)['name'], 'string');
    const servers = document['servers'] as Json[];
    assert.deepEqual(servers, [{ url: '/' }], 'relative: it names no host');
  });

  await t.test('has exactly the routes that are registered', () => {
    const inDocument = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
    const registered = routes.map((route) => `${route.method} ${documentedPath(route)}`);
    assert.ok(registered.length > 10);
    assert.deepEqual(inDocument.sort(), registered.sort());
  });

  await t.test('names every operation once, with a summary and a tag that is declared', () => {
    const ids = operations.map(({ operation }) => operation.operationId);
    assert.deepEqual(
      ids.filter((id, index) => ids.indexOf(id) !== index),
      [],
    );
    const tags = (document['tags'] as { name: string }[]).map(({ name }) => name);
    assert.equal(new Set(tags).size, tags.length);
    for (const { operation, path } of operations) {
      assertOnly('operation', operation, path);
      assert.match(operation.operationId, /^[a-z][A-Za-z0-9]+$/);
      assert.ok(operation.summary.length > 5, path);
      assert.equal(operation.tags.length, 1);
      assert.ok(operation.tags.every((tag) => tags.includes(tag)));
    }
  });

  await t.test('declares every parameter of a path, required, and no other', () => {
    for (const [path, item] of Object.entries(paths)) {
      assert.match(path, /^\//);
      assertOnly('path', item, path);
    }
    for (const { path, operation } of operations) {
      const inTemplate = [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
      const declared = operation.parameters.filter((parameter) => parameter.in === 'path');
      assert.deepEqual(declared.map(({ name }) => name).sort(), inTemplate.sort(), path);
      assert.ok(
        declared.every(({ required }) => required === true),
        path,
      );
      const names = operation.parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
      assert.equal(new Set(names).size, names.length, path);
      for (const parameter of operation.parameters) {
        assertOnly('parameter', parameter, path);
        assert.ok(['path', 'query', 'header'].includes(parameter.in), path);
        assert.equal(typeof parameter.schema, 'object');
      }
    }
  });

  await t.test('says of a query parameter that is required that it is, and of no other', () => {
    const required = operations.flatMap(({ path, method, operation }) =>
      operation.parameters
        .filter((parameter) => parameter.in === 'query' && parameter.required)
        .map(({ name }) => `${method} ${path} ${name}`),
    );
    assert.deepEqual(required.sort(), ['get /v1/audit/export format']);
  });

  await t.test('describes the headers that a client needs of an answer', async () => {
    const headersOf = (path: string, status: string) =>
      Object.keys(paths[path]?.['get']?.responses[status]?.headers ?? {});
    for (const status of ['200', '304']) {
      assert.ok(headersOf('/.well-known/jwks.json', status).includes('ETag'), status);
    }
    assert.ok(headersOf('/v1/audit/export', '200').includes('X-Next-Cursor'));
    assert.ok(!headersOf('/v1/audit', '200').includes('X-Next-Cursor'));
    const published = await call({ method: 'GET', url: '/.well-known/jwks.json' });
    const headers = { 'if-none-match': published.headers['etag'] ?? assert.fail('no ETag') };
    const again = await call({ method: 'GET', url: '/.well-known/jwks.json', headers });
    assert.deepEqual([again.status, again.headers['etag']], [304, published.headers['etag']]);
  });

  await t.test('names only security schemes that it declares, and the right ones', () => {
    const { securitySchemes } = document['components'] as { securitySchemes: Record<string, Json> };
    for (const { path, operation } of operations) {
      for (const requirement of operation.security) {
        for (const name of Object.keys(requirement)) assert.ok(name in securitySchemes, `${path} ${name}`);
      }
    }
    const securityOf = (path: string, method: string) => paths[path]?.[method]?.security;
    const keys = [{ apiKeyHeader: [] }, { apiKeyBearer: [] }];
    assert.deepEqual(securityOf('/token/issue', 'post'), keys);
    assert.deepEqual(securityOf('/token/verify', 'post'), [{}, ...keys]);
    assert.deepEqual(securityOf('/.well-known/jwks.json', 'get'), []);
  });

  await t.test('holds nothing but schemas of JSON Schema 2020-12', () => {
    const ajv = schemaValidator();
    const check = (schema: unknown, about: string): void => {
      assert.ok(ajv.validateSchema(schema as object), `${about} ${JSON.stringify(ajv.errors)}`);
      ajv.compile(schema as object);
    };
    let schemas = 0;
    for (const { path, method, operation } of operations) {
      const about = `${method} ${path}`;
      for (const { schema, name } of operation.parameters) check(schema, `${about} ${name}`);
      if (operation.requestBody !== undefined) {
        assertOnly('requestBody', operation.requestBody, about);
        check(bodyOf(operation), `${about} body`);
      }
      assert.ok(Object.keys(operation.responses).length > 0, about);
      for (const [status, answer] of Object.entries(operation.responses)) {
        assert.match(status, /^[1-5]\d\d$/);
        assertOnly('response', answer, about);
        assert.ok(answer.description.length > 0, `${about} ${status}`);
        for (const header of Object.values(answer.headers)) assertOnly('header', header, about);
        for (const media of Object.values(answer.content ?? {})) {
          assertOnly('mediaType', media, about);
          check(media.schema, `${about} ${status}`);
          schemas += 1;
        }
      }
    }
    assert.ok(schemas > 50);
  });

  await t.test('closes every object of an answer that is not free, so that a shape can be wrong', () => {
    for (const { path, operation } of operations) {
      if (path === '/v1/openapi.json') continue;
      for (const [status, { content }] of Object.entries(operation.responses)) {
        const schema = content?.['application/json']?.schema;
        const tops = schema === undefined ? [] : ((schema['anyOf'] as Json[] | undefined) ?? [schema]);
        for (const top of tops) assert.equal(top['additionalProperties'], false, `${path} ${status}`);
      }
    }
  });

  await t.test('admits null for every optional member of a request and for no required one', () => {
    const ajv = schemaValidator();
    let members = 0;
    for (const { path, operation } of operations) {
      const body = bodyOf(operation);
      const required = new Set((body?.['required'] ?? []) as string[]);
      for (const [name, schema] of Object.entries((body?.['properties'] ?? {}) as Record<string, Json>)) {
        assert.equal(ajv.compile(schema)(null), !required.has(name), `${path} ${name}`);
        members += 1;
      }
    }
    assert.ok(members > 20);
  });

  await t.test('does not require a body where no member is required', async () => {
    for (const { path, operation } of operations) {
      const body = bodyOf(operation);
      if (body === undefined) continue;
      const required = ((body['required'] ?? []) as string[]).length > 0;
      assert.equal(operation.requestBody?.required, required, path);
    }
  });

  await t.test('refuses what it says it refuses: a member of no documented type', async () => {
    const ajv = schemaValidator();
    const schema = paths['/token/verify']?.['post']?.requestBody?.content?.['application/json']?.schema;
    assert.ok(schema !== undefined);
    const validate = ajv.compile(schema);
    for (const body of [{ token: 1 }, { token: [] }, { token: true }, { token: null }, {}]) {
      const answer = await call({ method: 'POST', url: '/token/verify', json: body });
      assert.equal(answer.status, 400);
      assert.equal(validate(body), false, JSON.stringify(body));
    }
  });

  await t.test('covers a GET that carries a body, whatever its type', async () => {
    for (const { method, url } of routes) {
      if (method !== 'GET' || url.includes(':')) continue;
      for (const type of ['text/plain', 'application/json'])
        await call({ method, url, key: adminKey, raw: '{"a":', headers: { 'content-type': type } });
    }
  });

  await t.test('tells the same to whoever asks', async () => {
    const asked = await call({ method: 'GET', url: '/v1/openapi.json', key: adminKey });
    assert.equal(asked.text, served.text);
  });

  const documentedCodes = new Map<string, Set<string>>();
  for (const { operation } of operations) {
    for (const [status, { content }] of Object.entries(operation.responses)) {
      for (const code of codesOf(content?.['application/json']?.schema)) {
        documentedCodes.set(code, (documentedCodes.get(code) ?? new Set()).add(status));
      }
    }
  }

  await t.test('documents every code, each under its status', () => {
    const undocumented = Object.keys(ERROR_CODES).filter((code) => !documentedCodes.has(code));
    assert.deepEqual(undocumented, []);
    for (const [code, statuses] of documentedCodes) {
      const { status } = ERROR_CODES[code as keyof typeof ERROR_CODES];
      assert.deepEqual([...statuses], [String(status)], code);
    }
  });

  await t.test('documents every code that the source raises', () => {
    const raised = readdirSync('src', { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .flatMap((file) => [...readFileSync(`src/${file}`, 'utf8').matchAll(/new WritError\(\s*'([A-Z_]+)'/g)])
      .map((match) => match[1] ?? '');
    assert.ok(new Set(raised).size > 10);
    assert.deepEqual(
      raised.filter((code) => !documentedCodes.has(code)),
      [],
    );
  });

  await t.test('has the codes of its place: UNAUTHORIZED inside /v1, AUTH_… outside', () => {
    for (const { path, operation } of operations) {
      const codes = codesOf(operation.responses['401']?.content?.['application/json']?.schema);
      const inside = path.startsWith('/v1/');
      if (codes.length === 0) continue;
      const ofTokens = operation.security.some((scheme) => 'scopedToken' in scheme) ? TOKEN_CODES : [];
      assert.deepEqual(
        codes.sort(),
        inside
          ? [...ofTokens, 'UNAUTHORIZED']
          : ['AUTH_EXPIRED_KEY', 'AUTH_INVALID_KEY', ...(DELEGATING.has(path) ? PARENT_CODES : [])],
        path,
      );
    }
  });
});

/** Where a scoped token is a credential. */
const TOKEN_CODES = ['TOKEN_EXHAUSTED', 'TOKEN_EXPIRED', 'TOKEN_INVALID', 'TOKEN_REVOKED'];
/** They refuse the token that they are asked to pass on. */
const DELEGATING: ReadonlySet<string> = new Set(['/delegation/create', '/iap/trust/delegate']);
const PARENT_CODES = TOKEN_CODES.filter((code) => code !== 'TOKEN_EXHAUSTED');

function codesOf(schema: Json | undefined): string[] {
  const properties = (schema?.['properties'] ?? {}) as Record<string, Json>;
  const inside = ((properties['error']?.['properties'] ?? {}) as Record<string, Json>)['code'];
  return [...(((properties['error_code'] ?? inside)?.['enum'] ?? []) as string[])];
}

test('the check against the description', { skip: postgresSkip }, async (t) => {
  const { call, app } = await buildTestApp(t);
  const document = (await call<Json>({ method: 'GET', url: '/v1/openapi.json' })).body;
  const check = createOpenApiCheck(document);
  const requestId = '019a0000-0000-7000-8000-000000000000';
  const good: CheckedExchange = {
    method: 'GET',
    url: '/health',
    status: 200,
    headers: { 'x-request-id': requestId, 'content-type': 'application/json; charset=utf-8' },
    text: '{"success":true,"status":"ok","version":"1.0.0"}',
  };
  const refusal = (code: string, more: object = {}) =>
    JSON.stringify({
      success: false,
      allowed: false,
      error: 'm',
      error_code: code,
      message: 'm',
      reason: 'm',
      request_id: requestId,
      ...more,
    });
  const busy: CheckedExchange = {
    ...good,
    status: 503,
    headers: { ...good.headers, 'retry-after': '1' },
    text: refusal('BUSY'),
  };
  const gone: CheckedExchange = { ...good, url: '/nothing', status: 404, text: refusal('NOT_FOUND') };
  const grant: CheckedExchange = {
    ...good,
    method: 'POST',
    url: '/verify/action',
    status: 400,
    text: refusal('VALIDATION_ERROR', { allowed: false, reason: 'm' }),
  };
  const deleted: CheckedExchange = {
    ...good,
    method: 'DELETE',
    url: '/v1/agents/a',
    status: 204,
    headers: { 'x-request-id': requestId },
    text: '',
  };

  await t.test('takes what is documented', () => {
    for (const exchange of [
      good,
      busy,
      gone,
      grant,
      deleted,
      { ...good, url: 'http://writ.example/health' },
      { ...good, text: refusal('VALIDATION_ERROR'), status: 400, url: '/health?x=1' },
    ])
      check(exchange);
  });

  const refused: Readonly<Record<string, CheckedExchange>> = {
    'an undocumented status': { ...good, status: 202 },
    'an undocumented status of a refusal': { ...good, status: 409, text: refusal('ALREADY_EXISTS') },
    'an undocumented member': { ...good, text: '{"success":true,"status":"ok","version":"1","more":1}' },
    'a missing member': { ...good, text: '{"success":true,"status":"ok"}' },
    'a member of another type': { ...good, text: '{"success":"true","status":"ok","version":"1"}' },
    'an undocumented code': { ...busy, text: refusal('ALREADY_EXISTS') },
    'a code under another status': { ...good, status: 400, text: refusal('BUSY') },
    'the envelope of the other place': {
      ...good,
      url: '/v1/health',
      status: 400,
      text: refusal('VALIDATION_ERROR'),
    },
    'a missing Retry-After': { ...busy, headers: good.headers },
    'a Retry-After that is a date': {
      ...busy,
      headers: { ...busy.headers, 'retry-after': 'Wed, 21 Oct 2015 07:28:00 GMT' },
    },
    'a Retry-After of 0': { ...busy, headers: { ...busy.headers, 'retry-after': '0' } },
    'a Retry-After where none is documented': { ...good, headers: { ...good.headers, 'retry-after': '1' } },
    'a missing request id': { ...good, headers: { 'content-type': 'application/json; charset=utf-8' } },
    'another content type': { ...good, headers: { ...good.headers, 'content-type': 'text/html' } },
    'no content type': { ...good, headers: { 'x-request-id': requestId } },
    'a body where none is documented': { ...deleted, text: '{}' },
    'a content type where no body is documented': { ...deleted, headers: good.headers },
    'an answer of what is not routed': { ...gone, status: 200 },
    'an answer of a method that is not routed': { ...good, method: 'PUT' },
    'a method that is not routed, refused otherwise': { ...gone, url: '/health', method: 'PUT', status: 405 },
    'another code for what is not routed': { ...gone, text: refusal('FORBIDDEN') },
    'the wrong envelope for what is not routed': { ...gone, url: '/v1/nothing' },
    'a refusal that does not say allowed: false': {
      ...grant,
      text: refusal('VALIDATION_ERROR', { allowed: undefined }),
    },
    'a refusal that says allowed: true': {
      ...grant,
      text: refusal('VALIDATION_ERROR', { allowed: true, reason: 'm' }),
    },
    'an unrouted method there that does not say it': {
      ...gone,
      url: '/verify/action',
      text: refusal('NOT_FOUND', { allowed: undefined }),
    },
  };
  for (const [what, exchange] of Object.entries(refused)) {
    await t.test(`refuses ${what}`, () => assert.throws(() => check(exchange), assert.AssertionError));
  }

  await t.test('sees every answer of every test through `call`', async () => {
    const answer = { status: 202, headers: good.headers, text: good.text, body: {} };
    const run = async () => {
      for (const hook of onResponse) await hook({ request: { method: 'GET', url: '/health' }, answer, app });
    };
    assert.ok(onResponse.length > 0);
    await assert.rejects(run, /status is not documented/);
  });
});
