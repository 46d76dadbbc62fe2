/**
 * Decides whether a JSON value is a plan (contract section 4.1). Nothing is added, coerced or dropped: a plan keeps the
 * very value it was read from, because that is what is hashed and signed.
 */

import { ACTION_NAME, ACTION_NAME_RULE, MCP_NAME, MCP_NAME_RULE } from '../formats/step-name.ts';
import { isJsonObject, type JsonObject, type JsonValue } from '../json/strict-json.ts';

export const MAX_PLAN_STEPS = 1000;

export interface PlanStep {
  readonly action: string;
  readonly mcp: string | undefined;
  /** The whole step as sent. */
  readonly value: JsonObject;
}

export interface Plan {
  /** The whole plan as sent. */
  readonly value: JsonObject;
  /** 1 to `MAX_PLAN_STEPS`. */
  readonly steps: readonly PlanStep[];
}

/** `pointer` is an RFC 6901 JSON pointer into the request body. */
export interface PlanRefusal {
  readonly ok: false;
  readonly pointer: string;
  readonly message: string;
}

/** Reads the request member `/plan`; the first fault is reported (as `INVALID_PLAN`). */
export function parsePlan(value: JsonValue): { readonly ok: true; readonly plan: Plan } | PlanRefusal {
  if (!isJsonObject(value)) return refuse('/plan', 'plan must be an object with a list of steps');
  const { steps: items } = value;
  if (!Array.isArray(items) || items.length < 1 || items.length > MAX_PLAN_STEPS) {
    return refuse('/plan/steps', `plan.steps must be a list of 1 to ${MAX_PLAN_STEPS} objects`);
  }
  const steps: PlanStep[] = [];
  for (const [index, item] of items.entries()) {
    const step = parseStep(item, `/plan/steps/${index}`);
    if ('pointer' in step) return step;
    steps.push(step);
  }
  return { ok: true, plan: { value, steps } };
}

/** Each pair of mcp and action once: what online verification needs to know of the plan, and nothing else of it. */
export function distinctActions({ steps }: Plan): JsonValue[] {
  const pairs = new Map<string, JsonValue>();
  // No name holds a blank, so no two pairs share a key.
  for (const { mcp, action } of steps) pairs.set(`${mcp ?? ''} ${action}`, [mcp ?? null, action]);
  return [...pairs.values()];
}

function parseStep(value: JsonValue, pointer: string): PlanStep | PlanRefusal {
  if (!isJsonObject(value)) return refuse(pointer, 'a step must be an object with an action');
  const { action, mcp } = value;
  if (typeof action !== 'string' || !ACTION_NAME.test(action)) {
    return refuse(`${pointer}/action`, `action must be ${ACTION_NAME_RULE}`);
  }
  if (mcp !== undefined && (typeof mcp !== 'string' || !MCP_NAME.test(mcp))) {
    return refuse(`${pointer}/mcp`, `mcp must be left out or be ${MCP_NAME_RULE}`);
  }
  return { action, mcp, value };
}

function refuse(pointer: string, message: string): PlanRefusal {
  return { ok: false, pointer, message };
}
