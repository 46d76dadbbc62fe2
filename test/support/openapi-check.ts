/**
 * Checks an answer against the description that its own app serves: operation, status, headers, media type and shape
 * must be documented. What is not routed must be 404 `NOT_FOUND` in the envelope of its place.
 */
import assert from 'node:assert/strict';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import type { FastifyInstance } from 'fastify';

export type Json = Readonly<Record<string, unknown>>;

export interface CheckedExchange {
  readonly method: string;
  /** As sent; an absolute form is read by its path. */
  readonly url: string;
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
}

/** Throws an AssertionError that says what is not as documented. */
export type OpenApiCheck = (exchange: CheckedExchange) => void;

interface Described {
  readonly headers?: Readonly<Record<string, { readonly schema: Json }>>;
  readonly content?: Readonly<Record<string, { readonly schema: Json }>>;
}
interface Operation {
  readonly responses: Readonly<Record<string, Described>>;
}
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

const FORMATS: Readonly<Record<string, RegExp>> = {
  'date-time': /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
  uuid: /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/,
  email: /^[^@\s]+@[^@\s]+$/,
};
/** Asked once for each set of routes: a process has one program, and describes them in one way. */
const checks = new WeakMap<FastifyInstance, Promise<OpenApiCheck>>();
const byRoutes = new Map<string, Promise<OpenApiCheck>>();

/** Strict: a keyword that nobody knows is an error. */
export function schemaValidator(): Ajv2020 {
  const ajv = new Ajv2020({
    strict: true,
    strictTypes: false,
    strictRequired: false,
    allErrors: true,
    formats: { ...FORMATS },
  });
  // An annotation of request schemas: which code a fault there has.
  return ajv.addKeyword('x-error-code').addKeyword('x-rule');
}

/** The check for this app, by what it serves at `/v1/openapi.json`. */
export function openApiCheckOf(app: FastifyInstance): Promise<OpenApiCheck> {
  const known = checks.get(app) ?? checkOfRoutes(app);
  checks.set(app, known);
  return known;
}

function checkOfRoutes(app: FastifyInstance): Promise<OpenApiCheck> {
  const routes = app.printRoutes({ commonPrefix: false });
  const known = byRoutes.get(routes) ?? readCheck(app);
  byRoutes.set(routes, known);
  return known;
}

async function readCheck(app: FastifyInstance): Promise<OpenApiCheck> {
  // From an address of its own, so that no limit of a test counts it.
  const { payload, statusCode } = await app.inject({
    method: 'GET',
    url: '/v1/openapi.json',
    remoteAddress: '2001:db8:ffff:ffff::1',
  });
  assert.equal(statusCode, 200, payload);
  return createOpenApiCheck(JSON.parse(payload) as Json);
}

const validator = schemaValidator();
const byPlace = new WeakMap<Json, ValidateFunction>();
const byText = new Map<string, ValidateFunction>();

/** Compiled once for each text: most answers are the one envelope of errors, which every operation describes. */
function validatorOf(schema: Json): ValidateFunction {
  const known = byPlace.get(schema);
  if (known !== undefined) return known;
  const text = JSON.stringify(schema);
  const made = byText.get(text) ?? validator.compile(schema);
  byText.set(text, made);
  byPlace.set(schema, made);
  return made;
}

export function createOpenApiCheck(document: Json): OpenApiCheck {
  const operationAt = operationsOf(document['paths'] as Paths);
  return (exchange) => {
    const about = `${exchange.method} ${exchange.url.slice(0, 120)} → ${exchange.status} ${exchange.text.slice(0, 500)}`;
    assert.match(
      exchange.headers['x-request-id'] ?? '',
      FORMATS['uuid'] as RegExp,
      `no X-Request-Id: ${about}`,
    );
    const path = pathOf(exchange.url);
    const asSent = operationAt(exchange.method, path);
    const operation = asSent ?? operationAt(exchange.method, decoded(path));
    // `/%761/me` for `/v1/me`: a router may take it for the same or for nothing.
    if (operation === undefined || (asSent === undefined && exchange.status === 404)) {
      assertNotFound(exchange, path, about);
      return;
    }
    const described = operation.responses[String(exchange.status)];
    assert.ok(described !== undefined, `the status is not documented: ${about}`);
    checkHeaders(described, exchange, about);
    checkBody(described, exchange, about);
  };
}

function pathOf(url: string): string {
  return url.replace(/^https?:\/\/[^/?#]*/i, '').replace(/\?.*$/s, '') || '/';
}

function decoded(path: string): string {
  try {
    return decodeURI(path);
  } catch {
    return path;
  }
}

/** What is documented at a path, by method in lower case. */
type OperationAt = (method: string, path: string) => Operation | undefined;

function operationsOf(paths: Paths): OperationAt {
  const templates = Object.keys(paths)
    // What is written out wins over a parameter.
    .sort((a, b) => a.split('{').length - b.split('{').length || b.length - a.length)
    .map((template) => ({ pattern: patternOf(template), operations: paths[template] }));
  return (method, path) =>
    templates.find(
      ({ pattern, operations }) => operations?.[method.toLowerCase()] !== undefined && pattern.test(path),
    )?.operations?.[method.toLowerCase()];
}

/** `{path}` holds slashes, and may be empty where that is a fault of its own; every other parameter is one segment. */
function patternOf(template: string): RegExp {
  const parts = template.split(/(\{\w+\})/).map((part) => {
    if (part === '{path}') return '.*';
    return part.startsWith('{') ? '[^/]+' : part.replaceAll('.', '\\.');
  });
  return new RegExp(`^${parts.join('')}$`, 's');
}

const CONTENT_TYPE = /^application\/json; charset=utf-8$/;

/** Contract section 3: the envelope of its place. */
function assertNotFound(exchange: CheckedExchange, path: string, about: string): void {
  assert.equal(exchange.status, 404, `not routed, so it must be 404: ${about}`);
  if (exchange.method === 'HEAD') return;
  assert.match(exchange.headers['content-type'] ?? '', CONTENT_TYPE, about);
  const body = JSON.parse(exchange.text) as Record<string, unknown>;
  const inside = /^\/v1(\/|$)/.test(path);
  const message = inside ? body['detail'] : body['message'];
  const id = exchange.headers['x-request-id'];
  assert.equal(typeof message, 'string', about);
  const envelope = inside
    ? { error: { code: 'NOT_FOUND', message }, detail: message, request_id: id }
    : {
        success: false,
        allowed: false,
        error: message,
        error_code: 'NOT_FOUND',
        message,
        reason: message,
        request_id: id,
        ...(path === '/iap/enforce' ? { action: 'block' } : {}),
      };
  assert.deepEqual(body, envelope, about);
}

/** A documented header of a refusal is always there: `Retry-After` with 429 and 503, `WWW-Authenticate` with 401. */
function checkHeaders(described: Described, { headers, status }: CheckedExchange, about: string): void {
  for (const [name, { schema }] of Object.entries(described.headers ?? {})) {
    const text = headers[name.toLowerCase()];
    assert.ok(text !== undefined, `${name} is documented and missing: ${about}`);
    const value = schema['type'] === 'integer' && /^[1-9]\d*$/.test(text) ? Number(text) : text;
    assert.ok(validatorOf(schema)(value), `${name}: ${text} is not as documented: ${about}`);
  }
  const documented = new Set(Object.keys(described.headers ?? {}).map((name) => name.toLowerCase()));
  for (const name of ['retry-after', 'www-authenticate']) {
    assert.equal(headers[name] !== undefined, documented.has(name), `${name} is not documented: ${about}`);
  }
  assert.equal(documented.has('retry-after'), status === 429 || status === 503, about);
}

function checkBody({ content }: Described, { headers, text }: CheckedExchange, about: string): void {
  const type = headers['content-type'];
  if (content === undefined) {
    assert.equal(text, '', `no body is documented: ${about}`);
    assert.equal(type, undefined, `no content type is documented: ${about}`);
    return;
  }
  const mediaType = type?.split(';')[0] ?? '';
  const documented = content[mediaType];
  assert.ok(documented !== undefined, `the content type ${type} is not documented: ${about}`);
  const validate = validatorOf(documented.schema);
  const value: unknown = mediaType === 'application/json' ? JSON.parse(text) : text;
  assert.ok(validate(value), `the body is not as documented: ${JSON.stringify(validate.errors)} ${about}`);
}
