/**
 * The Fastify instance and what holds for every request: its id, its headers, its one log line, its errors. Limits
 * and time-outs are here; rules are not.
 */

import type { Socket } from 'node:net';
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify';
import { type ErrorCode, WritError } from '../../errors.ts';
import { type AnswerTally, DURATION_BOUNDS_MS } from './answer-tally.ts';
import { createParserRefusals, type LatestRequests } from './client-errors.ts';
import { createConnectionLimits } from './connection-limits.ts';
import { errorAnswer, noSuchEndpoint } from './error-envelopes.ts';
import { fromFramework } from './framework-errors.ts';
import { closeIdleConnectionsBeforeTheEnd } from './idle-connections.ts';
import { acceptJsonBodies, MAX_BODY_BYTES, type ReadJson } from './json-body.ts';
import { type ReadClient, refuseHead, requestStateOf, takesBasic } from './request-state.ts';
import { SCHEMA_COMPILERS } from './schema-compilers.ts';
import { validationError } from './validation.ts';

export interface ServerOptions {
  readonly requestTimeoutMs: number;
  readonly readClient: ReadClient;
  readonly readJson: ReadJson;
  readonly newRequestId: () => string;
  readonly monotonicMs: () => number;
  readonly log: RequestLog;
  readonly tally: AnswerTally;
}

/** One line per request. */
export interface RequestLog {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/** For an API that serves no documents to browsers. */
const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
} as const;

const MAX_TARGET_PARAMETER = 2048;

export function createServer(options: ServerOptions): FastifyInstance {
  const latest: LatestRequests = new WeakMap();
  const begun = { readClient: options.readClient, latest };
  const refusals = createParserRefusals(options.newRequestId, latest);
  const connections = createConnectionLimits(options);
  const app = Fastify({
    logger: false,
    bodyLimit: MAX_BODY_BYTES,
    requestTimeout: options.requestTimeoutMs,
    // How often Node looks for requests that are late; its default of 30 s would be the real time-out.
    http: {
      connectionsCheckingInterval: Math.min(1000, options.requestTimeoutMs),
      // Node would answer with an empty 400, before anything of ours: see `refuseHead`.
      requireHostHeader: false,
      ServerResponse: connections.Response,
    },
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    // While draining, what still arrives on an open connection is answered like anything else, then the connection closes.
    return503OnClosing: false,
    exposeHeadRoutes: false,
    requestIdHeader: false,
    genReqId: options.newRequestId,
    routerOptions: { maxParamLength: MAX_TARGET_PARAMETER },
    rewriteUrl: (request) => routable(originForm(request.url ?? '/')),
    schemaController: {
      compilersFactory: {
        buildValidator: () => whenFirstNeeded(SCHEMA_COMPILERS.buildValidator()),
        buildSerializer: () => whenFirstNeeded(SCHEMA_COMPILERS.buildSerializer()),
      },
    },
    schemaErrorFormatter: validationError,
    clientErrorHandler: refusals.answer,
    frameworkErrors: (error, request, reply) => {
      beginRequest(request, reply, begun);
      return answerError(headFault(request, reply) ?? error, request, reply);
    },
  });
  // Node swaps the two when the limit for headers is the larger one, and a slow body would then have a minute.
  app.server.headersTimeout = Math.min(app.server.headersTimeout, options.requestTimeoutMs);
  options.tally.watch(app);
  app.decorateRequest('state');
  app.decorateRequest('auth');
  app.decorateRequest('authorized');
  // With callbacks: a promise for every hook of every request is felt.
  app.addHook('onRequest', (request, reply, done) => {
    beginRequest(request, reply, begun);
    // Before a byte of the body: what is wrong with it is no concern of an endpoint that does not exist.
    done(headFault(request, reply) ?? (request.is404 ? noSuchEndpoint() : undefined));
  });
  app.addHook('onResponse', (request, reply, done) => {
    recordRequest(request, reply, options);
    done();
  });
  connections.keepFor(app);
  closeIdleConnectionsBeforeTheEnd(app);
  app.setErrorHandler(answerError);
  app.setNotFoundHandler((request, reply) => answerError(noSuchEndpoint(), request, reply));
  // RFC 9110 section 10.1.1: an expectation that we do not know is not worth refusing a request for.
  app.server.on('checkExpectation', (request, response) => app.server.emit('request', request, response));
  app.server.on('connect', (_request, socket) => refusals.answerConnect(socket as Socket));
  acceptJsonBodies(app, options.readJson);
  return app;
}

/** RFC 9112 section 3.2.2: a server must accept the absolute form, and reads it by its path. */
function originForm(target: string): string {
  if (target.startsWith('/')) return target;
  const match = /^https?:\/\/[^/?#]*(.*)$/i.exec(target);
  if (match === null) return target;
  const rest = match[1] ?? '';
  return rest.startsWith('/') ? rest : `/${rest}`;
}

const SECRET_TARGETS = '/v1/secrets/';

/**
 * What the router would judge by rules of its own is given to it so that it reads it as it stands. RFC 9112 section
 * 3.2: a target has no fragment, so `#` is a character like any other. Below `/v1/secrets/` an escape that does not
 * decode is a fault of the path, judged in its turn and not before anybody is asked who they are: with its escapes
 * escaped it is routed, and is a path no more than before.
 */
function routable(target: string): string {
  const plain = target.includes('#') ? target.replaceAll('#', '%23') : target;
  if (!plain.startsWith(SECRET_TARGETS)) return plain;
  const end = plain.indexOf('?');
  const path = end === -1 ? plain : plain.slice(0, end);
  return decodes(path) ? plain : path.replaceAll('%', '%25') + plain.slice(path.length);
}

function decodes(path: string): boolean {
  if (!path.includes('%')) return true;
  try {
    decodeURIComponent(path);
    return true;
  } catch {
    return false;
  }
}

function beginRequest(
  request: FastifyRequest,
  reply: FastifyReply,
  { readClient, latest }: { readonly readClient: ReadClient; readonly latest: LatestRequests },
): void {
  latest.set(request.raw.socket, reply);
  request.state = requestStateOf(request, readClient);
  setCommonHeaders(request, reply);
}

function headFault(request: FastifyRequest, reply: FastifyReply): WritError | undefined {
  const fault = refuseHead(request.raw);
  // Whoever sent it does not write requests as we read them.
  if (fault !== undefined) reply.raw.shouldKeepAlive = false;
  return fault;
}

function setCommonHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.headers(SECURITY_HEADERS);
  reply.header('x-request-id', request.id);
  reply.header('cache-control', 'no-store');
}

function answerError(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const known = fromFramework(error);
  request.state.failure = known;
  const answer = errorAnswer(known, {
    path: request.state.path,
    requestId: request.id,
    takesBasic: takesBasic(request),
  });
  // A stream that fails at its first byte has the headers of what it would have been.
  for (const name of Object.keys(reply.getHeaders())) reply.removeHeader(name);
  setCommonHeaders(request, reply);
  return reply.code(answer.status).headers(answer.headers).send(answer.body);
}

/** They ask every few seconds; their success is no news. */
const PROBES: ReadonlySet<string> = new Set(['/ready', '/health', '/v1/health', '/metrics']);

function recordRequest(
  { id, method, routeOptions, state, auth }: FastifyRequest,
  reply: FastifyReply,
  { log, tally }: ServerOptions,
): void {
  const { statusCode: status } = reply;
  // The pattern: a target as sent could hold anything.
  const route = routeOptions.url ?? '-';
  const { elapsedTime } = reply;
  const answers = routeOptions.config?.answers ?? tally.unrouted;
  const statusClass = Math.floor(status / 100);
  answers.byClass[statusClass] = (answers.byClass[statusClass] ?? 0) + 1;
  let bucket = 0;
  while (elapsedTime > (DURATION_BOUNDS_MS[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1;
  answers.durations[bucket] = (answers.durations[bucket] ?? 0) + 1;
  answers.milliseconds += elapsedTime;
  const code = codeOf(state.failure);
  if (code !== undefined) tally.refusals.set(code, (tally.refusals.get(code) ?? 0) + 1);
  const fields = {
    request_id: id,
    method,
    route,
    status,
    ms: Math.round(elapsedTime * 10) / 10,
    ip: state.context.ipAddress,
    principal: auth?.principalId,
    // Undefined members are not written.
    code,
    err: status >= 500 ? state.failure : undefined,
  };
  if (status >= 500) log.error(fields, 'request');
  else if (status === 200 && PROBES.has(route)) log.debug(fields, 'request');
  else log.info(fields, 'request');
}

/** Undefined for what was not refused. */
function codeOf(failure: unknown): ErrorCode | undefined {
  if (failure === undefined) return undefined;
  return failure instanceof WritError ? failure.code : 'INTERNAL';
}

/** A serializer, or a validator, which leaves its errors as a property of itself. */
type OfOneValue = ((value: unknown) => unknown) & { readonly errors?: unknown };

/** All schemas are a quarter of a start, and few processes are asked at every endpoint and meet each of its errors. */
export function whenFirstNeeded<Route, Compiled>(
  compile: (route: Route) => Compiled,
): (route: Route) => Compiled {
  return (route) => {
    let compiled: OfOneValue | undefined;
    const call = (value: unknown): unknown => {
      compiled ??= compile(route) as unknown as OfOneValue;
      return compiled(value);
    };
    return Object.defineProperty(call, 'errors', { get: () => compiled?.errors }) as unknown as Compiled;
  };
}
