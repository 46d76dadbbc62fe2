/**
 * The policy of an intent token and of an agent (contract section 4.4), read from JSON. Every member is checked and an
 * unknown one refused: a signed restriction that nobody enforces would be a lie.
 */

import { ACTION_NAME } from '../formats/step-name.ts';
import {
  accept,
  fault,
  integer,
  list,
  mapped,
  members,
  oneOf,
  type Reader,
  text,
  type ValidationIssue,
} from '../json/json-decoders.ts';
import type { JsonObject, JsonValue } from '../json/strict-json.ts';
import { type AddressBlock, parseAddressBlocks } from '../network/ip-address.ts';
import { EVERYTHING, type PolicyPattern, parsePolicyPattern } from './policy-pattern.ts';

const MAX_PATTERNS = 256;
const MAX_TEXT_LENGTH = 1024;
/** What is counted is stored in 32 bits. */
const MAX_RATE_LIMIT = 2_147_483_647;
const HOURS = Array.from({ length: 24 }, (_, hour) => hour);
/** Day 0 is Sunday. */
const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday'];

/** In UTC. A set that is absent restricts nothing, an empty one admits no time. */
export interface TimeRestrictions {
  readonly allowedHours?: ReadonlySet<number>;
  /** 0 is Sunday. */
  readonly allowedDays?: ReadonlySet<number>;
}

/** Compiled once, decided often. What is only carried (`name`, `priority` …) stays in the JSON that is signed. */
export interface Policy {
  readonly allow: readonly PolicyPattern[];
  readonly deny: readonly PolicyPattern[];
  readonly allowedTools?: ReadonlySet<string>;
  /** Verifications per hour and token. */
  readonly rateLimit?: number;
  readonly ipWhitelist?: readonly AddressBlock[];
  readonly timeRestrictions?: TimeRestrictions;
}

/** `pointer` is relative to the policy, for example `/allow/0`. */
export type ParsedPolicy = { readonly ok: true; readonly policy: Policy } | ValidationIssue;

const pattern: Reader<PolicyPattern> = (value) => {
  const parsed = typeof value === 'string' ? parsePolicyPattern(value) : undefined;
  return parsed === undefined ? fault('must be a pattern such as "*" or "mcp/action"') : accept(parsed);
};

const actionName: Reader<string> = (value) =>
  typeof value === 'string' && ACTION_NAME.test(value)
    ? accept(value)
    : fault('must be the name of an action');

const addressBlocks: Reader<readonly AddressBlock[]> = (value) => {
  const parsed = parseAddressBlocks(value);
  return parsed.ok ? accept(parsed.blocks) : parsed;
};

const patterns = list(pattern, MAX_PATTERNS);
const hours = list(oneOf(HOURS, 'an hour from 0 to 23'));
const days = list(oneOf(DAYS, 'an English weekday such as "Monday"'));
const carried = mapped(text(MAX_TEXT_LENGTH), () => ({}));

const timeRestrictions = members<TimeRestrictions>(
  new Map<string, Reader<TimeRestrictions>>([
    ['allowed_hours', mapped(hours, (allowed) => ({ allowedHours: new Set(allowed) }))],
    ['allowed_days', mapped(days, (allowed) => ({ allowedDays: new Set(allowed) }))],
  ]),
);

const AGENT_MEMBERS: ReadonlyMap<string, Reader<Partial<Policy>>> = new Map<string, Reader<Partial<Policy>>>([
  ['allow', mapped(patterns, (allow) => ({ allow }))],
  ['deny', mapped(patterns, (deny) => ({ deny }))],
  ['allowed_tools', mapped(list(actionName), (tools) => ({ allowedTools: new Set(tools) }))],
]);

const REQUEST_MEMBERS: ReadonlyMap<string, Reader<Partial<Policy>>> = new Map<
  string,
  Reader<Partial<Policy>>
>([
  ...AGENT_MEMBERS,
  ['rate_limit', mapped(integer(1, MAX_RATE_LIMIT), (rateLimit) => ({ rateLimit }))],
  ['ip_whitelist', mapped(addressBlocks, (ipWhitelist) => ({ ipWhitelist }))],
  ['time_restrictions', mapped(timeRestrictions, (restrictions) => ({ timeRestrictions: restrictions }))],
  ['priority', mapped(integer(0, 100), () => ({}))],
  ['name', carried],
  ['description', carried],
  ['version', carried],
]);

const readRequestPolicy = members(REQUEST_MEMBERS);
const readAgentPolicy = members(AGENT_MEMBERS);

/** What is signed for a request without a policy. Its members stand for those that a policy leaves out. */
export const DEFAULT_POLICY_JSON = { allow: [EVERYTHING.text], deny: [] as string[] } satisfies JsonObject;

/** The same, compiled. */
export const DEFAULT_POLICY: Policy = { allow: [EVERYTHING], deny: [] };

/** The policy of a request. `null` is no policy and refused; an absent one is `DEFAULT_POLICY`. */
export function parsePolicy(value: JsonValue): ParsedPolicy {
  return withDefaults(readRequestPolicy, value);
}

/** The policy an operator gives to an agent: `allow`, `deny` and `allowed_tools` only. */
export function parseAgentPolicy(value: JsonValue): ParsedPolicy {
  return withDefaults(readAgentPolicy, value);
}

function withDefaults(reader: Reader<Partial<Policy>>, value: JsonValue): ParsedPolicy {
  const read = reader(value);
  return read.ok ? { ok: true, policy: { ...DEFAULT_POLICY, ...read.value } } : read;
}
