/**
 * How a route is declared: who may call it, what it takes, what it answers, how it may refuse. A route file reads
 * as its specification; everything here is what all routes share. Order: credential, role, media type, JSON,
 * schema, then the handler.
 */

import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Static, TSchema } from 'typebox';
import type { Role } from '../../domain/principals/role.ts';
import type { ErrorCode } from '../../errors.ts';
import type { RequestContext } from '../../use-cases/audit/ports.ts';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { AuthorizedRequest, SecretRequest } from '../../use-cases/secrets/authorized-request.ts';
import {
  type AdmissionDeps,
  beforeRefusing,
  checkAccess,
  type RouteAccess,
} from '../admission/route-admission.ts';
import { dropNullMembers } from '../server/json-body.ts';

export interface Answer {
  readonly status: number;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** Which member of a union the body is: without it the answer is validated to find out. */
  readonly shape?: TSchema;
}

export interface RouteInput<Body, Query, Params> {
  readonly body: Body;
  readonly query: Query;
  readonly params: Params;
  readonly context: RequestContext;
  readonly request: FastifyRequest;
}

/** What a route says of itself, for the description as well as for the server. */
export interface Shape<
  Body extends TSchema = TSchema,
  Query extends TSchema = TSchema,
  Params extends TSchema = TSchema,
> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  /** Request headers that mean something, by name. */
  readonly headers?: Readonly<Record<string, TSchema>>;
  /** Headers of every answer that is no refusal, by name. */
  readonly answerHeaders?: Readonly<Record<string, TSchema>>;
  /** Of an answer that is not JSON; several where the request chooses. */
  readonly mediaTypes?: readonly string[];
  /**
   * What its schemas refuse is not refused before `handle`, which calls `requireWellFormed` once it has decided what comes
   * first. Until then nothing is known of the body but that it is JSON.
   */
  readonly faultsWait?: boolean;
  /** Is answered before its body is looked at. */
  readonly readsNothing?: boolean;
  /** Also takes its body as a form (RFC 6749 appendix B). */
  readonly takesForms?: boolean;
  /** Also takes the API key as HTTP Basic (RFC 6749 section 2.3.1). */
  readonly takesBasic?: boolean;
  /** The path as people write it, where the router's pattern cannot say it. */
  readonly documentedPath?: string;
  /** Status to schema; null means an answer without a body. */
  readonly answers: Readonly<Record<number, TSchema | null>>;
  /** Beside the codes that every route shares. */
  readonly refusals?: readonly ErrorCode[];
}

export interface PublicRoute<Body extends TSchema, Query extends TSchema, Params extends TSchema>
  extends Shape<Body, Query, Params> {
  /** `api-key-if-sent`: none is fine, a wrong one is 401. */
  readonly credential: 'none' | 'api-key-if-sent';
  handle(
    input: RouteInput<Static<Body>, Static<Query>, Static<Params>> & { caller: Caller | undefined },
  ): Promise<Answer>;
}

export interface AuthenticatedRoute<Body extends TSchema, Query extends TSchema, Params extends TSchema>
  extends Shape<Body, Query, Params> {
  readonly roles: readonly Role[];
  /** `before-handler`: the key's row is read first. `in-write`: the write at the end judges it in its own statement. */
  readonly keyCheck: 'before-handler' | 'in-write';
  handle(
    input: RouteInput<Static<Body>, Static<Query>, Static<Params>> & { caller: Caller },
  ): Promise<Answer>;
}

/** One that nobody is served at: refused by its headers, so whatever is wrong with the rest is never looked at. */
export interface RefusedRoute
  extends Pick<Shape, 'method' | 'url' | 'tag' | 'summary'>,
    Pick<AuthenticatedRoute<TSchema, TSchema, TSchema>, 'roles'> {
  refuse(caller: Caller, context: RequestContext): Promise<never>;
}

export interface SecretBearerRoute<Body extends TSchema, Query extends TSchema, Params extends TSchema>
  extends Shape<Body, Query, Params> {
  /** What the request is about, as far as it can be told before the body. */
  readonly operation: (request: FastifyRequest) => SecretRequest;
  handle(
    input: RouteInput<Static<Body>, Static<Query>, Static<Params>> & { authorized: AuthorizedRequest },
  ): Promise<Answer>;
}

export interface DeclaredRoute extends Shape {
  readonly credential: RouteAccess['credential'];
  /** Of an authenticated route. */
  readonly roles: readonly Role[] | undefined;
}

export interface Routes {
  /** All that was declared so far, in order. */
  declared(): readonly DeclaredRoute[];
  /** For anyone. */
  public<Body extends TSchema, Query extends TSchema, Params extends TSchema>(
    route: PublicRoute<Body, Query, Params>,
  ): void;
  /** For whoever has an API key of one of the route's roles. */
  authenticated<Body extends TSchema, Query extends TSchema, Params extends TSchema>(
    route: AuthenticatedRoute<Body, Query, Params>,
  ): void;
  /** For nobody, which whoever has an API key of one of the route's roles is told. */
  refused(route: RefusedRoute): void;
  /** For whoever has a scoped token or an API key whose scopes allow it. */
  secretBearer<Body extends TSchema, Query extends TSchema, Params extends TSchema>(
    route: SecretBearerRoute<Body, Query, Params>,
  ): void;
}

type Handle = (input: RouteInput<never, never, never>) => Promise<Answer>;

export function createRoutes(app: FastifyInstance, deps: AdmissionDeps): Routes {
  const declared: DeclaredRoute[] = [];
  const add = (route: Shape, access: RouteAccess, handle: Handle, admit = checkAccess): void => {
    const roles = access.credential === 'api-key' ? access.roles : undefined;
    declared.push({ ...route, credential: access.credential, roles });
    // No body schema means no members: whatever is sent to a route that takes nothing is refused, not ignored.
    const body = route.body ?? (route.method === 'GET' ? undefined : NOTHING);
    app.route({
      method: route.method,
      url: route.url,
      schema: {
        ...(route.params === undefined ? {} : { params: route.params }),
        // No query schema means no query: an unknown parameter is refused everywhere.
        querystring: route.query ?? NO_QUERY,
        ...(body === undefined ? {} : { body }),
        response: route.mediaTypes === undefined ? bodySchemas(route.answers) : {},
      },
      attachValidation: route.faultsWait === true,
      onRequest: (request) => admit(access, request, deps),
      config: { takesForms: route.takesForms === true, takesBasic: route.takesBasic === true },
      ...(body === undefined
        ? {}
        : {
            preValidation: (request, _reply, done) => {
              dropNullMembers(request, body);
              done();
            },
          }),
      errorHandler: beforeRefusing(access, route, deps),
      handler: async (request, reply) => {
        const { body, query, params, state } = request;
        const { context } = state;
        const input: RouteInput<unknown, unknown, unknown> = { body, query, params, context, request };
        return send(reply, await handle(input as RouteInput<never, never, never>));
      },
    });
  };
  return {
    declared: () => declared,
    public: (route) =>
      add(route, route, (input) =>
        (route.handle as PublicHandle)(Object.assign(input, { caller: callerIfAny(input.request) })),
      ),
    authenticated: (route) =>
      add(route, { ...route, credential: 'api-key' }, (input) =>
        (route.handle as AuthenticatedHandle)(Object.assign(input, { caller: callerOf(input.request) })),
      ),
    refused: ({ refuse, ...route }) =>
      add(
        { ...route, answers: {}, readsNothing: true },
        { ...route, credential: 'api-key', keyCheck: 'before-handler' },
        () => Promise.reject(new Error('a route for nobody was served')),
        async (access, request, admission) => {
          await checkAccess(access, request, admission);
          await refuse(callerOf(request), request.state.context);
        },
      ),
    secretBearer: (route) =>
      add(route, { credential: 'scoped-token-or-api-key', operation: route.operation }, (input) =>
        (route.handle as BearerHandle)(Object.assign(input, { authorized: secretsOf(input.request) })),
      ),
  };
}

type PublicHandle = (
  input: RouteInput<never, never, never> & { caller: Caller | undefined },
) => Promise<Answer>;
type AuthenticatedHandle = (input: RouteInput<never, never, never> & { caller: Caller }) => Promise<Answer>;
type BearerHandle = (
  input: RouteInput<never, never, never> & { authorized: AuthorizedRequest },
) => Promise<Answer>;

/** Throws what the schemas of a route whose faults wait refuse. */
export function requireWellFormed({ validationError }: FastifyRequest): void {
  if (validationError !== undefined) throw validationError;
}

const NO_QUERY = { type: 'object', additionalProperties: false } as const;
const NOTHING = { type: 'object', properties: {}, additionalProperties: false };

function bodySchemas(answers: Readonly<Record<number, TSchema | null>>): Record<string, TSchema> {
  const withBody = Object.entries(answers).filter((entry): entry is [string, TSchema] => entry[1] !== null);
  return Object.fromEntries(withBody);
}

function secretsOf({ authorized }: FastifyRequest): AuthorizedRequest {
  if (authorized?.kind !== 'secrets') throw new Error('a route of secrets ran without being authorized');
  return authorized.authorized;
}

function callerOf(request: FastifyRequest): Caller {
  const caller = callerIfAny(request);
  if (caller === undefined) throw new Error('an authenticated route ran without a caller');
  return caller;
}

function callerIfAny({ authorized }: FastifyRequest): Caller | undefined {
  return authorized?.kind === 'caller' ? authorized.caller : undefined;
}

function send(reply: FastifyReply, answer: Answer): FastifyReply {
  reply.code(answer.status);
  if (answer.headers !== undefined) reply.headers(answer.headers);
  if (answer.shape !== undefined) {
    reply.header('content-type', 'application/json; charset=utf-8');
    // Compiled at the first use; Fastify remembers it by schema.
    reply.serializer(reply.compileSerializationSchema(answer.shape as unknown as Record<string, unknown>));
  }
  return reply.send(answer.body);
}
