/**
 * How long a token shall live: the `ttl` of a scoped token (contract section 5.1) and the validity of an intent token
 * (4.1). A value is taken as asked or refused; it is never rounded, clamped or coerced.
 */

import type { JsonValue } from '../json/strict-json.ts';

const TTL_TEXT = /^([1-9][0-9]{0,5})([smhd]?)$/;
const SECONDS_PER_UNIT: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['s', 1],
  ['m', 60],
  ['h', 3600],
  ['d', 86_400],
]);

export interface SecondsRange {
  readonly minSeconds: number;
  readonly maxSeconds: number;
  readonly defaultSeconds: number;
}

/** Contract section 5.1. */
export const SCOPED_TOKEN_TTL: SecondsRange = { minSeconds: 300, maxSeconds: 86_400, defaultSeconds: 3600 };
/** Contract section 4.1. */
export const INTENT_TOKEN_VALIDITY: SecondsRange = { minSeconds: 1, maxSeconds: 86_400, defaultSeconds: 60 };

/** Contract section 4.7. */
export const DELEGATION_VALIDITY: SecondsRange = { ...INTENT_TOKEN_VALIDITY, defaultSeconds: 3600 };

export type ValiditySeconds =
  | { readonly ok: true; readonly seconds: number }
  | { readonly ok: false; readonly code: 'INVALID_TTL' | 'TTL_OUT_OF_RANGE' };

export type TtlSeconds = ValiditySeconds | { readonly ok: false; readonly code: 'VALIDATION_ERROR' };

/** Members of the request; `undefined` and `null` both mean absent (contract section 3). */
export interface TtlMembers {
  /** Seconds as a number, or a text such as `900`, `15m`, `1h`, `1d`. */
  readonly ttl?: JsonValue | undefined;
  /** Seconds as a number. */
  readonly ttl_seconds?: JsonValue | undefined;
}

/** `VALIDATION_ERROR`: both spellings are given and differ. */
export function readTtlSeconds({ ttl, ttl_seconds }: TtlMembers): TtlSeconds {
  const short = isAbsent(ttl) ? undefined : typeof ttl === 'string' ? secondsOfText(ttl) : wholeSeconds(ttl);
  const long = isAbsent(ttl_seconds) ? undefined : wholeSeconds(ttl_seconds);
  if (short === 'malformed' || long === 'malformed') return { ok: false, code: 'INVALID_TTL' };
  if (short !== undefined && long !== undefined && short !== long)
    return { ok: false, code: 'VALIDATION_ERROR' };
  return withinRange(short ?? long ?? SCOPED_TOKEN_TTL.defaultSeconds, SCOPED_TOKEN_TTL);
}

/** A number with a positive integral value (`60.0` is 60), else `INVALID_TTL`; outside the range `TTL_OUT_OF_RANGE`. */
export function readValiditySeconds(
  value: JsonValue | undefined,
  range: SecondsRange = INTENT_TOKEN_VALIDITY,
): ValiditySeconds {
  if (isAbsent(value)) return { ok: true, seconds: range.defaultSeconds };
  const whole = typeof value === 'number' && Number.isInteger(value) && value > 0;
  return whole ? withinRange(value, range) : { ok: false, code: 'INVALID_TTL' };
}

function isAbsent(value: JsonValue | undefined): value is null | undefined {
  return value === undefined || value === null;
}

function wholeSeconds(value: JsonValue): number | 'malformed' {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : 'malformed';
}

function secondsOfText(text: string): number | 'malformed' {
  const parts = TTL_TEXT.exec(text);
  if (parts === null) return 'malformed';
  return Number(parts[1]) * (SECONDS_PER_UNIT.get(parts[2] ?? '') ?? Number.NaN);
}

function withinRange(seconds: number, { minSeconds, maxSeconds }: SecondsRange): ValiditySeconds {
  return seconds >= minSeconds && seconds <= maxSeconds
    ? { ok: true, seconds }
    : { ok: false, code: 'TTL_OUT_OF_RANGE' };
}
