/**
 * The restrictions of a scoped token on the wire (contract section 5.1), as a request names them and as answers about
 * the token, or about an approval that asks for it, show them. Each is enforced or refused, never ignored.
 */

import Type, { type Static } from 'typebox';
import { parseAddressBlocks } from '../../domain/network/ip-address.ts';
import type { namedRestrictions, TokenRestrictions } from '../../domain/secrets/token-restrictions.ts';
import { WritError } from '../../errors.ts';
import { nullable, refusedAs, sameIfBoth, type strictObject } from '../routing/schemas.ts';

const addresses = Type.Array(Type.String({ ...refusedAs('INVALID_IP_ALLOWLIST') }), {
  minItems: 1,
  maxItems: 64,
  description: 'addresses or CIDR blocks; any address where absent',
  ...refusedAs('INVALID_IP_ALLOWLIST'),
});

/** Members of a request. */
export const requestedRestrictions = {
  max_uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, ...refusedAs('INVALID_MAX_USES') })),
  allowed_ips: Type.Optional(addresses),
  ip_allowlist: Type.Optional(addresses),
};

/** Members of an answer; `namedRestrictions` fills them. */
export const shownRestrictions = {
  max_uses: nullable(Type.Integer()),
  allowed_ips: nullable(Type.Array(Type.String())),
} satisfies Record<keyof ReturnType<typeof namedRestrictions>, unknown>;

/** Throws `INVALID_IP_ALLOWLIST`, or `VALIDATION_ERROR` where two spellings of one member differ. */
export function restrictionsAsked(
  body: Static<ReturnType<typeof strictObject<typeof requestedRestrictions>>>,
): TokenRestrictions {
  const allowedIps = sameIfBoth(['allowed_ips', body.allowed_ips], ['ip_allowlist', body.ip_allowlist]);
  if (allowedIps !== undefined) {
    requireAddressList(allowedIps, body.allowed_ips === undefined ? '/ip_allowlist' : '/allowed_ips');
  }
  return { maxUses: body.max_uses ?? null, allowedIps: allowedIps ?? null };
}

/** Rejects with `INVALID_IP_ALLOWLIST`; `pointer` is the list's. */
export function requireAddressList(list: string[], pointer: string): void {
  const parsed = parseAddressBlocks(list);
  if (parsed.ok) return;
  throw new WritError('INVALID_IP_ALLOWLIST', `${pointer.slice(1)}${parsed.pointer} ${parsed.message}.`, {
    details: { pointer: `${pointer}${parsed.pointer}` },
  });
}
