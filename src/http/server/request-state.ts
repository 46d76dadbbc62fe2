/** What every hook and handler may know of a request: its id, its path, whose address it came from, who calls. */

import type { FastifyRequest } from 'fastify';
import type { RequestContext } from '../../use-cases/audit/ports.ts';
import type { Caller } from '../../use-cases/authentication/ports.ts';
import type { Admission } from '../../use-cases/secrets/authorized-request.ts';

export interface RequestState {
  /** The pattern of the route, so that no spelling of a target changes how it is answered; else as sent, without the query. */
  readonly path: string;
  readonly context: RequestContext;
  /** The address, or the /64 of an IPv6 address, for counting before a caller is known. */
  readonly origin: string;
  /** Set once an API key is accepted. */
  caller: Caller | undefined;
  /** Set once a request on secrets is admitted to its body. */
  admission: Admission | undefined;
  /** Whose the credential is, an API key or a scoped token: what is counted and logged. */
  principalId: string | undefined;
  /** The body as sent. */
  bodyBytes: Uint8Array;
  /** Numbers of the body that were written non-zero and read as 0. */
  underflowed: ReadonlySet<object>;
  /** Why the request was refused, for the log. */
  failure: unknown;
}

declare module 'fastify' {
  interface FastifyRequest {
    state: RequestState;
  }
}

const NO_BYTES = new Uint8Array();
const NOTHING_UNDERFLOWED: ReadonlySet<object> = new Set();

/** Whose request it is, decided from the socket's other end and what trusted proxies forwarded (contract 5.3). */
export type ReadClient = (from: { peer: string; forwardedFor: string | undefined }) => {
  readonly address: string;
  readonly origin: string;
};

export function requestStateOf(request: FastifyRequest, readClient: ReadClient): RequestState {
  const forwarded = request.headers['x-forwarded-for'];
  const { address, origin } = readClient({
    peer: request.raw.socket.remoteAddress ?? '',
    forwardedFor: Array.isArray(forwarded) ? forwarded.join(',') : forwarded,
  });
  return {
    path: request.routeOptions.url ?? pathOf(request.url),
    context: { requestId: request.id, ipAddress: address },
    origin,
    caller: undefined,
    admission: undefined,
    principalId: undefined,
    bodyBytes: NO_BYTES,
    underflowed: NOTHING_UNDERFLOWED,
    failure: undefined,
  };
}

function pathOf(target: string): string {
  return target.split(/[?#]/, 1)[0] ?? target;
}
