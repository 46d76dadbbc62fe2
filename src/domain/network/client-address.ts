/**
 * Whose address a request comes from (contract section 5.3): the socket's peer, or what a trusted proxy says about its
 * own peer. What a client writes into `X-Forwarded-For` itself never counts.
 */

import ipaddr from 'ipaddr.js';
import { type Address, type AddressBlock, addressInBlocks, parseClientAddress } from './ip-address.ts';

const MAX_SEEN_LENGTH = 64;
const NOT_PRINTABLE = /[^\x20-\x7e]/g;
const IPV6_SITE_OCTETS = 8;

export interface ForwardedRequest {
  /** The address of the socket's other end. */
  readonly peer: string;
  /** All `X-Forwarded-For` lines joined by commas; `undefined` if there was none. */
  readonly forwardedFor: string | undefined;
  readonly trustedProxies: readonly AddressBlock[];
}

export type ClientAddress =
  | { readonly ok: true; readonly address: Address }
  /** `seen` is what could not be read as an address, shortened to printable ASCII so that it may be named. */
  | { readonly ok: false; readonly seen: string };

/** The right-most entry that is not itself a trusted proxy; if all are, the right-most. */
export function clientAddress({ peer, forwardedFor, trustedProxies }: ForwardedRequest): ClientAddress {
  const socket = parseClientAddress(peer);
  if (!socket.ok) return refuse(peer);
  if (forwardedFor === undefined || !addressInBlocks(socket.address, trustedProxies))
    return { ok: true, address: socket.address };
  const entries = forwardedFor.split(',');
  let rightmost: Address | undefined;
  for (const entry of entries.reverse()) {
    const text = trimOptionalWhiteSpace(entry);
    const hop = parseClientAddress(text);
    // Skipping what cannot be read would let the client choose the entry to its left.
    if (!hop.ok) return refuse(text);
    if (!addressInBlocks(hop.address, trustedProxies)) return { ok: true, address: hop.address };
    rightmost ??= hop.address;
  }
  return { ok: true, address: rightmost ?? socket.address };
}

/**
 * What is counted before a caller is known: an IPv4 address, or the /64 of an IPv6 address, since one customer holds at
 * least that much. Clients without an address that can be read share one count.
 */
export function rateLimitKey(address: Address | undefined): string {
  if (address === undefined) return 'unreadable';
  const { family, text, octets } = address;
  if (family === 4) return text;
  const site = octets.map((octet, index) => (index < IPV6_SITE_OCTETS ? octet : 0));
  return `${new ipaddr.IPv6(site).toRFC5952String()}/64`;
}

/** RFC 9110 section 5.6.3. A loop, because `/[ \t]+$/` is quadratic in a header full of blanks. */
function trimOptionalWhiteSpace(text: string): string {
  let start = 0;
  let end = text.length;
  while (start < end && isBlank(text[start])) start++;
  while (end > start && isBlank(text[end - 1])) end--;
  return text.slice(start, end);
}

function isBlank(character: string | undefined): boolean {
  return character === ' ' || character === '\t';
}

function refuse(seen: unknown): ClientAddress {
  const text = typeof seen === 'string' ? seen : '';
  return { ok: false, seen: text.slice(0, MAX_SEEN_LENGTH).replace(NOT_PRINTABLE, '?') };
}
