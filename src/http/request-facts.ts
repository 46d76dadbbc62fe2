/** What every hook and handler may know of a request: its id, its path, whose address it came from, who calls. */

import type { FastifyRequest } from 'fastify';
import type { AddressBlock } from '../domain/address.ts';
import { clientAddress, rateLimitKey } from '../domain/client-address.ts';
import type { Caller, RequestContext } from '../use-cases/ports.ts';

export interface RequestFacts {
  /** Without the query. */
  readonly path: string;
  readonly context: RequestContext;
  /** The address, or the /64 of an IPv6 address, for counting before a caller is known. */
  readonly origin: string;
  /** Set once the credential is accepted. */
  caller: Caller | undefined;
  /** Numbers of the body that were written non-zero and read as 0. */
  underflowed: ReadonlySet<object>;
  /** Why the request was refused, for the log. */
  failure: unknown;
}

declare module 'fastify' {
  interface FastifyRequest {
    facts: RequestFacts;
  }
}

export const NOTHING_UNDERFLOWED: ReadonlySet<object> = new Set();

export function factsOf(request: FastifyRequest, trustedProxies: readonly AddressBlock[]): RequestFacts {
  const forwarded = request.headers['x-forwarded-for'];
  const client = clientAddress({
    peer: request.raw.socket.remoteAddress ?? '',
    forwardedFor: Array.isArray(forwarded) ? forwarded.join(',') : forwarded,
    trustedProxies,
  });
  const seen = client.ok ? client.address : client.seen;
  return {
    path: pathOf(request.url),
    context: { requestId: request.id, ipAddress: seen },
    origin: rateLimitKey(seen),
    caller: undefined,
    underflowed: NOTHING_UNDERFLOWED,
    failure: undefined,
  };
}

function pathOf(target: string): string {
  const end = target.indexOf('?');
  return end === -1 ? target : target.slice(0, end);
}
