/**
 * Decides the members of a signed policy that bind when a step is carried out: `ip_whitelist` and `time_restrictions`
 * (contract section 4.4). `rate_limit` is left to whoever holds the count.
 */

import type { JsonObject } from '../json/strict-json.ts';
import { type Address, addressAllowed } from '../network/ip-address.ts';
import type { Policy } from './policy.ts';
import { isWithinAllowedTimes } from './policy-decision.ts';

export interface PolicyCircumstances {
  readonly nowSeconds: number;
  /** The address from which the step is asked for; undefined where it is not known: then no list admits it. */
  readonly clientAddress: Address | undefined;
}

export interface RuntimeRefusal {
  readonly code: 'IP_NOT_ALLOWED' | 'OUTSIDE_ALLOWED_HOURS';
  readonly reason: string;
}

const RUNTIME_MEMBERS = ['rate_limit', 'ip_whitelist', 'time_restrictions'] as const;

/** Whether a signed policy has a member that binds when a step is carried out; most have none, and need not be parsed. */
export function bindsAtRuntime(policy: JsonObject): boolean {
  return RUNTIME_MEMBERS.some((member) => policy[member] !== undefined);
}

/** Undefined when nothing refuses. */
export function refuseAtRuntime(
  { ipWhitelist, timeRestrictions }: Policy,
  { nowSeconds, clientAddress }: PolicyCircumstances,
): RuntimeRefusal | undefined {
  if (ipWhitelist !== undefined && !addressAllowed(clientAddress, ipWhitelist)) {
    return { code: 'IP_NOT_ALLOWED', reason: 'The policy’s ip_whitelist does not admit the client address.' };
  }
  if (!isWithinAllowedTimes(timeRestrictions, nowSeconds)) {
    return {
      code: 'OUTSIDE_ALLOWED_HOURS',
      reason: 'The policy’s time_restrictions do not admit this time.',
    };
  }
  return undefined;
}
