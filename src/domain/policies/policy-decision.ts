/**
 * What policies decide about the steps of a plan (contract section 4.4): deny wins, and leaving out `mcp` evades
 * nothing. One denied step refuses the whole plan.
 */

import type { Policy, TimeRestrictions } from './policy.ts';
import {
  EVERYTHING,
  matchesActionOfAnyMcp,
  matchesSubject,
  type PolicyPattern,
  subjectOf,
} from './policy-pattern.ts';

const SECONDS_PER_HOUR = 3600;
const SECONDS_PER_DAY = 86_400;
/** 1 January 1970 was a Thursday; Sunday is 0. */
const WEEKDAY_OF_EPOCH = 4;

export interface PolicySubject {
  readonly mcp?: string | undefined;
  readonly action: string;
}

export type StepDecision = { readonly allowed: true } | { readonly allowed: false; readonly reason: string };

export interface NamedPolicy {
  readonly source: 'request' | 'agent';
  readonly policy: Policy;
}

/** As on the wire. */
export interface PolicyValidation {
  /** Actions that no step was denied for, in the order of the plan. */
  readonly allowed_tools: string[];
  /** Actions that some step was denied for. */
  readonly denied_tools: string[];
  /** One for each denied pair of mcp and action. */
  readonly denied_reasons: string[];
  readonly default_enforcement_action: 'block';
}

export interface PlanDecision {
  readonly allowed: boolean;
  readonly policy_validation: PolicyValidation;
}

/** The reason names the rule and not the step. */
export function decideStep(policy: Policy, step: PolicySubject): StepDecision {
  const denying = denyingPattern(policy, step);
  if (denying !== undefined) return deny(`matches the deny pattern "${denying.text}"`);
  if (allowingPattern(policy, step) === undefined) return deny('matches no allow pattern');
  if (policy.allowedTools?.has(step.action) === false) return deny('is not among allowed_tools');
  return { allowed: true };
}

/** The first pattern of `deny` that names the step. */
export function denyingPattern(policy: Policy, { mcp, action }: PolicySubject): PolicyPattern | undefined {
  if (policy.deny.length === 0) return undefined;
  const subject = subjectOf(mcp === undefined ? action : `${mcp}/${action}`);
  const denies = mcp === undefined ? matchesActionOfAnyMcp : matchesSubject;
  return policy.deny.find((pattern) => denies(pattern, subject));
}

/** A pattern of `allow` that names the step: `*` before all others. */
export function allowingPattern(
  { allow }: Policy,
  { mcp, action }: PolicySubject,
): PolicyPattern | undefined {
  if (allow.includes(EVERYTHING)) return EVERYTHING;
  // Without mcp a pattern such as `mail/*` could be anyone's, so only `*` vouches for the step.
  if (mcp === undefined) return undefined;
  const subject = subjectOf(`${mcp}/${action}`);
  return allow.find((pattern) => matchesSubject(pattern, subject));
}

/** Every step must pass every policy. */
export function decidePlan(policies: readonly NamedPolicy[], steps: readonly PolicySubject[]): PlanDecision {
  const decided = new Set<string>();
  const actions = new Set<string>();
  const denied = new Set<string>();
  const reasons: string[] = [];
  for (const step of steps) {
    // No name has a blank or is empty, so no two pairs share a key.
    const pair = step.mcp === undefined ? ` ${step.action}` : `${step.mcp} ${step.action}`;
    if (decided.has(pair)) continue;
    decided.add(pair);
    actions.add(step.action);
    const reason = firstRefusal(policies, step);
    if (reason === undefined) continue;
    denied.add(step.action);
    reasons.push(reason);
  }
  return {
    allowed: denied.size === 0,
    policy_validation: {
      allowed_tools: [...actions].filter((action) => !denied.has(action)),
      denied_tools: [...denied],
      denied_reasons: reasons,
      default_enforcement_action: 'block',
    },
  };
}

/** Whether a time, in seconds since the epoch, lies within the hours and on the days allowed, in UTC. */
export function isWithinAllowedTimes(
  restrictions: TimeRestrictions | undefined,
  unixSeconds: number,
): boolean {
  const hour = Math.floor((unixSeconds % SECONDS_PER_DAY) / SECONDS_PER_HOUR);
  const day = (Math.floor(unixSeconds / SECONDS_PER_DAY) + WEEKDAY_OF_EPOCH) % 7;
  const { allowedHours, allowedDays } = restrictions ?? {};
  return (allowedHours?.has(hour) ?? true) && (allowedDays?.has(day) ?? true);
}

function firstRefusal(policies: readonly NamedPolicy[], step: PolicySubject): string | undefined {
  for (const { source, policy } of policies) {
    const decision = decideStep(policy, step);
    if (decision.allowed) continue;
    const subject = step.mcp === undefined ? `${step.action} (no mcp)` : `${step.mcp}/${step.action}`;
    return `${subject}: ${decision.reason} (policy of the ${source})`;
  }
  return undefined;
}

function deny(reason: string): StepDecision {
  return { allowed: false, reason };
}
