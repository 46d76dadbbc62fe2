/**
 * What a scoped token is restricted to beside its scopes and its time (contract section 5.1). A request, an approval that
 * asks for the token, the token itself and every answer about them hold the same restrictions.
 */

import {
  type Address,
  type AddressBlock,
  addressAllowed,
  parseAddressBlocks,
} from '../network/ip-address.ts';

/** As asked and as stored; null where a restriction is left out. */
export interface TokenRestrictions {
  /** How often the token may be used. */
  readonly maxUses: number | null;
  /** From where: addresses and blocks, each known to be one. */
  readonly allowedIps: readonly string[] | null;
}

/** Their names on the wire and in the database. */
const NAMES = { maxUses: 'max_uses', allowedIps: 'allowed_ips' } as const satisfies Record<
  keyof TokenRestrictions,
  string
>;
type Named = {
  -readonly [Member in keyof TokenRestrictions as (typeof NAMES)[Member]]: TokenRestrictions[Member];
};

export const RESTRICTION_MEMBERS = Object.keys(NAMES) as readonly (keyof TokenRestrictions)[];

/** The restrictions alone, of something that has them. */
export function restrictionsOf({ maxUses, allowedIps }: TokenRestrictions): TokenRestrictions {
  return { maxUses, allowedIps };
}

/** Those that restrict something; the others are undefined, which JSON leaves out. */
export function statedRestrictions({
  maxUses,
  allowedIps,
}: TokenRestrictions): Readonly<Record<keyof TokenRestrictions, unknown>> {
  return { maxUses: maxUses ?? undefined, allowedIps: allowedIps ?? undefined };
}

/** The same under their names on the wire: for answers, events, notices and the digest of an approval. */
export function namedRestrictions({ maxUses, allowedIps }: TokenRestrictions): Named {
  return { max_uses: maxUses, allowed_ips: allowedIps };
}

/** Those that are judged before a request's body is read, compiled once for each token. */
export interface AccessRestrictions {
  /** Null: from any address. */
  readonly allowedAddresses: readonly AddressBlock[] | null;
}

/** Of an API key. */
export const UNRESTRICTED: AccessRestrictions = { allowedAddresses: null };

/** Throws a plain error when what is stored does not parse: it was validated when it was written. */
export function compileRestrictions({ allowedIps }: TokenRestrictions): AccessRestrictions {
  if (allowedIps === null) return UNRESTRICTED;
  const parsed = parseAddressBlocks([...allowedIps]);
  if (!parsed.ok) throw new Error('a stored address list does not parse');
  return { allowedAddresses: parsed.blocks };
}

/** What restrictions are judged by, beside the request itself. */
export interface ClientFacts {
  /** Undefined where what was sent is no address. */
  readonly clientAddress: Address | undefined;
}

/** Undefined where nothing restricts the client. */
export function restrictionDenial(
  { allowedAddresses }: AccessRestrictions,
  { clientAddress }: ClientFacts,
): 'IP_NOT_ALLOWED' | undefined {
  return addressAllowed(clientAddress, allowedAddresses) ? undefined : 'IP_NOT_ALLOWED';
}
