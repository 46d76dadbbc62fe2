/**
 * Guarantees a whole Writ over a Postgres database of its own, without a listener. `call` is the one way in which
 * tests make requests, so that what holds for every answer can be checked in one place (`onResponse`).
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { TestContext } from 'node:test';
import type { FastifyInstance, InjectOptions, RouteOptions } from 'fastify';
import pg from 'pg';
import { uuidv7 } from 'uuidv7';
import { buildApp } from '../../src/app/build-app.ts';
import type { Config } from '../../src/config.ts';
import { formatTimestamp } from '../../src/domain/formats/rfc3339.ts';
import { createLog, type Log } from '../../src/platform/log.ts';
import { createMetrics, type Metrics } from '../../src/platform/metrics.ts';
import type { ConfigVariable } from '../../src/settings-table.ts';
import { provision } from '../../src/start/provision.ts';
import type { Database, DatabaseTimeouts } from '../../src/storage/engine/database.ts';
import { openApiCheckOf } from './openapi-check.ts';
import { openPatiently } from './patient-database.ts';
import { createProvisionedDatabase, createTestDatabase } from './postgres.ts';
import { configOf, type Overrides } from './test-config.ts';

export interface TestRequest {
  readonly method: string;
  readonly url: string;
  /** Sent as `X-API-Key`. */
  readonly key?: string;
  /** A list is a header that comes several times. */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is, with the content type of `headers`, else as application/json. */
  readonly raw?: string | Uint8Array;
  /** The socket's other end. */
  readonly remoteAddress?: string;
}

export interface TestAnswer<Body = unknown> {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | undefined>>;
  readonly text: string;
  /** The JSON value of `text`; undefined where there is none. The type is the test's own claim. */
  readonly body: Body;
}

export interface Exchange {
  readonly request: TestRequest;
  readonly answer: TestAnswer;
  readonly app: FastifyInstance;
}

/** Run after every answer that passes `call`; what they throw fails the test that asked. */
export const onResponse: ((exchange: Exchange) => void | Promise<void>)[] = [
  async ({ request, answer, app }) => (await openApiCheckOf(app))({ ...request, ...answer }),
];

export interface AgentSpec {
  readonly name?: string;
  readonly [member: string]: unknown;
}

export interface CreatedAgent {
  readonly id: string;
  readonly name: string;
  readonly key: string;
  readonly keyId: string;
}

export interface RegisteredRoute {
  readonly method: string;
  readonly url: string;
}

export interface TestApp {
  readonly app: FastifyInstance;
  readonly metrics: Metrics;
  readonly database: Database;
  readonly databaseUrl: string;
  /** The key of the first administrator. */
  readonly adminKey: string;
  /** Every route that the app registered, as written in the code. */
  readonly routes: readonly RegisteredRoute[];
  call<Body = unknown>(request: TestRequest): Promise<TestAnswer<Body>>;
  /** By `POST /v1/agents` as the administrator. The name is made up where none is given. */
  createAgent(spec?: AgentSpec): Promise<CreatedAgent>;
  /** One statement, past the app. */
  sql<Row extends pg.QueryResultRow>(text: string, values?: readonly unknown[]): Promise<Row[]>;
}

/** What the first start on a database stores there. */
const STORED: readonly ConfigVariable[] = [
  'MASTER_KEY',
  'MASTER_KEY_FILE',
  'BOOTSTRAP_ADMIN_KEY',
  'ISSUER_URL',
  'TOKEN_AUDIENCE',
  'HOST',
  'PORT',
];

const logs = new Map<string, Log>();

/** One for all apps of the process: each has a timer that writes once a second, if only nothing, and ends with the process. */
function logOf(level: Config['logLevel']): Log {
  const log = logs.get(level) ?? createLog({ level, formatTimestamp });
  logs.set(level, log);
  return log;
}

/**
 * `t` is a test's context or `{ after }` of a file; the app and its database are closed after it. The start is the
 * second one on the database, which costs a fifth of the first, unless `overrides` name what the first one stores.
 */
export async function buildTestApp(
  t: Pick<TestContext, 'after'>,
  overrides: Overrides = {},
  timeouts: Partial<DatabaseTimeouts> = {},
): Promise<TestApp> {
  if (STORED.some((name) => overrides[name] !== undefined)) {
    return openTestApp(t, (await createTestDatabase(t)).url, overrides, timeouts);
  }
  const { url, adminKey } = await createProvisionedDatabase(t);
  return openTestApp(t, url, overrides, timeouts, adminKey);
}

/** Another process, as it were, on a database that exists. `knownKey`: the administrator's, where the start makes none. */
export async function openTestApp(
  t: Pick<TestContext, 'after'>,
  databaseUrl: string,
  overrides: Overrides = {},
  timeouts: Partial<DatabaseTimeouts> = {},
  knownKey = '',
): Promise<TestApp> {
  const config = configOf({ DATABASE_URL: databaseUrl, ...overrides });
  const database = await openPatiently(databaseUrl, config.databasePoolMax, timeouts);
  const direct = new pg.Pool({ connectionString: databaseUrl, max: 1 });
  direct.on('error', () => undefined);
  let app: FastifyInstance | undefined;
  t.after(async () => {
    await app?.close();
    await database.close();
    await direct.end();
  });
  const provisioned = await provision({ database, config, newId: uuidv7 });
  const routes: RegisteredRoute[] = [];
  const log = logOf(config.logLevel);
  const metrics = createMetrics();
  const built = await collectingRoutes(routes, () =>
    buildApp({ config, database, provisioned, log, metrics }),
  );
  app = built;
  const adminKey = provisioned.newAdminKey ?? knownKey;
  const call = async <Body>(request: TestRequest): Promise<TestAnswer<Body>> => {
    const answer = await inject<Body>(built, request);
    for (const check of onResponse) await check({ request, answer, app: built });
    return answer;
  };
  return {
    app: built,
    metrics,
    database,
    databaseUrl,
    adminKey,
    routes,
    call,
    createAgent: (spec) => createAgent(call, adminKey, spec),
    sql: async <Row extends pg.QueryResultRow>(text: string, values: readonly unknown[] = []) =>
      (await direct.query<Row>(text, [...values])).rows,
  };
}

/** Fastify announces every instance while it is made: before the first route. */
async function collectingRoutes<T>(routes: RegisteredRoute[], build: () => Promise<T>): Promise<T> {
  const listen = (message: unknown): void => {
    const { fastify } = message as { fastify: FastifyInstance };
    fastify.addHook('onRoute', ({ method, url }: RouteOptions) => {
      for (const name of [method].flat()) routes.push({ method: name, url });
    });
  };
  subscribe('fastify.initialization', listen);
  try {
    return await build();
  } finally {
    unsubscribe('fastify.initialization', listen);
  }
}

async function inject<Body>(app: FastifyInstance, request: TestRequest): Promise<TestAnswer<Body>> {
  const payload =
    request.raw === undefined
      ? request.json === undefined
        ? undefined
        : JSON.stringify(request.json)
      : typeof request.raw === 'string'
        ? request.raw
        : Buffer.from(request.raw);
  const headers = {
    ...(payload === undefined ? {} : { 'content-type': 'application/json' }),
    ...(request.key === undefined ? {} : { 'x-api-key': request.key }),
    ...request.headers,
  };
  const given = Object.entries(headers).filter(([, value]) => value !== NO_HEADER);
  const answer = await app.inject({
    method: request.method,
    url: request.url,
    headers: Object.fromEntries(given),
    ...(payload === undefined ? {} : { payload }),
    ...(request.remoteAddress === undefined ? {} : { remoteAddress: request.remoteAddress }),
  } as InjectOptions);
  return {
    status: answer.statusCode,
    headers: answer.headers as Record<string, string | undefined>,
    text: answer.payload,
    body: parseOrUndefined(answer.payload) as Body,
  };
}

/** As the value of a header: it is not sent at all. */
export const NO_HEADER = '(not sent)';

function parseOrUndefined(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

let named = 0;

async function createAgent(
  call: TestApp['call'],
  adminKey: string,
  spec: AgentSpec = {},
): Promise<CreatedAgent> {
  named += 1;
  const json = { name: `agent-${named}`, ...spec };
  const { status, text, body } = await call<{ id: string; api_key: string; key_id: string }>({
    method: 'POST',
    url: '/v1/agents',
    key: adminKey,
    json,
  });
  assert.equal(status, 201, text);
  return { id: body.id, name: json.name, key: body.api_key, keyId: body.key_id };
}

/** What either envelope says of an error. */
export interface ErrorFacts {
  readonly code: string | undefined;
  readonly message: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;
}

export function errorOf({ body }: TestAnswer): ErrorFacts {
  const envelope = (body ?? {}) as {
    error?: string | { code?: string; message?: string; details?: Record<string, unknown> };
    error_code?: string;
    message?: string;
    details?: Record<string, unknown>;
  };
  return typeof envelope.error === 'object'
    ? {
        code: envelope.error.code,
        message: envelope.error.message,
        details: envelope.error.details,
      }
    : { code: envelope.error_code, message: envelope.message, details: envelope.details };
}

/** Asserts a documented refusal: status, code and, where given, members of `details`. */
export function assertRefused(
  answer: TestAnswer,
  expected: { status: number; code: string; details?: Readonly<Record<string, unknown>> },
  about?: string,
): void {
  const { code, details } = errorOf(answer);
  const shown = Object.fromEntries(
    Object.keys(expected.details ?? {}).map((name) => [name, details?.[name]]),
  );
  assert.deepEqual(
    {
      status: answer.status,
      code,
      ...(expected.details === undefined ? {} : { details: shown }),
    },
    expected,
    `${about ?? ''} ${answer.text}`,
  );
}
