/**
 * Addresses and address lists (contract section 5.3): strict texts in, a decision out. An IPv4-mapped IPv6 address is
 * that IPv4 address; apart from that the families never match each other.
 */

import ipaddr from 'ipaddr.js';
import type { JsonValue } from '../json/strict-json.ts';
import { type AddressFamily, addressFamily } from './ip-address-grammar.ts';

const PREFIX = /^(?:0|[1-9][0-9]{0,2})$/;
const ZONE = /^[0-9A-Za-z.:-]+$/;
/** ::ffff:0:0/96 (RFC 4291 section 2.5.5.2). */
const MAPPED_BITS = 96;

/** Entries in one list. */
export const MAX_ADDRESS_BLOCKS = 64;

export interface Address {
  readonly family: AddressFamily;
  /** Dotted decimal, or the form of RFC 5952 section 4. */
  readonly text: string;
  /** 4 or 16 octets, most significant first. */
  readonly octets: readonly number[];
}

export interface AddressBlock {
  readonly family: AddressFamily;
  /** The first address of the block, written as in `Address`. */
  readonly network: string;
  readonly prefix: number;
  readonly octets: readonly number[];
}

export type ParsedAddress = { readonly ok: true; readonly address: Address } | { readonly ok: false };
export type ParsedBlock = { readonly ok: true; readonly block: AddressBlock } | { readonly ok: false };
export type ParsedBlocks =
  | { readonly ok: true; readonly blocks: readonly AddressBlock[] }
  /** `pointer` is relative to the list: empty for the list itself, `/3` for its fourth entry. */
  | { readonly ok: false; readonly pointer: string; readonly message: string };

/** Host bits must be zero: `10.1.2.3/8` is a mistake, and either reading of it would surprise someone. */
export function parseAddressBlock(text: string): ParsedBlock {
  if (typeof text !== 'string') return { ok: false };
  const slash = text.indexOf('/');
  const network = readAddress(slash === -1 ? text : text.slice(0, slash));
  if (network === undefined) return { ok: false };
  const { address, mapped } = network;
  const bits = address.octets.length * 8;
  const prefix = slash === -1 ? bits : readPrefix(text.slice(slash + 1)) - (mapped ? MAPPED_BITS : 0);
  if (!(prefix >= 0 && prefix <= bits)) return { ok: false };
  const { family, octets } = address;
  if (octets.some((octet, index) => (octet & hostMask(prefix, index)) !== 0)) return { ok: false };
  return { ok: true, block: { family, network: address.text, prefix, octets } };
}

/** A JSON list of 1 to 64 addresses or blocks. */
export function parseAddressBlocks(list: JsonValue): ParsedBlocks {
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_ADDRESS_BLOCKS) {
    return {
      ok: false,
      pointer: '',
      message: `must be a list of 1 to ${MAX_ADDRESS_BLOCKS} addresses or CIDR blocks`,
    };
  }
  const blocks: AddressBlock[] = [];
  for (const [index, entry] of list.entries()) {
    const parsed: ParsedBlock = typeof entry === 'string' ? parseAddressBlock(entry) : { ok: false };
    if (!parsed.ok)
      return { ok: false, pointer: `/${index}`, message: 'must be an IP address or a CIDR block' };
    blocks.push(parsed.block);
  }
  return { ok: true, blocks };
}

/** A peer's address. Its zone is dropped: it names an interface of this host, not the client. */
export function parseClientAddress(text: string): ParsedAddress {
  if (typeof text !== 'string') return { ok: false };
  const percent = text.indexOf('%');
  const zoneless = percent === -1 ? text : text.slice(0, percent);
  // Only IPv6 addresses have zones.
  if (percent !== -1 && !(ZONE.test(text.slice(percent + 1)) && zoneless.includes(':'))) return { ok: false };
  const read = readAddress(zoneless);
  return read === undefined ? { ok: false } : { ok: true, address: read.address };
}

export function addressInBlocks(address: Address, blocks: readonly AddressBlock[]): boolean {
  return blocks.some(
    ({ family, prefix, octets }) =>
      family === address.family &&
      octets.every(
        (octet, index) => ((octet ^ (address.octets[index] ?? 0)) & ~hostMask(prefix, index) & 0xff) === 0,
      ),
  );
}

/** Whether a list (`null`: no restriction) lets a client in. Without a readable address no list does. */
export function addressAllowed(
  address: Address | undefined,
  blocks: readonly AddressBlock[] | null,
): boolean {
  if (blocks === null) return true;
  return address !== undefined && addressInBlocks(address, blocks);
}

function readAddress(text: string): { address: Address; mapped: boolean } | undefined {
  const family = addressFamily(text);
  if (family === undefined) return undefined;
  if (family === 4) return { address: fromIpv4(ipaddr.IPv4.parse(text)), mapped: false };
  const parsed = ipaddr.IPv6.parse(hexadecimal(text));
  if (parsed.isIPv4MappedAddress()) return { address: fromIpv4(parsed.toIPv4Address()), mapped: true };
  return { address: { family, text: parsed.toRFC5952String(), octets: parsed.toByteArray() }, mapped: false };
}

/** The dotted tail as two groups: ipaddr.js reads `::a.b.c.d` as `::ffff:a.b.c.d`, which is another address. */
function hexadecimal(ipv6: string): string {
  const tail = ipv6.slice(ipv6.lastIndexOf(':') + 1);
  if (!tail.includes('.')) return ipv6;
  const [a = 0, b = 0, c = 0, d = 0] = ipaddr.IPv4.parse(tail).octets;
  const groups = [a * 256 + b, c * 256 + d].map((group) => group.toString(16));
  return ipv6.slice(0, -tail.length) + groups.join(':');
}

function fromIpv4(parsed: ipaddr.IPv4): Address {
  return { family: 4, text: parsed.toString(), octets: parsed.toByteArray() };
}

function readPrefix(text: string): number {
  return PREFIX.test(text) ? Number(text) : Number.NaN;
}

/** The bits of one octet that a prefix of this length leaves to hosts. */
function hostMask(prefix: number, octetIndex: number): number {
  return 0xff >> Math.min(8, Math.max(0, prefix - octetIndex * 8));
}
