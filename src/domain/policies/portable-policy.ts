/**
 * An operator's policy as a document of the vendor's evaluator (`armoriq-policy-ir` 0.1.3), for clients that decide
 * without asking (contract section 4.8). That evaluator is told the action and not the `mcp`, so the document allows an
 * action only if the policy allows it of every `mcp`. It never allows more than the policy: what it cannot say is
 * denied.
 *
 * The evaluator takes the statement whose key names the tool: an exact key before any pattern, then the longest key,
 * then the first in the document. Deny does not win by itself, so each denial gets a key that wins.
 */

import type { SegmentPattern } from '../formats/segment-pattern.ts';
import type { Policy } from './policy.ts';
import { EVERYTHING, matchesActionOfAnyMcp, type PolicyPattern, subjectOf } from './policy-pattern.ts';
import { ANY_TOOL, isLiteral, keyOf, winningKeys } from './portable-keys.ts';

/** A document beyond this is not made: everything is denied instead. */
const MAX_STATEMENTS = 1000;

type Effect = 'allow' | 'block';

export interface PortableStatement {
  readonly id: string;
  readonly effect: Effect;
  readonly match: { readonly tool: string; readonly order: number };
  readonly conditions: readonly never[];
  readonly expiresAt: 'never';
  readonly provenance: { readonly ruleKey: string; readonly variant: number };
}

export interface PortableDocument {
  readonly policyId: string;
  readonly layer: 'agent';
  readonly expiresAt: 'never';
  readonly defaults: { readonly tools: 'block' };
  readonly statements: readonly PortableStatement[];
}

/** Keys of statements; blocking ones stand first. */
interface Keys {
  readonly block: ReadonlySet<string>;
  readonly allow: ReadonlySet<string>;
}

const NOTHING: Keys = { block: new Set(), allow: new Set() };

/** `policy` null: the operator gave none, so everything is allowed. */
export function compilePortablePolicy(policy: Policy | null, policyId: string): PortableDocument {
  const { block, allow } =
    policy === null ? { block: new Set<string>(), allow: new Set([ANY_TOOL]) } : keysOf(policy);
  const allowed = [...allow].filter((key) => !block.has(key));
  const fits = block.size + allowed.length <= MAX_STATEMENTS;
  const rules = fits ? [...asRules(block, 'block'), ...asRules(allowed, 'allow')] : [];
  return {
    policyId,
    layer: 'agent',
    expiresAt: 'never',
    defaults: { tools: 'block' },
    statements: rules.map(({ key, effect }, order) => ({
      id: `${effect}-${order}`,
      effect,
      match: { tool: key, order },
      conditions: [],
      expiresAt: 'never',
      provenance: { ruleKey: key, variant: 0 },
    })),
  };
}

function* asRules(keys: Iterable<string>, effect: Effect): Generator<{ key: string; effect: Effect }> {
  for (const key of keys) yield { key, effect };
}

function keysOf(policy: Policy): Keys {
  // What binds at the time of a call has no form there.
  const { rateLimit, ipWhitelist, timeRestrictions } = policy;
  if (rateLimit !== undefined || ipWhitelist !== undefined || timeRestrictions !== undefined) return NOTHING;
  if (policy.deny.some((pattern) => pattern === EVERYTHING || keyOf(pattern) === ANY_TOOL)) return NOTHING;
  // Of `mail-mcp/send` the evaluator would see `send`, whoever's it is.
  const allow = policy.allow.filter(
    (pattern) => pattern === EVERYTHING || pattern.segments[0]?.kind === 'any',
  );
  const allowsAny = allow.some((pattern) => pattern === EVERYTHING || keyOf(pattern) === ANY_TOOL);
  const { allowedTools } = policy;
  if (allowedTools !== undefined) return keysOfTools(allowedTools, { allow, allowsAny, deny: policy.deny });
  if (!allowsAny) return keysOfPatterns(allow, policy.deny);
  return { block: new Set(policy.deny.map(keyOf)), allow: new Set([ANY_TOOL]) };
}

/** Each is decided here, so that no pattern is left to weigh. */
function keysOfTools(
  tools: ReadonlySet<string>,
  {
    allow,
    allowsAny,
    deny,
  }: { allow: readonly PolicyPattern[]; allowsAny: boolean; deny: readonly PolicyPattern[] },
): Keys {
  if (tools.size > MAX_STATEMENTS) return NOTHING;
  const allowed = [...tools].filter(
    (tool) => !namesAction(deny, tool) && (allowsAny || namesAction(allow, tool)),
  );
  return { block: new Set(), allow: new Set(allowed) };
}

function keysOfPatterns(allow: readonly PolicyPattern[], deny: readonly PolicyPattern[]): Keys {
  const block = new Set(deny.map(keyOf));
  const allowed = new Set<string>();
  for (const pattern of allow) {
    if (isLiteral(pattern)) {
      if (!namesAction(deny, keyOf(pattern))) allowed.add(keyOf(pattern));
      continue;
    }
    const winning = winningKeysOver(pattern, deny);
    if (winning === undefined) continue;
    for (const key of winning) block.add(key);
    allowed.add(keyOf(pattern));
  }
  return { block, allow: allowed };
}

/** Undefined where one of the denials cannot be made to win: then the pattern allows nothing. */
function winningKeysOver(
  allow: SegmentPattern,
  deny: readonly SegmentPattern[],
): readonly string[] | undefined {
  const keys: string[] = [];
  for (const pattern of deny) {
    const winning = isLiteral(pattern) ? [] : winningKeys(pattern, allow);
    if (winning === undefined) return undefined;
    keys.push(...winning);
  }
  return keys;
}

function namesAction(patterns: readonly PolicyPattern[], action: string): boolean {
  const subject = subjectOf(action);
  return patterns.some((pattern) => pattern === EVERYTHING || matchesActionOfAnyMcp(pattern, subject));
}
