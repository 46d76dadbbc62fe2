/** Members of a request for a scoped token whose rules the domain knows (contract section 5.1). */

import { readTtlSeconds, type TtlMembers } from '../../domain/formats/ttl.ts';
import { parseAddressBlocks } from '../../domain/network/ip-address.ts';
import { WritError } from '../../errors.ts';

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
