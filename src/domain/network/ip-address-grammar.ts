/**
 * Which texts are IP addresses: exactly those that `net.isIP` takes (contract section 5.3), less the zone. Short,
 * octal, hexadecimal and integer forms are refused, because two readers take them for different hosts.
 */

const OCTET = '(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])';
const IPV4 = new RegExp(`^${OCTET}(?:\\.${OCTET}){3}$`);
const IPV6_GROUP = /^[0-9A-Fa-f]{1,4}$/;
const IPV6_GROUPS = 8;
/** Six groups of four digits and a dotted IPv4 address. */
const MAX_ADDRESS_LENGTH = 45;

export type AddressFamily = 4 | 6;

/** The family of an address without zone, else `undefined`. */
export function addressFamily(text: string): AddressFamily | undefined {
  if (typeof text !== 'string' || text.length > MAX_ADDRESS_LENGTH) return undefined;
  if (IPV4.test(text)) return 4;
  return isIpv6(text) ? 6 : undefined;
}

/** RFC 4291 section 2.2; `::` stands for one group or more, and a dotted tail for two. */
function isIpv6(text: string): boolean {
  const [head = '', tail, ...more] = text.split('::');
  if (more.length > 0) return false;
  if (tail === undefined) return countGroups(head, { dottedTail: true }) === IPV6_GROUPS;
  const given = countGroups(head, { dottedTail: false }) + countGroups(tail, { dottedTail: true });
  return given < IPV6_GROUPS;
}

/** NaN for a text that is no list of groups: it is below, above and equal to nothing. */
function countGroups(text: string, { dottedTail }: { dottedTail: boolean }): number {
  if (text === '') return 0;
  const groups = text.split(':');
  const dotted = dottedTail && IPV4.test(groups.at(-1) ?? '');
  const hexGroups = dotted ? groups.slice(0, -1) : groups;
  if (!hexGroups.every((group) => IPV6_GROUP.test(group))) return Number.NaN;
  return groups.length + (dotted ? 1 : 0);
}
