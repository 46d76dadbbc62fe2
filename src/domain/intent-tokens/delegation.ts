/**
 * What may be passed on of an intent token (contract section 4.7): its actions or fewer, until its end or earlier, and
 * at most five times. A delegation that asks for more actions is refused; one that asks for more time is cut.
 */

export const MAX_DELEGATIONS = 5;

/** What the parent itself may do, as signed and as its row says. */
export interface DelegableToken {
  readonly expiresAtSeconds: number;
  /** Of a delegation: the only actions it allows; undefined: those of its plan. */
  readonly allowedActions: readonly string[] | undefined;
  readonly planActions: readonly string[];
  /** How often it was delegated to come about. */
  readonly depth: number;
}

export interface DelegationRequest {
  /** Undefined: all of the parent's. */
  readonly allowedActions: readonly string[] | undefined;
  readonly validitySeconds: number;
}

export type DelegationDecision =
  | { readonly ok: true; readonly allowedActions: readonly string[]; readonly expiresAtSeconds: number }
  /** `excess`: the actions that are not the parent's. */
  | { readonly ok: false; readonly code: 'SCOPE_DENIED'; readonly excess: readonly string[] }
  | { readonly ok: false; readonly code: 'FORBIDDEN' };

export function decideDelegation(
  parent: DelegableToken,
  asked: DelegationRequest,
  nowSeconds: number,
): DelegationDecision {
  if (parent.depth >= MAX_DELEGATIONS) return { ok: false, code: 'FORBIDDEN' };
  const own = new Set(parent.allowedActions ?? parent.planActions);
  const allowedActions = [...new Set(asked.allowedActions ?? own)];
  const excess = allowedActions.filter((action) => !own.has(action));
  if (excess.length > 0) return { ok: false, code: 'SCOPE_DENIED', excess };
  const expiresAtSeconds = Math.min(nowSeconds + asked.validitySeconds, parent.expiresAtSeconds);
  return { ok: true, allowedActions, expiresAtSeconds };
}
