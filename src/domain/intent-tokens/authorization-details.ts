/**
 * The steps of a plan in the words of RFC 9396, so that a gateway that knows nothing of Writ can decide by them which
 * tools a token opens (contract section 4.5). Parameters are not in it: they stay behind the proof of their step.
 */

import type { PlanStep } from './plan.ts';

/** Of the claim's JSON. A token travels in headers, of which many servers take 8 to 16 KiB. */
export const MAX_AUTHORIZATION_DETAILS_BYTES = 8 * 1024;

/**
 * The members that a plan adds to the claims of its token, as the JSON text `"name":value`: the details, or above the
 * limit the word that they were left out. Written piece by piece: names of steps hold nothing that JSON escapes, and
 * above the limit nothing more is written.
 */
export function authorizationDetailsMember(steps: readonly Pick<PlanStep, 'action' | 'mcp'>[]): string {
  let list = '';
  for (const [index, { action, mcp }] of steps.entries()) {
    const locations = mcp === undefined ? '' : `"locations":["${mcp}"],`;
    list += `${index === 0 ? '' : ','}{"type":"writ_step","step_index":${index},${locations}"actions":["${action}"]}`;
    if (list.length + 2 > MAX_AUTHORIZATION_DETAILS_BYTES) return OMITTED;
  }
  return `"authorization_details":[${list}]`;
}

const OMITTED = '"authorization_details_omitted":true';
