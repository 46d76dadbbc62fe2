/**
 * What the operator's policy says of a tool that a client names in one text (contract section 4.6). A name that can be
 * read in two ways has to be allowed in both, so no spelling evades a rule. Every member of the policy is decided:
 * what cannot be decided here refuses.
 */

import { ACTION_NAME, MCP_NAME } from '../formats/step-name.ts';
import type { Policy } from './policy.ts';
import { allowingPattern, decideStep, denyingPattern, type PolicySubject } from './policy-decision.ts';
import { type PolicyCircumstances, refuseAtRuntime } from './runtime-policy.ts';

/** Longer than any name of the grammar below. */
export const MAX_TOOL_NAME_CHARACTERS = 300;

const MCP_PREFIX = 'mcp__';
const SEPARATOR = '__';

export interface ToolDecision {
  readonly allowed: boolean;
  /** A whole sentence. */
  readonly reason: string;
  /** The member of the policy that decided, with its pattern: `deny mail-mcp/*`. Absent where none did. */
  readonly rule?: string;
}

/** One way to read a name. `deniesOnly`: a deny pattern on it refuses, and no allow pattern has to name it. */
export type ToolReading = PolicySubject & { readonly deniesOnly?: true };

/**
 * `mcp__server__tool` and `server/tool` name an mcp. A name with `__` and without that prefix may be a tool's own, or
 * a server's and a tool's. What other server and tool the characters could name can only deny. Empty: this can be no tool.
 */
export function toolReadings(name: string): readonly ToolReading[] {
  const readings = readingsOf(name);
  if (!readings.every(isSubject)) return [];
  const others = [...splits(name), ...slashSplit(name)].filter(isSubject);
  return [...readings, ...others.map((reading) => ({ ...reading, deniesOnly: true as const }))];
}

const isSubject = ({ mcp, action }: PolicySubject): boolean =>
  (mcp === undefined || MCP_NAME.test(mcp)) && ACTION_NAME.test(action);

function readingsOf(name: string): readonly PolicySubject[] {
  if (name.startsWith(MCP_PREFIX)) {
    const named = splits(name.slice(MCP_PREFIX.length));
    if (named.length > 0) return named;
  }
  const slashed = slashSplit(name);
  return slashed.length > 0 ? slashed : [{ action: name }, ...splits(name)];
}

/** A server's name has no slash, so the first one ends it. */
function slashSplit(name: string): readonly PolicySubject[] {
  const slash = name.indexOf('/');
  return slash === -1 ? [] : [{ mcp: name.slice(0, slash), action: name.slice(slash + 1) }];
}

/** Each way to read the text as a server, `__` and a tool. */
function splits(text: string): readonly PolicySubject[] {
  const found: PolicySubject[] = [];
  for (let at = text.indexOf(SEPARATOR); at !== -1; at = text.indexOf(SEPARATOR, at + 1)) {
    const [mcp, action] = [text.slice(0, at), text.slice(at + SEPARATOR.length)];
    if (mcp !== '' && action !== '') found.push({ mcp, action });
  }
  return found;
}

/** `policy` null: the operator gave none, and nothing is refused. */
export function decideTool(
  policy: Policy | null,
  readings: readonly ToolReading[],
  circumstances: PolicyCircumstances,
): ToolDecision {
  const [first] = readings;
  if (first === undefined) return { allowed: false, reason: 'This is not the name of a tool.' };
  if (policy === null) return { allowed: true, reason: 'The operator has given this principal no policy.' };
  for (const reading of readings) {
    const decision = decideStep(policy, reading);
    if (decision.allowed || isNotDenied(policy, reading)) continue;
    const rule = refusingRule(policy, reading);
    return {
      allowed: false,
      reason: `The operator’s policy denies it: ${decision.reason}.`,
      ...(rule === undefined ? {} : { rule }),
    };
  }
  const refusal = refuseAtRuntime(policy, circumstances);
  if (refusal !== undefined) return { allowed: false, reason: refusal.reason };
  if (policy.rateLimit !== undefined) {
    return {
      allowed: false,
      reason: 'The policy’s rate_limit counts per token, and here is none.',
      rule: 'rate_limit',
    };
  }
  const rule = `allow ${allowingPattern(policy, first)?.text}`;
  return { allowed: true, reason: 'The operator’s policy allows it.', rule };
}

/** Of a reading that may only deny. */
function isNotDenied(policy: Policy, reading: ToolReading): boolean {
  return reading.deniesOnly === true && denyingPattern(policy, reading) === undefined;
}

function refusingRule(policy: Policy, reading: PolicySubject): string | undefined {
  const denying = denyingPattern(policy, reading);
  if (denying !== undefined) return `deny ${denying.text}`;
  return allowingPattern(policy, reading) === undefined ? undefined : 'allowed_tools';
}
