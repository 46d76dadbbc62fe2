/** The body of `POST /v1/tokens` (contract section 5.1), and what it asks for. */

import Type, { type Static } from 'typebox';
import { readTtlSeconds, type TtlMembers } from '../../domain/formats/ttl.ts';
import type { JsonValue } from '../../domain/json/strict-json.ts';
import { parseAddressBlocks } from '../../domain/network/ip-address.ts';
import { WritError } from '../../errors.ts';
import type { IssueScopedTokenCommand } from '../../use-cases/scoped-tokens/ports.ts';
import { refusedAs, sameIfBoth, strictObject } from '../routing/schemas.ts';

const scopeText = Type.String({ maxLength: 600, ...refusedAs('INVALID_SCOPE') });
const addresses = Type.Array(Type.String({ ...refusedAs('INVALID_IP_ALLOWLIST') }), {
  minItems: 1,
  maxItems: 64,
  description: 'addresses or CIDR blocks; any address where absent',
  ...refusedAs('INVALID_IP_ALLOWLIST'),
});
const ttl = (description: string, types: readonly string[]) =>
  Type.Unsafe<JsonValue>({ type: types, description, ...refusedAs('INVALID_TTL') });

export const ScopedTokenRequest = strictObject({
  scopes: Type.Optional(Type.Array(scopeText, { minItems: 1, maxItems: 64, ...refusedAs('INVALID_SCOPE') })),
  scope: Type.Optional(scopeText),
  ttl_seconds: Type.Optional(ttl('300 to 86,400; 3600 where absent', ['number'])),
  ttl: Type.Optional(ttl('the same, or text such as `900`, `15m`, `1h`, `1d`', ['number', 'string'])),
  max_uses: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_000_000, ...refusedAs('INVALID_MAX_USES') })),
  allowed_ips: Type.Optional(addresses),
  ip_allowlist: Type.Optional(addresses),
  require_approval: Type.Optional(Type.Boolean()),
  description: Type.Optional(
    Type.String({ maxLength: 500, pattern: '^[^\\u0000-\\u001f\\u007f-\\u009f]*$' }),
  ),
});

/** Throws `INVALID_SCOPE`, `INVALID_TTL`, `TTL_OUT_OF_RANGE`, `INVALID_IP_ALLOWLIST` or `VALIDATION_ERROR`. */
export function issueCommandOf(body: Static<typeof ScopedTokenRequest>): IssueScopedTokenCommand {
  const one = body.scope === undefined ? undefined : [body.scope];
  const scopes = sameIfBoth(['scopes', body.scopes], ['scope', one]);
  if (scopes === undefined) {
    throw new WritError('INVALID_SCOPE', 'scopes is required: 1 to 64 of them.', {
      details: { pointer: '/scopes' },
    });
  }
  const allowedIps = sameIfBoth(['allowed_ips', body.allowed_ips], ['ip_allowlist', body.ip_allowlist]);
  if (allowedIps !== undefined) {
    requireAddressList(allowedIps, body.allowed_ips === undefined ? '/ip_allowlist' : '/allowed_ips');
  }
  return {
    scopes,
    scopesMember: body.scopes === undefined ? 'scope' : 'scopes',
    ttlSeconds: ttlSecondsOf(body),
    maxUses: body.max_uses ?? null,
    allowedIps: allowedIps ?? null,
    requireApproval: body.require_approval ?? false,
    description: body.description ?? null,
  };
}

const TTL_FAULTS = {
  INVALID_TTL: 'ttl must be a whole number of seconds above 0, or a text such as 900, 15m, 1h, 1d.',
  TTL_OUT_OF_RANGE: 'ttl must be from 300 to 86,400 seconds.',
  VALIDATION_ERROR: 'ttl_seconds and ttl are one member and differ.',
} as const;

/** Rejects with `INVALID_TTL`, `TTL_OUT_OF_RANGE`, or `VALIDATION_ERROR` where the two spellings differ. */
export function ttlSecondsOf(members: TtlMembers): number {
  const read = readTtlSeconds(members);
  if (read.ok) return read.seconds;
  const pointer = members.ttl === undefined ? '/ttl_seconds' : '/ttl';
  throw new WritError(read.code, TTL_FAULTS[read.code], { details: { pointer } });
}

/** Rejects with `INVALID_IP_ALLOWLIST`; `pointer` is the list's. */
export function requireAddressList(list: string[], pointer: string): void {
  const parsed = parseAddressBlocks(list);
  if (parsed.ok) return;
  throw new WritError('INVALID_IP_ALLOWLIST', `${pointer.slice(1)}${parsed.pointer} ${parsed.message}.`, {
    details: { pointer: `${pointer}${parsed.pointer}` },
  });
}
