/**
 * What is known of a request as it came: its id, its path, the client's address (contract section 5.3), its body; and
 * what RFC 9112 asks of its head and Node's parser leaves to us, refused in the form of every other refusal and not by
 * Node with an empty 400.
 */

import type { IncomingMessage } from 'node:http';
import type { FastifyRequest } from 'fastify';
import { clientAddress, rateLimitKey } from '../../domain/network/client-address.ts';
import type { Address, AddressBlock } from '../../domain/network/ip-address.ts';
import { WritError } from '../../errors.ts';
import type { ClientContext } from '../../use-cases/secrets/authorized-request.ts';

export interface RequestState {
  /** The pattern of the route, so that no spelling of a target changes how it is answered; else as sent, without the query. */
  readonly path: string;
  readonly context: ClientContext;
  /** The address, or the /64 of an IPv6 address, for counting before a caller is known. */
  readonly origin: string;
  /** The body as sent. */
  bodyBytes: Uint8Array;
  /** Numbers of the body that were written non-zero and read as 0. */
  underflowed: ReadonlySet<object>;
  /** Why the request was refused, for the log. */
  failure: unknown;
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** An API key may come as HTTP Basic. */
    takesBasic?: boolean;
  }
  interface FastifyRequest {
    state: RequestState;
  }
}

const NO_BYTES = new Uint8Array();
const NOTHING_UNDERFLOWED: ReadonlySet<object> = new Set();

export interface Client {
  /** Undefined where what was sent is no address. */
  readonly address: Address | undefined;
  /** The address as it is written, else the printable start of what was sent instead. */
  readonly shown: string;
  /** What is counted before a caller is known. */
  readonly origin: string;
}

/** From the socket's other end and what trusted proxies forwarded. */
export type ReadClient = (from: {
  readonly peer: string;
  readonly forwardedFor: string | undefined;
}) => Client;

const MAX_KNOWN_PEERS = 1000;

/**
 * Parses addresses, those of a peer that nobody stands behind once: a hit of the map costs 15 ns, of an LRU cache 50,
 * and parsing over 1 µs.
 */
export function createClientReader(trustedProxies: readonly AddressBlock[]): ReadClient {
  const read = (from: Parameters<ReadClient>[0]): Client => {
    const client = clientAddress({ ...from, trustedProxies });
    const address = client.ok ? client.address : undefined;
    const shown = client.ok ? client.address.text : client.seen;
    return { address, shown, origin: rateLimitKey(address) };
  };
  const peers = new Map<string, Client>();
  return (from) => {
    if (from.forwardedFor !== undefined) return read(from);
    const known = peers.get(from.peer);
    if (known !== undefined) return known;
    const client = read(from);
    if (peers.size >= MAX_KNOWN_PEERS) peers.clear();
    peers.set(from.peer, client);
    return client;
  };
}

export function requestStateOf(request: FastifyRequest, readClient: ReadClient): RequestState {
  const { address, shown, origin } = clientOf(request.raw, readClient);
  return {
    path: request.routeOptions.url ?? pathOf(request.url),
    context: { requestId: request.id, ipAddress: shown, clientAddress: address },
    origin,
    bodyBytes: NO_BYTES,
    underflowed: NOTHING_UNDERFLOWED,
    failure: undefined,
  };
}

/**
 * Of a head whose lines Node may not have kept, nothing is believed about where it comes from: without its
 * `X-Forwarded-For` a client would pass for the proxy.
 */
function clientOf({ socket, headers, rawHeaders }: IncomingMessage, readClient: ReadClient): Client {
  const peer = socket.remoteAddress ?? '';
  if (hasTooManyLines(rawHeaders)) {
    return { address: undefined, shown: peer, origin: rateLimitKey(undefined) };
  }
  const forwarded = headers['x-forwarded-for'];
  return readClient({ peer, forwardedFor: Array.isArray(forwarded) ? forwarded.join(',') : forwarded });
}

/**
 * Clients send up to 30, and each proxy adds a few; HAProxy takes no more than 101 by default. Node keeps the first
 * 1,000 (`maxHeadersCount`) and says nothing of the others, so that whatever it leaves out is a head beyond this bound.
 */
export const MAX_HEADER_LINES = 128;

/** Node lists names and values in turn. */
const hasTooManyLines = (rawHeaders: readonly string[]): boolean => rawHeaders.length > 2 * MAX_HEADER_LINES;

function pathOf(target: string): string {
  return target.split(/[?#]/, 1)[0] ?? target;
}

export const takesBasic = ({ routeOptions }: FastifyRequest): boolean =>
  routeOptions.config?.takesBasic === true;

/** RFC 9110 section 7.2 and RFC 3986 section 3.2.2: a name, an address or nothing; then a port, or none. */
const HOST = /^(?:\[[\w.~!$&'()*+,;=:-]+\]|(?:[\w.~!$&'()*+,;=-]|%[\dA-Fa-f]{2})*)(?::\d*)?$/;

/** Why a head may not be read on; undefined for one that may. */
export function refuseHead(request: IncomingMessage): WritError | undefined {
  if (hasTooManyLines(request.rawHeaders)) {
    const message = `A request may have at most ${MAX_HEADER_LINES} header lines.`;
    // RFC 6585 section 5.
    return new WritError('VALIDATION_ERROR', message, { status: 431 });
  }
  const { host, 'transfer-encoding': coding } = request.headers;
  const isLegacy = request.httpVersionMajor === 1 && request.httpVersionMinor === 0;
  // RFC 9112 section 6.1: chunks are not of HTTP/1.0, and who forwards it may not have read them.
  if (isLegacy && coding !== undefined) return fault('Transfer-Encoding', 'is not of HTTP/1.0');
  // RFC 9112 section 3.2.
  if (host === undefined) return isLegacy ? undefined : fault('Host', 'is required');
  if (!HOST.test(host)) return fault('Host', 'must be a name or an address, with or without a port');
  return isRepeated('host', request.rawHeaders) ? fault('Host', 'must be sent once') : undefined;
}

/** Of a header of which Node keeps the first. */
function isRepeated(name: string, rawHeaders: readonly string[]): boolean {
  let seen = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const sent = rawHeaders[index] ?? '';
    if (sent.length === name.length && sent.toLowerCase() === name) seen += 1;
  }
  return seen > 1;
}

function fault(header: string, what: string): WritError {
  return new WritError('VALIDATION_ERROR', `The ${header} header ${what}.`, { details: { header } });
}
